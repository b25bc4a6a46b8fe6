"""What a table in PostgreSQL holds already, for making it again in part."""

from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl
from dagster._core.storage.db_io_manager import TableSlice

from pipeline_assets.contracts.tables import Table
from pipeline_assets.derivation import Groups
from pipeline_assets.io_managers.frames import contract_schema
from pipeline_assets.io_managers.postgres import PostgresClient, quoted, read

MARTS = "marts"
"""The schema of the tables for people and BI tools."""


def rows_of_groups(
    client: PostgresClient,
    table: Table,
    groups: Groups,
    seeds: pl.Series,
    days: Collection[date],
    *,
    timezone: ZoneInfo,
) -> pl.DataFrame | None:
    """The rows of all groups that have a row of a certain seed, or one that may be made of input rows of some days.

    Args:
        client: of the server.
        table: a table that falls into groups.
        groups: how it does.
        seeds: values of their `seed`.
        days: calendar days in the reporting time zone.
        timezone: the reporting time zone.

    Returns:
        All columns, with the types of the contract; None if there is no such table.

    Raises:
        TableError: PostgreSQL cannot be reached or refused a statement.
    """
    table_slice = TableSlice(table.name, MARTS)
    spans = _spans(days, timezone)
    key, seed, first, last = map(quoted, (groups.key, groups.seed, groups.first, groups.last))
    name = quoted(MARTS, table.name)
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
    types = contract_schema(table.contract)
    with client.connect(None, table_slice) as connection:
        found = client.describe(table_slice, connection)
        if found is None:
            return None
        return read(
            connection, name, found, columns=list(types), condition=condition, parameters=parameters, types=types
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
