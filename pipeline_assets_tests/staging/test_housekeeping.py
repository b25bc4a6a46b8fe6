"""Views over what counts, and the removal of what does not."""

from datetime import date
from pathlib import Path

import duckdb
import sqlalchemy as sa

from pipeline_assets.contracts.staged_events import StagedEvents
from pipeline_assets.ledger.files import FileLedger, Load, StagedFile
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.staging.housekeeping import remove_uncounted, write_views

DAY = date(2026, 3, 1)


def stage(lake: Path, content: str, *, rows: int = 2) -> StagedFile:
    file = StagedFile("web", content, "r1", DAY, rows)
    path = lake / file.relative_path
    path.parent.mkdir(parents=True, exist_ok=True)
    StagedEvents.sample(rows).write_parquet(path)
    return file


def test_the_views_show_exactly_the_files_that_count(tmp_path: Path) -> None:
    counted = [stage(tmp_path, "a"), stage(tmp_path, "it's")]
    stage(tmp_path, "superseded")
    for _ in range(2):
        views = write_views(tmp_path, counted)
    with duckdb.connect(str(views), read_only=True) as database:
        assert database.execute("select count(*), min(event_date) from web").fetchall() == [(4, DAY)]
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_only_files_that_have_not_counted_for_a_day_are_removed(tmp_path: Path, postgres_url: str) -> None:
    engine = sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    migrate(engine)
    ledger = FileLedger(engine)
    for content in ("counted", "just_superseded", "long_superseded"):
        ledger.reserve(content, 1)
        path = "other.jsonl" if content == "counted" else "a.jsonl"
        ledger.book("web", path, "stamp", Load(content, "r1", lines=2, landed=2, days={DAY: 2}))
    ledger.reserve("newest", 1)
    ledger.book("web", "a.jsonl", "stamp", Load("newest", "r1"))
    with engine.begin() as connection:
        statement = "update ledger.files set booked_at = now() - interval '25 hours' where content in ('counted', :old)"
        connection.execute(sa.text(statement), {"old": "long_superseded"})
    counted, recent, old, unknown = (
        stage(tmp_path, content) for content in ("counted", "just_superseded", "long_superseded", "never_booked")
    )
    assert remove_uncounted(tmp_path, "web", ledger, [counted]) == 2
    assert [(tmp_path / file.relative_path).exists() for file in (counted, recent, old, unknown)] == [
        True,
        True,
        False,
        False,
    ]
