from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.supplied_session_days import SuppliedSessionDays, build_supplied_session_days
from pipeline_assets.tables.supplied_sessions import (
    SuppliedSessions,
    build_supplied_sessions,
    supplied_session_revisions,
)
from pipeline_assets_tests.transforms.frames import NOON, Row, columns_of, days_between, event, events_frame, only

TODAY = NOON.date()
DAYS = days_between(TODAY, TODAY + timedelta(days=4))
SOURCES = ("app", "kiosk")
ID = ("property", "visitor_id", "session_id_supplied")


def session_days(rows: Sequence[Row]) -> pl.DataFrame:
    return SuppliedSessionDays.validate(build_supplied_session_days(events_frame(rows), DAYS, sources=SOURCES))


def seen(day: int, session: str | None = "1", source: str = "app", hour: int = 0, **values: Any) -> Row:
    moment = NOON + timedelta(days=day, hours=hour)
    return event(moment, source=source, session_id_supplied=session, **values)


def revisions(rows: Sequence[Row]) -> dict[int, str]:
    days = session_days(rows)
    found = supplied_session_revisions(days, build_supplied_sessions(days))
    return {(day - TODAY).days: revision for day, revision in found.rows()}


def test_only_events_of_visitors_with_an_id_of_sources_in_supplied_mode_count() -> None:
    rows = [seen(0), seen(0, None), seen(0, source="web"), seen(0, visitor_id=None)]
    assert [columns_of(row, "session_id_supplied", "events") for row in session_days(rows).to_dicts()] == [("1", 1)]


def test_an_id_was_first_seen_at_the_minimum_over_all_days() -> None:
    (row,) = build_supplied_sessions(session_days([seen(2, hour=-1), seen(0, hour=3), seen(0, hour=1)])).to_dicts()
    assert columns_of(row, "session_date", "first_at") == (TODAY, NOON + timedelta(hours=1))
    assert row["last_at"] == NOON + timedelta(days=2, hours=-1)


def test_an_earlier_day_of_an_id_changes_the_revision_of_the_days_on_which_it_is_seen_and_of_no_other() -> None:
    rows = [seen(1), seen(2), seen(3, "2"), seen(3, "3")]
    before, after = revisions(rows), revisions([*rows, seen(0)])
    assert {day for day in before if before[day] != after[day]} == {1, 2}
    assert revisions([*rows, seen(1, "2")])[3] not in {before[3], revisions([*rows, seen(1, "3")])[3]}


def test_the_tables_of_nothing_are_empty_frames_that_keep_the_contracts() -> None:
    days = session_days([])
    assert days.is_empty()
    assert SuppliedSessions.validate(build_supplied_sessions(days)).is_empty()
    assert supplied_session_revisions(days, build_supplied_sessions(days)).is_empty()


EVENTS = st.lists(
    st.builds(
        seen,
        day=st.integers(0, 4),
        session=st.sampled_from([None, "1", "2"]),
        source=st.sampled_from(["web", *SOURCES]),
        hour=st.integers(-12, 11),
        property=st.sampled_from(["shop", "blog"]),
        visitor_id=st.sampled_from(["v", "w", None]),
    ),
    max_size=12,
)


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_both_tables_agree_with_a_plain_reading_whatever_the_batch_and_order(rows: list[Row], random) -> None:
    counted = [
        row for row in rows if row["source"] in SOURCES and row["visitor_id"] and row["session_id_supplied"] is not None
    ]
    expected = []
    for day in DAYS:
        of_day = only(counted, event_date=day)
        for key in sorted({columns_of(row, *ID) for row in of_day}):
            times = [row["occurred_at"] for row in of_day if columns_of(row, *ID) == key]
            expected.append((day, *key, min(times), max(times), len(times)))
    days = session_days(rows)
    assert days.rows() == expected
    keys = {row[1:4] for row in expected}
    firsts = {key: [row for row in expected if row[1:4] == key] for key in keys}
    sessions = SuppliedSessions.validate(build_supplied_sessions(days.lazy()))
    assert sessions.rows() == sorted(
        (of_id[0][0], *key, min(row[4] for row in of_id), max(row[5] for row in of_id)) for key, of_id in firsts.items()
    )
    random.shuffle(rows)
    alone = [build_supplied_session_days(events_frame(rows).lazy(), [day], sources=SOURCES) for day in DAYS]
    assert pl.concat(alone).equals(days)
    assert build_supplied_sessions(pl.concat(alone[::-1])).equals(sessions)
    assert supplied_session_revisions(pl.concat(alone[::-1]), sessions).equals(
        supplied_session_revisions(days, sessions)
    )
