"""Reads sources from YAML files; every mistake is reported with file, line, column and a suggestion."""

from pathlib import Path
from typing import Any

from pipeline_assets.declarations.problems import DeclarationError, Location
from pipeline_assets.declarations.yaml_files import DEFS_DIR, Declared, Kind, declaring_folder, documents, read
from pipeline_assets.settings import Settings
from pipeline_assets.sources.checking import find_problems
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.records import RECORD_FORMATS

__all__ = ["DEFS_DIR", "EVENT_SOURCE", "DeclarationError", "declared_sources", "load_sources"]

EVENT_SOURCE = "pipeline_assets.components.EventSource"

# Where the types of columns are unknown there are no mistakes that are not there.
_ANY_TYPES = next(name for name, each in RECORD_FORMATS.items() if each.types_in_file)
_STAND_INS: dict[Location, Any] = {("path",): "any", ("format",): _ANY_TYPES, ("mapping",): {}}

_KIND = Kind(Source, "source", find_problems, _STAND_INS.get)


def declared_sources(settings: Settings) -> list[Source]:
    """The sources of a deployment: those in the folder it names, otherwise the demo's.

    Raises:
        DeclarationError: with every mistake in every file; also if the folder does not exist.
    """
    return load_sources(declaring_folder(settings))


def load_sources(*folders: Path) -> list[Source]:
    """All sources declared in the `defs.yaml` files below some folders, sorted by name.

    Components of other types are ignored. A folder that does not exist holds no sources.

    Raises:
        DeclarationError: with every mistake in every file.
    """
    sources, errors = read_sources(*folders)
    if errors:
        raise DeclarationError("\n".join(errors))
    return sources


def read_sources(*folders: Path) -> tuple[list[Source], list[str]]:
    """The sources in which there is no mistake, and all mistakes; see `load_sources`."""
    found: list[Declared[Source]] = []
    errors: list[str] = []
    for document in documents(*folders):
        if isinstance(document, str):
            errors.append(document)
        elif document.type == EVENT_SOURCE:
            declared, mistakes = read(document, _KIND)
            errors += mistakes
            if declared and declared.sound:
                found.append(declared)
    first: dict[str, Declared[Source]] = {}
    for item in found:
        earlier = first.setdefault(item.value.name, item)
        if earlier is not item:
            place = f"{earlier.document.file}:{earlier.document.line}"
            here = f"{item.document.file}:{item.document.line}"
            errors.append(f"{here}:1: source '{item.value.name}' is already declared at {place}")
    return sorted((item.value for item in first.values()), key=lambda source: source.name), errors
