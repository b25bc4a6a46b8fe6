"""Views over what counts, and the removal of what does not."""

import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from threading import Event, Thread

import duckdb
import pytest
import sqlalchemy as sa

from pipeline_assets.ledger.files import FileLedger, Load, StagedFile
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets.staging.housekeeping import remove_spilled, remove_uncounted, spill_folder, write_views

DAY = date(2026, 3, 1)


OLD = timedelta(hours=25)


def stage(lake: Path, content: str, *, rows: int = 2, age: timedelta = OLD) -> StagedFile:
    file = StagedFile("web", content, "r1", DAY, rows)
    path = lake / file.relative_path
    path.parent.mkdir(parents=True, exist_ok=True)
    StagedEvents.sample(rows).write_parquet(path)
    written = time.time() - age.total_seconds()
    os.utime(path, (written, written))
    return file


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[FileLedger]:
    engine = sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    migrate(engine)
    yield FileLedger(engine)
    engine.dispose()


def test_what_killed_processes_have_spilled_is_removed_after_a_day(tmp_path: Path) -> None:
    young, old = spill_folder(tmp_path), tmp_path / ".spilled-0"
    for folder, age in ((young, timedelta()), (old, OLD)):
        folder.mkdir()
        (folder / "duckdb_temp_storage_DEFAULT-0.tmp").write_text("personal")
        written = time.time() - age.total_seconds()
        os.utime(folder, (written, written))
    remove_spilled(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_the_views_show_exactly_the_files_that_count(tmp_path: Path) -> None:
    counted = [stage(tmp_path, "a"), stage(tmp_path, "it's")]
    stage(tmp_path, "superseded")
    for _ in range(2):
        views = write_views(tmp_path, counted)
    with duckdb.connect(str(views), read_only=True) as database:
        assert database.execute("select count(*), min(event_date) from web").fetchall() == [(4, DAY)]
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_only_files_that_have_not_counted_for_a_day_are_removed(tmp_path: Path, ledger: FileLedger) -> None:
    for content in ("counted", "just_superseded", "long_superseded"):
        ledger.reserve(content, 1)
        path = "other.jsonl" if content == "counted" else "a.jsonl"
        ledger.book("web", path, "stamp", Load(content, "r1", lines=2, landed=2, days={DAY: 2}))
    ledger.reserve("newest", 1)
    ledger.book("web", "a.jsonl", "stamp", Load("newest", "r1"))
    with ledger._engine.begin() as connection:
        statement = "update ledger.files set booked_at = now() - interval '25 hours' where content in ('counted', :old)"
        connection.execute(sa.text(statement), {"old": "long_superseded"})
    counted, recent, old, unknown = (
        stage(tmp_path, content) for content in ("counted", "just_superseded", "long_superseded", "never_booked")
    )
    assert remove_uncounted(tmp_path, "web", ledger) == 2
    assert [(tmp_path / file.relative_path).exists() for file in (counted, recent, old, unknown)] == [
        True,
        True,
        False,
        False,
    ]


def test_a_file_that_another_load_has_published_and_not_booked_yet_stays(tmp_path: Path, ledger: FileLedger) -> None:
    published = stage(tmp_path, "published", age=timedelta(0))
    assert remove_uncounted(tmp_path, "web", ledger) == 0
    assert (tmp_path / published.relative_path).exists()


class Waiting(FileLedger):
    """Says when it begins to wait for bookings."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        self.waits = Event()

    @contextmanager
    def bookings_wait(self, source: str) -> Generator[None]:
        self.waits.set()
        with super().bookings_wait(source):
            yield


def test_a_file_that_begins_to_count_while_others_are_removed_stays(tmp_path: Path, ledger: FileLedger) -> None:
    again = stage(tmp_path, "again")
    ledger.reserve("again", 1)
    waiting = Waiting(ledger._engine)
    with ledger.bookings_wait("web"):
        # Listed as not counting by now, the removal waits for the bookings, and finds that it counts.
        removing = Thread(target=remove_uncounted, args=(tmp_path, "web", waiting))
        removing.start()
        assert waiting.waits.wait(30)
        with ledger._engine.begin() as connection:
            connection.execute(
                sa.text("""
                    insert into ledger.files (source, path, content, rules, state, newest, lines, landed, quarantined,
                        blank, stamp, booked_at)
                    values ('web', 'a.jsonl', 'again', 'r1', 'active', true, 2, 2, 0, 0, 's', now() - interval '2 days')
                """)
            )
            connection.execute(
                sa.text("insert into ledger.staged values ('web', 'again', :day, 'r1', 2)"), {"day": DAY}
            )
    removing.join(30)
    assert not removing.is_alive()
    assert (tmp_path / again.relative_path).exists()


def test_a_known_content_whose_rows_are_gone_is_not_booked_as_a_repeat(ledger: FileLedger) -> None:
    ledger.reserve("known", 1)
    ledger.book("web", "a.jsonl", "stamp", Load("known", "r1", lines=2, landed=2, days={DAY: 2}))
    assert not ledger.book_known("web", "b.jsonl", "stamp", "known", is_staged=lambda: False)
    assert set(ledger.booked("web")) == {"a.jsonl"}
    assert ledger.book_known("web", "b.jsonl", "stamp", "known", is_staged=lambda: True)
    assert set(ledger.booked("web")) == {"a.jsonl", "b.jsonl"}
