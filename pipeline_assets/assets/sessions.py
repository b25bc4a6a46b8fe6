"""Sessions and page views: what visitors did between two pauses."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import dagster as dg
import polars as pl

from pipeline_assets.assets.building import around, claimed_days, daily_table
from pipeline_assets.batching import batches
from pipeline_assets.contracts.tables import EVENTS, PAGE_VIEWS, SESSIONS, Table
from pipeline_assets.io_managers.frames import FrameStream
from pipeline_assets.platform import Platform
from pipeline_assets.progress import Progress
from pipeline_assets.settings import Settings
from pipeline_assets.transforms.page_views import build_page_views
from pipeline_assets.transforms.sessions import build_sessions

# Half of the columns of events are read, and most of those as categories.
_ROW_BUDGET = 1_000_000

Transform = Callable[..., pl.DataFrame]


def sessions_asset(settings: Settings) -> dg.AssetsDefinition:
    """The asset `sessions`."""
    return _session_table(SESSIONS, build_sessions, settings)


def page_views_asset(settings: Settings) -> dg.AssetsDefinition:
    """The asset `page_views`."""
    return _session_table(PAGE_VIEWS, build_page_views, settings)


def _session_table(table: Table, transform: Transform, settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        **daily_table(table, settings, group_name="behaviour", kinds={"polars", "postgres"}),
        # Sessions that start on a day depend on the events of the day before, the day itself and the day after.
        ins={EVENTS.name: dg.AssetIn(partition_mapping=around(1, 1))},
        io_manager_key="marts",
    )
    def session_table(
        context: dg.AssetExecutionContext,
        platform: dg.ResourceParam[Platform],
        progress: dg.ResourceParam[Progress],
        events: pl.LazyFrame,
    ) -> FrameStream:
        days = claimed_days(context, platform, table)
        timeouts = {
            source.name: timedelta(minutes=source.sessions.timeout_minutes) for source in platform.sources.values()
        }
        per_day = platform.builds.event_rows(days[0] - timedelta(days=1), days[-1] + timedelta(days=1))

        def frames() -> Iterator[pl.DataFrame]:
            work = list(batches(days, per_day, _ROW_BUDGET, around=1))
            with progress.track(table.name, len(work), context.log) as advance:
                for batch in work:
                    first, last = batch.days[0], batch.days[-1]
                    near = events.filter(
                        pl.col("event_date").is_between(first - timedelta(days=1), last + timedelta(days=1))
                    )
                    yield transform(
                        batch.select(near, "property", "visitor_id"),
                        batch.days,
                        timeouts=timeouts,
                        timezone=settings.timezone,
                    )
                    advance(f"{first} to {last}")

        return FrameStream(frames())

    return session_table
