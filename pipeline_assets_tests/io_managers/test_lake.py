"""The behaviour matrix of the lake's IO manager, on real files."""

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import dataframely as dy
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline_assets.io_managers.frames import ContractError, FrameStream
from pipeline_assets.io_managers.lake import ParquetLakeIOManager, Publish

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-01")


class Hits(dy.Schema):
    """Hits."""

    day = dy.Date(description="Day")
    hit_id = dy.String(primary_key=True, description="Id")
    n = dy.Int64(min=0, description="Number")


class HitsWithCountry(Hits):
    """Hits."""

    country = dy.String(nullable=True, description="Country")


def hits(day: str, *ids: str) -> pl.DataFrame:
    data = {"day": [dt.date.fromisoformat(day)] * len(ids), "hit_id": list(ids), "n": list(range(len(ids)))}
    return pl.DataFrame(data, schema={"day": pl.Date, "hit_id": pl.String, "n": pl.Int64})


def store(
    root: Path,
    obj: Any,
    *,
    contract: type[dy.Schema] | None = Hits,
    partitions: dg.PartitionsDefinition | None = DAYS,
    column: str = "day",
    manager: ParquetLakeIOManager | None = None,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    @dg.asset(name="hits", partitions_def=partitions, metadata={"partition_expr": column}, io_manager_key="io")
    def produced():
        return obj

    io = manager or ParquetLakeIOManager(root, {"hits": contract} if contract else {})
    return dg.materialize([produced], resources={"io": io}, **options)


def load(
    root: Path,
    *,
    annotation: Any = pl.LazyFrame,
    contract: Any = Hits,
    partitions: dg.PartitionsDefinition | None = DAYS,
    columns: list[str] | None = None,
    **options: Any,
) -> Any:
    seen: list[Any] = []

    def consume(hits: Any) -> None:
        seen.append(hits)

    consume.__annotations__["hits"] = annotation
    source = dg.AssetSpec(
        "hits", partitions_def=partitions, metadata={"partition_expr": "day", "dagster/io_manager_key": "io"}
    )
    ins = {"hits": dg.AssetIn(metadata={"columns": columns} if columns else {})}
    consumer = dg.asset(ins=ins, partitions_def=partitions)(consume)
    io = ParquetLakeIOManager(root, {"hits": contract} if contract else {})
    dg.materialize([source, consumer], selection=[consumer], resources={"io": io}, **options)
    return seen[0]


def between(start: str, end: str) -> dict[str, Any]:
    tags = {"dagster/asset_partition_range_start": start, "dagster/asset_partition_range_end": end}
    return {"tags": tags}


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


ALL = pl.concat([hits("2024-01-01", "a", "b"), hits("2024-01-03", "c")])


@pytest.mark.parametrize(
    "output",
    [
        lambda: ALL,
        ALL.lazy,
        lambda: FrameStream(iter([ALL[:1], ALL[1:]])),
        lambda: FrameStream([hits("2024-01-03", "c"), hits("2024-01-01", "b"), hits("2024-01-01", "a")]),
    ],
    ids=["DataFrame", "LazyFrame", "frames over several days", "several frames of a day"],
)
def test_a_range_gets_one_file_per_day_an_empty_day_too_and_replaces_old_ones(
    tmp_path: Path, output: Callable[[], Any]
):
    store(tmp_path, hits("2024-01-02", "old"), partition_key="2024-01-02")
    for _ in range(2):
        result = store(tmp_path, output(), **between("2024-01-01", "2024-01-03"))
    assert files(tmp_path) == [f"hits/day=2024-01-0{day}/part.parquet" for day in (1, 2, 3)]
    loaded = load(tmp_path, annotation=pl.DataFrame, **between("2024-01-01", "2024-01-03"))
    assert loaded.sort("hit_id")["hit_id"].to_list() == ["a", "b", "c"]
    counts = {m.partition: m.metadata["dagster/partition_row_count"].value for m in materializations(result)}
    assert counts == {"2024-01-01": 2, "2024-01-02": 0, "2024-01-03": 1}


def materializations(result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    return list(result.asset_materializations_for_node("hits"))


def test_an_input_is_a_lazy_frame_over_exactly_the_asked_days(tmp_path: Path):
    store(tmp_path, ALL, **between("2024-01-01", "2024-01-03"))
    one = load(tmp_path, partition_key="2024-01-01")
    assert isinstance(one, pl.LazyFrame)
    assert_frame_equal(one.collect(), hits("2024-01-01", "a", "b"))
    assert load(tmp_path, partition_key="2024-01-02").collect().height == 0
    assert load(tmp_path, columns=["n"], partition_key="2024-01-03").collect().columns == ["n"]
    with pytest.raises(ContractError, match="no such columns: nothing"):
        load(tmp_path, columns=["nothing"], partition_key="2024-01-03")


def test_days_never_written_have_no_rows_and_with_nothing_written_the_contract_gives_the_columns(tmp_path: Path):
    assert_frame_equal(load(tmp_path, partition_key="2024-01-01").collect(), hits("2024-01-01"))
    store(tmp_path, ALL[:2], partition_key="2024-01-01")
    assert load(tmp_path, **between("2024-01-01", "2024-01-09")).collect().height == 2
    with pytest.raises(ContractError, match="Materialize it first"):
        load(tmp_path / "other", contract=None, partition_key="2024-01-01")


def test_files_from_before_a_column_was_added_have_nulls_in_it(tmp_path: Path):
    store(tmp_path, hits("2024-01-01", "a"), partition_key="2024-01-01")
    wider = hits("2024-01-02", "b").with_columns(country=pl.lit("NO"))
    store(tmp_path, wider, contract=HitsWithCountry, partition_key="2024-01-02")
    loaded = load(tmp_path, contract=HitsWithCountry, **between("2024-01-01", "2024-01-02"))
    assert loaded.select("hit_id", "country").collect().rows() == [("a", None), ("b", "NO")]


def test_without_partitions_there_is_one_file(tmp_path: Path):
    for _ in range(2):
        result = store(tmp_path, ALL, partitions=None)
    assert files(tmp_path) == ["hits/part.parquet"]
    assert materializations(result)[0].metadata["dagster/row_count"].value == 3
    assert_frame_equal(load(tmp_path, partitions=None).collect(), ALL)


def test_static_partitions_may_have_any_name(tmp_path: Path):
    names = ["a/b", "..", "it's", "größe"]
    partitions = dg.StaticPartitionsDefinition(names)
    for name in names:
        for _ in range(2):
            frame = hits("2024-01-01", name)
            store(tmp_path, frame, partitions=partitions, column="hit_id", partition_key=name)
    assert len(files(tmp_path)) == len(names)
    assert all(path.startswith("hits/hit_id=") for path in files(tmp_path))


def test_days_of_moments_are_days_of_the_partitions_time_zone(tmp_path: Path):
    days = dg.DailyPartitionsDefinition(start_date="2024-03-31", end_date="2024-04-02", timezone="Europe/Berlin")
    moments = [dt.datetime(2024, 3, 30, 23, tzinfo=dt.UTC), dt.datetime(2024, 3, 31, 21, 59, tzinfo=dt.UTC)]
    frame = pl.DataFrame({"at": moments})
    store(tmp_path, frame, contract=None, partitions=days, column="at", partition_key="2024-03-31")
    with pytest.raises(ContractError, match="1 rows belong to the partition 2024-04-01"):
        late = pl.DataFrame({"at": [dt.datetime(2024, 3, 31, 22, tzinfo=dt.UTC)]})
        store(tmp_path, late, contract=None, partitions=days, column="at", partition_key="2024-03-31")


def failing() -> Iterator[pl.DataFrame]:
    yield hits("2024-01-01", "new")
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (lambda: hits("2024-01-02", "x"), ContractError, "1 rows belong to the partition 2024-01-02"),
        (lambda: hits("2024-01-01", "x").with_columns(day=None), ContractError, "column day is Null"),
        (lambda: hits("2024-01-01", "x").with_columns(day=pl.lit(None, pl.Date)), ContractError, "day is null in 1"),
        (lambda: hits("2024-01-01", "x").with_columns(n=-1), ContractError, "column n is Int32"),
        (lambda: hits("2024-01-01", "x").with_columns(n=pl.lit(-1, pl.Int64)), ContractError, r"n: min \(1 rows\)"),
        (lambda: hits("2024-01-01", "x").drop("n"), ContractError, "column n is missing"),
        (lambda: hits("2024-01-01", "x").with_columns(m=1), ContractError, "column m .* is not in the contract"),
        (lambda: hits("2024-01-01", "x", "x"), ContractError, "primary_key"),
        (lambda: FrameStream([hits("2024-01-01", "x")] * 2), ContractError, "1 rows repeat the primary key"),
        (lambda: FrameStream(failing()), ZeroDivisionError, None),
        (lambda: 5, dg.DagsterInvariantViolationError, "returned int"),
    ],
)
def test_what_is_refused_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, output: Callable[[], Any], error: type[Exception], message: str | None
):
    store(tmp_path, hits("2024-01-01", "old"), partition_key="2024-01-01")
    with pytest.raises(error, match=message):
        store(tmp_path, output(), partition_key="2024-01-01")
    assert files(tmp_path) == ["hits/day=2024-01-01/part.parquet"]
    assert load(tmp_path, partition_key="2024-01-01").collect()["hit_id"].to_list() == ["old"]


def test_the_same_key_on_two_days_is_no_duplicate(tmp_path: Path):
    both = pl.concat([hits("2024-01-01", "a"), hits("2024-01-02", "a")])
    store(tmp_path, both, **between("2024-01-01", "2024-01-02"))
    assert len(files(tmp_path)) == 2


def test_drafts_of_a_killed_process_are_ignored_and_removed_once_they_are_old(tmp_path: Path):
    store(tmp_path, hits("2024-01-01", "a"), partition_key="2024-01-01")
    folder = tmp_path / "hits/day=2024-01-01"
    old, young = folder / ".part-old", folder / ".part-young"
    for draft in (old, young):
        draft.write_bytes(b"half a file")
    os.utime(old, times=(time.time() - 48 * 3600, time.time() - 48 * 3600))
    assert load(tmp_path, partition_key="2024-01-01").collect().height == 1
    store(tmp_path, hits("2024-01-01", "b"), partition_key="2024-01-01")
    assert not old.exists()
    assert young.exists()


class Ledger(ParquetLakeIOManager):
    fail = False

    def commit(self, context: dg.OutputContext, publish: Publish) -> None:
        if self.fail:
            raise ZeroDivisionError
        super().commit(context, publish)


def test_nothing_is_visible_when_the_commit_fails_before_publishing(tmp_path: Path):
    manager = Ledger(tmp_path, {"hits": Hits})
    manager.fail = True
    with pytest.raises(ZeroDivisionError):
        store(tmp_path, ALL, manager=manager, **between("2024-01-01", "2024-01-03"))
    assert files(tmp_path) == []
    manager.fail = False
    store(tmp_path, ALL, manager=manager, **between("2024-01-01", "2024-01-03"))
    assert len(files(tmp_path)) == 3


def test_some_rows_of_a_file_cannot_be_replaced(tmp_path: Path):
    with pytest.raises(ContractError, match="replaces whole partitions and tables"):
        store(tmp_path, FrameStream([ALL], replaces=ALL), partitions=None)
    assert files(tmp_path) == []
