"""Tables and days that nothing asks for any more: which they are, how they are marked, how they go.

A table stays as it is until somebody says it should go; its comment in PostgreSQL says that it is not kept up to date.
Days before the platform's first day are gone as soon as the setting says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pipeline_assets.ledger.builds import hold, revoke
from pipeline_assets.ledger.catalogue import drop, dropped, forget
from pipeline_assets.ledger.schema import builds, event_days, revisions, schema_of
from pipeline_assets.namespace import MARTS
from pipeline_assets.planning import UNPARTITIONED
from pipeline_assets.storage.store import Store
from pipeline_assets.tables.spec import EVENTS, TableSpec

_READERS_LIMIT = "10s"
_MARK = "\n\nFROZEN: "


class LeftoverError(RuntimeError):
    """What should go cannot be removed; the message says why and what to do."""


@dataclass(frozen=True)
class Leftover:
    """Something that is there although nothing asks for it.

    Attributes:
        noun: what it is, e.g. `source`, `funnel`, `table`.
        name: its name.
        what: what holds for it, in words.
        since: when it was last seen declared; None where that is not known.
        is_table: whether it is a table that is not kept up to date.
        wanted: whether somebody wanted it so (`PIPELINE_TABLES`); otherwise somebody has to decide.
    """

    noun: str
    name: str
    what: str
    since: datetime | None = None
    is_table: bool = False
    wanted: bool = False

    @property
    def explained(self) -> str:
        """What holds for it, and since when."""
        return f"{self.what} (last declared {self.since:%Y-%m-%d})" if self.since else self.what


def built_tables(engine: sa.Engine) -> set[str]:
    """The names of all tables that were ever built and not removed since."""
    with engine.connect() as connection:
        return set(connection.execute(sa.select(builds.c.asset).distinct()).scalars())


def mark_tables(engine: sa.Engine, frozen: Mapping[str, str]) -> None:
    """Let the comments of the marts say which of them are frozen, and of no other.

    Args:
        engine: the server of the marts.
        frozen: what to say of each frozen table.
    """
    query = sa.text(
        "select c.relname, coalesce(obj_description(c.oid, 'pg_class'), '') from pg_class c "
        "join pg_namespace n on n.oid = c.relnamespace where n.nspname = :schema and c.relkind = 'r' order by c.relname"
    )
    schema = schema_of(engine, MARTS)
    with engine.begin() as connection:
        for table, comment in connection.execute(query, {"schema": schema}).all():
            own = comment.split(_MARK, 1)[0]
            wanted = f"{own}{_MARK}{frozen[table]}" if table in frozen else own
            if wanted != comment:
                connection.execute(
                    sa.schema.SetTableComment(sa.Table(table, sa.MetaData(), schema=schema, comment=wanted))
                )


def remove_table(engine: sa.Engine, store: Store, name: str) -> None:
    """Remove a table, wherever it is, and what the ledger has of it; may be repeated.

    Raises:
        LeftoverError: something in PostgreSQL depends on it, or somebody reads it.
        StoreError: the lake refused.
    """
    schema = schema_of(engine, MARTS)
    with engine.begin() as connection:
        # Should it be declared again before all of it is gone, it is not taken for built.
        revoke(connection, builds.c.asset == name)
        drop(connection, name)
    try:
        with engine.begin() as connection:
            # First, so that nobody else waits for what else is done while it waits for readers.
            connection.execute(sa.text(f"set local lock_timeout = '{_READERS_LIMIT}'"))
            connection.execute(sa.schema.DropTable(sa.Table(name, sa.MetaData(), schema=schema), if_exists=True))
            connection.execute(sa.delete(revisions).where(revisions.c.asset == name))
    except DBAPIError as error:
        reasons = {
            "2BP01": "views or other objects of yours depend on it. Drop those",
            "55P03": f"somebody has read it for {_READERS_LIMIT}. See in pg_stat_activity who has left a transaction "
            "open, and have it ended",
        }
        reason = reasons.get(getattr(error.orig, "sqlstate", ""))
        if reason is None:
            raise
        raise LeftoverError(f"{schema}.{name} cannot be dropped: {reason}; then run this again.") from error
    # Before the ledger forgets the table: after that nobody would ask again for what is left of it.
    remove_files(engine, store, name)
    with engine.begin() as connection:
        # What was claimed since is of a table that is declared again.
        mine = (builds.c.asset == name, builds.c.state == "building", builds.c.run_id == "")
        hold(connection, *mine)
        connection.execute(sa.delete(builds).where(*mine))


def remove_files(engine: sa.Engine, store: Store, asset: str) -> None:
    """Remove the dropped files of an asset at once, and not only with a sweep after two days; may be repeated.

    What is listed stays, and so does what is in no list yet: should the asset be declared again meanwhile, it is of the
    new one.

    Raises:
        StoreError: the lake refused.
    """
    with engine.connect() as connection:
        files = dropped(connection, asset)
    # The bytes first: after the ledger has forgotten them nobody would ask again.
    store.delete(files.values())
    with engine.begin() as connection:
        forget(connection, files)


def remove_days_before(engine: sa.Engine, tables: Iterable[TableSpec], first: date) -> list[date]:
    """Remove the days before the first one from some tables and from the ledger's builds; which days there were."""
    daily = {table.name: table for table in tables if table.partition_column is not None}
    b = builds.c
    early = (b.day > UNPARTITIONED, b.day < first)
    with engine.connect() as connection:
        days = connection.execute(sa.select(b.asset, b.day).where(b.asset.in_(daily), *early)).all()
    if not days:
        return []
    touched = sorted({name for name, _ in days})
    schema = schema_of(engine, MARTS)
    with engine.begin() as connection:
        revoke(connection, b.asset.in_(touched), *early)
    with engine.begin() as connection:
        inspector = sa.inspect(connection)
        for name in touched:
            if daily[name].store == "marts" and inspector.has_table(name, schema=schema):
                column = sa.column(daily[name].partition_column or "", sa.Date)
                connection.execute(sa.delete(sa.table(name, column, schema=schema)).where(column < first))
        # With the tables without partitions, which say something of these days.
        hold(connection, sa.or_(sa.and_(b.asset.in_(touched), *early), b.day == UNPARTITIONED))
        for name in touched:
            drop(connection, name, [day for of, day in days if of == name])
        connection.execute(sa.delete(builds).where(b.asset.in_(touched), *early))
        connection.execute(sa.delete(revisions).where(revisions.c.day < first))
        if EVENTS in touched:
            connection.execute(sa.delete(event_days).where(event_days.c.event_date < first))
    return sorted({day for _, day in days})


def rows_of(engine: sa.Engine, name: str, condition: str = "true", values: Mapping[str, object] | None = None) -> int:
    """Rows of a table of the marts; 0 where it is not there."""
    schema = schema_of(engine, MARTS)
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(name, schema=schema):
            return 0
        query = sa.select(sa.func.count()).select_from(sa.table(name, schema=schema)).where(sa.text(condition))
        return connection.execute(query, dict(values or {})).scalar_one()
