"""The marts: tables in PostgreSQL, published in one transaction with what the ledger books of them.

And some rows of a table, where all of them would be too many.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
import sqlalchemy as sa

# See `postgres`.
from dagster._core.storage.db_io_manager import TableSlice
from sqlalchemy.dialects.postgresql.asyncpg import dialect as numbered_parameters

from pipeline_assets.built import Built
from pipeline_assets.columns import contract_schema
from pipeline_assets.io_managers.frames import FrameStream
from pipeline_assets.io_managers.postgres import PostgresClient, PostgresDbIOManager, TableError, quoted, read
from pipeline_assets.io_managers.revisions import observe_revisions
from pipeline_assets.ledger.builds import book_revisions, confirmation, require_all
from pipeline_assets.namespace import MARTS
from pipeline_assets.partitions import record_only
from pipeline_assets.platform import Platform
from pipeline_assets.tables.spec import TableSpec

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor


class MartsIOManager(PostgresDbIOManager):
    """Publishes what was built of the marts; loads their rows.

    Args:
        platform: the deployment.
    """

    _built: Built | None = None
    _revised: Sequence[date] = ()

    def __init__(self, platform: Platform) -> None:
        tables = {name: table for name, table in platform.tables.items() if table.store == "marts"}
        super().__init__(
            url=lambda: platform.postgres_url,
            schema=platform.settings.namespace.marts,
            contracts={name: table.contract for name, table in tables.items()},
        )
        self._platform = platform

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Publish what was built: rows, the confirmation of the run's claim and what goes with it in one transaction.

        Raises:
            OvertakenError: one of the days was claimed again since; nothing was published.
            TookTooLongError: files that were read may be gone; nothing was published.
            TableError: PostgreSQL refused something.
        """
        if not isinstance(obj, Built) or obj.frames is None:
            raise dg.DagsterInvariantViolationError(
                f"{context.asset_key.to_user_string()} returned {type(obj).__name__}; the marts store tables of the "
                "model only."
            )
        # One that knows what it publishes, so that this one keeps nothing of any run.
        publishing = copy.copy(self)
        publishing._built = obj
        try:
            super(MartsIOManager, publishing).handle_output(
                context, FrameStream(obj.frames, replaces=obj.replaces, checked=True)
            )
            observe_revisions(context, obj, publishing._revised, self._platform.settings.namespace)
        finally:
            obj.frames.close()

    def rows_of_days(self, table: TableSpec, days: Collection[date] | None, *, columns: Sequence[str]) -> pl.DataFrame:
        """See `rows_of_days`."""
        schema = self._platform.settings.namespace.marts
        return rows_of_days(self.client, table, days, columns=columns, schema=schema)

    def rows_among(self, table: TableSpec, column: str, values: pl.Series, *, columns: Sequence[str]) -> pl.DataFrame:
        """See `rows_among`."""
        schema = self._platform.settings.namespace.marts
        return rows_among(self.client, table, column, values, columns=columns, schema=schema)

    def rows_of_keys(self, table: TableSpec, seeds: pl.Series, days: Collection[date]) -> pl.DataFrame | None:
        """See `rows_of_keys`."""
        settings = self._platform.settings
        timezone, schema = ZoneInfo(settings.timezone), settings.namespace.marts
        return rows_of_keys(self.client, table, seeds, days, timezone=timezone, schema=schema)

    def partitions_written(self, context: dg.OutputContext) -> Sequence[str] | None:  # noqa: ARG002
        """The days that the run has claimed."""
        return None if self._built is None else [day.isoformat() for day in self._built.days]

    def before_commit(self, context: dg.OutputContext, connection: "Connection") -> None:  # noqa: ARG002
        """Confirm the claim, and book what the table says of each day."""
        built = self._built
        assert built is not None  # noqa: S101
        settings = self._platform.settings
        schemas = settings.namespace.schemas
        confirmed = confirmation(
            self._platform.tables[built.table],
            built.days,
            built.claim_id,
            timezone=settings.timezone,
            mart=quoted(settings.namespace.marts, built.table),
            is_part=built.replaces is not None,
        )
        with connection.cursor() as cursor:
            _execute(cursor, confirmed, schemas)
            require_all(built.table, built.days, [age for (age,) in cursor.fetchall()])
            for statement in book_revisions(built.table, built.revisions) if built.revisions is not None else ():
                _execute(cursor, statement, schemas)
                self._revised = [*self._revised, *(day for (day,) in cursor.fetchall())]

    def partition_figures(
        self,
        context: dg.OutputContext,
        written: Mapping[str, Mapping[str, int | float]],  # noqa: ARG002
    ) -> Mapping[str, Mapping[str, int | float]]:
        """The figures of the days that were built, which are recorded alone."""
        assert self._built is not None  # noqa: S101
        # Not before: the base class asks for the range from the first to the last.
        record_only(context, self._built.days)
        return {day.isoformat(): dict(of) for day, of in self._built.figures.items()}


def _execute(cursor: "Cursor", statement: sa.UpdateBase, schemas: Mapping[str, str]) -> None:
    """Run a statement of SQLAlchemy on a connection of ADBC, with its schemas called as the deployment calls them."""
    compiled = statement.compile(
        dialect=numbered_parameters(),
        compile_kwargs={"render_postcompile": True},
        schema_translate_map=dict(schemas),
        render_schema_translate=bool(schemas),
    )
    cursor.execute(str(compiled), [compiled.params[name] for name in compiled.positiontup or ()] or None)


def rows_of_days(
    client: PostgresClient,
    table: TableSpec,
    days: Collection[date] | None,
    *,
    columns: Sequence[str],
    schema: str = MARTS,
) -> pl.DataFrame:
    """The rows of some days of a table, or all of them.

    Args:
        client: of the server.
        table: the table.
        days: the days; None for all rows.
        columns: columns wanted.
        schema: where the table is.

    Raises:
        TableError: there is no such table, PostgreSQL cannot be reached or refused a statement.
    """
    condition, values = "true", []
    if days is not None:
        condition = f"{quoted(table.partition_column or '')} = ANY($1::text[]::date[])"
        values = [[day.isoformat() for day in days]]
    return _required(_rows(client, schema, table, condition, values, columns=columns), schema, table)


def rows_among(
    client: PostgresClient,
    table: TableSpec,
    column: str,
    values: pl.Series,
    *,
    columns: Sequence[str],
    schema: str = MARTS,
) -> pl.DataFrame:
    """The rows of a table with one of some values.

    Args:
        client: of the server.
        table: the table.
        column: a column of texts.
        values: those wanted.
        columns: columns wanted.
        schema: where the table is.

    Raises:
        TableError: there is no such table, PostgreSQL cannot be reached or refused a statement.
    """
    condition = f"{quoted(column)} = ANY($1::text[])"
    return _required(_rows(client, schema, table, condition, [values.to_list()], columns=columns), schema, table)


def rows_of_keys(
    client: PostgresClient,
    table: TableSpec,
    seeds: pl.Series,
    days: Collection[date],
    *,
    timezone: ZoneInfo,
    schema: str = MARTS,
) -> pl.DataFrame | None:
    """The rows of all keys that have a row of a certain seed, or one that may be made of input rows of some days.

    Args:
        client: of the server.
        table: a table with an incremental key.
        seeds: values of its `seed`.
        days: calendar days in the reporting time zone.
        timezone: the reporting time zone.
        schema: where the table is.

    Returns:
        All columns, with the types of the contract; None if there is no such table.

    Raises:
        TableError: PostgreSQL cannot be reached or refused a statement.
    """
    incremental = table.incremental
    assert incremental is not None  # noqa: S101
    spans = _spans(days, timezone)
    columns = (incremental.key, incremental.seed, incremental.first, incremental.last)
    key, seed, first, last = map(quoted, columns)
    name = quoted(schema, table.name)
    condition = f"""
        {key} IN (
            SELECT {key} FROM {name} WHERE {seed} = ANY($1::text[])
            UNION
            SELECT {key} FROM {name}
            JOIN unnest($2::text[]::timestamptz[], $3::text[]::timestamptz[]) AS span (since, before)
            ON {last} >= since AND {first} < before
        )
    """  # noqa: S608
    parameters = [seeds.to_list(), *([span[end].isoformat() for span in spans] for end in (0, 1))]
    return _rows(client, schema, table, condition, parameters, columns=table.contract.column_names())


def _rows(
    client: PostgresClient,
    schema: str,
    table: TableSpec,
    condition: str,
    parameters: Sequence[object],
    *,
    columns: Sequence[str],
) -> pl.DataFrame | None:
    """Rows with the types of the contract; None if there is no such table."""
    table_slice = TableSlice(table.name, schema)
    with client.connect(None, table_slice) as connection:
        found = client.describe(table_slice, connection)
        if found is None:
            return None
        return read(
            connection,
            quoted(schema, table.name),
            found,
            columns=columns,
            condition=condition,
            parameters=parameters,
            types=contract_schema(table.contract),
        )


def _required(rows: pl.DataFrame | None, schema: str, table: TableSpec) -> pl.DataFrame:
    if rows is None:
        raise TableError(f"{schema}.{table.name} does not exist. Materialize {table.name} first.")
    return rows


def _spans(days: Collection[date], timezone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """The moments since and before which the days lie, those that follow each other together."""
    spans: list[tuple[datetime, datetime]] = []
    for day in sorted(days):
        since, before = (datetime.combine(day + timedelta(days=offset), time(), timezone) for offset in (0, 1))
        if spans and spans[-1][1] == since:
            spans[-1] = (spans[-1][0], before)
        else:
            spans.append((since, before))
    return spans
