"""Tables with an incremental key: made again in part they are what they would be made again as a whole."""

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, timedelta
from datetime import time as clock
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.engine.incremental import build_part, build_whole
from pipeline_assets.registry import collect
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.identities import identity_revisions
from pipeline_assets.tables.order_days import build_order_days
from pipeline_assets.tables.spec import IncrementalKey, TableSpec
from pipeline_assets_tests.transforms.commerce_events import shop_events
from pipeline_assets_tests.transforms.frames import NOON, Row, event, events_frame
from pipeline_assets_tests.transforms.identity_reference import (
    person_days_frame,
    visitor_day,
    visitor_days,
    visitor_days_frame,
)

BERLIN = ZoneInfo("Europe/Berlin")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def tables() -> Mapping[str, TableSpec]:
    """How every table of an empty deployment is made."""
    return collect(Declarations(timezone="Europe/Berlin"))


def midnight(day: date) -> datetime:
    return datetime.combine(day, clock(), BERLIN)


def rows_of_keys(spec: TableSpec, table: pl.DataFrame, days: Collection[date]) -> Callable[[pl.Series], pl.DataFrame]:
    """The rows of all keys with a row of a seed, or with one that may be made of rows on some days."""
    assert spec.incremental is not None
    incremental: IncrementalKey = spec.incremental

    def found(seeds: pl.Series) -> pl.DataFrame:
        wanted = set(seeds.to_list())
        keys = {
            row[incremental.key]
            for row in table.to_dicts()
            if row[incremental.seed] in wanted
            or any(
                row[incremental.last] >= midnight(day) and row[incremental.first] < midnight(day + DAY) for day in days
            )
        }
        return table.filter(pl.col(incremental.key).is_in(list(keys)))

    return found


def on_days(frame: pl.DataFrame, days: Collection[date]) -> pl.LazyFrame:
    """The rows of an input on some days."""
    return frame.lazy().filter(pl.col("activity_date").is_in(list(days)))


def assert_part_makes_the_whole(
    spec: TableSpec, before: pl.DataFrame, after: pl.DataFrame, changed: Collection[date]
) -> None:
    (source,) = (reads.table for reads in spec.inputs)
    was, wanted = (build_whole(spec, {source: frame.lazy()}) for frame in (before, after))
    part = build_part(
        spec,
        {source: after.lazy()},
        {source: on_days(after, changed)},
        changed=changed,
        rows_of_keys=rows_of_keys(spec, was.rows, changed),
        revisions=was.revisions or {},
        day_columns={source: "activity_date"},
    )
    assert part is not None
    assert part.existing is not None
    key = spec.contract.primary_key()
    result = pl.concat([was.rows.join(part.existing, on=key, how="anti"), part.rows])
    assert result.sort(key).equals(wanted.rows.sort(key))
    assert part.revisions == wanted.revisions


def differing_days(frame: pl.DataFrame, other: pl.DataFrame, day: str) -> set[date]:
    parts = [{key: part for (key,), part in each.partition_by(day, as_dict=True).items()} for each in (frame, other)]
    nothing = frame.clear()
    return {
        key
        for key in parts[0].keys() | parts[1].keys()
        if not parts[0].get(key, nothing).equals(parts[1].get(key, nothing))
    }


@given(visitor_days(most=24), visitor_days(most=24), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_people_made_again_for_the_days_that_changed_are_the_people_of_all_days(
    tables: Mapping[str, TableSpec], rows: list[Row], others: list[Row], random: Random
) -> None:
    days = sorted({row["activity_date"] for row in (*rows, *others)})
    changed = set(random.sample(days, random.randrange(len(days) + 1)))
    now = [row for row in rows if row["activity_date"] not in changed]
    now += [row for row in others if row["activity_date"] in changed]
    before, after = visitor_days_frame(rows), visitor_days_frame(now)
    assert_part_makes_the_whole(tables["identities"], before, after, changed)

    persons = person_days_frame(rows), person_days_frame(now)
    told_otherwise = differing_days(*persons, "activity_date")
    for name in ("users", "visitors"):
        assert_part_makes_the_whole(tables[name], *persons, told_otherwise)


@given(shop_events(), shop_events(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_orders_made_again_for_the_days_that_changed_are_the_orders_of_all_days(
    tables: Mapping[str, TableSpec], rows: list[Row], others: list[Row], random: Random
) -> None:
    days = sorted({row["event_date"] for row in (*rows, *others)})
    changed = set(random.sample(days, random.randrange(len(days) + 1)))
    now = [row for row in rows if row["event_date"] not in changed]
    now += [row for row in others if row["event_date"] in changed]
    before, after = (build_order_days(events_frame(events), days) for events in (rows, now))
    assert_part_makes_the_whole(tables["orders"], before, after, changed)


def test_only_the_groups_of_the_days_that_changed_are_made_again(tables: Mapping[str, TableSpec]) -> None:
    rows = [visitor_day(NOON + day * DAY, anonymous_id=name) for day, name in enumerate("abcd")]
    before, after = visitor_days_frame(rows), visitor_days_frame([*rows, visitor_day(NOON + 4 * DAY, anonymous_id="b")])
    identities = tables["identities"]
    was = build_whole(identities, {"visitor_days": before.lazy()}).rows
    days = {(NOON + 4 * DAY).date()}
    told = dict(identity_revisions(before, was).iter_rows())
    part = build_part(
        identities,
        {"visitor_days": after.lazy()},
        {"visitor_days": on_days(after, days)},
        changed=days,
        rows_of_keys=rows_of_keys(identities, was, days),
        revisions=told,
        day_columns={"visitor_days": "activity_date"},
    )
    assert part is not None
    assert part.existing is not None
    assert part.existing["id"].to_list() == part.rows["id"].to_list() == ["b"]


def test_an_anonymous_id_that_reads_like_the_visitor_of_a_user_is_made_again_with_it(
    tables: Mapping[str, TableSpec],
) -> None:
    user, namesake = (
        visitor_day(anonymous_id=None, user_id="u"),
        visitor_day(NOON + DAY, anonymous_id="user:u"),
    )
    frames = [visitor_days_frame(rows) for rows in ([user, namesake], [namesake], [user])]
    days = [{NOON.date()}, {(NOON + DAY).date()}]
    for before, after, changed in ((0, 1, 0), (1, 0, 0), (0, 2, 1), (2, 0, 1)):
        assert_part_makes_the_whole(tables["identities"], frames[before], frames[after], days[changed])


def test_a_row_without_events_that_names_two_components_is_told_by_both_though_only_one_was_there_on_the_day(
    tables: Mapping[str, TableSpec],
) -> None:
    later = [
        visitor_day(NOON + DAY, anonymous_id=None, user_id="u"),
        visitor_day(NOON + 2 * DAY, anonymous_id="b"),
        visitor_day(NOON + 3 * DAY, anonymous_id="b", user_id="u", events=0, sessions=1),
    ]
    before, after = (visitor_days_frame(rows) for rows in ([visitor_day(anonymous_id="b"), *later], later))
    assert_part_makes_the_whole(tables["identities"], before, after, {NOON.date()})


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_what_has_lost_its_rows_on_a_day_is_made_again_though_nothing_there_names_it_any_more(
    tables: Mapping[str, TableSpec], lost: int
) -> None:
    days = [NOON + day * DAY for day in range(3)]
    seen = [visitor_day(day, user_id="u", events=number + 1) for number, day in enumerate(days)]
    left = [row for number, row in enumerate(seen) if number != lost]
    changed = {days[lost].date()}
    assert_part_makes_the_whole(tables["identities"], visitor_days_frame(seen), visitor_days_frame(left), changed)
    for name in ("users", "visitors"):
        assert_part_makes_the_whole(tables[name], person_days_frame(seen), person_days_frame(left), changed)

    paid = {"order_id": "1", "currency": "EUR"}
    events = [event(day, revenue=Decimal(number - 1), **paid) for number, day in enumerate(days)]
    dates = [day.date() for day in days]
    before, after = (
        build_order_days(events_frame(rows), dates)
        for rows in (events, [row for number, row in enumerate(events) if number != lost])
    )
    assert_part_makes_the_whole(tables["orders"], before, after, changed)
