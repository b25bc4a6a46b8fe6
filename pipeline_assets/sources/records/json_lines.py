"""Records that are JSON texts: one object in each line, or the elements of an array."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.sources.access_logs import LIKELY
from pipeline_assets.sources.formats import READY_FORMATS
from pipeline_assets.sources.records.cutting import Tally
from pipeline_assets.sources.records.encoding import Bytes
from pipeline_assets.sources.records.json_cutting import read_json_array
from pipeline_assets.sources.records.look import NAME, TEXT, Glance, Look
from pipeline_assets.sources.records.objects import ObjectRecords
from pipeline_assets.sources.records.steps import NULL_ESCAPES, TEXT_RECORD, Step, is_blank
from pipeline_assets.sql import literal

_ABSENT = object()
_TYPES = {bool: "boolean", int: "number", float: "number", str: TEXT, list: "array", dict: "object"}


class JsonLines(ObjectRecords):
    """One JSON object in each line."""

    name = "jsonl"
    alternatives = ("jsonl", "json_array", "csv", "parquet", "tsv")
    is_as_written = True

    def split(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """Parse."""
        del fields, references
        text = f"""CASE WHEN contains("raw", '\\u0000') THEN
            regexp_replace("raw", {NULL_ESCAPES}, '\\1', 'g')::JSON ELSE "~parsed" END"""
        return [
            # The cast is the only check: what is of type JSON is not checked again by each function that reads it.
            Step(('"~line"', '"raw"', 'TRY_CAST("raw" AS JSON) AS "~parsed"'), TEXT_RECORD),
            Step(
                (
                    '"~line"',
                    '"raw"',
                    '"~parsed"',
                    f"""CASE WHEN "~parsed" IS NOT NULL AND starts_with("raw", '{{') THEN NULL
                    WHEN {is_blank("raw")} THEN 'blank'
                    WHEN "~parsed" IS NULL THEN 'not_json'
                    WHEN NOT starts_with(ltrim("raw", E' \\t\\r\\n'), '{{') THEN 'not_an_object' END AS "~bad\"""",
                )
            ),
            Step(('"~line"', '"raw"', '"~bad"', f'CASE WHEN "~bad" IS NULL THEN {text} END AS "~json"')),
        ]

    def likely(self) -> str:
        """The ready format, or the other thing, whose fields a record has."""
        if self.ready is None:
            return ""
        kinds = [(kind, marks) for kind, marks in self.ready.lookalikes.items()]
        others = {other.name: other for other in READY_FORMATS.values() if other != self.ready}
        kinds += [(other.name, marks) for other in others.values() for marks in other.marks]
        cases = " ".join(
            f"WHEN {' AND '.join(map(_has, marks))} THEN {literal(LIKELY + kind)}" for kind, marks in kinds
        )
        return f" || CASE {cases} ELSE '' END"

    def look(self, glance: Glance) -> Look | None:
        """The keys of the records, and of nested ones those that are looked for."""
        found: dict[str, set[str]] = {}
        counted: dict[str, int] = {}
        records = 0
        for record in _objects(glance.records):
            records += 1
            values = {name: value for name, value in record.items() if NAME.fullmatch(name)}
            values |= {".".join(path): value for path in glance.nested if (value := _at(record, path)) is not _ABSENT}
            for name, value in values.items():
                counted[name] = counted.get(name, 0) + 1
                kinds = found.setdefault(name, set())
                if value is not None:
                    kinds.add(_TYPES[type(value)])
        if not records:
            return None
        always = frozenset(name for name, number in counted.items() if number == records)
        return Look({name: frozenset(kinds) for name, kinds in found.items()}, always)


class JsonArray(JsonLines):
    """The elements of a JSON array, or where a ready format says so, the records that each of them holds."""

    name = "json_array"

    def cut(self, stream: Bytes, tally: Tally, *, limit: int) -> Iterator[pa.RecordBatch]:
        """Cut into elements."""
        return read_json_array(stream, tally, limit=limit, nested=self.ready.nested if self.ready else None)

    def declared(self) -> dict[str, Any]:
        """Where in an element the records are."""
        nested = self.ready.nested if self.ready else None
        return {**super().declared(), "nested": asdict(nested) if nested else None}


def _has(mark: str) -> str:
    path = "".join(f'."{key}"' for key in mark.split("."))
    return f'json_exists("~raw", {literal(f"${path}")})'


def _objects(texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    for text in texts:
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _at(record: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = record
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return _ABSENT
        value = value[key]
    return value
