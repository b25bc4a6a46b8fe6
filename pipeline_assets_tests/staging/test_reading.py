"""Every byte of a file ends up in exactly one record."""

import bz2
import csv
import functools
import gzip
import io
import json
import lzma
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.settings import MAX_RECORD_BYTES
from pipeline_assets.sources.dialect import Dialect
from pipeline_assets.sources.limits import LONGEST_RAW
from pipeline_assets.sources.records import csv_cutting, cutting, json_cutting
from pipeline_assets.sources.records.csv_cutting import read_csv_records
from pipeline_assets.sources.records.cutting import Tally, UnreadableError, read_lines
from pipeline_assets.sources.records.json_cutting import read_json_array
from pipeline_assets.sources.records.refused_lines import QuarantinedLine, RefusedLines
from pipeline_assets.sources.records.w3c_lines import read_w3c_log
from pipeline_assets.staging import compression
from pipeline_assets.staging.compression import open_stream


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few bytes, so that every seam between blocks is met."""
    monkeypatch.setattr(cutting, "_CHUNK", 7)
    for module in (cutting, json_cutting):
        monkeypatch.setattr(module, "BATCH_LINES", 2)


def records(batches: Iterable[pa.RecordBatch]) -> list[tuple[int, str]]:
    return [(row["line"], row["raw"]) for batch in batches for row in batch.to_pylist()]


def lines(data: bytes) -> tuple[list[tuple[int, str]], Tally]:
    tally = Tally()
    return records(read_lines(io.BytesIO(data), tally)), tally


def csv_records(data: bytes, limit: int = MAX_RECORD_BYTES) -> tuple[list[tuple[int, str]], Tally]:
    tally = Tally()
    return records(read_csv_records(io.BytesIO(data), tally, Dialect(), limit=limit)), tally


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=30))
@settings(deadline=None)
def test_every_line_is_a_record_or_invalid_and_numbers_are_physical(content: list[bytes]) -> None:
    data = b"\n".join(content)
    found, tally = lines(data)
    expected = data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if data.removeprefix(b"\xef\xbb\xbf") else []
    if expected and expected[-1] == b"":
        expected.pop()
    bad = {line.line: line.raw for line in tally.invalid}
    good = {number: raw.encode() for number, raw in found}
    assert tally.lines == len(expected)
    assert {**bad, **good} == dict(enumerate(expected, 1))


def test_crlf_bom_and_a_missing_last_line_end_are_no_part_of_the_records() -> None:
    assert lines(b"\xef\xbb\xbfone\r\ntwo\r\n\r\nfour")[0] == [(1, "one"), (2, "two"), (3, ""), (4, "four")]


def test_a_line_of_twenty_megabytes_is_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_CHUNK", 4 << 20)
    found, tally = lines(b"a\n" + b"x" * 20_000_000 + b"\nb\n")
    assert [(number, len(raw)) for number, raw in found] == [(1, 1), (2, 20_000_000), (3, 1)]
    assert tally.lines == 3


def test_a_quoted_line_end_belongs_to_its_csv_record() -> None:
    found, tally = csv_records(b'id,note\n1,"two\nlines, ""quoted"""\n2,plain\n')
    assert tally.header == ["id", "note"]
    assert found == [(2, '1,"two\nlines, ""quoted"""'), (4, "2,plain")]


def test_a_quote_inside_a_field_is_ordinary_text() -> None:
    assert csv_records(b'id,note\n1,5" disk\n2,x\n')[0] == [(2, '1,5" disk'), (3, "2,x")]


@pytest.mark.parametrize(
    "rows",
    [
        ['1,Monitor 24",99', "2,x,1", "3,y,2", '4,TV 50",5'],
        ['1,LETTER "A" RING,2', '2,"LETTER ""A"" RING",2', "3,x,4"],
        ['1, "abc", 99', '2, "abc", 99', "3,x,4"],
        ['1,"",2', '"","",""', '2,"a","b"'],
        ['1,"a"b,2', "2,x,3"],
    ],
)
def test_quotes_that_do_not_begin_a_field_join_no_lines(rows: list[str]) -> None:
    found, tally = csv_records(("a,b,c\n" + "\n".join(rows) + "\n").encode())
    assert [raw for _, raw in found] == rows
    assert tally.invalid == []


FIELD_PIECES = st.lists(st.sampled_from(['"', '""', "a", " ", "\n", "x,", '",']), max_size=6).map("".join)


@given(st.lists(FIELD_PIECES, max_size=6))
@settings(deadline=None)
def test_nothing_of_a_csv_file_is_lost_however_odd_its_quotes(pieces: list[str]) -> None:
    data = ("h1,h2\n" + "\n".join(pieces) + "\n").encode()
    found, tally = csv_records(data)
    kept = sorted([*found, *((bad.line, bad.raw.decode()) for bad in tally.invalid)])
    assert "\n".join(raw for _, raw in kept) == data.decode().removeprefix("h1,h2\n").removesuffix("\n")
    assert tally.lines == len(kept)


def test_only_the_line_that_opens_a_quote_for_ever_is_refused() -> None:
    found, tally = csv_records(b'id,note\n1,"open\n2,x\n3,y\n')
    assert found == [(3, "2,x"), (4, "3,y")]
    assert [(bad.line, bad.reason, bad.raw) for bad in tally.invalid] == [(2, "unclosed_quote", b'1,"open')]
    assert tally.lines == 3


def test_a_quote_left_open_in_a_long_file_does_not_swallow_the_rest() -> None:
    found, tally = csv_records(b'id,note\n1,"open\n' + b"".join(b"%d,x\n" % n for n in range(2, 60)), limit=40)
    assert [bad.line for bad in tally.invalid] == [2]
    assert [number for number, _ in found] == list(range(3, 61))


def test_lines_that_all_leave_a_quote_open_are_refused_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    find = csv_cutting._record_ends

    def counted(block: bytes, ends: Any, dialect: Dialect, *, lost_before: int = 0) -> Any:
        passes.append(len(block))
        return find(block, ends, dialect, lost_before=lost_before)

    monkeypatch.setattr(cutting, "_CHUNK", 1 << 20)
    monkeypatch.setattr(csv_cutting, "_record_ends", counted)
    tally = Tally()
    content = b"a,b\n" + b'5"disk,"x\n' * 1000 + b"1,2\n"
    batches = list(read_csv_records(io.BytesIO(content), tally, Dialect()))
    assert [line for batch in batches for line in batch.column("line").to_pylist()] == [1002]
    assert [bad.line for bad in tally.invalid] == list(range(2, 1002))
    assert len(passes) < 10


def test_a_file_of_nothing_or_of_a_header_only_has_no_records() -> None:
    assert csv_records(b"") == ([], Tally())
    found, tally = csv_records(b"id,note\n")
    assert (found, tally.lines, tally.header) == ([], 0, ["id", "note"])


LOG_LINES = st.lists(
    st.sampled_from(
        [b"#Fields: date cs(User-Agent)", b"#Fields: c-ip", b"#Fields:", b"#Date: 2024-05-01 00:00:00", b"#Date: x",
         b"#Version: 1.0", b"1 2", b"", b"a\xff", b"#Fields: \xff"]
    ),
    max_size=12,
)  # fmt: skip
NAMES = {b"#Fields: date cs(User-Agent)": "date cs_user_agent", b"#Fields: c-ip": "c_ip", b"#Fields:": None}
DATES = {b"#Date: 2024-05-01 00:00:00": "2024-05-01", b"#Date: x": None}


@given(LOG_LINES, st.booleans())
@settings(deadline=None)
def test_every_line_of_a_w3c_log_has_the_fields_and_the_date_of_the_directives_before_it(
    content: list[bytes], ended: bool
) -> None:
    tally = Tally()
    data = b"\n".join(content) + (b"\n" if ended and content else b"")
    found = [row for batch in read_w3c_log(io.BytesIO(data), tally) for row in batch.to_pylist()]
    fields = day = None
    expected = []
    physical = data.split(b"\n")[:-1] if data.endswith(b"\n") else data.split(b"\n") if data else []
    for number, line in enumerate(physical, 1):
        fields, day = NAMES.get(line, fields), DATES.get(line, day)
        if line.startswith(b"#Fields: \xff"):
            fields = None
        if b"\xff" not in line:
            expected.append({"line": number, "raw": line.decode(), "fields": fields, "day": day})
    assert found == expected
    assert tally.lines == len(physical)
    assert [bad.line for bad in tally.invalid] == [n for n, line in enumerate(physical, 1) if b"\xff" in line]


FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8)


@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=15))
@settings(deadline=None)
def test_csv_records_are_those_of_pythons_csv_module(rows: list[tuple[str, str]]) -> None:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    found, tally = csv_records(written.getvalue().encode())
    parsed = [tuple(next(csv.reader(io.StringIO(raw, newline="")))) for _, raw in found]
    assert parsed == rows
    assert tally.invalid == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(JSON, max_size=8), st.sampled_from([None, 2]))
@settings(deadline=None)
def test_the_elements_of_a_json_array_are_its_records(elements: list[object], indent: int | None) -> None:
    tally = Tally()
    found = records(read_json_array(io.BytesIO(json.dumps(elements, indent=indent).encode()), tally))
    assert [json.loads(raw) for _, raw in found] == elements
    assert [number for number, _ in found] == list(range(1, len(elements) + 1))
    assert tally.lines == len(elements)


def test_a_damaged_element_of_a_json_array_is_a_record_and_the_next_one_is_read() -> None:
    found = records(read_json_array(io.BytesIO(b'[{"a": 1}, {"b": }, {"c": 3}]'), Tally()))
    assert found == [(1, '{"a": 1}'), (2, '{"b": }'), (3, '{"c": 3}')]


def test_lines_of_json_declared_as_an_array_are_refused_with_a_hint() -> None:
    with pytest.raises(UnreadableError, match="format: jsonl"):
        list(read_json_array(io.BytesIO(b'{"a": 1}\n{"a": 2}\n'), Tally()))


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_gzip_is_told_by_its_first_bytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file.jsonl{suffix}"
    path.write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    assert records(read_lines(open_stream(path, "auto"), Tally())) == [(1, "a"), (2, "b")]


def test_zstd_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl.zst"
    path.write_bytes(pa.Codec("zstd").compress(b"a\nb\n", asbytes=True))
    assert records(read_lines(open_stream(path, "auto"), Tally())) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("suffix", [".bz2", ""])
def test_bzip2_is_told_by_its_first_bytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file.jsonl{suffix}"
    path.write_bytes(bz2.compress(b"a\n") + bz2.compress(b"") + bz2.compress(b"b\n"))
    assert records(read_lines(open_stream(path, "auto"), Tally())) == [(1, "a"), (2, "b")]
    path.write_bytes(bz2.compress(b""))
    assert records(read_lines(open_stream(path, "auto"), Tally())) == []


def test_truncated_bzip2_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_CHUNK", 1 << 20)
    path = tmp_path / "file.jsonl.bz2"
    path.write_bytes(bz2.compress(b"".join(b"%d\n" % n for n in range(10_000)))[:-100])
    with pytest.raises(UnreadableError, match="not completely written"):
        list(read_lines(open_stream(path, "auto"), Tally()))


def test_text_that_begins_like_bzip2_is_text(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(b"BZh9 is a name\n")
    assert compression.detect_compression(path) == "none"


@pytest.mark.parametrize("compression", ["zip", "xz"])
def test_an_archive_is_refused_with_the_command_that_unpacks_it(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "file.jsonl"
    if compression == "xz":
        path.write_bytes(lzma.compress(b'{"a": 1}\n'))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("file.jsonl", '{"a": 1}\n')
    with pytest.raises(UnreadableError, match=f"un{compression}"):
        open_stream(path, "auto")


def test_truncated_gzip_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_CHUNK", 1 << 20)
    path = tmp_path / "file.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d\n" % n for n in range(10_000)))[:-100])
    with pytest.raises(UnreadableError, match="not completely written"):
        list(read_lines(open_stream(path, "auto"), Tally()))


def test_a_file_named_gz_that_is_none_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl.gz"
    path.write_bytes(b"plain text\n")
    with pytest.raises(UnreadableError, match=r"ends in \.gz"):
        open_stream(path, "auto")


RECORD_PIECES = st.lists(st.sampled_from([b"a", b"bb" * 9, b'"', b'"x",', b"\xff", b"\r", b","]), max_size=6)
CONTENT = st.lists(RECORD_PIECES.map(b"".join), max_size=10).map(b"\n".join)


def taken(read: Callable[..., Iterable[pa.RecordBatch]], data: bytes, chunk: int, limit: int) -> dict[int, object]:
    """Every record by number: its text, or why it is refused, its length and its beginning."""
    tally = Tally()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "_CHUNK", chunk)
        found: dict[int, object] = dict(records(read(io.BytesIO(data), tally, limit=limit)))
    refused = {bad.line: (bad.reason, bad.length, bad.raw) for bad in tally.invalid}
    assert tally.lines == len(found) + len(refused) + tally.skipped
    assert not found.keys() & refused.keys()
    return {**found, **refused}


@given(CONTENT, st.integers(3, 40), st.integers(1, 30))
@settings(deadline=None)
def test_a_line_beyond_the_limit_is_refused_with_its_length_and_no_other_is_changed(
    data: bytes, chunk: int, limit: int
) -> None:
    everything = taken(read_lines, data, 1 << 20, 1 << 20)
    found = taken(read_lines, data, chunk, limit)
    assert found.keys() == everything.keys()
    for number, line in enumerate(data.split(b"\n"), 1):
        if len(line) > limit:
            assert found[number] == (f"too_long:record (over {limit} bytes)", len(line), line[:limit])
        elif number in everything:
            assert found[number] == everything[number]


@pytest.mark.parametrize(
    "read",
    [
        read_lines,
        read_w3c_log,
        *(functools.partial(read_csv_records, dialect=Dialect(header=header)) for header in (("a", "b"), False)),
    ],
)
@given(data=CONTENT, chunk=st.integers(3, 40), limit=st.integers(1, 30))
@settings(deadline=None)
def test_how_a_file_is_cut_does_not_depend_on_where_its_pieces_end(
    read: Callable[..., Iterable[pa.RecordBatch]], data: bytes, chunk: int, limit: int
) -> None:
    assert taken(read, data, chunk, limit) == taken(read, data, 1 << 20, limit)


ARRAY_PIECES = st.lists(
    st.sampled_from(
        [b'{"a": 1}', b'"', b"\\", b"{", b"}", b"[", b"]", b",", b", ", b"\n", b"1", b"\xc3", b'{"b": "]"}']
    ),
    max_size=12,
).map(b"".join)


@given(ARRAY_PIECES, st.integers(1, 9), st.integers(1, 30))
@settings(deadline=None)
def test_how_an_array_is_cut_does_not_depend_on_where_its_pieces_end(data: bytes, chunk: int, limit: int) -> None:
    assert taken(read_json_array, b"[" + data, max(chunk, 3), limit) == taken(
        read_json_array, b"[" + data, 1 << 20, limit
    )


@given(st.lists(JSON, max_size=8), st.integers(3, 20), st.integers(1, 20))
@settings(deadline=None)
def test_an_element_beyond_the_limit_is_refused_and_the_others_are_read(
    elements: list[object], chunk: int, limit: int
) -> None:
    texts = [json.dumps(element).encode() for element in elements]
    found = taken(read_json_array, b"[" + b",".join(texts) + b"]", chunk, limit)
    assert found.keys() == set(range(1, len(texts) + 1))
    for number, text in enumerate(texts, 1):
        refused = (f"too_long:record (over {limit} bytes)", len(text), text[:limit])
        assert found[number] == (text.decode() if len(text) <= limit else refused)


def test_what_follows_an_array_is_one_record() -> None:
    assert records(read_json_array(io.BytesIO(b'[{"a": 1}] [{"b": 2}]'), Tally())) == [
        (1, '{"a": 1}'),
        (2, '[{"b": 2}]'),
    ]


def test_of_a_long_refused_line_the_beginning_is_kept() -> None:
    tally = Tally()
    data = b"\xff" * 200_000 + b"\nok\n"
    assert records(read_lines(io.BytesIO(data), tally)) == [(2, "ok")]
    (bad,) = tally.invalid
    assert (bad.length, bad.raw) == (200_000, b"\xff" * LONGEST_RAW)


def test_any_number_of_refused_lines_is_kept_in_their_order() -> None:
    lines = [QuarantinedLine(number, f"reason {number % 7}", b"x" * (number % 5_000)) for number in range(2_000)]
    assert list(RefusedLines(lines)) == lines


BOMB = """
import json, resource, sys
from pathlib import Path
from pipeline_assets.sources.dialect import Dialect
from pipeline_assets.sources.records.csv_cutting import read_csv_records
from pipeline_assets.sources.records.cutting import Tally, read_lines
from pipeline_assets.sources.records.json_cutting import read_json_array
from pipeline_assets.sources.records.w3c_lines import read_w3c_log
from pipeline_assets.staging.compression import open_stream
def most_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
path, kind = sys.argv[1:]
tally = Tally()
stream = open_stream(Path(path), "auto")
read = {"lines": read_lines, "array": read_json_array, "w3c": read_w3c_log,
        "csv": lambda *a, **k: read_csv_records(*a, dialect=Dialect(), **k)}[kind]
before = most_memory()
rows = sum(len(batch) for batch in read(stream, tally, limit=8 << 20))
refused = [(bad.line, bad.reason, bad.length, len(bad.raw)) for bad in tally.invalid]
print(json.dumps([rows, refused, most_memory() - before]))
"""


@pytest.mark.parametrize(
    ("kind", "start", "rows", "line"),
    [
        ("lines", b"", 1, 1),
        ("w3c", b"", 1, 1),
        ("csv", b'id\n"', 1, 2),
        ("array", b'["', 1, 1),
    ],
)
def test_memory_stays_bounded_whatever_a_compressed_file_holds(
    tmp_path: Path, kind: str, start: bytes, rows: int, line: int
) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(start)
        for _ in range(120):
            file.write(b"\0" * (1 << 20))
        file.write(b'", 1]' if kind == "array" else b"\nlast\n")
    done = subprocess.run([sys.executable, "-c", BOMB, str(path), kind], capture_output=True, text=True, check=True)
    found, refused, grown = json.loads(done.stdout)
    length = (120 << 20) + {"csv": 1, "array": 2}.get(kind, 0)
    assert found == rows
    assert refused == [[line, f"too_long:record (over {8 << 20} bytes)", length, LONGEST_RAW]]
    assert grown < 80 << 10
