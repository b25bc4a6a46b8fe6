"""From a path or URL to its `Store`, or to one file."""

from pathlib import Path
from typing import BinaryIO

from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.objects import ObjectStore
from pipeline_assets.storage.store import Store
from pipeline_assets.storage_urls import SCHEMES, Remote, parse_place


def open_store(place: str | Path) -> Store:
    """The store at a place. Nothing is asked or made yet.

    Args:
        place: an absolute path or a URL, see `storage_urls.parse_place`.

    Raises:
        ValueError: it is neither; the message says what is wrong with it.
    """
    found = parse_place(place) if isinstance(place, str) else place
    return LocalStore(found) if isinstance(found, Path) else ObjectStore(found)


def remote_scheme(file: str | Path) -> str | None:
    """The scheme of a file that is in an object store, as `Store.locate` names it; None of a local one."""
    if isinstance(file, Path):
        return None
    scheme, separator, _ = file.partition("://")
    return scheme if separator and scheme in SCHEMES else None


def open_location(file: str | Path) -> BinaryIO:
    """A file for reading, as `Store.locate` names it.

    Raises:
        FileNotFoundError: it is not there.
    """
    if remote_scheme(file) is None:
        path = Path(file)
        return LocalStore(path.parent).open(path.name)
    scheme, _, place = str(file).partition("://")
    bucket, _, name = place.partition("/")
    return ObjectStore(Remote(scheme, bucket)).open(name)
