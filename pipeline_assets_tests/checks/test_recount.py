from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.checks.recount import Activity, count_activity, count_sessions
from pipeline_assets.contracts.sessions import Sessions
from pipeline_assets.transforms.daily_activity import build_daily_activity
from pipeline_assets.transforms.sessions import build_sessions
from pipeline_assets_tests.transforms.frames import NOON, Row, days_between, event, events_frame, utc

TODAY = NOON.date()
Counts = dict[tuple[date, str], int]


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


def built(rows: Sequence[Row], days: Sequence[date], timezone: str, minutes: Mapping[str, int]) -> Counts:
    timeouts = {source: timedelta(minutes=number) for source, number in minutes.items()}
    sessions = build_sessions(events_frame(rows), days, timezone=timezone, timeouts=timeouts)
    return Counter(sessions.select("session_date", "property").rows())


def test_a_day_of_one_source_that_another_source_with_a_longer_timeout_goes_on_from_is_full(
    folder: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    minutes = {"web": 30, "app": 60}
    rows = [event(utc("2026-03-10T00:00") + count * timedelta(minutes=20), source="web") for count in range(71)]
    rows.append(event(utc("2026-03-11T00:10"), source="app"))
    paths = list(write(folder, rows).values())
    days = [TODAY, TODAY + timedelta(days=1)]
    counted = count_sessions(connection, paths, TODAY, timeouts=minutes, timezone="UTC")
    assert counted == dict.fromkeys(((day, "shop") for day in days), 1)
    assert counted == built(rows, days, "UTC", minutes)


def test_of_two_last_events_at_one_moment_either_may_be_the_one_with_the_short_timeout(
    folder: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    minutes = {"web": 360, "app": 540}
    midnight = utc("2026-03-10T00:00")
    for last in (("web", "app"), ("app", "web")):
        rows = [
            event(midnight + timedelta(hours=hours), source=source, event_id=f"{hours}-{place}")
            for hours, sources in ((6, ["app"]), (12, ["app"]), (17, last), (25, ["app"]))
            for place, source in enumerate(sources)
        ]
        paths = list(write(folder, rows).values())
        counted = count_sessions(connection, paths, TODAY, timeouts=minutes, timezone="UTC")
        assert counted == built(rows, [TODAY, TODAY + timedelta(days=1)], "UTC", minutes)


MINUTES = {"web": 6 * 60, "app": 9 * 60}
HOUR = 3600
# Sources and steps at and around both limits; with the long ones a handful of events fills a day.
PATTERNS = st.sampled_from(
    [
        (("web",), (6 * HOUR,)),
        (("web",), (0, 6 * HOUR, 6 * HOUR, 6 * HOUR, 6 * HOUR + 1)),
        (("web", "app"), (6 * HOUR, 8 * HOUR)),
        (("web", "app"), (0, 6 * HOUR, 9 * HOUR)),
        (("web", "app"), (0, 60, 5 * HOUR, 6 * HOUR - 1, 6 * HOUR, 6 * HOUR + 1, 9 * HOUR, 9 * HOUR + 1, 26 * HOUR)),
    ]
)
# Seconds from the midnight of the day on which the clocks change, or of the day before.
STARTS = st.sampled_from([0, 5 * HOUR, 6 * HOUR, 6 * HOUR + 1, 7 * HOUR])
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


@st.composite
def traffic(draw: st.DrawFn) -> tuple[str, list[Row]]:
    """A time zone and the events of two visitors around a change of its clocks, in random order."""
    timezone, change = draw(CHANGES)
    before = change - timedelta(days=draw(st.integers(0, 1)))
    midnight = datetime(before.year, before.month, before.day, tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    random = Random(draw(st.integers(0, 2**32)))
    rows = []
    for visitor in ("v", "w"):
        sources, steps = draw(PATTERNS)
        moment = midnight + timedelta(seconds=draw(STARTS))
        for step in (0, *draw(st.lists(st.sampled_from(steps), min_size=3, max_size=10))):
            moment += timedelta(seconds=step)
            row = event(
                moment,
                timezone,
                visitor_id=visitor,
                received_at=random.choice([None, moment, moment + timedelta(seconds=1)]),
                event_id=f"{random.randrange(10)}-{len(rows)}",
                source=random.choice(sources),
            )
            rows.append(row)
    random.shuffle(rows)
    return timezone, rows


@given(given_traffic=traffic())
@settings(max_examples=200, deadline=None)
def test_the_recount_of_sessions_agrees_with_the_transform(
    given_traffic: tuple[str, list[Row]], folder: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    timezone, rows = given_traffic
    paths = write(folder, rows)
    days = days_between(min(paths), max(paths))
    expected = built(rows, days, timezone, MINUTES)
    for first in days:
        near = [path for day, path in paths.items() if day >= first - timedelta(days=1)]
        counted = count_sessions(connection, near, first, timeouts=MINUTES, timezone=timezone)
        assert counted == {key: number for key, number in expected.items() if key[0] >= first}


AMOUNTS = st.sampled_from([None, Decimal("1.25"), Decimal(-3), Decimal(999_999_999_999)])
PAID = st.tuples(AMOUNTS, st.sampled_from([None, "EUR", "USD"]), st.booleans())


@given(paid=st.lists(PAID, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_the_recount_of_activity_agrees_with_the_transform(
    paid: list[tuple[Decimal | None, str | None, bool]], folder: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    rows = [
        event(NOON, event_id=str(number), visitor_id=f"v{number % 2}", revenue=revenue, currency=currency, is_bot=bot)
        for number, (revenue, currency, bot) in enumerate(paid)
    ]
    activity = build_daily_activity(events_frame(rows), Sessions.create_empty(), [TODAY])
    expected = {
        (row["activity_date"], row["property"]): Activity(row["events"], row["visitors"], row["revenue"])
        for row in activity.to_dicts()
    }
    assert count_activity(connection, list(write(folder, rows).values())) == expected


def test_revenue_with_and_without_a_currency_is_no_sum(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    rows = [event(NOON, event_id=str(unit), revenue=Decimal(1), currency=unit) for unit in ("EUR", None)]
    (found,) = count_activity(connection, list(write(folder, rows).values())).values()
    assert found.revenue is None


def test_nothing_is_counted_where_there_are_no_files(connection: duckdb.DuckDBPyConnection) -> None:
    assert count_sessions(connection, [], TODAY, timeouts={}, timezone="UTC") == {}
    assert count_activity(connection, []) == {}
