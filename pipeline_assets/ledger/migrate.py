"""Bring the schema `ledger` to the version this code expects."""

from importlib.resources import as_file, files

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from pipeline_assets.ledger.schema import SCHEMA

# Any number; every process that migrates takes the same lock.
_LOCK = 0x1ED6E5


def migrate(engine: sa.Engine) -> None:
    """Create or upgrade the ledger's tables. Safe to call from several processes at once."""
    with as_file(files("pipeline_assets.ledger") / "migrations") as folder, engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
