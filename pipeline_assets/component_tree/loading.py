"""Turns the declarations of a deployment into Dagster definitions."""

import os
import re
import sys
import types
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline_assets.analyses.loading import PACKAGE, read_analyses
from pipeline_assets.analyses.own import make_importable
from pipeline_assets.component_tree.declaring import PIPELINE, DeclaringComponent, DefsModule, PipelineTree
from pipeline_assets.declarations.analyses import Analyses, Analysis
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.declarations.yaml_files import DEFS_DIR, FILE_NAMES, Document, declaring_folder, documents
from pipeline_assets.digests import digest_of
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.loading import read_sources

_NAMED_VARIABLE = re.compile(r"\benv\.([A-Za-z_]\w*)")
_WITH_DEFAULT = re.compile(r"\bdefault\b|\bor\b|\bif\b")

_DECLARING = {".yaml", ".yml", ".py"}


class ReadDeclarations:
    """What a deployment declares, read once for the command line and for Dagster.

    Attributes:
        sources: the sources in which there is no mistake, sorted by name.
        analyses: the analyses in which there is none.
        mistakes: every mistake in every file.
    """

    def __init__(self, settings: Settings, defs_module: str | None = None) -> None:
        """Read them.

        Args:
            settings: the deployment's.
            defs_module: name of the Python module that the folder with the declarations is, where that is known.

        Raises:
            DeclarationError: there is no such folder.
        """
        self._folder = declaring_folder(settings)
        self._project = settings.project_dir
        self._name = defs_module
        found = list(documents(self._folder))
        beside = [each for each in found if isinstance(each, Document) and each.file.parent == self._folder]
        self._is_pipeline = any(each.type == PIPELINE for each in beside)
        self.mistakes = _pipeline_mistakes(self._folder, found)
        found = self._with_templates(found)
        if any(isinstance(each, Document) and each.type == f"{PACKAGE}.Table" for each in found):
            # Where a team may have its own tables, beside the packages that are installed.
            make_importable(self._importable())
        sources, of_sources = read_sources(found)
        self.analyses, analyses, of_analyses = read_analyses(found)
        self.sources = [declared.value for declared in sources]
        self._values = {each.document.place: each.value for each in (*sources, *analyses)}
        # A file that is no YAML is told by both.
        self.mistakes = list(dict.fromkeys([*self.mistakes, *of_sources, *of_analyses]))

    def require(self) -> "ReadDeclarations":
        """Themselves, if there is no mistake in them.

        Raises:
            DeclarationError: with every mistake in every file.
        """
        if self.mistakes:
            raise DeclarationError("\n".join(self.mistakes))
        return self

    def definitions(self, build: Callable[[Source | Analysis], dg.Definitions]) -> dg.Definitions:
        """Definitions of all components, and of Python files, in the folder with the declarations.

        Args:
            build: builds those of a source or an analysis.

        Raises:
            DeclarationError: with every mistake in every file; told before Dagster wraps them in its own words.
        """
        self.require()
        own = {self._folder / name for name in FILE_NAMES} if self._is_pipeline else set()
        if not any(path.suffix in _DECLARING and path not in own for path in self._folder.rglob("*")):
            # Dagster cannot load a folder in which nothing is declared yet.
            return dg.Definitions()
        self._module.values, self._module.build = self._values, build
        with _without_its_own_warnings():
            # The folder's only: what Dagster adds for a whole project could be merged with no other project.
            return self._tree.build_defs(self._folder)

    def _importable(self) -> list[Path]:
        project = (self._project / "src", self._project) if self._project else ()
        return [*project, *([self._folder] if self._folder != DEFS_DIR else [])]

    @cached_property
    def _module(self) -> DefsModule:
        # It makes the folder importable, which whoever only asks what is declared need not.
        return DefsModule(self._name or importable_as(self._folder, self._project), self._folder)

    @cached_property
    def _tree(self) -> dg.ComponentTree:
        tree = PipelineTree if self._is_pipeline else dg.ComponentTree
        return tree(defs_module=self._module, project_root=self._project or self._folder)

    def _with_templates(self, found: list[Document | str]) -> list[Document | str]:
        """The same documents, with what fills in their templates: Dagster, where it is needed."""
        templated = [each for each in found if isinstance(each, Document) and _is_ours(each) and each.is_templated]
        if not templated:
            return found
        try:
            with _without_its_own_warnings():
                self._tree.get_all_components(DeclaringComponent)
        except Exception as error:
            # Mistakes that keep Dagster from loading anything may be ours to tell.
            self.mistakes.append(f"{self._folder}: Dagster cannot fill in templates here: {_innermost(error)}")
            return [each for each in found if each not in templated]
        return [self._resolving(each) if isinstance(each, Document) else each for each in found]

    def _resolving(self, document: Document) -> Document:
        known = self._module.resolve.get(document.place)
        return replace(document, resolve=partial(_resolve, known)) if known else document


def declared(settings: Settings) -> tuple[list[Source], Analyses]:
    """The sources and the analyses of a deployment.

    Raises:
        DeclarationError: with every mistake in every file.
    """
    found = ReadDeclarations(settings).require()
    return found.sources, found.analyses


def _is_ours(document: Document) -> bool:
    return document.type.startswith(f"{PACKAGE}.") and document.type != PIPELINE


@contextmanager
def _without_its_own_warnings() -> Generator[None]:
    """Without those that Dagster's own loader raises for every component and file, as its own commands know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        yield


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())


def _resolve(fill_in: Callable[[str], Any], template: str) -> Any:
    """The value of a template.

    Raises:
        ValueError: it has none; the message says why.
    """
    unset = [name for name in _NAMED_VARIABLE.findall(template) if name not in os.environ]
    if unset and template.strip().startswith("{{") and not _WITH_DEFAULT.search(template):
        # To Dagster it is None, and `None/clicks` part of a path.
        raise ValueError(f"{template}: the environment variable {unset[0]} is not set")
    try:
        return fill_in(template)
    except Exception as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        raise ValueError(f"{template} cannot be filled in: {lines[-1] if lines else type(error).__name__}") from error


def _pipeline_mistakes(folder: Path, found: Sequence[Document | str]) -> list[str]:
    known = [each for each in found if isinstance(each, Document)]
    mistakes = [
        each.at_type("an EventPipeline within another deployment's declarations; let PIPELINE_DEFS_DIR name its folder")
        for each in known
        if each.type == PIPELINE and each.file.parent != folder
    ]
    beside = [each for each in known if each.file.parent == folder]
    if any(each.type == PIPELINE for each in beside):
        mistakes += [
            each.at_type("nothing else is declared in the file of an EventPipeline; move it into a folder of its own")
            for each in beside
            if each.type != PIPELINE
        ]
    return mistakes


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
