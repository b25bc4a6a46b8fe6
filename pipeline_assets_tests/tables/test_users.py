from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.identities import build_identities, with_persons
from pipeline_assets.tables.users import Users, build_users
from pipeline_assets_tests.transforms.frames import NOON, Row, columns_of, only
from pipeline_assets_tests.transforms.identity_reference import (
    in_batches,
    person_days_frame,
    reference_person,
    visitor_day,
    visitor_days,
    visitor_days_frame,
)

DAY = timedelta(days=1)


def users(*rows: Row) -> list[Row]:
    return Users.validate(build_users(person_days_frame(rows))).to_dicts()


def test_a_person_has_one_row_over_all_its_visitors_and_properties() -> None:
    rows = [
        visitor_day(anonymous_id="a", user_id="u", session_events=2, session_page_views=1),
        visitor_day(anonymous_id="b", user_id="u", property="blog", revenue=Decimal(1), session_events=2),
        visitor_day(NOON + DAY, anonymous_id="b", property="blog", revenue=Decimal("0.5"), strays=1, page_views=1),
    ]
    (user,) = users(*rows)
    names = ("user_id", "visitors", "properties", "days_active", "revenue")
    assert columns_of(user, *names) == ("u", 2, 2, 2, Decimal("1.5"))
    assert columns_of(user, "events", "page_views", "events_outside_sessions") == (4, 1, 1)
    assert columns_of(user, "first_seen_at", "last_seen_at") == (NOON, NOON + DAY)


def test_a_person_without_a_user_id_has_none() -> None:
    assert [row["user_id"] for row in users(visitor_day())] == [None]


def test_the_first_touch_is_the_session_that_started_first_and_the_last_touch_the_one_that_started_last() -> None:
    visits = [("Email", "Referral"), ("Direct", "Audio"), ("SMS", "Display")]
    rows = [
        visitor_day(
            NOON + number * DAY,
            first_session_at=NOON + number * DAY,
            last_session_at=NOON + number * DAY,
            channel=first,
            last_channel=last,
            traffic_source="x" if number else None,
        )
        for number, (first, last) in enumerate(visits)
    ]
    (user,) = users(visitor_day(NOON - DAY), *rows, visitor_day(NOON + 9 * DAY))
    assert columns_of(user, "first_channel", "first_source", "last_channel") == ("Email", None, "Display")


def test_bots_are_flagged_and_kept_and_whoever_has_a_human_event_is_none() -> None:
    rows = [
        visitor_day(anonymous_id="bot", is_bot=True, session_events=7),
        visitor_day(NOON - DAY, anonymous_id="both", is_bot=True, session_events=7),
        visitor_day(anonymous_id="both", session_events=2),
    ]
    got = {columns_of(row, "is_bot", "events", "days_active", "first_seen_at") for row in users(*rows)}
    assert got == {(True, 7, 1, NOON), (False, 2, 1, NOON)}


def test_a_day_without_an_event_is_no_day_of_activity() -> None:
    rows = [visitor_day(user_id="u"), visitor_day(NOON + DAY, user_id="u", events=0, sessions=1)]
    assert [columns_of(row, "days_active", "sessions") for row in users(*rows)] == [(1, 1)]


def test_a_sum_too_large_for_the_column_is_null() -> None:
    most = Decimal("999999999999")
    (user,) = users(visitor_day(revenue=most), visitor_day(NOON + DAY, revenue=most))
    assert user["revenue"] is None


def test_the_users_of_nothing_are_an_empty_frame_that_keeps_the_contract() -> None:
    assert users() == []


# -- the same in plain Python ------------------------------------------------------------------------------------


def reference_lifetime(rows: Sequence[Row]) -> Row:
    """Whatever users and visitors have in common."""
    rows = only(rows, is_bot=all(row["is_bot"] for row in rows))
    visits = [row for row in rows if row["first_session_at"]]
    first = min(visits, key=lambda row: columns_of(row, "first_session_at", "visitor_day_id"), default={})
    last = max(visits, key=lambda row: columns_of(row, "last_session_at", "visitor_day_id"), default={})
    paid = [row["revenue"] for row in rows if row["revenue"] is not None]
    counts = ("sessions", "engaged_sessions", "engaged_seconds", "conversions")
    outside = ("orphan_pings", "events_without_session_id", "strays")
    return {
        "is_bot": rows[0]["is_bot"],
        "first_seen_at": min(row["first_seen_at"] for row in rows),
        "last_seen_at": max(row["last_seen_at"] for row in rows),
        "days_active": len({row["activity_date"] for row in rows if row["events"]}),
        "visitors": len({columns_of(row, "property", "visitor_id") for row in rows}),
        "properties": len({row["property"] for row in rows}),
        **{name: sum(row[name] for row in rows) for name in counts},
        **{name: sum(row[f"session_{name}"] for row in rows) for name in ("events", "page_views")},
        "events_outside_sessions": sum(row[name] for row in rows for name in outside),
        "revenue": sum(paid, Decimal(0)) if paid else None,
        "first_channel": first.get("channel"),
        "first_source": first.get("traffic_source"),
        "first_medium": first.get("traffic_medium"),
        "first_campaign": first.get("utm_campaign"),
        "first_referrer_host": first.get("referrer_host"),
        "first_entry_page": first.get("entry_page"),
        "last_channel": last.get("last_channel"),
    }


def reference(rows: Iterable[Row], identities: Sequence[Row]) -> list[Row]:
    people: dict[str, list[Row]] = {}
    for row in rows:
        people.setdefault(reference_person(row, identities), []).append(row)
    return [
        {"person_id": person, "user_id": next((row["user_id"] for row in own if row["user_id"]), None)}
        | reference_lifetime(own)
        for person, own in sorted(people.items())
    ]


@given(visitor_days(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_users_agree_with_a_plain_reading_of_the_rules_whatever_the_order(rows: list[Row], random: Random) -> None:
    identities = build_identities(visitor_days_frame(rows))
    result = Users.validate(build_users(person_days_frame(rows).lazy()))
    assert result.to_dicts() == reference(rows, identities.to_dicts())
    assert in_batches(rows, random, lambda frame: build_users(with_persons(frame, identities))).equals(result)
