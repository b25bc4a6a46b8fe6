"""Dagster's own tables: made, completed and upgraded so that a process may be killed at any moment of it.

dagster-postgres makes its tables one by one, each committed by itself, and later asks only whether the main one is
there. So a process that was killed in between left a storage that was never completed. Here the tables and their
version are made in one transaction, and what Dagster does after that is repeated by the next start until a marker says
that all of it is done. The marker names Dagster's version, so that a newer one upgrades the storage in the same way.
"""

import dagster as dg
import dagster_postgres.run_storage
import psycopg.sql
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

# The tables and versions of Dagster's own storage, which makes them one by one, each in a transaction of its own.
from dagster._core.storage.event_log import SqlEventLogStorageMetadata
from dagster._core.storage.runs import RunStorageSqlMetadata
from dagster._core.storage.schedules import ScheduleStorageSqlMetadata
from dagster._core.storage.sql import run_alembic_upgrade, stamp_alembic_rev
from dagster_postgres import DagsterPostgresStorage

# Where its migrations are.
from dagster_postgres.utils import pg_alembic_config

from pipeline_assets.locks import turn
from pipeline_assets.postgres import connect
from pipeline_assets.schemas import make_schemas

_MARKER = "pipeline_assets/storage_completed_by"
_VERSION = f"dagster {dg.__version__}, dagster-postgres {dagster_postgres.__version__}"
_METADATA = (RunStorageSqlMetadata, SqlEventLogStorageMetadata, ScheduleStorageSqlMetadata)
# An upgrade may rewrite the runs and events of years.
_LIMIT_SECONDS = 30 * 60


def make_tables(storage: DagsterPostgresStorage, server: str, schema: str) -> None:
    """Make the schema and Dagster's tables where they are missing, or older than this version of Dagster.

    Safe to call from several processes at once, and after a kill at any moment.

    Args:
        storage: whose tables are made; it works in the schema.
        server: URL (libpq) of the server.
        schema: where the tables belong.

    Raises:
        PostgresError: the server cannot be reached.
        WaitedTooLong: another process that makes them does not come to an end.
    """
    if _completed(server, schema):
        return
    what = f"another process that makes Dagster's tables in the schema {schema}"
    with turn(server, f"tables of {schema}", what, limit=_LIMIT_SECONDS):
        if not _completed(server, schema):
            engine = sa.create_engine(storage.postgres_url, poolclass=sa.NullPool)
            with engine.begin() as connection:
                _make(connection, schema)
            _migrate_data(storage)
            storage.run_storage.set_cursor_values({_MARKER: _VERSION})


def _completed(server: str, schema: str) -> bool:
    with connect(server, autocommit=True) as connection:
        table = connection.execute(
            "select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = %s and c.relname = 'kvs'",
            [schema],
        ).fetchone()
        if table is None:
            return False
        query = psycopg.sql.SQL("select 1 from {} where key = %s and value = %s").format(
            psycopg.sql.Identifier(schema, "kvs")
        )
        return connection.execute(query, [_MARKER, _VERSION]).fetchone() is not None


def _make(connection: sa.Connection, schema: str) -> None:
    connection.execute(sa.text(f"set local lock_timeout = '{_LIMIT_SECONDS}s'"))
    make_schemas(connection, [schema])
    config = pg_alembic_config(dagster_postgres.run_storage.__file__)
    revision = MigrationContext.configure(connection).get_current_revision()
    script = ScriptDirectory.from_config(config)
    known = {known.revision for known in script.walk_revisions()}
    # One that is not known is of a newer Dagster, whose tables have all that this one needs.
    if revision in known and revision != script.get_current_head():
        run_alembic_upgrade(config, connection)
    for metadata in _METADATA:
        for table in metadata.sorted_tables:
            table.create(connection, checkfirst=True)
            # Of a table that is there already indexes may be missing.
            for index in table.indexes:
                index.create(connection, checkfirst=True)
    if revision is None:
        stamp_alembic_rev(config, connection)


def _migrate_data(storage: DagsterPostgresStorage) -> None:
    # Each marks itself as done, and does nothing where it is. Where there are no runs yet that is all they do.
    storage.run_storage.migrate()
    storage.event_log_storage.reindex_events()
    storage.event_log_storage.reindex_assets()
    storage.schedule_storage.migrate()
    storage.schedule_storage.optimize()
    if not storage.run_storage.get_runs_count():
        # Those of existing runs are Dagster's optional ones (`dagster instance reindex`).
        storage.run_storage.optimize()
