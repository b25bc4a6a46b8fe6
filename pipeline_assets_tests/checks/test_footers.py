from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from pipeline_assets.checks.footers import read_footers
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets_tests.transforms.frames import staged, staged_frame

STAGED = staged_frame([staged(1), staged(2)]).drop("event_date")


def write(path: Path, frame: pl.DataFrame, *, statistics: bool = True) -> str:
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    pq.write_table(table, path, write_statistics=statistics, row_group_size=1)
    return str(path)


def test_files_that_keep_the_contract_may_have_their_columns_in_any_order(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.parquet", STAGED),
        write(tmp_path / "b.parquet", STAGED.select(reversed(STAGED.columns))),
    ]
    found = read_footers(paths, StagedEvents)
    assert found.keep_contract
    assert (found.files, found.rows, found.nulls, found.differing) == (2, 4, 0, {})


def test_columns_that_are_missing_added_or_of_another_type_are_named(tmp_path: Path) -> None:
    frame = STAGED.drop("user_id").with_columns(extra=pl.lit(1), occurred_at=pl.col("occurred_at").dt.epoch("us"))
    path = write(tmp_path / "a.parquet", frame)
    found = read_footers([path], StagedEvents)
    assert not found.keep_contract
    assert found.differing == {path: ["extra", "occurred_at", "user_id"]}
    assert read_footers([path], StagedEvents, beside=["extra"]).differing == {path: ["occurred_at", "user_id"]}


@pytest.mark.parametrize("statistics", [True, False])
def test_nulls_in_required_columns_are_counted_also_where_the_footer_does_not_tell(
    tmp_path: Path, statistics: bool
) -> None:
    frame = STAGED.with_columns(property=pl.when(pl.col("line") == 1).then("property"), user_id=pl.lit(None, pl.String))
    found = read_footers([write(tmp_path / "a.parquet", frame, statistics=statistics)], StagedEvents)
    assert (found.nulls, found.keep_contract) == (1, False)
