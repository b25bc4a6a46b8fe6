"""Views over what counts, and the removal of what does not."""

import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from unittest.mock import MagicMock

import duckdb
import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from pipeline_assets.assets import staging
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.files import FileLedger, StagedFile
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets.staging.scratch import remove_spilled, spill_folder
from pipeline_assets.staging.views import write_views
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import StoreError
from pipeline_assets.waiting import WaitedTooLong

DAY = date(2026, 3, 1)


OLD = timedelta(hours=49)


def stage(lake: Path, content: str, *, others: int = 0, age: timedelta = OLD) -> StagedFile:
    """Two rows of a content, in a file with those of others."""
    frame = StagedEvents.sample(2 + others)
    load_ids = pl.Series([content] * 2 + ["other"] * others, dtype=pl.String)
    name = f"staging/web/{DAY}/{uuid.uuid4()}.parquet"
    path = lake / name
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.with_columns(load_id=load_ids).write_parquet(path)
    written = time.time() - age.total_seconds()
    os.utime(path, (written, written))
    return StagedFile("web", content, "r1", DAY, 2, LakeFile(name, "staging/web", DAY, 2 + others, path.stat().st_size))


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[FileLedger]:
    engine = sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    migrate(engine)
    yield FileLedger(engine)
    engine.dispose()


def test_what_killed_processes_have_spilled_is_removed_after_a_day(tmp_path: Path) -> None:
    young, old = spill_folder(tmp_path), tmp_path / ".spilled-0"
    for folder, age in ((young, timedelta()), (old, timedelta(hours=25))):
        folder.mkdir()
        (folder / "duckdb_temp_storage_DEFAULT-0.tmp").write_text("personal")
        written = time.time() - age.total_seconds()
        os.utime(folder, (written, written))
    remove_spilled(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_a_process_with_the_number_of_one_that_was_killed_has_a_folder_of_its_own(tmp_path: Path) -> None:
    # As in containers, where each process is the first.
    python = (
        "import os; os.getpid = lambda: 1; from pathlib import Path; from pipeline_assets.staging import scratch; "
        f"print(scratch.spill_folder(Path({str(tmp_path)!r})))"
    )
    found = {subprocess.check_output([sys.executable, "-c", python]) for _ in range(2)}
    assert len(found) == 2


def test_the_views_show_exactly_the_rows_that_count(tmp_path: Path) -> None:
    counted = [stage(tmp_path, "a"), stage(tmp_path, "it's"), stage(tmp_path, "b's", others=3)]
    stage(tmp_path, "superseded")
    for _ in range(2):
        views = write_views(LocalStore(tmp_path), counted)
    with duckdb.connect(str(views), read_only=True) as database:
        found = database.execute("select load_id, count(*), min(event_date) from web group by all order by all")
        assert found.fetchall() == [("a", 2, DAY), ("b's", 2, DAY), ("it's", 2, DAY)]
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_lake_in_an_object_store_has_no_views() -> None:
    assert write_views(open_store("s3://bucket/lake"), []) is None


@pytest.mark.parametrize("error", [WaitedTooLong("busy"), OperationalError("", {}, Exception()), StoreError("full")])
def test_a_load_does_not_fail_because_nothing_can_be_tidied_up(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    platform = MagicMock(**{"sweep.side_effect": error, "has_few_staged_files.return_value": False})
    platform.full_looks.begin.return_value.is_full = False
    monkeypatch.setattr(staging, "merge_small_files", MagicMock(side_effect=error))
    staging.tidy_up(platform, "web", logging.getLogger("tidy"))
    assert [record.levelname for record in caplog.records if record.name == "tidy"] == ["WARNING"] * 2
