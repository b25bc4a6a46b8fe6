"""Cuts a JSON array into its elements, whether or not they are valid JSON."""

import json
import re
from collections.abc import Callable, Iterator

import pyarrow as pa

from pipeline_assets.settings import MAX_RECORD_BYTES
from pipeline_assets.sources.formats.ready import Nested
from pipeline_assets.sources.records.cutting import (
    BATCH_LINES,
    SCHEMA,
    Overlong,
    Tally,
    UnreadableError,
    chunks,
    kept,
    only_utf8,
    refuse_overlong,
)
from pipeline_assets.sources.records.encoding import Bytes
from pipeline_assets.sources.records.nested import records_of

# A batch of JSON elements is at least this long, or has as many elements as a batch of lines.
_BATCH_BYTES = 1 << 20
_SPACE = b" \t\r\n"
_SPACES = re.compile(rb"[ \t\r\n]*")
# What matters while looking for the end of a JSON element: within a string, among the array's commas, and deeper.
_IN_STRING = re.compile(rb'["\\\n]')
_TOP = re.compile(rb'["\[\]{},]')
_NESTED = re.compile(rb'["\[\]{}]')
_DEEPEST = 1 << 20


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
    for element in _elements(chunks(stream), limit):
        if isinstance(element, Overlong):
            if records:
                yield from _numbered(records, tally)
                records, length = [], 0
            refuse_overlong(element, tally.lines + 1, tally, limit)
            continue
        for record in records_of(element, nested) if nested else (element,):
            records.append(record)
            length += len(record)
            if len(records) >= BATCH_LINES or length >= _BATCH_BYTES:
                yield from _numbered(records, tally)
                records, length = [], 0
    if records:
        yield from _numbered(records, tally)


def _elements(pieces: Iterator[bytes], limit: int) -> Iterator[bytes | Overlong]:
    """The elements of an array, without the space around them."""
    data = b""
    for chunk in pieces:
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
            chunk = next(pieces, None)
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
                chunk = next(pieces, None)
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
    for chunk in pieces:
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
            most = kept(self._limit)
            part = part[: max(0, most - self._held)]
            if self._held > most:
                self._parts = [b"".join(self._parts)[:most]]
                self._held = most
        self._parts.append(part)
        self._held += len(part)
        return found

    def element(self) -> bytes | Overlong:
        """What was found."""
        start = b"".join(self._parts)
        return (
            start.rstrip(_SPACE) if self._length <= self._limit else Overlong(start[: kept(self._limit)], self._length)
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
        lines, text = only_utf8(lines, values, tally)
    yield pa.record_batch([lines, text.cast(pa.string())], schema=SCHEMA)
