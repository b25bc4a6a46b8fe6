from collections.abc import Iterable, Sequence
from datetime import timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.identities import build_identities, with_persons
from pipeline_assets.tables.visitors import Visitors, build_visitors
from pipeline_assets_tests.tables.test_users import reference_lifetime
from pipeline_assets_tests.transforms.frames import NOON, Row, columns_of, only
from pipeline_assets_tests.transforms.identity_reference import (
    in_batches,
    person_days_frame,
    person_of_node,
    reference_person,
    visitor_day,
    visitor_days,
    visitor_days_frame,
)

DAY = timedelta(days=1)


def visitors(*rows: Row) -> list[Row]:
    return Visitors.validate(build_visitors(person_days_frame(rows))).to_dicts()


def test_a_visitor_has_one_row_in_each_property_and_is_the_person_it_was_when_last_seen() -> None:
    rows = [
        visitor_day(user_id="w", session_events=1),
        visitor_day(NOON + DAY, user_id="u", session_events=2),
        visitor_day(NOON + 2 * DAY),
        visitor_day(property="blog", session_events=1),
    ]
    got = [columns_of(row, "property", "visitor_id", "events", "person_id") for row in visitors(*rows)]
    assert got == [
        ("blog", "v", 1, person_of_node(("blog", "anonymous_id", "v"))),
        ("shop", "v", 3, person_of_node(("*", "user_id", "u"))),
    ]


def test_bots_are_flagged_and_kept_and_whoever_has_a_human_event_is_none() -> None:
    rows = [
        visitor_day(anonymous_id="a", is_bot=True, session_events=1),
        visitor_day(anonymous_id="b", is_bot=True, session_events=3),
        visitor_day(anonymous_id="b", session_events=1),
    ]
    assert [columns_of(row, "is_bot", "events") for row in visitors(*rows)] == [(True, 1), (False, 1)]


def test_a_visitor_with_human_events_is_the_person_of_those() -> None:
    rows = [visitor_day(user_id="u"), visitor_day(NOON + DAY, user_id="w", is_bot=True)]
    assert [row["person_id"] for row in visitors(*rows)] == [person_of_node(("*", "user_id", "u"))]


def test_the_visitors_of_nothing_are_an_empty_frame_that_keeps_the_contract() -> None:
    assert visitors() == []


def reference(rows: Iterable[Row], identities: Sequence[Row]) -> list[Row]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["property"], row["visitor_id"]), []).append(row)
    table = []
    for (shop, visitor), own in sorted(groups.items()):
        counted = only(own, is_bot=all(row["is_bot"] for row in own))
        latest = max(counted, key=lambda row: columns_of(row, "last_seen_at", "visitor_day_id"))
        row = {"property": shop, "visitor_id": visitor, "person_id": reference_person(latest, identities)}
        table.append(row | reference_lifetime(own))
        del table[-1]["visitors"], table[-1]["properties"]
    return table


@given(visitor_days(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_visitors_agree_with_a_plain_reading_of_the_rules_whatever_the_order(rows: list[Row], random: Random) -> None:
    identities = build_identities(visitor_days_frame(rows))
    result = Visitors.validate(build_visitors(person_days_frame(rows).lazy()))
    assert result.to_dicts() == reference(rows, identities.to_dicts())
    assert in_batches(rows, random, lambda frame: build_visitors(with_persons(frame, identities))).equals(result)
