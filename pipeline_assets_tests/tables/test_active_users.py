from collections.abc import Sequence
from datetime import date, timedelta
from random import Random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.active_users import ActiveUsers, build_active_users
from pipeline_assets.tables.identities import build_identities
from pipeline_assets.tables.person_days import PersonDays, build_person_days
from pipeline_assets_tests.transforms.frames import NOON, Row, columns_of, days_between, only
from pipeline_assets_tests.transforms.identity_reference import visitor_day, visitor_days, visitor_days_frame

DAY = timedelta(days=1)
TODAY = NOON.date()
ACTIVE = ("visitors_1d", "visitors_7d", "visitors_28d", "people_1d", "people_7d", "people_28d")
NEW = ("new_visitors", "returning_visitors", "new_people", "returning_people")


def person_days(rows: Sequence[Row]) -> pl.DataFrame:
    frame = visitor_days_frame(rows)
    return build_person_days(frame, build_identities(frame), [row["activity_date"] for row in rows])


def active(*rows: Row, day: date = TODAY) -> dict[str, Row]:
    """The activity of a day, by property."""
    table = ActiveUsers.validate(build_active_users(person_days(rows), [day])).to_dicts()
    return {row["property"]: row for row in table}


def test_windows_are_the_last_7_and_28_calendar_days_the_day_itself_included() -> None:
    rows = [visitor_day(NOON + number * DAY, anonymous_id=str(number)) for number in (0, -1, -6, -7, -27, -28)]
    assert columns_of(active(*rows)["shop"], *ACTIVE) == (1, 3, 5, 1, 3, 5)


def test_whoever_is_active_on_several_days_counts_once() -> None:
    rows = [visitor_day(NOON + number * DAY) for number in (0, -1, -2, -5, -20)]
    assert columns_of(active(*rows)["shop"], *ACTIVE) == (1, 1, 1, 1, 1, 1)


def test_a_person_of_several_visitors_counts_once_and_all_properties_together_are_the_property_star() -> None:
    rows = [visitor_day(anonymous_id="a", user_id="u"), visitor_day(anonymous_id="b", user_id="u", property="blog")]
    rows.append(visitor_day(anonymous_id="c", user_id="u"))
    got = {name: columns_of(row, "visitors_1d", "people_1d") for name, row in active(*rows).items()}
    assert got == {"*": (3, 1), "blog": (1, 1), "shop": (2, 1)}


def test_a_person_known_from_another_property_is_a_new_visitor_and_a_returning_person() -> None:
    rows = [visitor_day(NOON - DAY, anonymous_id="a", user_id="u", property="blog")]
    rows.append(visitor_day(anonymous_id="b", user_id="u"))
    assert columns_of(active(*rows)["shop"], *NEW) == (1, 0, 0, 1)


def test_bots_and_rows_without_events_are_not_active() -> None:
    rows = [visitor_day(is_bot=True), visitor_day(user_id="u", events=0, sessions=1)]
    assert active(*rows) == {}


def test_a_property_has_a_row_until_nobody_was_active_for_28_days() -> None:
    def on(number: int) -> dict[str, Row]:
        elsewhere = visitor_day(NOON + number * DAY, property="app", anonymous_id="a")
        return active(visitor_day(), elsewhere, day=TODAY + number * DAY)

    gone = [on(number) for number in (-1, 0, 27, 28)]
    assert [list(table) for table in gone] == [
        ["*", "app"], ["*", "app", "shop"], ["*", "app", "shop"], ["*", "app"],
    ]  # fmt: skip
    assert columns_of(gone[2]["shop"], *ACTIVE) == (0, 0, 1, 0, 0, 1)


def test_a_day_on_which_nothing_happened_has_no_row() -> None:
    assert active(visitor_day(), day=TODAY + DAY) == {}


def test_stickiness_is_the_share_of_the_monthly_active_who_are_active_that_day() -> None:
    rows = [visitor_day(NOON - number * DAY, anonymous_id=str(number), user_id="u") for number in range(4)]
    assert columns_of(active(*rows)["shop"], "visitor_stickiness", "people_stickiness") == (0.25, 1.0)


def test_the_activity_of_nothing_is_an_empty_frame_that_keeps_the_contract() -> None:
    assert active() == {}
    assert build_active_users(pl.DataFrame(schema=PersonDays.create_empty().schema), []).is_empty()


# -- the same in plain Python ------------------------------------------------------------------------------------


def reference(rows: Sequence[Row], day: date) -> list[Row]:
    if not only(rows, activity_date=day):
        return []
    rows = [row for row in only(rows, is_bot=False) if row["events"]]
    table = []
    for shop in sorted({row["property"] for row in rows} | {"*"}):
        own = rows if shop == "*" else only(rows, property=shop)
        windows = {
            days: [row for row in own if timedelta(0) <= day - row["activity_date"] < days * DAY] for days in (1, 7, 28)
        }
        visitors = {days: {columns_of(row, "property", "visitor_id") for row in own} for days, own in windows.items()}
        people = {days: {row["person_id"] for row in own} for days, own in windows.items()}
        if not people[28]:
            continue
        new_visitors = {
            columns_of(row, "property", "visitor_id") for row in windows[1] if row["visitor_first_date"] == day
        }
        new_people = {row["person_id"] for row in windows[1] if row["person_first_date"] == day}
        table.append(
            {
                "activity_date": day,
                "property": shop,
                **{f"visitors_{days}d": len(found) for days, found in visitors.items()},
                **{f"people_{days}d": len(found) for days, found in people.items()},
                "new_visitors": len(new_visitors),
                "returning_visitors": len(visitors[1] - new_visitors),
                "new_people": len(new_people),
                "returning_people": len(people[1] - new_people),
                "visitor_stickiness": len(visitors[1]) / len(visitors[28]),
                "people_stickiness": len(people[1]) / len(people[28]),
            }
        )
    return table


@given(visitor_days(most=20, steps=(0, 3600, 24 * 3600, 6 * 86400, 7 * 86400, 20 * 86400)), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_active_users_agree_with_a_plain_reading_of_the_rules_and_each_day_stands_alone(
    rows: list[Row], seed: int
) -> None:
    frame = person_days(rows)
    dates = [row["activity_date"] for row in rows] or [TODAY]
    days = days_between(min(dates) - DAY, max(dates) + 29 * DAY)
    result = ActiveUsers.validate(build_active_users(frame.lazy(), days))
    assert result.to_dicts() == [row for day in days for row in reference(frame.to_dicts(), day)]
    for day in Random(seed).sample(days, 3):
        window = frame.filter(pl.col("activity_date").is_between(day - 27 * DAY, day))
        alone = build_active_users(window.sample(fraction=1, shuffle=True, seed=seed), [day])
        assert alone.equals(result.filter(pl.col("activity_date") == day))


@given(visitor_days(most=20))
@settings(max_examples=40, deadline=None)
def test_every_visitor_and_person_is_new_on_exactly_one_day(rows: list[Row]) -> None:
    frame = person_days(rows)
    dates = [row["activity_date"] for row in rows] or [TODAY]
    table = build_active_users(frame, days_between(min(dates), max(dates))).filter(pl.col("property") == "*")
    human = frame.filter(~pl.col("is_bot"), pl.col("events") > 0)
    assert table["new_people"].sum() == human["person_id"].n_unique()
    assert table["new_visitors"].sum() == human.select("property", "visitor_id").n_unique()
