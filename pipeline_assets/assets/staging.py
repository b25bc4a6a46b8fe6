"""Staging: one asset per declared source. Materialising it loads the source's pending files."""

from datetime import date, timedelta

import dagster as dg
from dagster_duckdb import DuckDBResource

from pipeline_assets.asset_keys import staging_key
from pipeline_assets.checks.grouping import grouped
from pipeline_assets.checks.staging import staging_checks, worst_files
from pipeline_assets.ledger.counting import source_fingerprint
from pipeline_assets.ledger.files import Load
from pipeline_assets.ledger.summary import summarise
from pipeline_assets.metadata import column_schema, described
from pipeline_assets.observing import observe_days
from pipeline_assets.platform import Platform
from pipeline_assets.progress import Progress
from pipeline_assets.resources import with_resources_of
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.mapping import declaration_version_of
from pipeline_assets.sources.staged_events import StagedEvents

_NAMED_FILES = 20


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
        description=described(
            f"{undeclared}Rows of the {source.format} files `{source.path}` in landing, per file and event day. Each "
            "content is loaded exactly once; lines that cannot be loaded are in "
            f"`{settings.namespace.ledger}.quarantine`.",
            source,
        ),
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
            names = [file.name for file in files]
            with progress.track(f"staging {source.name}", len(files), context.log, names) as advance:
                summary = loader.load(files, report=lambda outcome: advance(outcome.name))
        observe_days(platform, context.log_event)
        platform.tidy_up(source.name, context.run.run_id, has_changed=bool(summary.loads))
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


def _freshness_policy(source: Source) -> dg.FreshnessPolicy | None:
    """Dagster's daemon looks by itself whether the bound is kept."""
    hours = source.bounds.freshness_hours
    return None if hours is None else dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours))


def _days(loads: list[Load]) -> list[date]:
    return sorted({day for load in loads for day in load.days})
