"""When a source is beyond its bound, and which of its files are named."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.ledger.files import Booking, FileLedger, Load
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.ledger.quality import LATELY, BookedLines, Lines, Quality, is_beyond, judged, quality
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.sources.records.refused_lines import QuarantinedLine

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HISTORY = Lines(1_000_000, 10)


def file(path: str, lines: int, quarantined: int, *, error: str | None = None, days: int = 0) -> BookedLines:
    return BookedLines(path, f"content of {path}", Lines(lines, quarantined), NOON + timedelta(days=days), error)


@pytest.mark.parametrize(
    ("lines", "quarantined", "beyond"),
    [
        (0, 0, False),
        (1, 1, True),
        (2, 1, False),
        (3, 3, True),
        (10, 2, False),
        (10, 3, True),
        (142, 4, False),
        (142, 5, True),
        (10_000, 129, False),
        (10_000, 130, True),
    ],
)
def test_what_chance_explains_is_no_broken_file(lines: int, quarantined: int, beyond: bool) -> None:
    assert is_beyond(Lines(lines, quarantined), 0.01) is beyond


COUNTS = st.tuples(st.integers(0, 500), st.integers(0, 500)).map(lambda pair: Lines(max(pair), min(pair)))
SHARES = st.floats(0, 1)


@given(COUNTS, SHARES)
def test_nothing_that_keeps_the_bound_is_beyond_it_and_one_more_bad_line_makes_no_file_better(
    found: Lines, bound: float
) -> None:
    if found.quarantined <= bound * found.lines:
        assert not is_beyond(found, bound)
    if is_beyond(found, bound) and found.quarantined < found.lines:
        assert is_beyond(Lines(found.lines, found.quarantined + 1), bound)


@given(st.lists(COUNTS, max_size=6), SHARES)
def test_a_source_is_beyond_its_bound_exactly_if_a_file_a_day_or_the_whole_is(
    counts: list[Lines], bound: float
) -> None:
    files = [file(f"{number}", each.lines, each.quarantined) for number, each in enumerate(counts)]
    found = judged(HISTORY, files, bound=bound)
    of_day = sum(counts, Lines())
    expected = any(is_beyond(each, bound) for each in counts) or is_beyond(of_day, bound) or HISTORY.share > bound
    assert found.is_beyond == expected
    assert bool(found.causes) == expected


def test_a_small_broken_file_is_named_with_its_reasons_however_long_the_history_is() -> None:
    small = file("web/small.jsonl", 3, 3)
    explained = BookedLines(small.path, small.content, small.found, small.booked_at, None, {"not_json": 3})
    found = judged(HISTORY, [small, file("web/good.jsonl", 1_000, 0)], bound=0.01, worst=[explained])
    assert [each.path for each in found.broken] == ["web/small.jsonl"]
    found = Quality(found.bound, found.found, found.broken, found.days, [explained])
    assert found.causes == ["web/small.jsonl: 3 of 3 lines are in quarantine (100.0%): not_json: 3"]


def test_a_file_that_cannot_be_read_comes_first_with_the_cause() -> None:
    broken = file("web/a.jsonl.gz", 0, 0, error="Truncated compressed stream", days=-400)
    found = judged(HISTORY, [file("web/b.jsonl", 9, 9), broken], bound=0.5)
    assert found.causes[0] == "web/a.jsonl.gz: cannot be read: Truncated compressed stream"


def test_many_files_with_two_bad_lines_each_are_seen_by_the_day_they_came() -> None:
    crumbs = [file(f"web/{number}.jsonl", 50, 2) for number in range(10)]
    found = judged(HISTORY, crumbs, bound=0.01)
    assert (found.broken, found.days) == ([], {NOON.date(): Lines(500, 20)})
    assert found.causes == [
        "of the files booked on 2026-03-02: 20 of 500 lines are in quarantine (4.0%), beyond the bound of 1.0%"
    ]


def test_the_causes_of_many_broken_files_stay_few() -> None:
    found = judged(HISTORY, [file(f"web/{number:03}", 9, 9) for number in range(500)], bound=0.01)
    assert len(found.causes) == 4
    assert found.causes[-1] == "497 more broken files"
    assert len(found.worst) == 10


@pytest.fixture
def engine(postgres_url: str) -> sa.Engine:
    engine = sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    migrate(engine)
    return engine


def test_a_broken_file_counts_until_it_is_superseded_or_a_week_has_passed(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)

    def book(path: str, content: str, lines: int, reasons: list[str], error: str | None = None) -> None:
        ledger.reserve({content: 1})
        bad = [QuarantinedLine(number, reason, b"secret") for number, reason in enumerate(reasons, 1)]
        load = Load(content, "r", lines=lines, blank=lines - len(bad), quarantined=bad, error=error)
        ledger.book("web", [Booking(path, "stamp", content, load)])

    def broken() -> list[str]:
        return [each.path for each in quality(engine, "web", 0.01, is_there=lambda _: True).broken]

    book("web/bad", "c1", 4, ["not_json", "not_json", "invalid_utf8", "not_json"])
    book("web/cut", "c2", 0, [], "it ends too early")
    found = quality(engine, "web", 0.01, is_there=lambda _: True)
    assert [(each.path, each.explained) for each in found.worst] == [
        ("web/cut", "cannot be read: it ends too early"),
        ("web/bad", "4 of 4 lines are in quarantine (100.0%): not_json: 3; invalid_utf8: 1"),
    ]
    assert "secret" not in repr(found)
    with engine.begin() as connection:
        connection.execute(sa.text("update ledger.files set booked_at = now() - :age"), {"age": LATELY})
    assert broken() == ["web/cut"]
    book("web/cut", "c3", 1, [])
    assert broken() == []
    book("web/again", "c4", 3, ["not_json"] * 3)
    assert broken() == ["web/again"]
    book("web/again", "c5", 3, [])
    assert broken() == []
