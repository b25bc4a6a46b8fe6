"""Reads declarations from YAML files; every mistake is told with file, line, column and a suggestion.

Each document of a `defs.yaml` names its `type` and has `attributes`. What the attributes may be is a pydantic model;
what they mean together is checked by a function of the caller (`Kind`). Mistakes are told all at once: what is wrong in
its shape is replaced by something harmless, so that the rest can be checked as well.
"""

import copy
import os
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, cast, get_args, get_origin

import yaml
import yaml.constructor
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline_assets.declarations.problems import DeclarationError, Location, Problem, suggestion
from pipeline_assets.settings import PACKAGE_DIR, Settings

DEFS_DIR = PACKAGE_DIR / "defs"
FILE_NAMES = ("defs.yaml", "defs.yml", "component.yaml")
"""What Dagster calls such a file; of several in a folder the first of these counts."""

FOLDERS = ("pipeline_assets.components.EventPipeline", "dagster.DefsFolderComponent")
"""Types of components that look for others in the folders below theirs. Dagster looks below no other."""

_TEMPLATES = ("{{", "{%")
_TOP_LEVEL = ("type", "attributes", "template_vars_module", "requirements", "post_processing")
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_NULL = "tag:yaml.org,2002:null"

M = TypeVar("M", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Leaves dates text: YAML's own reading of 2026-02-30 is an exception without a place."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the class attribute is PyYAML's way
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True)
class Document:
    """One document of a file.

    Attributes:
        file: the file.
        type: the component it declares; empty if it names none.
        node: the parsed YAML.
        number: which document of its file it is, from 0.
        below: a file that declares a component in a folder above, so that Dagster does not look here; or None.
        resolve: fills in a template such as `{{ env.X }}`, as Dagster does; None where nobody can.
    """

    file: Path
    type: str
    node: yaml.MappingNode
    number: int = 0
    below: Path | None = None
    resolve: Callable[[str], Any] | None = None

    @property
    def place(self) -> tuple[Path, int]:
        """By what Dagster tells documents apart: the folder, and which document of its file it is."""
        return self.file.absolute().parent, self.number

    @property
    def is_templated(self) -> bool:
        """Whether a value in its attributes is a template."""
        entry = _entry(self.node, "attributes")
        return entry is not None and any(True for _ in _templates(entry[1]))

    @property
    def line(self) -> int:
        """Line in which it begins, from 1."""
        return _start(self.node).line + 1

    def at(self, problem: Problem) -> str:
        """A problem with its place in the file."""
        return _at(self.file, self._mark(problem), problem.message)

    def at_type(self, message: str) -> str:
        """What is wrong with the document's type, with its place in the file."""
        entry = _entry(self.node, "type")
        return _at(self.file, _start(entry[1] if entry else self.node), message)

    def _mark(self, problem: Problem) -> yaml.Mark:
        entry = _entry(self.node, "attributes")
        if entry is None:
            return _start(self.node)
        return _mark(entry[1], entry[0], problem)


@dataclass(frozen=True)
class Declared(Generic[M]):
    """A declaration and where it is.

    Attributes:
        value: what is declared, with its name.
        document: where.
        sound: whether no mistake was found; otherwise `value` holds stand-ins for what is wrong.
    """

    value: M
    document: Document
    sound: bool


def _drop(location: Location) -> Any:  # noqa: ARG001 - nothing stands in for anything
    return None


@dataclass(frozen=True)
class Kind(Generic[M]):
    """What one type of component declares.

    Attributes:
        model: the attributes; it has a field `name`, whose default is empty: the name of the declaration's folder.
        noun: what one is called in messages, without an article, e.g. `source`.
        find_problems: finds mistakes in a declaration whose shape is right.
        stand_in: a harmless value for what is wrong or missing at a place; None: the key is left out.
    """

    model: type[M]
    noun: str
    find_problems: Callable[[M], Iterable[Problem]]
    stand_in: Callable[[Location], Any] = _drop


def declaring_folder(settings: Settings) -> Path:
    """The folder with a deployment's declarations: the one it names, otherwise the package's `defs/`, the demo's.

    Raises:
        DeclarationError: the folder that the deployment names does not exist.
    """
    if settings.defs_dir is None:
        return DEFS_DIR
    if not settings.defs_dir.is_dir():
        raise DeclarationError(
            f"{settings.defs_dir}: PIPELINE_DEFS_DIR names no folder. Create it, mount it, or correct the variable; "
            "what was loaded stays as it is meanwhile."
        )
    return settings.defs_dir


def declares_nothing(settings: Settings) -> bool:
    """Whether the deployment names a folder for its declarations in which there are none."""
    return settings.defs_dir is not None and not any(_files([settings.defs_dir]))


def documents(*folders: Path) -> Iterator[Document | str]:
    """The documents in the `defs.yaml` files below some folders, or a message where a file cannot be read.

    A folder that does not exist holds none. A file that is below two of the folders is read once.
    """
    taken: dict[Path, Path] = {}
    for file in _files(folders):
        below = next((taken[folder] for folder in file.parent.parents if folder in taken), None)
        try:
            nodes = list(yaml.compose_all(file.read_text(encoding="utf-8"), Loader=_Loader))
        except yaml.MarkedYAMLError as error:
            yield _not_yaml(file, error)
            continue
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            yield f"{file}:1:1: not valid YAML: {' '.join(str(error).split())}"
            continue
        found = []
        for number, node in enumerate(nodes):
            if isinstance(node, yaml.MappingNode):
                kind = _entry(node, "type")
                found.append(Document(file, str(kind[1].value) if kind else "", node, number, below))
        if found and not any(document.type in FOLDERS for document in found):
            taken[file.parent] = file
        yield from found


def read(document: Document, kind: Kind[M]) -> tuple[Declared[M] | None, list[str]]:
    """What a document declares, and its mistakes; nothing where they leave nothing to work with."""
    repeated = [_at(document.file, mark, message) for mark, message in _repeated_keys(document.node)]
    if repeated:
        return None, repeated
    messages = [
        _at(document.file, _start(key), f"unknown key '{key.value}'{suggestion(str(key.value), _TOP_LEVEL)}")
        for key, _ in document.node.value
        if key.value not in _TOP_LEVEL
    ]
    if document.below is not None:
        what = f"{document.below} declares something in a folder above, below which Dagster looks for nothing"
        messages.append(document.at_type(f"{what}; move one of them into a folder of its own"))
    try:
        values = _attributes(document, kind)
    except _TemplateError as error:
        return None, [*messages, *error.messages]
    except yaml.MarkedYAMLError as error:
        return None, [*messages, _not_yaml(document.file, error)]
    if isinstance(values, str):
        return None, [*messages, values]
    problems: list[Problem] = []
    try:
        value = kind.model.model_validate(values)
    except ValidationError as error:
        details = _causes(error.errors(include_url=False))
        problems = [_shape_problem(kind, item) for item in details]
        value = _mended(kind, values, [_location(item) for item in details])
    if value is not None and not dict(value)["name"]:
        named = _named(kind, value, document.file.absolute().parent.name)
        if isinstance(named, Problem):
            problems.append(named)
        else:
            value = named
    if value is not None:
        wrong = [problem.location for problem in problems]
        # What is said of a whole says nothing while a part of it is wrong.
        problems += [
            problem for problem in kind.find_problems(value) if not any(_holds(problem.location, at) for at in wrong)
        ]
    places = {(document._mark(problem), problem.message) for problem in problems}
    for mark, message in sorted(places, key=lambda place: (place[0].line, place[0].column, place[1])):
        messages.append(_at(document.file, mark, message))
    return (None if value is None else Declared(value, document, sound=not messages)), messages


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    """The files below some folders, those of a folder before those below it."""
    seen: set[Path] = set()
    for top in folders:
        for name, below, files in os.walk(top):
            # As Dagster does: hidden folders are somebody else's, such as an editor's copies.
            below[:] = sorted(each for each in below if not each.startswith(".") and each != "__pycache__")
            folder = Path(name)
            # One folder may lie within the other.
            if (found := next((each for each in FILE_NAMES if each in files), None)) and folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield folder / found


def _start(node: yaml.Node) -> yaml.Mark:
    # What the composer makes always has its place.
    return cast("yaml.Mark", node.start_mark)


def _at(file: Path, mark: yaml.Mark, message: str) -> str:
    return f"{file}:{mark.line + 1}:{mark.column + 1}: {message}"


def _not_yaml(file: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    message = f"not valid YAML: {error.problem or error.context}"
    return _at(file, mark, message) if mark else f"{file}:1:1: {message}"


def _attributes(document: Document, kind: Kind[M]) -> dict[Any, Any] | str:
    """The attributes as Python values, or what is wrong with them."""
    entry = _entry(document.node, "attributes")
    needed = [name for name, field in kind.model.model_fields.items() if field.is_required()]
    empty = entry is None or entry[1].tag == _NULL
    if empty and not needed:
        return {}
    if entry is None or not isinstance(entry[1], yaml.MappingNode):
        what = f": {_listing(needed)}" if needed else " with keys and values"
        mark = _start(entry[1] if entry else document.node)
        return _at(document.file, mark, f"{_article(kind.noun)} needs `attributes`{what}")
    return _Constructor(document, entry[1]).construct_document(entry[1])


class _TemplateError(Exception):
    """Templates that cannot be filled in; the messages have their places."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = list(messages)


class _Constructor(yaml.constructor.SafeConstructor):
    """Makes values of a document's nodes, in which templates are filled in.

    Raises:
        _TemplateError: with every template that cannot be.
    """

    def __init__(self, document: Document, node: yaml.Node) -> None:
        super().__init__()
        self._filled: dict[int, Any] = {}
        messages = []
        for template in _templates(node):
            try:
                self._filled[id(template)] = _filled(document, str(template.value))
            except ValueError as error:
                messages.append(_at(document.file, _start(template), str(error)))
        if messages:
            raise _TemplateError(messages)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if id(node) in self._filled:
            return self._filled[id(node)]
        return super().construct_object(node, deep)


def _templates(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """The values in a node that are templates; keys are none, as for Dagster."""
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _templates(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _templates(value)
    elif isinstance(node, yaml.ScalarNode) and any(begin in str(node.value) for begin in _TEMPLATES):
        yield node


def _filled(document: Document, template: str) -> Any:
    if document.resolve is None:
        raise ValueError(f"{template} is a template, which only Dagster fills in: give the value itself")
    value = document.resolve(template)
    if value is None:
        raise ValueError(
            f"{template} gives no value: set what it names, or write a default: {{{{ env('X', 'default') }}}}"
        )
    return value


def _listing(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _location(details: ErrorDetails) -> Location:
    return tuple(step for step in details["loc"] if step != "[key]")


def _holds(whole: Location, part: Location) -> bool:
    return part[: len(whole)] == whole


def _causes(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that are too short only because pydantic does not count the elements that are wrong."""
    return [
        item
        for item in details
        if item["type"] != "too_short"
        or not any(other is not item and _holds(item["loc"], other["loc"]) for other in details)
    ]


def _mended(kind: Kind[M], values: dict[Any, Any], wrong: list[Location]) -> M | None:
    """The declaration without what is wrong in its shape, so that its other mistakes can be told as well."""
    values = copy.deepcopy(values)
    # From the end, because leaving out an element of a list moves those behind it.
    for location in reversed(wrong):
        _replace(values, location, kind.stand_in)
    try:
        return kind.model.model_validate(values)
    except ValidationError:
        return None


def _replace(level: Any, location: Location, stand_in: Callable[[Location], Any]) -> None:
    for depth, step in enumerate(location):
        if isinstance(level, dict):
            inner = level.get(step)
        elif isinstance(level, list) and isinstance(step, int) and step < len(level):
            inner = level[step]
        else:
            return
        if depth == len(location) - 1 or not isinstance(inner, dict | list):
            new = stand_in(location[: depth + 1])
            if new is not None:
                level[step] = copy.deepcopy(new)
            elif isinstance(level, dict):
                level.pop(step, None)
            else:
                del level[int(step)]
            return
        level = inner


def _named(kind: Kind[M], value: M, name: str) -> M | Problem:
    try:
        # What was left out stays known as such.
        return kind.model.model_validate({**value.model_dump(exclude_unset=True), "name": name})
    except ValidationError:
        return Problem(
            (),
            f"the folder's name '{name}' cannot be the {kind.noun}'s name; add `name:` "
            "(lower-case letters, digits and _, a letter first)",
        )


def _entry(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((key, value) for key, value in node.value if key.value == name), None)


def _repeated_keys(node: yaml.Node) -> Iterator[tuple[yaml.Mark, str]]:
    if isinstance(node, yaml.MappingNode):
        first: dict[str, yaml.Mark] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                mark = _start(key)
                earlier = first.setdefault(key.value, mark)
                if earlier is not mark:
                    yield mark, f"key '{key.value}' is already in line {earlier.line + 1}"
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
        elif isinstance(node, yaml.ScalarNode) and step == 0:
            # One text where several may be.
            return _start(node)
        else:
            break
    else:
        if not problem.at_key and problem.location:
            return _start(node)
    return _start(key)


def _shape_problem(kind: Kind[Any], details: ErrorDetails) -> Problem:
    """A validation error of pydantic in words a declaration's author can use."""
    location = _location(details)
    name = next((step for step in reversed(location) if isinstance(step, str)), "attributes")
    error, given, context = details["type"], details.get("input"), details.get("ctx") or {}
    if error == "extra_forbidden":
        known = _elsewhere(kind.model, location) or suggestion(name, _known_keys(kind.model, location[:-1]))
        return Problem(location, f"unknown attribute '{name}'{known}", at_key=True)
    if error == "missing":
        return Problem(location, f"attribute '{name}' is missing", at_key=True)
    if given is None:
        return Problem(location, f"{name} has no value; give one or delete the line", at_key=True)
    if error == "literal_error":
        return Problem(location, f"unknown {name} '{given}'{suggestion(str(given), _choices(kind.model, location))}")
    if error == "string_pattern_mismatch" and location == ("name",):
        words = f"'{given}' cannot be {_article(kind.noun)}'s name: lower-case letters, digits and _, a letter first"
        return Problem(location, words)
    if error in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if error == "too_short" else f"at most {context['max_length']}"
        return Problem(location, f"{name}: must have {bound} items, not {context['actual_length']}")
    if error in ("model_type", "dict_type"):
        keys = _known_keys(kind.model, location)
        listed = f" ({', '.join(keys)})" if keys else ""
        return Problem(location, f"{name}: must be keys and values{listed}")
    message = details["msg"].replace("Value error, ", "").replace("a valid tuple", "a list")
    for subject in ("Input should", "String should", "Decimal input should"):
        message = message.replace(subject, "must")
    return Problem(location, f"{name}: {message}, not {given!r}")


def _elsewhere(model: type[BaseModel], location: Location) -> str:
    """Where an attribute belongs that is known, but not at this place."""
    name = str(location[-1])
    if len(location) > 1 and name in model.model_fields:
        return f"; '{name}' belongs beside '{location[0]}'"
    places = [field for field in model.model_fields if name in _known_keys(model, (field,))]
    return f"; it belongs into '{places[0]}'" if len(location) == 1 and len(places) == 1 else ""


def _plain(annotation: Any) -> Any:
    """A type without Annotated and None; of several the one that has parts of its own."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [_plain(member) for member in get_args(annotation) if member is not types.NoneType]
        return next((member for member in members if _is_model(member) or get_args(member)), members[0])
    return annotation


def _is_model(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, BaseModel)


def _annotation(model: type[BaseModel], location: Location) -> Any:
    """The type that describes a place of a declaration; None where there is none."""
    found: Any = model
    for step in location:
        if _is_model(found):
            field = cast("type[BaseModel]", found).model_fields.get(str(step))
            found = _plain(field.annotation) if field else None
        elif get_args(found):
            # The elements of a list or tuple, the values of a dict.
            found = _plain(get_args(found)[1 if get_origin(found) is dict else 0])
        else:
            return None
    return found


def _known_keys(model: type[BaseModel], location: Location) -> list[str]:
    found = _annotation(model, location)
    return list(found.model_fields) if _is_model(found) else []


def _choices(model: type[BaseModel], location: Location) -> list[str]:
    found = _annotation(model, location)
    if get_origin(found) is Literal:
        return [str(choice) for choice in get_args(found)]
    # Choices that are not known to the type are stated in the schema.
    around = _annotation(model, location[:-1])
    field = cast("type[BaseModel]", around).model_fields.get(str(location[-1])) if _is_model(around) else None
    extra = field.json_schema_extra if field else None
    choices = extra.get("enum") if isinstance(extra, dict) else None
    return [str(choice) for choice in choices] if isinstance(choices, list) else []
