"""Dagster is told of every day of staging that has changed, whatever has changed it.

A source is loaded file by file, and a file has rows of any days: Dagster, which knows one version of an asset without
partitions, would take each day of events for out of date after every load. So the days of what is staged are an asset
of their own, which nobody materializes and whose changes are observed, with the fingerprints by which the ledger tells
whether a day of events is stale.

The transaction that changes a day notes it (`ledger.changed_days`): a load, a retirement, a correction of the counts.
Here the notes become observations. Whoever comes next does that for those who were killed before they could.
"""

import logging
from collections.abc import Callable, Iterable

import dagster as dg

from pipeline_assets.asset_keys import staged_days_key, staging_key
from pipeline_assets.ledger.changed_days import ChangedDay
from pipeline_assets.ledger.counting import fingerprints_of, staged_rows
from pipeline_assets.locks import turn
from pipeline_assets.metadata import column_schema, observed_day
from pipeline_assets.platform import Platform
from pipeline_assets.settings import Settings
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets.waiting import WaitedTooLong

logger = logging.getLogger(__name__)

# Days that are observed in one go, and seconds to wait for somebody else who does the same.
_PORTION = 500
_LIMIT_SECONDS = 10


def staged_days_asset(sources: Iterable[str], settings: Settings, days: dg.DailyPartitionsDefinition) -> dg.AssetSpec:
    """The days of the rows in staging, which `events` reads."""
    return dg.AssetSpec(
        staged_days_key(settings.namespace),
        deps=[staging_key(source, settings.namespace) for source in sources],
        group_name=settings.namespace.named("staging"),
        kinds={"parquet"},
        description="Days of the staged rows of all sources. Nothing to materialize: a day is observed when what "
        "counts of it has changed.",
        metadata={"dagster/column_schema": column_schema(StagedEvents)},
        partitions_def=days,
    )


def observe_days(platform: Platform, tell: Callable[[dg.AssetObservation], object], *, most: int | None = None) -> None:
    """Tell Dagster the versions of the days of staging that have changed since it was last told.

    Args:
        platform: the deployment.
        tell: records an observation.
        most: how many changes are enough; all of them by default.
    """
    if not platform.files.unobserved_days(1):
        return
    key = staged_days_key(platform.settings.namespace)
    left = most
    told: set[ChangedDay] = set()
    try:
        # One after the other, each with the versions of when its turn comes: the newest are told last.
        name = f"{platform.settings.namespace.ledger}/observations"
        with turn(platform.postgres_url, name, "another process that observes staged days", limit=_LIMIT_SECONDS):
            while left is None or left > 0:
                noted = platform.files.unobserved_days(_PORTION if left is None else min(left, _PORTION))
                # The note of a day that somebody is changing at the moment stays, and will be another one.
                changed = [each for each in noted if each not in told]
                if not changed:
                    return
                told.update(changed)
                days = sorted({each.day for each in changed})
                versions = fingerprints_of(platform.engine, platform.sources, days)
                rows = staged_rows(platform.engine, platform.sources, days)
                for day in days:
                    tell(observed_day(key, day, versions.get(day), rows=rows.get(day, 0)))
                platform.files.observed(changed)
                left = None if left is None else left - len(changed)
    except WaitedTooLong as error:
        # The notes stay, for whoever comes next.
        logger.warning("Staged days were not observed: %s", error)
