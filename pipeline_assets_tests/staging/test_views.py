"""Views over what counts, and the removal of what does not."""

import multiprocessing
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

from pipeline_assets import platform as platform_module
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.files import FileLedger, StagedFile
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.platform import Platform
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.settings import Settings
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets.staging.scratch import remove_spilled, spill_folder
from pipeline_assets.staging.views import VIEWS, write_views
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import DRAFTS, StoreError
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
    return StagedFile("web", content, "v1", DAY, 2, LakeFile(name, "staging/web", DAY, 2 + others, path.stat().st_size))


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
    assert list((tmp_path / DRAFTS).iterdir()) == []


def test_a_lake_in_an_object_store_has_no_views() -> None:
    assert write_views(open_store("s3://bucket/lake"), []) is None


class Unwilling:
    """A platform whose lake and ledger refuse everything."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> object:
        raise self._error


@pytest.mark.parametrize("error", [WaitedTooLong("busy"), OperationalError("", {}, Exception()), StoreError("full")])
@pytest.mark.parametrize("are_looks_known", [True, False])
def test_a_load_does_not_fail_because_nothing_can_be_tidied_up(
    error: Exception,
    are_looks_known: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    platform = Platform(Settings.for_data_dir(tmp_path), [])
    looks = MagicMock(**{"begin.return_value.is_full": True})
    values = {
        "engine": MagicMock(),
        "files": Unwilling(error),
        "full_looks": looks if are_looks_known else Unwilling(error),
        "postgres_url": "postgresql://",
    }
    for name, value in values.items():
        monkeypatch.setitem(vars(platform), name, value)
    for name in ("turn", "remove_dropped"):
        monkeypatch.setattr(platform_module, name, MagicMock(side_effect=error))
    platform.tidy_up("web", has_changed=True)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    looks.done.assert_not_called()


def write_often(lake: Path, staged: list[StagedFile], times: int) -> None:
    for number in range(times):
        write_views(LocalStore(lake), staged[: 1 + number % len(staged)])


def test_views_that_several_processes_write_and_others_read_are_always_whole(tmp_path: Path) -> None:
    staged = [stage(tmp_path, f"{number:03}") for number in range(20)]
    write_views(LocalStore(tmp_path), staged)
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_often, args=(tmp_path, staged, 30)) for _ in range(2)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers) or not seen:
        # Through a name of its own, for DuckDB shares what a process has open under one name.
        link = tmp_path / f"{uuid.uuid4().hex}.duckdb"
        link.hardlink_to(tmp_path / VIEWS)
        with duckdb.connect(str(link), read_only=True) as database:
            ((rows,),) = database.execute("select count(*) from web").fetchall()
        link.unlink()
        seen.add(rows)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert seen <= {2 * number for number in range(1, 21)}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [VIEWS]
    assert list((tmp_path / DRAFTS).iterdir()) == []


def test_what_somebody_changes_in_the_views_keeps_nobody_from_opening_new_ones(tmp_path: Path) -> None:
    counted = [stage(tmp_path, "a"), stage(tmp_path, "b")]
    views = write_views(LocalStore(tmp_path), counted[:1])
    with duckdb.connect(str(views)) as theirs:
        theirs.execute("create table notes as select 1 as note")
        assert views is not None
        assert views.with_name(f"{VIEWS}.wal").exists()
        write_views(LocalStore(tmp_path), counted)
        # Another process.
        question = f"import duckdb; print(duckdb.connect({str(views)!r}).sql('select count(*) from web').fetchall())"
        assert subprocess.check_output([sys.executable, "-c", question], text=True) == "[(4,)]\n"
        assert theirs.execute("select count(*) from web").fetchall() == [(2,)]
    with duckdb.connect(str(views), read_only=True) as database:
        assert database.execute("select count(*) from web").fetchall() == [(4,)]
