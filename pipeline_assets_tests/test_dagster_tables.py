"""Dagster's own tables are complete after any kill, and after any state that an older build has left."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.storage.runs.migration import RUN_START_END
from dagster._core.storage.sql import run_alembic_downgrade
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import pg_alembic_config
from sqlalchemy import event

from pipeline_assets import dagster_tables
from pipeline_assets.dagster_storage import _with_search_path, pipeline_instance
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.postgres import connect, sqlalchemy_url
from pipeline_assets.settings import Settings

# These tests die at each such statement of SQLAlchemy's, those marked at all of them.
FEW = 40


SCHEMA = "dagster"


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def dying_at(statement: int) -> Generator[list[int]]:
    """Die before a statement of SQLAlchemy's; what comes, how many there were."""
    numbers = count()
    seen = [0]

    def before(*_: object) -> None:
        seen[0] = next(numbers)
        if seen[0] >= statement:
            raise Killed

    event.listen(sa.Engine, "before_cursor_execute", before)
    try:
        with suppress(Killed):
            yield seen
    finally:
        event.remove(sa.Engine, "before_cursor_execute", before)


def tables(url: str) -> dict[str, list]:
    """All that there is to the storage."""
    queries = {
        "columns": "select table_name::text, column_name::text, data_type::text, is_nullable::text, column_default "
        "from information_schema.columns where table_schema = %s order by 1, 2",
        "indexes": "select indexdef from pg_indexes where schemaname = %s order by 1",
        "constraints": "select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint "
        "where connamespace = %s::regnamespace order by 1, 2",
        "version": f"select version_num from {SCHEMA}.alembic_version where %s <> ''",
        "migrations": f"select name from {SCHEMA}.secondary_indexes where migration_completed is not null and %s <> '' "
        "order by 1",
    }
    with connect(url) as connection:
        return {name: connection.execute(query.encode(), [SCHEMA]).fetchall() for name, query in queries.items()}


def make(url: str, folder: Path) -> None:
    pipeline_instance(Settings.for_data_dir(folder, postgres_url=url)).dispose()


def make_as_dagster_does(url: str) -> None:
    with connect(url, autocommit=True) as connection:
        connection.execute(f"create schema {SCHEMA}")
    DagsterPostgresStorage(_with_search_path(url, SCHEMA))


@pytest.fixture(scope="module")
def complete(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    url = new_database()
    make(url, tmp_path_factory.mktemp("complete"))
    return tables(url)


def test_the_tables_are_those_that_dagster_makes_itself(postgres_url: str, complete: dict[str, list]) -> None:
    make_as_dagster_does(postgres_url)
    assert tables(postgres_url) == complete


@pytest.mark.parametrize("by", ["an older build", "this one"])
@pytest.mark.parametrize("step", [FEW, pytest.param(3, marks=pytest.mark.exhaustive)])
def test_a_kill_before_any_statement_that_makes_the_tables_is_made_good_by_the_next_start(
    step: int, by: str, new_database: Callable[[], str], complete: dict[str, list], tmp_path: Path
) -> None:
    for statement in count(step - 1, step):
        url, folder = new_database(), tmp_path / str(statement)
        with dying_at(statement) as seen:
            if by == "this one":
                make(url, folder)
            else:
                make_as_dagster_does(url)
        make(url, folder)
        assert tables(url) == complete, statement
        if seen[0] < statement:
            break
    assert statement > 2 * FEW


@dg.asset_check(asset="nothing")
def is_well() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset
def nothing() -> None: ...


def test_runs_in_a_storage_that_was_never_completed_are_kept(
    postgres_url: str, complete: dict[str, list], tmp_path: Path
) -> None:
    complete = dict(complete)
    make(postgres_url, tmp_path)
    settings = Settings.for_data_dir(tmp_path, postgres_url=postgres_url)
    with pipeline_instance(settings) as instance:
        run_id = dg.materialize([nothing], instance=instance).run_id
    # What is made last of each kind.
    with connect(postgres_url) as connection:
        connection.execute(f"drop table {SCHEMA}.asset_check_executions")
        connection.execute(f"drop index {SCHEMA}.idx_run_tags")
        connection.execute(f"truncate {SCHEMA}.kvs, {SCHEMA}.secondary_indexes, {SCHEMA}.alembic_version")
    with pipeline_instance(settings) as instance:
        found = tables(postgres_url)
        # Optional, and only made where there are no runs.
        assert set(complete.pop("migrations")) - set(found.pop("migrations")) == {(RUN_START_END,)}
        assert found == complete
        assert instance.get_run_by_id(run_id) is not None
        assert dg.materialize([nothing, is_well], instance=instance).success


def test_a_newer_dagster_upgrades_the_tables(
    postgres_url: str, complete: dict[str, list], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pg_alembic_config(dagster_tables.dagster_postgres.run_storage.__file__)
    make(postgres_url, tmp_path)
    engine = sa.create_engine(_with_search_path(postgres_url, SCHEMA))
    with engine.begin() as connection:
        run_alembic_downgrade(config, connection, "-1")
    engine.dispose()
    assert tables(postgres_url)["version"] != complete["version"]
    monkeypatch.setattr(dagster_tables, "_VERSION", "dagster 99")
    make(postgres_url, tmp_path)
    assert tables(postgres_url) == complete


def test_tables_of_a_newer_dagster_are_left_alone(postgres_url: str, tmp_path: Path, monkeypatch) -> None:
    make(postgres_url, tmp_path)
    with connect(postgres_url) as connection:
        connection.execute(f"update {SCHEMA}.alembic_version set version_num = 'of_the_future'")
        connection.execute(f"alter table {SCHEMA}.runs add column of_the_future int")
    before = tables(postgres_url)
    monkeypatch.setattr(dagster_tables, "_VERSION", "dagster 1")
    make(postgres_url, tmp_path)
    assert tables(postgres_url) == before


def test_a_ledger_is_made_whole_or_not_at_all(new_database: Callable[[], str]) -> None:
    def schemas(url: str) -> list:
        with connect(url) as connection:
            return connection.execute("select 1 from pg_namespace where nspname = 'ledger'").fetchall()

    for statement in count(2, 4):
        url = new_database()
        engine = sa.create_engine(sqlalchemy_url(url))
        with dying_at(statement) as seen:
            migrate(engine)
        engine.dispose()
        if seen[0] < statement:
            break
        assert schemas(url) == []
        migrate(engine)
        assert schemas(url) == [(1,)]
        engine.dispose()
    assert statement > 10
