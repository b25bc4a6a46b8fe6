"""Dagster's history of runs, bounded: what its UI needs of old ones stays, the rest goes.

Dagster keeps every event of every run for ever; a refresh a minute would be a gigabyte a day. Here, on our own storage,
a little is removed at a time:

- Of a run that has succeeded, the events that only led there: what was planned, that an output was yielded and handed
  over, that resources were made. What is left are its steps, materializations, checks and log files.
- Of a run that ended longer ago than `Settings.history_days`, everything but what its assets and checks still show: the
  latest materialization of each partition, or that it failed, the newest materializations of what has no partitions,
  which the UI plots, and the newest results of each check. A run of which nothing is left goes too.

Whoever looks at an asset, its partitions, plots or checks sees the same as before. An idle refresh leaves nothing. One
with a new file for a day of the demo writes 574 events (0.70 MB), of which 240 (0.35 MB) stay until they are old.

On a storage of the project's own nothing is removed. What all storages have, `DagsterInstance.delete_run`, takes a run
with all its events, among them the latest materialization of partitions, which the UI would call missing from then on;
and nothing public tells which runs hold one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
import sqlalchemy as sa

# Old rows are chosen by queries over its tables: the public way deletes whole runs, and asks for them one by one.
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.runs.schema import RunsTable

from pipeline_assets.ledger.builds import LONGEST_RUN
from pipeline_assets.runs import LockingRuns

SHOWN = 100
"""Materializations of an asset without partitions, and results of a check, that stay however old they are: as many as
the UI plots."""
_PORTION = 50
"""Runs that are looked at in one go."""
_MARKS = ("pipeline/history/succeeded", "pipeline/history/old")
_SUCCESS = dg.DagsterRunStatus.SUCCESS.value
_FINISHED = [_SUCCESS, dg.DagsterRunStatus.FAILURE.value, dg.DagsterRunStatus.CANCELED.value]
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
_MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION.value
_OF_ASSETS = [_MATERIALIZATION, _PLANNED, dg.DagsterEventType.ASSET_OBSERVATION.value]
_LED_THERE = [
    kind.value
    for kind in (
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
        dg.DagsterEventType.STEP_INPUT,
        dg.DagsterEventType.LOADED_INPUT,
        dg.DagsterEventType.STEP_OUTPUT,
        dg.DagsterEventType.HANDLED_OUTPUT,
        dg.DagsterEventType.RESOURCE_INIT_STARTED,
        dg.DagsterEventType.RESOURCE_INIT_SUCCESS,
        dg.DagsterEventType.ENGINE_EVENT,
    )
]


@dataclass
class Removed:
    """What was removed.

    Attributes:
        events: events.
        runs: runs.
        results: results of checks.
    """

    events: int = 0
    runs: int = 0
    results: int = 0


def thin_out(instance: dg.DagsterInstance, history_days: int) -> Removed:
    """Remove a portion of what nobody needs any more; nothing on a storage that is not ours.

    Every call goes on where the one before it ended, and begins anew after the newest run.

    Args:
        instance: where the runs are recorded.
        history_days: days that everything of a run stays; 0 for ever.
    """
    storage = instance.run_storage
    if not isinstance(storage, LockingRuns):
        return Removed()
    marks = storage.get_cursor_values(set(_MARKS))
    succeeded, old = (int(marks.get(name, 0)) for name in _MARKS)
    found = Removed()
    with storage.connect() as connection:
        runs, succeeded = _newly_finished(connection, succeeded)
        found.events += _remove(connection, runs, _LED_THERE)
        if history_days:
            before = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=history_days)
            portion = _finished_before(connection, before, old)
            # After the newest one all over again: what was the latest of its partition may not be that any more.
            old = max(portion) if len(portion) == _PORTION else 0
            found.events += _remove_old(connection, list(portion.values()))
            found.results += _remove_results(connection, list(portion.values()))
            left = _with_events(connection, list(portion.values()))
            for run_id in portion.values():
                instance.compute_log_manager.delete_logs(prefix=[run_id])
                if run_id not in left:
                    instance.delete_run(run_id)
                    found.runs += 1
    storage.set_cursor_values(dict(zip(_MARKS, (str(succeeded), str(old)), strict=True)))
    return found


def _newly_finished(connection: sa.Connection, seen: int) -> tuple[list[str], int]:
    """The runs that have succeeded among the next ones after a number, and the number up to which all have ended.

    A run that nobody ends, for the process that made it was killed before it began, is waited for no longer than any
    run lasts: it would keep all later ones from being looked at for ever.
    """
    r = RunsTable.c
    lately = datetime.now(UTC).replace(tzinfo=None) - LONGEST_RUN
    query = sa.select(r.id, r.run_id, r.status, r.update_timestamp).where(r.id > seen).order_by(r.id).limit(_PORTION)
    found: list[str] = []
    for run in connection.execute(query):
        if run.status not in _FINISHED and run.update_timestamp > lately:
            break
        seen = run.id
        found += [run.run_id] if run.status == _SUCCESS else []
    return found, seen


def _finished_before(connection: sa.Connection, moment: datetime, seen: int) -> dict[int, str]:
    """The next runs after a number that finished before a moment, by number."""
    r = RunsTable.c
    query = sa.select(r.id, r.run_id).where(r.id > seen, r.status.in_(_FINISHED), r.update_timestamp < moment)
    return {row.id: row.run_id for row in connection.execute(query.order_by(r.id).limit(_PORTION))}


def _remove(connection: sa.Connection, runs: Sequence[str], kinds: Sequence[str]) -> int:
    e = SqlEventLogStorageTable.c
    if not runs:
        return 0
    gone = sa.delete(SqlEventLogStorageTable).where(e.run_id.in_(runs), e.dagster_event_type.in_(kinds))
    return connection.execute(gone).rowcount


def _remove_old(connection: sa.Connection, runs: Sequence[str]) -> int:
    """Remove the events of runs but for those that are the latest of a partition, or among the newest without one."""
    e, n = SqlEventLogStorageTable.c, SqlEventLogStorageTable.alias("newer").c
    kind, without = e.dagster_event_type, n.partition.is_(None)
    newer = sa.select(n.id).where(n.asset_key == e.asset_key, n.id > e.id)
    # Each asks for one type, so that an index answers: of an asset there may be hundreds of thousands of events.
    again, made = (newer.where(n.dagster_event_type == each) for each in (kind, _MATERIALIZATION))
    many = again.where(without).order_by(n.id).offset(SHOWN - 1).limit(1)
    superseded = sa.or_(
        sa.exists(again.where(n.partition == e.partition)),
        sa.and_(e.partition.is_(None), kind != _PLANNED, sa.exists(many)),
        sa.and_(e.partition.is_(None), kind == _PLANNED, sa.exists(again.where(without))),
        # A plan is also over where something was materialized after it. If not, its partition failed.
        sa.and_(kind == _PLANNED, sa.exists(made.where(n.partition == e.partition))),
        sa.and_(e.partition.is_(None), kind == _PLANNED, sa.exists(made.where(without))),
    )
    says_nothing = sa.or_(kind.is_(None), kind.not_in(_OF_ASSETS), superseded)
    if not runs:
        return 0
    return connection.execute(sa.delete(SqlEventLogStorageTable).where(e.run_id.in_(runs), says_nothing)).rowcount


def _remove_results(connection: sa.Connection, runs: Sequence[str]) -> int:
    """Remove the results of checks of runs, but for those that are the latest of a partition or among the newest."""
    c, n = AssetCheckExecutionsTable.c, AssetCheckExecutionsTable.alias("newer").c
    if not runs:
        return 0
    theirs = sa.select(c.asset_key, c.check_name).where(c.run_id.in_(runs)).distinct().subquery("theirs")
    # Once for each check and not for each result: no index has the results of a check in order.
    of_check = (n.asset_key == theirs.c.asset_key, n.check_name == theirs.c.check_name)
    newest = sa.select(n.id).where(*of_check).order_by(n.id.desc()).offset(SHOWN).limit(1).lateral("newest")
    among = sa.select(theirs, newest.c.id).select_from(theirs.join(newest, sa.true())).subquery("among").c
    after = sa.select(n.id).where(n.asset_key == c.asset_key, n.check_name == c.check_name, n.id > c.id)
    gone = sa.delete(AssetCheckExecutionsTable).where(
        c.run_id.in_(runs),
        c.asset_key == among.asset_key,
        c.check_name == among.check_name,
        c.id <= among.id,
        sa.exists(after.where(n.partition.is_not_distinct_from(c.partition))),
    )
    return connection.execute(gone).rowcount


def _with_events(connection: sa.Connection, runs: Sequence[str]) -> set[str]:
    """Those of some runs that something is left of."""
    e, c = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    left = sa.union(sa.select(e.run_id).where(e.run_id.in_(runs)), sa.select(c.run_id).where(c.run_id.in_(runs)))
    return set(connection.execute(left).scalars())
