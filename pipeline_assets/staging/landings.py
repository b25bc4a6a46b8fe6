"""Landing, wherever it is: a local folder, or a place in an object store.

In an object store there are no folders, links, pipes or devices, and an object is there whole or not at all. What is
the same: which names a pattern leads to, what is hidden, and what is called like an unfinished upload.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipeline_assets.ledger.seen_folders import SeenFolder
from pipeline_assets.private import make_file, make_folder
from pipeline_assets.settings import Settings
from pipeline_assets.staging import walking, walking_buckets
from pipeline_assets.staging.landing import LandingFile, path_of
from pipeline_assets.staging.scratch import spill_folder
from pipeline_assets.staging.walking import Folder
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import ReplacedError, Stat, Store
from pipeline_assets.storage_urls import Remote, parse_place

_PIECE = 8 << 20
# What readers know compressed files by.
_SUFFIXES = re.compile(r"(\.\w{1,10}){1,2}$")


class Landing(Protocol):
    """Where new source files are dropped."""

    @property
    def digested(self) -> object:
        """What a look depends on beside its patterns: what was seen under another is of no use."""
        ...

    def walk(
        self, patterns: Sequence[str], *, seen: Mapping[str, SeenFolder] | None = None, seconds: float | None = None
    ) -> Iterator[Folder]:
        """What patterns lead to, folder by folder.

        Args:
            patterns: glob patterns.
            seen: folders as they were seen before, by path below landing; where nothing new can be, as far as one can
                tell by them, is not listed.
            seconds: how long it may take; as long as it does by default.

        Raises:
            TooLongError: it would take longer.
            StoreError: an object store refuses, or cannot be reached.
        """
        ...

    def again(self, file: LandingFile) -> LandingFile:
        """A file as it is now.

        Raises:
            FileNotFoundError: it is gone.
            RefusedError: what has its name now is not read.
        """
        ...

    def has(self, name: str) -> bool:
        """Whether something has a name, as the ledger knows it."""
        ...


def open_landing(settings: Settings) -> Landing:
    """The landing of a deployment; nothing is asked yet."""
    place = parse_place(settings.landing_url)
    if isinstance(place, Remote):
        return RemoteLanding(open_store(settings.landing_url), spill_folder(settings.scratch_dir))
    return LocalLanding(place, follow_links=settings.follow_links)


@dataclass(frozen=True)
class LocalLanding:
    """A folder.

    Attributes:
        folder: the folder; it need not exist.
        follow_links: whether links in it may leave it.
    """

    folder: Path
    follow_links: bool = False

    @property
    def digested(self) -> bool:
        """See `Landing.digested`."""
        return self.follow_links

    def walk(
        self, patterns: Sequence[str], *, seen: Mapping[str, SeenFolder] | None = None, seconds: float | None = None
    ) -> Iterator[Folder]:
        """See `Landing.walk`."""
        return walking.walk(self.folder, patterns, follow_links=self.follow_links, seen=seen, seconds=seconds)

    def again(self, file: LandingFile) -> LandingFile:
        """See `Landing.again`."""
        return LandingFile.at(file.path, self.folder, follow_links=self.follow_links)

    def has(self, name: str) -> bool:
        """See `Landing.has`."""
        return os.path.lexists(self.folder / path_of(name))


@dataclass(frozen=True)
class RemoteFile(LandingFile):
    """An object in landing. Its `path` is a private local file, which is there from `content` to `release`.

    Its `stamp` is the store's own word for its content (`Stat.identity`).
    """

    store: Store = field(repr=False, kw_only=True)

    def unchanged(self) -> bool:
        """Whether the object is still the one described."""
        found = self.store.stat(self.name)
        return found is not None and found.identity == self.stamp

    def content(self) -> str:
        """Fetch the object; SHA-256 of its bytes, hex.

        Raises:
            FileNotFoundError: it is gone, or was replaced while it was read.
            StoreError: the store refuses, or cannot be reached.
        """
        digest = hashlib.sha256()
        make_folder(self.path.parent)
        with suppress(FileExistsError):
            make_file(self.path)
        try:
            with self.store.open(self.name) as source, self.path.open("wb") as target:
                while piece := source.read(_PIECE):
                    digest.update(piece)
                    target.write(piece)
        except ReplacedError as error:
            raise FileNotFoundError(str(error)) from None
        return digest.hexdigest()

    def release(self) -> None:
        """Remove what was fetched."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class RemoteLanding:
    """A place in an object store.

    Attributes:
        store: the place.
        scratch: local folder into which its files are fetched.
    """

    store: Store
    scratch: Path

    @property
    def digested(self) -> str:
        """See `Landing.digested`."""
        return self.store.url

    def walk(
        self, patterns: Sequence[str], *, seen: Mapping[str, SeenFolder] | None = None, seconds: float | None = None
    ) -> Iterator[Folder]:
        """See `Landing.walk`."""
        return walking_buckets.walk(self.store, patterns, self._file, seen=seen, seconds=seconds)

    def again(self, file: LandingFile) -> LandingFile:
        """See `Landing.again`."""
        stat = self.store.stat(file.name)
        if stat is None:
            raise FileNotFoundError(f"{self.store.locate(file.name)} does not exist.")
        return self._file(stat)

    def has(self, name: str) -> bool:
        """See `Landing.has`."""
        return self.store.stat(name) is not None

    def _file(self, stat: Stat) -> RemoteFile:
        suffixes = _SUFFIXES.search(stat.name)
        path = self.scratch / f"{uuid.uuid4().hex}{suffixes[0] if suffixes else ''}"
        return RemoteFile(path, stat.name, stat.identity, stat.modified.timestamp(), stat.size, store=self.store)
