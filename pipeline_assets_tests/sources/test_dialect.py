"""A header read in Python and rows read in DuckDB are understood alike, in every dialect."""

import csv
import io
import json
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.dialect import Dialect
from pipeline_assets.sources.records import cutting
from pipeline_assets.sources.records.csv_cutting import read_csv_records
from pipeline_assets.sources.records.cutting import Tally
from pipeline_assets.sources.records.delimited import CsvRows
from pipeline_assets_tests.sources.staging_rows import source, stage

DIALECTS = st.sampled_from(
    [
        {},
        {"delimiter": ";"},
        {"delimiter": "tab"},
        {"delimiter": "|", "quote": "'"},
        {"delimiter": ";", "escape": "\\"},
        {"delimiter": "||"},
        {"delimiter": "||", "escape": "\\"},
        {"quote": "none"},
        {"quote": "none", "escape": "\\"},
        {"delimiter": "^", "quote": "-", "escape": "]"},
        {"delimiter": "§"},
        {"delimiter": ";", "comment": "#"},
    ]
)
CELLS = st.text(st.sampled_from("ab ,;|'\"\\^-]§\n#\t"), max_size=6)


def dialect_of(declared: Source) -> Dialect:
    """How the cells of a source of CSV are written."""
    record_format = declared.record_format
    assert isinstance(record_format, CsvRows)
    return record_format.dialect


def written(rows: list[list[str]], settings_: dict[str, Any]) -> str:
    """What Python's csv module writes, or the same by hand where it cannot."""
    dialect = dialect_of(source(format="csv", csv=settings_))
    out = io.StringIO()
    for row in rows:
        cells = []
        for cell in row:
            if dialect.quote:
                inside = cell.replace(dialect.escape, dialect.escape * 2) if dialect.escape else cell
                mark = (dialect.escape or dialect.quote) + dialect.quote
                cells.append(dialect.quote + inside.replace(dialect.quote, mark) + dialect.quote)
            elif dialect.escape:
                cells.append("".join(dialect.escape + sign if not sign.isalnum() else sign for sign in cell))
            else:
                cells.append("".join(sign for sign in cell if sign not in ",\n"))
        out.write(dialect.delimiter.join(cells) + "\n")
    return out.getvalue()


@given(DIALECTS, st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5))
@settings(deadline=None, max_examples=60)
def test_cells_are_read_as_they_were_written(settings_: dict[str, Any], rows: list[list[str]]) -> None:
    text = written([["a", "b", "c"], *rows], settings_)
    dialect = dialect_of(source(format="csv", csv=settings_))
    tally = Tally()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "_CHUNK", 7)
        records = [
            row["raw"] for b in read_csv_records(io.BytesIO(text.encode()), tally, dialect) for row in b.to_pylist()
        ]
    found = [dialect.cells(record) for record in records]
    if not dialect.quote and not dialect.escape:
        rows = [["".join(sign for sign in cell if sign not in ",\n") for cell in row] for row in rows]
    assert tally.header == ["a", "b", "c"]
    assert found == rows
    assert tally.invalid == []


@given(DIALECTS, st.lists(CELLS.map(lambda cell: cell.replace("\n", "")), min_size=1, max_size=5))
@settings(deadline=None, max_examples=60)
def test_rows_and_header_divide_alike_however_odd_their_quotes(settings_: dict[str, Any], records: list[str]) -> None:
    dialect = dialect_of(source(format="csv", csv=settings_))
    pattern, delimiter = dialect.cell_pattern, dialect.delimiter
    with duckdb.connect() as connection:
        connection.register("records", pa.table({"n": range(len(records)), "raw": records}))
        query = "select regexp_extract_all(raw || $1, $2, 1) from records order by n"
        found = connection.execute(query, [delimiter, pattern]).fetchall()
    assert [cells for (cells,) in found] == [dialect._cell.findall(record + delimiter) for record in records]


@pytest.mark.parametrize(
    ("record", "cells"),
    [
        (r"a\,b,c\\,\"d", ["a,b", "c\\", '"d']),
        (r'"a\"b","c""d","\\"', ['a"b', 'c"d', "\\"]),
        ('5" disk,"x"y,', ['5" disk', '"x"y', ""]),
    ],
)
def test_an_escape_makes_the_next_character_an_ordinary_one(record: str, cells: list[str]) -> None:
    declared = source(
        format="csv", csv={"escape": "\\"}, mapping={"occurred_at": "'2024-05-01'", "anonymous_id": "'v'"}
    )
    assert dialect_of(declared).cells(record) == cells
    (row,) = stage(declared, [record], fields=["a", "b", "c"])
    kept = {name: cell for name, cell in zip("abc", cells, strict=True) if cell}
    assert row["reason"] is None
    assert json.loads(row["properties"]) == kept


def test_a_quote_that_escapes_itself_is_a_doubled_one() -> None:
    assert dialect_of(source(format="csv", csv={"escape": '"'})) == Dialect()


@given(st.lists(st.tuples(CELLS, CELLS), max_size=6), st.sampled_from(";\t|"), st.sampled_from("\"'"))
@settings(deadline=None)
def test_what_pythons_csv_module_writes_is_read(rows: list[tuple[str, str]], delimiter: str, quote: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quotechar=quote, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    dialect = Dialect(delimiter=delimiter, quote=quote, header=("a", "b"))
    batches = read_csv_records(io.BytesIO(out.getvalue().encode()), Tally(), dialect)
    assert [tuple(dialect.cells(row["raw"])) for batch in batches for row in batch.to_pylist()] == rows
