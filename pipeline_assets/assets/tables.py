"""The assets of all tables that are made from others: load, call the transform, return."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import date, timedelta
from functools import partial

import dagster as dg
import polars as pl
from dagster_duckdb import DuckDBResource
from duckdb import DuckDBPyConnection

from pipeline_assets.asset_keys import table_key
from pipeline_assets.assets.building import claimed_days, table_arguments
from pipeline_assets.batching import Batch, batches
from pipeline_assets.contracts.tables import EVENTS, Table
from pipeline_assets.derivation import Derived, Frames, Reads, build_part, build_whole
from pipeline_assets.io_managers.booked import BookedLakeIOManager, BookedPostgresIOManager
from pipeline_assets.io_managers.frames import FrameStream
from pipeline_assets.namespace import Namespace
from pipeline_assets.partitions import ONLY_STALE_TAG, day_range
from pipeline_assets.platform import Platform
from pipeline_assets.progress import Progress
from pipeline_assets.resources import with_resources_of
from pipeline_assets.settings import Settings

# Half of the columns of events are read, and most of those as categories.
_ROW_BUDGET = 1_000_000


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
    # Of these few rows are wanted, day by day.
    asked = [each for each in derived.reads if each.select or each.among]
    arguments = table_arguments(
        table,
        settings,
        version=version,
        made_of=made_of,
        days=days,
        ins={each.table.name: _loaded(each, table, namespace) for each in derived.reads if each not in asked},
        deps=[
            dg.AssetDep(table_key(each.table.name, namespace), partition_mapping=_mapping(each, table))
            for each in asked
        ],
    )

    @dg.asset(**arguments)
    @with_resources_of(namespace)
    def asset(
        context: dg.AssetExecutionContext,
        *,
        platform: dg.ResourceParam[Platform],
        progress: dg.ResourceParam[Progress],
        duckdb: DuckDBResource,
        marts: dg.ResourceParam[BookedPostgresIOManager],
        lake: dg.ResourceParam[BookedLakeIOManager],
        **inputs: pl.LazyFrame | pl.DataFrame,
    ) -> FrameStream:
        days = claimed_days(context, platform, table)
        loaded = {name: frame.lazy() for name, frame in inputs.items()}

        if table.partition_column is None:
            with progress.track(table.name, 1, context.log) as advance:
                made = _whole(derived, loaded, context, platform=platform, marts=marts, lake=lake)
                advance(table.name)
            return made

        def daily() -> Iterator[pl.DataFrame]:
            work = _work(derived, days, platform)
            database = duckdb.get_connection() if any(each.select for each in asked) else nullcontext()
            with progress.track(table.name, len(work), context.log) as advance, database as connection:
                for batch in work:
                    near = {
                        each.table.name: _near(each, batch, derived.key, loaded[each.table.name])
                        for each in derived.reads
                        if each not in asked
                    }
                    for each in asked:
                        if each.among:
                            values = each.among.values(near)
                            read = marts.rows_among(each.table, each.among.column, values, columns=each.columns)
                        else:
                            assert connection is not None  # noqa: S101
                            read = _selected(each, batch, platform, connection)
                        near[each.table.name] = read.lazy()
                    rows = derived.build(near, batch.days)
                    if derived.tally:
                        tallies = platform.tallies.setdefault((context.run.run_id, table.name), {})
                        tallies.update(derived.tally(rows, batch.days))
                    yield rows
                    advance(f"{batch.days[0]} to {batch.days[-1]}")

        return FrameStream(daily())

    return asset


def _whole(
    derived: Derived,
    frames: Frames,
    context: dg.AssetExecutionContext,
    *,
    platform: Platform,
    marts: BookedPostgresIOManager,
    lake: BookedLakeIOManager,
) -> FrameStream:
    """A table without partitions; of one that falls into groups those that have to be made again, if that is known."""
    table, groups = derived.table, derived.groups
    key = context.run.run_id, table.name
    changed = platform.changed_days.pop(key, None)
    part = None
    # Whoever asks for the table itself, not for what is stale, gets all of it anew.
    if groups is not None and changed is not None and ONLY_STALE_TAG in context.run.tags:
        part = build_part(
            derived,
            frames,
            {each.table.name: lake.scan_days(each.table, changed) for each in derived.reads},
            changed=changed,
            rows_of_groups=partial(marts.rows_of_groups, table, groups, days=changed),
            revisions=platform.builds.revisions(table.name),
        )
    if part is None:
        part = build_whole(derived, frames)
    if part.revisions is not None:
        platform.revisions[key] = part.revisions
    return FrameStream([part.rows], replaces=part.so_far)


def _work(derived: Derived, days: Sequence[date], platform: Platform) -> list[Batch]:
    """The days in batches that fit into memory."""
    if not derived.key:
        step = derived.days_at_once
        return [Batch(tuple(days[start : start + step])) for start in range(0, len(days), step)]
    around = max(max(each.before, each.after) for each in derived.reads if each.table is EVENTS)
    rows = platform.builds.event_rows(days[0] - timedelta(days=around), days[-1] + timedelta(days=around))
    return list(batches(days, rows, _ROW_BUDGET, around=around))


def _near(each: Reads, batch: Batch, key: tuple[str, ...], frame: pl.LazyFrame) -> pl.LazyFrame:
    """The days of an input that a batch reads, and of events its share of the keys."""
    if each.table.partition_column is not None:
        frame = frame.filter(pl.col(each.table.partition_column).is_between(*_span(each, batch)))
    return batch.select(frame, *key) if key and each.table is EVENTS else frame


def _selected(each: Reads, batch: Batch, platform: Platform, connection: DuckDBPyConnection) -> pl.DataFrame:
    """The rows that are wanted of an input's days, taken from its files."""
    assert each.select is not None  # noqa: S101
    first, last = _span(each, batch)
    paths = [str(path) for path in platform.lake_files(each.table, day_range(first, last)).values()]
    return each.select(connection, paths, first, last)


def _span(each: Reads, batch: Batch) -> tuple[date, date]:
    return batch.days[0] - timedelta(days=each.before), batch.days[-1] + timedelta(days=each.after)


def _loaded(each: Reads, table: Table, namespace: Namespace) -> dg.AssetIn:
    metadata = {"columns": list(each.columns)} if each.columns else None
    key = table_key(each.table.name, namespace)
    return dg.AssetIn(key=key, partition_mapping=_mapping(each, table), metadata=metadata)


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
