"""Staging: one asset per declared source. Materialising it loads the source's pending files."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from logging import Logger

import dagster as dg
from dagster_duckdb import DuckDBResource
from duckdb import Error as DuckDBError
from polars.exceptions import PolarsError
from sqlalchemy.exc import SQLAlchemyError

from pipeline_assets.asset_keys import staged_days_key, staging_key
from pipeline_assets.checks.grouping import grouped
from pipeline_assets.checks.staging import staging_checks, worst_files
from pipeline_assets.ledger.counting import booked_fingerprints, source_fingerprint, staged_rows
from pipeline_assets.ledger.files import Load
from pipeline_assets.ledger.full_looks import views_part
from pipeline_assets.ledger.summary import summarise
from pipeline_assets.metadata import column_schema, observed_day
from pipeline_assets.platform import Platform
from pipeline_assets.progress import Progress
from pipeline_assets.resources import with_resources_of
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.mapping import declaration_version_of
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets.staging.merging import MergeError, merge_small_files
from pipeline_assets.staging.views import write_views
from pipeline_assets.storage.store import StoreError
from pipeline_assets.waiting import WaitedTooLong

_NAMED_FILES = 20
# Of the lake, a disk or the ledger.
_TROUBLE = (OSError, StoreError, SQLAlchemyError, WaitedTooLong)


class LoadConfig(dg.Config):
    """Bounds of one run."""

    max_files: int = 2000
    """A run stops after this many files; the sensor asks for another run while files are pending."""


def staging_assets(source: Source, settings: Settings, *, declared: bool = True) -> dg.Definitions:
    """The staging asset of a source, with its checks; if it is not declared, of what was loaded of it."""
    undeclared = "" if declared else "**No longer declared**: what was loaded counts, new files are not loaded. "

    @dg.asset(
        key=staging_key(source.name, settings.namespace),
        group_name=settings.namespace.named("staging"),
        kinds={"duckdb", "parquet"},
        description=f"{undeclared}Rows of the {source.format} files `{source.path}` in landing, per file and event "
        "day. Each content is loaded exactly once; lines that cannot be loaded are in "
        f"`{settings.namespace.ledger}.quarantine`.",
        metadata={"dagster/column_schema": column_schema(StagedEvents)},
        code_version=declaration_version_of(source, settings.timezone, settings.first_day, settings.max_record_bytes),
        freshness_policy=_freshness_policy(source),
    )
    @with_resources_of(settings.namespace)
    def staging(
        context: dg.AssetExecutionContext,
        config: LoadConfig,
        platform: dg.ResourceParam[Platform],
        duckdb: DuckDBResource,
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult:
        with duckdb.get_connection() as connection:
            loader = platform.loader(source.name, connection, context.run.run_id)
            platform.look_for_lost()
            platform.look_for_unclaimed()
            landing = platform.landing(source.name)
            pending = landing.files
            for told in (*landing.refused, *landing.doubtful):
                context.log.warning(f"{told.name} {told.reason}.")
            files = pending[: config.max_files]
            platform.settle(context.run.run_id, loading=source.name if files else None)
            before = _fingerprints(platform) if files else {}
            names = [file.name for file in files]
            with progress.track(f"staging {source.name}", len(files), context.log, names) as advance:
                summary = loader.load(files, report=lambda outcome: advance(outcome.name))
        if files:
            _observe(context, platform, before)
        if summary.loads:
            tidy_up(platform, source.name, context.log, context.run.run_id)
        if failed := [outcome.name for outcome in summary.outcomes if outcome.result == "failed"]:
            raise dg.Failure(
                f"{len(failed)} of {len(files)} files could not be loaded and stay pending; the others are loaded. "
                "The log above says why.",
                metadata={"files": failed[:_NAMED_FILES]},
            )
        unreadable = [outcome.name for outcome in summary.outcomes if outcome.result == "unreadable"]
        worst = platform.quality(source.name).worst
        return dg.MaterializeResult(
            # What counts of the source, so that a run that found nothing new leaves it as it was.
            data_version=dg.DataVersion(source_fingerprint(platform.engine, source.name)),
            metadata={
                # The UI shows this one as the size of the asset, so it is not the run's share.
                "dagster/row_count": summarise(platform.engine, source.name).landed,
                "rows_landed": summary.landed,
                "files_loaded": summary.count("loaded"),
                "files_repeated": summary.count("repeat"),
                "files_unreadable": summary.count("unreadable"),
                "files_still_changing": summary.count("busy"),
                "files_left_pending": len(pending) - len(files),
                "refused_in_landing": len(landing.refused),
                "lines": summary.lines,
                "quarantined": summary.quarantined,
                "event_days": len(_days(summary.loads)),
                **({"unreadable": ", ".join(unreadable[:_NAMED_FILES])} if unreadable else {}),
                # Of all files that count, for the page of the asset shows nothing but its latest materialization.
                **({"worst_files": worst_files(worst)} if worst else {}),
            },
        )

    checks = staging_checks(source, staging_key(source.name))
    return dg.Definitions(assets=[staging], asset_checks=grouped(checks, settings.namespace))


def staged_days_asset(sources: Iterable[str], settings: Settings, days: dg.DailyPartitionsDefinition) -> dg.AssetSpec:
    """The days of the rows in staging, which `events` reads.

    A source is loaded file by file, and a file has rows of any days: Dagster, which knows one version of an asset
    without partitions, would take each day of events for out of date after every load. So a load observes the days that
    it has changed, with the fingerprints by which the ledger tells whether a day of events is stale.
    """
    return dg.AssetSpec(
        staged_days_key(settings.namespace),
        deps=[staging_key(source, settings.namespace) for source in sources],
        group_name=settings.namespace.named("staging"),
        kinds={"parquet"},
        description="Days of the staged rows of all sources. Nothing to materialize: a load observes the days that it "
        "has changed.",
        metadata={"dagster/column_schema": column_schema(StagedEvents)},
        partitions_def=days,
    )


def _observe(context: dg.AssetExecutionContext, platform: Platform, before: Mapping[date, str]) -> None:
    """Tell Dagster which days a load has changed: those of what it staged, and of what counts no more."""
    key, now = staged_days_key(platform.settings.namespace), _fingerprints(platform)
    changed = sorted(day for day in before.keys() | now.keys() if before.get(day) != now.get(day))
    rows = staged_rows(platform.engine, platform.sources, changed)
    for day in changed:
        context.log_event(observed_day(key, day, now.get(day), rows=rows.get(day, 0)))


def _fingerprints(platform: Platform) -> dict[date, str]:
    return booked_fingerprints(platform.engine, platform.sources, date.min, date.max)


def _freshness_policy(source: Source) -> dg.FreshnessPolicy | None:
    """Dagster's daemon looks by itself whether the bound is kept."""
    hours = source.bounds.freshness_hours
    return None if hours is None else dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours))


def tidy_up(platform: Platform, source: str, log: Logger, run_id: str = "") -> None:
    """Merge small files, renew the views and remove what no longer counts.

    Nothing depends on any of it, so a failure is only told.
    """
    store, looks = platform.lake.store, platform.full_looks
    views = looks.begin(views_part(source))
    try:
        merge_small_files(source, platform.lake, platform.files, platform.settings.scratch_dir, run_id=run_id)
    except (*_TROUBLE, MergeError, PolarsError) as error:
        log.warning("Small staged files could not be merged (%s); the next load tries again.", type(error).__name__)
    try:
        if views.is_full or platform.has_few_staged_files():
            write_views(store, platform.staged_files(date.min, date.max))
            looks.done(views)
        platform.sweep()
    except (*_TROUBLE, DuckDBError) as error:
        log.warning("The staging folder could not be tidied up (%s); the next load tries again.", type(error).__name__)


def _days(loads: list[Load]) -> list[date]:
    return sorted({day for load in loads for day in load.days})
