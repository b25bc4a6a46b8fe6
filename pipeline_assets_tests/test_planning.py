"""Which days are built in which run: over any sets of days, without a ledger."""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.planning import (
    MOST_DAYS,
    STAGING,
    UNPARTITIONED,
    BuildRequest,
    Staleness,
    compared,
    days_around,
    planned,
    spans_of,
)
from pipeline_assets.tables.spec import Input
from pipeline_assets_tests.planned import Planned

EVENTS = Planned("events", "1", (Input(STAGING, before=1),))
SESSIONS = Planned("sessions", "1", (Input("events", before=1, after=1),))
PEOPLE = Planned("people", "1", (Input("events"),), is_daily=False)
PERSON_DAYS = Planned("person_days", "1", (Input("sessions"), Input("people")))
USERS = Planned("users", "1", (Input("person_days"), Input("people")), is_daily=False)
SPECS = [EVENTS, SESSIONS, PEOPLE, PERSON_DAYS, USERS]
FIRST = date(2020, 1, 1)

DAYS = st.sets(st.integers(0, 3_000).map(lambda number: FIRST + timedelta(days=number)), max_size=40)


@st.composite
def stale(draw: st.DrawFn) -> Staleness:
    """Any days of any tables; those without partitions may be stale too."""
    tables: dict[str, set[date]] = {}
    for spec in SPECS:
        tables[spec.name] = draw(DAYS) if spec.is_daily else draw(st.sampled_from([set(), {UNPARTITIONED}]))
    return Staleness(SPECS, tables)


def march(*days: int) -> list[date]:
    return [date(2026, 3, day) for day in days]


def of(**tables: list[date]) -> Staleness:
    """Staleness of some tables' days."""
    return Staleness(SPECS, {spec.name: set(tables.get(spec.name, [])) for spec in SPECS})


@given(stale())
def test_one_run_builds_every_stale_day_however_far_apart_and_no_other(found: Staleness) -> None:
    names = [spec.name for spec in SPECS if found.tables[spec.name]]
    expected = [BuildRequest(tuple(sorted(found.days)), tuple(names))] if names else []
    assert found.requests() == expected


@given(stale())
def test_halves_end_at_single_days_and_lose_none_whose_tables_need_not_wait(found: Staleness) -> None:
    for whole in found.requests():
        parts, single = [whole], []
        while parts:
            part = parts.pop()
            halves = found.halves(part)
            if len(part.days) <= 1:
                assert not halves
                single += part.days
            parts += halves
        assert len(single) == len(set(single))
        assert found.tables["events"] | found.tables["sessions"] <= set(single) <= set(whole.days)


@given(stale())
def test_a_table_without_partitions_is_in_no_run_that_leaves_a_day_before_it_to_another(found: Staleness) -> None:
    reads = {"people": {"events"}, "users": {"events", "sessions", "person_days"}}
    for whole in found.requests():
        for half in found.halves(whole):
            for table, inputs in reads.items():
                left = {name for name in inputs if found.tables[name] - set(half.days)}
                if left and found.tables[table]:
                    assert table not in half.tables
            if "person_days" in half.tables and found.tables["people"]:
                assert "people" in half.tables
            for table in half.tables:
                assert found.tables[table] & {*half.days, UNPARTITIONED}


@given(stale(), st.integers(0, 3_000), st.none() | st.integers(0, 3_000))
def test_what_another_storage_can_plan_are_the_days_it_knows(found: Staleness, first: int, last: int | None) -> None:
    begin, end = (None if number is None else FIRST + timedelta(days=number) for number in (first, last))
    assert begin is not None
    for whole in found.requests():
        part = found.within(whole, begin, end)
        known = [day for day in whole.days if day >= begin and (end is None or day <= end)]
        if not whole.days:
            assert part == whole
        elif part is None:
            # Whatever else is stale on them waits for days that are not known.
            assert not (found.tables["events"] | found.tables["sessions"]) & set(known)
        else:
            assert list(part.days) == known


def test_a_run_has_a_bounded_number_of_days() -> None:
    days = [FIRST + timedelta(days=3 * number) for number in range(1_000)]
    found = of(events=days, people=[UNPARTITIONED]).requests()
    assert [len(request.days) for request in found] == [MOST_DAYS, MOST_DAYS, 1_000 - 2 * MOST_DAYS]
    # Each of them leaves days to another.
    assert {request.tables for request in found} == {("events",)}


@given(stale(), st.integers(1, 400))
def test_where_days_may_not_lie_far_apart_they_are_several_runs(found: Staleness, farthest: int) -> None:
    requests = found.requests(farthest=farthest)
    assert {day for request in requests for day in request.days} <= found.days
    for request in requests:
        assert all((later - earlier).days <= farthest for earlier, later in pairwise(request.days))
    for earlier, later in pairwise(request for request in requests if request.days):
        assert (later.days[0] - earlier.days[-1]).days > farthest


def test_a_run_says_its_days() -> None:
    assert str(BuildRequest((), ("users",))) == "tables without partitions"
    assert str(BuildRequest((*march(1),), ("events",))) == "2026-03-01"
    assert str(BuildRequest((*march(1, 2, 3),), ("events",))) == "2026-03-01 to 2026-03-03"
    assert str(BuildRequest((*march(1, 2, 9),), ("events",))) == "3 days from 2026-03-01 to 2026-03-09"


@given(DAYS)
def test_spans_are_the_days_and_never_touch(days: set[date]) -> None:
    spans = spans_of(days)
    held = [first + timedelta(days=number) for first, last in spans for number in range((last - first).days + 1)]
    assert held == sorted(days)
    assert all((later[0] - earlier[1]).days > 1 for earlier, later in pairwise(spans))


@given(DAYS, st.integers(0, 40), st.integers(0, 40))
def test_the_days_around_some_days_are_those_of_each(days: set[date], before: int, after: int) -> None:
    found = {day + timedelta(days=offset) for day in days for offset in range(-before, after + 1)}
    assert days_around(days, before, after) == sorted(found)


def test_no_day_lies_around_the_first_and_the_last_day_there_is() -> None:
    assert days_around([date.min, date.max], 1, 1) == [
        date.min,
        date.min + timedelta(days=1),
        date.max - timedelta(days=1),
        date.max,
    ]


def built(staged: Mapping[date, str], revised: Mapping[date, str]) -> dict[str, dict[date, str]]:
    """What is booked after everything was built."""
    return {name: dict(days) for name, days in planned(SPECS, staged, staged, {"people": revised, "users": {}}).items()}


@given(DAYS.filter(bool), st.data())
def test_a_late_day_makes_stale_what_reads_it_and_a_run_of_that_makes_all_of_it_current(
    days: set[date], data: st.DataObject
) -> None:
    staged = dict.fromkeys(days, "a")
    revised = {"people": dict.fromkeys(days, "r"), "users": {}}
    booked = built(staged, revised["people"])
    assert compared(SPECS, staged, booked, revised).requests() == []
    late = data.draw(st.sets(st.sampled_from(sorted(days)), min_size=1))
    now = staged | dict.fromkeys(late, "b")
    found = compared(SPECS, now, booked, revised)
    assert found.tables["events"] == set(days_around(late, 0, 1)) & days
    assert found.tables["sessions"] == set(days_around(found.tables["events"], 1, 1)) & days
    (request,) = found.requests()
    assert request.days == tuple(sorted(found.tables["events"] | found.tables["sessions"]))
    for table, day, fingerprint in found.asked_of(request):
        booked[table][day] = fingerprint
    assert compared(SPECS, now, booked, revised).requests() == []
