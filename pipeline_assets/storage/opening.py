"""From a path or URL to its `Store`."""

from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from pipeline_assets.storage.access import SCHEMES
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.objects import ObjectStore
from pipeline_assets.storage.store import Store


def open_store(place: str | Path) -> Store:
    """The store at a place. Nothing is asked or made yet.

    Args:
        place: an absolute path, `file:///…`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`. In
            `file://` odd characters are escaped as in any URL; a prefix is taken as it is written.

    Raises:
        ValueError: it is none of these; the message says what is wrong with it.
    """
    if isinstance(place, Path) or "://" not in place:
        return LocalStore(Path(place))
    scheme, _, rest = place.partition("://")
    if scheme == "file":
        if not rest.startswith("/"):
            raise ValueError(f"{place!r} names another machine or a relative path; write file:///absolute/path.")
        return LocalStore(Path(unquote(rest)))
    if scheme not in SCHEMES:
        raise ValueError(
            f"the scheme {scheme!r} is not known; use a folder, file:///…, "
            f"{', '.join(f'{known}://…' for known in SCHEMES[:-1])} or {SCHEMES[-1]}://…"
        )
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or ":" in bucket:
        # Not quoted, for it may be a password.
        raise ValueError(
            f"a user, password or port does not belong into a {scheme}:// URL; set the variables of the store's own "
            "tools, such as AWS_PROFILE and AWS_ENDPOINT_URL"
        )
    if not bucket or any(part in {"", ".", ".."} for part in prefix.rstrip("/").split("/") if prefix):
        raise ValueError(f"{place!r} is not {scheme}://bucket/prefix.")
    return ObjectStore(place)


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
    return ObjectStore(f"{scheme}://{bucket}").open(name)
