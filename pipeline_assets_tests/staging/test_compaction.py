"""Compacted files hold what counts of those whose place they take, and the account stays as it is."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from polars.exceptions import ComputeError

from pipeline_assets.lake import Lake
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.files import FileLedger, StagedFile
from pipeline_assets.staging import compaction, loading
from pipeline_assets.staging.compaction import due_days
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.store import StoreError, UnreachableError
from pipeline_assets_tests.staging.sides import PATHS, UNREADABLE, Side, Sides


class Interrupted(FileLedger):
    """A ledger that lets something happen just before compacted files are exchanged."""

    def __init__(self, engine: sa.Engine, meanwhile: Any) -> None:
        super().__init__(engine)
        self._meanwhile = meanwhile

    def exchange_staged(self, compacted: LakeFile, replaced: Any, *, run_id: str = "") -> int:
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        meanwhile()
        return super().exchange_staged(compacted, replaced, run_id=run_id)


NEWER: dict[str, dict[str, int]] = {
    "nothing": {},
    "one file is superseded": {"s/a": 7},
    "every file is superseded": dict.fromkeys(PATHS, 7),
    "a file becomes a repeat of another": {"s/a": 2},
    "a file becomes unreadable": {"s/b": UNREADABLE},
}


@pytest.mark.parametrize("newer", NEWER.values(), ids=NEWER)
@pytest.mark.parametrize("also", ["", "read again", "compacted by another"])
def test_a_compaction_exchanges_what_still_counts_when_it_ends(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, newer: dict[str, int], also: str
) -> None:
    side, alone = sides("jsonl")
    monkeypatch.setattr(loading, "_GROUP_FILES", 2)
    before = dict(zip(PATHS, range(6), strict=True))
    lake = side.settings.lake_dir
    side.deliver(before)
    side.load()

    def meanwhile() -> None:
        if also == "compacted by another":
            side.compact()
        if also == "read again":
            known = side.ledger.not_as_booked(side.source.name, "", dict.fromkeys(PATHS, ""))
            some = [booked.content for path, booked in known.items() if booked and path < "s/d"]
            side.ledger.read_again(side.source.name, some)
            side.load()
        side.deliver(newer)
        side.load()

    names = {each.file.name for each in side.staged()}
    side.compact(Interrupted(side.engine, meanwhile))
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
    side.compact()
    staged = side.staged()
    assert side.rows() == alone.rows()
    assert len({each.file.name for each in staged}) == len({each.event_date for each in staged})
    side.check_lists()
    # What is in the lake and in no list was in one once: a compaction that came to nothing leaves nothing.
    with side.engine.connect() as connection:
        known = set(connection.execute(sa.text("select name from ledger.lake_files")).scalars())
    assert {path.relative_to(lake).as_posix() for path in lake.glob("staging/*/*/*.parquet")} <= known


def test_a_day_is_compacted_when_it_has_settled_or_has_too_many_files(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, _ = sides("jsonl")
    monkeypatch.setattr(compaction, "MOST_FILES", 3)
    counts = []
    for path, number in zip(PATHS, (0, 3, 6, 1), strict=False):
        side.deliver({path: number})
        side.load()
        side.compact(settled=compaction.SETTLED)
        counts.append(len({each.file.name for each in side.staged() if each.event_date.day == 1}))
    assert counts == [1, 2, 3, 1]
    with side.engine.begin() as connection:
        connection.execute(sa.text("update ledger.changed_days set changed_at = now() - interval '1 hour'"))
    side.compact(settled=compaction.SETTLED)
    staged = side.staged()
    assert len({each.file.name for each in staged}) == len({each.event_date for each in staged})


def load_alone(side: Side, files: Mapping[str, int]) -> None:
    """Load files one after the other, so that each is a file of the lake on each of its days."""
    for path, number in files.items():
        side.deliver({path: number})
        side.load()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def overwritten(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def with_other_rows(path: Path) -> None:
    frame = pl.read_parquet(path)
    pl.concat([frame, frame]).write_parquet(path)


@pytest.mark.parametrize("damage", [Path.unlink, cut_short, overwritten, with_other_rows])
def test_a_lost_or_damaged_file_is_told_and_read_again_and_no_other_is_kept_from_being_compacted(
    sides: Sides, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    side, alone = sides("jsonl")
    files = dict(zip(PATHS, (0, 3, 6, 1, 4, 7), strict=True))
    load_alone(side, files)
    before = side.staged()
    damaged = next(each.file.name for each in before if each.event_date.day == 1)
    damage(side.settings.lake_dir / damaged)
    side.compact()
    found = {(each.event_date.day, each.file.name) for each in side.staged()}
    assert len(found) == len({day for day, _ in found}) + 1
    assert found - {(1, damaged)} < found
    assert not {name for _, name in found - {(1, damaged)}} & {each.file.name for each in before}
    assert caplog.messages == [f"{damaged} is missing or damaged; the next load reads its files in landing again."]
    assert len(side.pending()) == 1
    side.load()
    side.compact()
    alone.deliver(files)
    alone.load()
    assert side.account() == alone.account()
    assert side.rows() == alone.rows()
    side.check_lists()
    side.check_compact()


def test_a_file_that_may_not_be_read_is_left_out_and_stays(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    side, _ = sides("jsonl")
    load_alone(side, dict(zip(PATHS, (0, 3, 6), strict=False)))
    before = side.staged()
    refused = next(each.file.name for each in before if each.event_date.day == 1)
    path = side.settings.lake_dir / refused
    path.rename(path.with_suffix(".aside"))
    store_open = LocalStore.open

    def refusing(store: LocalStore, name: str) -> object:
        if name == refused:
            raise StoreError(f"{name} cannot be read: Permission denied.")
        return store_open(store, name)

    monkeypatch.setattr(LocalStore, "open", refusing)
    side.compact()
    assert "Permission denied" in caplog.text
    assert side.pending() == []
    path.with_suffix(".aside").rename(path)
    assert refused in {each.file.name for each in side.staged()}
    assert len({each.file.name for each in side.staged() if each.event_date.day == 1}) == 2
    side.check_lists()


def test_a_lake_that_cannot_be_reached_ends_the_compaction_and_the_next_one_goes_on(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, _ = sides("jsonl")
    load_alone(side, dict(zip(PATHS, (0, 3, 6), strict=False)))
    before, rows = side.staged(), side.rows()

    def unreachable(*_: object, **__: object) -> None:
        raise UnreachableError("no answer")

    def failing(*_: object) -> None:
        raise ComputeError("no answer")

    for patched in ("put", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, patched, unreachable)
            if patched == "open":
                patch.setattr(compaction, "scan_staged", failing)
            with pytest.raises(UnreachableError):
                side.compact()
        assert side.staged() == before
        assert side.pending() == []
    side.compact()
    side.check_compact()
    assert side.rows() == rows


def test_a_day_that_fails_for_no_reason_of_its_files_is_asked_for_again_when_it_changes(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    side, _ = sides("jsonl")
    load_alone(side, dict(zip(PATHS, (0, 3, 6, 1), strict=False)))
    scan = compaction.scan_staged

    def failing(lake: Lake, staged: Sequence[StagedFile]) -> pl.LazyFrame:
        if staged[0].event_date.day == 1:
            raise ComputeError("secret")
        return scan(lake, staged)

    with monkeypatch.context() as patch:
        patch.setattr(compaction, "scan_staged", failing)
        side.compact()
    assert "2024-03-01: staged files could not be compacted: ComputeError" in caplog.text
    assert "secret" not in caplog.text
    by_day: dict[int, set[str]] = {}
    for each in side.staged():
        by_day.setdefault(each.event_date.day, set()).add(each.file.name)
    assert {day: len(names) for day, names in by_day.items() if len(names) > 1}.keys() == {1}
    assert due_days(side.source.name, side.ledger, timedelta(0)) == []
    load_alone(side, {"s/e": 4, "s/f": 9})
    assert due_days(side.source.name, side.ledger, timedelta(0)) != []


def test_of_a_file_of_which_half_the_rows_count_at_most_those_alone_are_kept(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, alone = sides("jsonl")
    # No file is a small one.
    monkeypatch.setattr(compaction, "SMALL_ROWS", 0)
    files = dict(zip(PATHS, (3, 6, 7, 0), strict=False))
    side.deliver(files)
    side.load()
    loaded = {each.file.name for each in side.staged()}
    assert side.compact() == 0
    load_alone(side, {"s/a": UNREADABLE})
    # 5 of 8 and 4 of 6 rows count.
    assert side.compact() == 0
    load_alone(side, {"s/c": UNREADABLE})
    # 3 of 8 and 1 of 6.
    rows = side.rows()
    assert side.compact() == len(loaded) == 2
    assert not loaded & {each.file.name for each in side.staged()}
    assert sorted(each.file.rows for each in side.staged() if each.event_date.day == 2) == [1]
    alone.deliver(files | dict.fromkeys(("s/a", "s/c"), UNREADABLE))
    alone.load()
    assert side.rows() == rows == alone.rows()
    side.check_lists()
    side.check_compact()
    assert side.compact() == 0


def test_as_many_rows_as_there_is_time_for_are_compacted_at_once_and_the_next_time_the_rest(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, _ = sides("jsonl")
    load_alone(side, dict(zip(PATHS, (0, 3, 6, 1, 4, 7), strict=True)))
    rows = side.rows()
    monkeypatch.setattr(compaction, "_ROWS_AT_ONCE", 1)
    days = {each.event_date for each in side.staged()}
    for _ in days:
        assert side.compact() > 0
    assert side.compact() == 0
    side.check_compact()
    assert side.rows() == rows


def test_days_that_are_compact_are_not_looked_at_again_until_they_change(sides: Sides) -> None:
    side, _ = sides("jsonl")
    load_alone(side, {"s/a": 0, "s/b": 3})
    side.compact()
    assert side.ledger.sources_to_compact() == []
    load_alone(side, {"s/c": 2})
    found = side.ledger.uncompacted_days(side.source.name, timedelta(0), 100)
    assert [each.changed.day.day for each in found] == [3]
    # Its only file is not worth it.
    assert side.compact() == 0
    assert side.ledger.sources_to_compact() == []
