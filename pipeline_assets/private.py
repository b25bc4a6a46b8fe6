"""Folders and files that only their owner can read: the one place that makes them and sets their modes.

Events are personal data, and what a process writes is readable by everybody on many machines (umask 022). So folders
are made with the mode 0700 and files with 0600, whatever the umask is.

A folder whose set-group-ID bit is set (`chmod 2770 lake`) is shared with its group on purpose, as everywhere on Unix:
folders and files that are made in it have its rights for the group as well, and never any for others. Nobody else's
folders and files are ever changed, nor files in landing.
"""

import errno
import logging
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline_assets.settings import Settings
from pipeline_assets.storage_urls import parse_place

_FOLDER = 0o700
_FILE = 0o600
_GROUP = 0o070
_OTHERS = 0o007
_WRITE = 0o022
_READ_WRITE = 0o066
# Mounted buckets and the file systems of other operating systems know no modes; some can only be read.
_NO_MODES = {errno.EROFS, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

_log = logging.getLogger(__name__)


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing; one that is there keeps its mode.

    Raises:
        OSError: it cannot be made, or something else is in its place.
    """
    missing: list[Path] = []
    for folder in (path, *path.parents):
        if folder.is_dir():
            break
        missing.append(folder)
    for folder in reversed(missing):
        try:
            folder.mkdir(_FOLDER)
        except FileExistsError:
            # Another process was first.
            if not folder.is_dir():
                raise
        else:
            _set_mode(folder, _FOLDER | _group_rights(folder.parent))
    return path


def make_file(path: Path) -> Path:
    """Make an empty file, for somebody else to write into: opened by its name it keeps its mode.

    Raises:
        FileExistsError: something is in its place.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _FILE))
    if rights := _group_rights(path.parent):
        _set_mode(path, _FILE | rights)
    return path


def protect(path: Path) -> Path:
    """Give a file that somebody else has made for us the mode of those that are made here."""
    _set_mode(path, _FILE | _group_rights(path.parent))
    return path


@contextmanager
def protected(*paths: Path) -> Generator[None]:
    """While others write files: those that are missing are made first, and what they replace is private again."""
    for path in paths:
        make_folder(path.parent)
        with suppress(FileExistsError):
            make_file(path)
    try:
        yield
    finally:
        for path in paths:
            with suppress(FileNotFoundError):
                protect(path)


def tighten(settings: Settings, marker: str) -> None:
    """Make a deployment private that was made by a version that was not; a glance where it is.

    Landing itself is closed where it is in the data folder and nobody else may write into it, for then nobody else
    delivers there. The data folder may still be passed through, which shows nothing: those who deliver have to, and
    root's embedded PostgreSQL.

    Args:
        settings: where the deployment is.
        marker: name of what is in the lake's folder if it is a lake, and not a folder of somebody else that is to
            become one.
    """
    data = settings.data_dir
    lake = parse_place(settings.lake_url)
    if isinstance(lake, Path) and (lake / marker).exists():
        _tighten(lake.resolve())
    _tighten(data / "dagster")
    _tighten(settings.scratch_dir)
    for name in ("lock", "users", "server", "stay"):
        _tighten(settings.postgres_dir.with_name(f"{settings.postgres_dir.name}.{name}"))
    landing = parse_place(settings.landing_url)
    if isinstance(landing, Path) and landing.is_relative_to(data):
        with suppress(OSError):
            found = landing.stat()
            if _is_own(found) and not found.st_mode & _WRITE:
                _narrow(landing, found, _kept_from(found))
    with suppress(OSError):
        found = data.stat()
        if _is_own(found):
            _narrow(data, found, _READ_WRITE & _kept_from(found))


def _tighten(path: Path, wide: int = _GROUP | _OTHERS) -> None:
    """Take the rights of others from a file or folder of this user and from all below; what is private is skipped.

    A folder comes after what is in it, so that one that is private says that the rest is.
    """
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) or not (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)):
            return
        wide = _kept_from(found) if stat.S_ISDIR(found.st_mode) else wide
        if _is_own(found) and not found.st_mode & wide:
            return
        if stat.S_ISDIR(found.st_mode):
            for inner in path.iterdir():
                _tighten(inner, wide)
        if _is_own(found):
            _narrow(path, found, wide)
    except OSError as error:
        # Gone meanwhile, or not to be looked at: then it is none of ours.
        _log.debug("%s keeps its mode: %s", path, error.strerror)


def _kept_from(folder: os.stat_result) -> int:
    """The rights that nobody but the owner, and the group that a folder is shared with, may have."""
    return _OTHERS if folder.st_mode & stat.S_ISGID else _GROUP | _OTHERS


def _narrow(path: Path, found: os.stat_result, bits: int) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if mode & bits:
        _set_mode(path, mode & ~bits)


def _is_own(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid()


def _group_rights(folder: Path) -> int:
    """What the group may do with what is made in a folder; for folders with the bit that hands this on."""
    mode = folder.stat().st_mode
    return mode & _GROUP | stat.S_ISGID if mode & stat.S_ISGID else 0


def _set_mode(path: Path, mode: int) -> None:
    if not path.is_dir():
        mode &= 0o666
    try:
        if stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise
        _log.debug("%s keeps its mode: %s", path, error.strerror)
