"""Landing, wherever it is: a local folder, or a place in an object store.

In an object store there are no folders, links, pipes or devices, and an object is there whole or not at all. What is
the same: which names a pattern leads to, what is hidden, and what is called like an unfinished upload.
"""

import hashlib
import itertools
import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipeline_assets.private import make_file, make_folder
from pipeline_assets.settings import Settings
from pipeline_assets.staging.landing import (
    TABLE_LOGS,
    LandingFile,
    Listing,
    Refused,
    is_unfinished,
    is_wild,
    parts_of,
    path_of,
    reason_against_name,
    table_with_a_log,
)
from pipeline_assets.staging.routes import Routes
from pipeline_assets.staging.scratch import spill_folder
from pipeline_assets.staging.walking import TooLongError, scan
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import InvalidNameError, ReplacedError, Stat, Store
from pipeline_assets.storage_urls import Remote, parse_place

_PIECE = 8 << 20
# Names between two looks at the clock.
_TIMED = 1000
# What readers know compressed files by.
_SUFFIXES = re.compile(r"(\.\w{1,10}){1,2}$")


class Landing(Protocol):
    """Where new source files are dropped."""

    def scan(self, pattern: str) -> Listing:
        """The files that match a pattern, and what is in their way; see `walking.scan`.

        Raises:
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


def open_landing(settings: Settings) -> "LocalLanding | RemoteLanding":
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

    def scan(self, pattern: str) -> Listing:
        """See `Landing.scan`."""
        return scan(self.folder, pattern, follow_links=self.follow_links)

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

    def scan(self, pattern: str, *, seconds: float | None = None) -> Listing:
        """See `Landing.scan`.

        Args:
            pattern: the source's pattern.
            seconds: how long it may take; as long as it does by default.

        Raises:
            TooLongError: it would take longer.
        """
        found = Listing()
        logs: dict[str, str] = {}
        try:
            for stat, taken_by in self.list([pattern], seconds=seconds):
                for part, above in zip(stat.name.split("/")[:-1], _folders_of(stat.name), strict=False):
                    if part in TABLE_LOGS:
                        logs[above] = TABLE_LOGS[part]
                if taken_by:
                    if reason := reason_against_name(stat.name):
                        found.refused.append(Refused(stat.name, reason))
                    else:
                        found.files.append(self._file(stat))
        except InvalidNameError as error:
            found.refused.append(Refused(".", f"cannot be listed: {error}"))
        # Only what is read may be more than is meant.
        taken = {above for file in found.files for above in _folders_of(file.name)}
        found.doubtful += [table_with_a_log(folder, kind) for folder, kind in sorted(logs.items()) if folder in taken]
        return found

    def list(self, patterns: Sequence[str], *, seconds: float | None = None) -> Iterator[tuple[Stat, frozenset[int]]]:
        """The objects that begin as patterns do, each with the numbers of those that lead to it.

        Args:
            patterns: glob patterns.
            seconds: how long it may take; as long as it does by default.

        Raises:
            TooLongError: it would take longer.
            StoreError: the store refuses, or cannot be reached.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        beginnings = [_beginning(parts) for pattern in patterns if (parts := parts_of(pattern))]
        if not beginnings:
            return
        routes = Routes(patterns)
        beginning = beginnings[0] if len(beginnings) == 1 else ""
        for number, stat in enumerate(self.store.list(beginning)):
            if deadline is not None and not number % _TIMED and time.monotonic() > deadline:
                raise TooLongError
            folder, _, name = stat.name.rpartition("/")
            yield stat, frozenset() if is_unfinished(name) else routes.patterns(folder, name)

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


def _folders_of(name: str) -> Iterator[str]:
    """The folders above a file, from landing itself on."""
    yield "."
    for found in re.finditer("/", name):
        yield name[: found.start()]


def _beginning(parts: Sequence[str]) -> str:
    """What all names begin with to which a pattern leads."""
    plain = list(itertools.takewhile(lambda part: not is_wild(part), parts[:-1]))
    wild = parts[len(plain)]
    # A pattern that is a name itself leads to this alone.
    return "".join(f"{part}/" for part in plain) + (re.split(r"[*?\[]", wild, maxsplit=1)[0] if wild else "")
