"""Daily partitions in the reporting time zone, and the days a run is about."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import dagster as dg
from dagster._core.instance import DynamicPartitionsStore
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from pipeline_assets.ledger.builds import WHOLE, Stretch
from pipeline_assets.settings import Settings

DAYS_TAG = "days"
ONLY_STALE_TAG = "pipeline/only_stale"
"""Tag of a run in which each table builds only those of the run's days that are stale for it."""


class _Days(dg.DailyPartitionsDefinition):
    """Daily partitions that are listed by counting days.

    Dagster takes every key from a cron schedule: 50 ms for fifteen years, and a run lists them for every check.
    """

    def get_partition_keys(
        self,
        current_time: datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> Sequence[str]:
        with dg.partition_loading_context(current_time, dynamic_partitions_store):
            first, last = self.get_first_partition_key(), self.get_last_partition_key()
        if first is None or last is None:
            return []
        return [day.isoformat() for day in day_range(date.fromisoformat(first), date.fromisoformat(last))]


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """All days from the platform's first to the current one."""
    return _Days(
        start_date=settings.first_day.isoformat(),
        timezone=settings.timezone,
        # Today is a partition too: people want to see the events of this morning.
        end_offset=1,
    )


def day_range(first: date, last: date) -> list[date]:
    """All days from `first` to `last`, both included."""
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def range_tags(stretch: Stretch) -> dict[str, str]:
    """Run tags that ask for what is stale in a stretch in a single run, and show its days in the list of runs."""
    tags = {DAYS_TAG: str(stretch), ONLY_STALE_TAG: "true"}
    if stretch.first != WHOLE:
        tags[ASSET_PARTITION_RANGE_START_TAG] = stretch.first.isoformat()
        tags[ASSET_PARTITION_RANGE_END_TAG] = stretch.last.isoformat()
    return tags


def tagged_days(tags: Mapping[str, str]) -> list[date]:
    """The days a run with these tags is about; none if it has no partition."""
    first = tags.get(ASSET_PARTITION_RANGE_START_TAG) or tags.get(PARTITION_NAME_TAG)
    last = tags.get(ASSET_PARTITION_RANGE_END_TAG) or tags.get(PARTITION_NAME_TAG)
    if not first or not last:
        return []
    return day_range(date.fromisoformat(first), date.fromisoformat(last))
