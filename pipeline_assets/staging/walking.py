"""A walk through landing: which files patterns lead to, folder by folder, each folder listed once.

How a pattern is read says `routes`. Files with a suffix of an unfinished upload are passed over. Folders that cannot be
listed, links that leave landing, lead nowhere or in circles, files whose path is too long, and pipes, sockets and
devices are refused; none is ever opened.

Folders that the walk is told of as seen before, and that have not changed since, are not listed: only the files in them
that may still be written to are looked at.
"""

import errno
import fnmatch
import itertools
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline_assets.ledger.seen_folders import SeenFolder
from pipeline_assets.staging.landing import (
    ANY_FOLDERS,
    LEAVES,
    TABLE_LOGS,
    Doubtful,
    LandingFile,
    Listing,
    Refused,
    is_hidden,
    is_unfinished,
    is_wild,
    is_within,
    ledger_name,
    parts_of,
    reason_against,
    stamp_of,
    table_with_a_log,
)
from pipeline_assets.staging.routes import Moves, Positions, Routes, Step

RECENT_SECONDS = 24 * 60 * 60
"""How long after it was last written to a file is looked at again although its folder has not changed."""

_CIRCLE = "is a symbolic link that leads in a circle; remove it"
_NOTHING = "is a symbolic link to nothing; remove it, and deliver the file itself"
# Names between two looks at the clock.
_TIMED = 1000


class TooLongError(TimeoutError):
    """A look took longer than whoever asked for it has time."""


class Found(NamedTuple):
    """A file that a pattern leads to.

    Attributes:
        path: where it is.
        name: its path below landing, as the ledger knows it.
        status: of the file, or of what a link leads to.
        is_link: whether it is a link: what that leads to may change and leave the folder as it is.
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

    def file(self) -> LandingFile:
        """The same as a value."""
        return LandingFile(Path(self.path), self.name, self.stamp, self.status.st_mtime, self.status.st_size)


@dataclass
class Folder:
    """What a walk has found in a folder.

    Attributes:
        name: its path below landing; `.` is landing itself.
        stamp: inode and times from before it was listed; None where nothing had to be listed or it was not possible.
        modified: when it last changed, in seconds since the epoch.
        files: files in it; of one that was seen before, those that may still be written to.
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
    found = Listing()
    for folder in walk(landing, [pattern], follow_links=follow_links):
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
    deadline = None if seconds is None else time.monotonic() + seconds
    routes = Routes(patterns)
    return _Walk(landing, routes, seen or {}, follow_links=follow_links, deadline=deadline).visit(
        os.fspath(landing), "", routes.beginning, ()
    )


def some_files(landing: Path, pattern: str, *, most: int, names: int) -> tuple[list[Path], bool]:
    """A few of the files that `scan` would find, and whether there are no others.

    For a glance at a landing folder that may hold millions of files. Links are not followed: where one is, there may be
    others.

    Args:
        landing: the landing folder; it need not exist.
        pattern: the source's pattern.
        most: how many files are enough.
        names: how many names of files and folders are looked at.
    """
    glance = _Glance(names)
    found = list(itertools.islice(glance.files(landing, parts_of(pattern)), most))
    return found, len(found) < most and glance.is_whole


class _Glance:
    """A walk through landing that ends after so many names."""

    def __init__(self, names: int) -> None:
        self._left = names
        self.is_whole = True

    def files(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        if not parts:
            return
        part, *rest = parts
        if part == ANY_FOLDERS and rest:
            yield from self.files(folder, rest)
        wanted, then = ("*", parts) if part == ANY_FOLDERS else (part, rest)
        for path in self._named(folder, wanted):
            if is_hidden(path.name) and not wanted.startswith(path.name[0]):
                continue
            if path.is_symlink():
                self.is_whole = False
            elif then:
                if path.is_dir():
                    yield from self.files(path, then)
            elif not is_unfinished(path.name) and path.is_file():
                yield path

    def _named(self, folder: Path, wanted: str) -> Iterator[Path]:
        if not is_wild(wanted):
            yield folder / wanted
            return
        matches = re.compile(fnmatch.translate(wanted)).match
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if not self._left:
                    self.is_whole = False
                    return
                self._left -= 1
                if matches(entry.name):
                    yield folder / entry.name


class _Walk:
    """One walk through landing."""

    def __init__(
        self,
        landing: Path,
        routes: Routes,
        seen: Mapping[str, SeenFolder],
        *,
        follow_links: bool,
        deadline: float | None,
    ) -> None:
        self._root = os.path.realpath(landing)
        self._routes = routes
        self._seen = seen
        self._follow_links = follow_links
        self._deadline = deadline

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
                listed = list(entries)
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
                    folder.files.append(Found(f"{path}/{name}", known, status, is_link, patterns))
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

    def _require_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TooLongError
