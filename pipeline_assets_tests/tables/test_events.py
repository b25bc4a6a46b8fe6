from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.day_counts import DayCounts
from pipeline_assets.tables.events import (
    CONTENT_COLUMNS,
    EARLIER_COLUMNS,
    EventDays,
    Events,
    build_events,
    look_back_days,
)
from pipeline_assets_tests.transforms.frames import NOON, Row, nulls_last, only, staged, staged_frame, utc

TODAY = NOON.date()


def build(rows: Sequence[Row], earlier: Sequence[Row] = (), **dedup_days: int) -> EventDays:
    return build_events(staged_frame(rows), staged_frame(earlier).select(EARLIER_COLUMNS), dedup_days=dedup_days)


def kept(rows: Sequence[Row], earlier: Sequence[Row] = (), **dedup_days: int) -> list[tuple[str, int]]:
    events = build(rows, earlier, **dedup_days).events
    return sorted(events.select("load_id", "line").rows())


def test_the_events_of_nothing_are_an_empty_frame_that_keeps_the_contract() -> None:
    result = build([])
    assert Events.validate(result.events).is_empty()
    assert result.counts == {}


def test_of_two_rows_with_one_id_the_earlier_one_stays() -> None:
    result = build([staged(1, NOON), staged(2, NOON - timedelta(seconds=1))])
    assert result.events["line"].to_list() == [2]
    assert result.counts == {TODAY: DayCounts(landed=2, events=1, duplicates=1)}


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        ({"received_at": NOON}, {"received_at": NOON + timedelta(seconds=1)}),
        ({"received_at": NOON}, {"received_at": None}),
        ({"page_title": "a", "load_id": "f"}, {"page_title": "b", "load_id": "e"}),
        ({"page_title": "z", "load_id": "f"}, {"page_title": None, "load_id": "e"}),
        ({"source": "a", "load_id": "f"}, {"source": "b", "load_id": "e"}),
        ({"load_id": "e"}, {"load_id": "f"}),
        ({"line": 2}, {"line": 10}),
        ({"line": 1, "source": "a"}, {"line": 1, "source": "b"}),
    ],
)
def test_ties_are_broken_by_arrival_then_content_then_the_place_in_the_files(winner: Row, loser: Row) -> None:
    rows = [staged(2, NOON) | loser, staged(3, NOON) | winner]
    events = build(rows).events
    assert events.height == 1
    assert only(events.to_dicts(), **winner)


def test_events_say_whether_their_id_is_their_source_s_and_keep_the_sequence() -> None:
    rows = [staged(1, sequence=7), staged(2) | {"event_id": None, "row_hash": "h"}]
    events = build(rows).events.sort("line")
    assert events.select("event_id", "is_id_derived", "sequence").rows() == [("e", False, 7), ("h-0", True, None)]


def test_one_id_in_two_properties_is_two_events() -> None:
    assert kept([staged(1), staged(2, property="other")]) == [("f", 1), ("f", 2)]


def test_a_repeat_on_the_day_before_is_a_duplicate_and_two_days_before_it_is_not() -> None:
    yesterday, before = staged(1, NOON - timedelta(days=1)), staged(1, NOON - timedelta(days=2))
    assert kept([staged(2)], [yesterday]) == []
    assert kept([staged(2)], [before]) == [("f", 2)]
    assert kept([staged(2)], [before], web=2) == []
    assert kept([staged(2)], [yesterday], web=0) == [("f", 2)]


def test_a_chain_of_daily_repeats_keeps_only_its_first() -> None:
    rows = [staged(day + 1, NOON + timedelta(days=day)) for day in range(4)]
    assert kept(rows) == [("f", 1)]


def test_an_excluded_row_is_counted_by_reason_and_beats_nobody() -> None:
    rows = [
        staged(1, NOON - timedelta(seconds=1), excluded="consent_denied"),
        staged(2),
        staged(3, event_id="x", excluded="internal"),
    ]
    result = build(rows)
    assert result.events["line"].to_list() == [2]
    assert result.counts[TODAY] == DayCounts(
        landed=3, events=1, excluded=2, excluded_by_reason={"consent_denied": 1, "internal": 1}
    )


def test_equal_rows_of_one_file_stay_and_the_same_rows_of_another_file_do_not_count_again() -> None:
    def plain(line: int, **values: Any) -> Row:
        return staged(line) | {"event_id": None, "row_hash": "h"} | values

    first = [plain(1), plain(5), plain(7, row_hash="k")]
    again = [plain(2, load_id="g"), plain(1, load_id="g"), plain(9, load_id="g")]
    result = build([*again, *first])
    assert sorted(result.events.select("event_id", "load_id", "line").rows()) == [
        ("h-0", "f", 1),
        ("h-1", "f", 5),
        ("h-2", "g", 9),
        ("k-0", "f", 7),
    ]
    assert result.counts[TODAY] == DayCounts(landed=6, events=4, duplicates=2)


@pytest.mark.parametrize(
    ("values", "conflicts"),
    [
        ({}, 0),
        ({"received_at": NOON, "sent_at": NOON, "clock_skew_ms": 5, "clock_reason": "skew"}, 0),
        ({"load_id": "g", "source": "other"}, 0),
        ({"properties": '{"a": 1}'}, 1),
        ({"revenue": Decimal("1.50")}, 1),
        ({"anonymous_id": None, "user_id": "u"}, 1),
        ({"is_conversion": True}, 1),
        ({"device_at": NOON}, 1),
    ],
)
def test_a_duplicate_with_other_content_is_a_conflict(values: Row, conflicts: int) -> None:
    counts = build([staged(1), staged(2, NOON + timedelta(seconds=1)) | values]).counts[TODAY]
    assert (counts.duplicates, counts.conflicts) == (1, conflicts)


def test_a_conflict_with_a_row_of_the_day_before_is_found() -> None:
    yesterday = staged(1, NOON - timedelta(days=1), event_name="other")
    assert build([staged(2)], [yesterday]).counts[TODAY].conflicts == 1


def test_a_source_that_gives_every_row_one_id_is_handled() -> None:
    rows = [staged(line, NOON + timedelta(seconds=line)) for line in range(1, 2000)]
    assert build(rows).counts[TODAY] == DayCounts(landed=1999, events=1, duplicates=1998)


def test_the_visitor_is_the_anonymous_id_or_else_the_user_and_nobody_after_a_refusal() -> None:
    rows = [
        staged(1, event_id="1", anonymous_id="a", user_id="u"),
        staged(2, event_id="2", anonymous_id=None, user_id="u"),
        staged(3, event_id="3", anonymous_id=None, user_id=None, consent=False),
        staged(4, event_id="4", anonymous_id="a", user_id="u", consent=True),
    ]
    events = build(rows).events.sort("line")
    assert events["visitor_id"].to_list() == ["a", "user:u", None, "a"]
    assert events["anonymous_id"].to_list() == ["a", None, None, "a"]
    assert events["user_id"].to_list() == ["u", "u", None, "u"]


def test_events_are_enriched_with_url_campaign_and_user_agent() -> None:
    row = staged(
        1,
        page_url="https://Shop.example/p?utm_source=x&gclid=1",
        referrer_url="https://www.google.com/",
        user_agent="curl/8.0",
    )
    event = Events.validate(build([row]).events).to_dicts()[0]
    expected = {
        "page_host": "shop.example",
        "page_path": "/p",
        "utm_source": "x",
        "click_id": "1",
        "click_id_type": "gclid",
        "referrer_host": "www.google.com",
        "is_bot": True,
        "bot_reason": "http_library",
        "device_type": "bot",
    }
    assert {name: event[name] for name in expected} == expected


def test_an_id_of_two_properties_is_counted_and_is_no_duplicate() -> None:
    rows = [staged(1), staged(2, property="blog"), staged(3, event_id="f"), staged(4, event_id="f")]
    rows += [staged(5, NOON + timedelta(days=1), event_id="f", property="blog")]
    counts = build(rows).counts
    assert [(day.events, day.duplicates, day.across) for day in counts.values()] == [(3, 1, 2), (1, 0, 0)]


def test_lazy_rows_of_partitioned_files_give_the_same_events(tmp_path: Path) -> None:
    frame = staged_frame([staged(1), staged(2), staged(3, NOON + timedelta(days=1), event_id="x")])
    frame.write_parquet(tmp_path, partition_by="event_date")
    lazy = pl.scan_parquet(tmp_path / "*/*.parquet", hive_partitioning=True, hive_schema={"event_date": pl.Date})
    read, direct = (build_events(rows, None, dedup_days={}) for rows in (lazy, frame))
    assert read.counts == direct.counts
    assert read.events.sort("line").equals(direct.events.sort("line"))


def test_the_counts_of_the_parts_of_a_day_add_up() -> None:
    one = DayCounts(landed=4, events=1, duplicates=1, conflicts=1, excluded=2, excluded_by_reason={"a": 1, "b": 1})
    other = DayCounts(landed=2, events=1, excluded=1, excluded_by_reason={"b": 1})
    total = DayCounts(landed=6, events=2, duplicates=1, conflicts=1, excluded=3, excluded_by_reason={"a": 1, "b": 2})
    assert one + other == total
    assert one + DayCounts() == one


def test_a_negative_look_back_is_refused() -> None:
    with pytest.raises(ValueError, match="web"):
        build([], web=-1)


def test_the_look_back_is_the_longest_of_the_sources_and_at_least_the_default() -> None:
    assert look_back_days({}) == 1
    assert look_back_days({"a": 0}) == 1
    assert look_back_days({"a": 3, "b": 2}) == 3


# -- the same in plain Python ------------------------------------------------------------------------------------


def order(row: Row) -> tuple[object, ...]:
    # Rows whose id is made of their content tell the same story.
    story = (True, "") if row["row_hash"] is not None else nulls_last(row["properties"])
    return (row["occurred_at"], nulls_last(row["received_at"]), story, row["source"], row["load_id"], row["line"])


def reference(rows: Sequence[Row], days: Sequence[date], dedup_days: Mapping[str, int]) -> tuple[set, dict]:
    """Kept rows as (source, load_id, line, event_id), and counts by day."""
    rows = [dict(row) for row in rows]
    for row in sorted(rows, key=lambda row: row["line"]):
        if row["event_id"] is None:
            equal = only(rows, source=row["source"], load_id=row["load_id"], row_hash=row["row_hash"])
            row["filled"] = f"{row['row_hash']}-{sum(other['line'] < row['line'] for other in equal)}"
        else:
            row["filled"] = row["event_id"]
    events = set()
    counts = {}
    for day in days:
        of_day = only(rows, event_date=day)
        if not of_day:
            continue
        number = {"landed": 0, "events": 0, "duplicates": 0, "conflicts": 0, "excluded": 0}
        kept = []
        reasons: dict[str, int] = {}
        for row in of_day:
            number["landed"] += 1
            if row["excluded"] is not None:
                number["excluded"] += 1
                reasons[row["excluded"]] = reasons.get(row["excluded"], 0) + 1
                continue
            since = day - timedelta(days=dedup_days.get(row["source"], 1))
            rivals = [
                other
                for other in only(rows, property=row["property"], filled=row["filled"], excluded=None)
                if since <= other["event_date"] <= day
            ]
            winner = min(rivals, key=order)
            if winner is row:
                number["events"] += 1
                kept.append(row)
                events.add((row["source"], row["load_id"], row["line"], row["filled"]))
            else:
                number["duplicates"] += 1
                number["conflicts"] += any(row[name] != winner[name] for name in CONTENT_COLUMNS)
        told = [row for row in kept if row["event_id"] is not None]
        across = [
            row
            for row in told
            if len({other["property"] for other in told if other["event_id"] == row["event_id"]}) > 1
        ]
        counts[day] = DayCounts(**number, excluded_by_reason=reasons, across=len(across))
    return events, counts


@st.composite
def staged_rows(draw: st.DrawFn) -> list[Row]:
    rows = []
    for line in range(1, draw(st.integers(0, 25)) + 1):
        # What identifies an equal row decides its day too: equal rows carry equal times.
        day, second, hashed = draw(st.tuples(st.integers(0, 4), st.integers(0, 1), st.booleans()))
        moment = utc("2026-03-10T23:59:59") + timedelta(days=day, seconds=second)
        row = staged(
            line,
            moment,
            source=draw(st.sampled_from(["web", "app"])),
            load_id=draw(st.sampled_from(["f", "g"])),
            property=draw(st.sampled_from(["shop", "shop", "blog"])),
            event_id=None if hashed else draw(st.sampled_from(["x", "y"])),
            row_hash=f"h{day}{second}" if hashed else None,
            received_at=draw(st.sampled_from([None, moment, moment + timedelta(seconds=1)])),
            excluded=draw(st.sampled_from([None, None, None, "consent_denied"])),
            properties=draw(st.sampled_from([None, "{}"])),
        )
        rows.append(row)
    return rows


@given(staged_rows(), st.dictionaries(st.sampled_from(["web", "app"]), st.integers(0, 3)), st.randoms())
@settings(max_examples=40, deadline=None)
def test_events_agree_with_a_plain_reading_of_the_rules_whatever_the_batch_and_order(
    rows: list[Row], dedup_days: dict[str, int], random: Random
) -> None:
    days = sorted({row["event_date"] for row in rows})
    events, counts = reference(rows, days, dedup_days)
    random.shuffle(rows)
    batch = build_events(staged_frame(rows), None, dedup_days=dedup_days)
    Events.validate(batch.events.unique(["property", "event_id"]))
    assert set(batch.events.select("source", "load_id", "line", "event_id").rows()) == events
    assert batch.counts == counts
    for day in days:
        since = day - timedelta(days=look_back_days(dedup_days))
        single = build_events(
            staged_frame(only(rows, event_date=day)),
            staged_frame([row for row in rows if since <= row["event_date"] < day]).lazy(),
            dedup_days=dedup_days,
        )
        assert single.counts == {day: counts[day]}
        expected = batch.events.filter(pl.col("event_date") == day)
        key = ["source", "load_id", "line"]
        assert single.events.sort(key).equals(expected.sort(key))
