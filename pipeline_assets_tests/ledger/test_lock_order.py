"""Transactions that change the same days wait in one order, so that PostgreSQL never has to kill one of two."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path

import dataframely as dy
import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from pipeline_assets.day_counts import DayCounts
from pipeline_assets.ledger.builds import (
    BuildLedger,
    Claim,
    OvertakenError,
    book_counts,
    book_identifiers,
    book_revisions,
    confirmation,
    require_all,
    revoke,
)
from pipeline_assets.ledger.catalogue import LakeFile, drop_tables, exchange
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.ledger.schema import IDENTIFIERS, revisions
from pipeline_assets.leftovers import remove_days_before, remove_table
from pipeline_assets.planning import STAGING
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.tables.spec import Input, Store, TableSpec

DAYS = [date(2026, 3, day) for day in range(1, 6)]
_SECONDS = 60.0


class Hits(dy.Schema):
    """Hits."""

    day = dy.Date(primary_key=True, description="Day")


def table(store: Store) -> TableSpec:
    return TableSpec(
        name=f"of_{store}",
        contract=Hits,
        partition_column="day",
        store=store,
        inputs=(Input(STAGING),),
        build=lambda *_: pl.DataFrame(),
    )


TABLES: dict[Store, TableSpec] = {"lake": table("lake"), "marts": table("marts")}


class Deployment:
    """A ledger in which the rows of the days lie in the order contrary to theirs, and are found as they lie."""

    def __init__(self, url: str, store: Store, folder: Path) -> None:
        self.spec = TABLES[store]
        self.store = LocalStore(folder)
        scans = ("seqscan=on", "indexscan=off", "bitmapscan=off", "indexonlyscan=off")
        options = " ".join(f"-c enable_{scan}" for scan in scans)
        self.engine = sa.create_engine(
            sqlalchemy_url(url, "psycopg"), connect_args={"options": options}, pool_size=10, hide_parameters=True
        )
        migrate(self.engine)
        self.ledger = BuildLedger(self.engine, [self.spec])
        with self.engine.begin() as connection:
            connection.execute(sa.text("create schema marts"))

    def begin(self) -> None:
        """Build every day once."""
        with self.engine.begin() as connection:
            connection.execute(sa.text("truncate ledger.builds, ledger.event_days"))
            connection.execute(sa.text("create table if not exists marts.of_marts (day date)"))
        self.publish(self.claimed())()

    def claimed(self, days: Sequence[date] = DAYS) -> Claim:
        return self.ledger.claim(self.spec.name, days, "run")

    def publish(self, claim: Claim) -> Callable[[], None]:
        """What the IO managers do."""

        def transaction() -> None:
            backwards = claim.days[::-1]
            with self.engine.begin() as connection:
                if self.spec.store == "marts":
                    rows = sa.table("of_marts", sa.column("day"), schema="marts")
                    connection.execute(sa.delete(rows).where(rows.c.day.in_(claim.days)))
                    connection.execute(sa.insert(rows), [{"day": day} for day in claim.days])
                ages = connection.execute(confirmation(self.spec, backwards, claim.claim_id)).scalars().all()
                require_all(claim.table, claim.days, ages)
                if self.spec.store == "lake":
                    files = [LakeFile(f"{claim.claim_id}/{day}", claim.table, day, 1) for day in backwards]
                    exchange(connection, claim.table, claim.days, files, "run")
                    book_counts(connection, {day: DayCounts() for day in backwards})
                    book_identifiers(connection, {day: dict.fromkeys(IDENTIFIERS, 0) for day in backwards})
                for statement in book_revisions(claim.table, dict.fromkeys(backwards, "r")):
                    connection.execute(statement)

        return transaction

    def adopt(self) -> None:
        """What `identity.adopt` does in its transaction."""
        with self.engine.begin() as connection:
            revoke(connection)
            connection.execute(sa.delete(revisions))
            drop_tables(connection)

    def change(self, name: str) -> Callable[[], object]:
        """A transaction, ready to begin."""
        if name == "publish":
            return self.publish(self.claimed())
        return {
            "claim": lambda: self.claimed(DAYS[::-1]),
            "build again": lambda: self.ledger.build_again(self.spec.name, DAYS[::-1]),
            "remove early days": lambda: remove_days_before(self.engine, [self.spec], DAYS[3]),
            "remove table": lambda: remove_table(self.engine, self.store, self.spec.name),
            "adopt": self.adopt,
        }[name]

    def at_once(self, changes: Sequence[Callable[[], object]], held: str) -> list[BaseException | None]:
        """Errors of changes that come as far as what is held, as a query says, and go on from there at once.

        To be overtaken, or that the table is gone, is none; to wait for each other is, for PostgreSQL ends one of two.
        """
        for day in reversed(DAYS):
            # The last version of a row is the last one in the table.
            with self.engine.begin() as connection:
                for name, column in (("builds", "day"), ("event_days", "event_date"), ("lake_files", "day")):
                    connection.execute(
                        sa.text(f"update ledger.{name} set {column} = {column} where {column} = '{day}'")
                    )
        with ThreadPoolExecutor(len(changes)) as pool, self.engine.connect() as connection:
            connection.execute(sa.text(held))
            started: list[Future[object]] = []
            for change in changes:
                started.append(pool.submit(change))
                self.rest(started)
            connection.commit()
            errors = [each.exception(_SECONDS) for each in started]
        return [error for error in errors if not isinstance(error, OvertakenError | ProgrammingError | None)]

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def waiting(self) -> int:
        """How many transactions wait for a lock."""
        query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        with self.engine.connect() as connection:
            return connection.execute(sa.text(query)).scalar_one()

    def rest(self, started: Sequence[Future[object]]) -> None:
        """Until whatever was started has ended or waits."""
        ends = time.monotonic() + _SECONDS
        while self.waiting() < sum(not each.done() for each in started):
            assert time.monotonic() < ends
            time.sleep(0.01)


CHANGES = ("publish", "claim", "build again", "remove early days", "remove table", "adopt")


@pytest.mark.parametrize("store", TABLES)
@pytest.mark.parametrize("one", CHANGES)
def test_no_two_changes_of_the_same_days_wait_for_each_other(
    postgres_url: str, tmp_path: Path, store: Store, one: str
) -> None:
    deployment = Deployment(postgres_url, store, tmp_path)
    for other in CHANGES:
        deployment.begin()
        changes = [deployment.change(one), deployment.change(other)]
        assert deployment.at_once(changes, f"select from ledger.builds where day = '{DAYS[2]}' for update") == [], other
    deployment.close()


def test_two_tables_that_count_the_same_days_do_not_wait_for_each_other(postgres_url: str, tmp_path: Path) -> None:
    deployment = Deployment(postgres_url, "lake", tmp_path)
    deployment.begin()

    def book(days: Sequence[date]) -> None:
        with deployment.engine.begin() as connection:
            book_counts(connection, {day: DayCounts() for day in days})

    def book_others(days: Sequence[date]) -> None:
        with deployment.engine.begin() as connection:
            book_identifiers(connection, {day: dict.fromkeys(IDENTIFIERS, 0) for day in days})

    changes = [partial(book, DAYS), partial(book_others, DAYS[::-1])]
    held = f"select from ledger.event_days where event_date = '{DAYS[2]}' for update"
    assert deployment.at_once(changes, held) == []
    deployment.close()
