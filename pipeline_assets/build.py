"""Assemble what Dagster loads. Production, tests and the command line all call `build_defs`."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from pipeline_assets.analyses.unknown_names import unknown_properties
from pipeline_assets.asset_keys import staging_key, table_key
from pipeline_assets.assets.staging import staging_assets
from pipeline_assets.assets.tables import revisions_asset, table_asset
from pipeline_assets.checks.events import account_checks
from pipeline_assets.checks.grouping import grouped
from pipeline_assets.checks.identifiers import events_have_sessions
from pipeline_assets.checks.tables import table_checks
from pipeline_assets.component_tree.loading import ReadDeclarations, declared
from pipeline_assets.declarations.analyses import Analyses, Analysis, TableAnalysis
from pipeline_assets.io_managers.lake import LakeIOManager
from pipeline_assets.io_managers.marts import MartsIOManager
from pipeline_assets.jobs import build_job, load_job
from pipeline_assets.observing import staged_days_asset
from pipeline_assets.partitions import daily_partitions
from pipeline_assets.platform import Platform
from pipeline_assets.progress import LoggedProgress
from pipeline_assets.resources import platform_resource, resource_key
from pipeline_assets.sensors.alarms import silent_sources, unmatched_files
from pipeline_assets.sensors.new_files import new_files
from pipeline_assets.sensors.old_runs import old_runs
from pipeline_assets.sensors.stale_days import stale_days
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.raw_columns import in_words
from pipeline_assets.staging.looking import peek
from pipeline_assets.staging.scratch import spill_folder
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.patience import GLANCE, waiting
from pipeline_assets.storage_urls import parse_place
from pipeline_assets.undeclared import Declaration, declarations, read_copy

logger = logging.getLogger(__name__)


def build_platform(settings: Settings) -> Platform:
    """The deployment with all sources and analyses that are declared for it, or were as far as the lake tells."""
    return Platform(settings, *declared(settings), _remembered(settings))


def build_defs(
    settings: Settings | None = None,
    *,
    platform: Platform | None = None,
    resource_overrides: Mapping[str, Any] | None = None,
    executor: dg.ExecutorDefinition | None = None,
    defs_module: str | None = None,
) -> dg.Definitions:
    """Everything that Dagster loads of a deployment, ready to be merged with other definitions.

    The keys of its resources begin with `pipeline_`. With a namespace those, its groups, jobs and sensors begin with
    it, and so do its assets' keys: several deployments fit into one code location.

    Args:
        settings: where things are and what is declared; `Settings.for_project` reads those of a project. By default
            those of the project that the process works in.
        platform: an existing deployment object to work through, in place of one made from `settings`. Who has one can
            ask it what the declarations seem to get wrong (`hints`); otherwise that is logged, by a glance at landing.
        resource_overrides: resources in place of the default ones, by their plain names (`resources.RESOURCES`).
        executor: runs what is materialized by hand; none by default, so that of the code location it is merged into.
            The deployment's own jobs are always executed in one process.
        defs_module: name of the Python module that the folder with the declarations is, where that is known.

    Raises:
        SettingsError: a setting cannot be used.
        DeclarationError: with every mistake in every declaration.
    """
    settings = settings or (platform.settings if platform else Settings.from_environment())
    declarations = ReadDeclarations(settings, defs_module).require()
    if platform is None:
        remembered = _remembered(settings)
        platform = Platform(settings, declarations.sources, declarations.analyses, remembered)
        _tell_doubts(platform, remembered)
    tables = platform.tables
    namespace = settings.namespace
    staging = [staging_key(source, namespace) for source in sorted(platform.sources)]
    made_of = {"staging": staging} | {name: [table_key(name, namespace)] for name in tables}
    checks = [*account_checks(), *table_checks(tables)]
    if "visitor_days" in tables:
        checks.append(events_have_sessions())
    days = daily_partitions(settings)
    built: set[dg.AssetKey] = set()

    def table(name: str, declared: Analysis | None = None) -> dg.Definitions:
        built.add(table_key(name, namespace))
        with warnings.catch_warnings():
            # Single-run backfills are in beta; the lock pins the version they were tried with.
            warnings.simplefilter("ignore", dg.BetaWarning)
            asset = table_asset(tables[name], settings, tables=tables, made_of=made_of, days=days, declared=declared)
        of_table = [check for check in checks if check.spec.asset_key == table_key(name)]
        said = [] if tables[name].revisions is None else [revisions_asset(tables[name], settings, days)]
        return dg.Definitions(assets=[asset, *said], asset_checks=grouped(of_table, namespace))

    def source(name: str) -> dg.Definitions:
        built.add(staging_key(name, namespace))
        return staging_assets(platform.sources[name], settings, declared=platform.is_declared(name))

    def component(declared: Source | Analysis) -> dg.Definitions:
        if isinstance(declared, Source):
            return source(declared.name) if declared.name in platform.sources else dg.Definitions()
        # What is no table of its own is part of others; and a deployment need not make all tables.
        has_table = isinstance(declared, TableAnalysis) and declared.name in tables
        return table(declared.name, declared) if has_table else dg.Definitions()

    of_components = declarations.definitions(component)
    others = [table(name) for name in tables if table_key(name, namespace) not in built]
    # Those that count as last declared.
    others += [source(name) for name in platform.sources if staging_key(name, namespace) not in built]
    resources = {
        "platform": platform_resource(platform),
        "duckdb": DuckDBResource(
            database=":memory:",
            connection_config={
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                # What does not fit into memory is written there, and would be in the working folder.
                "temp_directory": str(spill_folder(settings.scratch_dir)),
            },
        ),
        "progress": LoggedProgress(),
        "lake": LakeIOManager(platform),
        "marts": MartsIOManager(platform),
        **(resource_overrides or {}),
    }
    core = dg.Definitions(
        assets=[staged_days_asset(sorted(platform.sources), settings, days)],
        jobs=[load_job(staging, namespace), build_job([table_key(name, namespace) for name in tables], namespace)],
        sensors=[
            each.definition(namespace) for each in (new_files, stale_days, silent_sources, unmatched_files, old_runs)
        ],
        executor=executor,
        resources={resource_key(name, namespace): resource for name, resource in resources.items()},
    )
    return dg.Definitions.merge(core, of_components, *others)


def _remembered(settings: Settings) -> list[Declaration]:
    """What was last declared, as far as the lake tells at once."""
    with waiting(GLANCE):
        return read_copy(open_store(settings.lake_url))


def _tell_doubts(platform: Platform, remembered: Sequence[Declaration]) -> None:
    """Warn of what a declaration seems to get wrong, by the others and by files; `dg check defs` shows it.

    It is no error: tomorrow's file may have the column, and until then the others load. An object store is not asked
    each time that definitions are loaded; what is wrong there is told by a refresh and the checks.

    Args:
        platform: the deployment.
        remembered: what runs have seen declared.
    """
    for analysis, names in unknown_properties(platform.analyses, [*platform.sources.values()]).items():
        logger.warning("Analysis %s: no source has the property %s", analysis, in_words(names))
    landing = parse_place(platform.settings.landing_url)
    if not isinstance(landing, Path):
        return
    of_runs = {each.key: each for each in remembered}
    for now in declarations(platform.sources.values(), Analyses()):
        if platform.is_declared(now.name):
            for doubt in peek(platform.sources[now.name], landing, is_loaded=of_runs.get(now.key) == now):
                logger.warning("Source %s: %s", now.name, doubt)
