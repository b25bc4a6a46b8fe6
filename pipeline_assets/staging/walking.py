"""A walk through landing: which files patterns lead to, folder by folder, each folder listed once.

How a pattern is read says `routes`. Files with a suffix of an unfinished upload are passed over. Folders that cannot be
listed, links that leave landing, lead nowhere or in circles, files whose path is too long, and pipes, sockets and
devices are refused; none is ever opened.

Folders that the walk is told of as seen before, and that have not changed since, are not listed: only the files in them
that may still be written to are looked at.
"""

import errno
import itertools
import math
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from pipeline_assets.ledger.seen_folders import SeenFolder
from pipeline_assets.staging.landing import (
    LEAVES,
    TABLE_LOGS,
    Doubtful,
    LandingFile,
    Listing,
    Refused,
    is_unfinished,
    is_within,
    ledger_name,
    reason_against,
    stamp_of,
    table_with_a_log,
)
from pipeline_assets.staging.routes import Moves, Positions, Routes, Step
from pipeline_assets.storage.store import TooLongError

RECENT_SECONDS = 24 * 60 * 60
"""How long after it was last written to a file is looked at again although its folder has not changed."""

_CIRCLE = "is a symbolic link that leads in a circle; remove it"
_NOTHING = "is a symbolic link to nothing; remove it, and deliver the file itself"
# Names between two looks at the clock.
_TIMED = 1000


class Found(Protocol):
    """What a pattern leads to, cheaper than `LandingFile`."""

    @property
    def name(self) -> str:
        """Its path below landing, as the ledger knows it."""
        ...

    @property
    def stamp(self) -> str:
        """See `LandingFile`."""
        ...

    @property
    def patterns(self) -> frozenset[int]:
        """The numbers of the patterns that lead to it."""
        ...

    @property
    def changed(self) -> float:
        """When it last changed and may have left its folder as it was, in seconds since the epoch.

        Of a link, where it leads to may change at any time: infinite. Of what is never looked at without its folder:
        minus infinite.
        """
        ...

    def file(self) -> LandingFile:
        """The same as a value."""
        ...


class FoundFile(NamedTuple):
    """A file that a pattern leads to.

    Attributes:
        path: where it is.
        name: its path below landing, as the ledger knows it.
        status: of the file, or of what a link leads to.
        is_link: whether it is a link.
        patterns: the numbers of the patterns that lead to it.
    """

    path: str
    name: str
    status: os.stat_result
    is_link: bool
    patterns: frozenset[int]

    @property
    def stamp(self) -> str:
        """See `LandingFile`."""
        return stamp_of(self.status)

    @property
    def changed(self) -> float:
        """See `Found`."""
        return math.inf if self.is_link else max(self.status.st_mtime, self.status.st_ctime)

    def file(self) -> LandingFile:
        """The same as a value."""
        return LandingFile(Path(self.path), self.name, self.stamp, self.status.st_mtime, self.status.st_size)


@dataclass
class Folder:
    """What a walk has found in a folder.

    Attributes:
        name: its path below landing; `.` is landing itself.
        stamp: what is another when something has come into it: inode and times from before it was listed; None where
            there is nothing of the kind, or it could not be listed.
        modified: when it last changed, in seconds since the epoch.
        files: files in it; of one that was seen before, those that are watched.
        folders: names of the folders in it that patterns lead into.
        links: those of them that are links: where a link leads to is to be looked at every time.
        refused: what in it is not read.
        doubtful: the kind of table that it is, if it is one.
        seen: what was seen before, if it has not changed since.
    """

    name: str
    stamp: str | None = None
    modified: float = 0.0
    files: list[Found] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    doubtful: str | None = None
    seen: SeenFolder | None = None

    def told(self) -> Doubtful | None:
        """What is told of it to people, if it is a table."""
        return None if self.doubtful is None else table_with_a_log(self.name, self.doubtful)


def scan(landing: Path, pattern: str, *, follow_links: bool = False) -> Listing:
    """All files in landing that match a pattern, and what is in their way.

    Args:
        landing: the landing folder; it need not exist.
        pattern: the source's pattern.
        follow_links: whether links may leave landing.
    """
    return listing(walk(landing, [pattern], follow_links=follow_links))


def listing(folders: Iterable[Folder]) -> Listing:
    """All that a walk has found."""
    found = Listing()
    for folder in folders:
        found.files += [file.file() for file in folder.files]
        found.refused += folder.refused
        found.doubtful += [told] if (told := folder.told()) else []
    return found.in_order()


def walk(
    landing: Path,
    patterns: Sequence[str],
    *,
    follow_links: bool = False,
    seen: Mapping[str, SeenFolder] | None = None,
    seconds: float | None = None,
) -> Iterator[Folder]:
    """What patterns lead to, folder by folder.

    Args:
        landing: the landing folder; it need not exist.
        patterns: glob patterns.
        follow_links: whether links may leave landing.
        seen: folders as they were seen before, by path below landing; those that have not changed are not listed.
        seconds: how long it may take; as long as it does by default.

    Raises:
        TooLongError: it would take longer.
    """
    return _Walk(landing, Routes(patterns), seen or {}, follow_links=follow_links, seconds=seconds).folders()


def some_files(landing: Path, pattern: str, *, most: int, names: int) -> tuple[list[Path], bool]:
    """A few of the files that `scan` would find, and whether there are no others.

    For a glance at a landing folder that may hold millions of files.

    Args:
        landing: the landing folder; it need not exist.
        pattern: the source's pattern.
        most: how many files are enough.
        names: how many names in folders are looked at.
    """
    glance = _Walk(landing, Routes([pattern]), {}, follow_links=False, names=names)
    files = (file.file().path for folder in glance.folders() for file in folder.files)
    found = list(itertools.islice(files, most))
    return found, len(found) < most and glance.is_whole


class _Walk:
    """One walk through landing.

    Attributes:
        is_whole: whether no name was passed over because enough were looked at.
    """

    def __init__(
        self,
        landing: Path,
        routes: Routes,
        seen: Mapping[str, SeenFolder],
        *,
        follow_links: bool,
        seconds: float | None = None,
        names: int | None = None,
    ) -> None:
        self._landing = os.fspath(landing)
        self._root = os.path.realpath(landing)
        self._routes = routes
        self._seen = seen
        self._follow_links = follow_links
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._names = names
        self.is_whole = True

    def folders(self) -> Iterator[Folder]:
        """Landing and all below it."""
        return self.visit(self._landing, "", self._routes.beginning, ())

    def visit(
        self, path: str, below: str, positions: Positions, above: tuple[tuple[int, int], ...]
    ) -> Iterator[Folder]:
        """A folder and all below it.

        Args:
            path: of the folder.
            below: its path below landing; empty for landing itself.
            positions: where in the patterns the walk is.
            above: the folders on the way here, by device and inode: a link to one of them leads in a circle.
        """
        self._require_time()
        folder = Folder(ledger_name(below) or ".")
        try:
            status = Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            folder.refused.append(Refused(folder.name, f"cannot be read: {error.strerror}"))
            yield folder
            return
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            folder.refused.append(Refused(folder.name, _CIRCLE))
            yield folder
            return
        moves = self._routes.moves(positions)
        into = self._look(folder, path, below, status, moves)
        yield folder
        for name, then in into.items():
            yield from self.visit(f"{path}/{name}", f"{below}/{name}" if below else name, then, (*above, identity))

    def _look(
        self, folder: Folder, path: str, below: str, status: os.stat_result, moves: Moves
    ) -> dict[str, Positions]:
        """Find what is in a folder; where to go on from it."""
        if moves.names is not None:
            names = {name: (None, step) for name in moves.names if (step := moves.step(name))}
            return self._take(folder, path, below, names)
        folder.stamp = f"{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}"
        folder.modified = max(status.st_mtime, status.st_ctime)
        before = self._seen.get(folder.name)
        if before is not None and before.settled and before.stamp == folder.stamp:
            into = self._look_again(folder, path, below, before, moves)
            if into is not None:
                return into
            folder.files, folder.links, folder.refused = [], [], []
        try:
            with os.scandir(path) as entries:
                listed = list(itertools.islice(entries, self._names))
                self._count(len(listed), entries)
        except (FileNotFoundError, NotADirectoryError):
            folder.stamp = None
            return {}
        except OSError as error:
            folder.stamp = None
            folder.refused.append(Refused(folder.name, f"cannot be listed: {error.strerror}; nothing in it is loaded"))
            return {}
        names = {}
        for entry in listed:
            if entry.name in TABLE_LOGS:
                folder.doubtful = TABLE_LOGS[entry.name]
            if step := moves.step(entry.name):
                names[entry.name] = (entry, step)
        into = self._take(folder, path, below, names)
        folder.folders = list(into)
        return into

    def _look_again(
        self, folder: Folder, path: str, below: str, before: SeenFolder, moves: Moves
    ) -> dict[str, Positions] | None:
        """Look at what may have changed in a folder that has not; None if it is not as it was seen."""
        names = {name: (None, step) for name in before.watched if (step := moves.step(name))}
        linked = self._take(folder, path, below, names)
        steps = {name: moves.step(name) for name in before.folders}
        if len(folder.files) + len(linked) < len(before.watched) or folder.refused or not all(steps.values()):
            return None
        folder.seen, folder.doubtful, folder.folders = before, before.doubtful, list(before.folders)
        return {name: step.into for name, step in steps.items() if step}

    def _take(
        self, folder: Folder, path: str, below: str, names: Mapping[str, tuple[os.DirEntry[str] | None, Step]]
    ) -> dict[str, Positions]:
        """Look at some names in a folder; where to go on from it."""
        into: dict[str, Positions] = {}
        prefix = f"{below}/" if below else ""
        for number, (name, (entry, step)) in enumerate(names.items()):
            if not number % _TIMED:
                self._require_time()
            patterns = frozenset() if is_unfinished(name) else step.patterns
            if not patterns and (not step.into or (entry is not None and entry.is_file(follow_symlinks=False))):
                continue
            if not step.into and entry is not None and entry.is_dir(follow_symlinks=False):
                continue
            known = ledger_name(prefix + name)
            found = self._status(folder, f"{path}/{name}", known)
            if found is None:
                continue
            status, is_link = found
            if stat.S_ISDIR(status.st_mode):
                if step.into:
                    into[name] = step.into
                    folder.links += [name] if is_link else []
            elif patterns:
                if reason := reason_against(status, known):
                    folder.refused.append(Refused(known, reason))
                else:
                    folder.files.append(FoundFile(f"{path}/{name}", known, status, is_link, patterns))
        return into

    def _status(self, folder: Folder, path: str, name: str) -> tuple[os.stat_result, bool] | None:
        """What a path stands for, and whether it is a link; None if it is gone or refused."""
        try:
            status = os.lstat(path)
            if not stat.S_ISLNK(status.st_mode):
                return status, False
            found = Path(path).stat()
            if not self._follow_links and not is_within(path, self._root):
                folder.refused.append(Refused(name, LEAVES))
                return None
            return found, True
        except (FileNotFoundError, NotADirectoryError):
            # Removed between listing and looking is of no interest; a link to nothing would wait for ever.
            if Path(path).is_symlink():
                folder.refused.append(Refused(name, _NOTHING))
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                reason = _CIRCLE
            elif not self._follow_links and not is_within(path, self._root):
                reason = LEAVES
            else:
                reason = f"cannot be read: {error.strerror}"
            folder.refused.append(Refused(name, reason))
            return None

    def _count(self, names: int, rest: Iterator[object]) -> None:
        """Note that so many names of a folder are looked at, and whether that leaves others out."""
        if self._names is not None:
            self._names -= names
            self.is_whole = self.is_whole and next(rest, None) is None

    def _require_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TooLongError
