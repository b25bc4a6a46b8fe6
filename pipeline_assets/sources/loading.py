"""Reads sources from YAML files; every mistake is reported with file, line, column and a suggestion."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline_assets.declarations.problems import DeclarationError, Location
from pipeline_assets.declarations.yaml_files import DEFS_DIR, Declared, Document, Kind, documents, read
from pipeline_assets.sources.checking import find_problems
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.records import RECORD_FORMATS

__all__ = ["DEFS_DIR", "EVENT_SOURCE", "DeclarationError", "load_sources", "read_sources"]

EVENT_SOURCE = "pipeline_assets.components.EventSource"

# Where the types of columns are unknown there are no mistakes that are not there.
_ANY_TYPES = next(name for name, each in RECORD_FORMATS.items() if each.types_in_file)
_STAND_INS: dict[Location, Any] = {("path",): "any", ("format",): _ANY_TYPES, ("mapping",): {}}

_KIND = Kind(Source, "source", find_problems, _STAND_INS.get)


def load_sources(*folders: Path) -> list[Source]:
    """All sources declared in the `defs.yaml` files below some folders, sorted by name.

    Components of other types are ignored. A folder that does not exist holds no sources. Templates such as
    `{{ env.X }}` are mistakes: only Dagster fills them in, see `component_tree.loading`.

    Raises:
        DeclarationError: with every mistake in every file.
    """
    found, errors = read_sources(documents(*folders))
    if errors:
        raise DeclarationError("\n".join(errors))
    return [declared.value for declared in found]


def read_sources(found: Iterable[Document | str]) -> tuple[list[Declared[Source]], list[str]]:
    """The sources in which there is no mistake, sorted by name, and all mistakes.

    Args:
        found: what is in the files: documents, those of other components too, and messages where there is none.
    """
    sound: list[Declared[Source]] = []
    errors: list[str] = []
    for document in found:
        if isinstance(document, str):
            errors.append(document)
        elif document.type == EVENT_SOURCE:
            declared, mistakes = read(document, _KIND)
            errors += mistakes
            if declared and declared.sound:
                sound.append(declared)
    first: dict[str, Declared[Source]] = {}
    for item in sound:
        earlier = first.setdefault(item.value.name, item)
        if earlier is not item:
            place = f"{earlier.document.file}:{earlier.document.line}"
            here = f"{item.document.file}:{item.document.line}"
            errors.append(f"{here}:1: source '{item.value.name}' is already declared at {place}")
    return sorted(first.values(), key=lambda item: item.value.name), errors
