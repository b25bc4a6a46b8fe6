"""The assets of all tables: claim, build, and hand what was built to the IO manager, which publishes it."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
from dagster_duckdb import DuckDBResource

from pipeline_assets.asset_keys import revisions_key, staged_days_key, table_key
from pipeline_assets.assets.building import claimed, table_arguments
from pipeline_assets.built import Built
from pipeline_assets.declarations.analyses import Analysis
from pipeline_assets.engine.building import Building
from pipeline_assets.io_managers.marts import MartsIOManager
from pipeline_assets.namespace import Namespace
from pipeline_assets.partitions import ONLY_STALE_TAG
from pipeline_assets.planning import STAGING
from pipeline_assets.platform import Platform
from pipeline_assets.progress import Progress
from pipeline_assets.registry import TableSpecs
from pipeline_assets.resources import with_resources_of
from pipeline_assets.settings import Settings
from pipeline_assets.tables.spec import Input, TableSpec

_REVISIONS = dg.TableSchema(
    [
        dg.TableColumn("day", "date", "Day in the reporting time zone"),
        dg.TableColumn("revision", "text", "Digest of what the table says of the day"),
    ]
)


def table_asset(
    spec: TableSpec,
    settings: Settings,
    *,
    tables: TableSpecs,
    made_of: Mapping[str, Sequence[dg.AssetKey]],
    days: dg.DailyPartitionsDefinition,
    declared: Analysis | None = None,
) -> dg.AssetsDefinition:
    """The asset of a table, and what declares it if it is a declared one; see `table_arguments`."""
    namespace = settings.namespace
    # The step reads what its claim lists, which Dagster's way of loading inputs before it could not.
    deps = [dep for each in spec.inputs for dep in _deps(each, spec, tables, namespace)]

    @dg.asset(**table_arguments(spec, settings, made_of=made_of, days=days, declared=declared, deps=deps))
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


def revisions_asset(spec: TableSpec, settings: Settings, days: dg.DailyPartitionsDefinition) -> dg.AssetSpec:
    """What a table without partitions says of each day, which daily tables read of it.

    Dagster knows one version of such a table, and would take every day of every daily table that reads it for out of
    date whenever it is built. So its version never changes, and each build observes here the days of which it says
    something else, with the revisions by which the ledger tells which days are stale. The daily tables depend on both:
    on the table itself for the order of steps, which Dagster does not follow through what it does not execute.
    """
    namespace, name = settings.namespace, spec.name
    return dg.AssetSpec(
        revisions_key(name, namespace),
        deps=[table_key(name, namespace)],
        group_name=namespace.named(spec.group),
        kinds={"postgres"},
        description=f"What `{name}` says of each day. Nothing to materialize: a build of `{name}` observes the days of "
        "which it says something else than before, and tables read it day by day.",
        metadata={"dagster/column_schema": _REVISIONS, "dagster/table_name": f"{namespace.ledger}.revisions"},
        partitions_def=days,
    )


def _deps(each: Input, table: TableSpec, tables: TableSpecs, namespace: Namespace) -> Iterator[dg.AssetDep]:
    if each.table == STAGING:
        yield dg.AssetDep(staged_days_key(namespace), partition_mapping=_mapping(each, table))
        return
    read = tables[each.table]
    yield dg.AssetDep(
        table_key(read.name, namespace), partition_mapping=_mapping(each, table) if read.is_daily else None
    )
    if table.is_daily and read.revisions is not None:
        yield dg.AssetDep(revisions_key(read.name, namespace), partition_mapping=_mapping(each, table))


def _mapping(each: Input, table: TableSpec) -> dg.PartitionMapping | None:
    """Which days of an input with daily partitions a partition reads."""
    if not table.is_daily:
        return dg.AllPartitionMapping()
    if each.before or each.after:
        # Before the first day shown, and after the current one, there is nothing to read and nothing amiss.
        return dg.TimeWindowPartitionMapping(
            start_offset=-each.before, end_offset=each.after, allow_nonexistent_upstream_partitions=True
        )
    return None
