"""The lines of a file that are refused: any number of them, in a bounded amount of memory."""

import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from pipeline_assets.sources.limits import LONGEST_RAW

_MEMORY = 1 << 20
_HEADER = struct.Struct("<qqii")


@dataclass(frozen=True)
class QuarantinedLine:
    """A line that could not be loaded, as it was read.

    Attributes:
        line: number of the line or record.
        reason: why.
        raw: the line, or its beginning.
        length: bytes of the whole line; by default those of `raw`.
    """

    line: int
    reason: str
    raw: bytes
    length: int = -1

    def __post_init__(self) -> None:
        """Take the line for whole where nothing else is said."""
        if self.length < 0:
            object.__setattr__(self, "length", len(self.raw))


class RefusedLines(Sequence[QuarantinedLine]):
    """Refused lines in the order in which they came; beyond a megabyte they wait in a temporary file.

    Args:
        lines: the first of them.
    """

    def __init__(self, lines: Iterable[QuarantinedLine] = ()) -> None:
        self._length = 0
        self._file: IO[bytes] | None = None
        for line in lines:
            self.append(line)

    def append(self, line: QuarantinedLine) -> None:
        """Add a line; of a long one only the beginning is kept, and its length."""
        if self._file is None:
            # Without a name, so that it is gone whatever becomes of the process.
            self._file = tempfile.SpooledTemporaryFile(_MEMORY)  # noqa: SIM115 - as long-lived as this object
        reason, raw = line.reason.encode(), line.raw[:LONGEST_RAW]
        self._file.seek(0, 2)
        self._file.write(_HEADER.pack(line.line, line.length, len(reason), len(raw)) + reason + raw)
        self._length += 1

    def __len__(self) -> int:
        """How many there are."""
        return self._length

    def __getitem__(self, index: Any) -> Any:
        """Like a list's, by reading all."""
        return list(self)[index]

    def __iter__(self) -> Iterator[QuarantinedLine]:
        """One after the other."""
        position = 0
        for _ in range(self._length):
            assert self._file is not None  # noqa: S101
            self._file.seek(position)
            line, length, reason_bytes, raw_bytes = _HEADER.unpack(self._file.read(_HEADER.size))
            reason = self._file.read(reason_bytes).decode()
            raw = self._file.read(raw_bytes)
            position = self._file.tell()
            yield QuarantinedLine(line, reason, raw, length)

    def __eq__(self, other: object) -> bool:
        """Whether they are the same lines in the same order."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None
