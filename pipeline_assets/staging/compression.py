"""Compressed files as streams of what is in them: gzip, zstd and bzip2, of one member or of many.

Compressors that work in parallel, and `cat a.gz b.gz`, make files of several members (streams, frames) that follow each
other. Zeros behind a member are padding, as of tapes and block devices, as for `gzip -d`. Anything else behind the last
one is told with its place: it may be what is left of a member that was cut or overwritten, and nothing may be lost
without a word.
"""

import bz2
import os
import re
import zlib
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from pipeline_assets.sources.records.cutting import UnreadableError
from pipeline_assets.sources.records.encoding import Bytes
from pipeline_assets.staging.landing import open_regular

_CHUNK = 1 << 18
_SKIPPABLE = rb"[\x50-\x5f]\x2a\x4d\x18"
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|" + _SKIPPABLE, re.DOTALL)
# The fourth byte of bzip2 is the size of its blocks, and the next six begin a block, or the end where there is none.
_MAGIC = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "zstd": _ZSTD,
    "bzip2": re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)"),
}
_MAGIC_BYTES = 10
_SIGNATURES = {"gzip": b"\x1f\x8b", "bzip2": b"BZh"}
_SIGNATURE_BYTES = 3
_SUFFIXES = {
    ".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bzip2", ".bzip2": "bzip2",
}  # fmt: skip
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it (unzip) or save it as CSV",
    b"PK\x05\x06": "an empty zip archive; pack it again, unpack it (unzip)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it (7z x)",
    b"Rar!\x1a\x07": "a RAR archive; unpack it (unrar x)",
    b"\xfd7zXZ\x00": "compressed with xz; unpack it (unxz)",
}
"""First bytes -> what a file is that is not read, and what is to be done."""
# RFC 8878: bytes of the fields of a frame's header, by the two bits that say so.
_DICTIONARY_ID = (0, 1, 2, 4)
_CONTENT_SIZE = (0, 2, 4, 8)


def detect_compression(path: Path) -> str:
    """`gzip`, `zstd`, `bzip2` or `none`, by the file's first bytes; an empty file goes by its suffix.

    Raises:
        UnreadableError: the name promises what the content is not, or it is an archive.
    """
    refuse_archive(path)
    start = _start(path)
    for name, magic in _MAGIC.items():
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


def refuse_archive(path: Path) -> None:
    """Raise what is to be done about a file that holds other files.

    Raises:
        UnreadableError: the file is an archive, or compressed in a way that is not read.
    """
    start = _start(path)
    for magic, what in _ARCHIVES.items():
        if start.startswith(magic):
            raise UnreadableError(f"this is {what} and deliver what is in it")


def _start(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(_MAGIC_BYTES)


def open_stream(path: Path, compression: str) -> Bytes:
    """Open a file for reading its uncompressed bytes, in an amount of memory that depends on neither size.

    Reading raises EOFError where the file ends before its time, OSError without a number or zlib.error where it is
    damaged, and UnreadableError where something else follows it.

    Args:
        path: the file.
        compression: `auto`, `none`, `gzip`, `zstd` or `bzip2`.

    Raises:
        UnreadableError: what is in the file is not what its name says, or something else follows it.
    """
    if compression == "auto":
        compression = detect_compression(path)
    raw = open_regular(path)
    size = os.fstat(raw.fileno()).st_size
    if compression == "none" or not size:
        return raw
    if compression == "zstd":
        end = _end_of_frames(raw, size)
        return pa.CompressedInputStream(pa.PythonFile(raw, "r").get_stream(0, end), "zstd")
    return _Members(raw, compression)


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _gzip_decoder() -> _Decoder:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


class _Members:
    """What is in the members of a gzip or bzip2 file, one after the other."""

    def __init__(self, file: FileIO, kind: str) -> None:
        self._file = file
        self._kind = kind
        self._new: Callable[[], _Decoder] = _gzip_decoder if kind == "gzip" else bz2.BZ2Decompressor
        self._decoder = self._new()
        self._rest = b""
        self._position = 0

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most as many as asked for; none at the end."""
        while not self._decoder.eof or self._begin_next():
            decoder = self._decoder
            # bzip2's keeps what it has not read yet itself.
            data = (self._rest or self._more()) if getattr(decoder, "needs_input", True) else b""
            ended = not data and getattr(decoder, "needs_input", True)
            found = decoder.decompress(data, size)
            self._rest = decoder.unused_data if decoder.eof else getattr(decoder, "unconsumed_tail", b"")
            if found:
                return found
            if ended and not decoder.eof:
                raise EOFError
        return b""

    def _more(self) -> bytes:
        data = self._file.read(_CHUNK)
        self._position += len(data)
        return data

    def _begin_next(self) -> bool:
        """Whether another member follows; it is what is read next."""
        data = self._rest.lstrip(b"\0")
        while len(data) < _SIGNATURE_BYTES and (more := self._more()):
            data = (data + more).lstrip(b"\0")
        if data:
            signature = _SIGNATURES[self._kind]
            # Of a member that is cut short there may be less than that.
            if not data.startswith(signature) and not signature.startswith(data):
                raise UnreadableError(_told(self._kind, self._position - len(data)))
            self._decoder = self._new()
        self._rest = data
        return bool(data)


def _end_of_frames(file: FileIO, size: int) -> int:
    """Where the zstd frames of a file end; its size where the last one is cut short.

    Raises:
        UnreadableError: something else than zeros follows them.
    """
    descriptor = file.fileno()

    def number(at: int, length: int) -> int:
        return int.from_bytes(os.pread(descriptor, length, at), "little")

    position = 0
    while position < size:
        start = os.pread(descriptor, 6, position)
        if not _ZSTD.match(start):
            break
        if re.match(_SKIPPABLE, start, re.DOTALL):
            position += 8 + number(position + 4, 4)
            continue
        described = start[4] if len(start) > 4 else 0
        single = described & 0x20
        content_size = _CONTENT_SIZE[described >> 6] or (1 if single else 0)
        position += 5 + (0 if single else 1) + _DICTIONARY_ID[described & 3] + content_size
        last = False
        while not last and position < size:
            header = number(position, 3)
            last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
            # A block of one byte that is repeated has that byte.
            position += 3 + (1 if kind == 1 else length)
        position += 4 if described & 4 else 0
    if position >= size:
        return size
    end = position
    while chunk := os.pread(descriptor, _CHUNK, position):
        if other := chunk.lstrip(b"\0"):
            raise UnreadableError(_told("zstd", position + len(chunk) - len(other)))
        position += len(chunk)
    return end


def _told(kind: str, offset: int) -> str:
    return (
        f"what begins at byte {offset} (from 0), behind complete {kind} data, is no {kind}; deliver the file again, or "
        "without it"
    )
