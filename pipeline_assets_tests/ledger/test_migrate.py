"""The migrations lead to the tables that the code declares."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

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
