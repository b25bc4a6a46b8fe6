"""Views over what counts, and the removal of what does not."""

import os
from datetime import date
from pathlib import Path

import duckdb

from pipeline_assets.contracts.staged_events import StagedEvents
from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.staging.housekeeping import remove_uncounted, write_views

DAY = date(2026, 3, 1)


def stage(lake: Path, content: str, *, rows: int = 2, days_old: float = 0) -> StagedFile:
    file = StagedFile("web", content, "r1", DAY, rows)
    path = lake / file.relative_path
    path.parent.mkdir(parents=True, exist_ok=True)
    StagedEvents.sample(rows).write_parquet(path)
    moment = path.stat().st_mtime - days_old * 86400
    os.utime(path, (moment, moment))
    return file


def test_the_views_show_exactly_the_files_that_count(tmp_path: Path) -> None:
    counted = [stage(tmp_path, "a"), stage(tmp_path, "it's")]
    stage(tmp_path, "superseded")
    for _ in range(2):
        views = write_views(tmp_path, counted)
    with duckdb.connect(str(views), read_only=True) as database:
        assert database.execute("select count(*), min(event_date) from web").fetchall() == [(4, DAY)]
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_only_files_that_neither_count_nor_are_young_are_removed(tmp_path: Path) -> None:
    counted = stage(tmp_path, "counted", days_old=9)
    young, old = stage(tmp_path, "young"), stage(tmp_path, "old", days_old=2)
    assert remove_uncounted(tmp_path, "web", [counted]) == 1
    assert (tmp_path / counted.relative_path).exists()
    assert (tmp_path / young.relative_path).exists()
    assert not (tmp_path / old.relative_path).exists()
