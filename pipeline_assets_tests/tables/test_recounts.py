from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.daily_activity import Activity, build_daily_activity, count_activity
from pipeline_assets.tables.session_counts import SessionCounts, Started, count_sessions
from pipeline_assets.tables.sessions import Sessions, build_sessions
from pipeline_assets.transforms.session_rows import excluded_from_sessions
from pipeline_assets.transforms.sessionize import SessionRules
from pipeline_assets_tests.tables.test_sessions import (
    DAYS_AFTER,
    MIXED_PATTERNS,
    PATTERNS,
    RULES,
    supplied_of,
    traffic,
)
from pipeline_assets_tests.transforms.frames import NOON, Row, days_between, event, events_frame, utc

TODAY = NOON.date()
Rules = Mapping[str, SessionRules]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of one comparison after the other."""
    return tmp_path_factory.mktemp("lake")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        yield made


def write(folder: Path, rows: Sequence[Row]) -> dict[date, str]:
    """A Parquet file of events for each day that has some."""
    paths = {}
    for (day,), part in events_frame(rows).partition_by("event_date", as_dict=True).items():
        paths[day] = str(folder / f"{day}.parquet")
        part.write_parquet(paths[day])
    return paths


def built(rows: Sequence[Row], days: Sequence[date], timezone: str, session_rules: Rules) -> SessionCounts:
    """What the transforms say."""
    events = events_frame(rows)
    how: dict[str, Any] = {
        "timezone": timezone,
        "session_rules": session_rules,
        "supplied": supplied_of(events, days, session_rules),
    }
    sessions = build_sessions(events, days, **how)
    started = sessions.group_by("session_date", "property").agg(pl.len(), pl.col("events").sum()).rows()
    excluded = excluded_from_sessions(events, days, **how).rows()
    return SessionCounts({row[:2]: Started(*row[2:]) for row in started}, {row[:4]: row[4] for row in excluded})


def counted(
    connection: duckdb.DuckDBPyConnection, folder: Path, rows: Sequence[Row], days: Sequence[date], **how: Any
) -> SessionCounts:
    """What the recount says of files with these events."""
    paths = list(write(folder, rows).values())
    return count_sessions(connection, paths, days, **how)


def test_a_day_of_one_source_that_another_source_with_a_longer_timeout_goes_on_from_is_full(
    folder: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    session_rules = {"app": SessionRules(timeout=timedelta(hours=1))}
    rows = [event(utc("2026-03-10T00:00") + count * timedelta(minutes=20), source="web") for count in range(71)]
    rows.append(event(utc("2026-03-11T00:10"), source="app"))
    days = [TODAY, TODAY + timedelta(days=1)]
    found = counted(connection, folder, rows, days, session_rules=session_rules, timezone="UTC")
    assert {key: started.sessions for key, started in found.started.items()} == {(day, "shop"): 1 for day in days}
    assert found == built(rows, days, "UTC", session_rules)


def test_of_two_last_events_at_one_moment_either_may_be_the_one_with_the_short_timeout(
    folder: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    midnight = utc("2026-03-10T00:00")
    days = [TODAY, TODAY + timedelta(days=1)]
    for last in (("slow", "slower"), ("slower", "slow")):
        rows = [
            event(midnight + timedelta(hours=hours), source=source, event_id=f"{hours}-{place}")
            for hours, sources in ((6, ["slower"]), (12, ["slower"]), (17, last), (25, ["slower"]))
            for place, source in enumerate(sources)
        ]
        found = counted(connection, folder, rows, days, session_rules=RULES, timezone="UTC")
        assert found == built(rows, days, "UTC", RULES)


def test_a_ping_of_a_view_of_the_campaign_before_is_an_orphan_however_soon_it_comes(
    folder: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    seen = [("page", "a", "1"), ("page", "b", "2"), ("ping", "a", None), ("track", None, None)]
    rows = [
        event(NOON + timedelta(seconds=place), source="split", event_type=kind, view_id=view, utm_source=campaign)
        for place, (kind, view, campaign) in enumerate(seen)
    ]
    found = counted(connection, folder, rows, [TODAY], session_rules=RULES, timezone="UTC")
    assert found == ({(TODAY, "shop"): (2, 3)}, {(TODAY, "shop", "split", "orphan_ping"): 1})
    assert found == built(rows, [TODAY], "UTC", RULES)


def test_an_id_that_is_missing_in_supplied_sessions_is_told(
    folder: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    rows = [event(NOON, source="app", session_id_supplied="1")]
    found = counted(connection, folder, rows, [TODAY], session_rules=RULES, timezone="UTC")
    assert found == ({}, {(TODAY, "shop", "app", "unknown_session_id"): 1})


# Days on which the clocks change, in Havana at midnight: one midnight is missing, another comes twice.
CHANGES = st.sampled_from(
    [
        ("UTC", date(2026, 3, 29)),
        ("Europe/Berlin", date(2026, 3, 29)),
        ("Europe/Berlin", date(2026, 10, 25)),
        ("America/Havana", date(2026, 3, 8)),
        ("America/Havana", date(2026, 11, 1)),
    ]
)


@given(
    given_traffic=traffic(patterns=(*PATTERNS, *MIXED_PATTERNS), properties=("shop", "shop", "blog"), changes=CHANGES)
)
@settings(max_examples=40, deadline=None)
def test_the_recount_of_sessions_agrees_with_the_transform(
    given_traffic: tuple[str, list[Row]], folder: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    timezone, rows = given_traffic
    paths = write(folder, rows)
    days = days_between(min(paths), max(paths))
    supplied = supplied_of(events_frame(rows), days, RULES)
    assert supplied is not None
    supplied.write_parquet(folder / "supplied.parquet")
    how: dict[str, Any] = {"session_rules": RULES, "timezone": timezone, "supplied": [str(folder / "supplied.parquet")]}
    expected = built(rows, days, timezone, RULES)
    assert count_sessions(connection, list(paths.values()), days, **how) == expected
    for day in days:
        near = [path for other, path in paths.items() if -2 <= (other - day).days <= DAYS_AFTER]
        assert count_sessions(connection, near, [day], **how) == (
            {key: started for key, started in expected.started.items() if key[0] == day},
            {key: number for key, number in expected.excluded.items() if key[0] == day},
        )


AMOUNTS = st.sampled_from([None, Decimal("1.25"), Decimal(-3), Decimal(999_999_999_999)])
PAID = st.tuples(AMOUNTS, st.sampled_from([None, "EUR", "USD"]), st.booleans())


@given(paid=st.lists(PAID, min_size=1, max_size=6), reporting=st.sampled_from([None, "EUR"]))
@settings(max_examples=40, deadline=None)
def test_the_recount_of_activity_agrees_with_the_transform(
    paid: list[tuple[Decimal | None, str | None, bool]],
    reporting: str | None,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
) -> None:
    rows = [
        event(NOON, event_id=str(number), visitor_id=f"v{number % 2}", revenue=revenue, currency=currency, is_bot=bot)
        for number, (revenue, currency, bot) in enumerate(paid)
    ]
    activity = build_daily_activity(events_frame(rows), Sessions.create_empty(), [TODAY], reporting=reporting)
    expected = {
        (row["activity_date"], row["property"]): Activity(row["events"], row["visitors"], row["revenue"])
        for row in activity.to_dicts()
    }
    assert count_activity(connection, list(write(folder, rows).values()), reporting=reporting) == expected


def test_revenue_with_and_without_a_currency_is_a_sum_only_in_the_reporting_currency(
    folder: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    rows = [event(NOON, event_id=str(unit), revenue=Decimal(1), currency=unit) for unit in ("EUR", None)]
    paths = list(write(folder, rows).values())
    sums = [
        next(iter(count_activity(connection, paths, reporting=code).values())).revenue for code in (None, "USD", "EUR")
    ]
    assert sums == [None, None, 2]


def test_nothing_is_counted_where_there_are_no_files(connection: duckdb.DuckDBPyConnection) -> None:
    assert count_sessions(connection, [], [TODAY], session_rules={}, timezone="UTC") == ({}, {})
    assert count_activity(connection, [], reporting=None) == {}
