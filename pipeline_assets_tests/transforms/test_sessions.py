from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.contracts.page_views import PageViews
from pipeline_assets.contracts.sessions import Sessions
from pipeline_assets.transforms.page_views import build_page_views
from pipeline_assets.transforms.sessionize import assign_sessions
from pipeline_assets.transforms.sessions import build_sessions
from pipeline_assets_tests.transforms.frames import NOON, Row, columns_of, days_between, event, events_frame, utc
from pipeline_assets_tests.transforms.session_reference import reference_sessions

TODAY = NOON.date()
LIMIT = timedelta(minutes=30)
MICROSECOND = timedelta(microseconds=1)


def sessions_of(rows: Sequence[Row], timezone: str = "UTC", **timeouts: timedelta) -> list[Row]:
    """All sessions of these events, in order of their start."""
    dates = [row["event_date"] for row in rows]
    days = days_between(min(dates), max(dates))
    return Sessions.validate(build_sessions(events_frame(rows), days, timezone=timezone, timeouts=timeouts)).to_dicts()


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
    assert len(sessions_of([first, second], app=timedelta(hours=1))) == 1
    assert len(sessions_of([first, second], web=timedelta(hours=1))) == 2


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(hours=-1), timedelta(hours=13)])
def test_a_timeout_that_would_break_locality_is_refused(timeout: timedelta) -> None:
    with pytest.raises(ValueError, match="web"):
        sessions_of([event(NOON)], web=timeout)


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


def test_equal_times_are_ordered_by_arrival_then_id() -> None:
    rows = [
        event(NOON, event_id="a", event_type="page", page_path="/3"),
        event(NOON, event_id="z", event_type="page", page_path="/1", received_at=NOON),
        event(NOON, event_id="b", event_type="page", page_path="/4"),
        event(NOON, event_id="y", event_type="page", page_path="/2", received_at=NOON + MICROSECOND),
    ]
    (session,) = sessions_of(rows)
    assert columns_of(session, "entry_page", "exit_page") == ("/1", "/4")


def test_engaged_time_is_snowplow_s() -> None:
    pings = at(0, 3, 9.9, 10, 25, event_type="ping", view_id="a") + at(26, event_type="ping", view_id="b")
    (session,) = sessions_of([*pings, *at(27, event_type="ping")])
    assert session["engaged_seconds"] == (10 * (3 - 1) + 5) + 5


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


def test_the_number_of_a_session_is_on_every_event_and_its_reason_on_the_first() -> None:
    rows = [*at(0, 60), *at(7200)]
    assigned = assign_sessions(events_frame(rows), timezone="UTC")
    assert assigned["session_number"].to_list() == [0, 0, 1]
    assert assigned["start_reason"].to_list() == ["inactivity", None, "inactivity"]


def test_the_tables_of_nothing_are_empty_frames_that_keep_the_contracts() -> None:
    nothing = events_frame([])
    assert Sessions.validate(build_sessions(nothing, [TODAY], timezone="UTC")).is_empty()
    assert PageViews.validate(build_page_views(nothing, [TODAY], timezone="UTC")).is_empty()


# -- the same in plain Python ------------------------------------------------------------------------------------

TIMEOUTS = {"slow": timedelta(hours=6), "slower": timedelta(hours=9)}
HOUR = 3600
# Steps at and around the timeouts of every source. The long ones let a handful of events fill a day.
SHORT_STEPS = (0, 1, 5, 10, 25 * 60, HOUR // 2, HOUR // 2 + 1)
LONG_STEPS = (3 * HOUR, 6 * HOUR, 6 * HOUR, 6 * HOUR + 1, 8 * HOUR, 9 * HOUR)
PATTERNS = st.sampled_from(
    [
        (("web",), SHORT_STEPS),
        (("slow",), (6 * HOUR,)),
        (("slow",), (6 * HOUR, 6 * HOUR, 6 * HOUR, 0, 6 * HOUR + 1, 32 * HOUR)),
        (("slow", "slower"), LONG_STEPS),
        (("slow", "slower"), (6 * HOUR, 8 * HOUR)),
        (("web", "slow", "slower"), (*SHORT_STEPS, *LONG_STEPS)),
    ]
)
# Seconds from the midnight of the day before the clocks change.
STARTS = st.sampled_from([0, 1, 6 * HOUR, 6 * HOUR + 1, 20 * HOUR, 24 * HOUR, 24 * HOUR - 1])

DETAILS: dict[str, Sequence[Any]] = {
    "event_type": ("page", "screen", "track", "ping"),
    "event_name": (None, "name"),
    "view_id": (None, None, "a", "b"),
    "user_id": (None, None, "u", "w"),
    "page_host": (None, "example.com"),
    "page_path": (None, "/a", "/b"),
    "page_title": (None, "A"),
    "referrer_host": (None, None, None, "www.google.com", "acme.org"),
    "utm_source": (None, None, None, "google", "acme"),
    "utm_medium": (None, None, None, "cpc", "email"),
    "utm_campaign": (None, "shop", "spring"),
    "click_id": (None, "1"),
    "device_type": (None, "mobile", "desktop"),
    "country": (None, "DE"),
    "is_bot": (False, False, False, False, True),
    "is_conversion": (False, False, True),
    "revenue": (None, None, Decimal("1.25"), Decimal(-3)),
    "currency": (None, "EUR", "EUR", "EUR"),
}


@st.composite
def traffic(draw: st.DrawFn) -> tuple[str, list[Row]]:
    """A time zone and the events of up to three visitors in random order, around a change of the clocks."""
    timezone = draw(st.sampled_from(["UTC", "Europe/Berlin"]))
    midnight = datetime(2026, 3, 28, tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    random = Random(draw(st.integers(0, 2**32)))
    rows = []
    for visitor in ("v", "w", None)[: draw(st.integers(1, 3))]:
        sources, steps = draw(PATTERNS)
        moment = midnight + timedelta(seconds=draw(STARTS))
        for step in (0, *draw(st.lists(st.sampled_from(steps), max_size=14))):
            moment += timedelta(seconds=step)
            row = event(
                moment,
                timezone,
                visitor_id=visitor,
                received_at=random.choice([None, moment, moment + timedelta(seconds=1)]),
                event_id=f"{random.randrange(10)}-{len(rows)}",
                source=random.choice(sources),
            )
            rows.append(row | {name: random.choice(values) for name, values in DETAILS.items()})
    random.shuffle(rows)
    return timezone, rows


@given(traffic())
@settings(max_examples=150, deadline=None)
def test_sessions_agree_with_a_plain_reading_of_the_rules_whatever_the_batch_and_order(
    given_traffic: tuple[str, list[Row]],
) -> None:
    timezone, rows = given_traffic
    expected = reference_sessions(rows, timezone, TIMEOUTS)
    days = days_between(min(row["event_date"] for row in rows), max(row["event_date"] for row in rows))
    views = [view for session in expected for view in session.pop("views")]
    events = events_frame(rows)
    sessions = Sessions.validate(build_sessions(events, days, timezone=timezone, timeouts=TIMEOUTS))
    page_views = PageViews.validate(build_page_views(events, days, timezone=timezone, timeouts=TIMEOUTS))
    assert sessions.to_dicts() == sorted(
        expected, key=lambda row: columns_of(row, "session_date", "started_at", "session_id")
    )
    assert page_views.to_dicts() == sorted(
        views, key=lambda row: columns_of(row, "session_date", "viewed_at", "page_view_id")
    )
    assert sessions["events"].sum() == events["visitor_id"].is_not_null().sum()
    for day in days:
        around = pl.col("event_date").is_between(day - timedelta(days=1), day + timedelta(days=1))
        window = events.filter(around)
        alone = build_sessions(window.lazy(), [day], timezone=timezone, timeouts=TIMEOUTS)
        assert alone.equals(sessions.filter(pl.col("session_date") == day))
        views_alone = build_page_views(window, [day], timezone=timezone, timeouts=TIMEOUTS)
        assert views_alone.equals(page_views.filter(pl.col("session_date") == day))
