"""Object stores for DuckDB, which cannot read them itself without an extension that has to be downloaded."""

import os
import threading
from datetime import datetime
from typing import Any

from fsspec import AbstractFileSystem

from pipeline_assets.storage.objects import ObjectStore, Pieces
from pipeline_assets.storage_urls import Remote

# An object up to this size is one request.
_SMALL = 4 << 20


class RemoteFiles(AbstractFileSystem):
    """What `DuckDBPyConnection.register_filesystem` wants, for reading by names that stand for themselves.

    DuckDB's threads share an opened file: each says where it reads, and then reads. Files as others make them have one
    position, so that one thread may get what another has asked for: seen with obstore's adaptor, and possible with any
    other. Here each thread has its own.

    Args:
        scheme: of the URLs that are read through it.
    """

    cachable = False

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self.protocol = scheme
        self._scheme = scheme
        self._stores: dict[str, ObjectStore] = {}

    def glob(self, path: str, maxdepth: int | None = None, **_: Any) -> list[str]:  # noqa: ARG002
        """The name itself, whatever is in it."""
        return [path]

    def exists(self, path: str, **_: Any) -> bool:
        """Whether an object has the name."""
        store, name = self._split(path)
        return store.stat(name) is not None

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Size and time of an object."""
        store, name = self._split(path)
        found = store.stat(name)
        if found is None:
            raise FileNotFoundError(path)
        return {"name": path, "size": found.size, "type": "file", "modified": found.modified}

    def modified(self, path: str) -> datetime:
        """When an object was written."""
        return self.info(path)["modified"]

    def _open(self, path: str, *_: Any, **__: Any) -> Any:
        store, name = self._split(path)
        return _Handle(store.pieces(name))

    def _split(self, path: str) -> tuple[ObjectStore, str]:
        # What opens a file is given its name with the scheme or without.
        bucket, _, name = path.removeprefix(f"{self._scheme}://").partition("/")
        if bucket not in self._stores:
            self._stores[bucket] = ObjectStore(Remote(self._scheme, bucket))
        return self._stores[bucket], name


class _Handle:
    """An opened object, with a position for each thread."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._lock = threading.Lock()
        self._whole: bytes | None = None
        # Not thread-local: DuckDB's threads are none of Python's own, which forgets them after each call.
        self._at: dict[int, int] = {}

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._pieces.size}[whence]
        self._at[threading.get_ident()] = base + offset
        return base + offset

    def tell(self) -> int:
        return self._at.get(threading.get_ident(), 0)

    def read(self, length: int = -1) -> bytes:
        start = self.tell()
        end = self._pieces.size if length < 0 else start + length
        content = self._read(start, end)
        self._at[threading.get_ident()] = start + len(content)
        return content

    def close(self) -> None:
        self._whole = None

    def _read(self, start: int, end: int) -> bytes:
        if self._pieces.size > _SMALL:
            return self._pieces.read(start, end)
        with self._lock:
            if self._whole is None:
                self._whole = self._pieces.read(0, self._pieces.size)
            return self._whole[start:end]
