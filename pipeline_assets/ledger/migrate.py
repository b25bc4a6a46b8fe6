"""Bring the schema `ledger` to the version this code expects."""

from importlib.resources import as_file, files

import sqlalchemy as sa

from pipeline_assets.ledger.schema import REVISION, schema_of

# Any number; every process that migrates takes the same lock.
_LOCK = 0x1ED6E5


def migrate(engine: sa.Engine) -> None:
    """Create or upgrade the ledger's tables. Safe to call from several processes at once."""
    if _revision(engine) == REVISION:
        return
    # Imported here because it takes half a second, and the ledger is nearly always current.
    from alembic import command
    from alembic.config import Config

    with as_file(files("pipeline_assets.ledger") / "migrations") as folder, engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        connection.execute(sa.schema.CreateSchema(schema_of(engine), if_not_exists=True))
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if connection.execute(sa.select(sa.func.to_regclass(f"{schema_of(engine)}.alembic_version"))).scalar() is None:
            return None
        version = sa.table("alembic_version", sa.column("version_num"), schema=schema_of(engine))
        return connection.execute(sa.select(version.c.version_num)).scalar()
