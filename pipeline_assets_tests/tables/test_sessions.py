from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.page_views import PageViews, build_page_views
from pipeline_assets.tables.sessions import Sessions, build_sessions
from pipeline_assets.tables.supplied_session_days import build_supplied_session_days
from pipeline_assets.tables.supplied_sessions import build_supplied_sessions
from pipeline_assets.transforms.session_rows import excluded_from_sessions
from pipeline_assets.transforms.sessionize import SessionRules, assign_sessions, view_memory
from pipeline_assets_tests.transforms.frames import (
    NOON,
    ORDERS,
    Row,
    columns_of,
    days_between,
    event,
    events_frame,
    only,
    utc,
)
from pipeline_assets_tests.transforms.session_reference import reference_sessions

TODAY = NOON.date()
LIMIT = timedelta(minutes=30)
MICROSECOND = timedelta(microseconds=1)


def sessions_of(rows: Sequence[Row], timezone: str = "UTC", **session_rules: SessionRules) -> list[Row]:
    """All sessions of these events, in order of their start."""
    events, days, supplied = made_of(rows, session_rules)
    built = build_sessions(events, days, timezone=timezone, session_rules=session_rules, supplied=supplied)
    return Sessions.validate(built).to_dicts()


def views_of(rows: Sequence[Row], timezone: str = "UTC", **session_rules: SessionRules) -> list[Row]:
    """All views of the sessions of these events, in order of their start."""
    events, days, supplied = made_of(rows, session_rules)
    built = build_page_views(events, days, timezone=timezone, session_rules=session_rules, supplied=supplied)
    return PageViews.validate(built).to_dicts()


def excluded_of(
    rows: Sequence[Row], timezone: str = "UTC", **session_rules: SessionRules
) -> list[tuple[date, str, int]]:
    """Day, reason and number of the events that are in no session."""
    events, days, supplied = made_of(rows, session_rules)
    excluded = excluded_from_sessions(events, days, timezone=timezone, session_rules=session_rules, supplied=supplied)
    return excluded.select("event_date", "reason", "events").rows()


def made_of(
    rows: Sequence[Row], session_rules: Mapping[str, SessionRules]
) -> tuple[pl.DataFrame, list[date], pl.DataFrame | None]:
    """The events as a frame, their days, and the sessions that their trackers supply."""
    dates = [row["event_date"] for row in rows]
    days = days_between(min(dates), max(dates))
    return events_frame(rows), days, supplied_of(events_frame(rows), days, session_rules)


def supplied_of(
    events: pl.DataFrame, days: Sequence[date], session_rules: Mapping[str, SessionRules]
) -> pl.DataFrame | None:
    """`supplied_sessions` of these events; None where no source is in supplied mode."""
    sources = [source for source, rule in session_rules.items() if rule.mode == "supplied"]
    if not sources:
        return None
    return build_supplied_sessions(build_supplied_session_days(events, days, sources=sources))


def beats(first: datetime, last: datetime, every: timedelta, timezone: str = "UTC", **values: Any) -> list[Row]:
    """Events from first to last, both included."""
    number = (last - first) // every + 1
    return [event(first + count * every, timezone, **values) for count in range(number)]


def at(*seconds: float, **values: Any) -> list[Row]:
    """Events at these seconds after noon."""
    return [event(NOON + timedelta(seconds=second), **values) for second in seconds]


def test_a_gap_of_exactly_thirty_minutes_does_not_start_a_session() -> None:
    assert len(sessions_of([event(NOON), event(NOON + LIMIT)])) == 1


def test_a_gap_of_a_microsecond_more_than_thirty_minutes_starts_a_session() -> None:
    assert len(sessions_of([event(NOON), event(NOON + LIMIT + MICROSECOND)])) == 2


def test_the_timeout_of_the_later_event_s_source_measures_the_gap() -> None:
    first, second = event(NOON, source="web"), event(NOON + timedelta(hours=1), source="app")
    slow = SessionRules(timeout=timedelta(hours=1))
    assert len(sessions_of([first, second], app=slow)) == 1
    assert len(sessions_of([first, second], web=slow)) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": timedelta(0)},
        {"timeout": timedelta(hours=-1)},
        {"timeout": timedelta(hours=12) + MICROSECOND},
        {"max_session_days": 0},
        {"max_session_days": 32},
    ],
)
def test_rules_that_would_break_locality_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SessionRules(**wrong)


def test_visitors_of_different_properties_are_different_visitors() -> None:
    assert len(sessions_of([event(NOON), event(NOON, property="blog")])) == 2


def test_an_event_without_a_visitor_is_in_no_session() -> None:
    assert [row["events"] for row in sessions_of([event(NOON), event(NOON, visitor_id=None, event_id="x")])] == [1]


def test_a_session_crosses_midnight_and_counts_the_events_of_the_next_day() -> None:
    start = utc("2026-03-10T23:50")
    (session,) = sessions_of([event(start), event(start + timedelta(minutes=20)), event(start + timedelta(minutes=40))])
    assert columns_of(session, "session_date", "events", "events_next_day") == (TODAY, 3, 2)


def test_a_session_that_filled_a_day_ends_at_its_midnight() -> None:
    rows = beats(utc("2026-03-10T20:00"), utc("2026-03-13T03:00"), timedelta(minutes=10))
    got = [columns_of(row, "started_at", "ended_at", "start_reason", "end_reason") for row in sessions_of(rows)]
    assert got == [
        (utc("2026-03-10T20:00"), utc("2026-03-11T23:50"), "inactivity", "day_filled"),
        (utc("2026-03-12T00:00"), utc("2026-03-12T23:50"), "day_filled", "day_filled"),
        (utc("2026-03-13T00:00"), utc("2026-03-13T03:00"), "day_filled", "inactivity"),
    ]


def test_the_visitor_s_first_event_after_a_filled_day_starts_a_filled_session_whatever_the_gap() -> None:
    rows = beats(utc("2026-03-10T00:30"), utc("2026-03-10T23:30"), LIMIT)
    later = event(utc("2026-03-11T15:00"))
    assert [row["start_reason"] for row in sessions_of([*rows, later])] == ["inactivity", "day_filled"]
    assert [row["end_reason"] for row in sessions_of([*rows, later])] == ["day_filled", "inactivity"]


def test_a_filled_day_says_nothing_about_days_after_the_next() -> None:
    rows = beats(utc("2026-03-10T00:30"), utc("2026-03-10T23:30"), LIMIT)
    later = event(utc("2026-03-12T00:00"))
    assert [row["start_reason"] for row in sessions_of([*rows, later])] == ["inactivity", "inactivity"]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (utc("2026-03-10T00:30") + MICROSECOND, utc("2026-03-10T23:59")),
        (utc("2026-03-10T00:00"), utc("2026-03-10T23:29")),
    ],
)
def test_a_gap_over_the_timeout_at_either_midnight_leaves_the_day_unfilled(first: datetime, last: datetime) -> None:
    rows = [*beats(first, last, timedelta(minutes=1)), event(utc("2026-03-11T00:00"))]
    assert {row["start_reason"] for row in sessions_of(rows)} == {"inactivity"}


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)])
def test_a_filled_day_is_a_calendar_day_of_the_reporting_zone_whatever_its_length(day: date, hours: int) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    midnight = datetime(day.year, day.month, day.day, tzinfo=berlin).astimezone(UTC)
    following = midnight + timedelta(hours=hours)
    rows = beats(midnight + LIMIT, following - LIMIT, timedelta(minutes=10), "Europe/Berlin")
    rows.append(event(following, "Europe/Berlin"))
    got = [columns_of(row, "session_date", "start_reason") for row in sessions_of(rows, "Europe/Berlin")]
    assert got == [(day, "inactivity"), (day + timedelta(days=1), "day_filled")]
    too_late = [row | {"occurred_at": row["occurred_at"] + MICROSECOND} for row in rows[:1]] + rows[1:]
    assert len(sessions_of(too_late, "Europe/Berlin")) == 1


def test_a_day_begins_where_the_clock_jumps_over_midnight() -> None:
    # In Beirut the clock jumps from 0:00 to 1:00 on 29 March 2026.
    first = datetime(2026, 3, 29, 1, 0, tzinfo=ZoneInfo("Asia/Beirut")).astimezone(UTC)
    rows = beats(first + LIMIT, first + timedelta(hours=23), timedelta(minutes=10), "Asia/Beirut")
    assert [row["start_reason"] for row in sessions_of(rows, "Asia/Beirut")] == ["inactivity", "day_filled"]


def test_session_ids_are_the_same_for_ever() -> None:
    (session,) = sessions_of([event(NOON, event_id="e")])
    assert session["session_id"] == "1ffee76e435ee9ae00e5ba6524f366fa"


def entry_and_exit(*rows: Row) -> tuple[Any, ...]:
    """Pages of the events that come first and last: their ids say their places."""
    paths = [row | {"event_type": "page", "page_path": f"/{number}"} for number, row in enumerate(rows, start=1)]
    Random(1).shuffle(paths)
    (session,) = sessions_of(paths)
    return columns_of(session, "entry_page", "exit_page")


def test_events_of_one_moment_are_in_order_of_their_sequence_then_of_arrival() -> None:
    later = NOON + MICROSECOND
    assert entry_and_exit(
        event(NOON, event_id="z", sequence=-1, received_at=later),
        event(NOON, event_id="y", sequence=2),
        event(NOON, event_id="a", sequence=10),
        event(NOON, event_id="x", received_at=NOON),
        event(NOON, event_id="b", received_at=later),
        event(NOON, event_id="c"),
    ) == ("/1", "/6")


def test_lines_of_one_moment_without_an_id_keep_the_order_of_their_file() -> None:
    lines = [event(NOON, event_id=f"{9 - line}", is_id_derived=True, line=line) for line in range(2, 12, 3)]
    assert entry_and_exit(*lines) == ("/1", "/4")


def test_where_an_event_with_an_id_of_its_own_lies_says_nothing_about_its_order() -> None:
    rows = [
        event(NOON, event_id=name, load_id=load_id, line=7 - place)
        for place, (name, load_id) in enumerate(["ag", "bf"])
    ]
    assert entry_and_exit(*rows) == ("/1", "/2")


def test_equal_times_are_ordered_by_arrival_then_id() -> None:
    rows = [
        event(NOON, event_id="a", event_type="page", page_path="/3"),
        event(NOON, event_id="z", event_type="page", page_path="/1", received_at=NOON),
        event(NOON, event_id="b", event_type="page", page_path="/4"),
        event(NOON, event_id="y", event_type="page", page_path="/2", received_at=NOON + MICROSECOND),
    ]
    (session,) = sessions_of(rows)
    assert columns_of(session, "entry_page", "exit_page") == ("/1", "/4")


def test_engaged_time_is_snowplow_s_per_view_and_a_session_adds_up_its_views() -> None:
    views = at(0, event_type="page", view_id="a") + at(21, event_type="page", view_id="b") + at(22, event_type="page")
    pings = at(0, 3, 9.9, 10, 25, event_type="ping", view_id="a") + at(26, event_type="ping", view_id="b")
    rows = [row | {"event_id": str(number)} for number, row in enumerate([*views, *pings, *at(27, event_type="ping")])]
    assert [view["engaged_seconds"] for view in views_of(rows)] == [10 * (3 - 1) + 5, 5, 0]
    assert sessions_of(rows)[0]["engaged_seconds"] == (10 * (3 - 1) + 5) + 5


def test_the_scroll_depth_of_a_view_is_the_greatest_that_is_a_percentage() -> None:
    depths = [None, 20.0, 60.0, 40.0, 100.5, -1.0, float("nan"), float("inf")]
    pings = [
        event(NOON + timedelta(seconds=second), event_type="ping", view_id="a", scroll_depth=depth)
        for second, depth in enumerate(depths, start=1)
    ]
    rows = [
        event(NOON, event_type="page", view_id="a"),
        *pings,
        *at(20, event_type="page", scroll_depth=100.0),
        *at(21, event_type="page", scroll_depth=float("nan")),
        *at(22, event_type="ping", scroll_depth=7.0),
    ]
    assert [view["scroll_depth"] for view in views_of(rows)] == [60.0, 100.0, None]


def test_a_session_without_pings_has_no_engaged_time() -> None:
    assert sessions_of(at(0, 20))[0]["engaged_seconds"] == 0


@pytest.mark.parametrize(
    ("rows", "engaged"),
    [
        (at(0, 10), False),
        (at(0, 10.5), True),
        (at(0, is_conversion=True), True),
        (at(0, event_type="page"), False),
        (at(0, 1, event_type="page"), True),
        (at(0, 1, event_type="page", view_id="a"), False),
    ],
)
def test_an_engaged_session_is_ga4_s(rows: list[Row], engaged: bool) -> None:
    assert sessions_of(rows)[0]["is_engaged"] is engaged


def test_a_bounce_has_exactly_one_event() -> None:
    assert [sessions_of(at(*seconds))[0]["is_bounce"] for seconds in ((0,), (0, 1))] == [True, False]


def test_pings_and_tracked_events_with_a_view_id_make_no_view() -> None:
    rows = at(0, event_type="page", view_id="a") + at(1, event_type="ping", view_id="b") + at(2, view_id="c")
    assert sessions_of(rows)[0]["page_views"] == 1


def test_an_event_id_that_comes_again_after_midnight_is_another_view_of_the_session() -> None:
    rows = [event(utc(time), event_id="e", event_type="page") for time in ("2026-03-10T23:59", "2026-03-11T00:01")]
    views = build_page_views(events_frame(rows), [TODAY], timezone="UTC")
    assert PageViews.validate(views)["view_number"].to_list() == [1, 2]
    assert views["session_id"].n_unique() == 1


@pytest.mark.parametrize(
    ("values", "page"),
    [
        ({"event_type": "page", "page_path": "/p", "page_title": "t"}, "/p"),
        ({"event_type": "page", "page_title": "t", "event_name": "n"}, "t"),
        ({"event_type": "page", "event_name": "n"}, None),
        ({"event_type": "screen", "page_title": "t", "event_name": "n"}, "t"),
        ({"event_type": "screen", "event_name": "n"}, "n"),
        ({"event_type": "track", "page_path": "/p"}, None),
    ],
)
def test_the_entry_page_is_a_path_or_a_screen(values: Row, page: str | None) -> None:
    assert sessions_of(at(0, **values))[0]["entry_page"] == page


def test_the_landing_is_the_first_event_that_has_a_source_medium_or_referrer() -> None:
    rows = [
        *at(0, click_id="0", utm_campaign="none"),
        *at(1, utm_medium="cpc", click_id="1"),
        *at(2, utm_source="google", utm_medium="organic"),
    ]
    got = columns_of(sessions_of(rows)[0], "utm_source", "utm_medium", "utm_campaign", "click_id", "channel")
    assert got == (None, "cpc", None, "1", "Paid Other")
    assert columns_of(sessions_of(rows)[0], "traffic_source", "traffic_medium") == ("(direct)", "cpc")


def test_a_session_without_any_origin_is_direct_and_keeps_the_click_id_of_its_first_event() -> None:
    assert columns_of(sessions_of(at(0, click_id="0"))[0], "click_id", "channel") == ("0", "Direct")


@pytest.mark.parametrize(
    ("paid", "revenue", "currency"),
    [
        ([("1.50", "EUR"), ("-0.25", "EUR")], Decimal("1.25"), "EUR"),
        ([("1.50", "EUR"), ("1", "USD")], None, None),
        ([("1.50", "EUR"), ("1", None)], None, None),
        ([("1.50", None), ("1", None)], Decimal("2.50"), None),
        ([("999999999999", "EUR"), ("999999999999", "EUR")], None, "EUR"),
        ([], None, None),
    ],
)
def test_revenue_is_summed_in_one_currency_only(
    paid: list[tuple[str, str | None]], revenue: Decimal | None, currency: str | None
) -> None:
    rows = [
        event(NOON + timedelta(seconds=number), revenue=Decimal(amount), currency=unit)
        for number, (amount, unit) in enumerate(paid)
    ]
    session = sessions_of([*rows, event(NOON - timedelta(seconds=1), currency="JPY")])[0]
    assert columns_of(session, "revenue", "currency") == (revenue, currency)


@pytest.mark.parametrize(
    ("currencies", "revenue", "currency"),
    [(("EUR", None), 2, "EUR"), ((None, None), 2, None), (("USD", None), None, None)],
)
def test_revenue_without_a_currency_is_in_the_reporting_currency(
    currencies: tuple[str | None, ...], revenue: int | None, currency: str | None
) -> None:
    rows = [
        event(NOON, event_id=f"{number}", revenue=Decimal(1), currency=code) for number, code in enumerate(currencies)
    ]
    (session,) = build_sessions(events_frame(rows), [TODAY], timezone="UTC", reporting="EUR").to_dicts()
    assert columns_of(session, "revenue", "currency") == (revenue, currency)


def test_the_number_of_a_session_is_on_every_event_and_its_reason_on_the_first() -> None:
    rows = [*at(0, 60), *at(7200)]
    assigned = assign_sessions(events_frame(rows), timezone="UTC")
    assert assigned["session_number"].to_list() == [0, 0, 1]
    assert assigned["start_reason"].to_list() == ["inactivity", None, "inactivity"]


def test_the_tables_of_nothing_are_empty_frames_that_keep_the_contracts() -> None:
    nothing = events_frame([])
    assert Sessions.validate(build_sessions(nothing, [TODAY], timezone="UTC")).is_empty()
    assert PageViews.validate(build_page_views(nothing, [TODAY], timezone="UTC")).is_empty()


# -- splits ------------------------------------------------------------------------------------------------------

CAMPAIGNS = SessionRules(split_on_campaign=True)
MIDNIGHTS = SessionRules(split_at_midnight=True)


def reasons_of(rows: Sequence[Row], timezone: str = "UTC", **session_rules: SessionRules) -> list[tuple[str, str, int]]:
    """Start reason, end reason and events of each session."""
    return [
        columns_of(row, "start_reason", "end_reason", "events") for row in sessions_of(rows, timezone, **session_rules)
    ]


def test_another_campaign_starts_a_session_where_the_source_wants_it() -> None:
    rows = at(0, utm_source="a") + at(60) + at(120, utm_source="b") + at(180)
    assert reasons_of(rows) == [("inactivity", "inactivity", 4)]
    assert reasons_of(rows, web=CAMPAIGNS) == [("inactivity", "campaign", 2), ("campaign", "inactivity", 2)]


@pytest.mark.parametrize("column", ["utm_source", "utm_medium", "utm_campaign", "click_id"])
def test_a_campaign_is_another_one_if_any_of_its_parts_is(column: str) -> None:
    named = {"utm_source": "s", "utm_medium": "m", "utm_campaign": "c", "click_id": "i"}
    rows = at(0, **named) + at(60, **named | {column: "other"})
    assert len(sessions_of(rows, web=CAMPAIGNS)) == 2
    assert len(sessions_of(at(0, **named) + at(60, utm_term="t", **named), web=CAMPAIGNS)) == 1


def test_a_campaign_after_none_is_a_change_and_none_after_a_campaign_is_not() -> None:
    assert len(sessions_of(at(0) + at(60, click_id="1"), web=CAMPAIGNS)) == 2
    assert len(sessions_of(at(0, click_id="1") + at(60) + at(120, click_id="1"), web=CAMPAIGNS)) == 1


def test_the_campaign_that_the_visitor_named_last_counts_though_a_session_began_since() -> None:
    rows = at(0, utm_source="a") + at(3600) + at(3660, utm_source="a")
    assert reasons_of(rows, web=CAMPAIGNS) == [("inactivity", "inactivity", 1), ("inactivity", "inactivity", 2)]


def test_a_campaign_is_remembered_for_four_hours() -> None:
    slow = SessionRules(timeout=timedelta(hours=5), split_on_campaign=True)
    same = event(NOON + timedelta(hours=4), utm_source="a")
    late = event(NOON + timedelta(hours=4) + MICROSECOND, utm_source="a")
    assert len(sessions_of([*at(0, utm_source="a"), same], web=slow)) == 1
    assert len(sessions_of([*at(0, utm_source="a"), late], web=slow)) == 2


def test_a_ping_names_no_campaign() -> None:
    rows = at(0, utm_source="a") + at(60, event_type="ping", utm_source="b") + at(120, utm_source="a")
    assert len(sessions_of(rows, web=CAMPAIGNS)) == 1


def test_midnight_of_the_reporting_zone_starts_a_session_where_the_source_wants_it() -> None:
    rows = [event(utc(time), "Europe/Berlin") for time in ("2026-03-10T22:50", "2026-03-10T23:00", "2026-03-10T23:10")]
    assert reasons_of(rows, "Europe/Berlin") == [("inactivity", "inactivity", 3)]
    split = [("inactivity", "midnight", 1), ("midnight", "inactivity", 2)]
    assert reasons_of(rows, "Europe/Berlin", web=MIDNIGHTS) == split


def test_after_a_gap_or_a_filled_day_midnight_is_not_the_reason() -> None:
    rows = [*beats(utc("2026-03-10T00:00"), utc("2026-03-11T00:00"), LIMIT), event(utc("2026-03-12T00:00"))]
    assert [reason for reason, *_ in reasons_of(rows, web=MIDNIGHTS)] == ["inactivity", "day_filled", "inactivity"]


# -- pings -------------------------------------------------------------------------------------------------------


def page(seconds: float, view_id: str, **values: Any) -> Row:
    return event(NOON + timedelta(seconds=seconds), event_type="page", view_id=view_id, **values)


def pings(view_id: str, *seconds: float, **values: Any) -> list[Row]:
    return at(*seconds, event_type="ping", view_id=view_id, **values)


MINUTE = 60


def test_a_ping_of_the_session_s_own_view_prolongs_it() -> None:
    rows = [page(0, "a"), *pings("a", 30 * MINUTE, 60 * MINUTE), *at(90 * MINUTE)]
    assert reasons_of(rows) == [("inactivity", "inactivity", 4)]


def test_a_ping_of_a_view_of_an_earlier_session_neither_starts_a_session_nor_prolongs_one() -> None:
    rows = [page(0, "a"), *pings("a", 31 * MINUTE, 32 * MINUTE, 50 * MINUTE), page(70 * MINUTE, "b")]
    assert reasons_of(rows) == [("inactivity", "inactivity", 1), ("inactivity", "inactivity", 1)]
    assert excluded_of(rows) == [(TODAY, "orphan_ping", 3)]
    later = [*rows, *pings("a", 71 * MINUTE, 90 * MINUTE), *at(101 * MINUTE)]
    assert [number for *_, number in reasons_of(later)] == [1, 1, 1]
    assert excluded_of(later) == [(TODAY, "orphan_ping", 5)]


def test_a_ping_of_a_view_that_was_silent_stays_in_the_session_of_its_view_while_that_goes_on() -> None:
    rows = [page(0, "a"), page(20 * MINUTE, "b"), *pings("a", 40 * MINUTE), *at(50 * MINUTE)]
    assert reasons_of(rows) == [("inactivity", "inactivity", 4)]
    assert sessions_of(rows)[0]["engaged_seconds"] == 5
    assert excluded_of(rows) == []
    without_end = rows[:3]
    assert reasons_of(without_end) == [("inactivity", "inactivity", 2)]
    assert excluded_of(without_end) == [(TODAY, "orphan_ping", 1)]


def test_the_pings_of_a_view_of_the_campaign_before_are_in_no_session() -> None:
    rows = [page(0, "a", utm_source="a"), *pings("a", 10), page(20, "b", utm_source="b"), *pings("a", 30), *at(40)]
    assert reasons_of(rows, web=CAMPAIGNS) == [("inactivity", "campaign", 2), ("campaign", "inactivity", 2)]
    assert excluded_of(rows, web=CAMPAIGNS) == [(TODAY, "orphan_ping", 1)]


def test_the_pings_of_yesterday_s_view_start_no_session_at_midnight() -> None:
    view = event(utc("2026-03-10T23:50"), event_type="page", view_id="a")
    after = [event(utc(f"2026-03-11T00:{minute}"), event_type="ping", view_id="a") for minute in ("00", "10")]
    assert reasons_of([view, *after]) == [("inactivity", "inactivity", 3)]
    assert reasons_of([view, *after], web=MIDNIGHTS) == [("inactivity", "inactivity", 1)]
    assert excluded_of([view, *after], web=MIDNIGHTS) == [(TODAY + timedelta(days=1), "orphan_ping", 2)]


def test_a_tab_left_open_overnight_starts_no_session_in_the_morning() -> None:
    view = event(utc("2026-03-10T18:00"), event_type="page", view_id="a")
    morning = [event(utc("2026-03-11T09:00"), event_type="ping", view_id="a")]
    assert reasons_of([view, *morning]) == [("inactivity", "inactivity", 1)]
    assert excluded_of([view, *morning]) == [(TODAY + timedelta(days=1), "orphan_ping", 1)]


def test_a_ping_of_a_view_that_was_never_seen_or_too_long_ago_is_an_event_like_any_other() -> None:
    assert reasons_of(pings("a", 0)) == [("inactivity", "inactivity", 1)]
    memory = view_memory({})
    assert memory == timedelta(hours=17.5)
    view = event(NOON, event_type="page", view_id="a")
    within = event(NOON + memory, event_type="ping", view_id="a")
    beyond = event(NOON + memory + MICROSECOND, event_type="ping", view_id="a")
    assert len(sessions_of([view, within])) == 1
    assert len(sessions_of([view, beyond])) == 2


def test_the_pings_of_a_page_that_fills_its_days_start_a_session_each_day() -> None:
    view = event(utc("2026-03-10T00:00"), event_type="page", view_id="a")
    rows = beats(
        utc("2026-03-10T00:10"), utc("2026-03-12T12:00"), timedelta(minutes=10), event_type="ping", view_id="a"
    )
    got = [columns_of(row, "session_date", "start_reason") for row in sessions_of([view, *rows])]
    days = days_between(TODAY, TODAY + timedelta(days=2))
    assert got == list(zip(days, ("inactivity", "day_filled", "day_filled"), strict=True))
    assert excluded_of([view, *rows]) == []


# -- supplied sessions -------------------------------------------------------------------------------------------

THREE_DAYS = timedelta(days=3)
SUPPLIED = SessionRules(mode="supplied")


def test_a_supplied_id_is_a_session_of_its_property_and_visitor_whatever_the_gaps() -> None:
    given = {"source": "app", "session_id_supplied": "1"}
    rows = [
        *at(0, 7200, **given),
        *at(1, event_id="x", visitor_id="w", **given),
        *at(2, property="blog", **given),
        *at(3, source="app", session_id_supplied="2"),
    ]
    assert reasons_of(rows, app=SUPPLIED) == [("supplied", "supplied", number) for number in (2, 1, 1, 1)]


def test_an_event_exactly_max_session_days_after_the_first_is_in_the_session_and_a_microsecond_more_is_a_stray() -> (
    None
):
    first, within, stray = (
        event(NOON + after, source="app", session_id_supplied="1")
        for after in (timedelta(0), THREE_DAYS, THREE_DAYS + MICROSECOND)
    )
    (session,) = sessions_of([first, within, stray], app=SUPPLIED)
    assert columns_of(session, "events", "ended_at", "events_next_day") == (2, NOON + THREE_DAYS, 0)
    assert excluded_of([first, within, stray], app=SUPPLIED) == [(TODAY + THREE_DAYS, "stray", 1)]


def test_an_event_on_a_calendar_day_too_far_away_is_a_stray_where_a_day_has_23_hours() -> None:
    # Clocks are put forward on 29 March: 72 hours after 23:30 it is 0:30 on the fourth day.
    first = datetime(2026, 3, 28, 23, 30, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    given = {"source": "app", "session_id_supplied": "1"}
    rows = [event(first + after, "Europe/Berlin", **given) for after in (timedelta(0), timedelta(hours=71), THREE_DAYS)]
    assert [row["events"] for row in sessions_of(rows, "Europe/Berlin", app=SUPPLIED)] == [2]
    assert excluded_of(rows, "Europe/Berlin", app=SUPPLIED) == [(date(2026, 4, 1), "stray", 1)]


def test_an_event_without_an_id_is_in_no_session_of_a_source_that_supplies_them() -> None:
    rows = at(0, source="app") + at(1, source="app", session_id_supplied="1")
    assert [row["events"] for row in sessions_of(rows, app=SUPPLIED)] == [1]
    assert excluded_of(rows, app=SUPPLIED) == [(TODAY, "no_session_id", 1)]


def test_a_view_that_a_supplied_session_knows_by_its_pings_alone_is_a_view_of_it() -> None:
    seen = {"source": "app", "view_id": "a", "page_path": "/a"}
    rows = [
        *at(0, event_type="page", session_id_supplied="1", **seen),
        *at(*range(10, 130, 10), event_type="ping", session_id_supplied="1", **seen),
        *at(*range(2600, 3200, 10), event_type="ping", session_id_supplied="2", **seen),
    ]
    columns = ("page_views", "engaged_seconds", "entry_page", "exit_page")
    assert [columns_of(row, *columns) for row in sessions_of(rows, app=SUPPLIED)] == [
        (1, 115, "/a", "/a"),
        (1, 595, "/a", "/a"),
    ]
    views = views_of(rows, app=SUPPLIED)
    assert [columns_of(row, "viewed_at", "engaged_seconds") for row in views] == [
        (NOON, 115),
        (NOON + timedelta(seconds=2600), 595),
    ]
    assert views[0]["page_view_id"] != views[1]["page_view_id"]
    # Without an id of the session they are pings of a view that began in another one.
    (session,) = sessions_of([row | {"source": "web"} for row in rows])
    assert columns_of(session, "page_views", "events") == (1, 13)


def test_pings_before_their_page_event_and_other_events_make_no_view_of_a_supplied_session() -> None:
    given = {"source": "app", "session_id_supplied": "1"}
    rows = [
        *at(0, event_type="ping", view_id="a", page_path="/ping", **given),
        *at(1, event_type="page", view_id="b", page_path="/b", **given),
        *at(2, event_type="page", view_id="a", page_path="/a", **given),
        *at(3, event_type="track", view_id="c", **given),
        *at(4, event_type="ping", **given),
    ]
    (session,) = sessions_of(rows, app=SUPPLIED)
    assert columns_of(session, "page_views", "entry_page", "exit_page") == (2, "/b", "/a")


def test_inferred_and_supplied_events_of_a_visitor_do_not_see_each_other() -> None:
    app = [*at(20 * MINUTE, 200 * MINUTE, source="app", session_id_supplied="1")]
    rows = [*at(0, 40 * MINUTE), *app]
    assert reasons_of(rows, app=SUPPLIED) == [
        ("inactivity", "inactivity", 1), ("supplied", "supplied", 2), ("inactivity", "inactivity", 1)
    ]  # fmt: skip


def test_the_id_of_a_supplied_session_is_that_of_its_key_and_first_event_for_ever() -> None:
    rows = at(0, 60, source="app", session_id_supplied="1")
    (session,) = sessions_of(rows, app=SUPPLIED)
    assert session["session_id"] == "8b77ada331eb1c36b4358e2d060bd72c"


def test_sources_that_supply_ids_need_the_table_of_them() -> None:
    with pytest.raises(ValueError, match="supplied_sessions"):
        build_sessions(events_frame(at(0)), [TODAY], timezone="UTC", session_rules={"web": SUPPLIED})


# -- the same in plain Python ------------------------------------------------------------------------------------

RULES = {
    "slow": SessionRules(timeout=timedelta(hours=6)),
    "slower": SessionRules(timeout=timedelta(hours=9)),
    "split": SessionRules(split_on_campaign=True, split_at_midnight=True),
    "ads": SessionRules(timeout=timedelta(hours=6), split_on_campaign=True),
    "app": SessionRules(mode="supplied", max_session_days=1),
    "kiosk": SessionRules(mode="supplied", max_session_days=2),
}
INFERRED = {name: rule for name, rule in RULES.items() if rule.mode == "inferred"}
DAYS_AFTER = 2
HOUR = 3600
# Steps at and around the timeouts of every source. The long ones let a handful of events fill a day.
SHORT_STEPS = (0, 1, 5, 10, 25 * 60, HOUR // 2, HOUR // 2 + 1)
LONG_STEPS = (3 * HOUR, 6 * HOUR, 6 * HOUR, 6 * HOUR + 1, 8 * HOUR, 9 * HOUR)
PATTERNS = (
    (("web",), SHORT_STEPS),
    (("slow",), (6 * HOUR,)),
    (("slow",), (6 * HOUR, 6 * HOUR, 6 * HOUR, 0, 6 * HOUR + 1, 32 * HOUR)),
    (("slow", "slower"), LONG_STEPS),
    (("slow", "slower"), (6 * HOUR, 8 * HOUR)),
    (("web", "slow", "slower"), (*SHORT_STEPS, *LONG_STEPS)),
    (("split",), SHORT_STEPS),
    (("split", "web"), (*SHORT_STEPS, 3 * HOUR, 14 * HOUR)),
    (("ads",), (0, 1, HOUR, 4 * HOUR, 4 * HOUR + 1, 6 * HOUR)),
    (("ads", "slower", "split"), (*SHORT_STEPS, *LONG_STEPS)),
)
DAY = 24 * HOUR
MIXED_PATTERNS = (
    (("app",), (0, 1, HOUR, 12 * HOUR, DAY, DAY + 1)),
    (("app", "kiosk"), (1, 23 * HOUR, DAY, DAY + 1, 2 * DAY)),
    (("app", "web", "split"), (*SHORT_STEPS, 12 * HOUR)),
    (("kiosk", "slow", "slower"), LONG_STEPS),
)
# Seconds from the midnight of the day before the clocks change.
STARTS = st.sampled_from([0, 1, 6 * HOUR, 6 * HOUR + 1, 20 * HOUR, 24 * HOUR, 24 * HOUR - 1])

DETAILS: dict[str, Sequence[Any]] = {
    "event_type": ("page", "screen", "track", "ping", "ping"),
    "session_id_supplied": (None, "1", "1", "2"),
    "event_name": (None, "name"),
    "view_id": (None, None, "a", "b"),
    "user_id": (None, None, "u", "w"),
    "page_host": (None, "example.com"),
    "page_path": (None, "/a", "/b"),
    "page_title": (None, "A"),
    "referrer_host": (None, None, None, "www.google.com", "acme.org"),
    "utm_source": (None, None, None, "google", "acme"),
    "utm_medium": (None, None, None, "cpc", "email"),
    "utm_campaign": (None, None, "shop", "spring"),
    "click_id": (None, None, "1"),
    "click_id_type": (None, "gclid"),
    "scroll_depth": (None, 0.0, 35.5, 100.0, 101.0, -0.5, float("nan")),
    "device_type": (None, "mobile", "desktop"),
    "country": (None, "DE"),
    "is_bot": (False, False, False, False, True),
    "is_conversion": (False, False, True),
    "revenue": (None, None, Decimal("1.25"), Decimal(-3)),
    "currency": (None, "EUR", "EUR", "EUR"),
    **ORDERS,
}


# Time zones, and days on which their clocks change.
CHANGES = st.sampled_from([("UTC", date(2026, 3, 29)), ("Europe/Berlin", date(2026, 3, 29))])


@st.composite
def traffic(
    draw: st.DrawFn,
    patterns: Sequence[Any] = PATTERNS,
    properties: Sequence[str] = ("shop",),
    changes: st.SearchStrategy[tuple[str, date]] = CHANGES,
) -> tuple[str, list[Row]]:
    """A time zone and the events of up to three visitors in random order, around a change of the clocks."""
    timezone, change = draw(changes)
    before = change - timedelta(days=1)
    midnight = datetime(before.year, before.month, before.day, tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    random = Random(draw(st.integers(0, 2**32)))
    rows = []
    for visitor in ("v", "w", None)[: draw(st.integers(1, 3))]:
        sources, steps = draw(st.sampled_from(patterns))
        moment = midnight + timedelta(seconds=draw(STARTS))
        # A microsecond more makes a gap that is exactly the limit one that is not.
        steps = (*steps, *(step + 1e-6 for step in steps if random.random() < 0.2))
        for step in (0, *draw(st.lists(st.sampled_from(steps), max_size=14))):
            moment += timedelta(seconds=step)
            row = event(
                moment,
                timezone,
                property=random.choice(properties),
                visitor_id=visitor,
                received_at=random.choice([None, moment, moment + timedelta(seconds=1)]),
                event_id=f"{random.randrange(10)}-{len(rows)}",
                source=random.choice(sources),
            )
            rows.append(row | {name: random.choice(values) for name, values in DETAILS.items()})
    random.shuffle(rows)
    return timezone, rows


@given(traffic(patterns=(*PATTERNS, *MIXED_PATTERNS), properties=("shop", "shop", "shop", "blog")))
@settings(max_examples=40, deadline=None)
def test_sessions_agree_with_a_plain_reading_of_the_rules_whatever_the_batch_and_order(
    given_traffic: tuple[str, list[Row]],
) -> None:
    timezone, rows = given_traffic
    expected, in_none = reference_sessions(rows, timezone, RULES)
    views = [view for session in expected for view in session.pop("views")]
    events, days, supplied = made_of(rows, RULES)
    how: dict[str, Any] = {"timezone": timezone, "session_rules": RULES, "supplied": supplied}
    sessions = Sessions.validate(build_sessions(events, days, **how))
    page_views = PageViews.validate(build_page_views(events, days, **how))
    excluded = excluded_from_sessions(events, days, **how)
    assert sessions.to_dicts() == sorted(
        expected, key=lambda row: columns_of(row, "session_date", "started_at", "session_id")
    )
    assert page_views.to_dicts() == sorted(
        views, key=lambda row: columns_of(row, "session_date", "viewed_at", "page_view_id")
    )
    assert {row[:-1]: row[-1] for row in excluded.rows()} == in_none
    everywhere = [*sessions["events"], *excluded["events"]]
    assert sum(everywhere) == len(events.drop_nulls("visitor_id"))
    for day in days:
        before, after = day - timedelta(days=1), day + timedelta(days=DAYS_AFTER)
        window = events.filter(pl.col("event_date").is_between(before, after))
        alone = build_sessions(window.lazy(), [day], **how)
        assert alone.equals(sessions.filter(pl.col("session_date") == day))
        views_alone = build_page_views(window, [day], **how)
        assert views_alone.equals(page_views.filter(pl.col("session_date") == day))
        around = pl.col("event_date").is_between(before - timedelta(days=1), day + timedelta(days=1))
        excluded_alone = excluded_from_sessions(events.filter(around), [day], **how)
        assert excluded_alone.equals(excluded.filter(pl.col("event_date") == day))


@given(traffic())
@settings(max_examples=40, deadline=None)
def test_inferred_sessions_depend_on_three_days_only(given_traffic: tuple[str, list[Row]]) -> None:
    timezone, rows = given_traffic
    events, days, _ = made_of(rows, RULES)
    sessions = build_sessions(events, days, timezone=timezone, session_rules=INFERRED)
    for day in days:
        near = pl.col("event_date").is_between(day - timedelta(days=1), day + timedelta(days=1))
        alone = build_sessions(events.filter(near), [day], timezone=timezone, session_rules=INFERRED)
        assert alone.equals(sessions.filter(pl.col("session_date") == day))


ONE_TIMEOUT = {"web": SessionRules(timeout=timedelta(hours=6), split_on_campaign=True, split_at_midnight=True)}


@given(traffic(patterns=[(("web",), (0, 60, HOUR, 5 * HOUR, 6 * HOUR, 6 * HOUR + 1, 10 * HOUR))]))
@settings(max_examples=40, deadline=None)
def test_no_session_but_one_after_a_filled_day_has_a_ping_whose_view_began_in_another(
    given_traffic: tuple[str, list[Row]],
) -> None:
    timezone, rows = given_traffic
    assigned = assign_sessions(events_frame(rows), timezone=timezone, session_rules=ONE_TIMEOUT).to_dicts()
    reasons = {row["session_number"]: row["start_reason"] for row in assigned if row["is_start"]}
    for place, ping in enumerate(assigned):
        if ping["event_type"] == "ping" and ping["view_id"] is not None and not ping["is_orphan"]:
            before = only(assigned[:place], visitor_id=ping["visitor_id"], view_id=ping["view_id"])
            views = [row for row in before if row["event_type"] in {"page", "screen"}]
            if views and ping["occurred_at"] - views[-1]["occurred_at"] <= view_memory(ONE_TIMEOUT):
                number = ping["session_number"]
                assert number == views[-1]["session_number"] or reasons[number] == "day_filled"
