"""Files that are loaded in groups are accounted for as if each had been loaded by itself."""

import dataclasses
import gzip
import os
import random
import secrets
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline_assets.ledger.files import FileLedger
from pipeline_assets.ledger.summary import summarise
from pipeline_assets.staging import loading, writing
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.staging.walking import scan
from pipeline_assets.staging.writing import Group, Member, Writer
from pipeline_assets_tests.formats.landed import declare
from pipeline_assets_tests.staging.sides import KINDS, MAPPED, PATHS, UNREADABLE, Side, Sides, jsonl


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


def cut_off(number: int) -> bytes:
    return gzip.compress(jsonl(number) * 1000, mtime=0)[:-20]


MIXES: dict[str, list[bytes]] = {
    "lines that are none": [b"{\n" * number for number in range(1, 7)],
    "files that cannot be read": [cut_off(number) for number in range(1, 7)],
    "nothing in any file": [b""] * 6,
    "only blank lines": [b"\n" * number for number in range(6)],
    "the same in every file": [jsonl(3)] * 6,
    "the same twice among others": [jsonl(number) for number in (3, 5, 3, 7, 5, 6)],
    "no file with a row but one": [b"", b"\n", b"{\n", cut_off(1), jsonl(3), b""],
}


@pytest.mark.parametrize("of_group", [2, 500])
@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_files_that_have_little_are_accounted_for_in_groups_as_alone(
    sides: Sides, mix: list[bytes], of_group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_GROUP_FILES", of_group)
    grouped, alone = sides("jsonl")
    for side in (grouped, alone):
        for path, made in zip(PATHS, mix, strict=True):
            side.write(path, made)
    summary = grouped.load()
    assert summary.count("failed") == summary.count("busy") == 0
    for file in alone.pending():
        alone.load([file])
    assert grouped.account() == alone.account()
    assert grouped.rows() == alone.rows()
    for side in (grouped, alone):
        side.check_lists()
        assert side.pending() == []


def test_a_content_that_two_groups_load_at_once_counts_once(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_GROUP_FILES", 2)
    grouped, alone = sides("jsonl")
    files = dict(zip(PATHS, (3, 6, 3, 7), strict=False))
    for side in (grouped, alone):
        side.deliver(files)
    # Both ask what is known before either books.
    both = threading.Barrier(2, timeout=60)
    known = FileLedger.known

    def at_once(*arguments: Any) -> set[str]:
        found = known(*arguments)
        both.wait()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(FileLedger, "known", at_once)
        assert grouped.load().count("loaded") == len(files)
    for file in alone.pending():
        alone.load([file])
    assert grouped.account() == alone.account()
    assert grouped.rows() == alone.rows()
    grouped.check_lists()
    assert grouped.pending() == []


@pytest.mark.parametrize("memory", ["1GB", pytest.param("150MB", marks=pytest.mark.exhaustive)])
def test_a_small_file_that_holds_very_much_costs_no_other_of_its_group(sides: Sides, memory: str) -> None:
    side, _ = sides("jsonl")
    side.database.execute(f"set memory_limit = '{memory}'")
    row = '{{"name": "{}", "time": "2024-03-01T10:00:00Z", "visitor": "v"}}\n'
    # 30 MB each: as one record, and as more records than a group takes.
    bombs = {"s/100": row.format("x" * (30 << 20)), "s/200": row.format("bomb") * 480_000}
    for path, text in bombs.items():
        side.write(path, gzip.compress(text.encode(), 1))
    small = [f"s/{number:03}" for number in range(500) if f"s/{number:03}" not in bombs]
    for number, path in enumerate(small):
        side.write(path, (row.format(f"n{number}") * 2).encode())
    assert max(file.size for file in side.pending()) < 8 << 20
    outcomes = {outcome.name: outcome for outcome in side.load().outcomes}
    assert {outcomes[path].result for path in small} == {"loaded"}
    assert {outcomes[path].result for path in bombs} <= {"loaded", "failed"}
    landed = {path: outcome.load.landed for path, outcome in outcomes.items() if outcome.load}
    expected = dict.fromkeys(small, 2) | {"s/100": 1, "s/200": 480_000}
    assert landed == {path: expected[path] for path in landed}
    side.check_lists()
    side.database.execute("set memory_limit = '4GB'")
    side.load()
    assert side.pending() == []
    assert sum(each.rows for each in side.staged()) == sum(expected.values())
    side.check_lists()


def test_a_csv_with_a_very_long_column_and_a_rule_with_a_long_name_is_accounted_for(sides: Sides) -> None:
    side, _ = sides("csv")
    # Of random letters, for PostgreSQL compresses what it can.
    column, rule = "c" + secrets.token_hex(5000), "r" + secrets.token_hex(5000)
    mapping = MAPPED | {"country": f'"{column}"'}
    source = declare("csv", path="s/*", mapping=mapping, rules={rule: "country is null"})
    long = dataclasses.replace(side, source=source)
    long.write("s/a", f"name,time,visitor,{column}\nn,2024-03-01T10:00:00Z,v,DE\nn,2024-03-01T10:00:00Z,v,\n".encode())
    (outcome,) = long.load().outcomes
    assert (outcome.result, outcome.quarantined) == ("loaded", 1)
    assert long.ledger.recount(source.name)
    ((reason, lines),) = summarise(long.engine, source.name).reasons.items()
    assert (reason[:300], lines) == (f"rule:{rule}"[:300], 1)
    long.check_lists()


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
