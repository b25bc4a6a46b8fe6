"""CSV and TSV: records of cells between delimiters."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import pyarrow as pa

from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.declarations.problems import Problem, suggestion
from pipeline_assets.sources.dialect import Dialect
from pipeline_assets.sources.records.columns import ColumnRecords, absent_columns
from pipeline_assets.sources.records.csv_cutting import read_csv_records
from pipeline_assets.sources.records.cutting import Tally
from pipeline_assets.sources.records.encoding import Bytes
from pipeline_assets.sources.records.headers import header_problem
from pipeline_assets.sources.records.look import TEXT, Glance, Look, of_columns
from pipeline_assets.sources.records.record_format import RecordFormat, RecordOptions
from pipeline_assets.sources.records.steps import TEXT_RECORD, Step, cell, column_names, is_blank, unescaped
from pipeline_assets.sources.records.table_objects import TableObjects
from pipeline_assets.sql import identifier, literal


class _Delimited(RecordFormat):
    """What CSV and TSV have in common, whatever their rows mean."""

    takes = frozenset({"encoding", "csv"})
    number_hint = ": a number in another notation than csv.decimal and csv.thousands declare"
    delimiter: ClassVar[str]
    """What stands between two cells where nothing is declared."""

    def __init__(self, options: RecordOptions) -> None:
        super().__init__(options)
        self.decimal = options.csv.decimal
        self.thousands = options.csv.thousands

    @property
    def dialect(self) -> Dialect:
        """How cells are written."""
        return self.options.csv.dialect(self.delimiter, self.ready.columns if self.ready else ())

    def declared(self) -> dict[str, Any]:
        """How cells and numbers are written."""
        return {**super().declared(), "csv": [asdict(self.dialect), self.decimal, self.thousands]}

    def problems(self) -> Iterator[Problem]:
        """Settings that contradict each other."""
        csv, dialect = self.options.csv, self.dialect
        numbers = {"decimal": csv.decimal, "thousands": csv.thousands}
        cells = {"delimiter": dialect.delimiter, "quote": csv.quote, "escape": csv.escape, "comment": csv.comment}
        for name, text in {**cells, **numbers}.items():
            if any(character in "\r\n\0" for character in text):
                yield Problem(("csv", name), f"{name}: must not hold line ends or NUL")
        for name, text in {"quote": csv.quote, "escape": csv.escape}.items():
            if text and (not text.isascii() or text.isalnum() or text == " "):
                yield Problem(("csv", name), f"{name}: must be a sign of ASCII, or none, not {text!r}")
        for name, text in {"quote": csv.quote, "escape": dialect.escape}.items():
            if text and text in dialect.delimiter:
                yield Problem(("csv", name), f"{name}: is part of the delimiter")
        quoted = csv.quote and csv.comment.startswith(csv.quote)
        if csv.comment and (csv.comment.startswith(dialect.delimiter) or quoted):
            yield Problem(("csv", "comment"), "comment: begins like a cell")
        for name, text in numbers.items():
            if text and (text.isalnum() or text in "+-"):
                yield Problem(("csv", name), f"{name}: must be a sign that is no part of a number, not {text!r}")
        if csv.decimal == csv.thousands:
            other = '`decimal: ","`' if csv.decimal == "." else "another one"
            place = "thousands" if "thousands" in csv.model_fields_set else "decimal"
            yield Problem(("csv", place), f"decimal and thousands are both '{csv.decimal}'; declare {other}")
        if isinstance(dialect.header, tuple):
            seen: set[str] = set()
            for position, name in enumerate(dialect.header):
                if name.strip().casefold() in seen:
                    yield Problem(("csv", "header", position), f"column '{name}' is there twice")
                seen.add(name.strip().casefold())

    def cut(self, stream: Bytes, tally: Tally, *, limit: int) -> Iterator[pa.RecordBatch]:
        """Cut into CSV records."""
        return read_csv_records(stream, tally, self.dialect, limit=limit)

    def header_problem(self, header: Sequence[str], read: Collection[FieldPath]) -> str | None:
        """Whether any column that the mapping reads is there."""
        return header_problem(header, read, self.dialect, self.ready)

    def split_cells(self, fields: Sequence[str], raw: str) -> list[Step]:
        """Steps that add `~bad` and the list `~values` of a record; `raw` is what the record is called then."""
        dialect = self.dialect
        clean = "replace(\"raw\", chr(0), '')"
        values = f"string_split({clean}, {literal(dialect.delimiter)})"
        within, outside = dialect.unescaping
        if dialect.marks:
            marked = " OR ".join(f'contains("raw", {literal(mark.decode())})' for mark in dialect.marks)
            content = unescaped("value", outside)
            if dialect.quote:
                mark = literal(dialect.quote)
                # Taking out doubled quotes alone is cheaper without a pattern.
                inner = f"replace(value[2:-2], {literal(dialect.quote * 2)}, {mark})"
                inner = unescaped("value[2:-2]", within) if dialect.escape else inner
                content = f"""CASE WHEN starts_with(value, {mark}) AND ends_with(value, {mark}) AND length(value) > 1
                    THEN {inner} ELSE {content} END"""
            values = f"""CASE WHEN {marked} THEN list_transform(
                regexp_extract_all({clean} || {literal(dialect.delimiter)}, {literal(dialect.cell_pattern)}, 1),
                lambda value: {content}) ELSE {values} END"""
        expected = len(fields)
        comment = f" OR starts_with({raw}, {literal(dialect.comment)})" if dialect.comment else ""
        return [
            Step(('"~line"', f'"raw" AS {raw}', f'{values} AS "~values"'), TEXT_RECORD),
            Step(
                (
                    '"~line"',
                    raw,
                    '"~values"',
                    f"""CASE WHEN {is_blank(raw.strip('"'), dialect.delimiter)}{comment} THEN 'blank'
                    WHEN len("~values") <> {expected}
                    THEN 'field_count: {expected} expected, ' || len("~values") || ' found' END AS "~bad\"""",
                )
            ),
        ]


class DelimitedRows(_Delimited, ColumnRecords):
    """Columns of the header's names."""

    def unknown_field(self, name: str) -> str | None:
        """Whether a declared header has a column."""
        header = self.dialect.header
        if not isinstance(header, tuple) or name.casefold() in {*(each.strip().casefold() for each in header), "raw"}:
            return None
        return f"the declared header has no column '{name}'{suggestion(name, header)}"

    def look(self, glance: Glance) -> Look | None:
        """The header's columns."""
        if glance.header is None:
            return None
        return of_columns(dict.fromkeys(column_names(glance.header), TEXT))

    def steps(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """Divide into cells, and name them."""
        has_raw = "raw" in {name.casefold() for name in fields}
        return [
            *self.split_cells(fields, '"~raw"'),
            Step(
                (
                    '"~line"',
                    '"~raw"',
                    '"~bad"',
                    *(() if has_raw else ('"~raw" AS "raw"',)),
                    *(f'"~values"[{n}] AS {identifier(name)}' for n, name in enumerate(fields, 1)),
                )
            ),
            Step(
                (
                    '"~line"',
                    '"~raw"',
                    '"~bad"',
                    *(() if has_raw else ('"raw"',)),
                    *(f"{cell(identifier(name))} AS {identifier(name)}" for name in fields),
                    *absent_columns((*fields, "raw"), references),
                )
            ),
        ]


class DelimitedObjects(_Delimited, TableObjects):
    """Records of a ready format."""

    def split(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """Divide into cells, and make an object of them."""
        cells = {name: f'"~values"[{n}]' for n, name in enumerate(fields, 1)}
        return [
            *self.split_cells(fields, '"raw"'),
            Step(
                (
                    '"~line"',
                    '"raw"',
                    '"~bad"',
                    *(f"{cell(value)} AS {identifier(f'~cell {name}')}" for name, value in cells.items()),
                )
            ),
            *self.record(fields, references, {name: self.text_as_json(name) for name in fields}),
        ]


class CsvRows(DelimitedRows):
    """CSV with a mapping of its own."""

    name = "csv"
    delimiter = ","


class CsvObjects(DelimitedObjects):
    """CSV of a ready format."""

    name = "csv"
    delimiter = ","


class _Tabs(_Delimited):
    name = "tsv"
    delimiter = "\t"

    def problems(self) -> Iterator[Problem]:
        """Another delimiter, and what is wrong with CSV."""
        if self.dialect.delimiter != "\t":
            yield Problem(("csv", "delimiter"), "the delimiter of tsv is a tab; declare csv for another one")
        yield from super().problems()


class TsvRows(_Tabs, DelimitedRows):
    """TSV with a mapping of its own."""


class TsvObjects(_Tabs, DelimitedObjects):
    """TSV of a ready format."""
