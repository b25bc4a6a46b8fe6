"""Text in any encoding is read as UTF-8, and what cannot be read stays as it was."""

import codecs
import io
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.sources.dialect import Dialect
from pipeline_assets.sources.encodings import COMMON, is_known
from pipeline_assets.sources.records.csv_cutting import read_csv_records
from pipeline_assets.sources.records.cutting import Tally, read_lines
from pipeline_assets.sources.records.encoding import LineFeeds, UndeclaredEncodingError, Utf8Stream, where_not_utf8


class Trickle:
    """A stream that gives a few bytes at a time, however many are asked for."""

    def __init__(self, data: bytes, size: int) -> None:
        self._stream = io.BytesIO(data)
        self._size = size

    def read(self, size: int, /) -> bytes:
        return self._stream.read(min(size, self._size))


def read(stream: Utf8Stream | LineFeeds) -> bytes:
    return b"".join(iter(lambda: stream.read(1 << 20), b""))


SIZES = st.integers(1, 9)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(TEXTS, st.sampled_from(["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8", "gb18030"]), SIZES)
def test_text_in_a_declared_encoding_is_read_as_utf8_wherever_it_is_cut(text: str, encoding: str, size: int) -> None:
    # What begins with U+FEFF has a byte order mark, which is no part of the text.
    data = ("a" + text).encode(encoding)
    assert read(Utf8Stream(Trickle(data, size), encoding)) == ("a" + text).encode()


@given(TEXTS, st.sampled_from(["utf-16", "utf-32", "utf-8-sig"]), st.sampled_from([None, "latin-1", "utf-8"]), SIZES)
def test_a_byte_order_mark_counts_more_than_what_is_declared(
    text: str, encoding: str, declared: str | None, size: int
) -> None:
    data = ("a" + text).encode(encoding)
    found = read(Utf8Stream(Trickle(data, size), declared))
    # Whoever cuts UTF-8 into records takes its mark away.
    assert found.removeprefix(codecs.BOM_UTF8) == ("a" + text).encode()


@given(st.binary(max_size=60), st.sampled_from(["windows-1252", "ascii", "utf-16-le", "shift_jis", "koi8-r"]), SIZES)
def test_bytes_that_an_encoding_does_not_know_are_no_utf8_and_can_be_told_again(
    data: bytes, encoding: str, size: int
) -> None:
    stream = Utf8Stream(Trickle(data, size), encoding)
    found = read(stream)
    if not any(data.startswith(mark) for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            assert found == data.decode(encoding).encode()
        except UnicodeDecodeError:
            with pytest.raises(UnicodeDecodeError):
                found.decode()
        # Shift JIS has two ways to write some characters.
        if encoding != "shift_jis":
            assert stream.original(found) == data


LINE = st.text(st.characters(codec="cp1252", exclude_characters='\r\n"'), min_size=1, max_size=30)


@given(
    st.lists(LINE, max_size=6),
    st.sampled_from(["latin-1", "windows-1252", "utf-16-le", "utf-32-be"]),
    st.integers(4, 40),
)
@settings(deadline=None)
def test_lines_that_are_too_long_or_open_a_quote_for_ever_are_kept_as_they_are_in_the_file(
    lines: list[str], encoding: str, limit: int
) -> None:
    encoded = [line.encode(encoding, "replace") for line in lines]
    for read_records in (read_lines, partial(read_csv_records, dialect=Dialect(header=("a",)))):
        text = Utf8Stream(io.BytesIO("\n".encode(encoding).join(encoded)), encoding)
        tally = Tally(text=text)
        read_of = {row["line"] for batch in read_records(text, tally, limit=limit) for row in batch.to_pylist()}
        for bad in tally.invalid:
            whole = encoded[bad.line - 1]
            assert (bad.reason, bad.raw) == (f"too_long:record (over {limit} bytes)", whole[: len(bad.raw)])
            assert bad.length >= len(bad.raw) > 0
        assert len(read_of) + len(tally.invalid) == len(encoded)


def test_a_line_that_opens_a_quote_for_ever_is_kept_in_its_own_encoding() -> None:
    for encoding in ("windows-1252", "utf-16-le"):
        text = Utf8Stream(io.BytesIO('1,"ü\n2,é\n'.encode(encoding)), encoding)
        tally = Tally(text=text)
        batches = read_csv_records(text, tally, Dialect(header=("a", "b")))
        assert [row["raw"] for batch in batches for row in batch.to_pylist()] == ["2,é"]
        (bad,) = tally.invalid
        raw = '1,"ü'.encode(encoding)
        assert (bad.reason, bad.raw, bad.length) == ("unclosed_quote", raw, len(raw))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_noticed_and_read_where_it_is_declared(encoding: str) -> None:
    data = "id,time\n".encode(encoding)
    with pytest.raises(UndeclaredEncodingError, match=f"declare `encoding: {encoding}`"):
        read(Utf8Stream(io.BytesIO(data)))
    assert read(Utf8Stream(io.BytesIO(data), "utf-16")) == b"id,time\n"


def test_what_is_no_utf8_is_told_with_its_place_and_what_to_declare() -> None:
    message = where_not_utf8("Käse;".encode() + "Münze".encode("latin-1"), 7)
    assert message.startswith("byte 0xFC at line 7, column 7 is not UTF-8; declare `encoding`")


@given(st.lists(st.sampled_from([b"a", b"bc", b'"']), max_size=8), st.booleans(), SIZES)
def test_lines_that_end_in_cr_end_in_lf_where_the_file_has_no_lf(pieces: list[bytes], mixed: bool, size: int) -> None:
    data = b"\r".join(pieces) + (b"\n" if mixed else b"")
    assert read(LineFeeds(Trickle(data, size))) == (data if mixed else data.replace(b"\r", b"\n"))


def test_encodings_of_text_are_known_and_no_others() -> None:
    assert [name for name in COMMON if not is_known(name)] == []
    assert not any(is_known(name) for name in ("rot13", "zip", "idna", "latn-1", "", "a\0b"))
