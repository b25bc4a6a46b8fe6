"""What lies in landing: which files belong to a source, and whether one has changed since it was read."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Suffixes under which uploaders keep unfinished files; they are renamed when complete.
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".inprogress")


@dataclass(frozen=True)
class LandingFile:
    """A file in landing.

    Attributes:
        path: where it is.
        name: its path below landing, with forward slashes; this is how the ledger knows it.
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
    def at(cls, path: Path, landing: Path) -> "LandingFile":
        """Describe a file as it is now."""
        status = path.stat()
        # A name need not be UTF-8, but text in the database is.
        name = os.fsencode(path.relative_to(landing).as_posix()).decode("utf-8", "backslashreplace")
        return cls(path, name, _stamp(status), status.st_mtime, status.st_size)

    def unchanged(self) -> bool:
        """Whether the file is still the one described."""
        try:
            return _stamp(self.path.stat()) == self.stamp
        except FileNotFoundError:
            return False

    def content(self) -> str:
        """SHA-256 of the bytes, hex."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def scan(landing: Path, pattern: str) -> Iterator[LandingFile]:
    """The finished files in landing that match a glob pattern, sorted by name.

    Hidden files and files with a suffix of an unfinished upload are passed over.
    """
    if not landing.is_dir():
        return
    for path in sorted(landing.glob(pattern)):
        hidden = any(part.startswith(".") for part in path.relative_to(landing).parts)
        if hidden or path.suffix in _UNFINISHED:
            continue
        try:
            if path.is_file():
                yield LandingFile.at(path, landing)
        except FileNotFoundError:
            # Removed between listing and looking; a removed file is no longer of interest.
            continue


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def fsync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
