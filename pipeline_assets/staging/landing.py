"""What lies in landing: which files belong to a source, and whether one has changed since it was read."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path, PurePath, PurePosixPath

# Suffixes under which uploaders keep unfinished files; they are renamed when complete.
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".inprogress", "._COPYING_")
ANY_FOLDERS = "**"
_WILD = re.compile(r"[*?\[]")
LEAVES = (
    "is a symbolic link that leaves landing; move or copy what it points to into landing, "
    "or set PIPELINE_FOLLOW_LINKS=true"
)
"""Why a link that leaves landing is not read."""
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
TABLE_LOGS = {"_delta_log": "Delta Lake", ".hoodie": "Apache Hudi"}


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


def is_unfinished(name: str) -> bool:
    """Whether a file is called like an unfinished upload."""
    point = name.rfind(".")
    return point > 0 and name[point:] in _UNFINISHED


def is_wild(part: str) -> bool:
    """Whether a part of a pattern matches more than one name."""
    return bool(_WILD.search(part))


def parts_of(pattern: str) -> list[str]:
    """The parts of a pattern: no `**` follows another, which means the same, and none is the last."""
    parts = PurePosixPath(pattern).parts
    before = ["", *parts]
    found = [part for part, last in zip(parts, before, strict=False) if (part, last) != (ANY_FOLDERS, ANY_FOLDERS)]
    return [*found, "*"] if found and found[-1] == ANY_FOLDERS else found


def is_passed_over(path: PurePath) -> bool:
    """Whether a file is hidden, lies in a hidden folder or is called like an unfinished upload."""
    return is_unfinished(path.name) or any(map(is_hidden, path.parts))


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
        if not follow_links and not is_within(path, os.path.realpath(landing)):
            raise RefusedError(LEAVES)
        status = path.stat()
        name = _name(path, landing)
        if reason := reason_against(status, name):
            raise RefusedError(reason)
        return cls(path, name, stamp_of(status), status.st_mtime, status.st_size)

    def unchanged(self) -> bool:
        """Whether the file is still the one described."""
        try:
            return stamp_of(self.path.stat()) == self.stamp
        except OSError:
            # Gone, or not to be looked at any more: whoever asks again is told why, of this file alone.
            return False

    def content(self) -> str:
        """SHA-256 of the bytes, hex."""
        with open_regular(self.path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def release(self) -> None:
        """Nobody reads the file any more."""


@dataclass
class Listing:
    """What a pattern leads to in landing.

    Attributes:
        files: the finished files, sorted by name.
        refused: what is not read, sorted by name.
        doubtful: folders that are read and may hold more than is meant, sorted by name.
    """

    files: list[LandingFile] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    doubtful: list[Doubtful] = field(default_factory=list)

    def in_order(self) -> "Listing":
        """The same, sorted."""
        return Listing(
            sorted(self.files, key=lambda file: file.name),
            sorted(self.refused, key=lambda refused: refused.name),
            sorted(self.doubtful, key=lambda doubtful: doubtful.name),
        )


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


def path_of(name: str) -> str:
    """The path below landing, as the operating system takes it, of what the ledger knows by a name (`ledger_name`)."""
    if not name.startswith("//"):
        return name
    return re.sub(
        r"\\(?:\\|x([0-9a-f]{2}))",
        lambda escape: chr(0xDC00 + int(escape[1], 16)) if escape[1] else "\\",
        name[2:],
    )


def _name(path: Path, landing: Path) -> str:
    return ledger_name(path.relative_to(landing).as_posix())


def is_within(path: str | Path, root: str) -> bool:
    """Whether a path, with all links resolved, is below a folder."""
    return Path(os.path.realpath(path)).is_relative_to(root)


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "is not a file")


def reason_against(status: os.stat_result, name: str) -> str | None:
    """Why what has this status and name is not read; None if it is."""
    if not stat.S_ISREG(status.st_mode):
        return _kind(status)
    return reason_against_name(name)


def reason_against_name(name: str) -> str | None:
    """Why what has this name is not read; None if it is."""
    if (length := len(name.encode())) > _LONGEST_NAME:
        return f"has a path of {length} bytes, and the ledger takes {_LONGEST_NAME}; give its folders shorter names"
    return None


def table_with_a_log(name: str, kind: str) -> Doubtful:
    """What is told of a folder that is a table of some kind."""
    return Doubtful(
        name,
        f"is a table of {kind}: every file in it is read, those too that the table has replaced or deleted; "
        "deliver an export of the table, or only ever append to it",
    )


def stamp_of(status: os.stat_result) -> str:
    """Size, inode and times of a file; see `LandingFile`."""
    return f"{status.st_size}:{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}"
