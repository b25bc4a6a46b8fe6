"""The migrations lead to the tables that the code declares."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.resources import as_file, files

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from pipeline_assets.ledger import changed_days
from pipeline_assets.ledger.migrate import LedgerVersionError, migrate
from pipeline_assets.ledger.schema import REVISION, SCHEMA, metadata
from pipeline_assets.postgres import sqlalchemy_url


@pytest.fixture
def engine(postgres_url: str) -> sa.Engine:
    return sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))


def test_migrations_lead_to_the_declared_tables(engine: sa.Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "compare_type": True,
                "compare_server_default": False,
                "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
                "version_table_schema": SCHEMA,
            },
        )
        assert context.get_current_revision() == REVISION
        assert compare_metadata(context, metadata) == []


def test_several_processes_may_migrate_at_once(engine: sa.Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: migrate(engine), range(4)))
    with engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from ledger.files")).scalar() == 0


def test_a_ledger_of_newer_software_is_refused(engine: sa.Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(f"update {SCHEMA}.alembic_version set version_num = '9999'"))
    with pytest.raises(LedgerVersionError, match="of version 9999, made by newer software"):
        migrate(engine)


def of_before(engine: sa.Engine, revision: str, *statements: str) -> None:
    """Make the ledger one of an older version, with what some statements write into it."""
    migrate(engine)
    with as_file(files("pipeline_assets.ledger") / "migrations") as folder, engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        for statement in statements:
            connection.execute(sa.text(statement))


def of_before_the_catalogue(engine: sa.Engine) -> None:
    """Make the ledger one of the version before the catalogue, in which a run of that version is at work."""
    content = "c" * 64
    of_before(
        engine,
        "0007",
        f"insert into ledger.contents (content, bytes) values ('{content}', 1)",
        "insert into ledger.files (source, path, content, rules, state, newest, lines, landed, quarantined, blank, "
        f"stamp) values ('web', '1', '{content}', 'r', 'active', true, 1, 1, 0, 0, '')",
        "insert into ledger.staged (source, content, event_date, rules, rows) "
        f"values ('web', '{content}', date '2026-03-04', 'r', 1)",
        "insert into ledger.builds (asset, day, inputs, state, run_id, read_since) values "
        "('events', date '2026-03-04', 'i', 'built', 'done', now()), "
        "('events', date '2026-03-05', 'i', 'building', 'at work', now())",
        "insert into ledger.revisions (asset, day, revision) values ('identities', date '2026-03-04', 'a')",
    )


def test_nothing_that_the_version_before_the_catalogue_has_built_or_builds_counts(engine: sa.Engine) -> None:
    of_before_the_catalogue(engine)
    migrate(engine)
    with engine.begin() as connection:
        # Its run, which lists no files, confirms like this.
        confirmed = connection.execute(sa.text("update ledger.builds set state = 'built' where run_id = 'at work'"))
        assert confirmed.rowcount == 0
        assert set(connection.execute(sa.text("select state from ledger.builds")).scalars()) == {"building"}
        # A day built before the table that says something of it must not count as built of what that said.
        assert connection.execute(sa.text("select count(*) from ledger.revisions")).scalar() == 0


def test_staged_files_of_before_keep_their_names_however_the_server_writes_dates(engine: sa.Engine) -> None:
    of_before_the_catalogue(engine)
    migrate(sa.create_engine(engine.url, connect_args={"options": "-c datestyle=SQL,DMY"}))
    with engine.connect() as connection:
        name = connection.execute(sa.text("select name from ledger.lake_files join ledger.staged using (file)"))
        assert name.scalar_one() == f"staging/web/event_date=2026-03-04/{'c' * 64}-r.parquet"


def test_the_versions_of_declarations_are_kept_under_their_new_name(engine: sa.Engine) -> None:
    content = "c" * 64
    of_before(
        engine,
        "0014",
        f"insert into ledger.contents (content, bytes) values ('{content}', 1)",
        "insert into ledger.lake_files (name, asset, day, rows, run_id) "
        "values ('s/1', 'staging/web', date '2026-03-04', 1, '')",
        "insert into ledger.files (source, path, content, rules, state, newest, lines, landed, quarantined, blank, "
        f"stamp) values ('web', '1', '{content}', 'of files', 'active', true, 2, 1, 1, 0, '')",
        "insert into ledger.staged (source, content, event_date, rules, rows, file) "
        f"select 'web', '{content}', day, 'of staged', rows, file from ledger.lake_files",
        "insert into ledger.quarantine (source, content, line, reason, rules, raw, bytes) "
        f"values ('web', '{content}', 1, '', 'of quarantine', '', 0)",
        "insert into ledger.looks (source, first_load, rules, filled) values ('web', now(), 'of looks', '{}')",
    )
    migrate(engine)
    with engine.connect() as connection:
        for table in ("files", "staged", "quarantine", "looks"):
            found = connection.execute(sa.text(f"select declaration_version from ledger.{table}"))
            assert found.scalar_one() == f"of {table}"


def test_of_what_the_version_before_built_only_marts_that_are_not_there_are_built_again(engine: sa.Engine) -> None:
    of_before(
        engine,
        "0011",
        "insert into ledger.builds (asset, day, inputs, state, run_id, read_since) "
        "select asset, date '2026-03-04', 'i', 'built', 'done', now() "
        "from unnest(array['events', 'sessions', 'users']) as asset",
        "insert into ledger.lake_files (name, asset, day, rows, run_id) "
        "values ('events/1.parquet', 'events', date '2026-03-04', 1, 'done')",
        "create schema if not exists marts",
        "create table marts.sessions ()",
        # Somebody's own, of what is in the lake.
        "create view marts.events as select 1",
    )
    migrate(engine)
    query = (
        "select asset, state, relation = to_regclass('marts.' || asset), claim_id is null from ledger.builds order by 1"
    )
    with engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(sa.text(query))] == [
            ("events", "built", None, False),
            ("sessions", "built", True, False),
            ("users", "building", None, False),
        ]


def test_every_day_that_the_version_before_staged_is_looked_at_once_for_compaction(engine: sa.Engine) -> None:
    of_before(
        engine,
        "0013",
        "insert into ledger.staged_days (source, day, fingerprint, rows, contents) "
        "values ('web', date '2026-03-04', 1, 2, 1), ('app', date '2026-03-05', 1, 1, 1)",
    )
    migrate(engine)
    with engine.connect() as connection:
        assert changed_days.sources_of(connection, changed_days.COMPACT) == ["app", "web"]
        found = changed_days.noted(connection, changed_days.COMPACT, 10)
        assert {(each.source, each.day) for each in found} == {("web", date(2026, 3, 4)), ("app", date(2026, 3, 5))}
        # Loads of that version have told Dagster of them.
        assert changed_days.sources_of(connection, changed_days.OBSERVE) == []
