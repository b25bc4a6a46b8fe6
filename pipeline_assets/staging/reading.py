"""Read files losslessly: every byte of a file ends up in exactly one record.

Text files are cut into records here, without interpreting them: a record is a line, a CSV record (which may hold line
ends between quotes) or an element of a JSON array. DuckDB receives them as a stream of Arrow batches
`(line BIGINT, raw VARCHAR)` and does the parsing, so a record that cannot be parsed is still there to be quarantined.
"""

import itertools
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_assets.ledger.files import QuarantinedLine
from pipeline_assets.settings import MAX_RECORD_BYTES
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.dialect import Dialect, LineEnd
from pipeline_assets.sources.encodings import UTF_8
from pipeline_assets.sources.formats.ready import Nested
from pipeline_assets.sources.limits import LONGEST_RAW
from pipeline_assets.sources.mapping import column_names
from pipeline_assets.staging.compression import UnreadableError, open_stream
from pipeline_assets.staging.encoding import Bytes, LineFeeds, UndeclaredEncodingError, Utf8Stream, where_not_utf8
from pipeline_assets.staging.nested import records_of
from pipeline_assets.staging.refused_lines import RefusedLines

SCHEMA = pa.schema([("line", pa.int64()), ("raw", pa.string())])
W3C_SCHEMA = pa.schema([*SCHEMA, pa.field("fields", pa.string()), pa.field("day", pa.string())])

# Memory of this size is used again; larger blocks are got from the operating system and given back each time.
_CHUNK = 1 << 20
# A batch of JSON elements is at least this long, or has as many elements as a batch of lines.
_BATCH_BYTES = 1 << 20
# DuckDB hands one Arrow batch to one thread, so a batch must be neither the whole file nor a handful of lines.
_BATCH_LINES = 8192
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_SPACES = re.compile(rb"[ \t\r\n]*")
# What matters while looking for the end of a JSON element: within a string, among the array's commas, and deeper.
_IN_STRING = re.compile(rb'["\\\n]')
_TOP = re.compile(rb'["\[\]{},]')
_NESTED = re.compile(rb'["\[\]{}]')
_DEEPEST = 1 << 20


@dataclass
class Tally:
    """What a reader has met so far.

    Attributes:
        lines: records read, the header not counted.
        skipped: those of them that are before the header and count as blank; they are not in the stream.
        invalid: records that are no text in their encoding, are too long, or whose quote is never closed; they are not
            in the stream.
        header: names of the columns, for CSV and TSV; empty ones where neither file nor declaration gives any.
        text: the text that the records are cut from, where it is not a stream of UTF-8 itself.
        hint: what is wrong with the encoding, if anything is, and what to declare.
    """

    lines: int = 0
    skipped: int = 0
    invalid: RefusedLines = field(default_factory=RefusedLines)
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

    def refuse(self, line: int, reason: str, raw: bytes, length: int | None = None) -> None:
        """Count a record that is not in the stream, with the bytes that it has in the file.

        Args:
            line: number of the record.
            reason: why.
            raw: the record as it was read, or its beginning.
            length: bytes of the whole record as it was read, which are more if `raw` is its beginning.
        """
        self.lines += 1
        original = self.text.original(raw) if self.text else raw
        # The length in the file of what was passed over is not known, but that it is more than this.
        more = 0 if length is None else length - len(raw)
        self.invalid.append(QuarantinedLine(line, reason, original, len(original) + more))


@dataclass(frozen=True)
class _Overlong:
    """In place of a line that is longer than the limit: its beginning and its length, without the line end."""

    start: bytes
    length: int


def read_records(path: Path, source: Source, tally: Tally, *, limit: int) -> Iterator[pa.RecordBatch]:
    """Cut a text file into records, as its source declares.

    Args:
        path: the file.
        source: the declaration; not one of Parquet files.
        tally: receives the header's names, before the first batch is there, and the counts.
        limit: bytes of the longest record that is read.
    """
    stream = tally.text = Utf8Stream(open_stream(path, source.compression), source.encoding)
    if source.record_format in ("csv", "tsv"):
        return read_csv_records(stream, tally, source.dialect, limit=limit)
    if source.record_format == "json_array":
        return read_json_array(stream, tally, limit=limit, nested=source.ready.nested if source.ready else None)
    if source.record_format == "w3c_lines":
        return read_w3c_log(stream, tally, limit=limit)
    return read_lines(stream, tally, limit=limit)


def read_lines(stream: Bytes, tally: Tally, *, limit: int = MAX_RECORD_BYTES) -> Iterator[pa.RecordBatch]:
    """Cut a stream into lines; line ends (LF or CRLF) are not part of them.

    Args:
        stream: uncompressed UTF-8.
        tally: receives the counts, and the lines that cannot be read.
        limit: bytes of the longest line that is read, as for the other readers; a longer one is refused, in an amount
            of memory that depends on the limit and not on the line.
    """
    number = 1
    for block in _blocks(stream, limit):
        if isinstance(block, _Overlong):
            _refuse_overlong(block, number, tally, limit)
            number += 1
            continue
        ends = _newlines(block)
        yield from _batches(block, ends, np.arange(number, number + len(ends)), tally)
        number += len(ends)


def read_csv_records(
    stream: Bytes, tally: Tally, dialect: Dialect, *, limit: int = MAX_RECORD_BYTES
) -> Iterator[pa.RecordBatch]:
    """Cut a stream into CSV records; the number of a record is that of its first line.

    A line end between quotes belongs to the record. A quote inside a field that does not begin with one is ordinary
    text (`5" disk`). Where a quote is not closed within the limit, only the line that opens it is lost to quarantine.
    Comments are records like any other here.

    Args:
        stream: uncompressed UTF-8.
        tally: receives the header's names, before the first batch is there, and the counts.
        dialect: how cells are written.
        limit: bytes of the longest record that is read.
    """
    if isinstance(dialect.header, tuple):
        tally.header = list(dialect.header)
    blocks = _skip_lines(_blocks(LineFeeds(stream), limit), dialect.skip, tally)
    number = tally.skipped + 1
    pending = b""
    for piece in itertools.chain(blocks, [None]):
        block = pending + piece if isinstance(piece, bytes) else pending
        # What cannot go on: at the end of the stream, and before a line of which only the beginning is there.
        ended = not isinstance(piece, bytes)
        hopeless = False
        while block:
            ends = _newlines(block)
            lost_before = (len(block) + (0 if ended else -limit)) if hopeless else 0
            closed, lost = _record_ends(block, ends, dialect, lost_before=lost_before)
            begins = np.concatenate(([0], ends[closed] + 1))
            # Where a record ends must not depend on where blocks do, so a closed one may be too long as well.
            overlong = np.flatnonzero(ends[closed] - begins[:-1] > limit)
            whole = closed[: overlong[0]] if len(overlong) else closed
            complete = int(begins[len(whole)])
            if len(whole):
                first_lines = np.concatenate(([0], whole[:-1] + 1)) + number
                start = 0
                for stop in [*np.flatnonzero(np.isin(whole, lost)).tolist(), len(whole)]:
                    if stop > start:
                        begin = int(begins[start])
                        part = block[begin : int(begins[stop])]
                        records = slice(start, stop)
                        yield from _data_records(
                            part, ends[whole[records]] - begin, first_lines[records], tally, dialect
                        )
                    if stop < len(whole):
                        line = block[int(begins[stop]) : int(ends[whole[stop]])]
                        tally.refuse(int(first_lines[stop]), "unclosed_quote", line.rstrip(b"\r"))
                    start = stop + 1
                number += int(whole[-1]) + 1
            block = block[complete:]
            if not len(overlong) and not ended and len(block) <= limit:
                break
            if block:
                # A quote that is not closed: the line that opens it is refused, and what follows is read afresh. A line
                # that leaves such a quote open does so for all that follow it: no line of the block closes another one
                # either. Without that knowledge each of them would be looked for through the whole block.
                first_line = block[: int(ends[closed[len(whole) - 1] + 1 if len(whole) else 0]) - complete]
                opens = dialect.end_of_line(first_line.removesuffix(b"\r"), "closed") == "quoted"
                hopeless = hopeless or (not len(overlong) and opens)
                block, number = _give_up_first_line(block, number, tally, dialect)
        pending = block
        if isinstance(piece, _Overlong):
            if dialect.header is True and tally.header is None:
                raise UnreadableError("the header is longer than a record may be; declare the right format")
            _refuse_overlong(piece, number, tally, limit)
            number += 1


def _skip_lines(blocks: Iterator["bytes | _Overlong"], count: int, tally: Tally) -> Iterator["bytes | _Overlong"]:
    """What follows the first lines of some blocks."""
    while tally.skipped < count and (block := next(blocks, b"")):
        if isinstance(block, _Overlong):
            tally.skip(1)
            continue
        ends = _newlines(block)
        skipped = min(count - tally.skipped, len(ends))
        tally.skip(skipped)
        if rest := block[int(ends[skipped - 1]) + 1 :]:
            return itertools.chain([rest], blocks)
    return blocks


def read_w3c_log(stream: Bytes, tally: Tally, *, limit: int = MAX_RECORD_BYTES) -> Iterator[pa.RecordBatch]:
    """Cut a W3C extended log into lines, each with the names of its fields and the date that directives before it give.

    The names are those of the last `#Fields`, in lower case, with `_` for anything but letters and digits, and a space
    between them; null where there is none. The date is that of the last `#Date`. Directives are lines like any other.
    """
    number = 1
    fields: str | None = None
    day: str | None = None
    for block in _blocks(stream, limit):
        if isinstance(block, _Overlong):
            _refuse_overlong(block, number, tally, limit)
            number += 1
            continue
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


def read_json_array(
    stream: Bytes, tally: Tally, *, limit: int = MAX_RECORD_BYTES, nested: Nested | None = None
) -> Iterator[pa.RecordBatch]:
    """Cut a JSON array into its elements; the number of a record is its position in the array, from 1.

    Where elements hold several records each, these are counted on through the whole file.

    An element ends at the next comma or bracket that belongs to the array, whether or not the element is valid JSON: a
    damaged one is a record of its own, and the next one is read. What follows the array is one record.

    Args:
        stream: uncompressed bytes.
        tally: receives the counts, and the elements that cannot be read.
        limit: bytes of the longest element that is read.
        nested: where the records of an element are; None: an element is one.

    Raises:
        UnreadableError: the file does not begin with a bracket.
    """
    records: list[bytes] = []
    length = 0
    for element in _elements(_chunks(stream), limit):
        if isinstance(element, _Overlong):
            if records:
                yield from _numbered(records, tally)
                records, length = [], 0
            _refuse_overlong(element, tally.lines + 1, tally, limit)
            continue
        for record in records_of(element, nested) if nested else (element,):
            records.append(record)
            length += len(record)
            if len(records) >= _BATCH_LINES or length >= _BATCH_BYTES:
                yield from _numbered(records, tally)
                records, length = [], 0
    if records:
        yield from _numbered(records, tally)


def _elements(chunks: Iterator[bytes], limit: int) -> Iterator[bytes | _Overlong]:
    """The elements of an array, without the space around them."""
    data = b""
    for chunk in chunks:
        data = chunk.lstrip(_SPACE)
        if data:
            break
    else:
        return
    if not data.startswith(b"["):
        raise UnreadableError(
            "the file does not begin with '['; if it holds one object a line declare `format: jsonl`, or beside a "
            "ready format `records: jsonl`"
        )
    data = data[1:]
    decode = json.JSONDecoder().raw_decode
    # One letter for each byte: an element ends at the same place, and its encoding is looked at later.
    text = data.decode("latin-1")
    position = 0
    first = True
    while True:
        position = _after_space(data, position)
        if position == len(data):
            chunk = next(chunks, None)
            if chunk is None:
                return
            data, position = chunk, 0
            text = data.decode("latin-1")
            continue
        if first and data.startswith(b"]", position):
            position += 1
            break
        first = False
        # The common case: the element is here as a whole, and valid.
        end = _decoded(decode, text, position)
        end = _after_space(data, end)
        separator = data[end : end + 1]
        if separator in (b",", b"]") and end > position and end - position <= limit:
            yield data[position:end].rstrip(_SPACE)
            position = end + 1
        else:
            scan = _ElementScan(limit)
            while not scan.feed(data, position):
                chunk = next(chunks, None)
                if chunk is None:
                    yield scan.element()
                    return
                data, position = chunk, 0
                text = data.decode("latin-1")
            yield scan.element()
            separator, position = data[scan.end : scan.end + 1], scan.end + 1
        if separator == b"]":
            break
    rest = _ElementScan(limit, whole=True)
    rest.feed(data, position)
    for chunk in chunks:
        rest.feed(chunk, 0)
    if rest.element():
        yield rest.element()


def _after_space(data: bytes, position: int) -> int:
    space = _SPACES.match(data, position)
    return space.end() if space else position


def _decoded(decode: Callable[[str, int], tuple[object, int]], text: str, position: int) -> int:
    """Where the valid JSON value that begins at a position ends; the position itself if there is none."""
    try:
        return decode(text, position)[1]
    except (ValueError, RecursionError):
        return position


class _ElementScan:
    """Finds the end of an element that comes in pieces or is damaged, and keeps no more of it than the limit.

    Brackets are counted outside of strings. A closing one without its opening one is passed over, and a string ends at
    a line end at the latest, which no valid one holds.

    Args:
        limit: bytes of the longest element.
        whole: whether all that comes is one element.

    Attributes:
        end: position of the separator in the piece that was fed last.
    """

    def __init__(self, limit: int, *, whole: bool = False) -> None:
        self.end = 0
        self._limit = limit
        self._whole = whole
        self._parts: list[bytes] = []
        self._held = 0
        self._length = 0
        self._open = bytearray()
        self._count = {b"{": 0, b"[": 0}
        self._in_string = False
        self._escaped = False

    def feed(self, data: bytes, position: int) -> bool:
        """Read on from a position; whether the separator was found."""
        end = len(data) if self._whole else self._separator(data, position)
        found = end is not None
        self.end = len(data) if end is None else end
        part = data[position : self.end]
        if not self._length:
            part = part.lstrip(_SPACE)
        self._length += len(part)
        if self._length > self._limit:
            most = _kept(self._limit)
            part = part[: max(0, most - self._held)]
            if self._held > most:
                self._parts = [b"".join(self._parts)[:most]]
                self._held = most
        self._parts.append(part)
        self._held += len(part)
        return found

    def element(self) -> bytes | _Overlong:
        """What was found."""
        start = b"".join(self._parts)
        return (
            start.rstrip(_SPACE)
            if self._length <= self._limit
            else _Overlong(start[: _kept(self._limit)], self._length)
        )

    def _separator(self, data: bytes, position: int) -> int | None:
        opened = self._open
        while True:
            if self._in_string:
                if self._escaped:
                    if position == len(data):
                        return None
                    # A line end is no part of an escape either.
                    position += not data.startswith(b"\n", position)
                    self._escaped = False
                met = _IN_STRING.search(data, position)
                if met is None:
                    return None
                position = met.end()
                if met[0] == b"\\":
                    self._escaped = True
                else:
                    self._in_string = False
                continue
            met = (_NESTED if opened else _TOP).search(data, position)
            if met is None:
                return None
            position = met.end()
            match met[0]:
                case b'"':
                    self._in_string = True
                case b"{" | b"[":
                    # Deeper than this is beyond what any reader takes; the memory is bounded, and the file is lost.
                    if len(opened) < _DEEPEST:
                        opened += met[0]
                        self._count[met[0]] += 1
                case b"," if not opened:
                    return met.start()
                case b"]" if not opened:
                    return met.start()
                case closing:
                    opening = b"{" if closing == b"}" else b"["
                    # Counted, for a search in vain would cost as much as is open.
                    if self._count[opening]:
                        place = opened.rfind(opening)
                        for kind in self._count:
                            self._count[kind] -= opened.count(kind, place)
                        del opened[place:]


def _numbered(records: list[bytes], tally: Tally) -> Iterator[pa.RecordBatch]:
    first = tally.lines + 1
    tally.lines += len(records)
    lines = pa.array(range(first, first + len(records)), pa.int64())
    values = pa.array(records, pa.large_binary())
    try:
        text = values.cast(pa.large_string())
    except pa.ArrowInvalid:
        lines, text = _only_utf8(lines, values, tally)
    yield pa.record_batch([lines, text.cast(pa.string())], schema=SCHEMA)


def _chunks(stream: Bytes) -> Iterator[bytes]:
    """The bytes of a stream, piece by piece; a byte order mark is dropped."""
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
        except zlib.error as error:
            raise UnreadableError("the gzip data is damaged; deliver the file again") from error
        except EOFError as error:
            raise UnreadableError("the compressed file ends too early; it is not completely written") from error
        if not chunk:
            return
        if at_start:
            chunk = chunk.removeprefix(_BOM)
            at_start = False
        yield chunk


def _blocks(stream: Bytes, limit: int) -> Iterator[bytes | _Overlong]:
    """Cut a stream into blocks that end with a line end, save the last, and lines that are longer than a limit."""
    parts: list[bytes] = []
    held = 0
    start = b""
    skipped = 0
    for piece in _chunks(stream):
        chunk = piece
        if skipped:
            end = chunk.find(b"\n")
            if end < 0:
                skipped += len(chunk)
                continue
            yield _Overlong(start, skipped + end)
            skipped = 0
            chunk = chunk[end + 1 :]
        end = chunk.rfind(b"\n") + 1
        if end:
            block = b"".join([*parts, chunk[:end]])
            parts, held = [], 0
            yield from _without_overlong(block, limit)
        if end < len(chunk):
            parts.append(chunk[end:])
            held += len(chunk) - end
            if held > limit:
                start, skipped = b"".join(parts)[: _kept(limit)], held
                parts, held = [], 0
    if skipped:
        yield _Overlong(start, skipped)
    elif parts:
        yield from _without_overlong(b"".join(parts), limit)


def _without_overlong(block: bytes, limit: int) -> Iterator[bytes | _Overlong]:
    if len(block) <= limit:
        yield block
        return
    ends = _newlines(block)
    begins = np.concatenate(([0], ends[:-1] + 1))
    done = 0
    for index in np.flatnonzero(ends - begins > limit).tolist():
        begin, end = int(begins[index]), int(ends[index])
        if begin > done:
            yield block[done:begin]
        yield _Overlong(block[begin : begin + _kept(limit)], end - begin)
        done = end + 1
    if done < len(block):
        yield block[done:]


def _kept(limit: int) -> int:
    """Bytes that are kept of a record beyond the limit; of each as many, however it was come by."""
    return min(limit, LONGEST_RAW)


def too_long_record(limit: int) -> str:
    """Why a record of more bytes than the limit is quarantined; its own length is booked beside the reason."""
    return f"too_long:record (over {limit} bytes)"


def _refuse_overlong(line: _Overlong, number: int, tally: Tally, limit: int) -> None:
    tally.refuse(number, too_long_record(limit), line.start, line.length)


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


def _record_ends(
    block: bytes, ends: np.ndarray, dialect: Dialect, *, lost_before: int = 0
) -> tuple[np.ndarray, list[int]]:
    """Indices of the line ends that end a record, given that the block begins with one.

    And of those among them whose line opens a quote that nothing closes: such lines are taken for records of their own
    where they begin before a position of the block, `lost_before`.
    """
    lines = None
    lost: list[int] = []
    special = np.zeros(len(ends), bool)
    for mark in dialect.marks:
        if mark in block:
            lines = _lines_array(block, ends) if lines is None else lines
            special |= np.asarray(pc.call_function("match_substring", [lines], pc.MatchSubstringOptions(mark.decode())))
    if lines is None:
        return np.arange(len(ends)), lost
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
        if before == "closed" and state == "quoted" and begin < lost_before:
            lost.append(index)
            state = "closed"
        if before == "closed" and state != "closed":
            opened = index
        elif before != "closed" and state == "closed":
            closed[opened:index] = False
            opened = -1
    if opened >= 0:
        closed[opened:] = False
    return np.flatnonzero(closed), lost


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
        # A record that is data itself only says how many columns there are.
        text = record.decode(errors="strict" if dialect.header else "replace")
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
    tally.refuse(number, "unclosed_quote", block[:end].rstrip(b"\r"))
    return block[end + 1 :], number + 1
