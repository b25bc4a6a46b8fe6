from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.identities import Identities, build_identities
from pipeline_assets_tests.transforms.frames import NOON, Row, columns_of, only
from pipeline_assets_tests.transforms.identity_reference import (
    ids_of,
    in_batches,
    person_of_node,
    reference_identities,
    reference_person,
    visitor_day,
    visitor_days,
    visitor_days_frame,
)

HOUR = timedelta(hours=1)


def identities(*rows: Row, **options: Any) -> list[Row]:
    return Identities.validate(build_identities(visitor_days_frame(rows), **options)).to_dicts()


def persons(*rows: Row, **options: Any) -> dict[str, str | None]:
    """The person of every id that has but one, named by its user or smallest id."""
    table = identities(*rows, **options)
    names = {
        person_of_node((row["property"], row["id_type"], row["id"])): row["id"] for row in table if row["span"] == 1
    }
    return {row["id"]: names[row["person_id"]] for row in table if not row["is_shared"]}


def spans(*rows: Row, id_: str = "v") -> list[tuple[Any, ...]]:
    table = identities(*rows)
    users = {row["person_id"]: row["id"] for row in only(table, id_type="user_id")}
    return [(users[row["person_id"]], row["valid_from"], row["valid_to"]) for row in only(table, id=id_)]


def chain(length: int) -> list[Row]:
    """So many ids without a user, linked one after the other."""
    return [
        visitor_day(
            anonymous_id=f"a{number}", further_ids=f'{{"email": "{number // 2 if odd else (number + 1) // 2}"}}'
        )
        for number in range(length)
        for odd in (True, False)
    ]


def test_a_row_with_an_anonymous_id_and_a_user_id_makes_them_one_person() -> None:
    assert persons(visitor_day(anonymous_id="a", user_id="u"), visitor_day(anonymous_id="b")) == {
        "a": "u",
        "u": "u",
        "b": "b",
    }


def test_the_same_anonymous_id_in_two_properties_is_two_ids() -> None:
    table = identities(visitor_day(), visitor_day(property="blog"))
    assert len({row["person_id"] for row in table}) == 2


def test_a_user_id_is_the_same_person_in_every_property() -> None:
    rows = [visitor_day(anonymous_id="a", user_id="u"), visitor_day(property="blog", anonymous_id="b", user_id="u")]
    assert persons(*rows) == {"a": "u", "b": "u", "u": "u"}


def test_ids_without_a_user_follow_the_user_of_the_ids_they_are_linked_to_however_many_steps_away() -> None:
    rows = [
        visitor_day(anonymous_id="a", user_id="u", further_ids='{"email": "1"}'),
        visitor_day(anonymous_id="b", further_ids='{"email": "1", "phone": "2"}'),
        visitor_day(anonymous_id="c", further_ids='{"phone": "2"}'),
    ]
    assert set(persons(*rows).values()) == {"u"}


def test_without_a_user_a_person_is_named_after_its_smallest_id() -> None:
    rows = [visitor_day(anonymous_id=name, further_ids='{"email": "1"}') for name in "cab"]
    # The property * of further ids comes before all names.
    assert persons(*rows) == {"a": "1", "b": "1", "c": "1", "1": "1"}


def test_two_user_ids_never_merge_whatever_links_them() -> None:
    rows = [
        visitor_day(anonymous_id="a", user_id="u"),
        visitor_day(anonymous_id="a", user_id="w"),
        visitor_day(anonymous_id="b", user_id="u", further_ids='{"email": "1"}'),
        visitor_day(anonymous_id="c", user_id="w", further_ids='{"email": "1"}'),
        visitor_day(anonymous_id="b", further_ids='{"phone": "1"}'),
        visitor_day(anonymous_id="c", further_ids='{"phone": "1"}'),
    ]
    # The phone is linked to the ids of two users, so it is nobody's.
    assert persons(*rows) == {"b": "u", "u": "u", "c": "w", "w": "w", "1": "1"}


def test_a_shared_id_links_nothing() -> None:
    rows = [
        visitor_day(user_id="u"),
        visitor_day(user_id="w"),
        visitor_day(further_ids='{"email": "1"}'),
        visitor_day(further_ids='{"email": "2"}'),
    ]
    assert persons(*rows) == {"u": "u", "w": "w", "1": "1", "2": "2"}


def test_a_shared_id_belongs_to_each_user_for_its_own_spans_of_time() -> None:
    rows = [visitor_day(NOON + number * HOUR, user_id=user) for number, user in enumerate(("u", "u", "w", "u"))]
    assert spans(*rows) == [
        ("u", None, NOON + 2 * HOUR),
        ("w", NOON + 2 * HOUR, NOON + 3 * HOUR),
        ("u", NOON + 3 * HOUR, None),
    ]


def test_before_the_first_sighting_a_shared_id_belongs_to_the_first_user() -> None:
    rows = [visitor_day(NOON), visitor_day(NOON + HOUR, user_id="w"), visitor_day(NOON + 2 * HOUR, user_id="u")]
    assert spans(*rows) == [("w", None, NOON + 2 * HOUR), ("u", NOON + 2 * HOUR, None)]


def test_of_two_sightings_at_one_moment_that_of_the_greatest_user_id_counts() -> None:
    rows = [visitor_day(user_id="w"), visitor_day(user_id="u"), visitor_day(NOON + HOUR, user_id="u")]
    assert spans(*rows) == [("w", None, NOON + HOUR), ("u", NOON + HOUR, None)]


def test_a_further_id_seen_with_several_users_is_shared_too() -> None:
    rows = [
        visitor_day(NOON + number * HOUR, anonymous_id=user, user_id=user, further_ids='{"email": "1"}')
        for number, user in enumerate("uw")
    ]
    assert spans(*rows, id_="1") == [("u", None, NOON + HOUR), ("w", NOON + HOUR, None)]


def test_a_row_without_events_says_nothing_about_who_is_whom() -> None:
    assert identities(visitor_day(user_id="u", events=0, sessions=1)) == []


def test_a_component_with_exactly_the_largest_number_of_ids_stays_and_one_more_is_cut_loose() -> None:
    size = len({node for row in chain(6) for node in ids_of(row)})
    whole = identities(*chain(6), largest=size)
    assert len({row["person_id"] for row in whole}) == 1
    assert not any(row["is_cut"] for row in whole)
    cut = identities(*chain(6), largest=size - 1)
    assert len({row["person_id"] for row in cut}) == size
    assert all(row["is_cut"] for row in cut)


def test_ids_seen_with_a_user_stay_when_their_person_is_cut_loose() -> None:
    rows = [
        visitor_day(anonymous_id="a", user_id="u"),
        visitor_day(anonymous_id="b", user_id="u"),
        visitor_day(anonymous_id="a", further_ids='{"email": "1"}'),
    ]
    assert set(persons(*rows, largest=4).values()) == {"u"}
    assert persons(*rows, largest=3) == {"a": "u", "b": "u", "u": "u", "1": "1"}
    assert [row["id"] for row in identities(*rows, largest=3) if row["is_cut"]] == ["1"]


def test_the_limit_defaults_to_100_ids() -> None:
    many = [visitor_day(anonymous_id=f"a{number}", further_ids='{"email": "1"}') for number in range(100)]
    assert len(set(persons(*many[:99]).values())) == 1
    assert len(set(persons(*many).values())) == 101


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        identities(largest=0)


def test_a_visitor_without_an_anonymous_id_is_listed_with_its_user_s_person_in_each_property() -> None:
    rows = [
        visitor_day(anonymous_id=None, user_id="u"),
        visitor_day(NOON + 24 * HOUR, anonymous_id=None, user_id="u", property="blog"),
    ]
    got = [columns_of(row, "property", "id_type", "id", "id_first_date") for row in identities(*rows)]
    today, tomorrow = NOON.date(), (NOON + 24 * HOUR).date()
    assert got == [
        ("*", "user_id", "u", today),
        ("blog", "visitor_id", "user:u", tomorrow),
        ("shop", "visitor_id", "user:u", today),
    ]
    assert len({row["person_id"] for row in identities(*rows)}) == 1


def test_first_dates_are_those_of_human_events_where_there_are_any() -> None:
    rows = [visitor_day(is_bot=True), visitor_day(NOON + 48 * HOUR), visitor_day(anonymous_id="b", is_bot=True)]
    got = {row["id"]: columns_of(row, "id_first_date", "person_first_date") for row in identities(*rows)}
    assert got == {"v": ((NOON + 48 * HOUR).date(),) * 2, "b": (NOON.date(),) * 2}


def test_a_further_id_that_cannot_be_read_is_none() -> None:
    given_texts = ("no JSON", "[]", '"text"', '{"email": 1}', '{"email": ""}', '{"user_id": "x"}', "[" * 100_000)
    assert [row["id"] for row in identities(*(visitor_day(further_ids=text) for text in given_texts))] == ["v"]


def test_person_ids_are_the_same_for_ever() -> None:
    table = identities(visitor_day(user_id="u"), visitor_day(anonymous_id="a"))
    assert {row["id"]: row["person_id"] for row in table} == {
        "v": "9261050e1c372e3e94b6a10e91dbd3c5",
        "u": "9261050e1c372e3e94b6a10e91dbd3c5",
        "a": "8c0a2ab1722c4e1ce14a805db4a0d51d",
    }


def test_the_identities_of_nobody_are_an_empty_frame_that_keeps_the_contract() -> None:
    assert identities() == []


# -- the same in plain Python ------------------------------------------------------------------------------------


@given(visitor_days(), st.sampled_from([1, 2, 3, 4, 100]))
@settings(max_examples=40, deadline=None)
def test_identities_agree_with_a_plain_reading_of_the_rules(rows: list[Row], largest: int) -> None:
    assert identities(*rows, largest=largest) == reference_identities(rows, largest)


@given(visitor_days(), st.randoms(use_true_random=False), st.sampled_from([2, 100]))
@settings(max_examples=40, deadline=None)
def test_any_order_and_any_split_into_batches_gives_the_same_persons(
    rows: list[Row], random: Random, largest: int
) -> None:
    together = build_identities(visitor_days_frame(rows), largest=largest)
    apart = in_batches(rows, random, lambda frame: build_identities(frame.lazy(), largest=largest))
    assert apart.equals(together)


@given(visitor_days(most=25))
@settings(max_examples=40, deadline=None)
def test_two_user_ids_never_are_in_one_person(rows: list[Row]) -> None:
    table = identities(*rows)
    users = only(table, id_type="user_id")
    assert len({row["person_id"] for row in users}) == len(users)
    by_person: dict[str, set[str]] = {}
    for row in only(rows):
        if row["user_id"] is not None and row["events"]:
            by_person.setdefault(reference_person(row, table), set()).add(row["user_id"])
    assert all(len(found) == 1 for found in by_person.values())


@given(visitor_days(most=25))
@settings(max_examples=40, deadline=None)
def test_the_spans_of_an_id_cover_all_time_without_overlap(rows: list[Row]) -> None:
    table = identities(*rows)
    for id_ in {columns_of(row, "property", "id_type", "id") for row in table}:
        own = [row for row in table if columns_of(row, "property", "id_type", "id") == id_]
        assert [row["span"] for row in own] == list(range(1, len(own) + 1))
        assert own[0]["valid_from"] is None
        assert own[-1]["valid_to"] is None
        assert [row["valid_to"] for row in own[:-1]] == [row["valid_from"] for row in own[1:]]
        starts = [row["valid_from"] for row in own[1:]]
        assert starts == sorted(set(starts))
        assert len(own) == 1 or own[0]["is_shared"]


@given(visitor_days(most=10))
@settings(max_examples=40, deadline=None)
def test_where_nothing_is_shared_persons_are_the_connected_components(rows: list[Row]) -> None:
    rows = [row for row in rows if row["events"]]
    components: list[set[Any]] = []
    for row in rows:
        touched = [group for group in components if group & ids_of(row)]
        components = [group for group in components if group not in touched]
        components.append(set().union(ids_of(row), *touched))
    table = [row for row in identities(*rows) if row["id_type"] != "visitor_id"]
    if all(sum(node[1] == "user_id" for node in group) <= 1 for group in components):
        got: dict[str, set[Any]] = {}
        for row in table:
            got.setdefault(row["person_id"], set()).add(columns_of(row, "property", "id_type", "id"))
        assert sorted(map(sorted, got.values())) == sorted(map(sorted, components))


@given(st.integers(0, 2**32), st.integers(2, 60))
@settings(max_examples=40, deadline=None)
def test_long_chains_of_ids_in_any_order_of_names_are_one_person(seed: int, length: int) -> None:
    names = [str(number) for number in range(2 * length)]
    Random(seed).shuffle(names)
    rows = [
        visitor_day(anonymous_id=names[number], further_ids=f'{{"email": "{names[number + shift]}"}}')
        for number in range(length)
        for shift in (0, 1)
    ]
    table = identities(*rows, largest=1000)
    assert len({row["person_id"] for row in table}) == 1
