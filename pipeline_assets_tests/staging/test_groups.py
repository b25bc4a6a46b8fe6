"""Files that are loaded in groups are accounted for as if each had been loaded by itself."""

import itertools
import multiprocessing
import os
import random
import shutil
import signal
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline_assets.lake import Lake
from pipeline_assets.ledger.files import FileLedger
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.staging import loading, writing
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.staging.walking import scan
from pipeline_assets.staging.writing import Group, Member, Writer
from pipeline_assets_tests.staging.sides import KINDS, PATHS, UNREADABLE, Side, Sides


class Changing(Writer):
    """While it stages files, some of them are written to: each once."""

    names: set[str]

    def write(self, members: Sequence[Member]) -> Group:
        group = super().write(members)
        for member in members:
            if member.file.name in self.names:
                self.names.remove(member.file.name)
                os.utime(member.file.path)
        return group


@dataclass(frozen=True)
class History:
    """Deliveries one after the other, and how the grouped side loads them.

    Attributes:
        deliveries: the number of the content of each path that is new or changed.
        of_group: files of a group.
        changing: files that are written to while they are read for the first time.
        is_compacted: whether staged files are compacted after each delivery.
        seed: of the order in which the other side loads.
    """

    deliveries: list[dict[str, int]]
    of_group: int
    changing: set[str]
    is_compacted: bool
    seed: int


HISTORIES = st.builds(
    History,
    st.lists(st.dictionaries(st.sampled_from(PATHS), st.integers(0, UNREADABLE), min_size=1), min_size=1, max_size=3),
    st.sampled_from([2, 3, 500]),
    st.sets(st.sampled_from(PATHS), max_size=3),
    st.booleans(),
    st.integers(0, 99),
)
SLOW = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=3, deadline=None, suppress_health_check=SLOW)
@given(history=HISTORIES)
@example(
    History(
        [dict(zip(PATHS, (0, 1, 2, 3, UNREADABLE, 2), strict=True)), {"s/a": 4, "s/b": 0, "s/e": 5}],
        of_group=500,
        changing={"s/b"},
        is_compacted=True,
        seed=1,
    )
)
def test_files_loaded_in_groups_are_accounted_for_as_if_each_was_loaded_alone(
    sides: Sides, kind: str, history: History
) -> None:
    compare(*sides(kind), history)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(history=HISTORIES)
def test_files_loaded_in_any_groups_are_accounted_for_as_if_each_was_loaded_alone(
    sides: Sides, kind: str, history: History
) -> None:
    compare(*sides(kind), history)


def compare(grouped: Side, alone: Side, history: History) -> None:
    """Load the same files in groups and one by one."""
    order = random.Random(history.seed)
    for delivery in history.deliveries:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loading, "_GROUP_FILES", history.of_group)
            patch.setattr(writing, "_GROUP_ROWS", history.of_group * 3)
            patch.setattr(Changing, "names", set(history.changing), raising=False)
            patch.setattr(loading, "Writer", Changing)
            grouped.deliver(delivery)
            summary = grouped.load()
        assert summary.count("failed") == summary.count("busy") == 0
        if history.is_compacted:
            grouped.compact()
            grouped.check_compact()
        alone.deliver(delivery)
        files = alone.pending()
        order.shuffle(files)
        for file in files:
            alone.load([file])
    assert grouped.account() == alone.account()
    assert grouped.rows() == alone.rows()
    for side in (grouped, alone):
        side.check_lists()
        assert side.pending() == []


def test_many_small_files_are_few_files_of_the_lake(sides: Sides) -> None:
    side, _ = sides("jsonl")
    folder = side.settings.landing_dir / "s"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(60):
        line = f'{{"name": "n{number}", "time": "2024-03-0{1 + number % 2}T10:00:00Z", "visitor": "v"}}\n'
        (folder / f"{number}.jsonl").write_text(line * 3)
    assert side.load().landed == 180
    assert len({each.file.name for each in side.staged()}) == 2
    side.check_lists()


def test_a_file_that_makes_the_query_of_its_group_fail_costs_no_other(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, _ = sides("jsonl")
    side.deliver({path: number for number, path in enumerate(PATHS)})
    copy = Writer._copy

    def failing(writer: Writer, members: Sequence[Member]) -> None:
        if any(member.file.name == "s/d" for member in members):
            raise duckdb.OutOfMemoryException("could not allocate 'secret'")
        copy(writer, members)

    monkeypatch.setattr(Writer, "_copy", failing)
    summary = side.load()
    assert {outcome.name: outcome.result for outcome in summary.outcomes} == {
        path: "failed" if path == "s/d" else "loaded" for path in PATHS
    }
    assert [file.name for file in side.pending()] == ["s/d"]
    monkeypatch.undo()
    assert side.load().count("loaded") == 1
    side.check_lists()


def test_a_file_whose_folder_becomes_a_file_while_it_is_read_costs_no_other(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, _ = sides("jsonl")
    side.deliver({"s/a": 1, "s/b": 2, "s/x/c": 3})
    files = scan(side.settings.landing_dir, "s/**").files
    write = Writer.write

    def replacing(writer: Writer, members: Sequence[Member]) -> Group:
        group = write(writer, members)
        folder = side.settings.landing_dir / "s" / "x"
        if folder.is_dir():
            shutil.rmtree(folder)
            folder.write_bytes(b"")
        return group

    monkeypatch.setattr(Writer, "write", replacing)
    summary = side.load(files)
    assert {outcome.name: outcome.result for outcome in summary.outcomes} == {
        "s/a": "loaded",
        "s/b": "loaded",
        "s/x/c": "failed",
    }
    side.check_lists()


def test_large_files_are_loaded_alone_and_groups_are_bounded() -> None:
    def task(name: str, size: int) -> loading._Task:
        return loading._Task(LandingFile(Path(name), name, "", 0.0, size))

    megabyte = 1 << 20
    sizes = [5, 9 * megabyte, 7, *[7 * megabyte] * 6, *[1] * 700]
    made = loading.groups([task(str(number), size) for number, size in enumerate(sizes)])
    assert [task.file.size for group in made for task in group] == sizes
    for group in made:
        total = sum(task.file.size for task in group)
        assert len(group) == 1 or (len(group) <= 500 and total <= 32 * megabyte)
        assert len(group) == 1 or all(task.file.size < 8 * megabyte for task in group)
    assert [len(group) for group in made[:3]] == [1, 1, 4]


@dataclass(frozen=True)
class Point:
    """A moment at which a process kills itself: just after the nth call of a method.

    Attributes:
        compacts: whether it compacts, or loads.
        cls: the class.
        method: its method.
        call: which call.
    """

    compacts: bool
    cls: type
    method: str
    call: int

    def arm(self) -> None:
        original, calls = getattr(self.cls, self.method), itertools.count(1)

        def deadly(*arguments: Any, **named: Any) -> Any:
            result = original(*arguments, **named)
            if next(calls) == self.call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(self.cls, self.method, deadly)


POINTS = {
    "contents are known and none is staged": Point(False, FileLedger, "reserve", 1),
    "one day of a group is in the lake": Point(False, Lake, "put", 1),
    "one group is booked": Point(False, FileLedger, "book", 1),
    "compacted rows are in the lake and not listed": Point(True, Lake, "put", 1),
    "compacted rows have taken the place of others": Point(True, FileLedger, "exchange_staged", 1),
    "the second day is compacted and not listed": Point(True, Lake, "put", 2),
}


def work_until(point: Point, url: str, side_settings: Settings, source: Source) -> None:
    """Load or compact until the point is reached."""
    vars(loading)["_GROUP_FILES"] = 2
    with closing(duckdb.connect()) as database:
        side = Side(side_settings, url, sa.create_engine(sqlalchemy_url(url, "psycopg")), source, database)
        point.arm()
        if point.compacts:
            side.compact()
        else:
            side.load()


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, id=name, marks=() if number in (1, 3) else pytest.mark.exhaustive)
        for number, (name, point) in enumerate(POINTS.items())
    ],
)
def test_what_is_killed_between_two_steps_and_run_again_is_as_if_it_was_not(
    sides: Sides, point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, alone = sides("jsonl")
    files = dict(zip(PATHS, (0, 1, 2, 3, UNREADABLE, 2), strict=True))
    monkeypatch.setattr(loading, "_GROUP_FILES", 2)
    for each in (side, alone):
        each.deliver(files)
    alone.load()
    if point.compacts:
        side.load()
    process = multiprocessing.get_context("spawn").Process(
        target=work_until, args=(point, side.url, side.settings, side.source)
    )
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    side.check_lists()
    side.load()
    side.compact()
    assert side.account() == alone.account()
    assert side.rows() == alone.rows()
    side.check_lists()
