"""What Dagster recorded of a refresh: the time of each table and of its checks, and how many days were built."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg

STAGING = "staging"

_STEPS = """
    select step_key, extract(epoch from sum(took)), bool_or(builds)
    from (
        select step_key,
            max(timestamp) filter (where dagster_event_type = 'STEP_SUCCESS')
            - min(timestamp) filter (where dagster_event_type = 'STEP_START') as took,
            bool_or(dagster_event_type = 'ASSET_MATERIALIZATION') as builds
        from dagster.event_logs
        where id > %s and step_key is not null
        group by run_id, step_key
    ) steps
    where took is not null
    group by step_key
"""
_DAYS = """
    select asset, count(*) from ledger.builds
    where run_id in (select distinct run_id from dagster.event_logs where id > %s)
    group by asset
"""


@dataclass
class TableTime:
    """What a table cost.

    Attributes:
        build: seconds to read its inputs, make its rows and write them.
        checks: seconds of its checks.
        days: days of it that were built; 1 for a table without partitions.
    """

    build: float = 0.0
    checks: float = 0.0
    days: int = 0

    @property
    def seconds(self) -> float:
        """Table and checks."""
        return self.build + self.checks


def last_event(url: str) -> int:
    """Number of the newest event that Dagster has recorded, 0 before the first."""
    with psycopg.connect(url) as connection:
        found = connection.execute("select to_regclass('dagster.event_logs') is not null").fetchone()
        if not found or not found[0]:
            return 0
        found = connection.execute("select coalesce(max(id), 0) from dagster.event_logs").fetchone()
        return found[0] if found else 0


def table_times(url: str, tables: Iterable[str], since: int) -> dict[str, TableTime]:
    """The cost of staging and of each table that was built after an event, in the order of `tables`.

    Args:
        url: the deployment's PostgreSQL server.
        tables: names of all tables, inputs before those that read them.
        since: see `last_event`.
    """
    with psycopg.connect(url) as connection:
        steps = connection.execute(_STEPS, (since,)).fetchall()
        days: Mapping[str, int] = dict(connection.execute(_DAYS, (since,)))
    names = [STAGING, *tables]
    found = {name: TableTime(days=days.get(name, 0)) for name in names}
    for step, seconds, builds in steps:
        # The step of a check is called <table>_<check>, and the name of a table may begin with another's.
        owners = [name for name in names if step == name or step.startswith(f"{name}_")]
        time = found.setdefault(max(owners, key=len, default=step), TableTime())
        if builds:
            time.build += float(seconds)
        else:
            time.checks += float(seconds)
    return {name: time for name, time in found.items() if time.seconds}
