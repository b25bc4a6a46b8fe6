"""A store that is a local folder."""

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pipeline_assets.private import make_file, make_folder, protect
from pipeline_assets.storage.store import Stat


class LocalStore:
    """A local folder; it need not be there before something is put into it.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self.url = self._root.as_uri()

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        """See `Store.list`."""
        folder = prefix.rpartition("/")[0]
        for name in self._below(folder):
            if name.startswith(prefix) and (after is None or name > after) and (found := self.stat(name)):
                yield found

    def stat(self, name: str) -> Stat | None:
        """See `Store.stat`."""
        try:
            found = (self._root / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        identity = f"{found.st_size}-{found.st_ino}-{found.st_mtime_ns}-{found.st_ctime_ns}"
        return Stat(name, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC), identity)

    def locate(self, name: str) -> str:
        """See `Store.locate`."""
        return str(self._root / name)

    def open(self, name: str) -> BinaryIO:
        """See `Store.open`."""
        return (self._root / name).open("rb")

    def put(self, name: str, content: Path | bytes) -> Stat:
        """See `Store.put`."""
        final = self._root / name
        make_folder(final.parent)
        draft = final.with_name(f".{uuid.uuid4().hex}")
        try:
            if isinstance(content, Path):
                try:
                    content.rename(draft)
                except OSError:
                    shutil.copyfile(content, make_file(draft))
            else:
                make_file(draft).write_bytes(content)
            protect(draft)
            _sync(draft)
            # Unlike a rename it fails where something has the name.
            os.link(draft, final)
        finally:
            draft.unlink(missing_ok=True)
        # A folder made for this file is lost with a power cut unless the folder above knows it.
        folder = final.parent
        while folder.is_relative_to(self._root):
            _sync(folder)
            folder = folder.parent
        found = self.stat(name)
        assert found is not None  # noqa: S101
        return found

    def delete(self, names: Iterable[str]) -> None:
        """See `Store.delete`."""
        for name in names:
            with suppress(FileNotFoundError):
                (self._root / name).unlink()

    def _below(self, folder: str) -> Iterator[str]:
        """Names of the files below a folder, in order."""
        try:
            entries = sorted(os.scandir(self._root / folder), key=lambda entry: entry.name + "/" * entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(name)
            else:
                yield name


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
