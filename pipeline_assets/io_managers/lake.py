"""The lake's tables as assets: an output is published by exchanging lists, an input is what is listed.

The files are in the store before: the step of a table has put them there (`engine`). Here one transaction lists them in
place of those before, confirms the run's claim, and books what the step has counted.
"""

from datetime import date

import dagster as dg
import polars as pl

from pipeline_assets.built import Built
from pipeline_assets.io_managers.describing import describe_partitions
from pipeline_assets.io_managers.frames import subset
from pipeline_assets.io_managers.revisions import observe_revisions
from pipeline_assets.ledger.builds import book_counts, book_identifiers, book_revisions, confirmation, require_all
from pipeline_assets.ledger.catalogue import exchange
from pipeline_assets.ledger.looks import book_event_names
from pipeline_assets.partitions import record_only
from pipeline_assets.planning import UNPARTITIONED
from pipeline_assets.platform import Platform
from pipeline_assets.tables.spec import TableSpec


class LakeIOManager(dg.IOManager):
    """Publishes what was built of tables in the lake; loads LazyFrames, or DataFrames where annotated so.

    Input metadata `columns` chooses columns.

    Args:
        platform: the deployment.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Publish what was built.

        Raises:
            OvertakenError: one of the days was claimed again since; nothing was published.
            TookTooLongError: files that were read or written may be gone; nothing was published.
        """
        if not isinstance(obj, Built):
            raise dg.DagsterInvariantViolationError(
                f"{context.asset_key.to_user_string()} returned {type(obj).__name__}; the lake stores tables of the "
                "model only."
            )
        record_only(context, obj.days)
        with self._platform.engine.begin() as connection:
            timezone = self._platform.settings.timezone
            confirmed = confirmation(self._platform.tables[obj.table], obj.days, obj.claim_id, timezone=timezone)
            require_all(obj.table, obj.days, list(connection.execute(confirmed).scalars()))
            exchange(connection, obj.table, obj.days, obj.files, obj.run_id)
            book_counts(connection, obj.counts)
            book_event_names(connection, obj.event_names)
            book_identifiers(connection, obj.tallies)
            statements = book_revisions(obj.table, obj.revisions) if obj.revisions is not None else ()
            changed = [day for statement in statements for day in connection.execute(statement).scalars()]
        observe_revisions(context, obj, changed, self._platform.settings.namespace)
        self._describe(context, obj)

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame | pl.DataFrame:
        """The rows of the asked days, as they are listed now; days never built have none.

        Raises:
            LostRowsError: files of these days are not in the lake any more.
            ContractError: a column asked for does not exist.
        """
        table = self._table(context.asset_key)
        days = [UNPARTITIONED]
        if context.has_asset_partitions:
            days = [date.fromisoformat(key) for key in context.asset_partition_keys]
        listed = self._platform.listed(table.name, days)
        frame = self._platform.lake.scan((file for files in listed.values() for file in files), table.contract)
        if columns := (context.definition_metadata or {}).get("columns"):
            frame = frame.select(subset(columns, table.contract.column_names(), table.name))
        return frame.collect() if context.dagster_type.typing_type is pl.DataFrame else frame

    def _table(self, key: dg.AssetKey) -> TableSpec:
        return self._platform.tables[key.path[-1]]

    def _describe(self, context: dg.OutputContext, built: Built) -> None:
        table = self._table(context.asset_key)
        if table.partition_column is None:
            context.add_output_metadata({"dagster/row_count": sum(file.rows for file in built.files)})
        else:
            counts = self._platform.builds.event_counts(built.days) if built.counts else {}
            shown = {day.isoformat(): {**of, **counts.get(day, {})} for day, of in built.figures.items()}
            describe_partitions(context, shown)
        context.add_output_metadata({"dagster/uri": f"{self._platform.lake.store.url}/{table.name}"})
