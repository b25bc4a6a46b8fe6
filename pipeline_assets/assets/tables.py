"""The assets of all tables: claim, build, and hand what was built to the IO manager, which publishes it."""

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster_duckdb import DuckDBResource

from pipeline_assets.asset_keys import staged_days_key, table_key
from pipeline_assets.assets.building import claimed, table_arguments
from pipeline_assets.built import Built
from pipeline_assets.engine.building import Building
from pipeline_assets.io_managers.marts import MartsIOManager
from pipeline_assets.partitions import ONLY_STALE_TAG
from pipeline_assets.planning import STAGING
from pipeline_assets.platform import Platform
from pipeline_assets.progress import Progress
from pipeline_assets.registry import TableSpecs
from pipeline_assets.resources import with_resources_of
from pipeline_assets.settings import Settings
from pipeline_assets.tables.spec import Input, TableSpec


def table_asset(
    spec: TableSpec,
    settings: Settings,
    *,
    tables: TableSpecs,
    made_of: Mapping[str, Sequence[dg.AssetKey]],
    days: dg.DailyPartitionsDefinition,
) -> dg.AssetsDefinition:
    """The asset of a table; see `table_arguments`."""
    namespace = settings.namespace
    # The step reads what its claim lists, which Dagster's way of loading inputs before it could not.
    deps = [
        dg.AssetDep(
            staged_days_key(namespace) if each.table == STAGING else table_key(each.table, namespace),
            partition_mapping=_mapping(each, spec, tables),
        )
        for each in spec.inputs
    ]

    @dg.asset(**table_arguments(spec, settings, made_of=made_of, days=days, deps=deps))
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
            spec,
            claimed(context, platform, spec),
            marts=marts,
            database=duckdb.get_connection,
            track=lambda batches: progress.track(spec.name, batches, context.log),
        )
        # Whoever asks for the table itself, not for what is stale, gets all of it anew.
        return building.built(only_changed=ONLY_STALE_TAG in context.run.tags)

    return asset


def _mapping(each: Input, table: TableSpec, tables: TableSpecs) -> dg.PartitionMapping | None:
    if each.table != STAGING and not tables[each.table].is_daily:
        return None
    if not table.is_daily:
        return dg.AllPartitionMapping()
    if each.before or each.after:
        # Before the first day shown, and after the current one, there is nothing to read and nothing amiss.
        return dg.TimeWindowPartitionMapping(
            start_offset=-each.before, end_offset=each.after, allow_nonexistent_upstream_partitions=True
        )
    return None
