"""Turns the declarations of a deployment into Dagster definitions."""

import warnings

import dagster as dg

from pipeline_assets.analyses.loading import Analyses, declared_analyses
from pipeline_assets.components.declaring import DefsModule
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.declarations.yaml_files import declaring_folder
from pipeline_assets.settings import PROJECT_ROOT, Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.loading import declared_sources

_DECLARING = {".yaml", ".yml", ".py"}


def declared(settings: Settings) -> tuple[list[Source], Analyses]:
    """The sources and the analyses of a deployment.

    Raises:
        DeclarationError: with every mistake in every file.
    """
    messages: list[str] = []
    sources: list[Source] = []
    analyses = Analyses()
    try:
        sources = declared_sources(settings)
    except DeclarationError as error:
        messages += str(error).splitlines()
    try:
        analyses = declared_analyses(settings)
    except DeclarationError as error:
        messages += str(error).splitlines()
    if messages:
        # A file that is no YAML is told by both.
        raise DeclarationError("\n".join(dict.fromkeys(messages)))
    return sources, analyses


def component_definitions(settings: Settings) -> dg.Definitions:
    """Definitions of all components in the folder with the deployment's declarations.

    Raises:
        DeclarationError: a declaration holds mistakes; told before Dagster wraps them in its own words.
    """
    declared(settings)
    folder = declaring_folder(settings)
    if not any(path.suffix in _DECLARING for path in folder.rglob("*")):
        # Dagster cannot load a folder in which nothing is declared yet.
        return dg.Definitions()
    with warnings.catch_warnings():
        # Raised by Dagster's own loader for every component, as its `load_from_defs_folder` knows.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.ComponentTree(defs_module=DefsModule(str(folder), settings), project_root=PROJECT_ROOT).build_defs()
