"""Cuts streams of text into records losslessly: every byte ends up in exactly one record.

A record is a line here; formats with other records (`csv_cutting`, `json_cutting`) stand on the same pieces. Nothing is
interpreted: DuckDB receives a stream of Arrow batches `(line BIGINT, raw VARCHAR)` and does the parsing, so a record
that cannot be parsed is still there to be quarantined.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_assets.settings import MAX_RECORD_BYTES
from pipeline_assets.sources.encodings import UTF_8
from pipeline_assets.sources.limits import LONGEST_RAW
from pipeline_assets.sources.records.encoding import Bytes, UndeclaredEncodingError, Utf8Stream, where_not_utf8
from pipeline_assets.sources.records.refused_lines import QuarantinedLine, RefusedLines

SCHEMA = pa.schema([("line", pa.int64()), ("raw", pa.string())])

# Memory of this size is used again; larger blocks are got from the operating system and given back each time.
_CHUNK = 1 << 20
# DuckDB hands one Arrow batch to one thread, so a batch must be neither the whole file nor a handful of lines.
BATCH_LINES = 8192
_BOM = b"\xef\xbb\xbf"


class UnreadableError(ValueError):
    """A file cannot be read at all: truncated or damaged compression, not the declared format, no header."""


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
class Overlong:
    """In place of a line that is longer than the limit: its beginning and its length, without the line end."""

    start: bytes
    length: int


def read_lines(stream: Bytes, tally: Tally, *, limit: int = MAX_RECORD_BYTES) -> Iterator[pa.RecordBatch]:
    """Cut a stream into lines; line ends (LF or CRLF) are not part of them.

    Args:
        stream: uncompressed UTF-8.
        tally: receives the counts, and the lines that cannot be read.
        limit: bytes of the longest line that is read, as for the other readers; a longer one is refused, in an amount
            of memory that depends on the limit and not on the line.
    """
    number = 1
    for block in blocks(stream, limit):
        if isinstance(block, Overlong):
            refuse_overlong(block, number, tally, limit)
            number += 1
            continue
        ends = newlines(block)
        yield from batches(block, ends, np.arange(number, number + len(ends)), tally)
        number += len(ends)


def chunks(stream: Bytes) -> Iterator[bytes]:
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


def blocks(stream: Bytes, limit: int) -> Iterator[bytes | Overlong]:
    """Cut a stream into blocks that end with a line end, save the last, and lines that are longer than a limit."""
    parts: list[bytes] = []
    held = 0
    start = b""
    skipped = 0
    for piece in chunks(stream):
        chunk = piece
        if skipped:
            end = chunk.find(b"\n")
            if end < 0:
                skipped += len(chunk)
                continue
            yield Overlong(start, skipped + end)
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
                start, skipped = b"".join(parts)[: kept(limit)], held
                parts, held = [], 0
    if skipped:
        yield Overlong(start, skipped)
    elif parts:
        yield from _without_overlong(b"".join(parts), limit)


def _without_overlong(block: bytes, limit: int) -> Iterator[bytes | Overlong]:
    if len(block) <= limit:
        yield block
        return
    ends = newlines(block)
    begins = np.concatenate(([0], ends[:-1] + 1))
    done = 0
    for index in np.flatnonzero(ends - begins > limit).tolist():
        begin, end = int(begins[index]), int(ends[index])
        if begin > done:
            yield block[done:begin]
        yield Overlong(block[begin : begin + kept(limit)], end - begin)
        done = end + 1
    if done < len(block):
        yield block[done:]


def kept(limit: int) -> int:
    """Bytes that are kept of a record beyond the limit; of each as many, however it was come by."""
    return min(limit, LONGEST_RAW)


def too_long_record(limit: int) -> str:
    """Why a record of more bytes than the limit is quarantined; its own length is booked beside the reason."""
    return f"too_long:record (over {limit} bytes)"


def refuse_overlong(line: Overlong, number: int, tally: Tally, limit: int) -> None:
    """Refuse a record that is longer than the limit."""
    tally.refuse(number, too_long_record(limit), line.start, line.length)


def newlines(block: bytes) -> np.ndarray:
    """Positions of the line ends; the end of the block counts as one if its last line has none."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    return ends if block.endswith(b"\n") or not block else np.append(ends, len(block))


def lines_array(block: bytes, ends: np.ndarray) -> pa.Array:
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


def batches(
    block: bytes, ends: np.ndarray, numbers: np.ndarray, tally: Tally, *, escaped: bool = False
) -> Iterator[pa.RecordBatch]:
    """Batches of records; where their line ends may be escaped, only the last one is no part of a record."""
    bare = _without_line_ends(block, ends)
    records = lines_array(block, ends) if bare is None else bare
    tally.lines += len(records)
    for start in range(0, len(records), BATCH_LINES):
        values = records.slice(start, BATCH_LINES)
        lines = pa.array(numbers[start : start + len(values)], pa.int64())
        try:
            text = values.cast(pa.large_string())
        except pa.ArrowInvalid:
            lines, text = only_utf8(lines, values, tally)
        if bare is None and escaped:
            options = pc.ReplaceSubstringOptions(r"\r?\n$", "")
            text = pc.call_function("replace_substring_regex", [text], options)
        elif bare is None:
            text = pc.call_function("utf8_rtrim", [text], pc.TrimOptions("\r\n"))
        yield pa.record_batch([lines, text.cast(pa.string())], schema=SCHEMA)


def only_utf8(lines: pa.Array, values: pa.Array, tally: Tally) -> tuple[pa.Array, pa.Array]:
    """Numbers and texts of those of some records that are UTF-8; the others are refused, and counted by the caller."""
    good: list[tuple[int, str]] = []
    for line, value in zip(lines.to_pylist(), values.to_pylist(), strict=True):
        try:
            good.append((line, value.decode()))
        except UnicodeDecodeError:
            text = value.rstrip(b"\r\n")
            if tally.encoding == UTF_8:
                tally.hint = tally.hint or where_not_utf8(text, line)
                tally.invalid.append(QuarantinedLine(line, "invalid_utf8", text))
            else:
                raw = tally.text.original(text) if tally.text else text
                tally.invalid.append(QuarantinedLine(line, f"invalid_encoding: not {tally.encoding}", raw))
    return pa.array([line for line, _ in good], pa.int64()), pa.array([text for _, text in good], pa.large_string())
