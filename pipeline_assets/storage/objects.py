"""An object store as a `Store`: Amazon S3 and what speaks its language, Google Cloud Storage, Azure Blob Storage."""

import asyncio
import io
import os
import re
import uuid
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from pipeline_assets.storage.access import Access
from pipeline_assets.storage.patience import Patience, patience
from pipeline_assets.storage.store import (
    DRAFTS,
    InvalidNameError,
    Level,
    ReplacedError,
    Stat,
    StoreError,
    TooLongError,
    UnreachableError,
    checked_name,
)
from pipeline_assets.storage_urls import Remote

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore as Client

T = TypeVar("T")

# A put with a condition is one request, for which obstore has the whole content in memory.
_ONE_REQUEST = 64 << 20
# The most that S3 copies in one request.
_LARGEST = 5 << 30
_PAGE = 1000
_READ_AHEAD = 1 << 20
# A word that every store takes for a name: Azure takes no hyphens, some servers in front of stores no underscores.
_PUT_BY = "putby"


class ObjectStore:
    """A bucket, or what is below a prefix in it.

    An object is put by a request that the store refuses where the name is taken (`If-None-Match: *`). A large one is
    uploaded in parts as a draft first, and copied to its name by such a request: no reader ever sees a part of it.

    Args:
        place: where it is.
    """

    def __init__(self, place: Remote) -> None:
        self._place = place
        self._access = Access(place.scheme)
        self._clients: dict[Patience, Client] = {}
        self._is_there = False

    @property
    def url(self) -> str:
        """Of its root."""
        return str(self._place)

    def __str__(self) -> str:
        """The URL, for messages."""
        return self.url

    def __repr__(self) -> str:
        """For debugging."""
        return f"ObjectStore({self.url})"

    def __eq__(self, other: object) -> bool:
        """Whether it is the same place."""
        return isinstance(other, ObjectStore) and other._place == self._place

    def __hash__(self) -> int:
        """By its place."""
        return hash(self._place)

    def __reduce__(self) -> tuple[type["ObjectStore"], tuple[Remote]]:
        """By its place: who unpickles it uses the credentials of their own process."""
        return ObjectStore, (self._place,)

    def locate(self, name: str) -> str:
        """The URL of a name, as Polars and DuckDB take it: without escapes."""
        return f"{self.url}/{checked_name(name)}"

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        """See `Store.list`. Objects that stand for folders, as some tools make them, are passed over."""
        import obstore

        # The library lists folders, so that what only begins a name is compared here.
        folder = prefix.rpartition("/")[0]
        least = _key(after) if after is not None else b""
        start = max(least, _key(prefix[:-1]))
        wanted = _key(prefix)
        with self._explained(prefix, "listed"):
            for page in obstore.list(
                self._client,
                folder or None,
                offset=start.decode() if start else None,
                chunk_size=_PAGE,
            ):
                for found in page:
                    name = found["path"]
                    key = _key(name)
                    if key <= least or not key.startswith(wanted):
                        if key > wanted and not key.startswith(wanted):
                            return
                        continue
                    if name.startswith(f"{DRAFTS}/") and not prefix.startswith(f"{DRAFTS}/"):
                        continue
                    # The library cuts the slash off a folder's name, under which there is no object then.
                    if found["size"] or self.stat(name) is not None:
                        yield _stat(name, found)

    def level(self, folder: str = "", *, seconds: float | None = None) -> Level:
        """See `Store.level`."""
        import obstore

        with self._explained(checked_name(folder) if folder else "", "listed"):
            client, prefix = self._client, folder or None
            if seconds is None:
                found = obstore.list_with_delimiter(client, prefix)
            else:
                found = _within(seconds, lambda: obstore.list_with_delimiter_async(client, prefix))
        start = f"{folder}/" if folder else ""
        folders = {name.removeprefix(start) for name in found["common_prefixes"]} - ({DRAFTS} if not folder else set())
        # Beside them is the object that stands for the folder itself, where some tool made one.
        objects = [_stat(each["path"], each) for each in found["objects"] if each["path"].startswith(start)]
        return Level(sorted(folders, key=_key), sorted(objects, key=lambda stat: _key(stat.name)))

    def stat(self, name: str) -> Stat | None:
        """See `Store.stat`."""
        import obstore

        with self._explained(checked_name(name), "looked at"):
            try:
                return _stat(name, obstore.head(self._client, name))
            except FileNotFoundError as error:
                self._refuse_missing_bucket(error)
                return None

    def open(self, name: str) -> BinaryIO:
        """See `Store.open`. Should the object be replaced while it is read, reading fails and mixes nothing."""
        return cast(BinaryIO, io.BufferedReader(_File(self.pieces(name)), _READ_AHEAD))

    def pieces(self, name: str) -> "Pieces":
        """An object, of which any piece can be read, also by several threads.

        Raises:
            FileNotFoundError: it is not there.
        """
        import obstore

        with self._explained(checked_name(name), "read"):
            try:
                return Pieces(self, name, obstore.head(self._client, name))
            except FileNotFoundError as error:
                self._refuse_missing_bucket(error)
                raise FileNotFoundError(f"{self.locate(name)} does not exist.") from None

    def put(self, name: str, content: Path | bytes) -> Stat:
        """See `Store.put`. A file is removed when it is stored."""
        import obstore

        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size > _LARGEST:
            raise StoreError(f"{self.locate(name)} cannot be written: it has {size} bytes, and the most is 5 GiB.")
        with self._explained(checked_name(name), "written"):
            try:
                if size <= _ONE_REQUEST:
                    self._create(name, content if isinstance(content, bytes) else content.read_bytes())
                else:
                    self._create_by_parts(name, content)
                stored = obstore.head(self._client, name)
            except FileNotFoundError as error:
                self._refuse_missing_bucket(error)
                raise StoreError(f"{self.locate(name)} cannot be written: {_HINTS[_NO_BUCKET]}") from None
        if isinstance(content, Path):
            content.unlink(missing_ok=True)
        return _stat(name, stored)

    def delete(self, names: Iterable[str]) -> None:
        """See `Store.delete`."""
        import obstore

        chosen = [checked_name(name) for name in names]
        with self._explained(chosen[0] if len(chosen) == 1 else "", "deleted from"):
            for start in range(0, len(chosen), _PAGE):
                try:
                    obstore.delete(self._client, chosen[start : start + _PAGE])
                except FileNotFoundError as error:
                    self._refuse_missing_bucket(error)

    def _create(self, name: str, content: bytes) -> None:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        # Where an answer is lost the library asks again, and finds the name taken by itself.
        me = uuid.uuid4().hex
        try:
            obstore.put(self._client, name, content, mode="create", attributes={_PUT_BY: me}, use_multipart=False)
        except AlreadyExistsError:
            if obstore.get(self._client, name).attributes.get(_PUT_BY) != me:
                raise FileExistsError(f"{self.locate(name)} exists already.") from None

    def _create_by_parts(self, name: str, content: Path | bytes) -> None:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        draft = f"{DRAFTS}/{uuid.uuid4().hex}"
        try:
            obstore.put(self._client, draft, content)
            obstore.copy(self._client, draft, name, overwrite=False)
        except AlreadyExistsError:
            raise FileExistsError(f"{self.locate(name)} exists already.") from None
        finally:
            self.delete([draft])

    def _range(self, name: str, meta: "ObjectMeta", start: int, end: int) -> bytes:
        import obstore

        with self._explained(name, "read"):
            options: dict[str, Any] = {"range": (start, end)}
            if meta["e_tag"]:
                options["if_match"] = meta["e_tag"]
            try:
                return obstore.get(self._client, name, options=cast(Any, options)).bytes().to_bytes()
            except FileNotFoundError as error:
                self._refuse_missing_bucket(error)
                raise ReplacedError(f"{self.locate(name)} was removed while it was read.") from None

    @property
    def _client(self) -> "Client":
        wanted = patience()
        if wanted not in self._clients:
            self._clients[wanted] = self._access.client(self._place, wanted)
        return self._clients[wanted]

    def _refuse_missing_bucket(self, error: Exception) -> None:
        """Tell a bucket that is missing from an object that is, which look alike where only its head was asked for."""
        if _code(error) == _NO_BUCKET:
            raise StoreError(f"{self.url} cannot be used: {_HINTS[_NO_BUCKET]}") from None
        if not self._is_there:
            import obstore

            next(iter(obstore.list(self._client, chunk_size=1)), None)
            self._is_there = True

    @contextmanager
    def _explained(self, name: str, done: str) -> Generator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except BaseError as error:
            place = f"{self.url}/{name}".rstrip("/")
            # The library's own message may quote the store's answer, and that the token of the request.
            kind, reason = _explain(error, self._access)
            raise kind(f"{place} cannot be {done}: {reason}") from None


class Pieces:
    """An object as it was when it was looked at; of another content under its name nothing is read."""

    def __init__(self, store: ObjectStore, name: str, meta: "ObjectMeta") -> None:
        self._store, self._name, self._meta = store, name, meta

    @property
    def size(self) -> int:
        """Bytes."""
        return self._meta["size"]

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`, or to where the object ends.

        Raises:
            StoreError: it is not there any more, or was replaced.
        """
        end = min(end, self.size)
        return self._store._range(self._name, self._meta, start, end) if start < end else b""


class _File(io.RawIOBase):
    """An object as a file, of which only what is read is fetched."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        self._pieces = pieces
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._pieces.size}[whence]
        if base + offset < 0:
            raise OSError(f"{base + offset} is no place in a file.")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        content = self._pieces.read(self._at, self._at + len(view))
        view[: len(content)] = content
        self._at += len(content)
        return len(content)


_NO_BUCKET = "NoSuchBucket"
_KEYS = "Correct the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)."
_HINTS = {
    _NO_BUCKET: "there is no such bucket. Make it, or correct the URL.",
    "ContainerNotFound": "there is no such container. Make it, or correct the URL.",
    "AccessDenied": "access is denied. These credentials need the rights to list, read, write and delete there.",
    "InvalidAccessKeyId": f"the access key is not known there. {_KEYS}",
    "SignatureDoesNotMatch": f"the secret does not belong to the access key. {_KEYS}",
    "ExpiredToken": f"the token has expired. {_KEYS}",
    "InvalidToken": f"the token is not valid. {_KEYS}",
    "PermanentRedirect": "the bucket is in another region. Set AWS_REGION to it.",
    "AuthorizationHeaderMalformed": "the bucket is in another region. Set AWS_REGION to it.",
    "NotImplemented": "the store knows no conditional writes (If-None-Match), without which nothing is safe in it.",
    "SlowDown": "the store asks to be slower, again and again. Start again later.",
}
_STATUS_HINTS = {
    401: f"the credentials are refused. {_KEYS}",
    403: "access is denied. These credentials need the rights to list, read, write and delete there.",
    404: "it is not there.",
    412: "it was replaced meanwhile. Objects are written once; deliver the new content under a new name.",
}


def _code(error: Exception) -> str:
    """The word by which a store says what is wrong; empty if it says none."""
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else ""


def _explain(error: Exception, access: Access) -> tuple[type[StoreError], str]:
    """The kind of an error, and what is wrong and what to do, without anything of the request."""
    from obstore.exceptions import InvalidPathError

    text = str(error)
    if isinstance(error, InvalidPathError):
        return InvalidNameError, f"{text.splitlines()[0]}. Rename or delete the object."
    code = _code(error)
    status = re.search(r"status code: (\d{3})", text)
    number = int(status[1]) if status else 0
    kind = UnreachableError if number >= 500 or number == 429 else ReplacedError if number == 412 else StoreError
    if hint := _HINTS.get(code):
        return kind, hint
    if access.is_about_credentials(text):
        return StoreError, access.no_credentials
    if status:
        said = f"the store answered {number} {code}".rstrip()
        return kind, f"{said}: {_STATUS_HINTS.get(number, 'see its own log, and start again.')}"
    return UnreachableError, (
        f"the store at {access.endpoint} cannot be reached, or did not answer in time. See that it runs and that this "
        "machine may reach it, and start again."
    )


def _within(seconds: float, ask: Callable[[], Awaitable[T]]) -> T:
    """What a question of many requests gives, of which none is sent any more when the time is over.

    Raises:
        TooLongError: it is.
    """

    async def asked() -> T:
        try:
            return await asyncio.wait_for(ask(), seconds)
        except TimeoutError:
            raise TooLongError from None

    # Whoever asks may be in a loop of their own, as in a notebook.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(asked())).result()


def _key(name: str) -> bytes:
    return name.encode()


def _stat(name: str, meta: "ObjectMeta") -> Stat:
    tag = meta["e_tag"]
    # Azure's lists leave the quotes away that belong to it.
    quoted = f'"{tag}"' if tag and not tag.endswith('"') else tag
    parts = (meta["size"], quoted, meta["version"]) if quoted else (meta["size"], meta["last_modified"])
    return Stat(name, meta["size"], meta["last_modified"], ":".join(str(part) for part in parts if part is not None))
