from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import given, settings

from pipeline_assets.tables.daily_activity import DailyActivity, build_daily_activity
from pipeline_assets.tables.sessions import build_sessions
from pipeline_assets_tests.tables.test_sessions import INFERRED, traffic
from pipeline_assets_tests.transforms.frames import (
    NOON,
    SESSION_SCHEMA,
    Row,
    columns_of,
    days_between,
    event,
    events_frame,
    only,
)

TODAY = NOON.date()


def activity(rows: Sequence[Row]) -> Row:
    """The activity of one day and property."""
    events = events_frame(rows)
    sessions = build_sessions(events, [TODAY], timezone="UTC")
    (row,) = DailyActivity.validate(build_daily_activity(events, sessions, [TODAY])).to_dicts()
    return row


def test_bots_count_in_events_and_bot_events_only() -> None:
    bot = {
        "is_bot": True,
        "visitor_id": "bot",
        "user_id": "bot",
        "event_type": "page",
        "is_conversion": True,
        "revenue": Decimal(1),
    }
    assert activity([event(NOON), event(NOON, event_id="x") | bot]) == {
        "activity_date": TODAY,
        "property": "shop",
        "events": 2,
        "bot_events": 1,
        "visitors": 1,
        "users": 0,
        "sessions": 1,
        "engaged_sessions": 0,
        "bounces": 1,
        "page_views": 0,
        "conversions": 0,
        "revenue": None,
        "currency": None,
    }


def test_a_view_id_is_one_view_of_a_visitor_and_visitors_without_an_id_view_pages_too() -> None:
    page = {"event_type": "page"}
    rows = [
        event(NOON, event_id="1", view_id="a", **page),
        event(NOON, event_id="2", view_id="a", **page),
        event(NOON, event_id="3", view_id="a", visitor_id="w", **page),
        event(NOON, event_id="4", visitor_id=None, **page),
        event(NOON, event_id="5", event_type="screen"),
    ]
    assert columns_of(activity(rows), "page_views", "visitors") == (4, 2)


def test_the_activity_of_nothing_is_an_empty_frame_that_keeps_the_contract() -> None:
    result = build_daily_activity(events_frame([]), pl.DataFrame(schema=SESSION_SCHEMA), [TODAY])
    assert DailyActivity.validate(result).is_empty()


def reference(events: Sequence[Row], sessions: Sequence[Row], day: date) -> Row:
    people = only(events, event_date=day, is_bot=False)
    started = only(sessions, session_date=day, is_bot=False)
    views = [row for row in people if row["event_type"] in {"page", "screen"}]
    paid = [row for row in people if row["revenue"] is not None]
    currencies = {row["currency"] for row in paid}
    return {
        "activity_date": day,
        "property": "shop",
        "events": len(only(events, event_date=day)),
        "bot_events": len(only(events, event_date=day, is_bot=True)),
        "visitors": len({row["visitor_id"] for row in people} - {None}),
        "users": len({row["user_id"] for row in people} - {None}),
        "sessions": len(started),
        "engaged_sessions": len(only(started, is_engaged=True)),
        "bounces": len(only(started, is_bounce=True)),
        "page_views": len({(row["visitor_id"], row["view_id"]) for row in views if row["view_id"] is not None})
        + len(only(views, view_id=None)),
        "conversions": len(only(people, is_conversion=True)),
        "revenue": sum((row["revenue"] for row in paid), Decimal(0)) if len(currencies) == 1 else None,
        "currency": currencies.pop() if len(currencies) == 1 else None,
    }


@given(traffic())
@settings(max_examples=40, deadline=None)
def test_activity_agrees_with_a_plain_reading_of_the_rules_and_each_day_stands_alone(
    given_traffic: tuple[str, list[Row]],
) -> None:
    timezone, rows = given_traffic
    dates = {row["event_date"] for row in rows}
    days = days_between(min(dates), max(dates) + timedelta(days=1))
    events = events_frame(rows)
    sessions = build_sessions(events, days, timezone=timezone, session_rules=INFERRED)
    result = DailyActivity.validate(build_daily_activity(events.lazy(), sessions.lazy(), days))
    assert result.to_dicts() == [reference(rows, sessions.to_dicts(), day) for day in days if day in dates]
    for day in days:
        assert build_daily_activity(events, sessions, [day]).equals(result.filter(pl.col("activity_date") == day))
