"""The verbs: everything that reads or writes bytes of landing or the lake does it through a `Store`.

A name is relative to the store's root, with `/` between its parts, whatever the operating system. Objects are written
once and never changed: what is put under a name is there whole or not at all, durably, and nobody puts something else
under it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

DRAFTS = ".drafts"
"""Folder at a store's root for what is being put; `Store.list` shows it only where it is asked for."""


class StoreError(RuntimeError):
    """The store refused, or cannot be reached; the message says where, why and what to do, and holds no secret."""


class UnreachableError(StoreError):
    """The store gave no answer within the time, or only that it cannot at the moment: so it will be for all objects."""


class ReplacedError(StoreError):
    """An object was replaced or removed while it was read."""


class InvalidNameError(StoreError):
    """There is an object that cannot be named here, so that those beside it cannot be listed either."""


class TooLongError(TimeoutError):
    """A look took longer than whoever asked for it has time."""


@dataclass(frozen=True)
class Stat:
    """What a store knows of an object without reading it.

    Attributes:
        name: relative to the store's root.
        size: bytes.
        modified: when it was last written, by the store's clock.
        identity: differs where the content differs: of a local file its size, inode and times, of an object its ETag
            (and version, where the store has them).
    """

    name: str
    size: int
    modified: datetime
    identity: str


@dataclass(frozen=True)
class Level:
    """What is directly in a folder, both in the order of the names as bytes of UTF-8.

    Attributes:
        folders: names, without what is above them, of the folders in it that may hold objects.
        objects: the objects in it.
    """

    folders: Sequence[str]
    objects: Sequence[Stat]


class Store(Protocol):
    """A folder of bytes.

    All verbs raise `StoreError` where the store refuses or cannot be reached, and `ValueError` for what is no name.
    None waits for longer than some minutes without an answer.
    """

    @property
    def url(self) -> str:
        """Of its root, without secrets: `file:///…` or `s3://bucket/prefix`."""
        ...

    def locate(self, name: str) -> str:
        """What Polars, DuckDB and pyarrow are given for a name: an absolute path or a URL; see `storage.parquet`."""
        ...

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        """The objects whose name begins with a prefix, in the order of their names as bytes of UTF-8.

        What is being put, or was when its process was killed, is seen only by a prefix that begins with `.drafts/`.

        Args:
            prefix: of names; ends in `/` where a folder is meant.
            after: only names that come after this one.
        """
        ...

    def level(self, folder: str = "", *, seconds: float | None = None) -> Level:
        """What is directly in a folder; nothing where it is not there. Costs nothing of what is in the folders in it.

        Args:
            folder: its name, without a slash at the end; empty for the root, of which `.drafts` is not shown.
            seconds: how long it may take; as long as it does by default.

        Raises:
            TooLongError: it would take longer.
        """
        ...

    def stat(self, name: str) -> Stat | None:
        """What is known of an object; None if it is not there."""
        ...

    def open(self, name: str) -> BinaryIO:
        """An object for reading from any place in it.

        Raises:
            FileNotFoundError: it is not there.
        """
        ...

    def put(self, name: str, content: Path | bytes) -> Stat:
        """Store an object under a name that nothing has: visible whole or not at all, and durable on return.

        Args:
            name: the name.
            content: the bytes, or a local file with them, which may be moved.

        Raises:
            FileExistsError: something has the name.
        """
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are not there are passed over."""
        ...


def checked_name(name: str) -> str:
    """A name, if it is one.

    Raises:
        ValueError: it is empty, begins or ends with `/`, or has an empty part, `.` or `..` in it.
    """
    if not name or "\0" in name or any(part in {"", ".", ".."} for part in name.split("/")):
        raise ValueError(f"{name!r} is no name of an object: a/b/c, without empty parts, . and ..")
    return name
