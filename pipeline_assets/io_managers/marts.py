"""What a table in PostgreSQL holds already, for making it again in part."""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import adbc_driver_postgresql.dbapi as adbc
import polars as pl
from dagster._core.storage.db_io_manager import TableSlice

from pipeline_assets.contracts.tables import Table
from pipeline_assets.derivation import Groups
from pipeline_assets.io_managers import postgres
from pipeline_assets.io_managers.frames import contract_schema
from pipeline_assets.platform import Platform

MARTS = "marts"
"""The schema of the tables for people and BI tools."""


@dataclass(frozen=True)
class MartsReader:
    """A table in PostgreSQL, within one transaction.

    Attributes:
        client: describes the table.
        connection: to its server.
        table: the table.
        timezone: the reporting time zone.
    """

    client: postgres.PostgresClient
    connection: adbc.Connection
    table: Table
    timezone: ZoneInfo

    @property
    def exists(self) -> bool:
        """Whether the table is there at all."""
        return self._found is not None

    @cached_property
    def _found(self) -> postgres.Table | None:
        return self.client.describe(_slice(self.table), self.connection)

    def rows_of_groups(self, groups: Groups, seeds: pl.Series, days: Collection[date]) -> pl.DataFrame:
        """The rows of all groups that have a row of a certain seed, or one that may be made of input rows of some days.

        Args:
            groups: how the table falls into groups.
            seeds: values of their `seed`.
            days: calendar days in the reporting time zone.

        Returns:
            All columns, with the types of the contract.
        """
        assert self._found is not None  # noqa: S101
        name = postgres.quoted(MARTS, self.table.name)
        key, seed, first, last = map(postgres.quoted, (groups.key, groups.seed, groups.first, groups.last))
        spans = [tuple(moment.isoformat() for moment in span) for span in self._spans(days)]
        condition = f"""
            {key} IN (
                SELECT {key} FROM {name} WHERE {seed} = ANY($1::text[])
                UNION
                SELECT {key} FROM {name}
                JOIN unnest($2::text[]::timestamptz[], $3::text[]::timestamptz[]) AS span (since, before)
                ON {last} >= since AND {first} < before
            )
        """  # noqa: S608
        parameters = [seeds.to_list(), [since for since, _ in spans], [before for _, before in spans]]
        types = contract_schema(self.table.contract)
        return postgres.read(
            self.connection,
            name,
            self._found,
            columns=list(types),
            condition=condition,
            parameters=parameters,
            types=types,
        )

    def _spans(self, days: Collection[date]) -> list[tuple[datetime, datetime]]:
        """Moments since and before which the days lie, those that follow each other together."""
        spans: list[tuple[datetime, datetime]] = []
        for day in sorted(days):
            since, before = (datetime.combine(day + timedelta(days=offset), time(), self.timezone) for offset in (0, 1))
            if spans and spans[-1][1] == since:
                spans[-1] = (spans[-1][0], before)
            else:
                spans.append((since, before))
        return spans


@contextmanager
def marts_reader(platform: Platform, table: Table) -> Generator[MartsReader]:
    """Read a table in PostgreSQL.

    Raises:
        TableError: PostgreSQL cannot be reached or refused a statement.
    """
    client = postgres.PostgresClient(lambda: platform.postgres_url)
    with client.connect(None, _slice(table)) as connection:
        yield MartsReader(client, connection, table, ZoneInfo(platform.settings.timezone))


def _slice(table: Table) -> TableSlice:
    return TableSlice(table.name, MARTS)
