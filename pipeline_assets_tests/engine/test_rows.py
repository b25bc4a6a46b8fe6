"""What is held of a transform's rows until they are published, on real files."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import dataframely as dy
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline_assets import built
from pipeline_assets.engine.rows import LakeRows, MartRows
from pipeline_assets.figures import ROWS, Figure
from pipeline_assets.io_managers.frames import ContractError
from pipeline_assets.lake import Lake
from pipeline_assets.ledger.builds import Claim
from pipeline_assets.planning import UNPARTITIONED
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.tables.spec import Input, TableSpec


class Hits(dy.Schema):
    """Hits."""

    day = dy.Date(description="Day")
    hit_id = dy.String(primary_key=True, description="Id")
    n = dy.Int64(min=0, description="Number")


class HitsWithCountry(Hits):
    """Hits."""

    country = dy.String(nullable=True, description="Country")


DAYS = tuple(date(2026, 3, day) for day in (1, 2, 5))
ALL_HITS = TableSpec(
    name="hits", contract=Hits, inputs=(Input("events"),), build=lambda *_: pl.DataFrame(), store="lake"
)
HITS = replace(ALL_HITS, partition_column="day", figures=(Figure("total", "n"),))


def claim(*days: date) -> Claim:
    return Claim(uuid.uuid4(), "hits", days or DAYS, "run", None, {}, (), {})


def hits(day: date, *ids: str) -> pl.DataFrame:
    data = {"day": [day] * len(ids), "hit_id": list(ids), "n": list(range(len(ids)))}
    return pl.DataFrame(data, schema={"day": pl.Date, "hit_id": pl.String, "n": pl.Int64})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(LocalStore(tmp_path / "lake"), tmp_path / "drafts")


def files(lake: Lake) -> list[str]:
    return [stat.name for stat in lake.store.list()]


def test_a_frame_becomes_a_file_for_each_of_its_days_and_a_day_without_rows_none(lake: Lake) -> None:
    rows = LakeRows(HITS, claim(), lake)
    rows.add(pl.concat([hits(DAYS[0], "a", "b"), hits(DAYS[2], "c")]))
    rows.add(hits(DAYS[0], "d"))
    rows.add(hits(DAYS[0]))
    found = rows.finish()
    assert [(file.day, file.rows, file.asset) for file in found["files"]] == [
        (DAYS[0], 2, "hits"), (DAYS[0], 1, "hits"), (DAYS[2], 1, "hits"),
    ]  # fmt: skip
    assert sorted(files(lake)) == sorted(file.name for file in found["files"])
    assert {name.split("/")[1] for name in files(lake)} == {"2026-03-01", "2026-03-05"}
    assert found["figures"] == {
        DAYS[0]: {ROWS: 3, "total": 1}, DAYS[1]: {ROWS: 0, "total": 0}, DAYS[2]: {ROWS: 1, "total": 0},
    }  # fmt: skip
    assert_frame_equal(
        lake.scan(found["files"], Hits).collect(),
        pl.concat([hits(DAYS[0], "a", "b"), hits(DAYS[0], "d"), hits(DAYS[2], "c")]),
    )
    assert lake.lost(found["files"]) == []


def test_without_partitions_there_is_one_file_for_each_frame_with_rows(lake: Lake) -> None:
    rows = LakeRows(ALL_HITS, claim(UNPARTITIONED), lake)
    rows.add(hits(DAYS[0], "a"))
    rows.add(hits(DAYS[1]))
    found = rows.finish()
    assert [(file.day, file.name.count("/")) for file in found["files"]] == [(UNPARTITIONED, 1)]
    assert found["figures"] == {}


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([hits(date(2026, 3, 3), "x")], "1 rows belong to other days, the first to 2026-03-03"),
        ([hits(DAYS[0], "x").with_columns(day=pl.lit(None, pl.Date))], "day is null in 1 rows"),
        ([hits(DAYS[0], "x").with_columns(n=-1)], "column n is Int32"),
        ([hits(DAYS[0], "x").with_columns(n=pl.lit(-1, pl.Int64))], r"n: min \(1 rows\)"),
        ([hits(DAYS[0], "x").drop("n")], "column n is missing"),
        ([hits(DAYS[0]).drop("n")], "column n is missing"),
        ([hits(DAYS[0], "x").with_columns(m=1)], "column m .* is not in the contract"),
        ([hits(DAYS[0], "x", "x")], "primary_key"),
        ([hits(DAYS[0], "x")] * 2, "1 rows repeat the primary key"),
    ],
)
def test_what_breaks_the_contract_is_refused_in_the_step_and_leaves_no_file(
    lake: Lake, frames: list[pl.DataFrame], message: str
) -> None:
    rows = LakeRows(HITS, claim(), lake)
    rows.add(hits(DAYS[1], "before"))
    with pytest.raises(ContractError, match=message):
        for frame in frames:
            rows.add(frame)
        rows.finish()
    rows.discard()
    assert files(lake) == []


def test_the_same_key_on_two_days_is_no_repeat(lake: Lake) -> None:
    rows = LakeRows(HITS, claim(), lake)
    rows.add(pl.concat([hits(DAYS[0], "a"), hits(DAYS[1], "a")]))
    assert len(rows.finish()["files"]) == 2


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=2, max_size=4),
    at_once=st.integers(1, 4),
)
def test_however_few_keys_fit_into_memory_every_repeated_one_is_found(
    lake: Lake, frames: list[set[str]], at_once: int
) -> None:
    rows = LakeRows(replace(HITS, rows_at_once=at_once), claim(), lake)
    for ids in frames:
        rows.add(hits(DAYS[0], *ids))
    if repeated := sum(map(len, frames)) - len(set().union(*frames)):
        with pytest.raises(ContractError, match=f"{repeated} rows repeat the primary key"):
            rows.finish()
    else:
        assert len(rows.finish()["files"]) == len(frames)


def test_files_from_before_a_column_was_added_have_nulls_in_it(lake: Lake) -> None:
    old = lake.write(hits(DAYS[0], "a"), "hits", DAYS[0])
    new = lake.write(hits(DAYS[1], "b").with_columns(country=pl.lit("NO")), "hits", DAYS[1])
    loaded = lake.scan([old, new], HitsWithCountry).select("hit_id", "country").collect()
    assert loaded.rows() == [("a", None), ("b", "NO")]
    assert lake.scan([], HitsWithCountry).collect().schema == HitsWithCountry.create_empty().schema


@pytest.mark.parametrize("number", [3, 100], ids=["asked for one by one", "listed"])
@pytest.mark.parametrize(
    "harm", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])], ids=["missing", "truncated"]
)
def test_files_that_are_missing_or_have_another_size_are_lost(
    lake: Lake, number: int, harm: Callable[[Path], object]
) -> None:
    written = [lake.write(hits(DAYS[0], str(place)), "hits", DAYS[0]) for place in range(number)]
    assert lake.lost(written) == []
    harm(Path(lake.store.locate(written[1].name)))
    assert lake.lost(written) == [written[1]]


def test_no_draft_is_left_of_a_file_that_the_store_refuses(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake/hits").write_text("in the way")
    with pytest.raises(Exception, match="hits"):
        lake.write(hits(DAYS[0], "a"), "hits", DAYS[0])
    assert list((tmp_path / "drafts").iterdir()) == []


@given(frames=st.lists(st.lists(st.text(max_size=3), max_size=4, unique=True), max_size=5), kept=st.integers(0, 60))
def test_frames_of_a_mart_come_back_as_they_were_whether_they_are_kept_in_memory_or_not(
    tmp_path_factory: pytest.TempPathFactory, frames: list[list[str]], kept: int
) -> None:
    folder = tmp_path_factory.mktemp("held")
    given_frames = [hits(DAYS[0], *ids) for ids in frames]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(built, "_KEPT_BYTES", kept)
        rows = MartRows(HITS, claim(), folder)
        for frame in given_frames:
            rows.add(frame)
        found = rows.finish()
    assert [frame.to_dict(as_series=False) for frame in found["frames"]] == [
        frame.to_dict(as_series=False) for frame in given_frames
    ]
    assert found["figures"][DAYS[0]][ROWS] == sum(map(len, frames))
    rows.discard()
    assert list(folder.iterdir()) == []


def test_large_frames_of_a_mart_wait_on_the_disk_and_small_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = MartRows(HITS, claim(), tmp_path)
    for _ in range(3):
        small.add(hits(DAYS[0], "a"))
    assert list(tmp_path.rglob("*")) == []
    monkeypatch.setattr(built, "_KEPT_BYTES", 1)
    large = MartRows(HITS, claim(), tmp_path)
    large.add(hits(DAYS[0], "a"))
    assert list(tmp_path.rglob("*.arrow")) == []
    for _ in range(2):
        large.add(hits(DAYS[0], "a"))
    assert len(list(tmp_path.rglob("*.arrow"))) == 3
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.arrow")} == {0o600}
