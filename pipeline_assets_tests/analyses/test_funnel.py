from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby, pairwise, permutations, product, zip_longest
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.analyses import funnel as funnels
from pipeline_assets.analyses.funnel import Funnels, build_funnel, days_after
from pipeline_assets.declarations.analyses import Funnel, Step
from pipeline_assets.transforms.ordering import ORDER_COLUMNS
from pipeline_assets_tests.transforms.frames import EVENT_SCHEMA, NOON, Row, columns_of, days_between, event_key, utc

TODAY = NOON.date()
MINUTE = timedelta(minutes=1)
MOMENT = timedelta(microseconds=1)
NAMES = ("seen", "added", "ordered", "paid")


def funnel_of(steps: int = 3, **values: Any) -> Funnel:
    return Funnel(steps=tuple(Step(name=name) for name in NAMES[:steps]), **values)


def event(occurred_at: datetime, *serves: int, timezone: str = "UTC", **values: Any) -> Row:
    """An event of entity e that fits the steps `serves` (from 1)."""
    row = dict.fromkeys(ORDER_COLUMNS) | {
        "entity": "e",
        "event_date": occurred_at.astimezone(ZoneInfo(timezone)).date(),
        "occurred_at": occurred_at,
        "event_id": occurred_at.isoformat(),
        "breakdown": None,
        **{f"step_{number}": number in serves for number in range(1, len(NAMES) + 1)},
    }
    return row | values


def frame(rows: Sequence[Row]) -> pl.DataFrame:
    flags = {f"step_{number}": pl.Boolean() for number in range(1, len(NAMES) + 1)}
    schema = {
        "entity": pl.String(),
        "event_date": pl.Date(),
        **{name: EVENT_SCHEMA[name] for name in ORDER_COLUMNS},
        "breakdown": pl.String(),
        **flags,
    }
    return pl.DataFrame(list(rows), schema=schema)


def built(rows: Sequence[Row], funnel: Funnel, days: Sequence[date] = (TODAY,)) -> pl.DataFrame:
    return Funnels.validate(build_funnel(frame(rows).lazy(), days, funnel=funnel))


def counts(rows: Sequence[Row], funnel: Funnel) -> list[int]:
    return built(rows, funnel)["entities"].to_list()


def at(minutes: float) -> datetime:
    return NOON + minutes * MINUTE


def test_each_step_has_its_count_its_shares_and_its_median_times() -> None:
    rows = [event(at(0), 1), event(at(10), 2), event(at(11), 3)]
    rows += [event(at(0), 1, entity="f"), event(at(20), 2, entity="f"), event(at(0), 1, entity="g")]
    rows += [event(at(0), 2, entity="never entered"), event(at(1), 3, entity="never entered")]
    assert built(rows, funnel_of()).to_dicts() == [
        {
            "entry_date": TODAY,
            "breakdown": "(all)",
            "step_number": number,
            "step_name": name,
            "entities": entities,
            "from_entered": entities / 3,
            "from_previous": from_previous,
            "median_seconds_from_previous": seconds,
            "median_seconds_from_entry": since_entry,
        }
        for number, name, entities, from_previous, seconds, since_entry in (
            (1, "seen", 3, None, None, None),
            (2, "added", 2, 2 / 3, 900.0, 900.0),
            (3, "ordered", 1, 1 / 2, 60.0, 660.0),
        )
    ]


def test_where_nobody_reached_the_step_before_there_is_no_share_of_it() -> None:
    last = built([event(at(0), 1)], funnel_of()).to_dicts()[-1]
    assert columns_of(last, "entities", "from_entered", "from_previous", "median_seconds_from_previous") == (
        0,
        0.0,
        None,
        None,
    )


@pytest.mark.parametrize(("late", "expected"), [(timedelta(0), [1, 1]), (MOMENT, [1, 0])])
@pytest.mark.parametrize("mode", ["ordered", "strict", "unordered"])
@pytest.mark.parametrize("window_from", ["first", "previous"])
def test_the_end_of_the_window_is_inside(mode: str, window_from: str, late: timedelta, expected: list[int]) -> None:
    rows = [event(NOON, 1), event(NOON + timedelta(days=7) + late, 2)]
    assert counts(rows, funnel_of(2, mode=mode, window_from=window_from)) == expected


def test_one_event_serves_one_step() -> None:
    rows = [event(at(0), 1, 2, 3), event(at(1), 1, 2, 3)]
    assert [counts(rows, funnel_of(mode=mode)) for mode in ("ordered", "strict", "unordered")] == [[1, 1, 0]] * 3


@pytest.mark.parametrize("window", ["PT15S", "15s", "0.25m"])
@pytest.mark.parametrize("window_from", ["first", "previous"])
def test_a_window_of_seconds_is_exact_below_the_second(window: str, window_from: str) -> None:
    late = {"now": timedelta(0), "at its end": timedelta(seconds=15), "after it": timedelta(seconds=15) + MOMENT}
    rows = [event(NOON, 1, entity=entity) for entity in late]
    rows += [event(NOON + after, 2, entity=entity) for entity, after in late.items()]
    assert counts(rows, funnel_of(2, window=window, window_from=window_from)) == [3, 2]


MODES = [(mode, window_from) for mode in ("ordered", "strict", "unordered") for window_from in ("first", "previous")]


@pytest.mark.parametrize(("mode", "window_from"), MODES)
def test_events_of_one_moment_count_in_the_order_that_takes_furthest(mode: str, window_from: str) -> None:
    funnel = funnel_of(3, mode=mode, window_from=window_from)
    rows = [event(NOON, step, event_id=str(place), sequence=place) for place, step in enumerate((3, 2, 1))]
    table = built(rows, funnel)
    assert table["entities"].to_list() == [1, 1, 1]
    assert table["median_seconds_from_previous"].to_list() == [None, 0, 0]


@pytest.mark.parametrize(("mode", "window_from"), MODES)
def test_of_the_events_of_one_moment_too_each_serves_one_step(mode: str, window_from: str) -> None:
    funnel = funnel_of(3, mode=mode, window_from=window_from)
    assert counts([event(NOON, 1, 2, 3, event_id="a"), event(NOON, 1, event_id="b")], funnel) == [1, 1, 0]
    assert counts([event(NOON, 1, 3, event_id="a"), event(NOON, 2, event_id="b")], funnel)[:2] == [1, 1]
    assert counts([event(NOON, 1, 2, event_id="a"), event(NOON, 1, 3, event_id="b"), event(at(1), 2)], funnel)[1] == 1


def test_a_strict_step_may_follow_on_a_moment_of_which_nothing_else_is_left() -> None:
    before, between = event(at(0), event_id="other"), event(at(1), event_id="another")
    rows = [event(at(0), 1), event(at(1), 2), event(at(2), 3)]
    assert counts([before, *rows], funnel_of(mode="strict")) == [1, 1, 1]
    assert counts([between, *rows], funnel_of(mode="strict")) == [1, 1, 0]


def test_in_an_unordered_funnel_that_order_counts_that_takes_furthest_in_the_end() -> None:
    rows = [event(at(0), 1, 2, event_id="a"), event(at(0), 1, 3, event_id="b")]
    for last in (2, 3):
        assert counts([*rows, event(at(1), last)], funnel_of(mode="unordered")) == [1, 1, 1]


def test_many_events_of_one_moment_that_fit_many_steps_are_counted_in_bounded_time() -> None:
    masks = [[step for step in range(1, 5) if mask >> step & 1] for mask in range(2, 32, 2)] * 40
    rows = [event(NOON, *serves, event_id=str(place)) for place, serves in enumerate(masks)]
    for mode in ("ordered", "strict", "unordered"):
        assert counts(rows, funnel_of(4, mode=mode)) == [1, 1, 1, 1]


def test_ordered_lets_other_events_lie_between_and_strict_does_not() -> None:
    rows = [event(at(0), 1), event(at(1)), event(at(2), 2), event(at(3), 3)]
    assert counts(rows, funnel_of(mode="ordered")) == [1, 1, 1]
    assert counts(rows, funnel_of(mode="strict")) == [1, 0, 0]


def test_the_window_from_the_first_step_begins_with_the_first_step_1_event_of_the_day() -> None:
    rows = [event(at(0), 1), event(at(50), 1), event(at(70), 2)]
    assert counts(rows, funnel_of(2, window="1h")) == [1, 0]
    assert counts(rows, funnel_of(2, window="1h", window_from="previous")) == [1, 1]
    assert counts(rows, funnel_of(2, window="1h", mode="strict", window_from="previous")) == [1, 1]


def test_a_window_from_the_previous_step_allows_any_choice_of_events() -> None:
    # The first event that fits step 2 lies too far from step 3, the second one does not.
    rows = [event(at(0), 1), event(at(10), 2), event(at(60), 2), event(at(100), 3), event(at(160), 4)]
    assert counts(rows, funnel_of(4, window="1h", window_from="previous")) == [1, 1, 1, 1]
    assert counts(rows[:2] + rows[3:], funnel_of(4, window="1h", window_from="previous")) == [1, 1, 0, 0]


def test_the_time_from_the_previous_step_is_that_of_events_that_lead_there_within_the_window() -> None:
    rows = [event(at(0), 1), event(at(50), 1), event(at(70), 2), event(at(100), 2), event(at(150), 3)]
    table = built(rows, funnel_of(window="1h", window_from="previous"))
    assert table["median_seconds_from_previous"].to_list() == [None, 20 * 60, 50 * 60]
    assert table["median_seconds_from_entry"].to_list() == [None, 70 * 60, 150 * 60]


def test_unordered_counts_steps_done_whichever_and_begins_with_the_first_event_that_fits_any() -> None:
    rows = [event(at(0), 3), event(at(1), 3), event(at(2), 1), event(at(10), 2)]
    table = built(rows, funnel_of(mode="unordered"))
    assert table["step_name"].to_list() == ["any 1 of 3", "any 2 of 3", "any 3 of 3"]
    assert table["entities"].to_list() == [1, 1, 1]
    assert table["median_seconds_from_previous"].to_list() == [None, 120, 480]


def test_an_unordered_event_serves_the_lowest_step_it_fits_that_is_not_served() -> None:
    assert counts([event(at(0), 1, 2), event(at(1), 1)], funnel_of(2, mode="unordered")) == [1, 0]
    assert counts([event(at(0), 1, 2), event(at(1), 1, 2)], funnel_of(2, mode="unordered")) == [1, 1]


def test_an_entity_counts_once_per_day_of_entry_and_on_every_day_it_enters() -> None:
    rows = [event(at(0), 1), event(at(1), 1), event(NOON + timedelta(days=1), 1), event(at(3000), 2)]
    table = built(rows, funnel_of(2), days_between(TODAY, TODAY + timedelta(days=2)))
    assert table.select("entry_date", "entities").rows() == [
        (day, 1) for day in (TODAY, TODAY + timedelta(days=1)) for _ in range(2)
    ]


def test_an_event_counts_for_every_day_of_entry_from_which_it_is_reached() -> None:
    midnight = utc("2026-03-11")
    rows = [
        event(midnight + minutes * MINUTE, step) for minutes, step in ((-50, 1), (-10, 1), (5, 1), (20, 2), (70, 3))
    ]
    table = built(rows, funnel_of(window="1h", window_from="previous"), [TODAY, midnight.date()])
    assert table["entities"].to_list() == [1, 1, 1] * 2
    assert table["median_seconds_from_previous"].to_list() == [None, 1800, 3000, None, 900, 3000]


def test_where_windows_overlap_an_event_is_looked_at_once() -> None:
    # Or the events that can serve a step would multiply from step to step.
    serving = pl.DataFrame({"entry": [0, 0, 0, 1, 1], "row": [1, 3, 9, 3, 4], "end": [5, 8, 12, 8, 8]})
    assert funnels._apart(serving).rows() == [(0, 2, 5), (0, 6, 8), (0, 10, 12), (1, 4, 8), (1, 9, 8)]


def test_the_breakdown_of_events_of_one_moment_is_that_of_the_first_that_can_enter() -> None:
    rows = [
        event(NOON, 2, breakdown="fr", event_id="a", sequence=1),
        event(NOON, 1, breakdown="de", event_id="z", sequence=2),
        event(NOON, 1, breakdown="at", event_id="b"),
    ]
    assert set(built(rows, funnel_of(2, breakdown="country"))["breakdown"]) == {"de"}
    assert set(built(rows, funnel_of(2, breakdown="country", mode="unordered"))["breakdown"]) == {"fr"}


def test_the_breakdown_is_the_value_of_the_entering_event() -> None:
    rows = [event(at(0), 1, breakdown="de"), event(at(1), 2, breakdown="fr"), event(at(0), 1, entity="f")]
    table = built(rows, funnel_of(2, breakdown="country"))
    assert table.select("breakdown", "entities").rows() == [("(none)", 1), ("(none)", 0), ("de", 1), ("de", 1)]
    assert set(built(rows, funnel_of(2))["breakdown"]) == {"(all)"}


def test_the_funnel_of_nothing_is_an_empty_frame_that_keeps_the_contract() -> None:
    for mode in ("ordered", "strict", "unordered"):
        for window_from in ("first", "previous"):
            funnel = funnel_of(mode=mode, window_from=window_from)
            assert built([], funnel).is_empty()
            assert built([event(NOON, 2)], funnel, [TODAY + timedelta(days=1)]).is_empty()


@pytest.mark.parametrize("mode", ["ordered", "strict", "unordered"])
@pytest.mark.parametrize("window_from", ["first", "previous"])
def test_events_of_nobody_take_no_part(mode: str, window_from: str) -> None:
    rows = [event(at(0), 1, entity=None), event(at(1), 2, entity=None), event(at(0), 1)]
    assert counts(rows, funnel_of(2, mode=mode, window_from=window_from)) == [1, 0]


@pytest.mark.parametrize(
    ("window", "window_from", "expected"),
    [("30m", "first", 1), ("22h", "first", 1), ("23h", "first", 2), ("7d", "first", 8), ("7d", "previous", 15)],
)
def test_the_days_after_hold_the_whole_window_even_where_a_day_has_23_hours(
    window: str, window_from: str, expected: int
) -> None:
    assert days_after(funnel_of(window=window, window_from=window_from)) == expected


def in_order(rows: Sequence[Row], entity: str) -> list[Row]:
    own = [row for row in rows if row["entity"] == entity]
    return sorted(own, key=event_key)


def orders_of_moments(own: Sequence[Row]) -> Iterator[list[Row]]:
    """Every order of some events that keeps their times in order."""
    moments = [list(group) for _, group in groupby(own, key=lambda row: row["occurred_at"])]
    for order in product(*map(permutations, moments)):
        yield [row for moment in order for row in moment]


def furthest(found: Sequence[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Of each step the first time it is reached, and of these the one with the earliest step before."""
    steps = zip_longest(*found)
    return [min((t for t in times if t is not None), key=lambda time: (time[1], -time[0])) for times in steps]


def all_chains(own: Sequence[Row], chain: list[int], funnel: Funnel) -> Iterator[list[int]]:
    """Every choice of events, by position, that goes on from `chain` by the funnel's rules."""
    yield chain
    if len(chain) < len(funnel.steps):
        for later in range(chain[-1] + 1, len(own)):
            since = own[chain[0] if funnel.window_from == "first" else chain[-1]]["occurred_at"]
            in_window = own[later]["occurred_at"] - since <= funnel.window
            in_turn = funnel.mode == "ordered" or later == chain[-1] + 1
            if own[later][f"step_{len(chain) + 1}"] and in_window and in_turn:
                yield from all_chains(own, [*chain, later], funnel)


def times_in_order(own: Sequence[Row], day: date, funnel: Funnel) -> tuple[Row, list[tuple[int, int]]] | None:
    """The entering event, and (microseconds from the previous step, from entry) of each step reached after it."""
    starts = [place for place, row in enumerate(own) if row["event_date"] == day and row["step_1"]]
    if not starts:
        return None
    if funnel.window_from == "first":
        starts = starts[:1]
    chains = [chain for start in starts for chain in all_chains(own, [start], funnel)]
    times = []
    for length in range(2, len(funnel.steps) + 1):
        reaching = [chain for chain in chains if len(chain) == length]
        if not reaching:
            break
        first = min(chain[-1] for chain in reaching)
        previous = min(chain[-2] for chain in reaching if chain[-1] == first)
        times.append((microseconds(own[previous], own[first]), microseconds(own[starts[0]], own[first])))
    return own[starts[0]], times


def times_in_any_order(own: Sequence[Row], day: date, funnel: Funnel) -> tuple[Row, list[tuple[int, int]]] | None:
    """The same of an unordered funnel."""
    served: dict[int, Row] = {}
    for row in own:
        fits = [number for number in range(1, len(funnel.steps) + 1) if row[f"step_{number}"] and number not in served]
        if not fits or (not served and row["event_date"] != day):
            continue
        serving = list(served.values())
        since = serving[0 if funnel.window_from == "first" else -1] if serving else row
        if row["occurred_at"] - since["occurred_at"] > funnel.window:
            break
        served[fits[0]] = row
    serving = list(served.values())
    times = [(microseconds(before, row), microseconds(serving[0], row)) for before, row in pairwise(serving)]
    return (serving[0], times) if serving else None


def microseconds(earlier: Row, later: Row) -> int:
    return (later["occurred_at"] - earlier["occurred_at"]) // MOMENT


def seconds(times: Sequence[int]) -> float | None:
    return int(median(times)) / 1_000_000 if times else None


def reference(rows: Sequence[Row], days: Sequence[date], funnel: Funnel) -> list[Row]:
    entered: dict[tuple[date, str], list[list[tuple[int, int]]]] = {}
    read = times_in_any_order if funnel.mode == "unordered" else times_in_order
    for entity in {row["entity"] for row in rows}:
        own = in_order(rows, entity)
        for day in days:
            if first := read(own, day, funnel):
                value = "(all)" if funnel.breakdown is None else first[0]["breakdown"] or "(none)"
                found = [read(order, day, funnel) for order in orders_of_moments(own)]
                times = furthest([each[1] for each in found if each])
                entered.setdefault((day, value), []).append(times)
    table = []
    for day, value in sorted(entered):
        before = 0
        for number, step in enumerate(funnel.steps, start=1):
            reached = [times[number - 2] for times in entered[day, value] if number > 1 and len(times) > number - 2]
            entities = len(reached) if number > 1 else len(entered[day, value])
            table.append(
                {
                    "entry_date": day,
                    "breakdown": value,
                    "step_number": number,
                    "step_name": f"any {number} of {len(funnel.steps)}" if funnel.mode == "unordered" else step.name,
                    "entities": entities,
                    "from_entered": entities / len(entered[day, value]),
                    "from_previous": entities / before if before else None,
                    "median_seconds_from_previous": seconds([time for time, _ in reached]),
                    "median_seconds_from_entry": seconds([time for _, time in reached]),
                }
            )
            before = entities
    return table


@st.composite
def traffic(draw: st.DrawFn) -> tuple[list[Row], Funnel]:
    """Events of a few entities around a midnight, with gaps at the window's end, and a funnel."""
    steps = draw(st.integers(2, 4))
    window = draw(
        st.sampled_from(
            [timedelta(milliseconds=1), timedelta(seconds=15), 30 * MINUTE, timedelta(hours=12), timedelta(days=1)]
        )
    )
    funnel = funnel_of(
        steps,
        window=window,
        mode=draw(st.sampled_from(["ordered", "ordered", "strict", "unordered"])),
        window_from=draw(st.sampled_from(["first", "previous"])),
        breakdown=draw(st.sampled_from([None, "country"])),
    )
    # The second midnight is that of a day of 23 hours in Berlin.
    timezone, midnight = draw(st.sampled_from([("UTC", utc("2026-03-11")), ("Europe/Berlin", utc("2026-03-28T23:00"))]))
    gaps = [
        timedelta(0),
        timedelta(0),
        timedelta(0),
        MINUTE,
        window / 2,
        window / 3,
        window - MOMENT,
        window,
        window + MOMENT,
        timedelta(hours=20),
    ]
    rows = []
    for entity in draw(st.sampled_from(["e", "ef", "efg"])):
        moment = midnight - draw(st.sampled_from([timedelta(0), MOMENT, MINUTE, timedelta(hours=3)]))
        tied = 0
        for gap in draw(st.lists(st.sampled_from(gaps), max_size=7)):
            # The reference tries every order of a moment's events.
            tied = tied + 1 if gap == timedelta(0) else 0
            moment += gap if tied < 4 else MINUTE
            serves = draw(st.sets(st.integers(1, steps), max_size=steps) | st.sets(st.integers(1, steps), max_size=1))
            rows.append(
                event(
                    moment,
                    *serves,
                    timezone=timezone,
                    entity=entity,
                    sequence=draw(st.sampled_from([None, 1, 2])),
                    received_at=draw(st.sampled_from([None, midnight, midnight + MINUTE])),
                    breakdown=draw(st.sampled_from([None, "de", "fr"])),
                )
            )
    ids = draw(st.permutations(range(len(rows))))
    return draw(
        st.permutations([row | {"event_id": str(number)} for number, row in zip(ids, rows, strict=True)])
    ), funnel


def days_of(rows: Sequence[Row]) -> list[date]:
    dates = [row["event_date"] for row in rows] or [TODAY]
    return days_between(min(dates) - timedelta(days=1), max(dates))


@given(traffic())
@settings(max_examples=60, deadline=None)
def test_a_funnel_agrees_with_trying_every_choice_of_events(given_traffic: tuple[list[Row], Funnel]) -> None:
    rows, funnel = given_traffic
    assert built(rows, funnel, days_of(rows)).to_dicts() == reference(rows, days_of(rows), funnel)


@given(traffic())
@settings(max_examples=40, deadline=None)
def test_each_day_stands_alone_with_the_days_after_it(given_traffic: tuple[list[Row], Funnel]) -> None:
    rows, funnel = given_traffic
    days = days_of(rows)
    table = built(rows, funnel, days)
    for day in days:
        read = [row for row in rows if day <= row["event_date"] <= day + timedelta(days=days_after(funnel))]
        assert built(read, funnel, [day]).equals(table.filter(pl.col("entry_date") == day))


@given(traffic())
@settings(max_examples=25, deadline=None)
def test_entries_taken_a_share_at_a_time_give_the_same(given_traffic: tuple[list[Row], Funnel]) -> None:
    rows, funnel = given_traffic
    funnel = funnel.model_copy(update={"window_from": "previous"})
    together = built(rows, funnel, days_of(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(funnels, "_MOMENTS_AT_A_TIME", 2)
        assert built(rows, funnel, days_of(rows)).equals(together)


def steps_reached(rows: Sequence[Row], funnel: Funnel, **changed: Any) -> dict[tuple[date, str], int]:
    """Number of steps that each entity reached, by day of entry."""
    by_entity = [row | {"breakdown": row["entity"]} for row in rows]
    changed_funnel = funnel.model_copy(update=changed | {"breakdown": "country"})
    table = built(by_entity, changed_funnel, days_of(rows))
    sums = table.group_by("entry_date", "breakdown").agg(pl.col("entities").sum())
    return {(day, entity): steps for day, entity, steps in sums.rows()}


def at_most(fewer: dict[tuple[date, str], int], more: dict[tuple[date, str], int]) -> bool:
    return fewer.keys() == more.keys() and all(steps <= more[key] for key, steps in fewer.items())


@given(traffic())
@settings(max_examples=40, deadline=None)
def test_what_a_stricter_rule_reaches_a_looser_one_reaches_too(given_traffic: tuple[list[Row], Funnel]) -> None:
    rows, funnel = given_traffic
    reached = {
        (mode, window_from): steps_reached(rows, funnel, mode=mode, window_from=window_from)
        for mode in ("strict", "ordered")
        for window_from in ("first", "previous")
    }
    for window_from in ("first", "previous"):
        assert at_most(reached["strict", window_from], reached["ordered", window_from])
    for mode in ("strict", "ordered"):
        assert at_most(reached[mode, "first"], reached[mode, "previous"])
        longer = steps_reached(rows, funnel, mode=mode, window_from="first", window=2 * funnel.window)
        assert at_most(reached[mode, "first"], longer)
    # An unordered funnel may be entered by an earlier event, and then its window is another one.
    unordered = steps_reached(rows, funnel, mode="unordered", window_from="first")
    for (day, entity), steps in reached["ordered", "first"].items():
        fitting = [
            row
            for row in in_order(rows, entity)
            if row["event_date"] == day and any(row[f"step_{number}"] for number in range(1, len(funnel.steps) + 1))
        ]
        if any(row["step_1"] for row in fitting if row["occurred_at"] == fitting[0]["occurred_at"]):
            assert steps <= unordered[day, entity]


@given(traffic())
@settings(max_examples=40, deadline=None)
def test_counts_never_increase_from_step_to_step_and_times_stay_in_the_window(
    given_traffic: tuple[list[Row], Funnel],
) -> None:
    rows, funnel = given_traffic
    table = built(rows, funnel, days_of(rows))
    for _, steps in table.group_by("entry_date", "breakdown", maintain_order=True):
        assert steps["entities"].to_list() == sorted(steps["entities"], reverse=True)
        assert steps["step_number"].to_list() == list(range(1, len(funnel.steps) + 1))
    window = funnel.window.total_seconds()
    assert table.filter(pl.col("median_seconds_from_previous") > window).is_empty()
    if funnel.window_from == "first":
        assert table.filter(pl.col("median_seconds_from_entry") > window).is_empty()
