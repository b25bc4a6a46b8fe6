"""Landing in a folder and in an object store: the same names are found, and a file is read as it was described."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.ledger.files import FileLedger
from pipeline_assets.ledger.full_looks import FullLooks
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.ledger.seen_folders import FolderMemory
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.settings import Settings
from pipeline_assets.staging import walking_buckets
from pipeline_assets.staging.landing import Listing
from pipeline_assets.staging.landings import Landing, RemoteFile, RemoteLanding, open_landing
from pipeline_assets.staging.pending import Looker
from pipeline_assets.staging.walking import listing
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.objects import ObjectStore
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import Stat, Store, TooLongError
from pipeline_assets_tests.storage.object_store import put_raw

if TYPE_CHECKING:
    from obstore import ObjectMeta

NAMES = st.sampled_from(
    ["a", "b", "a.txt", "b.txt", "_a", "_day=1", "day=1", ".a", "_SUCCESS", "x.tmp", ".tmp", "x.part", "[1]", "é", "**"]
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PARTS = st.one_of(NAMES, st.sampled_from(["*", "**", "?", "*.txt", "_*", ".*", "[ab]*", "day=*", "[[]1]", "*a"]))
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def landing(place: Store, folder: Path) -> tuple[Landing, Store]:
    values = Settings.for_data_dir(folder, landing_url=place.url if isinstance(place, ObjectStore) else str(place))
    return open_landing(values), place


def scanned(place: Landing, pattern: str) -> Listing:
    return listing(place.walk([pattern]))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(PATHS, max_size=8), pattern=PATTERNS, page=st.sampled_from([1, 2, 1000]))
def test_a_pattern_leads_to_the_same_names_in_a_folder_and_in_an_object_store(
    tmp_path: Path, paths: list[str], pattern: str, page: int
) -> None:
    """The walk through an object store, on a folder, against the walk through that."""
    store = open_store(tmp_path / os.urandom(8).hex())
    for name in paths:
        path = Path(store.locate(name))
        if not path.exists() and not any(above.is_file() for above in path.parents):
            store.put(name, b"")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(walking_buckets, "_PAGE", page)
        remote = scanned(RemoteLanding(store, tmp_path), pattern)
    local, _ = landing(store, tmp_path)
    found = scanned(local, pattern)
    assert [file.name for file in remote.files] == [file.name for file in found.files]


def test_what_hides_is_unfinished_or_only_stands_for_a_folder_is_not_found(store: Store, tmp_path: Path) -> None:
    place, _ = landing(store, tmp_path)
    for name in ("s/1.jsonl", "s/_SUCCESS", "s/.x", "s/2.jsonl.tmp", "s/day=1/3.jsonl", "other/4.jsonl"):
        store.put(name, b"x")
    if store.url.startswith("s3:"):
        # As consoles make folders.
        put_raw(f"{store.url}/s/empty/")
    found = scanned(place, "s/**")
    assert [file.name for file in found.files] == ["s/1.jsonl", "s/day=1/3.jsonl"]
    assert (found.refused, found.doubtful) == ([], [])
    assert [file.name for file in scanned(place, "other/4.jsonl").files] == ["other/4.jsonl"]
    assert scanned(place, "nothing/*").files == []


def test_a_table_that_keeps_a_log_of_its_files_is_told_of(store: Store, tmp_path: Path) -> None:
    place, _ = landing(store, tmp_path)
    for name in ("s/_delta_log/0.json", "s/part-0.parquet", "t/_delta_log/0.json", "t/part-0.parquet"):
        store.put(name, b"x")
    (told,) = scanned(place, "s/*").doubtful
    assert told.name == "s"
    assert "is a table of Delta Lake" in told.reason


def test_a_file_is_read_as_it_was_described(store: Store, tmp_path: Path) -> None:
    place, _ = landing(store, tmp_path)
    content = os.urandom(100_000)
    store.put("s/1.jsonl.gz", content)
    (file,) = scanned(place, "s/*").files
    assert (file.size, file.stamp) == (100_000, place.again(file).stamp)
    assert file.content() == hashlib.sha256(content).hexdigest()
    assert file.path.read_bytes() == content
    assert file.path.name.endswith(".jsonl.gz")
    assert file.unchanged()
    file.release()
    assert file.path.exists() is not isinstance(store, ObjectStore)
    store.delete(["s/1.jsonl.gz"])
    store.put("s/1.jsonl.gz", b"other")
    assert not file.unchanged()
    assert place.again(file).size == 5
    assert place.has("s/1.jsonl.gz")
    store.delete(["s/1.jsonl.gz"])
    assert not place.has("s/1.jsonl.gz")
    assert not file.unchanged()
    for gone in (file.content, lambda: place.again(file)):
        with pytest.raises(FileNotFoundError):
            gone()


def test_a_fetched_file_can_be_read_by_its_owner_alone(s3: str, tmp_path: Path) -> None:
    store = open_store(s3)
    store.put("s/1", b"personal")
    place, _ = landing(store, tmp_path)
    (file,) = scanned(place, "s/*").files
    file.content()
    assert [path.stat().st_mode & 0o777 for path in (file.path, file.path.parent)] == [0o600, 0o700]


def test_an_object_that_is_replaced_while_it_is_fetched_is_not_mixed(s3: str, tmp_path: Path) -> None:
    store = open_store(s3)
    store.put("s/1", b"a" * 20_000_000)
    place, _ = landing(store, tmp_path)
    (file,) = scanned(place, "s/*").files

    class Replacing(ObjectStore):
        """Somebody else replaces the object when a piece of it was read."""

        def _range(self, name: str, meta: "ObjectMeta", start: int, end: int) -> bytes:
            piece = super()._range(name, meta, start, end)
            store.delete(["s/1"])
            store.put("s/1", b"b" * 20_000_000)
            return piece

    assert isinstance(file, RemoteFile)
    assert isinstance(store, ObjectStore)
    replaced = replace(file, store=Replacing(store._place))
    with pytest.raises(FileNotFoundError, match="replaced"):
        replaced.content()


def test_an_object_that_has_no_name_here_is_told_and_what_to_do(s3: str, tmp_path: Path) -> None:
    store = open_store(s3)
    store.put("s/1", b"x")
    put_raw(f"{s3}/s//2")
    place, _ = landing(store, tmp_path)
    (refused,) = scanned(place, "s/*").refused
    assert "s//" in refused.reason
    assert "Rename or delete the object" in refused.reason


class Counting(LocalStore):
    """Knows how often it was listed."""

    lists = 0

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        self.lists += 1
        return super().list(prefix, after=after)


def looker(place: Store, folder: Path, postgres_url: str) -> Looker:
    engine = sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    migrate(engine)
    looks = FullLooks(engine, timedelta(hours=1))
    return Looker(RemoteLanding(place, folder), FileLedger(engine), FolderMemory(engine), looks)


def test_a_look_into_an_object_store_ends_when_its_time_is_over(postgres_url: str, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "landing")
    store.put("s/1", b"x")
    look = looker(store, tmp_path, postgres_url)
    with pytest.raises(TooLongError):
        look.pending("web", "s/*", "v1", seconds=-1)
    assert [file.name for file in look.pending("web", "s/*", "v1", seconds=60).files] == ["s/1"]


def test_one_list_of_an_object_store_tells_what_no_source_takes(postgres_url: str, tmp_path: Path) -> None:
    store = Counting(tmp_path / "landing")
    for name in ("a/1", "b/2", "c/3", "4", "c/.hidden", "c/5.tmp"):
        store.put(name, b"x")
    found = looker(store, tmp_path, postgres_url).unclaimed(["a/*", "**/2", "x/*"])
    assert (found.count, found.named, store.lists) == (2, ["4", "c/3"], 1)
