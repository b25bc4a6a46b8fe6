"""The project's IO managers: those of any project, plus the ledger's booking in the transaction that publishes."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
from sqlalchemy.dialects.postgresql.asyncpg import dialect as numbered_parameters

from pipeline_assets.contracts.tables import MARTS, TABLES
from pipeline_assets.io_managers.lake import ParquetLakeIOManager
from pipeline_assets.io_managers.postgres import PostgresPolarsIOManager
from pipeline_assets.ledger.builds import book_counts, confirmation, require_all
from pipeline_assets.partitions import day_range
from pipeline_assets.platform import Platform

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection


class BookedLakeIOManager(ParquetLakeIOManager):
    """The lake. Files appear within the ledger transaction that confirms the run's claim on their days."""

    def __init__(self, platform: Platform) -> None:
        """Store below the deployment's lake folder."""
        super().__init__(platform.settings.lake_dir, contracts={name: table.contract for name, table in TABLES.items()})
        self._platform = platform

    def commit(self, context: dg.OutputContext, publish: Callable[[], None]) -> None:
        """Confirm the claim, book the days' counts, publish."""
        table, days = _written(context)
        run_id = context.run_id
        with self._platform.engine.begin() as connection:
            confirmed = connection.execute(confirmation(self._platform.recipes[table], days, run_id)).all()
            require_all(table, days, len(confirmed))
            book_counts(connection, self._platform.day_counts.pop(run_id))
            publish()

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame | pl.DataFrame:
        """Load, and remember when the run began to read."""
        self._platform.read_begins(context.step_context.run_id)
        return super().load_input(context)


class BookedPostgresIOManager(PostgresPolarsIOManager):
    """The marts. Rows and the confirmation of the run's claim are one transaction."""

    def __init__(self, platform: Platform) -> None:
        """Store in the schema `marts` of the deployment's server."""
        super().__init__(
            url=lambda: platform.postgres_url,
            schema="marts",
            contracts={table.name: table.contract for table in MARTS},
        )
        self._platform = platform

    def load_input(self, context: dg.InputContext) -> object:
        """Load, and remember when the run began to read."""
        self._platform.read_begins(context.step_context.run_id)
        return super().load_input(context)

    def before_commit(self, context: dg.OutputContext, connection: "Connection") -> None:
        """Confirm the claim."""
        table, days = _written(context)
        recipe = self._platform.recipes[table]
        statement = confirmation(recipe, days, context.run_id).compile(dialect=numbered_parameters())
        with connection.cursor() as cursor:
            cursor.execute(str(statement), [statement.params[name] for name in statement.positiontup or ()])
            require_all(table, days, len(cursor.fetchall()))


def _written(context: dg.OutputContext) -> tuple[str, Sequence[date]]:
    window = context.asset_partition_key_range
    days = day_range(date.fromisoformat(window.start), date.fromisoformat(window.end))
    return context.asset_key.path[-1], days
