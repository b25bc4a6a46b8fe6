"""The sums that bookings keep are what counting everything gives."""

import random
from collections.abc import Callable
from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.ledger.builds import staged_fingerprints
from pipeline_assets.ledger.counting import booked_fingerprints, fingerprints, staged_rows
from pipeline_assets.ledger.files import Booking, FileLedger, Load
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.ledger.summary import summarise
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.sources.records.refused_lines import QuarantinedLine
from pipeline_assets_tests.ledger.staged_rows import lake_files

BUILT = sa.text(
    "insert into ledger.builds (asset, day, inputs, state, claim_id, run_id, read_since, first_built_at) values "
    "('events', :day, '', 'built', gen_random_uuid(), '', now(), clock_timestamp()) on conflict do nothing"
)
FIRST = date(2026, 3, 1)
TABLES = ["contents", "lake_files", "staged_days", "source_counts", "source_reasons", "builds", "full_looks"]


@pytest.fixture(scope="module")
def engine(new_database: Callable[[], str]) -> sa.Engine:
    engine = sa.create_engine(sqlalchemy_url(new_database(), "psycopg"))
    migrate(engine)
    return engine


def load(content: str, version: str, days: dict[date, int], bad: int) -> Load:
    landed = sum(days.values())
    lines = [QuarantinedLine(number, "not_json" if number % 2 else "missing: time", b"x") for number in range(bad)]
    return Load(content, version, lines=landed + bad, landed=landed, days=days, quarantined=lines)


def book(ledger: FileLedger, source: str, path: str, what: Load) -> None:
    ledger.reserve({what.content: 1})
    ledger.book(source, [Booking(path, "stamp", what.content, what)], lake_files(what, source=source))


LOADS = st.builds(
    load,
    st.sampled_from("klm"),
    st.sampled_from(["v1", "v2"]),
    st.dictionaries(st.integers(0, 2).map(lambda day: FIRST + timedelta(day)), st.integers(1, 3), max_size=3),
    st.integers(0, 3),
)
UNREADABLE = st.builds(Load, st.sampled_from("kn"), st.just("v1"), error=st.just("truncated"))
STEPS = st.one_of(
    st.tuples(st.sampled_from("abc"), st.one_of(LOADS, LOADS, UNREADABLE)),
    st.tuples(st.just("built"), st.integers(0, 2)),
    st.tuples(st.just("replay"), st.sampled_from("klm")),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(STEPS, min_size=1, max_size=12))
def test_sums_kept_by_bookings_are_those_of_counting_everything(engine: sa.Engine, history: list) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text(f"truncate {', '.join(f'ledger.{name}' for name in TABLES)} cascade"))
    ledger = FileLedger(engine)
    for path, what in history:
        if path == "built":
            with engine.begin() as connection:
                connection.execute(BUILT, {"day": FIRST + timedelta(what)})
        elif path == "replay":
            ledger.read_again("web", [what])
        else:
            book(ledger, "web", path, what)
        assert ledger.recount("web"), (path, what)
    staged = ledger.staged_files(["web"], date.min, date.max)
    assert booked_fingerprints(engine, ["web"], date.min, date.max) == staged_fingerprints(staged)
    by_day: dict[date, int] = {}
    for file in staged:
        by_day[file.event_date] = by_day.get(file.event_date, 0) + file.rows
    assert staged_rows(engine, ["web"], by_day) == by_day
    assert summarise(engine, "web").landed == sum(by_day.values())


def test_rows_are_late_whose_day_had_been_built_when_their_content_was_first_booked(engine: sa.Engine) -> None:
    ledger, day = FileLedger(engine), FIRST + timedelta(10)
    ledger.reserve({"early": 1})
    with engine.begin() as connection:
        connection.execute(BUILT, {"day": day})
    ledger.reserve({"late": 1})
    book(ledger, "shop", "a", load("early", "v1", {day: 3}, 0))
    assert summarise(engine, "shop").late == 0
    book(ledger, "shop", "b", load("late", "v1", {day: 4, day + timedelta(1): 5}, 0))
    assert summarise(engine, "shop").late == 4
    ledger.reserve({"newer": 1})
    book(ledger, "shop", "b", load("newer", "v1", {}, 0))
    assert summarise(engine, "shop").late == 0


def test_sums_that_went_wrong_are_put_right_and_told(engine: sa.Engine) -> None:
    ledger = FileLedger(engine)
    ledger.reserve({"x": 1})
    book(ledger, "app", "a", load("x", "v1", {FIRST: 3}, 2))
    right = summarise(engine, "app"), booked_fingerprints(engine, ["app"], FIRST, FIRST)
    with engine.begin() as connection:
        connection.execute(sa.text("update ledger.staged_days set fingerprint = fingerprint + 1 where source = 'app'"))
        connection.execute(sa.text("delete from ledger.source_reasons where source = 'app'"))
    assert not ledger.recount("app")
    found = summarise(engine, "app"), booked_fingerprints(engine, ["app"], FIRST, FIRST)
    assert (found[0].reasons, found[1]) == (right[0].reasons, right[1])
    assert ledger.recount("app")


@given(
    staged=st.lists(
        st.tuples(st.sampled_from("ab"), st.just(FIRST), st.sampled_from("klmno"), st.sampled_from("rs")), unique=True
    ),
    other=st.randoms(),
)
def test_a_fingerprint_tells_sets_apart_and_not_their_order(staged: list, other: random.Random) -> None:
    shuffled = list(staged)
    other.shuffle(shuffled)
    assert fingerprints(shuffled) == fingerprints(staged)
    if staged:
        assert fingerprints(staged[1:]) != fingerprints(staged)
