"""Text files in other encodings than UTF-8, read as UTF-8.

A byte order mark is unambiguous, so it counts more than what is declared (as in the WHATWG's encoding standard).
Bytes that the encoding does not know become something that is no UTF-8, and their lines end up in quarantine as they
are in the file.
"""

import codecs
import re
from typing import Protocol

from pipeline_assets.sources.encodings import UTF_8, canonical

_MARKS = (
    # The mark of UTF-32 begins like that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, UTF_8),
)
_LONGEST_MARK = 4
_SNIFFED = 1 << 20
_UNORDERED = ("utf-16", "utf-32")
_ESCAPED = "pipeline_assets.escaped"
# Lone surrogates cannot come from an encoding, and UTF-8 has no bytes for them.
_FIRST_ESCAPE = 0xDC00
_ESCAPES = re.compile("([\udc00-\udcff]+)")


class Bytes(Protocol):
    """What is read here: something like a file of bytes."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, about as many as asked for; none at the end."""
        ...


class UndeclaredEncodingError(ValueError):
    """The file is in an encoding that must be declared."""


class Utf8Stream:
    """The UTF-8 text of a stream in any encoding.

    Args:
        stream: uncompressed bytes.
        encoding: what is declared; None: UTF-8.

    Attributes:
        encoding: how the stream is read; known from the first read on.
    """

    def __init__(self, stream: Bytes, encoding: str | None = None) -> None:
        self._stream = stream
        self._begun = False
        self._declared = encoding is not None
        self.encoding = canonical(encoding or UTF_8)
        self._decoder: codecs.IncrementalDecoder | None = None
        codecs.register_error(_ESCAPED, _escape)

    def read(self, size: int, /) -> bytes:
        """The next bytes of UTF-8; none at the end.

        Raises:
            UndeclaredEncodingError: the file looks like UTF-16 without a byte order mark.
        """
        data = self._stream.read(size)
        if not self._begun:
            while 0 < len(data) < _LONGEST_MARK and (more := self._stream.read(size)):
                data += more
            data = self._begin(data) or self._stream.read(size)
        if self._decoder is None:
            return data
        text = self._decoder.decode(data, final=not data)
        while data and not text:
            data = self._stream.read(size)
            text = self._decoder.decode(data, final=not data)
        return text.encode(UTF_8, "surrogatepass")

    def _begin(self, start: bytes) -> bytes:
        """Decide how to read a stream by its first bytes; these without a byte order mark."""
        self._begun = True
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                self.encoding = encoding
                start = start.removeprefix(mark)
                break
        else:
            if not self._declared and (found := _looks_like_utf_16(start)):
                raise UndeclaredEncodingError(f"the file looks like UTF-16; declare `encoding: {found}`")
        if self.encoding in _UNORDERED:
            # Without a mark; nearly all such files come from where the lower byte comes first.
            self.encoding = _looks_like_utf_16(start) or f"{self.encoding}-le"
        if self.encoding != UTF_8:
            self._decoder = codecs.getincrementaldecoder(self.encoding)(_ESCAPED)
        return start

    def original(self, line: bytes) -> bytes:
        """The bytes that a line that was read here, or its beginning, has in the file."""
        if self._decoder is None:
            return line
        text = codecs.getincrementaldecoder(UTF_8)("surrogatepass").decode(line)
        return b"".join(
            bytes(ord(escape) - _FIRST_ESCAPE for escape in part)
            if _ESCAPES.match(part)
            else part.encode(self.encoding)
            for part in _ESCAPES.split(text)
        )


class LineFeeds:
    """A stream whose lines end in LF, also where they end in CR, as on old Macs.

    They do where a mebibyte from the beginning has CR but no LF. CR between quotes become LF there as well.
    """

    def __init__(self, stream: Bytes) -> None:
        self._stream = stream
        self._beginning: list[bytes] = []
        self._begun = False
        self._translated = False

    def read(self, size: int, /) -> bytes:
        """The next bytes, about as many as asked for; none at the end."""
        if not self._begun:
            self._begin(size)
        data = self._beginning.pop(0) if self._beginning else self._stream.read(size)
        return data.replace(b"\r", b"\n") if self._translated else data

    def _begin(self, size: int) -> None:
        self._begun = True
        read = 0
        while read < _SNIFFED and (chunk := self._stream.read(size)):
            self._beginning.append(chunk)
            read += len(chunk)
            if b"\n" in chunk:
                return
        self._translated = any(b"\r" in chunk for chunk in self._beginning)


def _looks_like_utf_16(start: bytes) -> str | None:
    first = start[:4]
    if re.fullmatch(rb"[^\0]\0[^\0]\0", first, re.DOTALL):
        return "utf-16-le"
    return "utf-16-be" if re.fullmatch(rb"\0[^\0]\0[^\0]", first, re.DOTALL) else None


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Keep bytes that cannot be decoded as lone surrogates."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(chr(_FIRST_ESCAPE + byte) for byte in bad), error.end


def where_not_utf8(data: bytes, line: int) -> str:
    """What is the first byte of some text that is no UTF-8, where it is, and what to declare.

    Args:
        data: text that is no UTF-8.
        line: number of its first line.
    """
    try:
        data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line += before.count(b"\n")
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        return (
            f"byte 0x{data[error.start]:02X} at line {line}, column {column} is not UTF-8; declare `encoding`, for "
            "instance windows-1252 or latin-1"
        )
    raise ValueError("it is UTF-8")
