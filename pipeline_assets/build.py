"""Assemble what Dagster loads. Production, tests and the command line all call `build_defs`."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from pipeline_assets.assets.events import events_asset
from pipeline_assets.assets.keys import staging_key, table_key
from pipeline_assets.assets.staging import staging_assets
from pipeline_assets.assets.tables import table_asset
from pipeline_assets.checks.events import events_checks
from pipeline_assets.checks.grouping import grouped
from pipeline_assets.checks.marts import table_checks
from pipeline_assets.components.loading import component_definitions, declared
from pipeline_assets.contracts.tables import EVENTS
from pipeline_assets.io_managers.booked import BookedLakeIOManager, BookedPostgresIOManager
from pipeline_assets.jobs import build_job, load_job
from pipeline_assets.partitions import daily_partitions
from pipeline_assets.platform import Platform
from pipeline_assets.progress import LoggedProgress
from pipeline_assets.sensors.alarms import silent_sources, unmatched_files
from pipeline_assets.sensors.new_files import new_files
from pipeline_assets.sensors.stale_days import stale_days
from pipeline_assets.settings import Settings
from pipeline_assets.undeclared import read_copy


def build_platform(settings: Settings) -> Platform:
    """The deployment with all sources and analyses that are declared for it, or were as far as the lake tells."""
    return Platform(settings, *declared(settings), read_copy(settings.lake_dir))


def build_defs(
    settings: Settings | None = None,
    *,
    platform: Platform | None = None,
    resource_overrides: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """Everything Dagster loads.

    Args:
        settings: where things are; read from the environment by default.
        platform: an existing deployment object to work through, in place of one made from `settings`.
        resource_overrides: resources by name that replace the default ones.
    """
    settings = settings or (platform.settings if platform else Settings.from_environment())
    platform = platform or build_platform(settings)
    model = platform.model
    staging = [staging_key(source, settings.namespace) for source in sorted(platform.sources)]
    made_of = {"staging": staging} | {name: [table_key(name, settings.namespace)] for name in model.tables}
    with warnings.catch_warnings():
        # Single-run backfills are in beta; the lock pins the version they were tried with.
        warnings.simplefilter("ignore", dg.BetaWarning)
        versions = {name: recipe.version for name, recipe in model.recipes.items()}
        days = daily_partitions(settings)
        tables = [events_asset(settings, staging, version=versions[EVENTS.name], made_of=made_of, days=days)]
        tables += [
            table_asset(derived, settings, version=versions[name], made_of=made_of, days=days)
            for name, derived in model.derived.items()
        ]
    core = dg.Definitions(
        assets=tables,
        asset_checks=grouped([*events_checks(), *table_checks(model)], settings.namespace),
        jobs=[load_job(staging), build_job([table.key for table in tables])],
        sensors=[new_files, stale_days, silent_sources, unmatched_files],
        # On this workload a process for every step costs more than the step.
        executor=dg.in_process_executor,
        resources={
            "platform": platform,
            "duckdb": DuckDBResource(
                database=":memory:",
                connection_config={"autoinstall_known_extensions": False, "autoload_known_extensions": False},
            ),
            "progress": LoggedProgress(),
            "lake": BookedLakeIOManager(platform),
            "marts": BookedPostgresIOManager(platform),
            **(resource_overrides or {}),
        },
    )
    undeclared = [
        staging_assets(source, settings, declared=False)
        for source in platform.sources.values()
        if not platform.is_declared(source.name)
    ]
    return dg.Definitions.merge(core, component_definitions(settings), *undeclared)
