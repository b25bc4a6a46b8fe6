"""A local folder as a `Store`: private, durable, and never written over."""

import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pipeline_assets.durable import sync
from pipeline_assets.private import make_file, make_folder, protect
from pipeline_assets.storage.store import DRAFTS, Level, Stat, StoreError, TooLongError, checked_name

# Mounted buckets and the file systems of other operating systems know no links.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
# A folder that was empty may be removed at the moment in which something is put into it.
_ATTEMPTS = 20
_PIECE = 1 << 20
_MISSING = (FileNotFoundError, NotADirectoryError)
_HINTS = {
    errno.EACCES: "Let this user read and write there.",
    errno.EPERM: "Let this user read and write there.",
    errno.EROFS: "It can only be read; mount it for writing, or name another folder.",
    errno.ENOSPC: "Make room, and start again.",
    errno.EDQUOT: "Make room, and start again.",
    errno.ENAMETOOLONG: "Give its folders shorter names.",
    errno.ELOOP: "A symbolic link in it leads in a circle; remove it.",
    errno.ENOTDIR: "A file is where a folder is needed; remove it.",
    errno.EXDEV: "All folders of it are to be on one file system; put the whole of it there.",
}


class LocalStore:
    """A folder; it is made when something is put into it.

    What is put lies in a hidden folder of drafts until it is whole and on the disk, and gets its name by a link, which
    fails where something has it. Where links are not known a rename does it, after a look; then two writers of one name
    at one moment are not told apart.

    Args:
        root: the absolute folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def url(self) -> str:
        """The folder as `file:///…`."""
        return self.root.as_uri()

    def __str__(self) -> str:
        """The folder, for messages."""
        return str(self.root)

    def __repr__(self) -> str:
        """For debugging."""
        return f"LocalStore({self.root})"

    def __eq__(self, other: object) -> bool:
        """Whether it is the same folder."""
        return isinstance(other, LocalStore) and other.root == self.root

    def __hash__(self) -> int:
        """By its folder."""
        return hash(self.root)

    def locate(self, name: str) -> str:
        """The absolute path of a name."""
        return str(self._path(name))

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        """See `Store.list`. Symbolic links are followed, unless they lead in a circle or nowhere."""
        folder = prefix.rpartition("/")[0]
        if folder:
            checked_name(folder)
        top = self.root / folder
        with self._explained(top, "listed"), suppress(*_MISSING):
            status = top.stat()
            yield from self._below(top, folder, prefix, after, ((status.st_dev, status.st_ino),))

    def level(self, folder: str = "", *, seconds: float | None = None) -> Level:
        """See `Store.level`. Links are followed as by `list`; folders may be empty."""
        deadline = None if seconds is None else time.monotonic() + seconds
        top = self._path(folder) if folder else self.root
        folders: list[str] = []
        objects: list[Stat] = []
        with self._explained(top, "listed"), suppress(*_MISSING):
            above = [top, *(each for each in top.parents if each.is_relative_to(self.root))]
            way = {(status.st_dev, status.st_ino) for status in (each.stat() for each in above)}
            with os.scandir(top) as entries:
                for entry in entries:
                    if deadline is not None and time.monotonic() > deadline:
                        raise TooLongError
                    status = _status(entry)
                    if status is None or (not folder and entry.name == DRAFTS):
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        folders += [entry.name] if (status.st_dev, status.st_ino) not in way else []
                    elif stat.S_ISREG(status.st_mode):
                        objects.append(_stat(f"{folder}/{entry.name}" if folder else entry.name, status))
        return Level(sorted(folders, key=os.fsencode), sorted(objects, key=lambda found: os.fsencode(found.name)))

    def stat(self, name: str) -> Stat | None:
        """See `Store.stat`."""
        path = self._path(name)
        with self._explained(path, "looked at"), suppress(*_MISSING):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                return _stat(name, status)
        return None

    def open(self, name: str) -> BinaryIO:
        """See `Store.open`. A pipe or device under the name is not waited for."""
        path = self._path(name)
        with self._explained(path, "read"):
            try:
                file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
            except (NotADirectoryError, IsADirectoryError):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                file.close()
                raise StoreError(f"{path} is not a file; remove it.")
            return file

    def put(self, name: str, content: Path | bytes) -> Stat:
        """See `Store.put`. A file of the same file system gets the name itself, and loses its own."""
        path = self._path(name)
        with self._explained(path, "written"):
            for _ in range(_ATTEMPTS):
                try:
                    return self._put(name, path, content)
                except FileNotFoundError:
                    if isinstance(content, Path) and not content.exists():
                        raise
            raise StoreError(f"{path} cannot be written: its folder is removed again and again by somebody else.")

    def delete(self, names: Iterable[str]) -> None:
        """See `Store.delete`. Folders that are empty then go as well."""
        for name in names:
            path = self._path(name)
            with self._explained(path, "deleted"), suppress(*_MISSING):
                path.unlink()
                with suppress(OSError):
                    for folder in path.parents:
                        if folder == self.root:
                            break
                        folder.rmdir()

    def _put(self, name: str, path: Path, content: Path | bytes) -> Stat:
        _make_durable(path.parent)
        if isinstance(content, bytes) or not _moved(content, path):
            draft = self._draft(content)
            try:
                sync(draft)
                _name(draft, path)
            finally:
                draft.unlink(missing_ok=True)
        if isinstance(content, Path):
            content.unlink(missing_ok=True)
        # The group's rights are those of the folder that it is in now.
        protect(path)
        sync(path.parent)
        return _stat(name, path.stat())

    def _draft(self, content: Path | bytes) -> Path:
        draft = make_file(make_folder(self.root / DRAFTS) / uuid.uuid4().hex)
        try:
            if isinstance(content, bytes):
                draft.write_bytes(content)
            else:
                with content.open("rb") as source, draft.open("wb") as target:
                    shutil.copyfileobj(source, target, _PIECE)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return draft

    def _below(
        self, folder: Path, above: str, prefix: str, after: str | None, way: tuple[tuple[int, int], ...]
    ) -> Iterator[Stat]:
        start = f"{above}/" if above else ""
        with os.scandir(folder) as entries:
            # The order is that of the whole names, in which what is in a folder begins with its name and a slash.
            found = sorted((os.fsencode(start + entry.name + "/" * _is_folder(entry)), entry) for entry in entries)
        least = os.fsencode(after) if after is not None else b""
        wanted = os.fsencode(prefix)
        for whole, entry in found:
            is_folder = whole.endswith(b"/")
            if not (whole.startswith(wanted) or (is_folder and wanted.startswith(whole))):
                continue
            if is_folder:
                if not above and entry.name == DRAFTS and not wanted.startswith(whole):
                    continue
                if least > whole and not least.startswith(whole):
                    continue
                status = _status(entry)
                identity = (status.st_dev, status.st_ino) if status else None
                if identity is not None and identity not in way:
                    with suppress(*_MISSING):
                        yield from self._below(folder / entry.name, start + entry.name, prefix, after, (*way, identity))
            elif after is None or whole > least:
                status = _status(entry)
                if status is not None and stat.S_ISREG(status.st_mode):
                    yield _stat(start + entry.name, status)

    def _path(self, name: str) -> Path:
        return self.root / PurePosixPath(checked_name(name))

    @contextmanager
    def _explained(self, path: Path, done: str) -> Generator[None]:
        try:
            yield
        except (FileNotFoundError, FileExistsError, TooLongError):
            raise
        except OSError as error:
            hint = _HINTS.get(error.errno or 0, "")
            raise StoreError(f"{path} cannot be {done}: {error.strerror or error}. {hint}".rstrip()) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link in a circle.
        return False


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """What an entry is; None if it is gone by now, or a link to nothing or in a circle."""
    try:
        return entry.stat()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            raise
        return None


def _moved(content: Path, path: Path) -> bool:
    """Give a file its name, if it is on the same file system."""
    sync(protect(content))
    try:
        _name(content, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _name(source: Path, path: Path) -> None:
    try:
        # Unlike a rename it fails where something has the name.
        os.link(source, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        source.rename(path)


def _make_durable(folder: Path) -> None:
    """Make a folder and those above it that are missing, so that they survive a power cut."""
    missing = []
    for above in (folder, *folder.parents):
        if above.is_dir():
            break
        missing.append(above)
    try:
        make_folder(folder)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    for made in missing:
        sync(made.parent)


def _stat(name: str, status: os.stat_result) -> Stat:
    identity = f"{status.st_size}:{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}"
    return Stat(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC), identity)
