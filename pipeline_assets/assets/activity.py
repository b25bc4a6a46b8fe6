"""Daily activity: what happened on a day, per property."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from pipeline_assets.assets.building import claimed_days, daily_table
from pipeline_assets.contracts.tables import DAILY_ACTIVITY
from pipeline_assets.io_managers.frames import FrameStream
from pipeline_assets.platform import Platform
from pipeline_assets.settings import Settings
from pipeline_assets.transforms.daily_activity import build_daily_activity

# Days whose events are aggregated in one query.
_DAYS_AT_ONCE = 7


def daily_activity_asset(settings: Settings) -> dg.AssetsDefinition:
    """The asset `daily_activity`."""

    @dg.asset(
        **daily_table(DAILY_ACTIVITY, settings, group_name="marts", kinds={"polars", "postgres"}),
        io_manager_key="marts",
    )
    def daily_activity(
        context: dg.AssetExecutionContext,
        platform: dg.ResourceParam[Platform],
        events: pl.LazyFrame,
        sessions: pl.LazyFrame,
    ) -> FrameStream:
        days = claimed_days(context, platform, DAILY_ACTIVITY)

        def frames() -> Iterator[pl.DataFrame]:
            for start in range(0, len(days), _DAYS_AT_ONCE):
                part = days[start : start + _DAYS_AT_ONCE]
                yield build_daily_activity(
                    events.filter(pl.col("event_date").is_between(part[0], part[-1])),
                    sessions.filter(pl.col("session_date").is_between(part[0], part[-1])),
                    part,
                )

        return FrameStream(frames())

    return daily_activity
