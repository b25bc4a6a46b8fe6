from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.analyses.retention import Retentions, build_retention
from pipeline_assets.declarations.analyses import Retention
from pipeline_assets_tests.transforms.frames import Row, days_between

MONDAY = date(2026, 3, 9)
SCHEMA = {"activity_date": pl.Date(), "entity": pl.String(), "is_cohort": pl.Boolean(), "is_return": pl.Boolean()}
DAY = timedelta(days=1)


def active(day: date, entity: str = "e", *, is_cohort: bool = True, is_return: bool = True) -> Row:
    return {"activity_date": day, "entity": entity, "is_cohort": is_cohort, "is_return": is_return}


def built(rows: Sequence[Row], **declared: Any) -> pl.DataFrame:
    activity = pl.DataFrame(list(rows), schema=SCHEMA)
    return Retentions.validate(build_retention(activity.lazy(), retention=Retention(**declared)))


def retained(rows: Sequence[Row], **declared: Any) -> list[tuple[date, int, int]]:
    return built(rows, **declared).select("cohort_start", "period_number", "retained").rows()


def test_a_cohort_has_its_size_and_share_and_keeps_periods_without_a_return() -> None:
    rows = [active(MONDAY), active(MONDAY, "f"), active(MONDAY + 2 * DAY)]
    assert built(rows, period="day").rows() == [
        (MONDAY, 0, 2, 2, 1.0, True),
        (MONDAY, 1, 2, 0, 0.0, True),
        (MONDAY, 2, 2, 1, 0.5, False),
    ]


def test_period_0_needs_a_returning_event_too() -> None:
    assert retained([active(MONDAY, is_return=False)], period="day") == [(MONDAY, 0, 0)]


def test_a_return_before_the_day_of_the_cohort_does_not_count_and_nor_does_one_of_nobody_in_a_cohort() -> None:
    rows = [
        active(MONDAY, is_cohort=False),
        active(MONDAY + DAY, is_return=False),
        active(MONDAY, "f", is_cohort=False),
    ]
    assert retained(rows, period="week") == [(MONDAY, 0, 0)]


def test_calendar_weeks_count_from_the_first_day_of_the_week_and_rolling_ones_from_the_first_day_of_the_entity() -> (
    None
):
    sunday = MONDAY + 6 * DAY
    rows = [active(sunday), active(sunday + DAY), active(sunday + 7 * DAY)]
    assert retained(rows, period="week") == [(MONDAY, 0, 1), (MONDAY, 1, 1)]
    assert retained(rows[:2], period="week", counting="rolling") == [(MONDAY, 0, 1)]
    assert retained(rows, period="week", counting="rolling") == [(MONDAY, 0, 1), (MONDAY, 1, 1)]


@pytest.mark.parametrize(
    ("week_start", "start"), [("monday", MONDAY), ("sunday", MONDAY - DAY), ("saturday", MONDAY - 2 * DAY)]
)
def test_a_week_starts_on_the_declared_day(week_start: str, start: date) -> None:
    assert retained([active(start + 6 * DAY)], period="week", week_start=week_start) == [(start, 0, 1)]
    assert retained([active(start)], period="week", week_start=week_start) == [(start, 0, 1)]


def test_calendar_months_differ_by_the_calendar_and_rolling_ones_have_30_days() -> None:
    rows = [active(date(2025, 12, 31)), active(date(2026, 1, 1)), active(date(2026, 1, 30)), active(date(2026, 2, 1))]
    december = date(2025, 12, 1)
    assert retained(rows, period="month") == [(december, 0, 1), (december, 1, 1), (december, 2, 1)]
    assert retained(rows[:2], period="month", counting="rolling") == [(december, 0, 1)]
    assert retained(rows[:3], period="month", counting="rolling") == [(december, 0, 1), (december, 1, 1)]


def test_a_period_is_complete_once_its_last_day_lies_before_the_last_day_with_activity() -> None:
    rows = [active(MONDAY), active(MONDAY + 6 * DAY, "f", is_cohort=False, is_return=False)]
    assert built(rows)["is_complete"].to_list() == [False]
    rows += [active(MONDAY + 7 * DAY, "f", is_cohort=False, is_return=False)]
    assert built(rows)["is_complete"].to_list() == [True, False]


def test_a_rolling_period_begins_with_the_first_of_a_cohort_and_is_complete_with_the_last() -> None:
    rows = [active(MONDAY), active(MONDAY + 6 * DAY, "f"), active(MONDAY + 12 * DAY, is_return=False)]
    week = built(rows, counting="rolling").select("period_number", "is_complete")
    assert week.rows() == [(0, False), (1, False)]
    rows += [active(MONDAY + 13 * DAY, is_return=False)]
    assert built(rows, counting="rolling").select("period_number", "is_complete").rows() == [(0, True), (1, False)]


def test_periods_are_counted_up_to_the_declared_number() -> None:
    rows = [active(MONDAY + days * DAY) for days in range(9)]
    assert [row[1] for row in retained(rows, period="day", periods=2) if row[0] == MONDAY] == [0, 1, 2]


@pytest.mark.parametrize("counting", ["calendar", "rolling"])
@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_the_retention_of_nothing_is_an_empty_frame_that_keeps_the_contract(period: str, counting: str) -> None:
    assert built([], period=period, counting=counting).is_empty()
    assert built([active(MONDAY, is_cohort=False)], period=period, counting=counting).is_empty()


def period_of(day: date, declared: Retention) -> date:
    """First day of the calendar period of a day, found by walking back."""
    starts = {"monday": 0, "sunday": 6, "saturday": 5}
    while declared.period != "day" and not (
        day.day == 1 if declared.period == "month" else day.weekday() == starts[declared.week_start]
    ):
        day -= DAY
    return day


def number_of(day: date, began: date, declared: Retention) -> int:
    """The period of a day, found by walking through the days since."""
    if declared.counting == "rolling":
        return len(days_between(began, day)[1:]) // {"day": 1, "week": 7, "month": 30}[declared.period]
    return len({period_of(each, declared) for each in days_between(began, day)}) - 1


def reference(rows: Sequence[Row], declared: Retention) -> list[Row]:
    began = {
        entity: min(row["activity_date"] for row in rows if row["entity"] == entity and row["is_cohort"])
        for entity in {row["entity"] for row in rows if row["is_cohort"]}
    }
    newest = max([row["activity_date"] for row in rows] or [MONDAY])
    table = []
    for start in sorted({period_of(day, declared) for day in began.values()}):
        members = {entity: day for entity, day in began.items() if period_of(day, declared) == start}
        for number in range(declared.periods + 1):
            back = {
                row["entity"]
                for row in rows
                if row["is_return"]
                and row["entity"] in members
                and row["activity_date"] >= members[row["entity"]]
                and number_of(row["activity_date"], members[row["entity"]], declared) == number
            }
            now = [number_of(newest, day, declared) for day in members.values()]
            if max(now) >= number:
                table.append(
                    {
                        "cohort_start": start,
                        "period_number": number,
                        "cohort_size": len(members),
                        "retained": len(back),
                        "retention": len(back) / len(members),
                        "is_complete": min(now) > number,
                    }
                )
    return table


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Row], Retention]:
    """Days of a few entities at the ends of weeks, months and periods, with a declaration."""
    declared = Retention(
        period=draw(st.sampled_from(["day", "week", "month"])),
        counting=draw(st.sampled_from(["calendar", "rolling"])),
        week_start=draw(st.sampled_from(["monday", "sunday", "saturday"])),
        periods=draw(st.integers(1, 4)),
    )
    gaps = [0, 0, 1, 1, 2, 5, 6, 7, 8, 13, 14, 28, 29, 30, 31, 60]
    rows = []
    for entity in draw(st.sampled_from(["e", "ef", "efgh"])):
        day = draw(st.sampled_from([MONDAY, MONDAY - DAY, date(2026, 1, 31), date(2024, 2, 28), date(2025, 12, 31)]))
        for gap in draw(st.lists(st.sampled_from(gaps), max_size=6)):
            day += gap * DAY
            rows.append(active(day, entity, is_cohort=draw(st.booleans()), is_return=draw(st.booleans())))
    return draw(st.permutations(rows)), declared


@given(histories())
@settings(max_examples=40, deadline=None)
def test_retention_agrees_with_a_plain_reading_of_the_rules(history: tuple[list[Row], Retention]) -> None:
    rows, declared = history
    assert built(rows, **declared.model_dump()).to_dicts() == reference(rows, declared)


@given(histories())
@settings(max_examples=40, deadline=None)
def test_cohorts_keep_their_size_and_each_entity_is_in_one_of_them(history: tuple[list[Row], Retention]) -> None:
    rows, declared = history
    table = built(rows, **declared.model_dump())
    sizes = table.group_by("cohort_start").agg(
        pl.col("cohort_size").unique(), pl.len(), last=pl.col("period_number").max()
    )
    assert all(len(cohort) == 1 for cohort in sizes["cohort_size"])
    assert (sizes["len"] == sizes["last"] + 1).all()
    assert sum(cohort[0] for cohort in sizes["cohort_size"]) == len({row["entity"] for row in rows if row["is_cohort"]})
