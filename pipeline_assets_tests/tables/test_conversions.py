from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.conversions import Conversions, build_conversions
from pipeline_assets.tables.selection import CONVERSION_SCHEMA
from pipeline_assets.transforms.currencies import Rate, Rates
from pipeline_assets_tests.transforms.frames import NOON, ORDERS, Row, columns_of, days_between, event_key, only, utc

EVENT_SCHEMA = CONVERSION_SCHEMA
SESSION_SCHEMA = {
    "session_id": pl.String(),
    "property": pl.String(),
    "visitor_id": pl.String(),
    "started_at": pl.Datetime("us", "UTC"),
    "ended_at": pl.Datetime("us", "UTC"),
}
TODAY = NOON.date()
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
RATES = Rates("EUR", (Rate("USD", Decimal("0.92")), Rate("GBP", Decimal("1.17"), date(2026, 3, 27))))


def bought(occurred_at: datetime = NOON, timezone: str = "UTC", **values: Any) -> Row:
    """An event that a conversion means: a purchase of visitor v at shop."""
    row = dict.fromkeys(EVENT_SCHEMA) | {
        "conversion": "purchase",
        "event_date": occurred_at.astimezone(ZoneInfo(timezone)).date(),
        "property": "shop",
        "event_id": occurred_at.isoformat(),
        "visitor_id": "v",
        "occurred_at": occurred_at,
        "is_id_derived": False,
        "load_id": "f",
        "line": 1,
        "counting": "every",
    }
    return row | values


def session(started_at: datetime, ended_at: datetime, session_id: str = "s", **values: Any) -> Row:
    """A session of visitor v at shop."""
    row = {"session_id": session_id, "property": "shop", "visitor_id": "v"}
    return row | {"started_at": started_at, "ended_at": ended_at} | values


def build(
    events: Sequence[Row], sessions: Sequence[Row] = (), days: Sequence[date] = (TODAY,), rates: Rates = RATES
) -> pl.DataFrame:
    return Conversions.validate(
        build_conversions(
            pl.DataFrame(list(events), schema=EVENT_SCHEMA).lazy(),
            pl.DataFrame(list(sessions), schema=SESSION_SCHEMA).lazy(),
            days,
            rates=rates,
        )
    )


@pytest.mark.parametrize(
    ("started_at", "ended_at", "expected"),
    [
        (NOON - HOUR, NOON, "s"),
        (NOON, NOON + HOUR, "s"),
        (NOON, NOON, "s"),
        (NOON - HOUR, NOON - MICROSECOND, None),
        (NOON + MICROSECOND, NOON + HOUR, None),
    ],
)
def test_a_conversion_belongs_to_the_session_that_spans_it_both_ends_included(
    started_at: datetime, ended_at: datetime, expected: str | None
) -> None:
    assert build([bought()], [session(started_at, ended_at)])["session_id"].to_list() == [expected]


def test_of_several_sessions_that_span_a_conversion_the_one_that_started_last_counts() -> None:
    sessions = [
        session(NOON - HOUR, NOON, "1"),
        session(NOON, NOON + HOUR, "3"),
        session(NOON, NOON, "2"),
        session(NOON - 2 * HOUR, NOON + HOUR, "0"),
    ]
    assert build([bought()], sessions)["session_id"].to_list() == ["2"]


def test_an_older_session_that_still_goes_on_counts_where_a_later_one_has_ended() -> None:
    sessions = [session(NOON - 2 * HOUR, NOON + HOUR, "old"), session(NOON - HOUR, NOON - MICROSECOND, "over")]
    assert build([bought()], sessions)["session_id"].to_list() == ["old"]


def test_sessions_of_other_visitors_and_properties_are_not_the_conversion_s() -> None:
    span = (NOON - HOUR, NOON + HOUR)
    sessions = [session(*span, visitor_id="w"), session(*span, property="blog")]
    assert build([bought()], sessions)["session_id"].to_list() == [None]


def test_once_per_session_keeps_the_first_of_a_session_and_every_keeps_all() -> None:
    sessions = [session(NOON - HOUR, NOON + HOUR)]
    events = [bought(NOON + MICROSECOND, event_id="a"), bought(event_id="c"), bought(event_id="b")]
    assert build(events, sessions).height == 3
    once = [row | {"counting": "once_per_session"} for row in events]
    assert build(once, sessions)["occurred_at"].to_list() == [NOON]
    # Of two at one moment, the one with the smaller id.
    assert build(once, sessions).equals(build([once[2]], sessions))


def test_once_per_session_counts_a_visitor_s_day_where_there_is_no_session() -> None:
    events = [
        bought(when, counting="once_per_session", visitor_id=visitor, event_id=f"{visitor} {when}")
        for when in (NOON, NOON + HOUR, NOON + DAY)
        for visitor in ("v", "w")
    ]
    got = build(events, days=[TODAY, TODAY + DAY])
    assert sorted(got.select("visitor_id", "occurred_at").rows()) == [
        ("v", NOON),
        ("v", NOON + DAY),
        ("w", NOON),
        ("w", NOON + DAY),
    ]


def test_a_session_s_first_conversion_counts_even_if_it_lies_on_the_day_before() -> None:
    night = utc("2026-03-10T23:50")
    events = [bought(night + number * 15 * timedelta(minutes=1), counting="once_per_session") for number in range(3)]
    sessions = [session(night, night + HOUR)]
    assert build(events, sessions, [TODAY])["occurred_at"].to_list() == [night]
    assert build(events, sessions, [TODAY + DAY]).is_empty()


def test_each_declared_conversion_counts_by_itself() -> None:
    events = [bought(counting="once_per_session"), bought(conversion="signup", counting="once_per_session")]
    got = build(events, [session(NOON, NOON)])
    assert got["conversion"].to_list() == ["purchase", "signup"]
    assert got["conversion_id"].n_unique() == 2


def test_an_event_without_a_visitor_is_no_conversion() -> None:
    assert build([bought(visitor_id=None)]).is_empty()


@pytest.mark.parametrize(
    ("value", "currency", "day", "expected"),
    [
        ("10", "EUR", TODAY, "10"),
        ("10", "USD", TODAY, "9.20"),
        ("-0.01", "USD", TODAY, "-0.0092"),
        ("10", "GBP", date(2026, 3, 26), None),
        ("10", "GBP", date(2026, 3, 27), "11.7"),
        ("10", "JPY", TODAY, None),
        ("10", None, TODAY, "10"),
        (None, "EUR", TODAY, None),
    ],
)
def test_the_reporting_value_goes_by_the_rate_of_the_event_s_day(
    value: str | None, currency: str | None, day: date, expected: str | None
) -> None:
    when = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    amounts = [None if text is None else Decimal(text) for text in (value, expected)]
    (row,) = build([bought(when, value=amounts[0], currency=currency)], days=[day]).to_dicts()
    assert columns_of(row, "value", "currency", "reporting_value") == (amounts[0], currency, amounts[1])


def test_a_value_too_large_for_the_column_is_none() -> None:
    events = pl.DataFrame([bought()], schema=EVENT_SCHEMA).with_columns(
        value=pl.lit(Decimal(10) ** 15, dtype=pl.Decimal(38, 6))
    )
    got = build_conversions(events, pl.DataFrame(schema=SESSION_SCHEMA), [TODAY], rates=RATES)
    assert Conversions.validate(got)["value"].to_list() == [None]


def test_ids_do_not_mix_up_names_that_contain_the_separator() -> None:
    pair = [bought(conversion="a\x1fb", property="c"), bought(conversion="a", property="b\x1fc")]
    assert build(pair)["conversion_id"].n_unique() == 2


def test_no_events_give_an_empty_frame_that_keeps_the_contract() -> None:
    assert build([]).is_empty()
    assert build([bought()], days=[]).is_empty()


# A second reading of the rules, slow and plain.


def session_of(event: Row, sessions: Sequence[Row]) -> str | None:
    own = only(sessions, property=event["property"], visitor_id=event["visitor_id"])
    spanning = [row for row in own if row["started_at"] <= event["occurred_at"] <= row["ended_at"]]
    latest = [row for row in spanning if row["started_at"] == max(row["started_at"] for row in spanning)]
    return min((row["session_id"] for row in latest), default=None)


def reporting_value(event: Row) -> Decimal | None:
    rates = {"EUR": Decimal(1), "USD": Decimal("0.92")}
    if event["event_date"] >= date(2026, 3, 27):
        rates["GBP"] = Decimal("1.17")
    currency = event["currency"] or "EUR"
    if event["value"] is None or currency not in rates:
        return None
    return (event["value"] * rates[currency]).quantize(Decimal("0.000001"))


def hex_id(parts: Sequence[object]) -> str:
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def reference(events: Sequence[Row], sessions: Sequence[Row], days: Sequence[date]) -> list[Row]:
    rows, seen = [], set()
    for event in sorted(events, key=event_key):
        session_id = session_of(event, sessions)
        place = columns_of(event, "conversion", "property", "visitor_id")
        place += ("session", session_id) if session_id else ("day", event["event_date"])
        is_repeat = place in seen and event["counting"] == "once_per_session"
        seen.add(place)
        if event["visitor_id"] is None or is_repeat or event["event_date"] not in days:
            continue
        names = columns_of(event, "conversion", "property")
        microseconds = (event["occurred_at"] - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND
        key = (microseconds, *(len(name.encode()) for name in names), *names, event["event_id"])
        own = {name: event[name] for name in Conversions.column_names() if name in event}
        rows.append(
            own
            | {"conversion_date": event["event_date"], "conversion_id": hex_id(key), "session_id": session_id}
            | {"reporting_value": reporting_value(event)}
        )
    order = ("conversion_date", "conversion", "occurred_at", "conversion_id")
    return sorted(rows, key=lambda row: columns_of(row, *order))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Row], list[Row], str]:
    """Events and sessions on full and half hours of some days around a change of the clocks."""
    timezone = draw(st.sampled_from(["UTC", "Europe/Berlin"]))
    first = datetime(2026, 3, 28, 18, tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    steps = st.integers(0, 60)
    visitors = st.sampled_from(["v", "v", "w"])
    properties = st.sampled_from(["shop", "shop", "blog"])
    counting = {"purchase": draw(st.sampled_from(["every", "once_per_session"])), "signup": "once_per_session"}
    events = [
        bought(
            first + step * timedelta(minutes=30),
            timezone,
            event_id=f"e{number}",
            visitor_id=visitor,
            property=place,
            conversion=conversion,
            counting=counting[conversion],
            value=value,
            currency=currency,
            user_id=draw(st.sampled_from([None, "u"])),
            order_id=draw(st.sampled_from([None, "o"])),
            **{name: draw(st.sampled_from(values)) for name, values in ORDERS.items()},
        )
        for number, (step, visitor, place, conversion, value, currency) in enumerate(
            draw(
                st.lists(
                    st.tuples(
                        steps,
                        st.one_of(st.none(), visitors, visitors),
                        properties,
                        st.sampled_from(["purchase", "signup"]),
                        st.sampled_from([None, Decimal("9.99"), Decimal("-0.000005")]),
                        st.sampled_from([None, "EUR", "USD", "GBP", "JPY"]),
                    ),
                    max_size=10,
                )
            )
        )
    ]
    sessions = [
        session(
            first + step * timedelta(minutes=30),
            first + (step + length) * timedelta(minutes=30),
            f"s{number}",
            visitor_id=visitor,
            property=place,
        )
        for number, (step, length, visitor, place) in enumerate(
            draw(st.lists(st.tuples(steps, st.integers(0, 20), visitors, properties), max_size=8))
        )
    ]
    return events, sessions, timezone


@given(worlds(), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_conversions_agree_with_a_plain_reading_of_the_rules_and_each_day_stands_alone(
    world: tuple[list[Row], list[Row], str], seed: int
) -> None:
    events, sessions, _ = world
    days = days_between(date(2026, 3, 28), date(2026, 3, 30))
    result = build(events, sessions, days)
    assert result.to_dicts() == reference(events, sessions, days)
    shuffled_events, shuffled_sessions = (Random(seed).sample(rows, len(rows)) for rows in (events, sessions))
    assert build(shuffled_events, shuffled_sessions, days).equals(result)
    for day in days:
        # Sessions last less than a day here.
        read = [row for row in events if day - DAY <= row["event_date"] <= day]
        assert build(read, sessions, [day]).equals(result.filter(pl.col("conversion_date") == day))
