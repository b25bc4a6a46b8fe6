"""Events: the staged rows of a day, deduplicated and enriched."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

import dagster as dg
import polars as pl

from pipeline_assets.assets.building import claimed_days, run_days, table_arguments
from pipeline_assets.batching import Batch, batches
from pipeline_assets.contracts.tables import EVENTS
from pipeline_assets.day_counts import DayCounts
from pipeline_assets.io_managers.frames import FrameStream
from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.ledger.looks import MOST_EVENT_NAMES
from pipeline_assets.platform import Platform
from pipeline_assets.progress import Progress
from pipeline_assets.resources import with_resources_of
from pipeline_assets.settings import Settings
from pipeline_assets.staging.staged import scan_staged
from pipeline_assets.tables.events import build_events, look_back_days


def events_asset(
    settings: Settings,
    staging: Sequence[dg.AssetKey],
    *,
    version: str,
    made_of: Mapping[str, Sequence[dg.AssetKey]],
    days: dg.DailyPartitionsDefinition,
) -> dg.AssetsDefinition:
    """The asset `events`, fed by the staging assets of all sources; see `table_arguments`."""

    @dg.asset(**table_arguments(EVENTS, settings, version=version, made_of=made_of, days=days, deps=staging))
    @with_resources_of(settings.namespace)
    def events(
        context: dg.AssetExecutionContext,
        platform: dg.ResourceParam[Platform],
        progress: dg.ResourceParam[Progress],
    ) -> FrameStream:
        # Reads the staged rows of the days and, for duplicates, of the `dedup_days` before them.
        wanted = run_days(context, platform, EVENTS)
        dedup_days = {source.name: source.dedup_days for source in platform.sources.values()}
        look_back = timedelta(days=look_back_days(dedup_days))
        staged = platform.staged_files(wanted[0] - look_back, wanted[-1])
        platform.require_staged(staged)
        days = claimed_days(context, platform, EVENTS, staged)
        counts = dict.fromkeys(days, DayCounts())
        platform.day_counts[context.run.run_id] = counts
        names = platform.event_names[context.run.run_id] = set()
        lake = platform.settings.lake_dir

        def frames() -> Iterator[pl.DataFrame]:
            per_day: dict[date, int] = {}
            for file in staged:
                per_day[file.event_date] = per_day.get(file.event_date, 0) + file.rows
            work = list(batches(days, per_day))
            with progress.track("events", len(work), context.log) as advance:
                for batch in work:
                    first, last = batch.days[0], batch.days[-1]
                    found = build_events(
                        select(batch, scan_staged(lake, between(staged, first, last))),
                        select(batch, scan_staged(lake, between(staged, first - look_back, first - timedelta(days=1)))),
                        dedup_days=dedup_days,
                    )
                    for day, of_batch in found.counts.items():
                        counts[day] = counts[day] + of_batch
                    for frame in found.frames():
                        if len(names) < MOST_EVENT_NAMES:
                            names.update(frame["event_name"].drop_nulls().unique().cast(pl.String))
                        yield frame
                    advance(f"{first} to {last}")

        return FrameStream(frames())

    return events


def between(staged: Sequence[StagedFile], first: date, last: date) -> list[StagedFile]:
    """The staged files of the days `first` to `last`, both included."""
    return [file for file in staged if first <= file.event_date <= last]


def select(batch: Batch, staged: pl.LazyFrame) -> pl.LazyFrame:
    """The batch's share of staged rows: rows with the same id (or, without one, the same content) stay together.

    Whatever their property, so that ids of several properties can be counted.
    """
    return batch.select(staged, "event_id", "row_hash")
