from datetime import timedelta
from random import Random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.identities import build_identities, identity_revisions
from pipeline_assets.tables.person_days import PersonDays, build_person_days
from pipeline_assets_tests.transforms.frames import NOON, Row, columns_of, only
from pipeline_assets_tests.transforms.identity_reference import (
    IDENTITY_SCHEMA,
    in_batches,
    person_of_node,
    reference_person_days,
    visitor_day,
    visitor_days,
    visitor_days_frame,
)

DAY = timedelta(days=1)
U, W = (person_of_node(("*", "user_id", user)) for user in "uw")
A = person_of_node(("shop", "anonymous_id", "v"))


def person_days(*rows: Row) -> list[Row]:
    """The person days of all days of these visitor days."""
    frame = visitor_days_frame(rows)
    days = [row["activity_date"] for row in rows]
    return PersonDays.validate(build_person_days(frame, build_identities(frame), days)).to_dicts()


def revisions(*rows: Row, known: pl.DataFrame | None = None) -> dict[str, str]:
    frame = visitor_days_frame(rows)
    table = identity_revisions(frame, build_identities(frame) if known is None else known)
    return {str(day): revision for day, revision in table.rows()}


def test_a_row_with_a_user_id_belongs_to_that_user_and_one_without_to_the_owner_of_its_anonymous_id() -> None:
    rows = [visitor_day(), visitor_day(NOON + DAY, user_id="u"), visitor_day(NOON + 2 * DAY)]
    assert [row["person_id"] for row in person_days(*rows)] == [U, U, U]


def test_a_row_without_a_user_id_belongs_to_the_owner_of_a_shared_id_at_first_seen_at() -> None:
    rows = [
        visitor_day(NOON - DAY),
        visitor_day(NOON, user_id="u"),
        visitor_day(NOON + DAY),
        visitor_day(NOON + 2 * DAY - timedelta(microseconds=1)),
        visitor_day(NOON + 2 * DAY, user_id="w"),
        visitor_day(NOON + 2 * DAY, further_ids="{}"),
        visitor_day(NOON + 3 * DAY),
    ]
    got = [columns_of(row, "first_seen_at", "person_id") for row in person_days(*rows)]
    assert sorted(got) == [
        (NOON - DAY, U),
        (NOON, U),
        (NOON + DAY, U),
        (NOON + 2 * DAY - timedelta(microseconds=1), U),
        (NOON + 2 * DAY, W),
        (NOON + 2 * DAY, W),
        (NOON + 3 * DAY, W),
    ]


def test_first_dates_are_the_first_days_of_the_visitor_in_its_property_and_of_the_person_anywhere() -> None:
    rows = [
        visitor_day(NOON, property="blog", anonymous_id="b", user_id="u"),
        visitor_day(NOON + DAY, user_id="u"),
        visitor_day(NOON + 2 * DAY, user_id="u"),
    ]
    today = NOON.date()
    got = [columns_of(row, "visitor_first_date", "person_first_date") for row in person_days(*rows)]
    assert got == [(today, today), (today + DAY, today), (today + DAY, today)]


def test_an_id_that_identities_do_not_know_yet_is_a_person_of_its_own_first_seen_that_day() -> None:
    nothing = pl.DataFrame(schema=IDENTITY_SCHEMA)
    frame = visitor_days_frame([visitor_day(), visitor_day(NOON + DAY, user_id="u")])
    table = PersonDays.validate(build_person_days(frame, nothing, [NOON.date(), (NOON + DAY).date()]))
    assert table["person_id"].to_list() == [A, U]
    assert table["person_first_date"].equals(table["activity_date"])
    assert table["visitor_first_date"].equals(table["activity_date"])


def test_revisions_are_the_same_for_ever() -> None:
    rows = [
        visitor_day(user_id="u", visitor_day_id="0123456789abcdef0123456789abcdef"),
        visitor_day(anonymous_id="b", visitor_day_id="ffffffffffffffffffffffffffffffff"),
    ]
    assert revisions(*rows) == {"2026-03-10": "2-4299049933-6073977954"}


def test_a_revision_tells_persons_that_changed_places() -> None:
    rows = [visitor_day(anonymous_id="a"), visitor_day(anonymous_id="b")]
    known = build_identities(visitor_days_frame(rows))
    swapped = known.with_columns(pl.col("person_id").reverse())
    assert revisions(*rows, known=known) != revisions(*rows, known=swapped)


def test_a_later_sign_in_changes_the_revisions_of_the_days_it_explains_and_of_no_others() -> None:
    rows = [visitor_day(), visitor_day(NOON + DAY, anonymous_id="b"), visitor_day(NOON + 2 * DAY)]
    before, after = revisions(*rows), revisions(*rows, visitor_day(NOON + 3 * DAY, user_id="u"))
    assert [day for day in before if before[day] != after[day]] == ["2026-03-10", "2026-03-12"]


def test_the_person_days_of_nothing_are_an_empty_frame_that_keeps_the_contract() -> None:
    assert person_days() == []
    assert revisions() == {}


@given(visitor_days(), st.randoms(use_true_random=False), st.sampled_from([2, 100]))
@settings(max_examples=40, deadline=None)
def test_person_days_agree_with_a_plain_reading_of_the_rules_and_each_day_stands_alone(
    rows: list[Row], random: Random, largest: int
) -> None:
    frame = visitor_days_frame(rows)
    # Also with identities that do not know every row yet.
    known = build_identities(frame.head(random.choice([len(frame), len(frame) // 2])), largest=largest)
    days = sorted({row["activity_date"] for row in rows})
    result = PersonDays.validate(build_person_days(frame.lazy(), known.lazy(), days))
    assert result.to_dicts() == reference_person_days(rows, known.to_dicts())
    for day in days:
        own = only(rows, activity_date=day)
        alone = in_batches(own, random, lambda part, day=day: build_person_days(part, known, [day]))
        assert alone.equals(result.filter(pl.col("activity_date") == day))


@given(visitor_days(), visitor_days(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_revision_changes_exactly_when_the_person_days_of_its_day_do(
    rows: list[Row], more: list[Row], random: Random
) -> None:
    frame = visitor_days_frame(rows)
    before = build_identities(frame)
    after = build_identities(visitor_days_frame([*rows, *more]), largest=random.choice([2, 100]))
    days = sorted({row["activity_date"] for row in rows})
    old, new = (build_person_days(frame, known, days) for known in (before, after))
    told = identity_revisions(frame, before), identity_revisions(frame.sample(fraction=1, shuffle=True), after)
    assert [table["activity_date"].to_list() for table in told] == [days, days]
    for day, was, is_now in zip(days, told[0]["revision"], told[1]["revision"], strict=True):
        today = pl.col("activity_date") == day
        assert (was == is_now) == old.filter(today).equals(new.filter(today))
