import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.visitor_days import VisitorDays, build_visitor_days
from pipeline_assets.transforms.currencies import Rate, Rates
from pipeline_assets.transforms.sessionize import SessionRules
from pipeline_assets_tests.tables.test_sessions import supplied_of
from pipeline_assets_tests.transforms.frames import (
    NOON,
    ORDERS,
    SESSION_SCHEMA,
    Row,
    columns_of,
    days_between,
    event,
    event_key,
    events_frame,
    only,
)
from pipeline_assets_tests.transforms.identity_reference import hex_of, visitor_day_order

TODAY = NOON.date()
RATES = Rates("EUR", (Rate("USD", Decimal("0.5")), Rate("GBP", Decimal(2), since=date(2026, 3, 29))))
RULES = {"app": SessionRules(mode="supplied", max_session_days=1)}
OUTSIDE = ("orphan_pings", "events_without_session_id", "strays")
TOUCH = (
    "channel",
    "traffic_source",
    "traffic_medium",
    "utm_campaign",
    "referrer_host",
    "entry_page",
    "device_type",
    "country",
)
SCHEMA = pl.Schema({**SESSION_SCHEMA, **dict.fromkeys(TOUCH, pl.String())})


def session(started_at: datetime = NOON, timezone: str = "UTC", **values: Any) -> Row:
    """A session of visitor v at shop."""
    row = dict.fromkeys(SCHEMA, None) | {
        "session_id": started_at.isoformat(),
        "session_date": started_at.astimezone(ZoneInfo(timezone)).date(),
        "property": "shop",
        "visitor_id": "v",
        "started_at": started_at,
        "events": 1,
        "page_views": 0,
        "engaged_seconds": 0,
        "is_engaged": False,
        "is_bot": False,
        "channel": "Direct",
    }
    return row | values


def sessions_frame(rows: Sequence[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


def visitor_days_of(events: Sequence[Row], sessions: Sequence[Row] = (), rates: Rates = RATES) -> list[Row]:
    """The visitor days of today."""
    table = build_visitor_days(events_frame(events), sessions_frame(sessions), [TODAY], rates=rates)
    return VisitorDays.validate(table).to_dicts()


def test_events_without_a_visitor_are_left_out() -> None:
    assert visitor_days_of([event(NOON, visitor_id=None, anonymous_id=None)]) == []


def test_a_visitor_has_a_row_for_every_user_id_and_every_set_of_further_ids() -> None:
    rows = [event(NOON), event(NOON, user_id="u"), event(NOON, user_id="u", further_ids='{"email": "1"}')]
    got = [columns_of(row, "user_id", "further_ids") for row in visitor_days_of(rows)]
    assert got == [(None, None), ("u", None), ("u", '{"email": "1"}')]


def test_bots_events_have_a_row_of_their_own() -> None:
    got = [columns_of(row, "is_bot", "events") for row in visitor_days_of([event(NOON), event(NOON, is_bot=True)])]
    assert got == [(False, 1), (True, 1)]


def test_a_view_id_is_one_view_of_a_visitor_and_day_on_the_row_of_its_first_event() -> None:
    rows = [
        event(NOON, event_type="page", view_id="a", event_id="2", user_id="u"),
        event(NOON, event_type="page", view_id="a", event_id="1"),
        event(NOON, event_type="page", view_id="a", event_id="3"),
        event(NOON, event_type="page", event_id="4"),
        event(NOON, event_type="ping", view_id="b", event_id="5"),
    ]
    assert [columns_of(row, "user_id", "page_views") for row in visitor_days_of(rows)] == [(None, 2), ("u", 0)]


def test_of_two_events_of_a_view_at_one_moment_the_one_known_to_have_arrived_first_is_its_first() -> None:
    page = {"event_type": "page", "view_id": "a"}
    rows = [event(NOON, event_id="1", **page), event(NOON, event_id="2", user_id="u", received_at=NOON, **page)]
    assert [columns_of(row, "user_id", "page_views") for row in visitor_days_of(rows)] == [(None, 0), ("u", 1)]


def test_revenue_is_in_the_reporting_currency_and_null_where_none() -> None:
    rows = [
        event(NOON, revenue=Decimal(4), currency="USD"),
        event(NOON, revenue=Decimal(-1), currency="EUR"),
        event(NOON, revenue=Decimal(9), currency="XXX"),
        event(NOON, visitor_id="w", revenue=Decimal(9), currency="XXX"),
    ]
    assert [row["revenue"] for row in visitor_days_of(rows)] == [Decimal(1), None]
    assert [row["revenue"] for row in visitor_days_of(rows, rates=Rates())] == [None, None]


def test_a_sum_too_large_for_the_column_is_null() -> None:
    most = Decimal("999999999999")
    (row,) = visitor_days_of([event(NOON, revenue=most, currency="EUR"), event(NOON, revenue=most, currency="EUR")])
    assert row["revenue"] is None


def test_sessions_count_on_the_row_of_their_visitor_and_user_id() -> None:
    rows = [event(NOON), event(NOON, user_id="u")]
    sessions = [session(user_id="u", is_engaged=True, engaged_seconds=5), session(user_id="u", session_id="s")]
    got = visitor_days_of(rows, sessions)
    names = ("user_id", "sessions", "engaged_sessions", "engaged_seconds")
    assert [columns_of(row, *names) for row in got] == [(None, 0, 0, 0), ("u", 2, 1, 5)]


def test_sessions_of_a_visitor_with_further_ids_count_once_on_the_row_of_the_smallest() -> None:
    rows = [event(NOON, further_ids=text) for text in ('{"email": "2"}', '{"email": "1"}')]
    got = visitor_days_of(rows, [session()])
    assert [columns_of(row, "further_ids", "sessions") for row in got] == [('{"email": "1"}', 1), ('{"email": "2"}', 0)]


def test_a_session_whose_user_signed_in_after_midnight_is_a_row_without_events() -> None:
    got = visitor_days_of([event(NOON)], [session(NOON, user_id="u"), session(NOON + timedelta(hours=1), user_id="u")])
    assert [columns_of(row, "user_id", "events", "sessions") for row in got] == [(None, 1, 0), ("u", 0, 2)]
    assert columns_of(got[1], "first_seen_at", "last_seen_at") == (NOON, NOON + timedelta(hours=1))
    assert got[1]["anonymous_id"] == "v"


def test_the_first_touch_is_that_of_the_day_s_earliest_session_even_where_it_says_nothing() -> None:
    sessions = [
        session(NOON + timedelta(hours=1), channel="Email", entry_page="/late", traffic_source="x"),
        session(NOON, channel="Referral", session_id="b"),
        session(NOON, channel="Organic Search", session_id="a", country="DE"),
    ]
    (row,) = visitor_days_of([event(NOON)], sessions)
    assert columns_of(row, "session_id", *TOUCH) == ("a", "Organic Search", *[None] * 6, "DE")
    assert columns_of(row, "first_session_at", "last_session_at", "last_channel") == (
        NOON,
        NOON + timedelta(hours=1),
        "Email",
    )


def test_a_visitor_known_by_a_user_id_only_has_no_anonymous_id() -> None:
    rows = [event(NOON, visitor_id="user:u", anonymous_id=None, user_id="u"), event(NOON, visitor_id="user:w")]
    got = visitor_days_of(rows, [session(visitor_id="user:z", user_id="z")])
    assert [columns_of(row, "visitor_id", "anonymous_id") for row in got] == [
        ("user:u", None),
        ("user:w", "user:w"),
        ("user:z", None),
    ]


def test_row_ids_are_the_same_for_ever() -> None:
    assert [row["visitor_day_id"] for row in visitor_days_of([event(NOON, user_id="u")])] == [
        "aee16b3a6ffcedb0e9d00e5ea9982754"
    ]


def test_the_visitor_days_of_nothing_are_an_empty_frame_that_keeps_the_contract() -> None:
    assert visitor_days_of([]) == []


# -- the same in plain Python ------------------------------------------------------------------------------------


def in_euros(row: Row) -> Decimal | None:
    rates = {"EUR": Decimal(1), "USD": Decimal("0.5")}
    if row["event_date"] >= date(2026, 3, 29):
        rates["GBP"] = Decimal(2)
    currency = row["currency"] or "EUR"
    return row["revenue"] * rates[currency] if row["revenue"] and currency in rates else None


def key_of(row: Row) -> tuple[Any, ...]:
    return columns_of(row, "activity_date", "property", "visitor_id", "user_id", "further_ids", "is_bot")


def outside(row: Row, events: Sequence[Row]) -> str | None:
    """Why an event of the source in supplied mode is in no session; those of the other are given no passive pings."""
    if row["source"] != "app":
        return None
    if row["session_id_supplied"] is None:
        return "events_without_session_id"
    of_id = only(events, **{name: row[name] for name in ("property", "visitor_id", "source", "session_id_supplied")})
    late = row["occurred_at"] - of_id[0]["occurred_at"] > timedelta(days=1)
    return "strays" if late or (row["event_date"] - of_id[0]["event_date"]).days > 1 else None


def reference(events: Sequence[Row], sessions: Sequence[Row]) -> list[Row]:
    events = [row | {"activity_date": row["event_date"]} for row in events if row["visitor_id"] is not None]
    events.sort(key=event_key)
    events = [row | {"outside": outside(row, events)} for row in events]
    sessions = sorted(sessions, key=lambda row: (row["started_at"], row["session_id"]))
    sessions = [row | {"activity_date": row["session_date"]} for row in sessions]
    for row in sessions:
        own = [
            other for other in events if key_of(other | {"further_ids": None}) == key_of(row | {"further_ids": None})
        ]
        texts = {other["further_ids"] for other in own}
        row["further_ids"] = None if None in texts else min(texts, default=None)
    views = {}
    for row in events:
        if row["event_type"] in {"page", "screen"}:
            name = row["view_id"] or row["event_id"]
            kind = row["view_id"] is None
            views.setdefault((row["event_date"], row["property"], row["visitor_id"], row["is_bot"], kind, name), row)
    table = []
    for key in {key_of(row) for row in [*events, *sessions]}:
        day, shop, visitor, user, further, is_bot = key
        own = [row for row in events if key_of(row) == key]
        visits = [row for row in sessions if key_of(row) == key]
        times = [row["occurred_at"] for row in own] or [row["started_at"] for row in visits]
        paid = [amount for amount in map(in_euros, own) if amount is not None]
        lengths = [len(text.encode()) if text is not None else "-" for text in (shop, visitor, user, further)]
        parts = [day.isoformat(), int(is_bot), *lengths, shop, visitor, user or "", further or ""]
        first = visits[0] if visits else dict.fromkeys(SCHEMA)
        last = visits[-1] if visits else first
        table.append(
            {
                "activity_date": day,
                "property": shop,
                "visitor_id": visitor,
                "visitor_day_id": hex_of("\x1f".join(map(str, parts))),
                "anonymous_id": None if user is not None and visitor == f"user:{user}" else visitor,
                "user_id": user,
                "further_ids": further,
                "is_bot": is_bot,
                "first_seen_at": min(times),
                "last_seen_at": max(times),
                "events": len(own),
                **{column: sum(row["outside"] == column for row in own) for column in OUTSIDE},
                "page_views": sum(any(row is view for row in own) for view in views.values()),
                "conversions": len(only(own, is_conversion=True)),
                "revenue": sum(paid, Decimal(0)) if paid else None,
                "sessions": len(visits),
                "session_events": sum(row["events"] for row in visits),
                "session_page_views": sum(row["page_views"] for row in visits),
                "engaged_sessions": len(only(visits, is_engaged=True)),
                "engaged_seconds": sum(row["engaged_seconds"] for row in visits),
                "first_session_at": first["started_at"],
                "session_id": first["session_id"],
                **{name: first[name] for name in TOUCH},
                "last_session_at": last["started_at"],
                "last_channel": last["channel"],
            }
        )
    return sorted(table, key=visitor_day_order)


@st.composite
def traffic(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Events and sessions of a few visitors around a change of the clocks, in random order."""
    timezone = draw(st.sampled_from(["UTC", "Europe/Berlin"]))
    random = Random(draw(st.integers(0, 2**32)))
    moment = datetime(2026, 3, 28, 12, tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    events, sessions = [], []
    for number in range(draw(st.integers(0, 20))):
        moment += timedelta(seconds=random.choice([0, 0, 1, 3600, 6 * 3600]))
        user = random.choice([None, None, "u", "w"])
        anonymous = random.choice(["v", "v", "a", "user:u", None])
        visitor = anonymous or (user and f"user:{user}")
        shared = {"property": random.choice(["shop", "blog"]), "user_id": user, "is_bot": random.random() < 0.2}
        events.append(
            event(
                moment,
                timezone,
                **shared,
                source=random.choice(["web", "app"]),
                session_id_supplied=random.choice([None, "1", "2"]),
                event_id=f"{random.randrange(9)}-{number}",
                received_at=random.choice([None, moment, moment + timedelta(seconds=1)]),
                **{name: random.choice(values) for name, values in ORDERS.items()},
                visitor_id=visitor,
                anonymous_id=anonymous,
                further_ids=random.choice([None, None, json.dumps({"email": random.choice("12")})]),
                event_type=random.choice(["page", "screen", "track"]),
                view_id=random.choice([None, "x", "y"]),
                is_conversion=random.random() < 0.3,
                revenue=random.choice([None, Decimal("1.250000"), Decimal(-3)]),
                currency=random.choice([None, "EUR", "USD", "GBP", "XXX"]),
            )
        )
        if visitor and random.random() < 0.6:
            touch = {name: random.choice([None, "x", "y"]) for name in TOUCH[1:]}
            sessions.append(
                session(
                    moment,
                    timezone,
                    **(shared | touch),
                    session_id=f"{random.randrange(9)}-{number}",
                    visitor_id=visitor,
                    channel=random.choice(["Direct", "Email"]),
                    events=random.randrange(1, 9),
                    page_views=random.randrange(3),
                    is_engaged=random.random() < 0.5,
                    engaged_seconds=random.randrange(20),
                )
            )
            if random.random() < 0.3:
                sessions[-1]["user_id"] = "late"
    random.shuffle(events)
    random.shuffle(sessions)
    return events, sessions


@given(traffic())
@settings(max_examples=40, deadline=None)
def test_visitor_days_agree_with_a_plain_reading_of_the_rules_and_each_day_stands_alone(
    given_traffic: tuple[list[Row], list[Row]],
) -> None:
    events, sessions = given_traffic
    expected = reference(events, sessions)
    dates = [row["event_date"] for row in events] or [TODAY]
    days = days_between(min(dates), max(dates))
    frames = events_frame(events), sessions_frame(sessions)
    how: dict[str, Any] = {"rates": RATES, "session_rules": RULES, "supplied": supplied_of(frames[0], days, RULES)}
    result = VisitorDays.validate(build_visitor_days(frames[0].lazy(), frames[1].lazy(), days, **how))
    assert result.to_dicts() == expected
    assert result["events"].sum() == sum(row["visitor_id"] is not None for row in events)
    assert result["sessions"].sum() == len(sessions)
    for day in days:
        alone = build_visitor_days(frames[0].reverse(), frames[1].reverse(), [day], **how)
        assert alone.equals(result.filter(pl.col("activity_date") == day))
