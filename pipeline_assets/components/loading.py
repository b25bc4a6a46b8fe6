"""Turns the declarations of a deployment into Dagster definitions."""

import os
import sys
import types
import warnings
from pathlib import Path

import dagster as dg

from pipeline_assets.analyses.loading import declared_analyses
from pipeline_assets.components.declaring import PIPELINE, DefsModule, PipelineTree
from pipeline_assets.declarations.analyses import Analyses
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.declarations.yaml_files import DEFS_DIR, FILE_NAMES, Document, declaring_folder, documents
from pipeline_assets.digests import digest_of
from pipeline_assets.settings import Settings
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


def component_definitions(settings: Settings, defs_module: str | None = None) -> dg.Definitions:
    """Definitions of all components, and of Python files, in the folder with the deployment's declarations.

    Args:
        settings: the deployment's.
        defs_module: name of the Python module that the folder is, where that is known.

    Raises:
        DeclarationError: a declaration holds mistakes; told before Dagster wraps them in its own words.
    """
    declared(settings)
    folder = declaring_folder(settings)
    _require_one_pipeline(folder)
    own = {folder / name for name in FILE_NAMES} if is_pipeline(folder) else set()
    if not any(path.suffix in _DECLARING and path not in own for path in folder.rglob("*")):
        # Dagster cannot load a folder in which nothing is declared yet.
        return dg.Definitions()
    module = DefsModule(defs_module or importable_as(folder, settings.project_dir), folder, settings)
    tree = (PipelineTree if own else dg.ComponentTree)(defs_module=module, project_root=settings.project_dir or folder)
    with warnings.catch_warnings():
        # Raised by Dagster's own loader for every component and file, as its `load_from_defs_folder` knows.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        # The folder's only: what Dagster adds for a whole project could be merged with no other project.
        return tree.build_defs(folder)


def _require_one_pipeline(folder: Path) -> None:
    messages = [
        each.at_type("an EventPipeline within another deployment's declarations; let PIPELINE_DEFS_DIR name its folder")
        for each in pipelines(folder)
        if each.file.parent != folder
    ]
    if is_pipeline(folder):
        messages += [
            each.at_type("nothing else is declared in the file of an EventPipeline; move it into a folder of its own")
            for each in documents(folder)
            if isinstance(each, Document) and each.file.parent == folder and each.type != PIPELINE
        ]
    if messages:
        raise DeclarationError("\n".join(messages))


def is_pipeline(folder: Path) -> bool:
    """Whether a folder is that of an EventPipeline."""
    return any(document.file.parent == folder for document in pipelines(folder))


def pipelines(folder: Path) -> list[Document]:
    """The EventPipelines that are declared in and below a folder."""
    return [each for each in documents(folder) if isinstance(each, Document) and each.type == PIPELINE]


def importable_as(folder: Path, project: Path | None) -> str:
    """Name by which Python imports a folder; it becomes importable where it was not.

    Dagster imports Python files that stand beside declarations by it. In a project it is what the project's own
    modules call it; a folder elsewhere is given a name.

    Args:
        folder: the folder.
        project: the project's folder, if it is of one.
    """
    if folder == DEFS_DIR:
        return "pipeline_assets.defs"
    for root in (project / "src", project) if project else ():
        if folder.is_relative_to(root) and folder != root:
            names = folder.relative_to(root).parts
            if all(name.isidentifier() for name in names):
                if str(root) not in sys.path:
                    # Behind all others, so that nothing that was found is found elsewhere now.
                    sys.path.append(str(root))
                return ".".join(names)
    name = f"pipeline_declarations_{digest_of(os.fsencode(folder), 12)}"
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules.setdefault(name, package)
    return name
