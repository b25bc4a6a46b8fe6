"""Which contents count depends on the newest content of every path, and on nothing else."""

import secrets
from datetime import date

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from pipeline_assets.ledger.files import Booking, FileLedger, LedgerError, Load
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.ledger.quarantine import quarantined, quarantined_files
from pipeline_assets.ledger.summary import summarise
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.sources.records.refused_lines import QuarantinedLine
from pipeline_assets_tests.ledger.staged_rows import lake_files

DAY = date(2026, 3, 1)


@pytest.fixture
def engine(postgres_url: str) -> sa.Engine:
    engine = sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    migrate(engine)
    return engine


def load(content: str, rows: int, *, version: str = "v1", quarantined_lines: int = 0, blank: int = 0) -> Load:
    return Load(
        content,
        version,
        lines=rows + quarantined_lines + blank,
        landed=rows,
        blank=blank,
        days={DAY: rows} if rows else {},
        quarantined=[QuarantinedLine(rows + n + 1, "not_json", b"{\xff\t\\N\n") for n in range(quarantined_lines)],
    )


def counted(ledger: FileLedger) -> dict[str, int]:
    return {file.content: file.rows for file in ledger.staged_files(["web"], DAY, DAY)}


def book(ledger: FileLedger, path: str, what: Load, *, room: int = 0) -> None:
    """Book a load whose rows are in files of their own, beside `room` others."""
    ledger.reserve({what.content: 1})
    ledger.book("web", [Booking(path, "stamp", what.content, what)], lake_files(what, room=room))


def book_known(ledger: FileLedger, path: str, content: str) -> bool:
    return not ledger.book("web", [Booking(path, "stamp", content)])


def test_newer_content_of_a_path_supersedes_the_older(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)
    book(ledger, "a.jsonl", load("half", 5))
    book(ledger, "a.jsonl", load("whole", 10))
    assert counted(ledger) == {"whole": 10}


def test_equal_content_under_two_names_counts_once(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)
    book(ledger, "b.jsonl", load("same", 5))
    book_known(ledger, "a.jsonl", "same")
    assert counted(ledger) == {"same": 5}
    summary = summarise(engine, "web")
    assert (summary.files, summary.repeats, summary.lines) == (1, 1, 5)


def test_a_further_name_of_a_content_changes_no_booking_of_the_others(engine: sa.Engine) -> None:
    # Of empty files there may be a hundred thousand.
    ledger = FileLedger(engine)
    book(ledger, "b.jsonl", load("same", 5))
    assert all(book_known(ledger, f"{name}.jsonl", "same") for name in "cde")
    versions = "select path, xmin::text from ledger.files where path < 'x' order by path"
    with engine.connect() as connection:
        before = connection.execute(sa.text(versions)).all()
    assert book_known(ledger, "x.jsonl", "same")
    with engine.connect() as connection:
        assert connection.execute(sa.text(versions)).all() == before
    # One that comes before the others counts from now on, and two bookings say so.
    assert book_known(ledger, "a.jsonl", "same")
    states = "select path, state from ledger.files where state = 'active'"
    with engine.connect() as connection:
        assert connection.execute(sa.text(states)).all() == [("a.jsonl", "active")]
        changed = {*connection.execute(sa.text(versions))} - {*before}
    assert {path for path, _ in changed} == {"a.jsonl", "b.jsonl"}


def test_the_longest_path_that_landing_takes_is_booked(engine: sa.Engine) -> None:
    # Of random bytes, for PostgreSQL compresses what it can.
    path = "/".join(secrets.token_urlsafe(150)[:199] for _ in range(10)) + "x"
    assert len(path) == 2000
    book(FileLedger(engine), path, load("a" * 64, 5))
    assert counted(FileLedger(engine)) == {"a" * 64: 5}


def test_lines_are_quarantined_for_reasons_of_any_length(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)
    # Of random letters, for PostgreSQL compresses what it can.
    columns = [secrets.token_urlsafe(8000) for _ in range(2)]
    for number, path in enumerate("ab"):
        lines = [QuarantinedLine(line, f"missing:{columns[line % 2]}", b"x") for line in range(1, 4)]
        book(ledger, path, Load(path, "v1", lines=3 - number, quarantined=lines[: 3 - number]))
        assert ledger.recount("web")
    reasons = summarise(engine, "web").reasons
    assert sorted(reasons.values()) == [2, 3]
    assert {reason[:400] for reason in reasons} == {f"missing:{column}"[:400] for column in columns}
    assert {line.reason for line in quarantined(engine, reason="missing:")} == reasons.keys()


def test_a_content_counts_as_long_as_it_is_the_newest_of_some_path(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)
    book(ledger, "a.jsonl", load("old", 5))
    book_known(ledger, "b.jsonl", "old")
    book(ledger, "a.jsonl", load("new", 7))
    assert counted(ledger) == {"old": 5, "new": 7}
    book(ledger, "b.jsonl", load("newer", 1))
    assert counted(ledger) == {"new": 7, "newer": 1}


def test_a_path_may_return_to_an_older_content_which_is_read_again(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)
    book(ledger, "a.jsonl", load("one", 5))
    book(ledger, "a.jsonl", load("two", 7))
    assert ledger.known("web", ["one", "two"], "v1") == {"two"}
    assert not book_known(ledger, "a.jsonl", "one")
    book(ledger, "a.jsonl", load("one", 5))
    assert counted(ledger) == {"one": 5}


def test_any_number_of_contents_is_read_again_at_once(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)
    what = load("one", 5)
    files = lake_files(what)
    ledger.reserve({"one": 1})
    ledger.book("web", [Booking("a.jsonl", "stamp", "one", what)], files)
    # More than PostgreSQL takes as values of their own.
    others = [str(number) for number in range(70_000)]
    assert ledger.contents_in([files[0].name, *others]) == {"one"}
    ledger.read_again("web", ["one", *others])
    assert ledger.not_as_booked("web", "v1", {"a.jsonl": "stamp"}).keys() == {"a.jsonl"}


def test_the_files_written_last_are_found_however_many_contents_they_hold(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)
    written = []
    for group in ("old", "mid", "new"):
        loads = [load(f"{group}{number}", 1) for number in range(5)]
        ledger.reserve({each.content: 1 for each in loads})
        files = lake_files(*loads, source="last")
        ledger.book("last", [Booking(each.content, "stamp", each.content, each) for each in loads], files)
        written += files
    assert ledger.last_files("last", 2) == [written[2], written[1]]


def test_an_unreadable_newer_content_takes_the_older_out_of_the_count(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)
    book(ledger, "a.jsonl", load("good", 5))
    book(ledger, "a.jsonl", Load("bad", "v1", error="truncated"))
    assert counted(ledger) == {}
    assert summarise(engine, "web").unreadable == 1
    assert [line.reason for line in quarantined(engine)] == ["unreadable: truncated"]


def test_reading_a_content_again_under_a_new_declaration_replaces_its_counts_and_quarantine(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)
    book(ledger, "a.jsonl", load("x", 5, quarantined_lines=2, blank=1))
    book_known(ledger, "b.jsonl", "x")
    book(ledger, "b.jsonl", load("x", 7, version="v2", blank=1))
    assert counted(ledger) == {"x": 7}
    assert quarantined(engine) == []
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("select path, declaration_version, landed, state from ledger.files order by path")
        ).all()
    assert rows == [("a.jsonl", "v2", 7, "active"), ("b.jsonl", "v2", 7, "repeat")]


def test_files_of_quarantined_lines_are_told_without_the_lines(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)
    book(ledger, "a.jsonl", load("x", 1, quarantined_lines=3))
    book(ledger, "b.jsonl", Load("bad", "v1", error="truncated"))
    book(ledger, "c.jsonl", load("y", 1))
    found = [(file.path, file.content, file.lines) for file in quarantined_files(engine, source="web")]
    assert found == [("a.jsonl", "x", 3), ("b.jsonl", "bad", 1)]
    assert [file.path for file in quarantined_files(engine, reason="unreadable")] == ["b.jsonl"]
    assert quarantined_files(engine, source="app") == []


def test_quarantined_bytes_come_back_as_they_were(engine: sa.Engine) -> None:
    book(FileLedger(engine), "a.jsonl", load("x", 1, quarantined_lines=1))
    assert [line.raw for line in quarantined(engine)] == [b"{\xff\t\\N\n"]


@pytest.mark.parametrize(
    "wrong",
    [
        Load("x", "r", lines=3, landed=2, days={DAY: 2}),
        Load("x", "r", lines=2, landed=2, days={DAY: 1}),
    ],
)
def test_a_load_that_does_not_balance_is_refused_and_leaves_nothing(engine: sa.Engine, wrong: Load) -> None:
    ledger = FileLedger(engine)
    with pytest.raises(LedgerError):
        book(ledger, "a.jsonl", wrong)
    assert not ledger.has_files("web")


def test_the_database_itself_refuses_a_file_that_does_not_balance(engine: sa.Engine) -> None:
    book(FileLedger(engine), "a.jsonl", load("x", 5))
    with pytest.raises(IntegrityError, match="files_balance"), engine.begin() as connection:
        connection.execute(sa.text("update ledger.files set landed = landed + 1"))


PATHS, CONTENTS = st.sampled_from(["a", "b", "c"]), st.sampled_from(["k", "l", "m"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(st.tuples(PATHS, CONTENTS), min_size=1, max_size=12))
def test_what_counts_is_the_set_of_newest_contents_however_they_got_there(
    engine: sa.Engine, history: list[tuple[str, str]]
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("truncate ledger.contents, ledger.staged_days, ledger.source_counts cascade"))
    ledger = FileLedger(engine)
    rows = {"k": 1, "l": 2, "m": 3}
    newest: dict[str, str] = {}
    for path, content in history:
        if ledger.known("web", [content], "v1"):
            book_known(ledger, path, content)
        else:
            book(ledger, path, load(content, rows[content]))
        newest[path] = content
    assert counted(ledger) == {content: rows[content] for content in newest.values()}
    summary = summarise(engine, "web")
    assert summary.lines == sum(rows[content] for content in set(newest.values()))
    assert summary.repeats == len(newest) - len(set(newest.values()))
