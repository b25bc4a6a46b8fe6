"""Which days are stale, and that no overtaken or killed run can make a day look current."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from pipeline_assets.ledger.builds import (
    BuildLedger,
    Claim,
    OvertakenError,
    book_revisions,
    confirmation,
    require_all,
    staged_fingerprints,
)
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.planning import STAGING, UNPARTITIONED
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.tables.spec import Input
from pipeline_assets_tests.planned import Planned

RECIPES = [
    Planned("events", "1", (Input(STAGING, before=1),)),
    Planned("sessions", "1", (Input("events", before=1, after=1),)),
]
LAST = date(2026, 3, 31)


@pytest.fixture
def engine(postgres_url: str) -> sa.Engine:
    engine = sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    migrate(engine)
    return engine


def march(*days: int) -> list[date]:
    return [date(2026, 3, day) for day in days]


def staged(*days: int, content: str = "c") -> list[StagedFile]:
    return [
        StagedFile("web", content, "r", day, 1, LakeFile(f"{day}/{content}", "staging/web", day, 1))
        for day in march(*days)
    ]


def those_of(files: list[StagedFile]) -> Callable[[sa.Connection, date, date], list[StagedFile]]:
    return lambda _, first, last: [file for file in files if first <= file.event_date <= last]


def build(engine: sa.Engine, recipes: list[Planned], files: list[StagedFile], days: list[date]) -> None:
    ledger = BuildLedger(engine, recipes)
    for recipe in recipes:
        confirm(engine, ledger.claim(recipe.name, days, "run", staged=those_of(files)), recipe)


def confirm(engine: sa.Engine, claim: Claim, recipe: Planned | None = None) -> None:
    recipe = recipe or next(recipe for recipe in RECIPES if recipe.name == claim.table)
    with engine.begin() as connection:
        confirmed = connection.execute(confirmation(recipe, claim.days, claim.claim_id)).scalars().all()
        require_all(claim.table, claim.days, confirmed)


def test_a_day_is_stale_until_every_table_was_built_from_what_is_there(engine: sa.Engine) -> None:
    files = staged(1, 2, 3)
    ledger = BuildLedger(engine, RECIPES)
    assert ledger.staleness(staged_fingerprints(files), until=LAST).tables == {
        "events": set(march(1, 2, 3)),
        "sessions": set(march(1, 2, 3)),
    }
    build(engine, RECIPES, files, march(1, 2, 3))
    assert ledger.staleness(staged_fingerprints(files), until=LAST).tables == {"events": set(), "sessions": set()}


def test_a_late_file_makes_stale_only_its_day_and_the_neighbours_that_read_it(engine: sa.Engine) -> None:
    days = list(range(1, 11))
    build(engine, RECIPES, staged(*days), march(*days))
    late = [*staged(*days), *staged(5, content="late")]
    assert BuildLedger(engine, RECIPES).staleness(staged_fingerprints(late), until=LAST).tables == {
        # The day after it looks back for duplicates; sessions look one day to either side of both.
        "events": set(march(5, 6)),
        "sessions": set(march(4, 5, 6, 7)),
    }


def test_a_day_that_loses_its_rows_is_rebuilt_empty(engine: sa.Engine) -> None:
    build(engine, RECIPES, staged(1, 2, 3), march(1, 2, 3))
    left = staged(1, 2)
    ledger = BuildLedger(engine, RECIPES)
    assert date(2026, 3, 3) in ledger.staleness(staged_fingerprints(left), until=LAST).tables["events"]
    build(engine, RECIPES, left, march(1, 2, 3))
    assert not any(ledger.staleness(staged_fingerprints(left), until=LAST).tables.values())


def test_a_new_version_makes_every_day_of_its_table_and_of_those_that_read_it_stale(engine: sa.Engine) -> None:
    build(engine, RECIPES, staged(1, 2), march(1, 2))
    newer = [Planned("events", "2", RECIPES[0].inputs), RECIPES[1]]
    assert BuildLedger(engine, newer).staleness(staged_fingerprints(staged(1, 2)), until=LAST).tables == {
        "events": set(march(1, 2)),
        "sessions": set(march(1, 2)),
    }


def test_days_to_come_are_not_stale_and_do_not_keep_their_neighbours_stale(engine: sa.Engine) -> None:
    files = staged(1, 2)
    ledger = BuildLedger(engine, RECIPES)
    build(engine, RECIPES, staged(1), march(1))
    assert ledger.staleness(staged_fingerprints(files), until=date(2026, 3, 1)).tables == {
        "events": set(),
        "sessions": set(),
    }


def test_a_killed_run_leaves_its_days_stale_even_if_the_inputs_return_to_what_was_built(engine: sa.Engine) -> None:
    build(engine, RECIPES, staged(1), march(1))
    ledger = BuildLedger(engine, RECIPES)
    ledger.claim("events", march(1), "killed", staged=those_of(staged(1, content="other")))
    assert ledger.staleness(staged_fingerprints(staged(1)), until=LAST).tables["events"] == set(march(1))


@pytest.mark.parametrize("again", ["run", "another run"])
def test_an_overtaken_claim_may_not_be_published_even_if_the_later_one_is_of_the_same_run(
    engine: sa.Engine, again: str
) -> None:
    ledger = BuildLedger(engine, RECIPES)
    first = ledger.claim("events", march(1, 2), "run", staged=those_of(staged(1, 2)))
    second = ledger.claim("events", march(2), again, staged=those_of(staged(2, content="late")))
    with pytest.raises(OvertakenError, match="2026-03-01 to 2026-03-02"):
        confirm(engine, first)
    confirm(engine, second)
    with pytest.raises(OvertakenError):
        confirm(engine, first)


@pytest.mark.parametrize("other", ["slow", "other"])
def test_a_build_whose_inputs_were_rebuilt_while_it_read_them_leaves_its_days_stale(
    engine: sa.Engine, other: str
) -> None:
    build(engine, RECIPES, staged(1, 2, 3), march(1, 2, 3))
    ledger = BuildLedger(engine, RECIPES)
    slow = ledger.claim("sessions", march(1, 2, 3), "slow")
    confirm(engine, ledger.claim("events", march(3), other, staged=those_of(staged(2, 3))))
    confirm(engine, slow)
    assert ledger.staleness(staged_fingerprints(staged(1, 2, 3)), until=LAST).tables == {
        "events": set(),
        "sessions": set(march(2, 3)),
    }


def test_days_before_the_first_day_are_not_asked_for(engine: sa.Engine) -> None:
    build(engine, RECIPES, staged(1, 2, 3), march(1, 2, 3))
    newer = [Planned("events", "2", RECIPES[0].inputs), RECIPES[1]]
    found = BuildLedger(engine, newer, since=date(2026, 3, 2)).staleness(staged_fingerprints(staged(2, 3)), until=LAST)
    assert found.tables["events"] == set(march(2, 3))


# --- Tables without partitions ------------------------------------------------------------------------

MODEL = [
    *RECIPES,
    Planned("identities", "1", (Input("events"),), is_daily=False),
    Planned("person_days", "1", (Input("sessions"), Input("identities"))),
    Planned("users", "1", (Input("sessions"), Input("identities")), is_daily=False),
]


def run(
    engine: sa.Engine,
    files: list[StagedFile],
    revised: dict[date, str],
    recipes: list[Planned] = MODEL,
    since: date = date.min,
) -> list[str]:
    """Build what the first request asks for; what it was."""
    ledger = BuildLedger(engine, recipes, since=since)
    stale = ledger.staleness(staged_fingerprints(files), until=LAST)
    request = stale.requests()[0]
    name = f"run {ledger.now()}"
    for recipe in recipes:
        if recipe.name not in request.tables:
            continue
        days = [UNPARTITIONED]
        if recipe.is_daily:
            days = [day for day in request.days if day in stale.tables[recipe.name]]
        confirm(engine, ledger.claim(recipe.name, days, name, staged=those_of(files), until=LAST), recipe)
        if recipe.name == "identities":
            with engine.begin() as connection:
                for statement in book_revisions("identities", revised):
                    connection.execute(statement)
    return [str(request), *request.tables]


def test_a_table_without_partitions_is_stale_as_soon_as_any_day_of_its_inputs_is(engine: sa.Engine) -> None:
    everything = ["events", "sessions", "identities", "person_days", "users"]
    assert run(engine, staged(1, 2), {}) == ["2026-03-01 to 2026-03-02", *everything]
    ledger = BuildLedger(engine, MODEL)
    assert not any(ledger.staleness(staged_fingerprints(staged(1, 2)), until=LAST).tables.values())
    found = ledger.staleness(staged_fingerprints(staged(1, 2, 3)), until=LAST).tables
    assert (found["identities"], found["users"]) == ({UNPARTITIONED}, {UNPARTITIONED})
    assert found["person_days"] == set(march(2, 3))


def test_only_the_days_are_stale_of_which_a_table_without_partitions_says_something_else(engine: sa.Engine) -> None:
    first, second = march(1, 2)
    run(engine, staged(1, 2), {first: "a", second: "b"})
    # Its own step books the revisions, and the days built after it in the same run have seen them.
    ledger = BuildLedger(engine, MODEL)
    assert not any(ledger.staleness(staged_fingerprints(staged(1, 2)), until=LAST).tables.values())
    with engine.begin() as connection:
        for statement in book_revisions("identities", {first: "a", second: "c"}):
            connection.execute(statement)
    found = ledger.staleness(staged_fingerprints(staged(1, 2)), until=LAST)
    assert {table for table, days in found.tables.items() if days} == {"person_days"}
    assert found.tables["person_days"] == {second}
    with engine.begin() as connection:
        for statement in book_revisions("identities", {second: "b"}):
            connection.execute(statement)
    assert ledger.staleness(staged_fingerprints(staged(1, 2)), until=LAST).tables["person_days"] == {first}


def test_late_days_far_apart_and_the_tables_without_partitions_that_read_them_are_one_run(engine: sa.Engine) -> None:
    days = staged(1, 2, 3, 4, 5, 6, 7)
    run(engine, days, {})
    late = [*days, *staged(1, 7, content="late")]
    assert run(engine, late, {}) == [
        "5 days from 2026-03-01 to 2026-03-07", "events", "sessions", "identities", "person_days", "users",
    ]  # fmt: skip
    assert not any(BuildLedger(engine, MODEL).staleness(staged_fingerprints(late), until=LAST).tables.values())


def test_a_claim_and_its_confirmation_touch_no_day_between_those_of_the_run(engine: sa.Engine) -> None:
    files = staged(1, 2, 3, 4, 5)
    build(engine, RECIPES, files, march(1, 2, 3, 4, 5))
    ledger = BuildLedger(engine, RECIPES)
    ledger.claim("events", march(3), "other", staged=those_of(files))
    confirm(engine, ledger.claim("events", march(1, 5), "apart", staged=those_of(files)))
    assert ledger.built_by("events", "apart") == march(1, 5)
    assert ledger.staleness(staged_fingerprints(files), until=LAST).tables["events"] == set(march(3))


def test_a_new_version_of_a_table_without_partitions_alone_asks_for_no_day(engine: sa.Engine) -> None:
    run(engine, staged(1), {})
    newer = [*MODEL[:-1], Planned("users", "2", MODEL[-1].inputs, is_daily=False)]
    assert run(engine, staged(1), {}, newer) == ["tables without partitions", "users"]
    assert not any(BuildLedger(engine, newer).staleness(staged_fingerprints(staged(1)), until=LAST).tables.values())


def test_a_table_without_partitions_stays_stale_if_an_input_was_rebuilt_while_it_was_made(engine: sa.Engine) -> None:
    run(engine, staged(1, 2), {})
    ledger = BuildLedger(engine, MODEL)
    slow = ledger.claim("identities", [UNPARTITIONED], "slow", until=LAST)
    confirm(engine, ledger.claim("events", march(2), "other", staged=those_of(staged(2))))
    confirm(engine, slow, MODEL[2])
    assert ledger.staleness(staged_fingerprints(staged(1, 2)), until=LAST).tables["identities"] == {UNPARTITIONED}


def test_a_table_without_partitions_reads_nothing_before_the_first_day(engine: sa.Engine) -> None:
    run(engine, staged(1, 2, 3), {})
    later = BuildLedger(engine, MODEL, since=date(2026, 3, 2))
    assert later.staleness(staged_fingerprints(staged(2, 3)), until=LAST).tables["identities"] == {UNPARTITIONED}
    run(engine, staged(2, 3), {}, since=date(2026, 3, 2))
    assert not any(later.staleness(staged_fingerprints(staged(2, 3)), until=LAST).tables.values())


@pytest.mark.parametrize(("timezone", "is_over"), [("Etc/GMT+12", False), ("Pacific/Kiritimati", True)])
def test_a_day_counts_as_built_once_that_happened_after_it_was_over_in_the_reporting_time_zone(
    engine: sa.Engine, timezone: str, is_over: bool
) -> None:
    """What comes later is late. The day that goes on where clocks are last is over where they are first."""
    today = datetime.now(ZoneInfo("Etc/GMT+12")).date()
    events = RECIPES[0]
    ledger = BuildLedger(engine, RECIPES)
    first_built = sa.text("select day, first_built_at is not null from ledger.builds order by day")
    days = [today - timedelta(days=1), today]
    for _ in range(2):
        claim = ledger.claim("events", days, "run", staged=those_of([]))
        with engine.begin() as connection:
            confirmed = confirmation(events, days, claim.claim_id, timezone=timezone)
            require_all("events", days, [*connection.execute(confirmed).scalars()])
            assert [tuple(row) for row in connection.execute(first_built)] == [(days[0], True), (today, is_over)]


def claim_people(engine: sa.Engine, recipe: Planned, name: str, *, finish: bool = True) -> frozenset[date] | None:
    """Claim a table without partitions that reads sessions, and confirm it; the days that its inputs changed on."""
    recipes = [*RECIPES, recipe]
    claim = BuildLedger(engine, recipes).claim(recipe.name, [UNPARTITIONED], name, until=LAST)
    if finish:
        confirm(engine, claim, recipe)
    return claim.changed


PEOPLE = Planned("people", "1", (Input("sessions"),), is_daily=False)


def test_a_claim_of_a_table_without_partitions_tells_on_which_days_its_inputs_changed_since_it_was_built(
    engine: sa.Engine,
) -> None:
    build(engine, RECIPES, staged(1, 2, 3), march(1, 2, 3))
    assert claim_people(engine, PEOPLE, "first") is None
    assert claim_people(engine, PEOPLE, "again") == set()
    # The new day, and the day before it, whose sessions read it.
    build(engine, RECIPES, staged(1, 2, 3, 4), march(3, 4))
    assert claim_people(engine, PEOPLE, "next") == set(march(3, 4))
    assert claim_people(engine, PEOPLE, "last") == set()


def test_a_day_that_somebody_is_building_may_have_changed_every_time(engine: sa.Engine) -> None:
    build(engine, RECIPES, staged(1, 2), march(1, 2))
    claim_people(engine, PEOPLE, "first")
    BuildLedger(engine, RECIPES).claim("sessions", march(2), "other")
    assert claim_people(engine, PEOPLE, "second") == set(march(2))
    assert claim_people(engine, PEOPLE, "third") == set(march(2))
    build(engine, RECIPES, staged(1, 2), march(2))
    assert claim_people(engine, PEOPLE, "fourth") == set(march(2))
    assert claim_people(engine, PEOPLE, "fifth") == set()


def test_after_a_build_that_failed_and_with_another_version_nothing_is_known_of_what_changed(engine: sa.Engine) -> None:
    build(engine, RECIPES, staged(1), march(1))
    claim_people(engine, PEOPLE, "first")
    claim_people(engine, PEOPLE, "fails", finish=False)
    assert claim_people(engine, PEOPLE, "second") is None
    newer = Planned("people", "2", PEOPLE.inputs, is_daily=False)
    assert claim_people(engine, newer, "newer") is None
    assert claim_people(engine, newer, "newest") == set()


def test_a_day_that_is_no_longer_read_has_changed(engine: sa.Engine) -> None:
    build(engine, RECIPES, staged(1, 2), march(1, 2))
    claim_people(engine, PEOPLE, "first")
    later = BuildLedger(engine, [*RECIPES, PEOPLE], since=march(2)[0])
    assert later.claim("people", [UNPARTITIONED], "later", until=LAST).changed == set(march(1))


def test_a_claim_of_days_tells_nothing_of_changes(engine: sa.Engine) -> None:
    assert BuildLedger(engine, RECIPES).claim("sessions", march(1), "run").changed is None


# --- Marts ---------------------------------------------------------------------------------------------


def publish(engine: sa.Engine, claim: Claim, recipe: Planned, *, is_part: bool = False) -> None:
    """Confirm a claim of a mart, which is made if it is not there, as the IO manager does."""
    with engine.begin() as connection:
        connection.execute(sa.text("create schema if not exists marts"))
        connection.execute(sa.text(f"create table if not exists marts.{recipe.name} ()"))
        mart = f'"marts"."{recipe.name}"'
        ages = connection.execute(confirmation(recipe, claim.days, claim.claim_id, mart=mart, is_part=is_part))
        require_all(claim.table, claim.days, ages.scalars().all())


@pytest.mark.parametrize("is_part", [False, True])
def test_a_part_of_a_mart_that_was_dropped_under_its_build_is_not_taken_for_all_of_it(
    engine: sa.Engine, is_part: bool
) -> None:
    build(engine, RECIPES, staged(1), march(1))
    ledger = BuildLedger(engine, [*RECIPES, PEOPLE])
    publish(engine, ledger.claim("people", [UNPARTITIONED], "run"), PEOPLE)
    claim = ledger.claim("people", [UNPARTITIONED], "run")
    with engine.begin() as connection:
        connection.execute(sa.text("drop table marts.people"))
    publish(engine, claim, PEOPLE, is_part=is_part)
    stale = ledger.staleness(staged_fingerprints(staged(1)), until=LAST).tables["people"]
    assert stale == ({UNPARTITIONED} if is_part else set())
    # And the next build makes all of it.
    again = ledger.claim("people", [UNPARTITIONED], "run")
    assert again.changed == (None if is_part else set())
    publish(engine, again, PEOPLE, is_part=not is_part)
    assert ledger.built_days("people") == [UNPARTITIONED]


def test_of_a_mart_that_is_lost_nothing_is_known_of_what_changed_and_all_is_claimed(engine: sa.Engine) -> None:
    sessions = RECIPES[1]
    ledger = BuildLedger(engine, [*RECIPES, PEOPLE])
    confirm(engine, ledger.claim("events", march(1, 2), "run", staged=those_of(staged(1, 2))))
    publish(engine, ledger.claim("sessions", march(1, 2), "run"), sessions)
    publish(engine, ledger.claim("people", [UNPARTITIONED], "run"), PEOPLE)
    assert ledger.claim("people", [UNPARTITIONED], "run").changed == set()
    publish(engine, ledger.claim("people", [UNPARTITIONED], "run"), PEOPLE)
    # A late file makes one of its days stale besides.
    late = [*staged(1, 2), *staged(2, content="late")]
    confirm(engine, ledger.claim("events", march(2), "run", staged=those_of(late)))
    with engine.begin() as connection:
        connection.execute(sa.text("drop table marts.sessions"))
    found = ledger.staleness(staged_fingerprints(late), until=LAST)
    assert (found.lost, found.tables["sessions"]) == (("sessions",), set(march(1, 2)))
    # Whoever reads it has to read all of it again.
    assert ledger.claim("people", [UNPARTITIONED], "run").changed == set(march(1, 2))
    assert ledger.claim("sessions", march(1, 2), "run", only_stale=True).days == tuple(march(1, 2))
