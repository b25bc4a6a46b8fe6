"""What the steps of a staging query are made of: projections, and pieces of SQL over records and JSON."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.sql import identifier, literal

# PostgreSQL cannot hold U+0000, whose escape a JSON text may contain behind an even number of backslashes.
NULL_ESCAPES = r"'((?:^|[^\\])(?:\\\\)*)(?:\\u0000)+'"

TEXT_RECORD = ('"~line"', '"raw"')
"""The columns of `raw_rows` where a record is a text."""


@dataclass(frozen=True)
class Step:
    """A projection of the step before it; `names` rename that one's columns by position."""

    columns: Sequence[str]
    names: Sequence[str] = ()

    def select(self, previous: str) -> str:
        """The projection as SQL over a relation."""
        names = f' AS "~rows"({", ".join(self.names)})' if self.names else ""
        return "SELECT " + ",\n  ".join(self.columns) + f"\nFROM {previous}{names}"


def column_names(fields: Iterable[str]) -> tuple[str, ...]:
    """Names under which a file's columns can be used: an empty one becomes column_<position>, repeats get a suffix."""
    names: list[str] = []
    taken: set[str] = set()
    for position, field in enumerate(fields, 1):
        # The columns of the staging query begin with ~.
        base = field.replace("\0", "").strip().lstrip("~") or f"column_{position}"
        name, repeat = base, 1
        while name.casefold() in taken:
            repeat += 1
            name = f"{base}_{repeat}"
        taken.add(name.casefold())
        names.append(name)
    return tuple(names)


def is_blank(column: str, delimiter: str = "") -> str:
    """SQL of whether a record is nothing but white space; a tab that is a delimiter is two empty fields."""
    space = " \t\r\n\f\v".replace(delimiter, "") if delimiter else " \t\r\n\f\v"
    return f"trim({identifier(column)}, {literal(space)}) = ''"


def cell(value: str) -> str:
    """SQL of a cell: a CSV file cannot tell what is empty from what is not there."""
    # Most cells are told apart from white space by one comparison; see `trimmed`.
    return f"CASE WHEN {value} < '!' AND trim({value}) = '' THEN NULL ELSE {value} END"


def trimmed(text: str) -> str:
    """SQL of a text without spaces around it, null where nothing is left."""
    # DuckDB's trim costs ten times as much as looking whether there may be anything to trim: what is less than the
    # character after the space is empty, or begins with a space or a control character.
    return f"CASE WHEN {text} < '!' OR ends_with({text}, ' ') THEN nullif(trim({text}), '') ELSE {text} END"


def unescaped(text: str, pattern: str) -> str:
    """SQL of a text without what a pattern finds, save its groups."""
    if not pattern:
        return text
    groups = "".join(rf"\{number}" for number in range(1, re.compile(pattern).groups + 1))
    return f"regexp_replace({text}, {literal(pattern)}, {literal(groups)}, 'g')"


def reference(path: FieldPath) -> str:
    """SQL of a field."""
    return ".".join(map(identifier, path))


def dump(value: Any) -> str:
    """A value as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_structure(references: Iterable[FieldPath]) -> dict[str, Any]:
    """Nested keys down to the leaves that are read, each leaf VARCHAR; `raw` is the whole row and no key."""
    structure: dict[str, Any] = {}
    for path in sorted(references):
        if path[0] == "raw":
            continue
        level = structure
        for key in path[:-1]:
            if not isinstance(level.get(key), dict):
                level[key] = {}
            level = level[key]
        level.setdefault(path[-1], "VARCHAR")
    return structure


def sql_type(structure: Any) -> str:
    """The DuckDB type of a JSON structure."""
    if isinstance(structure, str):
        return structure
    return "STRUCT(" + ", ".join(f"{identifier(key)} {sql_type(inner)}" for key, inner in structure.items()) + ")"


def nulls(structure: Any) -> Any:
    """A structure with nulls for leaves: as a merge patch it removes them."""
    return {key: nulls(inner) for key, inner in structure.items()} if isinstance(structure, dict) else None


def removing(structure: dict[str, Any], path: FieldPath = ()) -> str:
    """SQL of the merge patch that removes the leaves of a structure, and makes nothing that is not there."""
    fixed = [f"{dump(key)}:null" for key, inner in structure.items() if not isinstance(inner, dict)]
    # A patch replaces what is no object by an object, and adds objects that are missing. So the part for a container is
    # only made where one of the leaves below it was found: then the container is an object.
    optional = [
        f"CASE WHEN coalesce({', '.join(map(reference, _leaves(inner, (*path, key))))}) IS NOT NULL"
        f" THEN {literal(f'{dump(key)}:')} || {removing(inner, (*path, key))} || ',' ELSE '' END"
        for key, inner in structure.items()
        if isinstance(inner, dict)
    ]
    if not optional:
        return literal("{" + ",".join(fixed) + "}")
    if fixed:
        return f"'{{' || {' || '.join(optional)} || {literal(','.join(fixed) + '}')}"
    return f"'{{' || rtrim({' || '.join(optional)}, ',') || '}}'"


def _leaves(structure: Any, path: FieldPath) -> list[FieldPath]:
    if not isinstance(structure, dict):
        return [path]
    return [leaf for key, inner in structure.items() for leaf in _leaves(inner, (*path, key))]


def exact(value: str, kind: str) -> str:
    """SQL of the JSON of a value in which no decimal loses a digit: JSON's numbers here hold 15, one of more is a text.

    Args:
        value: SQL of the value.
        kind: SQL of the name of its type.
    """
    digits = f"strlen(trim(regexp_replace(({value})::VARCHAR, '[-.]', '', 'g'), '0'))"
    return f"""CASE WHEN starts_with({kind}, 'DECIMAL') AND {digits} > 15 THEN to_json(({value})::VARCHAR)
        ELSE to_json({value}) END"""


def without_nul_escapes(text: str) -> str:
    """SQL of a JSON text without the escapes of U+0000."""
    clean = f"regexp_replace({text}, {NULL_ESCAPES}, '\\1', 'g')"
    return f"CASE WHEN contains({text}, '\\u0000') THEN {clean} ELSE {text} END"
