"""Asset checks of tables: that they keep their contracts, and whatever their specs check besides.

The lake's files are asked by DuckDB, the marts by PostgreSQL. Checks of daily tables look at the days of the run, those
of tables without partitions at all rows.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cached_property
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster_duckdb import DuckDBResource
from duckdb import DuckDBPyConnection

from pipeline_assets.analyses.unknown_names import never_occurred
from pipeline_assets.checks.footers import read_footers
from pipeline_assets.checks.grouping import Check, asset_check
from pipeline_assets.checks.results import checked_days, result
from pipeline_assets.ledger.looks import known_event_names
from pipeline_assets.ledger.schema import text
from pipeline_assets.platform import Platform
from pipeline_assets.registry import TableSpecs
from pipeline_assets.storage.parquet import parquet_relation
from pipeline_assets.tables.checking import Rows, TableCheck
from pipeline_assets.tables.spec import TableSpec


def table_checks(tables: TableSpecs) -> list[Check]:
    """The checks that follow from the specs of tables."""
    checks: list[Check] = []
    for table in tables.values():
        checks.append(_contract(table) if table.store == "marts" else _lake_contract(table))
        # A deployment need not make the tables that a check compares with.
        checks += [_of_spec(table, each) for each in table.checks if tables.keys() >= set(each.also_reads)]
        if table.event_names:
            checks.append(_events_occur(table))
    return checks


def _of_spec(table: TableSpec, check: TableCheck) -> Check:
    """A check that a table's spec has."""
    reads = {each.table for each in table.inputs}

    @asset_check(
        asset=table.name,
        name=check.name,
        blocking=check.blocking,
        description=check.description,
        # Inputs come before it anyway.
        additional_deps=[name for name in check.also_reads if name not in reads],
    )
    def of_spec(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> dg.AssetCheckResult:
        found = check.find(_Reader(context, platform, duckdb, table.name))
        return result(found.passed, found.numbers, description=found.description, warn=not check.blocking)

    return of_spec


class _Reader:
    """The tables of a deployment, as a check of one of them asks for them; see `Reader`."""

    def __init__(
        self, context: dg.AssetCheckExecutionContext, platform: Platform, duckdb: DuckDBResource, table: str
    ) -> None:
        self._context = context
        self._platform = platform
        self._duckdb = duckdb
        self._table = table

    @cached_property
    def days(self) -> Sequence[date]:
        return checked_days(self._context, self._platform, self._table)

    @contextmanager
    def duckdb(self) -> Generator[DuckDBPyConnection]:
        with self._duckdb.get_connection() as connection:
            connection.execute("set TimeZone = 'UTC'")
            yield connection

    def paths(self, table: str, days: Iterable[date] | None = None) -> list[str]:
        return self._platform.lake_paths(table, self.days if days is None else days)

    def lake_rows(self, table: str, query: str, *, days: Iterable[date] | None = None) -> list[tuple]:
        paths = self.paths(table, days)
        if not paths:
            return []
        with self.duckdb() as connection:
            parquet_relation(connection, paths).create_view("files")
            return connection.execute(query).fetchall()

    def lake(self, table: str, query: str, *, all_days: bool = False) -> Rows:
        days = self._platform.builds.built_days(table) if all_days else None
        return _by_key(self.lake_rows(table, query, days=days))

    def rows(self, query: str, **values: object) -> list[tuple]:
        with self._platform.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(connection, query), self._bound(query, values))]

    def record(self, query: str) -> Mapping[str, Any]:
        with self._platform.engine.connect() as connection:
            return dict(connection.execute(text(connection, query), self._bound(query, {})).mappings().one())

    def marts(self, query: str, **values: object) -> Rows:
        return _by_key(self.rows(query, **values))

    def _bound(self, query: str, values: Mapping[str, object]) -> dict[str, object]:
        return {**values, "days": list(self.days)} if ":days" in query else dict(values)


def _by_key(rows: Iterable[tuple]) -> Rows:
    return {row[0]: row[1] if len(row) == 2 else tuple(row[1:]) for row in rows}


def _events_occur(table: TableSpec) -> Check:
    """A warning if the declaration of a table asks for events that never were."""

    @asset_check(
        asset=table.name,
        name="events_occur",
        description="Every name of an event that the declaration asks for has occurred, at whatever time.",
    )
    def events_occur(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        never = never_occurred(table.event_names, known_event_names(platform.engine))
        return result(
            not never, {"names": len(table.event_names), "never_occurred": [str(name) for name in never]}, warn=True
        )

    return events_occur


def _contract(table: TableSpec) -> Check:
    @asset_check(
        asset=table.name,
        name="contract",
        blocking=True,
        description="The table has the contract's columns, and PostgreSQL enforces its keys and required columns.",
    )
    def contract(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        inspector, schema = sa.inspect(platform.engine), platform.settings.namespace.marts
        stored = {column["name"]: column for column in inspector.get_columns(table.name, schema=schema)}
        columns = table.contract.columns()
        missing = sorted(columns.keys() - stored.keys())
        unenforced = sorted(
            name
            for name, column in columns.items()
            if name in stored and not column.nullable and stored[name]["nullable"]
        )
        key = sorted(inspector.get_pk_constraint(table.name, schema=schema)["constrained_columns"])
        return result(
            not missing and not unenforced and key == sorted(table.contract.primary_key()),
            {"columns": len(stored), "missing": missing, "nulls_not_refused": unenforced, "primary_key": key},
        )

    return contract


def _lake_contract(table: TableSpec) -> Check:
    @asset_check(
        asset=table.name,
        name="contract",
        blocking=True,
        description="The stored files have the contract's columns and types, and no null where it allows none.",
    )
    def contract(context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        listed = platform.listed(table.name, checked_days(context, platform, table.name))
        paths = {path: day for day, files in listed.items() for path in platform.lake.paths(files)}
        found = read_footers(paths, table.contract)
        wrong = sorted({paths[path].isoformat() for path in found.differing})
        return result(
            found.keep_contract,
            {"rows": found.rows, "nulls_in_required_columns": found.nulls, "days_with_other_columns": wrong[:10]},
        )

    return contract
