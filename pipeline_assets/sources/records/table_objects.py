"""Makes the records of a ready format, which are objects, of rows of columns: of a CSV, TSV or Parquet file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.records.objects import ObjectRecords
from pipeline_assets.sources.records.steps import Step, without_nul_escapes
from pipeline_assets.sql import identifier, literal


class TableObjects(ObjectRecords):
    """What formats of tables have in common where they hold records of a ready format."""

    has_own_columns = False

    def declared(self) -> dict[str, Any]:
        """How columns become fields."""
        return {**super().declared(), "table": asdict(self._ready.table)}

    @property
    def _ready(self) -> ReadyFormat:
        assert self.ready is not None  # noqa: S101 - `of` makes this class for ready formats only
        return self.ready

    def record(self, fields: Sequence[str], read: Collection[FieldPath], cells: Mapping[str, str]) -> list[Step]:
        """Steps from the cells of a row to its object; `cells` is SQL of type JSON, by column."""
        json = object_sql(self._ready, fields, read, cells)
        return [
            Step(('"~line"', '"raw"', '"~bad"', f'CASE WHEN "~bad" IS NULL THEN {json} END AS "~json"')),
            # Text that was opened may have brought a U+0000.
            Step(('"~line"', '"raw"', '"~bad"', f'{without_nul_escapes(identifier("~json"))}::JSON AS "~json"')),
        ]

    def text_as_json(self, column: str) -> str:
        """SQL of the JSON of a text in `~cell <column>`, which may be JSON itself."""
        cell = identifier(f"~cell {column}")
        text = f"to_json({cell}::VARCHAR)"
        if not may_hold_json(self._ready, column):
            return text
        opened = f"coalesce(TRY_CAST({cell}::VARCHAR AS JSON), {text})"
        return f"CASE WHEN regexp_matches({cell}::VARCHAR, '^\\s*[{{\\[]') THEN {opened} ELSE {text} END"


def field_paths(ready: ReadyFormat, columns: Sequence[str], read: Collection[FieldPath]) -> list[FieldPath]:
    """The field of a record that each column of a file becomes.

    Args:
        ready: the format.
        columns: names of the file's columns.
        read: what the mapping reads.
    """
    table = ready.table
    names = {column.casefold(): path for column, path in table.names.items()}
    keys = (*ready.columns, *table.fields, *table.json, *(path[0] for path in read))
    fields = {key.casefold(): key for key in keys if key.casefold() not in names}
    nested = {name.casefold() for name in table.json}
    whole = {column.partition(".")[0].casefold() for column in columns}
    rest = table.rest if table.rest.casefold() not in whole else ""
    paths: list[FieldPath] = []
    for column in columns:
        folded = column.casefold()
        head, _, key = column.partition(".")
        if folded in names:
            paths.append(tuple(names[folded].split(".")))
        elif folded in fields:
            paths.append((fields[folded],))
        elif key and head.casefold() in nested:
            paths.append((fields.get(head.casefold(), head), key))
        elif folded.startswith(ready.added):
            paths.append((folded,))
        elif rest:
            # Snowflake writes all names in capitals.
            paths.append((rest, folded if column.isupper() else column))
        else:
            paths.append((column,))
    return paths


def may_hold_json(ready: ReadyFormat, column: str) -> bool:
    """Whether a column may hold JSON as text."""
    folded = column.casefold()
    return folded in {name.casefold() for name in ready.table.json} or folded.startswith(ready.added)


def object_sql(
    ready: ReadyFormat, columns: Sequence[str], read: Collection[FieldPath], cells: Mapping[str, str]
) -> str:
    """SQL of the record as JSON.

    Args:
        ready: the format.
        columns: names of the file's columns.
        read: what the mapping reads.
        cells: column -> SQL of type JSON, null where there is nothing.
    """
    order = {column.casefold(): place for place, column in enumerate(ready.table.names)}
    paths = dict(zip(columns, field_paths(ready, columns, read), strict=True))
    tree: dict[Any, Any] = {}
    for column in sorted(columns, key=lambda name: order.get(name.casefold(), len(order))):
        level = tree
        for key in paths[column]:
            level = level.setdefault(key, {})
        level.setdefault(None, []).append(cells[column])
    return _object(tree)


def _object(tree: Mapping[Any, Any]) -> str:
    entries = ", ".join(f"{{'k': {literal(key)}, 'v': {_value(inner)}}}" for key, inner in tree.items())
    return f"to_json(map_from_entries(list_filter([{entries}], lambda entry: entry.v IS NOT NULL)))"


def _value(tree: Mapping[Any, Any]) -> str:
    own = tree.get(None, [])
    inner = {key: value for key, value in tree.items() if key is not None}
    whole = f"coalesce({', '.join(own)})" if own else "NULL::JSON"
    if not inner:
        return whole
    there = " OR ".join(f"({sql}) IS NOT NULL" for sql in _cells(inner))
    parts = f"CASE WHEN {there} THEN {_object(inner)} END"
    if not own:
        return parts
    # What is a column of its own has been told of the same thing; the object is the more exact.
    both = f"CASE WHEN json_type({whole}) = 'OBJECT' THEN json_merge_patch({parts}, {whole}) END"
    return f"coalesce({both}, {whole}, {parts})"


def _cells(tree: Mapping[Any, Any]) -> list[str]:
    found = list(tree.get(None, []))
    for key, inner in tree.items():
        if key is not None:
            found += _cells(inner)
    return found
