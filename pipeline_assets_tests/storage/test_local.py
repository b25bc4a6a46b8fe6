"""What is particular to local folders: durable, private, and never written over."""

import errno
import os
import stat
from pathlib import Path

import pytest

from pipeline_assets.durable import sync
from pipeline_assets.storage import local
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.store import DRAFTS, StoreError
from pipeline_assets_tests.staging.names import ODD_BYTES


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_put_can_be_read_by_its_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = LocalStore(tmp_path / "lake")
        (tmp_path / "moved").write_bytes(b"x")
        store.put("a/b/moved", tmp_path / "moved")
        store.put("a/b/written", b"x")
    finally:
        os.umask(before)
    assert [mode(path) for path in (store.root, store.root / "a", store.root / "a/b", store.root / DRAFTS)] == [
        0o700
    ] * 4
    assert [mode(store.root / "a/b" / name) for name in ("moved", "written")] == [0o600] * 2


def test_a_folder_that_is_shared_with_its_group_shares_what_is_put_into_it(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    lake.chmod(0o2770)
    store = LocalStore(lake)
    (tmp_path / "moved").write_bytes(b"x")
    store.put("a/moved", tmp_path / "moved")
    store.put("a/written", b"x")
    assert mode(lake / "a") == 0o2770
    assert [mode(lake / "a" / name) for name in ("moved", "written")] == [0o660] * 2


def test_content_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the order of calls: the file, then the link, then its folder and those that were made."""
    done: list[str] = []
    link = os.link

    def synced(path: Path) -> None:
        done.append(f"sync {'draft' if DRAFTS in path.parts and path.is_file() else path.relative_to(tmp_path)}")
        sync(path)

    def linked(source: Path, target: Path) -> None:
        done.append("link")
        link(source, target)

    monkeypatch.setattr(local, "sync", synced)
    monkeypatch.setattr(local.os, "link", linked)
    LocalStore(tmp_path / "lake").put("a/b", b"x")
    assert done == ["sync lake", "sync .", "sync draft", "link", "sync lake/a"]


@pytest.mark.parametrize("error", [errno.ENOTSUP, errno.EPERM, errno.ENOSYS])
def test_where_links_are_not_known_a_rename_does_and_still_writes_nothing_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def link(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(local.os, "link", link)
    store = LocalStore(tmp_path / "lake")
    (tmp_path / "moved").write_bytes(b"moved")
    store.put("moved", tmp_path / "moved")
    store.put("written", b"written")
    for name in ("moved", "written"):
        with pytest.raises(FileExistsError):
            store.put(name, b"other")
        assert store.open(name).read() == name.encode()
    assert list(store.list(f"{DRAFTS}/")) == []


def test_a_file_of_another_file_system_is_copied(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    content = other / f"pipeline-{os.getpid()}"
    content.write_bytes(b"x" * 3_000_000)
    try:
        store = LocalStore(tmp_path / "lake")
        assert store.put("name", content).size == 3_000_000
        assert not content.exists()
        assert list(store.list(f"{DRAFTS}/")) == []
    finally:
        content.unlink(missing_ok=True)


def test_a_disk_that_is_full_is_told_with_what_to_do_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = LocalStore(tmp_path / "lake")
    with monkeypatch.context() as patch:
        patch.setattr(local.os, "fsync", full)
        patch.setattr(local, "_make_durable", lambda folder: folder.mkdir(parents=True, exist_ok=True))
        with pytest.raises(StoreError, match=r"lake/a/b cannot be written: No space left on device. Make room"):
            store.put("a/b", b"x")
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_a_file_where_a_folder_is_needed_is_told(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    store.put("a", b"x")
    with pytest.raises(StoreError, match="A file is where a folder is needed"):
        store.put("a/b", b"x")


def test_links_are_followed_but_not_in_circles_or_to_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake")
    store.put("a/1", b"x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "2").write_bytes(b"x")
    (store.root / "b").symlink_to(tmp_path / "elsewhere")
    (store.root / "a" / "circle").symlink_to(store.root)
    (store.root / "loop").symlink_to("loop")
    (store.root / "nothing").symlink_to("nowhere")
    assert [found.name for found in store.list()] == ["a/1", "b/2"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    store = LocalStore(tmp_path)
    assert store.stat("pipe") is None
    with pytest.raises(StoreError, match="is not a file"):
        store.open("pipe")
    assert list(store.list()) == []


def test_names_that_are_no_utf8_stand_for_themselves(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for name in ODD_BYTES:
        store.put(os.fsdecode(name), name)
    listed = [found.name for found in store.list()]
    assert [os.fsencode(name) for name in listed] == sorted(ODD_BYTES)
    assert [store.open(name).read() for name in listed] == sorted(ODD_BYTES)
