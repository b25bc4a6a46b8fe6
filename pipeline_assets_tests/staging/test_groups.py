"""Files that are loaded in groups, and merged later, are accounted for as if each had been loaded by itself."""

import gzip
import io
import os
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline_assets.lake import Lake
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.files import FileLedger, StagedFile
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.staging import loading, merging, writing
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.staging.loading import LoadSummary, SourceLoader
from pipeline_assets.staging.merging import MergeError, merge_small_files
from pipeline_assets.staging.staged import scan_staged
from pipeline_assets.staging.walking import scan
from pipeline_assets.staging.writing import Group, Member, Writer
from pipeline_assets.storage.opening import open_store
from pipeline_assets_tests.formats.landed import declare

FIRST_DAY, LAST_DAY = date(2024, 3, 1), date(2024, 3, 4)
# Without ids, so that equal rows of a file are told apart by their place in it.
MAPPED = {"event_name": "name", "occurred_at": "time", "anonymous_id": "visitor"}
PATHS = ("s/a", "s/b", "s/c", "s/d", "s/e", "s/f")


def records(number: int) -> list[dict[str, str]]:
    """The records of a content: on one or two days, some of them equal, some without a visitor."""
    days = [1 + number % 3, 1 + (number * 2 + 1) % 3]
    rows = [
        {"name": f"n{number}", "time": f"2024-03-0{days[line % 2]}T10:00:00Z", "visitor": f"v{line % 3}"}
        for line in range(1 + number % 4)
    ]
    rows += [dict(rows[0])] * (number % 2)
    return rows + [{"name": "x", "time": "2024-03-01T10:00:00Z", "visitor": ""}] * (number % 3 == 1)


def jsonl(number: int) -> bytes:
    lines = [str(row).replace("'", '"') for row in records(number)]
    return (
        "\n".join([*lines, *([""] if number % 4 == 2 else []), *(["{"] if number % 5 == 3 else [])]) + "\n"
    ).encode()


def csv(number: int) -> bytes:
    """With other columns in another order in every other file."""
    columns = ["name", "time", "visitor"] if number % 2 else ["visitor", "extra", "time", "name"]
    rows = [",".join(row.get(column, f"x{number}") for column in columns) for row in records(number)]
    return "\n".join([",".join(columns), *rows, ""]).encode()


def parquet(number: int) -> bytes:
    frame = pl.DataFrame(records(number))
    if number % 2:
        frame = frame.select("visitor", "time", "name", extra=pl.lit(number))
    written = io.BytesIO()
    frame.write_parquet(written)
    return written.getvalue()


KINDS = {"jsonl": jsonl, "csv": csv, "parquet": parquet}
UNREADABLE = 9


def content(kind: str, number: int) -> bytes:
    """One of ten contents, of which the last cannot be read to its end."""
    made = KINDS[kind](number)
    if number != UNREADABLE:
        return made
    # Enough for some records to be read before the end that is missing.
    return made[:-8] if kind == "parquet" else gzip.compress(made * 20_000, mtime=0)[:-20]


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


@dataclass
class Side:
    """A deployment of one source, with a ledger of its own.

    Attributes:
        settings: where landing and lake are.
        url: of the database.
        engine: of the same.
        source: the source.
        database: DuckDB.
        ledger: knows what counts.
        lake: has the rows.
    """

    settings: Settings
    url: str
    engine: sa.Engine
    source: Source
    database: duckdb.DuckDBPyConnection
    ledger: FileLedger = field(init=False)
    lake: Lake = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = FileLedger(self.engine)
        self.lake = Lake(open_store(self.settings.lake_url), self.settings.scratch_dir)

    def deliver(self, files: Mapping[str, int]) -> None:
        for path, number in files.items():
            target = self.settings.landing_dir / path
            target.parent.mkdir(parents=True, exist_ok=True)
            made = content(self.source.format, number)
            if not target.exists() or target.read_bytes() != made:
                target.write_bytes(made)

    def pending(self) -> list[LandingFile]:
        version = SourceLoader(self.source, self.settings, self.ledger, self.database).declaration_version
        files = scan(self.settings.landing_dir, self.source.path).files
        new = self.ledger.not_as_booked(self.source.name, version, {file.name: file.stamp for file in files})
        return [file for file in files if file.name in new]

    def load(self, files: Sequence[LandingFile] | None = None) -> LoadSummary:
        loader = SourceLoader(self.source, self.settings, self.ledger, self.database)
        return loader.load(self.pending() if files is None else files)

    def merge(self, ledger: FileLedger | None = None) -> int:
        return merge_small_files(self.source.name, self.lake, ledger or self.ledger, self.settings.scratch_dir)

    def staged(self) -> list[StagedFile]:
        return self.ledger.staged_files([self.source.name], date.min, date.max)

    def rows(self) -> list[tuple[Any, ...]]:
        """All staged rows that count."""
        frame = scan_staged(self.lake, self.staged()).collect()
        return frame.sort("load_id", "line").rows()

    def account(self) -> dict[str, list[Any]]:
        """What the ledger says, without moments and files of the lake."""
        queries = {
            "files": """select path, content, rules, state, newest, lines, landed, quarantined, blank, error
                from ledger.files order by path, content""",
            "quarantine": "select content, line, reason, rules, raw, bytes from ledger.quarantine order by 1, 2",
            "staged": "select content, event_date, rules, rows from ledger.staged order by 1, 2",
        }
        with self.engine.connect() as connection:
            return {name: list(connection.execute(sa.text(query)).all()) for name, query in queries.items()}

    def check_lists(self) -> None:
        """A file is listed as long as rows that count are in it, and all of these are; what is staged counts."""
        with self.engine.connect() as connection:
            listed = connection.execute(sa.text("select name, rows from ledger.lake_files where dropped_at is null"))
            of_lists = {row.name: row.rows for row in listed}
            active = connection.execute(
                sa.text("select content, landed from ledger.files where state = 'active' and landed > 0")
            )
            counting = {row.content: row.landed for row in active}
        staged = self.staged()
        assert {each.file.name for each in staged} == of_lists.keys()
        landed: dict[str, int] = {}
        for each in staged:
            landed[each.content] = landed.get(each.content, 0) + each.rows
        assert landed == counting
        for name, rows in of_lists.items():
            found = pl.read_parquet(self.settings.lake_dir / name)
            assert found.height == rows
            held = dict(found.group_by("load_id").len().iter_rows())
            of_file = {each.content: each.rows for each in staged if each.file.name == name}
            assert of_file.items() <= held.items()

    def empty(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text("truncate ledger.contents, ledger.lake_files cascade"))
        for path in self.settings.landing_dir.glob("s/*"):
            path.unlink()


class Sides:
    """Two sides for each kind of file."""

    def __init__(self, folder: Path, engines: Mapping[str, sa.Engine], database: duckdb.DuckDBPyConnection) -> None:
        self._made: dict[str, list[Side]] = {}
        self._folder, self._engines, self._database = folder, engines, database

    def __call__(self, kind: str) -> list[Side]:
        if kind not in self._made:
            source = declare(kind, path="s/*", mapping=MAPPED)
            self._made[kind] = [
                Side(Settings.for_data_dir(self._folder / kind / str(number)), url, engine, source, self._database)
                for number, (url, engine) in enumerate(self._engines.items())
            ]
        for side in self._made[kind]:
            side.empty()
        return self._made[kind]


@pytest.fixture
def sides(tmp_path: Path, postgres_url: str, new_database: Any) -> Iterator[Sides]:
    engines = {url: sa.create_engine(sqlalchemy_url(url, "psycopg")) for url in (postgres_url, new_database())}
    for engine in engines.values():
        migrate(engine)
    with closing(duckdb.connect()) as database:
        yield Sides(tmp_path, engines, database)
    for engine in engines.values():
        engine.dispose()


DELIVERIES = st.lists(
    st.dictionaries(st.sampled_from(PATHS), st.integers(0, UNREADABLE), min_size=1), min_size=1, max_size=3
)


@dataclass(frozen=True)
class History:
    """Deliveries one after the other, and how the grouped side loads them.

    Attributes:
        deliveries: the number of the content of each path that is new or changed.
        of_group: files of a group.
        changing: files that are written to while they are read for the first time.
        is_merged: whether small files are merged after each delivery.
        seed: of the order in which the other side loads.
    """

    deliveries: list[dict[str, int]]
    of_group: int
    changing: set[str]
    is_merged: bool
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
        is_merged=True,
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
        if history.is_merged:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(merging, "SETTLED", timedelta(0))
                grouped.merge()
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


class Interrupted(FileLedger):
    """A ledger that lets something happen just before merged files are exchanged."""

    def __init__(self, engine: sa.Engine, meanwhile: Any) -> None:
        super().__init__(engine)
        self._meanwhile = meanwhile

    def exchange_staged(self, merged: LakeFile, replaced: Any, *, run_id: str = "") -> int:
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        meanwhile()
        return super().exchange_staged(merged, replaced, run_id=run_id)


NEWER: dict[str, dict[str, int]] = {
    "nothing": {},
    "one file is superseded": {"s/a": 7},
    "every file is superseded": dict.fromkeys(PATHS, 7),
    "a file becomes a repeat of another": {"s/a": 2},
    "a file becomes unreadable": {"s/b": UNREADABLE},
}


@pytest.mark.parametrize("newer", NEWER.values(), ids=NEWER)
@pytest.mark.parametrize("also", ["", "read again", "merged by another"])
def test_a_merge_exchanges_what_still_counts_when_it_ends(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, newer: dict[str, int], also: str
) -> None:
    side, alone = sides("jsonl")
    monkeypatch.setattr(loading, "_GROUP_FILES", 2)
    monkeypatch.setattr(merging, "SETTLED", timedelta(0))
    before = dict(zip(PATHS, range(6), strict=True))
    lake = side.settings.lake_dir
    side.deliver(before)
    side.load()

    def meanwhile() -> None:
        if also == "merged by another":
            side.merge()
        if also == "read again":
            known = side.ledger.not_as_booked(side.source.name, "", dict.fromkeys(PATHS, ""))
            some = [booked.content for path, booked in known.items() if booked and path < "s/d"]
            side.ledger.read_again(side.source.name, some)
            side.load()
        side.deliver(newer)
        side.load()

    names = {each.file.name for each in side.staged()}
    side.merge(Interrupted(side.engine, meanwhile))
    alone.deliver(before)
    alone.load()
    alone.deliver(newer)
    alone.load()
    assert side.account() == alone.account()
    assert side.rows() == alone.rows()
    side.check_lists()
    if not newer and not also:
        assert not names & {each.file.name for each in side.staged()}
    # And once more, in peace: of each day there is one file left, with no other rows.
    side.merge()
    staged = side.staged()
    assert side.rows() == alone.rows()
    assert len({each.file.name for each in staged}) == len({each.event_date for each in staged})
    side.check_lists()
    # What is in the lake and in no list was in one once: a merge that came to nothing leaves nothing.
    with side.engine.connect() as connection:
        known = set(connection.execute(sa.text("select name from ledger.lake_files")).scalars())
    assert {path.relative_to(lake).as_posix() for path in lake.glob("staging/*/*/*.parquet")} <= known


def test_a_day_is_merged_when_it_has_settled_or_has_too_many_files(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, _ = sides("jsonl")
    monkeypatch.setattr(merging, "MOST_FILES", 3)
    counts = []
    for path, number in zip(PATHS, (0, 3, 6, 1), strict=False):
        side.deliver({path: number})
        side.load()
        side.merge()
        counts.append(len({each.file.name for each in side.staged() if each.event_date.day == 1}))
    assert counts == [1, 2, 3, 1]
    with side.engine.begin() as connection:
        connection.execute(sa.text("update ledger.lake_files set added_at = now() - interval '1 hour'"))
    side.merge()
    staged = side.staged()
    assert len({each.file.name for each in staged}) == len({each.event_date for each in staged})


def test_a_file_that_holds_other_rows_than_the_ledger_says_is_not_merged(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, _ = sides("jsonl")
    monkeypatch.setattr(merging, "SETTLED", timedelta(0))
    for path, number in (("s/a", 0), ("s/b", 3)):
        side.deliver({path: number})
        side.load()
    before = side.staged()
    path = side.settings.lake_dir / before[0].file.name
    frame = pl.read_parquet(path)
    pl.concat([frame, frame]).write_parquet(path)
    with pytest.raises(MergeError, match="other rows than the ledger says"):
        side.merge()
    assert side.staged() == before
