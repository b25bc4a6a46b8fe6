"""Bring the schema `ledger` to the version this code expects."""

from importlib.resources import as_file, files

import sqlalchemy as sa

from pipeline_assets.ledger.schema import REVISION, schema_of
from pipeline_assets.locks import take_turn
from pipeline_assets.namespace import DAGSTER, MARTS
from pipeline_assets.postgres import PostgresError
from pipeline_assets.schemas import has_table, make_schemas

# Rows of years may have to be rewritten.
_LIMIT_SECONDS = 30 * 60


class LedgerVersionError(PostgresError):
    """The ledger is newer than this version of the code; the message says what to do."""


def migrate(engine: sa.Engine) -> None:
    """Create or upgrade the ledger's tables, in one transaction. Safe to call from several processes at once.

    Raises:
        LedgerVersionError: a newer version of the code has upgraded it.
        PostgresError: the role may not make the schemas of the deployment.
        WaitedTooLong: another process that upgrades it does not come to an end.
    """
    found = _revision(engine)
    if found == REVISION:
        return
    if found is not None and found > REVISION:
        raise LedgerVersionError(
            f"The ledger (schema {schema_of(engine)}) is of version {found}, made by newer software; this one knows "
            f"{REVISION} at most. Use the newer version, or point PIPELINE_POSTGRES_URL at another database."
        )
    # Imported here because it takes half a second, and the ledger is nearly always current.
    from alembic import command
    from alembic.config import Config

    with as_file(files("pipeline_assets.ledger") / "migrations") as folder, engine.begin() as connection:
        schema = schema_of(engine)
        lock = sa.select(sa.func.pg_try_advisory_xact_lock(sa.func.hashtextextended(f"schema {schema}", 0)))
        # Somebody may be reading what is to be changed.
        connection.execute(sa.text(f"set local lock_timeout = '{_LIMIT_SECONDS}s'"))
        what = f"another process that upgrades the schema {schema}"
        take_turn(lambda: connection.execute(lock).scalar(), what, limit=_LIMIT_SECONDS)
        # Asked for all at once, so that an admin is asked once.
        make_schemas(connection, [schema], needed=[schema_of(engine, plain) for plain in (MARTS, DAGSTER)])
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not has_table(connection, schema_of(engine), "alembic_version"):
            return None
        version = sa.table("alembic_version", sa.column("version_num"), schema=schema_of(engine))
        return connection.execute(sa.select(version.c.version_num)).scalar()
