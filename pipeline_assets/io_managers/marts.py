"""Some rows of a table in PostgreSQL, where all of them would be too many."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl
from dagster._core.storage.db_io_manager import TableSlice

from pipeline_assets.columns import contract_schema
from pipeline_assets.contracts.tables import Table
from pipeline_assets.derivation import Groups
from pipeline_assets.io_managers.postgres import PostgresClient, TableError, quoted, read
from pipeline_assets.namespace import MARTS


def rows_among(
    client: PostgresClient,
    table: Table,
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
    rows = _rows(client, schema, table, condition, [values.to_list()], columns=columns)
    if rows is None:
        raise TableError(f"{schema}.{table.name} does not exist. Materialize {table.name} first.")
    return rows


def rows_of_groups(
    client: PostgresClient,
    table: Table,
    groups: Groups,
    seeds: pl.Series,
    days: Collection[date],
    *,
    timezone: ZoneInfo,
    schema: str = MARTS,
) -> pl.DataFrame | None:
    """The rows of all groups that have a row of a certain seed, or one that may be made of input rows of some days.

    Args:
        client: of the server.
        table: a table that falls into groups.
        groups: how it does.
        seeds: values of their `seed`.
        days: calendar days in the reporting time zone.
        timezone: the reporting time zone.
        schema: where the table is.

    Returns:
        All columns, with the types of the contract; None if there is no such table.

    Raises:
        TableError: PostgreSQL cannot be reached or refused a statement.
    """
    spans = _spans(days, timezone)
    key, seed, first, last = map(quoted, (groups.key, groups.seed, groups.first, groups.last))
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
    table: Table,
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
