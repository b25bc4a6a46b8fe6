"""Cuts CSV into records, which may hold line ends between quotes."""

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_assets.settings import MAX_RECORD_BYTES
from pipeline_assets.sources.dialect import Dialect, LineEnd
from pipeline_assets.sources.encodings import UTF_8
from pipeline_assets.sources.records.cutting import (
    Overlong,
    Tally,
    UnreadableError,
    batches,
    blocks,
    lines_array,
    newlines,
    refuse_overlong,
)
from pipeline_assets.sources.records.encoding import Bytes, LineFeeds, where_not_utf8


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
    pieces = _skip_lines(blocks(LineFeeds(stream), limit), dialect.skip, tally)
    number = tally.skipped + 1
    pending = b""
    for piece in itertools.chain(pieces, [None]):
        block = pending + piece if isinstance(piece, bytes) else pending
        # What cannot go on: at the end of the stream, and before a line of which only the beginning is there.
        ended = not isinstance(piece, bytes)
        hopeless = False
        while block:
            ends = newlines(block)
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
        if isinstance(piece, Overlong):
            if dialect.header is True and tally.header is None:
                raise UnreadableError("the header is longer than a record may be; declare the right format")
            refuse_overlong(piece, number, tally, limit)
            number += 1


def _skip_lines(pieces: Iterator["bytes | Overlong"], count: int, tally: Tally) -> Iterator["bytes | Overlong"]:
    """What follows the first lines of some pieces."""
    while tally.skipped < count and (block := next(pieces, b"")):
        if isinstance(block, Overlong):
            tally.skip(1)
            continue
        ends = newlines(block)
        skipped = min(count - tally.skipped, len(ends))
        tally.skip(skipped)
        if rest := block[int(ends[skipped - 1]) + 1 :]:
            return itertools.chain([rest], pieces)
    return pieces


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
            lines = lines_array(block, ends) if lines is None else lines
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
        yield from batches(block, ends, numbers, tally, escaped=bool(dialect.escape))


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
