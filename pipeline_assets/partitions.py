"""Daily partitions in the reporting time zone, and the days a run is about."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property

import dagster as dg

# What an output context and a backfill hold partitions in; only its sets of keys are public.
from dagster._core.definitions.partitions.subset import TimeWindowPartitionsSubset

# A parameter of the methods of partition definitions that are overridden here.
from dagster._core.instance import DynamicPartitionsStore

# Names of tags of runs that the UI and backfills read.
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from pipeline_assets.planning import UNPARTITIONED, BuildRequest, spans_of
from pipeline_assets.settings import Settings
from pipeline_assets.shown_days import Span, shown_days

SUMMARY_TAG = "days"
"""Tag of a run that says in words which days it is about."""
DAYS_TAG = "pipeline/days"
"""Tag of a run for days that are not all in a row: its spans of days, separated by commas."""
ONLY_STALE_TAG = "pipeline/only_stale"
"""Tag of a run in which each table builds only those of the run's days that are stale for it."""

_RANGE_TAGS = (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)
_SPAN = "/"


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


def request_tags(request: BuildRequest) -> dict[str, str]:
    """Run tags that ask for what is stale on some days in a single run, and show its days in the list of runs.

    Dagster knows runs for one partition or for a range of them, and executes no asset with partitions in any other.
    Days with others between them have a tag of ours beside the range.
    """
    tags = {SUMMARY_TAG: str(request), ONLY_STALE_TAG: "true"}
    if not request.days:
        return tags
    tags |= dict(zip(_RANGE_TAGS, (str(request.days[0]), str(request.days[-1])), strict=True))
    spans = spans_of(request.days)
    if len(spans) > 1:
        tags[DAYS_TAG] = ",".join(_SPAN.join(map(date.isoformat, sorted({*span}))) for span in spans)
    return tags


def tagged_days(tags: Mapping[str, str]) -> list[date]:
    """The days a run with these tags is about, in order; none if it has no partition."""
    spans: list[str] = []
    if partition := tags.get(PARTITION_NAME_TAG):
        spans = [partition]
    elif apart := tags.get(DAYS_TAG):
        spans = apart.split(",")
    elif _RANGE_TAGS[0] in tags:
        spans = [_SPAN.join(tags[name] for name in _RANGE_TAGS)]
    ends = ([date.fromisoformat(day) for day in span.split(_SPAN)] for span in spans)
    return [day for first, *last in ends for day in day_range(first, *last or [first])]


def record_only(context: dg.OutputContext, days: Iterable[date]) -> None:
    """Have Dagster record that a step has materialized these days and no others of its run.

    Dagster records every partition of the run for every asset of it. A table of a run need not build all of its days:
    the others would be events that say nothing, once for every table and day, and would make days look new that are
    not. There is no public means: it asks the output which partitions it has once the IO manager is done.
    """
    partitions = [day for day in days if day != UNPARTITIONED]
    if partitions:
        context._asset_partitions_subset = subset_of(context.asset_partitions_def, partitions)


def subset_of(definition: dg.PartitionsDefinition, days: Iterable[date]) -> TimeWindowPartitionsSubset:
    """Days as a subset of partitions, also of a definition that does not know all of them."""
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)  # noqa: S101
    spans = [[definition.time_window_for_partition_key(day.isoformat()) for day in span] for span in spans_of(days)]
    windows = [dg.TimeWindow(first.start, last.end) for first, last in spans]
    return TimeWindowPartitionsSubset(definition, num_partitions=None, included_time_windows=windows)
