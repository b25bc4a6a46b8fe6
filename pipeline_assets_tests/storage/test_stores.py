"""What a store does, be it a folder or a bucket."""

import io
import os
import pickle
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.storage import local, objects
from pipeline_assets.storage.opening import open_location, open_store
from pipeline_assets.storage.parquet import parquet_relation, read_metadata, scan_parquet
from pipeline_assets.storage.store import DRAFTS, Store, TooLongError
from pipeline_assets_tests.staging.names import ODD_NAMES

# What an object store takes for a name: no control characters.
NAMES = [name for name in ODD_NAMES if name.isprintable() or "\u202e" in name]
TREE = ["a", "a-b", "a.c", "a/1", "a/10", "a/2/x", "aa/1", "b/1", "Z", "é", "\ue000", "😀"]


def names(store: Store, prefix: str = "", after: str | None = None) -> list[str]:
    return [found.name for found in store.list(prefix, after=after)]


def fill(store: Store, chosen: list[str]) -> None:
    for name in chosen:
        store.put(name, name.encode())


def tree(store: Store) -> list[str]:
    # A folder cannot be called like a file; a bucket takes both. Azurite sorts by UTF-16.
    return {"file": TREE[1:], "s3": TREE, "az": TREE[:-1]}[store.url.partition(":")[0]]


def test_what_is_put_can_be_listed_looked_at_and_read(store: Store) -> None:
    assert names(store) == []
    put = store.put("folder/name", b"content")
    assert (put.name, put.size) == ("folder/name", 7)
    assert store.stat("folder/name") == put
    assert list(store.list()) == [put]
    with store.open("folder/name") as file:
        assert file.read() == b"content"
    assert abs(put.modified.timestamp() - time.time()) < 3600


def test_a_local_file_that_is_put_is_moved(store: Store, tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(b"x" * 100_000)
    store.put("name", content)
    assert not content.exists()
    assert store.open("name").read() == b"x" * 100_000


def test_a_list_is_in_the_order_of_the_names_as_bytes(store: Store) -> None:
    fill(store, tree(store))
    assert names(store) == sorted(tree(store), key=str.encode)


def test_a_list_has_what_begins_with_the_prefix_and_comes_after_a_name(store: Store) -> None:
    fill(store, tree(store))
    whole = sorted(tree(store), key=str.encode)
    for prefix in ("a", "a/", "a/1", "a/2/", "é", "nothing", "nothing/"):
        for after in (None, "a", "a/1", "a/2/", "b", "😀"):
            expected = [name for name in whole if name.startswith(prefix)]
            if after is not None:
                expected = [name for name in expected if name.encode() > after.encode()]
            assert names(store, prefix, after) == expected


def test_a_level_has_the_objects_and_folders_directly_in_a_folder_and_no_others(store: Store) -> None:
    chosen = [*tree(store), f"{DRAFTS}/x"]
    fill(store, chosen)
    for folder in ("", "a", "a/2", "aa", "b", "é", "a/1", "nothing", "a/nothing"):
        start = f"{folder}/" if folder else ""
        below = [name.removeprefix(start) for name in tree(store) if name.startswith(start)]
        for seconds in (None, 60):
            found = store.level(folder, seconds=seconds)
            assert found.folders == sorted({name.partition("/")[0] for name in below if "/" in name}, key=str.encode)
            expected = sorted((start + name for name in below if "/" not in name), key=str.encode)
            assert list(found.objects) == [store.stat(name) for name in expected]
    assert [stat.name for stat in store.level(DRAFTS).objects] == [f"{DRAFTS}/x"]


def test_a_level_that_takes_longer_than_there_is_time_is_given_up(store: Store) -> None:
    fill(store, ["a/1", "a/2"])
    with pytest.raises(TooLongError):
        store.level("a", seconds=-1)


def test_a_name_stands_for_itself(store: Store) -> None:
    # Azure takes a backslash for a slash.
    chosen = [f"folder/{name}" for name in NAMES if "\\" not in name or not store.url.startswith("az:")]
    for name in chosen:
        store.put(name, name.encode())
    assert names(store) == sorted(chosen, key=str.encode)
    for name in chosen:
        assert store.stat(name) is not None
        assert open_location(store.locate(name)).read() == name.encode()
        with pytest.raises(FileExistsError):
            store.put(name, b"y")
    store.delete(chosen[:-1])
    assert names(store) == chosen[-1:]


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a\0b"])
def test_what_is_no_name_is_refused(store: Store, name: str) -> None:
    verbs = [store.stat, store.open, store.locate, lambda name: store.put(name, b""), lambda name: store.delete([name])]
    for verb in verbs + [store.level] * bool(name):
        with pytest.raises(ValueError, match="is no name"):
            verb(name)


def test_the_identity_of_another_content_is_another(store: Store) -> None:
    identities = set()
    for content in (b"one", b"two", b"three"):
        identities.add(store.put("name", content).identity)
        store.delete(["name"])
    assert len(identities) == 3


def test_an_opened_file_is_read_from_any_place(store: Store) -> None:
    content = os.urandom(3_000_000)
    store.put("name", content)
    with store.open("name") as file:
        assert file.seek(-5, io.SEEK_END) == len(content) - 5
        assert file.read() == content[-5:]
        assert file.read() == b""
        file.seek(1_000_003)
        assert file.read(17) == content[1_000_003:1_000_020]
        assert file.tell() == 1_000_020
        file.seek(0)
        assert file.read() == content


def test_what_is_not_there_cannot_be_opened_and_is_none_to_look_at(store: Store) -> None:
    store.put("folder/name", b"x")
    for name in ("nothing", "folder", "folder/name/below", "no/such/folder"):
        assert store.stat(name) is None
        with pytest.raises(FileNotFoundError):
            store.open(name)


def test_nothing_is_put_over_what_is_there(store: Store, tmp_path: Path) -> None:
    store.put("name", b"first")
    content = tmp_path / "content"
    content.write_bytes(b"second")
    for second in (b"second", b"first", content):
        with pytest.raises(FileExistsError):
            store.put("name", second)
    assert store.open("name").read() == b"first"
    assert content.read_bytes() == b"second"
    assert names(store, f"{DRAFTS}/") == []


def test_of_many_who_put_one_name_at_once_one_wins(store: Store) -> None:
    def put(number: int) -> bool:
        try:
            store.put("new folder/name", str(number).encode())
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(put, range(8)))
    assert won.count(True) == 1
    assert store.open("new folder/name").read() == str(won.index(True)).encode()


def test_puts_and_deletes_in_one_folder_do_not_disturb_each_other(store: Store) -> None:
    def put_and_delete(number: int) -> None:
        for _ in range(10):
            store.put(f"folder/below/{number}", b"x")
            store.delete([f"folder/below/{number}"])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(put_and_delete, range(4)))
    assert names(store) == []


def test_deleting_what_is_not_there_is_no_error(store: Store) -> None:
    store.put("folder/one", b"x")
    store.put("folder/two", b"x")
    store.delete(["nothing", "folder/one", "no/such/folder", "folder/one"])
    assert names(store) == ["folder/two"]
    store.delete([])


def test_many_are_listed_and_deleted_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_PAGE", 10)
    chosen = [f"{number:04}" for number in range(45)]
    fill(store, chosen)
    assert names(store) == chosen
    store.delete(name for name in chosen[1:])
    assert names(store) == chosen[:1]


def test_a_store_is_known_by_its_place(store: Store) -> None:
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store == open_store(store.url)
    assert hash(copy) == hash(store)
    store.put("name", b"x")
    assert copy.open("name").read() == b"x"


KILLED = """
    import sys
    from pathlib import Path
    from pipeline_assets.storage.opening import open_store

    print("ready", flush=True)
    store = open_store(sys.argv[1])
    for number in range(10**9):
        scratch = Path(sys.argv[2]) / "scratch"
        scratch.write_bytes(b"x" * 80_000_000)
        store.put(f"{number:04}", scratch)
        store.put(f"{number:04}-small", b"x" * 100_000)
        print(number, flush=True)
"""


@pytest.mark.parametrize(
    "delay", [0.3, pytest.param(0.05, marks=pytest.mark.exhaustive), pytest.param(0.6, marks=pytest.mark.exhaustive)]
)
def test_a_killed_put_leaves_nothing_that_is_seen(store: Store, tmp_path: Path, delay: float) -> None:
    command = [sys.executable, "-c", textwrap.dedent(KILLED), store.url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
    found = list(store.list())
    assert found
    for stat in found:
        assert stat.size == (100_000 if stat.name.endswith("small") else 80_000_000)
    # What it left is found where it is sought, and can be swept.
    store.delete([stat.name for stat in store.list(f"{DRAFTS}/")])
    assert names(store, f"{DRAFTS}/") == []


FRAME = pl.DataFrame({"a": range(100_000), "b": [f"text {number % 997}" for number in range(100_000)]})


def parquet(frame: pl.DataFrame) -> bytes:
    written = io.BytesIO()
    frame.write_parquet(written)
    return written.getvalue()


def test_polars_duckdb_and_pyarrow_read_a_file_by_its_name_and_no_other(store: Store) -> None:
    with duckdb.connect() as connection:
        for number, name in enumerate(NAMES):
            file = store.locate(f"{name} folder/{name}")
            store.put(f"{name} folder/{name}", parquet(pl.DataFrame({"a": [number]})))
            assert scan_parquet([file]).collect().to_dict(as_series=False) == {"a": [number]}
            assert read_metadata(file).num_rows == 1
            relation = parquet_relation(connection, [file])
            assert (relation.columns, relation.fetchall()) == (["a"], [(number,)])


def test_polars_duckdb_and_pyarrow_read_lists_of_files(store: Store) -> None:
    pieces = [FRAME.slice(start, 10_000) for start in range(0, FRAME.height, 10_000)]
    for number, piece in enumerate(pieces):
        store.put(f"table/{number}.parquet", parquet(piece))
    files = [store.locate(f"table/{number}.parquet") for number in range(1, len(pieces))]
    expected = FRAME.slice(10_000)
    assert scan_parquet(files).collect().equals(expected)
    with duckdb.connect() as connection:
        assert parquet_relation(connection, files).pl().sort("a").equals(expected)
        # Again, by a connection that has learnt it, and by a cursor of it.
        with connection.cursor() as cursor:
            assert parquet_relation(cursor, files).aggregate("sum(a)").fetchall() == [(expected["a"].sum(),)]
    assert pq.read_table(store.open("table/3.parquet")).num_rows == 10_000


def test_threads_of_duckdb_that_share_a_large_file_read_their_own_pieces(store: Store, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": range(1_000_000), "b": [f"{number:x}" * 3 for number in range(1_000_000)]})
    frame.write_parquet(tmp_path / "large", compression="uncompressed", row_group_size=20_000)
    store.put("large", tmp_path / "large")
    with duckdb.connect(config={"threads": 8}) as connection:
        for _ in range(3):
            relation = parquet_relation(connection, [store.locate("large")])
            found = relation.aggregate("sum(a), count(distinct b), sum(length(b))").fetchall()
            assert found == [(frame["a"].sum(), 1_000_000, frame["b"].str.len_bytes().sum())]


def test_a_missing_file_is_told_by_its_name(store: Store) -> None:
    store.put("folder/there", parquet(FRAME))
    missing = store.locate("folder/missing")
    with pytest.raises(FileNotFoundError, match="missing"):
        read_metadata(missing)
    with pytest.raises(Exception, match="missing"):
        scan_parquet([store.locate("folder/there"), missing]).collect()
    with duckdb.connect() as connection, pytest.raises(Exception, match="missing"):
        parquet_relation(connection, [missing]).fetchall()


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/"), min_size=1)
PARTS = TEXT.map(lambda text: text[:20]).filter(lambda text: text not in {".", "..", DRAFTS})
TREES = st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), unique=True, max_size=8)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=TREES, data=st.data())
def test_a_folder_lists_as_sorting_all_its_names_would(tmp_path: Path, chosen: list[str], data: st.DataObject) -> None:
    root = tmp_path / os.urandom(8).hex()
    store = local.LocalStore(root)
    there = []
    for name in chosen:
        # A file where another has a folder cannot be.
        if not any(other.startswith(f"{name}/") or name.startswith(f"{other}/") for other in there):
            store.put(name, b"")
            there.append(name)
    there.sort(key=str.encode)
    prefix = data.draw(st.sampled_from([name[:size] for name in ["", *there] for size in range(len(name) + 1)]))
    after = data.draw(st.sampled_from([None, *there, *(f"{name}/" for name in there)]))
    expected = [name for name in there if name.startswith(prefix)]
    if after is not None:
        expected = [name for name in expected if name.encode() > after.encode()]
    assert names(store, prefix, after) == expected
