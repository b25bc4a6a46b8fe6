"""Ledger and lake are of one deployment, or nothing is touched."""

import errno
import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from psycopg import sql

from pipeline_assets import identity
from pipeline_assets.dagster_storage import pipeline_instance
from pipeline_assets.identity import MARKER, IdentityError, adopt, deployment_engine, found
from pipeline_assets.ledger.builds import BuildLedger, book_revisions, confirmation
from pipeline_assets.ledger.files import Booking, FileLedger, Load
from pipeline_assets.ledger.full_looks import LAKE, FullLooks
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.ledger.schema import deployment, revisions
from pipeline_assets.namespace import Namespace
from pipeline_assets.planning import STAGING
from pipeline_assets.postgres import connect, sqlalchemy_url
from pipeline_assets.settings import Settings
from pipeline_assets.tables.spec import Input
from pipeline_assets_tests.ledger.staged_rows import lake_files
from pipeline_assets_tests.planned import Planned

ACME = Namespace("acme")
DAY = date(2026, 3, 1)


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str) -> Settings:
    """A deployment that was never started."""
    return Settings.for_data_dir(tmp_path / "one", postgres_url=postgres_url)


def elsewhere(settings: Settings, **changes: Any) -> Settings:
    """The same database with another data folder."""
    folder = settings.data_dir.with_name("two")
    return Settings.for_data_dir(folder, **{"postgres_url": settings.postgres_url, **changes})


def start(settings: Settings) -> str:
    """Start the deployment; its id in the ledger."""
    engine = deployment_engine(settings)
    with engine.connect() as connection:
        found = connection.execute(sa.select(deployment.c.id, deployment.c.marked_at)).one()
    engine.dispose()
    assert found.marked_at is not None
    assert marker(settings) == {"id": found.id, "namespace": settings.namespace.name}
    return found.id


def marker(settings: Settings) -> dict[str, str | None] | None:
    """What the lake says."""
    with suppress(FileNotFoundError):
        return {
            name: value
            for name, value in json.loads((settings.lake_dir / MARKER).read_text()).items()
            if name != "note"
        }
    return None


def load(settings: Settings, name: str = "a") -> None:
    """Book a file with a staged row, and stage it."""
    engine = deployment_engine(settings)
    files = FileLedger(engine)
    files.reserve({name * 64: 1})
    what = Load(name * 64, "r", lines=1, landed=1, days={DAY: 1})
    (file,) = lake_files(what)
    files.book("web", [Booking(f"web/{name}", "stamp", what.content, what)], [file])
    engine.dispose()
    for path in (settings.lake_dir / file.name, path_of_before(settings, name)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def path_of_before(settings: Settings, name: str) -> Path:
    """Where versions without a catalogue had the rows of a staged file."""
    return settings.lake_dir / f"staging/web/event_date={DAY}/{name * 64}-r.parquet"


def everything(settings: Settings) -> list[tuple]:
    """Every table, column and number of rows in the database, and every file of the lake."""
    assert settings.postgres_url is not None
    with connect(settings.postgres_url) as connection:
        columns = connection.execute(
            "select table_schema::text, table_name::text, column_name::text from information_schema.columns "
            "where table_schema not in ('pg_catalog', 'information_schema') order by 1, 2, 3"
        ).fetchall()
        tables = sorted({(schema, table) for schema, table, _ in columns})
        rows = [
            (*table, row)
            for table in tables
            for row in sorted(map(str, connection.execute(sql.SQL("select * from {}").format(sql.Identifier(*table)))))
        ]
        schemas = connection.execute("select nspname::text from pg_namespace order by 1").fetchall()
    lake = [(str(path), path.stat().st_mtime_ns) for path in sorted(settings.lake_dir.rglob("*"))]
    return [*schemas, *columns, *rows, *lake]


def refused(settings: Settings, *words: str) -> None:
    """It may not start, by any way in; the message has these words, and nothing has changed."""
    before = everything(settings)
    ways: list[Callable[[], Any]] = [
        lambda: deployment_engine(settings),
        lambda: pipeline_instance(settings).__enter__(),
    ]
    for enter in ways:
        with pytest.raises(IdentityError) as caught:
            enter()
        for word in words:
            assert word in str(caught.value)
        assert "pipeline-assets adopt" in str(caught.value)
    assert everything(settings) == before


def test_a_first_start_gives_ledger_and_lake_one_id_and_later_ones_keep_it(settings: Settings):
    first = start(settings)
    assert start(settings) == first
    load(settings)
    assert start(settings) == first


def test_processes_that_start_together_agree(settings: Settings):
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: start(settings), range(4)))) == 1


@pytest.mark.parametrize("dies_in", ["_write_marker", "_confirm"])
def test_a_first_start_killed_at_any_moment_is_finished_by_the_next_one(
    settings: Settings, dies_in: str, monkeypatch: pytest.MonkeyPatch
):
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(identity, dies_in, die)
        with pytest.raises(KeyboardInterrupt):
            deployment_engine(settings)
    other = elsewhere(settings)
    # Whoever of two lakes is next gets the ledger; the other one, even if it was first, does not.
    start(other)
    refused(settings, "whose lake was", str(other.lake_dir))
    start(other)


def test_a_second_deployment_in_a_database_is_refused_and_told_to_take_a_namespace(settings: Settings):
    start(settings)
    second = elsewhere(settings)
    refused(second, "PIPELINE_NAMESPACE", "PIPELINE_DATA_DIR", str(settings.lake_dir), str(second.lake_dir), MARKER)
    start(replace(second, namespace=ACME))
    start(settings)


def test_a_namespace_of_its_own_is_no_way_into_the_lake_of_another(settings: Settings):
    start(settings)
    refused(replace(settings, namespace=ACME), "unset PIPELINE_NAMESPACE", "(no namespace)", "PIPELINE_LAKE_URL")


def test_a_forgotten_namespace_is_told(settings: Settings):
    acme = replace(settings, namespace=ACME)
    start(acme)
    refused(settings, "set PIPELINE_NAMESPACE=acme", "has no deployment yet")


def test_a_lake_of_another_deployment_is_refused(settings: Settings, new_database: Callable[[], str]):
    first = start(settings)
    second = elsewhere(settings, postgres_url=new_database())
    start(second)
    refused(replace(second, lake_url=settings.lake_url), "PIPELINE_POSTGRES_URL", first)


def test_a_lake_of_a_database_that_was_lost_is_refused_until_it_is_adopted(
    settings: Settings, new_database: Callable[[], str]
):
    before = start(settings)
    load(settings)
    new = replace(settings, postgres_url=new_database())
    refused(new, before, "has no deployment yet", "PIPELINE_POSTGRES_URL")
    adopt(new)
    assert start(new) != before
    refused(settings, "whose lake was")


def test_a_lake_that_was_lost_is_refused_until_the_new_one_is_adopted(settings: Settings):
    before = start(settings)
    load(settings)
    shutil.rmtree(settings.lake_dir)
    refused(settings, before, f"has no {MARKER}")
    adopt(settings)
    assert start(settings) != before


def test_who_is_about_to_adopt_what_is_one_deployment_already_is_told_so(settings: Settings):
    identity = start(settings)
    assert found(settings).count(identity) == 2
    assert "one deployment already" in found(settings)
    shutil.rmtree(settings.lake_dir)
    assert "one deployment already" not in found(settings)


def test_after_an_adoption_nothing_built_before_or_meanwhile_counts_and_everything_is_looked_at(settings: Settings):
    start(settings)
    engine = deployment_engine(settings)
    looks = FullLooks(engine, timedelta(days=1))
    looks.done(looks.begin(LAKE))
    assert not looks.begin(LAKE).is_full
    events = Planned("events", "1", (Input(STAGING),))
    ledger = BuildLedger(engine, [events])
    claim = ledger.claim("events", [DAY], "at work")
    with engine.begin() as connection:
        for statement in book_revisions("identities", {DAY: "a"}):
            connection.execute(statement)
    adopt(settings)
    with engine.begin() as connection:
        # A day is not built of what a table said whose rows do not count.
        assert connection.execute(sa.select(revisions)).all() == []
        assert connection.execute(confirmation(events, [DAY], claim.claim_id)).all() == []
    assert looks.begin(LAKE).is_full
    engine.dispose()


def test_an_id_is_never_given_twice_to_ledgers_that_ask_at_the_same_time(
    settings: Settings, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
):
    # Two databases, one new lake: no lock of a database keeps them apart.
    both = [settings, replace(settings, postgres_url=new_database())]
    for each in both:
        # Alembic is made for one thread.
        migrate(identity._engine(each))
    met = threading.Barrier(2)
    write = identity._write_marker

    def together(*arguments: Any) -> None:
        met.wait(30)
        write(*arguments)

    monkeypatch.setattr(identity, "_write_marker", together)
    results: list[str | IdentityError] = []

    def attempt(of: Settings) -> None:
        try:
            results.append(start(of))
        except IdentityError as error:
            results.append(error)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(attempt, both))
    assert len([result for result in results if isinstance(result, str)]) == 1


# --- Deployments from before there were identities ----------------------------------------------------


@pytest.fixture
def older(settings: Settings) -> Settings:
    """A deployment with a file whose ledger and lake have no identity."""
    start(settings)
    load(settings)
    forget(settings)
    return settings


def forget(settings: Settings) -> None:
    """Take ledger and lake back to before there were identities."""
    (settings.lake_dir / MARKER).unlink()
    assert settings.postgres_url is not None
    engine = sa.create_engine(sqlalchemy_url(settings.postgres_url))
    with as_file(files("pipeline_assets.ledger") / "migrations") as folder, engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    engine.dispose()


def test_an_older_deployment_gets_its_identity_at_the_first_start(older: Settings):
    assert start(older) == start(older)


def test_the_lake_of_an_older_deployment_is_known_by_one_of_its_files(older: Settings):
    load(older, "b")
    forget(older)
    path_of_before(older, "a").unlink()
    start(older)


def test_another_lake_than_that_of_an_older_deployment_is_refused(older: Settings):
    second = elsewhere(older)
    refused(second, "lists staged files", "PIPELINE_NAMESPACE", str(second.lake_dir))
    start(older)


def test_the_lake_of_an_older_deployment_is_refused_to_a_new_ledger(older: Settings, new_database: Callable[[], str]):
    refused(replace(older, postgres_url=new_database()), "is new", "PIPELINE_POSTGRES_URL")
    start(older)


def test_an_older_deployment_is_still_known_when_its_first_start_was_killed_after_the_migration(older: Settings):
    assert older.postgres_url is not None
    engine = sa.create_engine(sqlalchemy_url(older.postgres_url))
    migrate(engine)
    engine.dispose()
    second = elsewhere(older)
    refused(second, "lists staged files", "PIPELINE_NAMESPACE", str(second.lake_dir))
    start(older)


# --- The marker ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"id": "x", "namespace": null}', '{"id": 1}'])
def test_a_damaged_marker_is_told_and_the_lake_left_alone(settings: Settings, content: str):
    start(settings)
    (settings.lake_dir / MARKER).write_text(content)
    refused(settings, str(settings.lake_dir / MARKER), "damaged")
    adopt(settings)
    start(settings)


def test_where_there_are_no_links_the_marker_is_put_in_its_place_by_a_rename(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    def link(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("pipeline_assets.storage.local.os.link", link)
    start(settings)
    assert [path.name for path in settings.lake_dir.iterdir() if path.is_file()] == [MARKER]


def test_a_lake_that_is_no_folder_is_told(settings: Settings):
    settings.data_dir.mkdir(parents=True)
    settings.lake_dir.write_text("")
    with pytest.raises(IdentityError, match=r"cannot be written.*: Not a directory.*PIPELINE_LAKE_URL"):
        deployment_engine(settings)


def test_a_lake_that_cannot_be_written_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    def link(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline_assets.storage.local.os.link", link)
        with pytest.raises(IdentityError, match=r"cannot be written.*: Read-only file system.*PIPELINE_LAKE_URL"):
            deployment_engine(settings)
    assert [path for path in settings.lake_dir.rglob("*") if path.is_file()] == []
    start(settings)
