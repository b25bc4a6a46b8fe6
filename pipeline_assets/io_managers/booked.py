"""The project's IO managers: those of any project, plus the ledger's booking in the transaction that publishes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import dagster as dg
import dataframely as dy
import polars as pl
import sqlalchemy as sa
from dagster._core.storage.db_io_manager import TableSlice
from sqlalchemy.dialects.postgresql.asyncpg import dialect as numbered_parameters

from pipeline_assets.contracts.tables import EVENTS, Store, Table
from pipeline_assets.derivation import Groups
from pipeline_assets.figures import Figure
from pipeline_assets.io_managers.describing import DescribesPartitions
from pipeline_assets.io_managers.lake import ParquetLakeIOManager, Publish
from pipeline_assets.io_managers.marts import rows_among, rows_of_groups
from pipeline_assets.io_managers.postgres import PostgresPolarsIOManager
from pipeline_assets.ledger.builds import (
    book_counts,
    book_identifiers,
    book_revisions,
    confirmation,
    require_all,
)
from pipeline_assets.ledger.looks import book_event_names
from pipeline_assets.planning import UNPARTITIONED
from pipeline_assets.platform import Platform

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor


class _BooksFigures(DescribesPartitions):
    """Shows the figures of every day of a run, also of those that need not be built."""

    _platform: Platform

    def partition_figures(
        self, context: dg.OutputContext, written: Mapping[str, Mapping[str, int | float]]
    ) -> Mapping[str, Mapping[str, int | float]]:
        """Book the figures of what was written, and give those of all days of the run."""
        return _of_all_days(context, self._platform, written)


class BookedLakeIOManager(_BooksFigures, ParquetLakeIOManager):
    """The lake. Files appear within the ledger transaction that confirms the run's claim on their days."""

    def __init__(self, platform: Platform) -> None:
        """Store below the deployment's lake folder."""
        super().__init__(
            platform.settings.lake_dir, contracts=_contracts(platform, "lake"), figures=_figures(platform, "lake")
        )
        self._platform = platform

    def partition_keys(self, context: dg.OutputContext) -> Sequence[str]:
        """The days that the run has claimed."""
        return [day.isoformat() for day in _written(context, self._platform)[1]]

    def commit(self, context: dg.OutputContext, publish: Publish) -> None:
        """Confirm the claim, book the days' counts, publish."""
        table, days = _written(context, self._platform)
        run_id = context.run_id
        published = False
        try:
            with self._platform.engine.begin() as connection:
                confirmed = connection.execute(confirmation(self._platform.recipes[table], days, run_id)).all()
                require_all(table, days, len(confirmed))
                if table == EVENTS.name:
                    book_counts(connection, self._platform.day_counts.pop(run_id))
                    book_event_names(connection, self._platform.event_names.pop(run_id, ()))
                book_identifiers(connection, self._platform.tallies.pop((run_id, table), {}))
                for statement in _revisions(self._platform, run_id, table):
                    connection.execute(statement)
                published = True
                # The transaction keeps others from these days. Without it somebody may have built them since, from
                # newer inputs: no file may be put over theirs.
                publish(lambda: connection.execute(sa.select(1)))
        except BaseException:
            if published:
                # Whose files are in place now is not known.
                self._platform.builds.build_again(table, days)
            raise

    def scan(self, table: str, column: str | None, keys: Iterable[str]) -> pl.LazyFrame:
        """The rows of some days.

        Raises:
            LostRowsError: a day was built, and its file is gone.
        """
        keys = list(keys)
        if table in self._platform.model.tables:
            self._platform.lake_files(
                self._platform.model.tables[table],
                [date.fromisoformat(key) for key in keys] if column else [UNPARTITIONED],
            )
        return super().scan(table, column, keys)

    def scan_days(self, table: Table, days: Collection[date]) -> pl.LazyFrame:
        """A daily table's rows of some days."""
        return self.scan(table.name, table.partition_column, [day.isoformat() for day in sorted(days)])

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame | pl.DataFrame:
        """Load, and remember when the run began to read."""
        self._platform.read_begins(context.step_context.run_id)
        return super().load_input(context)


class BookedPostgresIOManager(_BooksFigures, PostgresPolarsIOManager):
    """The marts. Rows and the confirmation of the run's claim are one transaction."""

    def __init__(self, platform: Platform) -> None:
        """Store in the schema of the marts of the deployment's server."""
        super().__init__(
            url=lambda: platform.postgres_url,
            schema=platform.settings.namespace.marts,
            contracts=_contracts(platform, "marts"),
            figures=_figures(platform, "marts"),
        )
        self._platform = platform

    def load_input(self, context: dg.InputContext) -> object:
        """Load, and remember when the run began to read."""
        self._platform.read_begins(context.step_context.run_id)
        return super().load_input(context)

    def rows_among(self, table: Table, column: str, values: pl.Series, *, columns: Sequence[str]) -> pl.DataFrame:
        """See `marts.rows_among`."""
        schema = self._platform.settings.namespace.marts
        return rows_among(self.client, table, column, values, columns=columns, schema=schema)

    def rows_of_groups(
        self, table: Table, groups: Groups, seeds: pl.Series, days: Collection[date]
    ) -> pl.DataFrame | None:
        """See `marts.rows_of_groups`."""
        settings = self._platform.settings
        timezone, schema = ZoneInfo(settings.timezone), settings.namespace.marts
        return rows_of_groups(self.client, table, groups, seeds, days, timezone=timezone, schema=schema)

    def _get_table_slice(self, context: Any, output_context: dg.OutputContext) -> TableSlice:
        """The table, and where rows are written the days that the run has claimed."""
        table_slice = super()._get_table_slice(context, output_context)
        if not isinstance(context, dg.OutputContext) or not table_slice.partition_dimensions:
            return table_slice
        _, days = _written(context, self._platform)
        definition = context.asset_partitions_def
        windows = [definition.time_window_for_partition_key(day.isoformat()) for day in (days[0], days[-1])]
        (dimension,) = table_slice.partition_dimensions
        claimed = dimension._replace(partitions=dg.TimeWindow(windows[0].start, windows[-1].end))
        return table_slice._replace(partition_dimensions=[claimed])

    def before_commit(self, context: dg.OutputContext, connection: "Connection") -> None:
        """Confirm the claim."""
        table, days = _written(context, self._platform)
        recipe = self._platform.recipes[table]
        schemas = self._platform.settings.namespace.schemas
        with connection.cursor() as cursor:
            _execute(cursor, confirmation(recipe, days, context.run_id), schemas)
            require_all(table, days, len(cursor.fetchall()))
            for statement in _revisions(self._platform, context.run_id, table):
                _execute(cursor, statement, schemas)


def _contracts(platform: Platform, store: Store) -> dict[str, type[dy.Schema]]:
    return {name: table.contract for name, table in platform.model.tables.items() if table.store == store}


def _figures(platform: Platform, store: Store) -> dict[str, Sequence[Figure]]:
    return {name: table.figures for name, table in platform.model.tables.items() if table.store == store}


def _of_all_days(
    context: dg.OutputContext, platform: Platform, written: Mapping[str, Mapping[str, int | float]]
) -> dict[str, Mapping[str, int | float]]:
    """The figures of every day of a run: of those that it need not build as they were booked when they were built.

    Dagster records all days of a run as materialized, and its UI plots what each day's latest record says.
    """
    table = context.asset_key.path[-1]
    platform.builds.book_figures(table, context.run_id, {date.fromisoformat(day): of for day, of in written.items()})
    days = [date.fromisoformat(key) for key in context.asset_partition_keys]
    booked = platform.builds.figures(table, days[0], days[-1])
    counts = platform.builds.event_counts(days[0], days[-1]) if table == EVENTS.name else {}
    return {day.isoformat(): {**booked.get(day, {}), **counts.get(day, {})} for day in days}


def _revisions(platform: Platform, run_id: str, table: str) -> list[sa.UpdateBase]:
    revised = platform.revisions.pop((run_id, table), None)
    return [] if revised is None else book_revisions(table, revised)


def _execute(cursor: "Cursor", statement: sa.UpdateBase, schemas: Mapping[str, str]) -> None:
    """Run a statement of SQLAlchemy on a connection of ADBC, with its schemas called as the deployment calls them."""
    compiled = statement.compile(
        dialect=numbered_parameters(),
        compile_kwargs={"render_postcompile": True},
        schema_translate_map=dict(schemas),
        render_schema_translate=bool(schemas),
    )
    cursor.execute(str(compiled), [compiled.params[name] for name in compiled.positiontup or ()] or None)


def _written(context: dg.OutputContext, platform: Platform) -> tuple[str, Sequence[date]]:
    """The table that is written, and the days of it that the run has claimed."""
    table = context.asset_key.path[-1]
    return table, platform.built_days[context.run_id, table]
