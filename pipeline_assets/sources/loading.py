"""Reads sources from YAML files; every mistake is reported with file, line, column and a suggestion."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
import yaml.constructor
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline_assets.settings import PROJECT_ROOT, Settings
from pipeline_assets.sources.checking import Problem, find_problems, suggestion
from pipeline_assets.sources.declaration import Source

EVENT_SOURCE = "pipeline_assets.components.EventSource"
DEFS_DIR = PROJECT_ROOT / "pipeline_assets" / "defs"
FILE_NAMES = ("defs.yaml", "defs.yml")

_TOP_LEVEL = ("type", "attributes", "template_vars_module", "requirements", "post_processing")

Location = tuple[str | int, ...]


class DeclarationError(ValueError):
    """Declarations hold mistakes; the message has one line for each, `file:line:column: what is wrong`."""


@dataclass(frozen=True)
class _Found:
    source: Source
    file: Path
    line: int


def declared_sources(settings: Settings) -> list[Source]:
    """The sources of a deployment: those in the package's `defs/` and those in the folder it names.

    Raises:
        DeclarationError: with every mistake in every file; also if the folder does not exist.
    """
    if settings.defs_dir is None:
        return load_sources(DEFS_DIR)
    if not settings.defs_dir.is_dir():
        raise DeclarationError(f"{settings.defs_dir}: PIPELINE_DEFS_DIR names no folder")
    return load_sources(DEFS_DIR, settings.defs_dir)


def load_sources(*folders: Path) -> list[Source]:
    """All sources declared in the `defs.yaml` files below some folders, sorted by name.

    Components of other types are ignored. A folder that does not exist holds no sources.

    Raises:
        DeclarationError: with every mistake in every file.
    """
    found: list[_Found] = []
    errors: list[str] = []
    for file in _files(folders):
        for result in _read(file):
            if isinstance(result, _Found):
                found.append(result)
            else:
                errors.append(result)
    first: dict[str, _Found] = {}
    for item in found:
        earlier = first.setdefault(item.source.name, item)
        if earlier is not item:
            place = f"{earlier.file}:{earlier.line}"
            errors.append(f"{item.file}:{item.line}:1: source '{item.source.name}' is already declared at {place}")
    if errors:
        raise DeclarationError("\n".join(errors))
    return sorted((item.source for item in found), key=lambda source: source.name)


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for folder in folders:
        for file in sorted(path for name in FILE_NAMES for path in folder.rglob(name)):
            # One folder may lie within the other.
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1 if node.start_mark else 1


def _at(file: Path, mark: yaml.Mark, message: str) -> str:
    return f"{file}:{mark.line + 1}:{mark.column + 1}: {message}"


def _read(file: Path) -> Iterator[_Found | str]:
    """The sources of one file, or its mistakes."""
    try:
        documents = list(yaml.compose_all(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"not valid YAML: {error.problem or error.context}"
        yield _at(file, mark, message) if mark else f"{file}: {message}"
        return
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        yield f"{file}:1:1: not valid YAML: {' '.join(str(error).split())}"
        return
    for document in documents:
        if not isinstance(document, yaml.MappingNode):
            continue
        kind = _entry(document, "type")
        if kind is None or kind[1].value != EVENT_SOURCE:
            continue
        yield from _source(file, document)


def _source(file: Path, document: yaml.MappingNode) -> Iterator[_Found | str]:
    repeated = [_at(file, mark, message) for mark, message in _repeated_keys(document)]
    if repeated:
        yield from repeated
        return
    unknown = [key for key, _ in document.value if key.value not in _TOP_LEVEL]
    for key in unknown:
        yield _at(file, key.start_mark, f"unknown key '{key.value}'{suggestion(str(key.value), _TOP_LEVEL)}")
    entry = _entry(document, "attributes")
    if entry is None or not isinstance(entry[1], yaml.MappingNode):
        mark = (entry[1] if entry else document).start_mark
        yield _at(file, mark, "a source needs `attributes`: path, format and mapping")
        return
    attributes = entry[1]
    values = _construct(attributes)
    problems: list[Problem] = []
    try:
        source = Source.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems = [_shape_problem(item) for item in details]
        source = _mended(values, [item["loc"] for item in details])
    if source is not None and not source.name:
        named = _named(source, file.absolute().parent.name)
        if isinstance(named, Problem):
            problems.append(named)
        else:
            source = named
    if source is not None:
        problems += find_problems(source)
    if source is not None and not problems and not unknown:
        yield _Found(source, file, _line(document))
    places = {(_mark(attributes, entry[0], problem), problem.message) for problem in problems}
    for mark, message in sorted(places, key=lambda place: (place[0].line, place[0].column, place[1])):
        yield _at(file, mark, message)


def _mended(values: Any, wrong: list[Location]) -> Source | None:
    """The source without what is wrong in its shape, so that its other mistakes can be told as well."""
    values = {"path": "any", "format": "parquet", "mapping": {}} | copy.deepcopy(values)
    for location in wrong:
        level = values
        for step in location[:-1]:
            level = level[step] if isinstance(level, dict) and step in level else {}
        if isinstance(level, dict) and location:
            level.pop(location[-1], None)
    # The types of Parquet columns are unknown, so this format makes no mistakes that are not there.
    values = {"path": "any", "format": "parquet", "mapping": {}} | values
    try:
        return Source.model_validate(values)
    except ValidationError:
        return None


def _named(source: Source, name: str) -> Source | Problem:
    try:
        return Source.model_validate({**source.model_dump(), "name": name})
    except ValidationError:
        return Problem(
            (),
            f"the folder's name '{name}' cannot be the source's name; add `name:` "
            "(lower-case letters, digits and _, a letter first)",
        )


def _construct(node: yaml.Node) -> Any:
    return yaml.constructor.SafeConstructor().construct_document(node)


def _entry(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((key, value) for key, value in node.value if key.value == name), None)


def _repeated_keys(node: yaml.Node) -> Iterator[tuple[yaml.Mark, str]]:
    if isinstance(node, yaml.MappingNode):
        first: dict[str, yaml.Mark] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                earlier = first.setdefault(key.value, key.start_mark)
                if earlier is not key.start_mark:
                    yield key.start_mark, f"key '{key.value}' is already in line {earlier.line + 1}"
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated_keys(value)


def _mark(attributes: yaml.Node, key: yaml.Node, problem: Problem) -> yaml.Mark:
    """Where a problem is: its key or its value, or the nearest thing around it that is in the file."""
    node = attributes
    for step in problem.location:
        if isinstance(node, yaml.MappingNode):
            entry = _entry(node, str(step))
            if entry is None:
                break
            key, node = entry
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            key = node = node.value[step]
        else:
            break
    else:
        if not problem.at_key and problem.location:
            return node.start_mark
    return key.start_mark


def _shape_problem(details: ErrorDetails) -> Problem:
    """A validation error of pydantic in words a declaration's author can use."""
    location = tuple(step for step in details["loc"] if step != "[key]")
    name = str(location[-1]) if location else "attributes"
    kind, given = details["type"], details.get("input")
    if kind == "extra_forbidden":
        return Problem(
            location, f"unknown attribute '{name}'{suggestion(name, _known_keys(location[:-1]))}", at_key=True
        )
    if kind == "missing":
        return Problem(location, f"attribute '{name}' is missing", at_key=True)
    if kind == "literal_error":
        choices = _choices(location)
        return Problem(location, f"unknown {name} '{given}'{suggestion(str(given), choices)}")
    if kind == "string_pattern_mismatch" and location == ("name",):
        return Problem(
            location, f"'{given}' cannot be a source's name: lower-case letters, digits and _, a letter first"
        )
    if given is None:
        return Problem(location, f"{name} has no value; give one or delete the line", at_key=True)
    message = (
        details["msg"].replace("Input should", "must").replace("String should", "must").replace("Value error, ", "")
    )
    return Problem(location, f"{name}: {message}, not {given!r}")


def _model(location: Location) -> type[BaseModel] | None:
    """The model that describes a place of the declaration."""
    model: Any = Source
    for step in location:
        if isinstance(model, type) and issubclass(model, BaseModel) and step in model.model_fields:
            annotation = model.model_fields[str(step)].annotation
            model = next((item for item in (annotation, *get_args(annotation)) if _is_model(item)), annotation)
        elif get_args(model):
            model = get_args(model)[-1]
    return model if _is_model(model) else None


def _is_model(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, BaseModel)


def _known_keys(location: Location) -> list[str]:
    model = _model(location)
    return list(model.model_fields) if model else []


def _choices(location: Location) -> list[str]:
    model = _model(location[:-1])
    return list(get_args(model.model_fields[str(location[-1])].annotation)) if model else []
