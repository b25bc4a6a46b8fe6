"""Read files losslessly: every byte of a file ends up in exactly one record.

Text files are cut into records here, without interpreting them: a record is a line, a CSV record (which may hold line
ends between quotes) or an element of a JSON array. DuckDB receives them as a stream of Arrow batches
`(line BIGINT, raw VARCHAR)` and does the parsing, so a record that cannot be parsed is still there to be quarantined.
"""

import bz2
import io
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_assets.ledger.files import QuarantinedLine
from pipeline_assets.sources.dialect import Dialect, LineEnd
from pipeline_assets.sources.encodings import UTF_8
from pipeline_assets.sources.mapping import column_names
from pipeline_assets.staging.encoding import Bytes, LineFeeds, UndeclaredEncodingError, Utf8Stream, where_not_utf8

SCHEMA = pa.schema([("line", pa.int64()), ("raw", pa.string())])
W3C_SCHEMA = pa.schema([*SCHEMA, pa.field("fields", pa.string()), pa.field("day", pa.string())])

# Memory of this size is used again; larger blocks are got from the operating system and given back each time.
_CHUNK = 1 << 20
# DuckDB hands one Arrow batch to one thread, so a batch must be neither the whole file nor a handful of lines.
_BATCH_LINES = 8192
# A CSV record that is longer than this has an opening quote that nobody closed.
_LONGEST_QUOTED_RECORD = 16 << 20
_BOM = b"\xef\xbb\xbf"
# The fourth byte of bzip2 is the size of its blocks, and the next six begin a block, or the end where there is none.
_MAGIC = [
    (re.compile(rb"\x1f\x8b"), "gzip"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "zstd"),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)"), "bzip2"),
]
_SUFFIXES = {
    ".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bzip2", ".bzip2": "bzip2",
}  # fmt: skip


class UnreadableError(ValueError):
    """A file cannot be read at all: truncated or damaged compression, not the declared format, no header."""


@dataclass
class Tally:
    """What a reader has met so far.

    Attributes:
        lines: records read, the header not counted.
        skipped: those of them that are before the header and count as blank; they are not in the stream.
        invalid: records that are no text in their encoding, or whose quote is never closed; they are not in the stream.
        header: names of the columns, for CSV and TSV; empty ones where neither file nor declaration gives any.
        text: the text that the records are cut from, where it is not a stream of UTF-8 itself.
        hint: what is wrong with the encoding, if anything is, and what to declare.
    """

    lines: int = 0
    skipped: int = 0
    invalid: list[QuarantinedLine] = field(default_factory=list)
    header: list[str] | None = None
    text: Utf8Stream | None = None
    hint: str | None = None

    def skip(self, lines: int) -> None:
        """Count lines before the header."""
        self.lines += lines
        self.skipped += lines

    @property
    def encoding(self) -> str:
        """How the text is read."""
        return self.text.encoding if self.text else UTF_8


def detect_compression(path: Path) -> str:
    """`gzip`, `zstd`, `bzip2` or `none`, by the file's first bytes; an empty file goes by its suffix."""
    with path.open("rb") as file:
        start = file.read(10)
    for magic, name in _MAGIC:
        if magic.match(start):
            return name
    if not start:
        return "none"
    if path.suffix in _SUFFIXES:
        raise UnreadableError(
            f"the name ends in {path.suffix}, but the content is not {_SUFFIXES[path.suffix]}; "
            "rename the file or compress it"
        )
    return "none"


def open_stream(path: Path, compression: str) -> BinaryIO:
    """Open a file for reading its uncompressed bytes.

    Args:
        path: the file.
        compression: `auto`, `none`, `gzip`, `zstd` or `bzip2`.
    """
    if compression == "auto":
        compression = detect_compression(path)
    if compression == "bzip2":
        # Arrow cannot read several streams in one file, as parallel compressors write them.
        return io.BufferedReader(bz2.open(path))
    raw = pa.OSFile(str(path))
    return raw if compression == "none" or path.stat().st_size == 0 else pa.CompressedInputStream(raw, compression)


def read_lines(stream: Bytes, tally: Tally) -> Iterator[pa.RecordBatch]:
    """Cut a stream into lines; line ends (LF or CRLF) are not part of them."""
    number = 1
    for block in _blocks(stream):
        ends = _newlines(block)
        yield from _batches(block, ends, np.arange(number, number + len(ends)), tally)
        number += len(ends)


def read_csv_records(stream: Bytes, tally: Tally, dialect: Dialect) -> Iterator[pa.RecordBatch]:
    """Cut a stream into CSV records; the number of a record is that of its first line.

    A line end between quotes belongs to the record. A quote inside a field that does not begin with one is ordinary
    text (`5" disk`). Where a quote is never closed, only the line that opens it is lost to quarantine. Comments are
    records like any other here.

    Args:
        stream: uncompressed UTF-8.
        tally: receives the header's names, before the first batch is there, and the counts.
        dialect: how cells are written.
    """
    if isinstance(dialect.header, tuple):
        tally.header = list(dialect.header)
    blocks = _skip_lines(_blocks(LineFeeds(stream)), dialect.skip, tally)
    number = tally.skipped + 1
    pending = b""
    for piece in blocks:
        block = pending + piece
        while True:
            ends = _newlines(block)
            closed = _record_ends(block, ends, dialect)
            complete = int(ends[closed[-1]]) + 1 if len(closed) else 0
            if complete:
                first_lines = np.concatenate(([0], closed[:-1] + 1)) + number
                yield from _data_records(block[:complete], ends[closed], first_lines, tally, dialect)
                number += int(closed[-1]) + 1
            block = block[complete:]
            if len(block) <= _LONGEST_QUOTED_RECORD:
                break
            block, number = _give_up_first_line(block, number, tally, dialect)
        pending = block
    while pending:
        # The stream has ended inside quotes: the line that opened them is refused, and what follows is read afresh.
        pending, number = _give_up_first_line(pending, number, tally, dialect)
        ends = _newlines(pending)
        closed = _record_ends(pending, ends, dialect)
        if len(closed):
            complete = int(ends[closed[-1]]) + 1
            first_lines = np.concatenate(([0], closed[:-1] + 1)) + number
            yield from _data_records(pending[:complete], ends[closed], first_lines, tally, dialect)
            number += int(closed[-1]) + 1
            pending = pending[complete:]


def _skip_lines(blocks: Iterator[bytes], count: int, tally: Tally) -> Iterator[bytes]:
    """What follows the first lines of some blocks."""
    while tally.skipped < count and (block := next(blocks, b"")):
        ends = _newlines(block)
        skipped = min(count - tally.skipped, len(ends))
        tally.skip(skipped)
        if rest := block[int(ends[skipped - 1]) + 1 :]:
            return itertools.chain([rest], blocks)
    return blocks


def read_w3c_log(stream: Bytes, tally: Tally) -> Iterator[pa.RecordBatch]:
    """Cut a W3C extended log into lines, each with the names of its fields and the date that directives before it give.

    The names are those of the last `#Fields`, in lower case, with `_` for anything but letters and digits, and a space
    between them; null where there is none. The date is that of the last `#Date`. Directives are lines like any other.
    """
    number = 1
    fields: str | None = None
    day: str | None = None
    for block in _blocks(stream):
        ends = _newlines(block)
        numbers = np.arange(number, number + len(ends))
        number += len(ends)
        begins = np.concatenate(([0], ends[:-1] + 1))
        # A line whose first byte is #.
        directives = np.flatnonzero(np.frombuffer(block + b"\n", np.uint8)[begins] == ord("#"))
        first = 0
        for stop in [*directives.tolist(), len(ends)]:
            if stop > first:
                part = block[int(begins[first]) : int(ends[stop - 1]) + 1]
                for batch in _batches(part, ends[first:stop] - begins[first], numbers[first:stop], tally):
                    yield _with_directives(batch, fields, day)
            # The directive begins the next part, where it is a line like any other.
            first = stop
            if stop < len(ends):
                fields, day = _directive(block[int(begins[stop]) : int(ends[stop])], fields, day)


def _with_directives(batch: pa.RecordBatch, fields: str | None, day: str | None) -> pa.RecordBatch:
    columns = [pa.repeat(pa.scalar(value, pa.string()), len(batch)) for value in (fields, day)]
    return pa.record_batch([*batch.columns, *columns], schema=W3C_SCHEMA)


def _directive(line: bytes, fields: str | None, day: str | None) -> tuple[str | None, str | None]:
    name, _, value = line.decode("utf-8", "replace").partition(":")
    match name.strip().lower():
        case "#fields":
            if "\ufffd" in value:
                # Better no names than wrong ones.
                return None, day
            names = [re.sub(r"[^a-z0-9]+", "_", field.lower()).strip("_") for field in value.split()]
            return " ".join(column_names(names)) or None, day
        case "#date":
            found = re.match(r"\s*(\d{4}-\d{2}-\d{2})\b", value)
            return fields, found[1] if found else None
    return fields, day


def read_json_array(stream: Bytes, tally: Tally) -> Iterator[pa.RecordBatch]:
    """Cut a JSON array into its elements; the number of a record is its position in the array, from 1.

    The whole array is held in memory; JSON lines have no such limit. What follows a damaged element cannot be told
    apart, so it becomes one record, which is quarantined.
    """
    data = b"".join(_blocks(stream))
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(_not_text(data, 1, tally)) from error
    space = " \t\r\n"
    position = len(text) - len(text.lstrip(space))
    if position == len(text):
        return
    if text[position] != "[":
        raise UnreadableError("the file does not begin with '['; declare `format: jsonl` if it holds one object a line")
    decoder = json.JSONDecoder()
    records: list[str] = []
    position += 1
    rest = text[position:].lstrip(space)
    if rest.startswith("]"):
        return
    while True:
        while position < len(text) and text[position] in space:
            position += 1
        try:
            _, end = decoder.raw_decode(text, position)
        except (json.JSONDecodeError, RecursionError):
            records.append(text[position:])
            break
        after = end
        while after < len(text) and text[after] in space:
            after += 1
        separator = text[after : after + 1]
        if separator not in (",", "]"):
            records.append(text[position:])
            break
        records.append(text[position:end])
        position = after + 1
        if separator == "]":
            if text[position:].strip(space):
                records.append(text[position:])
            break
        if len(records) >= _BATCH_LINES:
            yield _numbered(records, tally)
            records = []
    if records:
        yield _numbered(records, tally)


def _numbered(records: list[str], tally: Tally) -> pa.RecordBatch:
    numbers = pa.array(range(tally.lines + 1, tally.lines + 1 + len(records)), pa.int64())
    tally.lines += len(records)
    return pa.record_batch([numbers, pa.array(records, pa.string())], schema=SCHEMA)


def _blocks(stream: Bytes) -> Iterator[bytes]:
    """Cut a stream into blocks that end with a line end, save the last; a byte order mark is dropped."""
    parts: list[bytes] = []
    at_start = True
    while True:
        try:
            chunk = stream.read(_CHUNK)
        except UndeclaredEncodingError as error:
            raise UnreadableError(str(error)) from error
        except UnicodeError as error:
            # Most codecs tell which bytes they do not know; the others know nothing of the file.
            raise UnreadableError("the file is not in the declared encoding; declare another `encoding`") from error
        except OSError as error:
            if error.errno is not None:
                # The disk's fault and not the file's; it may be read another time.
                raise
            raise UnreadableError(f"{error}; the file is damaged or not completely written") from error
        except EOFError as error:
            raise UnreadableError("the compressed file ends too early; it is not completely written") from error
        if at_start:
            chunk = chunk.removeprefix(_BOM)
            at_start = False
            if not chunk:
                return
        if not chunk:
            break
        end = chunk.rfind(b"\n") + 1
        if end:
            parts.append(chunk[:end])
            yield b"".join(parts)
            parts = []
        if end < len(chunk):
            parts.append(chunk[end:])
    if parts:
        yield b"".join(parts)


def _newlines(block: bytes) -> np.ndarray:
    """Positions of the line ends; the end of the block counts as one if its last line has none."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    return ends if block.endswith(b"\n") or not block else np.append(ends, len(block))


def _lines_array(block: bytes, ends: np.ndarray) -> pa.Array:
    """The lines as binary values that share the block's memory; line ends are still part of them."""
    offsets = np.empty(len(ends) + 1, np.int64)
    offsets[0] = 0
    np.minimum(ends + 1, len(block), out=offsets[1:])
    return pa.Array.from_buffers(pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(block)])


def _without_line_ends(block: bytes, ends: np.ndarray) -> pa.Array | None:
    """The lines as binary values without their line ends; None unless each record ends at a plain LF and holds none.

    Taking all LF out of a block at once is several times faster than trimming each line.
    """
    if b"\r" in block:
        return None
    text = block.replace(b"\n", b"")
    # The end of the block counts as a line end where its last line has none.
    if len(block) - len(text) + (not block.endswith(b"\n")) != len(ends):
        return None
    offsets = np.zeros(len(ends) + 1, np.int64)
    np.subtract(ends, np.arange(len(ends)), out=offsets[1:])
    return pa.Array.from_buffers(pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _batches(
    block: bytes, ends: np.ndarray, numbers: np.ndarray, tally: Tally, *, escaped: bool = False
) -> Iterator[pa.RecordBatch]:
    """Batches of records; where their line ends may be escaped, only the last one is no part of a record."""
    bare = _without_line_ends(block, ends)
    records = _lines_array(block, ends) if bare is None else bare
    tally.lines += len(records)
    for start in range(0, len(records), _BATCH_LINES):
        values = records.slice(start, _BATCH_LINES)
        lines = pa.array(numbers[start : start + len(values)], pa.int64())
        try:
            text = values.cast(pa.large_string())
        except pa.ArrowInvalid:
            lines, text = _only_utf8(lines, values, tally)
        if bare is None and escaped:
            options = pc.ReplaceSubstringOptions(r"\r?\n$", "")
            text = pc.call_function("replace_substring_regex", [text], options)
        elif bare is None:
            text = pc.call_function("utf8_rtrim", [text], pc.TrimOptions("\r\n"))
        yield pa.record_batch([lines, text.cast(pa.string())], schema=SCHEMA)


def _only_utf8(lines: pa.Array, values: pa.Array, tally: Tally) -> tuple[pa.Array, pa.Array]:
    kept: list[tuple[int, str]] = []
    for line, value in zip(lines.to_pylist(), values.to_pylist(), strict=True):
        try:
            kept.append((line, value.decode()))
        except UnicodeDecodeError:
            text = value.rstrip(b"\r\n")
            if tally.encoding == UTF_8:
                tally.hint = tally.hint or where_not_utf8(text, line)
                tally.invalid.append(QuarantinedLine(line, "invalid_utf8", text))
            else:
                raw = tally.text.original(text) if tally.text else text
                tally.invalid.append(QuarantinedLine(line, f"invalid_encoding: not {tally.encoding}", raw))
    return pa.array([line for line, _ in kept], pa.int64()), pa.array([text for _, text in kept], pa.large_string())


def _record_ends(block: bytes, ends: np.ndarray, dialect: Dialect) -> np.ndarray:
    """Indices of the line ends that end a record, given that the block begins with one."""
    lines = None
    special = np.zeros(len(ends), bool)
    for mark in dialect.marks:
        if mark in block:
            lines = _lines_array(block, ends) if lines is None else lines
            special |= np.asarray(pc.call_function("match_substring", [lines], pc.MatchSubstringOptions(mark.decode())))
    if lines is None:
        return np.arange(len(ends))
    comment = dialect.comment.encode()
    closed = np.ones(len(ends), bool)
    state: LineEnd = "closed"
    opened = index = -1
    candidates = iter(np.flatnonzero(special).tolist())
    upcoming = next(candidates, None)
    while upcoming is not None or state == "escaped":
        if state == "escaped" and upcoming != index + 1:
            # The line behind an escaped line end goes on with its cell, whatever it holds.
            index += 1
        elif upcoming is not None:
            index, upcoming = upcoming, next(candidates, None)
        if index >= len(ends):
            break
        begin = int(ends[index - 1]) + 1 if index else 0
        line = block[begin : int(ends[index])].removesuffix(b"\r")
        if state == "closed" and comment and line.startswith(comment):
            continue
        before, state = state, dialect.end_of_line(line, state)
        if before == "closed" and state != "closed":
            opened = index
        elif before != "closed" and state == "closed":
            closed[opened:index] = False
            opened = -1
    if opened >= 0:
        closed[opened:] = False
    return np.flatnonzero(closed)


def _data_records(
    block: bytes, ends: np.ndarray, numbers: np.ndarray, tally: Tally, dialect: Dialect
) -> Iterator[pa.RecordBatch]:
    if tally.header is None:
        first = _first_record(block, ends, dialect)
        # Nobody can read a record before the columns have names; what is before them is blank.
        tally.skip(first)
        if first == len(ends):
            return
        begin = int(ends[first - 1]) + 1 if first else 0
        record = block[begin : int(ends[first])].strip(b"\r\n")
        tally.header = _header(record, int(numbers[first]), tally, dialect)
        if dialect.header:
            first, begin = first + 1, int(ends[first]) + 1
        else:
            # It is a record itself, and says no more than how many columns there are.
            tally.header = [""] * len(tally.header)
        block, ends, numbers = block[begin:], ends[first:] - begin, numbers[first:]
    if len(ends):
        yield from _batches(block, ends, numbers, tally, escaped=bool(dialect.escape))


def _first_record(block: bytes, ends: np.ndarray, dialect: Dialect) -> int:
    """Index of the first record that is neither blank nor a comment; their number if there is none."""
    comment = dialect.comment.encode()
    begin = 0
    for index, end in enumerate(ends.tolist()):
        record = block[begin:end].strip(b"\r\n")
        if record.strip() and not (comment and record.startswith(comment)):
            return index
        begin = end + 1
    return len(ends)


def _header(record: bytes, line: int, tally: Tally, dialect: Dialect) -> list[str]:
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(_not_text(record, line, tally)) from error
    return dialect.cells(text.replace("\0", ""))


def _not_text(data: bytes, line: int, tally: Tally) -> str:
    if tally.encoding == UTF_8:
        return where_not_utf8(data, line)
    return f"line {line} is not {tally.encoding}; declare another `encoding`"


def _give_up_first_line(block: bytes, number: int, tally: Tally, dialect: Dialect) -> tuple[bytes, int]:
    if tally.header is None and dialect.header:
        raise UnreadableError(
            f"the quote that the header opens in line {number} is never closed; if cells are not quoted, declare "
            "`csv: {quote: none}`"
        )
    end = block.find(b"\n")
    end = len(block) if end == -1 else end
    tally.lines += 1
    tally.invalid.append(QuarantinedLine(number, "unclosed_quote", block[:end].rstrip(b"\r")))
    return block[end + 1 :], number + 1
