"""A look that lists only what has changed finds what a look at everything finds."""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pipeline_assets.ledger.full_looks import FullLooks
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.staging import pending
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.staging.pending import Unclaimed
from pipeline_assets.staging.walking import FoundFile, scan
from pipeline_assets.storage.store import TooLongError
from pipeline_assets_tests.staging.deliveries import MONTH, SOURCE, Deployment, set_age, write

# The coarse clock of a file system; what changes within one tick of it is for `SETTLED_AFTER`.
TICK = 0.012


@pytest.fixture(scope="module")
def engine(new_database: Callable[[], str]) -> sa.Engine:
    engine = sa.create_engine(sqlalchemy_url(new_database(), "psycopg"))
    migrate(engine)
    return engine


@pytest.fixture
def deployment(engine: sa.Engine, tmp_path: Path) -> Deployment:
    return Deployment(engine, tmp_path / "landing")


@contextmanager
def times(*, settled_after: float = 0, recent: float = 24 * 60 * 60) -> Generator[None]:
    """Let folders settle, and files become old, sooner than they do."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pending, "SETTLED_AFTER", timedelta(seconds=settled_after))
        patched.setattr(pending, "RECENT_SECONDS", recent)
        yield


@contextmanager
def listed() -> Generator[list[str]]:
    """The folders that are listed meanwhile."""
    found: list[str] = []
    scandir = os.scandir
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "scandir", lambda folder: found.append(Path(folder).name) or scandir(folder))
        yield found


NAMES = st.tuples(st.sampled_from(["", "d1/", "d2/", "d2/deep/"]), st.sampled_from(["a", "b.jsonl", ".c"])).map("".join)
AGES = st.sampled_from([0.0, MONTH])
CHANGES = st.one_of(
    st.tuples(st.sampled_from(["new", "renamed in", "appended", "overwritten", "deleted", "touched"]), NAMES, AGES),
    st.tuples(st.sampled_from(["renamed", "linked", "folder replaced", "folder renamed"]), NAMES, NAMES),
    st.tuples(st.sampled_from(["replayed", "declared anew", "full look"]), NAMES, NAMES),
)
STEPS = st.lists(
    st.tuples(st.lists(CHANGES, max_size=3), st.sampled_from([1.0, 1.0, 1.0, 0.5])), min_size=1, max_size=6
)
PATTERNS = st.sampled_from(["**/*", "*/*", "*/**/*.jsonl", "d2/**", "d?/*", "*"])


def change(deployment: Deployment, outside: Path, what: str, name: str, other: str | float) -> None:
    path = deployment.folder / name
    if what in ("new", "renamed in"):
        if path.is_dir() or path.is_symlink():
            return
        content = f"{time.time_ns()}"
        if what == "new":
            path.unlink(missing_ok=True)
            write(path, content, age=float(other))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(outside / "draft", content, age=float(other)).replace(path)
    elif what in ("appended", "overwritten", "touched") and path.is_file():
        if what == "touched":
            set_age(path, float(other))
        else:
            with path.open("a" if what == "appended" else "w") as file:
                file.write(f"{time.time_ns()}")
    elif what == "deleted":
        path.unlink(missing_ok=True)
    elif what == "renamed" and path.is_file():
        target = deployment.folder / str(other)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    elif what == "linked" and path.is_file() and not (target := deployment.folder / str(other)).is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(path)
    elif what == "folder replaced" and path.parent != deployment.folder and path.parent.is_dir():
        copy = outside / f"{time.time_ns()}"
        # With the times of the folder and of what is in it, as a backup is restored.
        shutil.copytree(path.parent, copy, symlinks=True)
        write(copy / path.name, f"{time.time_ns()}", age=MONTH)
        modified = path.parent.stat().st_mtime_ns
        os.utime(copy, ns=(modified, modified))
        shutil.rmtree(path.parent)
        copy.replace(path.parent)
    elif what == "folder renamed" and path.parent != deployment.folder and path.parent.is_dir():
        if not (target := deployment.folder / f"d{len(str(other))}").exists():
            path.parent.replace(target)
    elif what == "replayed":
        contents = [each.content for each in deployment.ledger.not_as_booked(SOURCE, "", {name: ""}).values() if each]
        deployment.ledger.read_again(SOURCE, contents)
    elif what == "declared anew":
        deployment.declaration_version += "'"
    elif what == "full look":
        deployment.looks.ask()


def settle(deployment: Deployment, pattern: str) -> None:
    """Look until what has been loaded is remembered."""
    time.sleep(TICK)
    for _ in range(2):
        found = {file.name: file.stamp for file in deployment.look(pattern)}
        assert found == deployment.everything(pattern)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, pattern=PATTERNS)
def test_every_look_finds_what_a_look_at_everything_finds(engine: sa.Engine, steps: list, pattern: str) -> None:
    with tempfile.TemporaryDirectory() as folder, times():
        outside = Path(folder) / "outside"
        deployment = Deployment(engine, Path(folder) / "landing")
        unlisted = 0
        for changes, share in steps:
            for what, name, other in changes:
                change(deployment, outside, what, name, other)
            time.sleep(TICK)
            with listed() as folders:
                found = deployment.look(pattern)
            expected = deployment.everything(pattern)
            assert {file.name: file.stamp for file in found} == expected
            assert [file.name for file in found] == sorted(file.name for file in found)
            unlisted += deployment.folder.is_dir() and not folders
            # Killed after so many of them.
            deployment.book(found[: round(share * len(found))])
            settle(deployment, pattern)
        event(f"looks without listing: {min(unlisted, 1)}")


def test_files_that_are_pending_are_told_from_others_by_their_names(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        write(deployment.folder / name)

    def compared(one: object, other: object) -> bool:
        pytest.fail("each file of a folder is compared with each that is pending there")

    # Of a folder with a hundred thousand files that would take hours.
    monkeypatch.setattr(FoundFile, "__eq__", compared)
    assert [file.name for file in deployment.look("*")] == ["a", "b", "c"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, pattern=PATTERNS)
def test_among_old_files_new_names_are_found_at_once_and_all_by_a_full_look(
    engine: sa.Engine, steps: list, pattern: str
) -> None:
    with tempfile.TemporaryDirectory() as folder, times(recent=0):
        outside = Path(folder) / "outside"
        deployment = Deployment(engine, Path(folder) / "landing")
        for changes, share in steps:
            for what, name, other in changes:
                change(deployment, outside, what, name, other)
            time.sleep(TICK)
            files = deployment.look(pattern)
            found = {file.name: file.stamp for file in files}
            expected = deployment.everything(pattern)
            in_place = {name for what, name, _ in changes if what in ("appended", "overwritten", "touched")}
            missed = expected.keys() - found.keys()
            assert missed <= in_place
            assert {**expected, **found} == expected
            deployment.looks.ask()
            assert {file.name: file.stamp for file in deployment.look(pattern)} == expected
            deployment.book(files[: round(share * len(files))])
            settle(deployment, pattern)


def test_a_folder_that_has_not_changed_is_not_listed_again(deployment: Deployment) -> None:
    for day in ("2026-01-01", "2026-01-02"):
        write(deployment.folder / "web" / day / "1.jsonl", age=MONTH)
    with times():
        deployment.book(deployment.look("web/*/*.jsonl"))
        for _ in range(2):
            deployment.look("web/*/*.jsonl")
        with listed() as folders:
            assert deployment.look("web/*/*.jsonl") == []
        assert folders == []
        time.sleep(TICK)
        write(deployment.folder / "web" / "2026-01-02" / "2.jsonl", age=MONTH)
        with listed() as folders:
            assert [file.name for file in deployment.look("web/*/*.jsonl")] == ["web/2026-01-02/2.jsonl"]
        assert folders == ["2026-01-02"]


def test_a_folder_is_listed_until_it_was_listed_long_enough_after_its_change_was_seen(
    deployment: Deployment, engine: sa.Engine
) -> None:
    # A file may come within the same tick of the file system's clock as the listing before it.
    write(deployment.folder / "d" / "1", age=MONTH)
    deployment.book(deployment.look("d/*"))
    for _ in range(3):
        with listed() as folders:
            assert deployment.look("d/*") == []
        assert folders == ["d"]
    with engine.begin() as connection:
        connection.execute(sa.text("update ledger.seen_folders set since = since - interval '4 seconds'"))
    with listed() as folders:
        deployment.look("d/*")
        assert folders == ["d"]
        deployment.look("d/*")
        assert folders == ["d"]


def test_a_full_look_is_taken_when_it_is_due_and_when_it_is_asked_for(engine: sa.Engine, tmp_path: Path) -> None:
    deployment = Deployment(engine, tmp_path)
    file = write(tmp_path / "d" / "1", age=MONTH)
    with times(recent=0):
        for _ in range(3):
            deployment.book(deployment.look("d/*"))
        time.sleep(TICK)
        write(file, "another", age=MONTH)
        assert deployment.look("d/*") == []
        always = Deployment.__new__(Deployment)
        always.__dict__ |= deployment.__dict__ | {"looks": FullLooks(engine, timedelta(0))}
        assert [file.name for file in always.look("d/*")] == ["d/1"]
        deployment.looks.ask()
        assert [file.name for file in deployment.look("d/*")] == ["d/1"]


def test_a_full_look_that_is_asked_for_while_one_is_taken_is_taken_once_more(deployment: Deployment) -> None:
    looks = deployment.looks
    first = looks.begin("lake")
    assert first.is_full
    looks.ask()
    looks.done(first)
    second = looks.begin("lake")
    assert second.is_full
    looks.done(second)
    assert not looks.begin("lake").is_full


def test_a_look_that_began_before_a_replay_does_not_hide_it(deployment: Deployment) -> None:
    write(deployment.folder / "d" / "1", age=MONTH)
    with times():
        deployment.book(deployment.look("d/*"))
        deployment.look("d/*")
        remember = deployment.memory.remember
        booked = deployment.ledger.not_as_booked(SOURCE, "", {"d/1": ""})["d/1"]
        assert booked is not None

        def late(*arguments: object) -> None:
            deployment.ledger.read_again(SOURCE, [booked.content])
            remember(*arguments)  # ty: ignore[invalid-argument-type]

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(deployment.memory, "remember", late)
            assert deployment.look("d/*") == []
        assert [file.name for file in deployment.look("d/*")] == ["d/1"]


@pytest.mark.parametrize("is_full", [False, True])
def test_what_a_full_look_finds_is_not_hidden_by_an_earlier_one(deployment: Deployment, is_full: bool) -> None:
    path = write(deployment.folder / "d" / "1", age=MONTH)
    remember = deployment.memory.remember
    deployment.book(deployment.look("d/*"))

    def overtaken(*arguments: object) -> None:
        deployment.memory.remember = remember
        write(path, "another", age=MONTH)
        always = Deployment.__new__(Deployment)
        always.__dict__ |= deployment.__dict__ | {"looks": FullLooks(deployment.engine, timedelta(0))}
        assert [file.name for file in always.look("d/*")] == ["d/1"]
        remember(*arguments)  # ty: ignore[invalid-argument-type]

    with times(recent=0):
        if is_full:
            deployment.looks = FullLooks(deployment.engine, timedelta(0))
        deployment.memory.remember = overtaken  # ty: ignore[invalid-assignment]
        assert deployment.look("d/*") == []
        deployment.looks = FullLooks(deployment.engine, timedelta(hours=1))
        assert not deployment.looks.begin(f"landing/{SOURCE}").is_full
        assert [file.name for file in deployment.look("d/*")] == ["d/1"]


def test_a_link_to_a_folder_that_has_come_to_leave_landing_is_refused(deployment: Deployment, tmp_path: Path) -> None:
    landing = deployment.folder
    write(landing / "y" / "b" / "1", age=MONTH)
    write(tmp_path / "secret" / "2")
    (landing / "x").mkdir()
    (landing / "x" / "a").symlink_to(landing / "y" / "b")
    with times():
        for _ in range(3):
            deployment.book(deployment.look("x/*/*"))
        time.sleep(TICK)
        shutil.rmtree(landing / "y" / "b")
        (landing / "y" / "b").symlink_to(tmp_path / "secret")
        found = deployment.landing.pending(SOURCE, "x/*/*", deployment.declaration_version)
    assert (found.files, [refused.name for refused in found.refused]) == ([], ["x/a"])


def test_a_folder_with_too_long_a_path_to_be_remembered_is_listed_each_time(deployment: Deployment) -> None:
    # No text that PostgreSQL could compress.
    names = [secrets.token_hex(120) for _ in range(12)]
    deployment.folder.joinpath(*names).mkdir(parents=True)
    write(deployment.folder / "1")
    with times():
        for _ in range(3):
            deployment.book(deployment.look("**/*"))
        assert deployment.look("**/*") == []
        with listed() as found:
            deployment.look("**/*")
    assert found[-1] == names[-1]


def test_a_file_that_goes_while_its_content_is_compared_ends_no_look(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(deployment.folder / "d" / "1")
    deployment.book(deployment.look("d/*"))
    write(path, "other")
    monkeypatch.setattr(LandingFile, "content", lambda file: path.unlink() or file.path.read_text())
    found = deployment.landing.pending(SOURCE, "d/*", "v2", known_only=True).files
    assert [file.name for file in found] == ["d/1"]


def test_a_look_that_takes_too_long_ends_and_nothing_of_it_is_remembered(deployment: Deployment) -> None:
    write(deployment.folder / "d" / "1")
    with pytest.raises(TooLongError):
        deployment.landing.pending(SOURCE, "d/*", deployment.declaration_version, seconds=-1)
    assert [file.name for file in deployment.look("d/*")] == ["d/1"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_files_that_no_source_takes_are_found_as_by_a_look_at_everything(engine: sa.Engine, steps: list) -> None:
    patterns = ["d1/*", "**/*.jsonl"]
    with tempfile.TemporaryDirectory() as folder, times(recent=0):
        outside = Path(folder) / "outside"
        deployment = Deployment(engine, Path(folder) / "landing")
        for changes, _ in steps:
            for what, name, other in changes:
                change(deployment, outside, what, name, other)
            time.sleep(TICK)
            taken = {file.name for pattern in patterns for file in scan(deployment.folder, pattern).files}
            free = [file.name for file in scan(deployment.folder, "**/*").files if file.name not in taken]
            for _ in range(2):
                assert deployment.landing.unclaimed(patterns) == Unclaimed(len(free), sorted(free))
            time.sleep(TICK)
