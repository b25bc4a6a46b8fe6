"""Parquet files of every writer are read as people expect, and one bad value costs its row and not the file."""

import datetime as dt
import json
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.ledger.files import Load
from pipeline_assets.sources.declaration import Source
from pipeline_assets_tests.formats.landed import declare, load
from pipeline_assets_tests.sources.staging_rows import source

TIME = "2024-05-01T10:00:00Z"
MOMENT = dt.datetime(2024, 5, 1, 10, tzinfo=dt.UTC)
MAPPING = {"event_id": "id", "occurred_at": "time", "anonymous_id": "visitor"}
NAIVE = MOMENT.replace(tzinfo=None)
BINARY = pa.binary()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.parquet"


def events(**columns: Any) -> pa.Table:
    """Two events; columns are added or replaced."""
    return pa.table({"id": ["e1", "e2"], "time": [TIME, TIME], "visitor": ["v1", "v2"], **columns})


def parquet_source(**mapping: str) -> Source:
    return source(format="parquet", mapping={**MAPPING, **mapping})


def loaded(
    path: Path, table: pa.Table, declared: Source | None = None, limit: int = 1 << 20, **options: Any
) -> tuple[list[dict], Load]:
    pq.write_table(table, path, **options)
    return load(declared or parquet_source(), path, max_record_bytes=limit)


def properties(path: Path, table: pa.Table, **options: Any) -> list[dict | None]:
    rows, _ = loaded(path, table, **options)
    return [json.loads(row["properties"]) if row["properties"] else None for row in rows]


def bad_text(*values: bytes) -> pa.Array:
    """A column that says it is text, as careless writers make it."""
    made = pa.array(values, BINARY)
    return pa.Array.from_buffers(pa.string(), len(made), made.buffers())


@given(
    st.lists(st.text(min_size=1, max_size=9).map(lambda text: f"x{text}x".replace("\0", "")), min_size=2, max_size=2)
)
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_binary_columns_that_are_utf8_are_read_as_the_text_they_are(path: Path, texts: list[str]) -> None:
    values = [text.encode("utf-8", "replace") for text in texts]
    table = events(
        id=pa.array(values, BINARY),
        time=pa.array([TIME.encode()] * 2, BINARY),
        visitor=pa.array(values, BINARY).dictionary_encode(),
        note=pa.array(values, BINARY),
    )
    rows, booked = loaded(path, table)
    assert booked.quarantined == []
    wanted = [value.decode() for value in values]
    assert [row["event_id"] for row in rows] == wanted
    assert [row["anonymous_id"] for row in rows] == wanted
    assert [json.loads(row["properties"]) for row in rows] == [{"note": text} for text in wanted]
    assert {row["occurred_at"] for row in rows} == {MOMENT}


def of_kind(kind: str, *values: bytes) -> pa.Array:
    """The values as a column that says that it is bytes, text, or text behind a dictionary or views."""
    made = pa.array(values, BINARY) if kind == "binary" else bad_text(*values)
    if kind == "dictionary":
        return pa.DictionaryArray.from_arrays(pa.array(range(len(values)), pa.int32()), made)
    return made.cast(pa.large_string()) if kind == "large" else made


OF_KINDS = pytest.mark.parametrize("kind", ["binary", "text", "large", "dictionary"])


@OF_KINDS
def test_a_mapped_value_that_is_no_text_costs_its_row_and_says_which_column(path: Path, kind: str) -> None:
    table = events(visitor=of_kind(kind, b"\xff\xfe", b"v2"), more=pa.array(["a", "b"]).dictionary_encode())
    rows, booked = loaded(path, table)
    assert [row["anonymous_id"] for row in rows] == ["v2"]
    assert (booked.lines, booked.landed, booked.error) == (2, 1, None)
    (refused,) = booked.quarantined
    assert (refused.line, refused.reason) == (1, "invalid_utf8:visitor")
    assert json.loads(refused.raw) == {"id": "e1", "time": TIME, "visitor": r"\xFF\xFE", "more": "a"}
    assert refused.length == len(refused.raw)


@OF_KINDS
def test_a_value_that_nothing_maps_stays_in_the_properties_whatever_it_is(path: Path, kind: str) -> None:
    table = events(note=of_kind(kind, b"\xff", "ü".encode()))
    assert properties(path, table) == [{"note": r"\xFF"}, {"note": "ü"}]


def test_a_column_that_the_declaration_takes_as_bytes_stays_bytes(path: Path) -> None:
    table = events(visitor=pa.array([b"\xff\x01", b"ab"], BINARY))
    rows, booked = loaded(path, table, parquet_source(anonymous_id="hex(visitor)"))
    assert booked.quarantined == []
    assert [row["anonymous_id"] for row in rows] == ["FF01", "6162"]


def test_texts_within_nested_columns_are_texts_too(path: Path) -> None:
    text = "ü".encode()
    table = events(
        s=pa.array([{"a": text, "b": {"c": 1}}, None]),
        l=pa.array([[text], []], pa.list_(BINARY)),
        m=pa.array([[("k", text)], []], pa.map_(pa.string(), BINARY)),
    )
    assert properties(path, table) == [
        {"s": {"a": "ü", "b": {"c": 1}}, "l": ["ü"], "m": {"k": "ü"}},
        {"l": [], "m": {}},
    ]
    rows, _ = loaded(path, table, parquet_source(event_name="s.a"))
    assert [row["event_name"] for row in rows] == ["ü", None]


@pytest.mark.parametrize("visitor", ["visitor", "hex(visitor)", "decode(visitor)"])
def test_texts_within_nested_columns_do_not_depend_on_other_columns_of_bytes(path: Path, visitor: str) -> None:
    table = pa.table(
        {
            "id": ["e1", "e2"],
            "time": [TIME, TIME],
            "visitor": pa.array([b"v1", b"v2"], BINARY),
            "s": pa.array([{"a": "ü".encode(), "l": [b"\xff", None]}, {"a": b"x", "l": None}]),
            "picture": pa.array([b"\xff", None], BINARY),
        }
    )
    rows, booked = loaded(path, table, parquet_source(anonymous_id=visitor))
    assert booked.landed == 2
    rest = [json.loads(row["properties"]) for row in rows]
    assert [row["s"] for row in rest] == [{"a": "ü", "l": [r"\xFF", None]}, {"a": "x"}]
    assert [row.get("picture") for row in rest] == [r"\xFF", None]


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.none() | st.decimals(-(10**20), 10**20, places=6), min_size=40, max_size=40))
def test_no_decimal_loses_a_digit(path: Path, amounts: list[Decimal | None]) -> None:
    count = len(amounts)
    columns = {"time": [TIME] * count, "visitor": ["v"] * count, "id": [str(number) for number in range(count)]}
    table = pa.table({**columns, "amount": pa.array(amounts, pa.decimal128(27, 6))})
    rows, _ = loaded(path, table)
    rest = [json.loads(row["properties"] or "{}", parse_float=Decimal).get("amount") for row in rows]
    assert [None if value is None else Decimal(value) for value in rest] == amounts


@pytest.mark.parametrize("name", ["file_row_number", "File_Row_Number", "line", "filename"])
def test_a_column_may_be_called_as_one_of_the_readers_own(path: Path, name: str) -> None:
    table = events(**{name: [7, 8]})
    assert properties(path, table) == [{name: 7}, {name: 8}]
    rows, booked = loaded(path, table, parquet_source(event_name=f"{name}::VARCHAR"))
    assert [(row["event_name"], row["line"]) for row in rows] == [("7", 1), ("8", 2)]
    assert booked.lines == 2


def test_a_ready_format_reads_binary_columns_as_texts(path: Path) -> None:
    columns = {
        "type": "track",
        "event": "Signed Up",
        "messageId": "m1",
        "anonymousId": "v1",
        "timestamp": TIME,
        "plan": "ü",
    }
    table = pa.table({name: pa.array([value.encode()], BINARY) for name, value in columns.items()})
    pq.write_table(table, path)
    (row,), booked = load(declare("segment", records="parquet"), path)
    assert booked.quarantined == []
    assert (row["event_name"], row["anonymous_id"]) == ("Signed Up", "v1")
    assert '"ü"' in row["properties"]


@pytest.mark.parametrize(
    ("kind", "options", "zone", "expected"),
    [
        (pa.timestamp("ms"), {}, "UTC", 10),
        (pa.timestamp("us"), {}, "Europe/Berlin", 8),
        (pa.timestamp("ns"), {}, "Europe/Berlin", 8),
        (pa.timestamp("us", "UTC"), {}, "Europe/Berlin", 10),
        (pa.timestamp("ns", "America/Lima"), {}, "Europe/Berlin", 10),
        (pa.timestamp("ns"), {"use_deprecated_int96_timestamps": True}, "UTC", 10),
    ],
)
def test_times_of_every_type_are_read_and_local_ones_are_of_the_declared_zone(
    path: Path, kind: pa.DataType, options: dict, zone: str, expected: int
) -> None:
    declared = source(format="parquet", mapping=MAPPING, time={"zone": zone})
    rows, booked = loaded(path, events(time=pa.array([NAIVE, NAIVE], kind)), declared, **options)
    assert booked.quarantined == []
    assert {row["occurred_at"] for row in rows} == {MOMENT.replace(hour=expected)}


def test_every_other_type_is_written_as_people_write_it(path: Path) -> None:
    known = uuid.UUID("3f2d61b3-608e-43c9-a72a-88632cda2739")
    table = events(
        uuid=pa.array([known.bytes] * 2, pa.uuid()),
        fixed=pa.array([b"ab", b"\xff\xff"], pa.binary(2)),
        time_of_day=pa.array([dt.time(1, 2, 3), None]),
        day=pa.array([dt.date(2024, 1, 1), None]),
        large=pa.array([2**64 - 1, 1], pa.uint64()),
        small=pa.array([255, 1], pa.uint8()),
        nothing=pa.nulls(2),
        visitor=pa.array(["v1", "v1"]).dictionary_encode(),
        price=pa.array([Decimal("1.50"), None], pa.decimal128(38, 10)),
    )
    first, second = properties(path, table)
    assert first == {
        "uuid": str(known),
        "fixed": "ab",
        "time_of_day": "01:02:03",
        "day": "2024-01-01",
        "large": 2**64 - 1,
        "small": 255,
        "price": 1.5,
    }
    assert second == {"uuid": str(known), "fixed": r"\xFF\xFF", "large": 1, "small": 1}
    rows, _ = loaded(path, table, parquet_source(revenue="price", user_id="uuid"))
    assert (rows[0]["revenue"], rows[0]["user_id"]) == (Decimal("1.500000"), str(known))


def test_a_file_without_rows_or_row_groups_is_an_empty_file(path: Path) -> None:
    for table in (events().slice(0, 0), None):
        if table is None:
            pq.ParquetWriter(path, events().schema).close()
        else:
            pq.write_table(table, path)
        rows, booked = load(parquet_source(), path)
        assert (rows, booked.lines, booked.error) == ([], 0, None)


def test_files_of_one_source_may_differ_in_their_schemas(path: Path) -> None:
    declared = parquet_source(revenue="price")
    for table, expected in (
        (events(price=[1.5, None]), Decimal("1.5")),
        (events(price=["1.5", None], more=[1, 2]), Decimal("1.5")),
        (events(PRICE=pa.array([b"1.5", None], BINARY)), Decimal("1.5")),
        (events(), None),
    ):
        rows, booked = loaded(path, table, declared)
        assert booked.quarantined == []
        assert [row["revenue"] for row in rows] == [expected, None]


@pytest.mark.parametrize(
    "long",
    [
        pa.array([{"a": "x" * 5000}, {"a": "x"}]),
        pa.array([["x" * 100] * 50, ["x"]]),
        pa.array([[("k", "x" * 5000)], []], pa.map_(pa.string(), pa.string())),
        pa.array([[7] * 5000, [7]]),
        pa.array([[{"a": [b"x" * 5000]}], []], pa.list_(pa.struct({"a": pa.list_(BINARY)}))),
        pa.array([b"x" * 5000, b"x"], BINARY),
    ],
)
def test_nested_columns_count_in_the_limit_of_a_record(path: Path, long: pa.Array) -> None:
    rows, booked = loaded(path, events(long=long), limit=4096)
    assert [row["event_id"] for row in rows] == ["e2"]
    assert [(bad.line, bad.reason) for bad in booked.quarantined] == [(1, "too_long:record (over 4096 bytes)")]
    assert booked.quarantined[0].length > 4096
    rows, booked = loaded(path, events(long=long), limit=1 << 16)
    assert len(rows) == 2


def test_a_row_is_refused_once_though_it_is_too_long_and_no_text(path: Path) -> None:
    table = events(visitor=pa.array([b"\xff" * 5000, b"\xff"], BINARY))
    _, booked = loaded(path, table, limit=4096)
    assert [(bad.line, bad.reason) for bad in booked.quarantined] == [
        (1, "too_long:record (over 4096 bytes)"),
        (2, "invalid_utf8:visitor"),
    ]
    assert (booked.lines, booked.landed) == (2, 0)
