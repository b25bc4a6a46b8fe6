"""Daily partitions in the reporting time zone, and the days a run is about."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property

import dagster as dg
from dagster._core.instance import DynamicPartitionsStore
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from pipeline_assets.planning import UNPARTITIONED, Stretch
from pipeline_assets.settings import Settings
from pipeline_assets.shown_days import Span, shown_days

DAYS_TAG = "days"
ONLY_STALE_TAG = "pipeline/only_stale"
"""Tag of a run in which each table builds only those of the run's days that are stale for it."""


class _Days(dg.DailyPartitionsDefinition):
    """All days that can be built, of which the UI is shown those from the first booked one on.

    A run may build any day since the platform's first one: what arrives years late is built like everything else, and
    a table over all days reads them all. What is shown is what web server and daemon are told, when they load the code
    location: `start` and `end`, which Dagster writes into their copy of the definition. They are asked for then and not
    before, for that takes a look into the ledger.
    """

    _ask: Callable[[], Span]

    @classmethod
    def of(cls, settings: Settings, ask: Callable[[], Span]) -> "_Days":
        """The days of a deployment.

        Args:
            settings: the deployment's.
            ask: finds out what is shown.
        """
        days = cls(
            start_date=settings.first_day.isoformat(),
            timezone=settings.timezone,
            # Today is a partition too: people want to see the events of this morning.
            end_offset=1,
        )
        # Dagster's definitions let no attribute be set.
        object.__setattr__(days, "_ask", ask)
        return days

    @cached_property
    def _shown(self) -> Span:
        return self._ask()

    @cached_property
    def start(self) -> datetime:
        """When the first day that is shown begins."""
        return self.start_time_for_partition_key(self._shown.first.isoformat())

    @cached_property
    def end(self) -> datetime | None:
        """When the last day that is shown ends; None where that is the current day, whichever it is."""
        last = self._shown.last
        return None if last is None else self.start_time_for_partition_key((last + timedelta(days=1)).isoformat())

    def get_partition_keys(
        self,
        current_time: datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> Sequence[str]:
        """The days, counted: Dagster takes every key from a cron schedule, and a run lists them for every check."""
        with dg.partition_loading_context(current_time, dynamic_partitions_store):
            first, last = self.get_first_partition_key(), self.get_last_partition_key()
        if first is None or last is None:
            return []
        return [day.isoformat() for day in day_range(date.fromisoformat(first), date.fromisoformat(last))]


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """All days from the platform's first to the current one; for all tables of a code location, who show the same."""
    return _Days.of(settings, lambda: shown_days(settings))


def day_range(first: date, last: date) -> list[date]:
    """All days from `first` to `last`, both included."""
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def range_tags(stretch: Stretch) -> dict[str, str]:
    """Run tags that ask for what is stale in a stretch in a single run, and show its days in the list of runs."""
    tags = {DAYS_TAG: str(stretch), ONLY_STALE_TAG: "true"}
    if stretch.first != UNPARTITIONED:
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
