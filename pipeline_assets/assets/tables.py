"""The assets of all tables: claim, build, and hand what was built to the IO manager, which publishes it."""

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster_duckdb import DuckDBResource

from pipeline_assets.asset_keys import staged_days_key, table_key
from pipeline_assets.assets.building import claimed, table_arguments
from pipeline_assets.built import Built
from pipeline_assets.contracts.tables import STAGED, Table
from pipeline_assets.derivation import Derived, Reads
from pipeline_assets.engine.building import Building
from pipeline_assets.io_managers.marts import MartsIOManager
from pipeline_assets.partitions import ONLY_STALE_TAG
from pipeline_assets.platform import Platform
from pipeline_assets.progress import Progress
from pipeline_assets.resources import with_resources_of
from pipeline_assets.settings import Settings


def table_asset(
    derived: Derived,
    settings: Settings,
    *,
    version: str,
    made_of: Mapping[str, Sequence[dg.AssetKey]],
    days: dg.DailyPartitionsDefinition,
) -> dg.AssetsDefinition:
    """The asset of a table; see `table_arguments`."""
    table = derived.table
    namespace = settings.namespace
    # The step reads what its claim lists, which Dagster's way of loading inputs before it could not.
    keys = {each.table.name: table_key(each.table.name, namespace) for each in derived.reads}
    keys[STAGED.name] = staged_days_key(namespace)
    deps = [dg.AssetDep(keys[each.table.name], partition_mapping=_mapping(each, table)) for each in derived.reads]

    @dg.asset(**table_arguments(table, settings, version=version, made_of=made_of, days=days, deps=deps))
    @with_resources_of(namespace)
    def asset(
        context: dg.AssetExecutionContext,
        platform: dg.ResourceParam[Platform],
        progress: dg.ResourceParam[Progress],
        duckdb: DuckDBResource,
        marts: dg.ResourceParam[MartsIOManager],
    ) -> Built:
        building = Building(
            platform,
            derived,
            claimed(context, platform, table),
            marts=marts,
            database=duckdb.get_connection,
            track=lambda batches: progress.track(table.name, batches, context.log),
        )
        # Whoever asks for the table itself, not for what is stale, gets all of it anew.
        return building.built(only_changed=ONLY_STALE_TAG in context.run.tags)

    return asset


def _mapping(each: Reads, table: Table) -> dg.PartitionMapping | None:
    if each.table.partition_column is None:
        return None
    if table.partition_column is None:
        return dg.AllPartitionMapping()
    if each.before or each.after:
        # Before the first day shown, and after the current one, there is nothing to read and nothing amiss.
        return dg.TimeWindowPartitionMapping(
            start_offset=-each.before, end_offset=each.after, allow_nonexistent_upstream_partitions=True
        )
    return None
