"""What lies in landing: which files belong to a source, and whether one has changed since it was read."""

import errno
import fnmatch
import hashlib
import itertools
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path, PurePath, PurePosixPath

# Suffixes under which uploaders keep unfinished files; they are renamed when complete.
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".inprogress", "._COPYING_")
_ANY_FOLDERS = "**"
_WILD = re.compile(r"[*?\[]")
_LEAVES = (
    "is a symbolic link that leaves landing; move or copy what it points to into landing, "
    "or set PIPELINE_FOLLOW_LINKS=true"
)
_CIRCLE = "is a symbolic link that leads in a circle; remove it"
_NOTHING = "is a symbolic link to nothing; remove it, and deliver the file itself"
_STREAM = "write what comes out of it into a file elsewhere, and move that into landing when it is complete"
_KINDS = {
    stat.S_IFIFO: f"is a pipe and not a file; {_STREAM}",
    stat.S_IFSOCK: f"is a socket and not a file; {_STREAM}",
    stat.S_IFCHR: "is a device and not a file; remove it",
    stat.S_IFBLK: "is a device and not a file; remove it",
    stat.S_IFDIR: "is a folder and not a file",
}
# PostgreSQL's indexes hold 2,704 bytes; the ledger's have the source's name and the digest of the content beside it.
_LONGEST_NAME = 2000
# Folders in which tables keep which of their files count: the others are of earlier versions, or were deleted.
_TABLE_LOGS = {"_delta_log": "Delta Lake", ".hoodie": "Apache Hudi"}


class RefusedError(OSError):
    """Something in landing that is not read; the message says why and what to do."""


@dataclass(frozen=True)
class Refused:
    """A file or folder in landing that a source's pattern leads to, and that is not read.

    Attributes:
        name: its path below landing, as in `LandingFile`; `.` is landing itself.
        reason: why, as words that follow the name.
    """

    name: str
    reason: str


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that Hadoop, Spark and Hive pass over, such as `_SUCCESS`.

    The rule is Spark's: what begins with a point, or with an underscore and is no partition (`_day=1`). `_metadata` and
    `_common_metadata`, which Spark looks at, hold no rows.
    """
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def is_passed_over(path: PurePath) -> bool:
    """Whether a file is hidden, lies in a hidden folder or is called like an unfinished upload."""
    return path.suffix in _UNFINISHED or any(map(is_hidden, path.parts))


@dataclass(frozen=True)
class Doubtful:
    """A folder in landing whose files are read although they may be more than its owner means.

    Attributes:
        name: its path below landing.
        reason: why, as words that follow the name.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class LandingFile:
    """A file in landing.

    Attributes:
        path: where it is.
        name: its path below landing, with forward slashes; this is how the ledger knows it (see `ledger_name`).
        stamp: size, inode, modification and change time. An equal stamp means that nobody wrote to the file; the
            change time cannot be set back as the modification time can.
        modified: modification time in seconds since the epoch.
        size: bytes.
    """

    path: Path
    name: str
    stamp: str
    modified: float
    size: int

    @classmethod
    def at(cls, path: Path, landing: Path, *, follow_links: bool) -> "LandingFile":
        """Describe a file as it is now.

        Args:
            path: the file.
            landing: the landing folder.
            follow_links: whether links on the way may leave landing.

        Raises:
            RefusedError: it is no plain file, links lead to it from outside of landing, or its path is too long.
            OSError: it cannot be looked at.
        """
        if not follow_links and not _within(path, os.path.realpath(landing)):
            raise RefusedError(_LEAVES)
        status = path.stat()
        name = _name(path, landing)
        if reason := _reason_against(status, name):
            raise RefusedError(reason)
        return cls(path, name, _stamp(status), status.st_mtime, status.st_size)

    def unchanged(self) -> bool:
        """Whether the file is still the one described."""
        try:
            return _stamp(self.path.stat()) == self.stamp
        except FileNotFoundError:
            return False

    def content(self) -> str:
        """SHA-256 of the bytes, hex."""
        with open_regular(self.path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class Listing:
    """What a pattern leads to in landing.

    Attributes:
        files: the finished files, sorted by path.
        refused: what is not read, sorted by name.
        doubtful: folders that are read and may hold more than is meant, sorted by name.
    """

    files: list[LandingFile] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    doubtful: list[Doubtful] = field(default_factory=list)


def scan(landing: Path, pattern: str, *, follow_links: bool = False) -> Listing:
    """The files in landing that match a glob pattern, and what is in their way.

    The pattern is read as by `pathlib`: `*`, `?` and `[…]` within a name, `**` for any folders, and at its end for
    all that is below. Hidden files and folders (see `is_hidden`) are passed over, unless the part of the pattern that
    matches them begins with the same `_` or `.`, as a shell wants it; and files with a suffix of an unfinished upload.
    Folders that cannot be listed, links that leave landing, lead nowhere or in circles, files whose path is too long,
    and pipes, sockets and devices are refused; none is ever opened.

    Args:
        landing: the landing folder; it need not exist.
        pattern: the source's pattern.
        follow_links: whether links may leave landing.
    """
    walk = _Walk(landing, follow_links=follow_links)
    parts = _parts(pattern)
    if parts:
        walk.visit(landing, parts, [])
    files = [walk.files[path] for path in sorted(walk.files)]
    refused = sorted(walk.refused.values(), key=lambda refused: refused.name)
    return Listing(files, refused, sorted(walk.doubtful.values(), key=lambda doubtful: doubtful.name))


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
    found = list(itertools.islice(glance.files(landing, _parts(pattern)), most))
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
        if part == _ANY_FOLDERS and rest:
            yield from self.files(folder, rest)
        wanted, then = ("*", parts) if part == _ANY_FOLDERS else (part, rest)
        for path in self._named(folder, wanted):
            if is_hidden(path.name) and not wanted.startswith(path.name[0]):
                continue
            if path.is_symlink():
                self.is_whole = False
            elif then:
                if path.is_dir():
                    yield from self.files(path, then)
            elif path.suffix not in _UNFINISHED and path.is_file():
                yield path

    def _named(self, folder: Path, wanted: str) -> Iterator[Path]:
        if not _WILD.search(wanted):
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


def _parts(pattern: str) -> list[str]:
    """The parts of a pattern: no `**` follows another, which means the same, and none is the last."""
    parts = PurePosixPath(pattern).parts
    before = ["", *parts]
    found = [part for part, last in zip(parts, before, strict=False) if (part, last) != (_ANY_FOLDERS, _ANY_FOLDERS)]
    return [*found, "*"] if found and found[-1] == _ANY_FOLDERS else found


class _Walk:
    """One walk through landing."""

    def __init__(self, landing: Path, *, follow_links: bool) -> None:
        self._landing = landing
        self._root = os.path.realpath(landing)
        self._follow_links = follow_links
        self.files: dict[Path, LandingFile] = {}
        self.refused: dict[Path, Refused] = {}
        self.doubtful: dict[Path, Doubtful] = {}
        self._visited: set[tuple[Path, int]] = set()

    def visit(self, folder: Path, parts: Sequence[str], above: list[tuple[int, int]]) -> None:
        """Find what matches the rest of a pattern below a folder.

        Args:
            folder: the folder.
            parts: what is left of the pattern.
            above: the folders on the way here, by device and inode: a link to one of them leads in a circle.
        """
        # Several `**` lead to one folder on many ways.
        if (folder, len(parts)) in self._visited:
            return
        self._visited.add((folder, len(parts)))
        try:
            status = folder.stat()
        except FileNotFoundError:
            return
        except OSError as error:
            self._refuse(folder, f"cannot be read: {error.strerror}")
            return
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            self._refuse(folder, _CIRCLE)
            return
        above = [*above, identity]
        part, *rest = parts
        if part == _ANY_FOLDERS:
            if rest:
                self.visit(folder, rest, above[:-1])
            wanted, then = "*", parts
        else:
            wanted, then = part, rest
        for path in self._named(folder, wanted):
            if is_hidden(path.name) and not wanted.startswith(path.name[0]):
                continue
            if then:
                if self._leads_to_folder(path):
                    self.visit(path, then, above)
            else:
                self._take(path)

    def _named(self, folder: Path, wanted: str) -> Iterator[Path]:
        """What a folder holds of a name or pattern."""
        if not _WILD.search(wanted):
            yield folder / wanted
            return
        matches = re.compile(fnmatch.translate(wanted)).match
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._refuse(folder, f"cannot be listed: {error.strerror}; nothing in it is loaded")
            return
        for log in _TABLE_LOGS.keys() & names:
            self._tell_of_table(folder, _TABLE_LOGS[log])
        for name in filter(matches, names):
            yield folder / name

    def _leads_to_folder(self, path: Path) -> bool:
        status = self._look(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def _take(self, path: Path) -> None:
        if path.suffix in _UNFINISHED or path in self.files:
            return
        status = self._look(path)
        if status is None or stat.S_ISDIR(status.st_mode):
            return
        name = _name(path, self._landing)
        if reason := _reason_against(status, name):
            self._refuse(path, reason)
            return
        self.files[path] = LandingFile(path, name, _stamp(status), status.st_mtime, status.st_size)

    def _look(self, path: Path) -> os.stat_result | None:
        """What a name stands for; None if it is gone or refused."""
        try:
            status = path.lstat()
            if not stat.S_ISLNK(status.st_mode):
                return status
            found = path.stat()
            if not self._follow_links and not _within(path, self._root):
                self._refuse(path, _LEAVES)
                return None
            return found
        except (FileNotFoundError, NotADirectoryError):
            # Removed between listing and looking is of no interest; a link to nothing would wait for ever.
            if path.is_symlink():
                self._refuse(path, _NOTHING)
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                self._refuse(path, _CIRCLE)
            elif not self._follow_links and not _within(path, self._root):
                self._refuse(path, _LEAVES)
            else:
                self._refuse(path, f"cannot be read: {error.strerror}")
            return None

    def _refuse(self, path: Path, reason: str) -> None:
        self.refused[path] = Refused(_name(path, self._landing), reason)

    def _tell_of_table(self, folder: Path, kind: str) -> None:
        reason = (
            f"is a table of {kind}: every file in it is read, those too that the table has replaced or deleted; "
            "deliver an export of the table, or only ever append to it"
        )
        self.doubtful[folder] = Doubtful(_name(folder, self._landing), reason)


def open_regular(path: Path) -> FileIO:
    """Open a plain file for reading; a pipe or device that has taken its place meanwhile is not waited for.

    Raises:
        RefusedError: it is no plain file.
    """
    file = FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode):
        return file
    file.close()
    raise RefusedError(_kind(status))


def ledger_name(path: str) -> str:
    r"""A path below landing as text that PostgreSQL can hold, different for different paths.

    A path of valid UTF-8 is its own name. Any other begins with `//`, which no path below a folder does; in it a byte
    that is no UTF-8 is written `\xhh`, and a backslash is doubled.

    Args:
        path: with `/` between the folders, as the operating system gives it (`os.fsdecode`).
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        # os.fsdecode stands a byte that is no UTF-8 for by a surrogate of that number.
        shown = path.replace("\\", "\\\\")
        return "//" + re.sub(r"[\udc80-\udcff]", lambda byte: rf"\x{ord(byte[0]) - 0xDC00:02x}", shown)
    return path


def _name(path: Path, landing: Path) -> str:
    return ledger_name(path.relative_to(landing).as_posix())


def _within(path: Path, root: str) -> bool:
    """Whether a path, with all links resolved, is below a folder."""
    return Path(os.path.realpath(path)).is_relative_to(root)


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "is not a file")


def _reason_against(status: os.stat_result, name: str) -> str | None:
    """Why what has this status and name is not read; None if it is."""
    if not stat.S_ISREG(status.st_mode):
        return _kind(status)
    if (length := len(name.encode())) > _LONGEST_NAME:
        return f"has a path of {length} bytes, and the ledger takes {_LONGEST_NAME}; give its folders shorter names"
    return None


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}"
