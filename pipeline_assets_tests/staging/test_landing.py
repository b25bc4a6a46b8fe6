"""What lies in landing is found, whatever it is called, and what cannot be read is told."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.staging.landing import LandingFile, RefusedError, ledger_name, open_regular, path_of
from pipeline_assets.staging.landings import LocalLanding
from pipeline_assets.staging.walking import scan
from pipeline_assets_tests.staging.names import ODD_BYTES, ODD_NAMES

NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: b"/" not in name and b"\0" not in name)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


def write(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def names(landing: Path, pattern: str, *, follow_links: bool = False) -> list[str]:
    return [file.name for file in scan(landing, pattern, follow_links=follow_links).files]


def refused(landing: Path, pattern: str) -> dict[str, str]:
    return {found.name: found.reason for found in scan(landing, pattern).refused}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/*.txt", ["a/1.txt", "a/2.txt"]),
        ("a/?.txt", ["a/1.txt", "a/2.txt"]),
        ("a/[1].txt", ["a/1.txt"]),
        ("a/1.txt", ["a/1.txt"]),
        ("*/1.txt", ["a/1.txt", "b/1.txt"]),
        ("**/1.txt", ["a/1.txt", "a/deep/er/1.txt", "b/1.txt"]),
        ("a/**/*.txt", ["a/1.txt", "a/2.txt", "a/deep/er/1.txt"]),
        ("**/er/**/*", ["a/deep/er/1.txt"]),
        ("a/**", ["a/1.txt", "a/2.txt", "a/deep/er/1.txt"]),
        ("a/**/**/**", ["a/1.txt", "a/2.txt", "a/deep/er/1.txt"]),
        ("**/**/1.txt", ["a/1.txt", "a/deep/er/1.txt", "b/1.txt"]),
        ("**/er", []),
        ("a", []),
        ("c/*", []),
        ("a/1.txt/*", []),
        (".", []),
    ],
)
def test_a_pattern_finds_what_pathlib_finds_without_hidden_and_unfinished_files(
    landing: Path, pattern: str, expected: list[str]
) -> None:
    for name in ("a/1.txt", "a/2.txt", "a/deep/er/1.txt", "b/1.txt", ".hidden/1.txt", "a/.1.txt", "a/1.txt.part"):
        write(landing / name)
    assert names(landing, pattern) == expected
    assert refused(landing, pattern) == {}


SPARK = [
    "_SUCCESS",
    "_committed_4711",
    "_started_4711",
    "_metadata",
    "._SUCCESS.crc",
    "day=1/.part-0.json.crc",
    "day=1/part-1.json._COPYING_",
    "_temporary/0/task_1/part-0.json",
    "_delta_log/00000000000000000000.json",
    ".hive-staging_hive_1/part-0.json",
]


def test_what_hadoop_spark_and_hive_hide_is_passed_over_and_partitions_are_not(landing: Path) -> None:
    for name in (*SPARK, "day=1/part-0.json", "_day=1/part-0.json", "day_=1/part_0.json"):
        write(landing / "s" / name)
    for pattern in ("s/**/*", "s/**", "s/*/*", "**/*.json"):
        assert names(landing, pattern) == ["s/_day=1/part-0.json", "s/day=1/part-0.json", "s/day_=1/part_0.json"]
        assert refused(landing, pattern) == {}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("s/_delta_log/*.json", ["s/_delta_log/00000000000000000000.json"]),
        ("s/_SUCCESS", ["s/_SUCCESS"]),
        ("s/_*", ["s/_SUCCESS", "s/_committed_4711", "s/_metadata", "s/_started_4711"]),
        ("**/.part*", ["s/day=1/.part-0.json.crc"]),
        ("s/.hive-staging*/*", ["s/.hive-staging_hive_1/part-0.json"]),
        ("s/[_]SUCCESS", []),
        ("s/day=1/p*", []),
    ],
)
def test_a_hidden_name_is_found_where_the_pattern_names_it(landing: Path, pattern: str, expected: list[str]) -> None:
    for name in SPARK:
        write(landing / "s" / name)
    assert names(landing, pattern) == expected


def test_a_table_that_keeps_a_log_of_its_files_is_told_of(landing: Path) -> None:
    for name in ("delta/_delta_log/0.json", "delta/day=1/part-0.parquet", "hudi/.hoodie/x", "hudi/1.parquet", "a/1"):
        write(landing / name)
    found = scan(landing, "**/*.parquet")
    assert [file.name for file in found.files] == ["delta/day=1/part-0.parquet", "hudi/1.parquet"]
    assert [(one.name, one.reason.split(":")[0]) for one in found.doubtful] == [
        ("delta", "is a table of Delta Lake"),
        ("hudi", "is a table of Apache Hudi"),
    ]


def test_a_path_that_is_too_long_for_the_ledger_is_refused(landing: Path) -> None:
    folder = landing.joinpath(*["f" * 200] * 9)
    for name in ("1" * 191, "é" * 96):
        write(folder / name)
    found = scan(landing, "**/*")
    assert [len(file.name.encode()) for file in found.files] == [2000]
    assert [one.reason for one in found.refused] == [
        "has a path of 2001 bytes, and the ledger takes 2000; give its folders shorter names"
    ]
    with pytest.raises(RefusedError, match="2001 bytes"):
        LandingFile.at(folder / ("é" * 96), landing, follow_links=False)


def test_no_folder_is_listed_again_and_again_however_many_wildcards_lead_to_it(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(landing.joinpath(*"abcdefghij", "1.txt"))
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(folder) or scandir(folder))
    assert names(landing, "**/**/**/*.txt") == ["a/b/c/d/e/f/g/h/i/j/1.txt"]
    assert len(listed) == 11
    listed.clear()
    pattern = "/".join(["**/*"] * 5)
    assert names(landing, pattern) == ["a/b/c/d/e/f/g/h/i/j/1.txt"]
    assert len(listed) == 11


def test_a_landing_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert names(tmp_path / "none", "*") == []


def test_every_name_is_found_as_itself(landing: Path) -> None:
    for name in ODD_NAMES:
        write(landing / "s" / name / name)
    for pattern in ("s/*/*", "**/*"):
        assert sorted(names(landing, pattern)) == sorted(f"s/{name}/{name}" for name in ODD_NAMES)


def test_a_name_that_is_no_utf8_is_text_in_the_ledger_and_like_no_other(landing: Path) -> None:
    for name in ODD_BYTES:
        Path(os.fsdecode(os.fsencode(landing) + b"/" + name)).write_bytes(name)
    (landing / "caf\\xe9").write_bytes(b"plain")
    found = scan(landing, "*").files
    assert {file.name: file.path.read_bytes() for file in found} == {
        "//caf\\xe9": b"caf\xe9",
        "//caf\\xe8": b"caf\xe8",
        "caf\\xe9": b"plain",
        "//\\xed\\xa0\\x80": b"\xed\xa0\x80",
        "//\\xff\\\\xff": b"\xff\\xff",
        "//\\\\\\xff": b"\\\xff",
    }
    # Of these alone it is said that they cannot be read; whoever takes one away has mended it.
    assert all(LocalLanding(landing).has(file.name) for file in found)
    found[0].path.unlink()
    assert not LocalLanding(landing).has(found[0].name)


@given(st.lists(NAMES, unique=True, max_size=8))
def test_two_paths_never_share_a_name_in_the_ledger(paths: list[bytes]) -> None:
    found = [ledger_name(os.fsdecode(path)) for path in paths]
    assert len(set(found)) == len(paths)
    assert all(name.encode().decode() == name for name in found)
    assert [os.fsencode(path_of(name)) for name in found] == paths


@given(NAMES)
def test_a_path_of_valid_utf8_is_its_own_name(path: bytes) -> None:
    text = os.fsdecode(path)
    assert (ledger_name(text) == text) == (path.decode(errors="ignore").encode() == path)


def test_links_within_landing_are_followed(landing: Path) -> None:
    write(landing / "store" / "1.txt")
    (landing / "a").symlink_to(landing / "store")
    (landing / "b").mkdir()
    (landing / "b" / "2.txt").symlink_to("../store/1.txt")
    assert names(landing, "*/*.txt") == ["a/1.txt", "b/2.txt", "store/1.txt"]
    assert refused(landing, "*/*.txt") == {}


def test_links_that_leave_landing_are_refused_by_name_unless_the_deployment_allows_them(
    landing: Path, tmp_path: Path
) -> None:
    secret = write(tmp_path / "secret" / "passwd.txt")
    write(tmp_path / "landing beside" / "1.txt")
    (landing / "a").mkdir()
    (landing / "a" / "1.txt").symlink_to(secret)
    (landing / "folder").symlink_to(secret.parent)
    (landing / "up").symlink_to("..")
    (landing / "beside").symlink_to(tmp_path / "landing beside")
    (landing / "chain").symlink_to("folder")
    (landing / "passed over").symlink_to(secret)
    found = scan(landing, "**/*.txt")
    assert found.files == []
    assert [one.name for one in found.refused] == ["a/1.txt", "beside", "chain", "folder", "passed over", "up"]
    assert all("leaves landing" in one.reason and "PIPELINE_FOLLOW_LINKS" in one.reason for one in found.refused)
    assert names(landing, "folder/*.txt") == []
    assert names(landing, "folder/passwd.txt") == []
    with pytest.raises(RefusedError, match="leaves landing"):
        LandingFile.at(landing / "a" / "1.txt", landing, follow_links=False)
    assert names(landing, "folder/*.txt", follow_links=True) == ["folder/passwd.txt"]


def test_a_landing_folder_that_is_a_link_itself_is_landing(landing: Path, tmp_path: Path) -> None:
    write(landing / "1.txt")
    (tmp_path / "link").symlink_to(landing)
    assert names(tmp_path / "link", "*") == ["1.txt"]


def test_links_in_circles_and_to_nothing_are_refused(landing: Path) -> None:
    write(landing / "a" / "1.txt")
    (landing / "a" / "again").symlink_to(landing / "a")
    (landing / "self.txt").symlink_to("self.txt")
    (landing / "nothing.txt").symlink_to("gone.txt")
    (landing / "outside.txt").symlink_to("../gone.txt")
    found = scan(landing, "**/*.txt")
    assert [file.name for file in found.files] == ["a/1.txt"]
    reasons = {one.name: one.reason for one in found.refused}
    assert reasons.keys() == {"a/again", "self.txt", "nothing.txt", "outside.txt"}
    assert "circle" in reasons["a/again"]
    assert "circle" in reasons["self.txt"]
    for name in ("nothing.txt", "outside.txt"):
        assert reasons[name] == "is a symbolic link to nothing; remove it, and deliver the file itself"


@pytest.fixture
def listening(landing: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(landing)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        yield


@pytest.mark.usefixtures("listening")
def test_pipes_sockets_and_devices_are_refused_and_never_opened(landing: Path) -> None:
    os.mkfifo(landing / "pipe")
    told = "write what comes out of it into a file elsewhere, and move that into landing when it is complete"
    assert refused(landing, "*") == {
        "pipe": f"is a pipe and not a file; {told}",
        "socket": f"is a socket and not a file; {told}",
    }
    assert names(landing, "*") == []
    for path in (landing / "pipe", Path("/dev/null")):
        with pytest.raises(RefusedError, match="not a file"):
            open_regular(path)
    with pytest.raises(RefusedError, match="a pipe"):
        LandingFile.at(landing / "pipe", landing, follow_links=False)


AS_NOBODY = """
import os, sys
from pathlib import Path
from pipeline_assets.staging.walking import scan
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
found = scan(Path(sys.argv[1]), "**/*.txt")
print([file.name for file in found.files], [(one.name, one.reason) for one in found.refused])
"""


def test_a_folder_that_may_not_be_read_is_told_and_the_others_are_read(landing: Path, tmp_path: Path) -> None:
    write(landing / "a" / "1.txt")
    write(landing / "closed" / "2.txt")
    write(landing / "listed" / "3.txt")
    for folder in (landing, *tmp_path.parents):
        # pytest's own folders are for their owner alone; others may pass, and read nothing more.
        if folder.stat().st_uid == os.getuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o111)
    tmp_path.chmod(0o755)
    landing.chmod(0o755)
    (landing / "closed").chmod(0)
    (landing / "listed").chmod(0o444)
    try:
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(landing)], capture_output=True, text=True, check=True
        )
    finally:
        for folder in ("closed", "listed"):
            (landing / folder).chmod(0o755)
    files, _, reasons = done.stdout.strip().partition(" ")
    assert files == "['a/1.txt']"
    assert "('closed', 'cannot be listed: Permission denied; nothing in it is loaded')" in reasons
    assert "('listed/3.txt', 'cannot be read: Permission denied')" in reasons
