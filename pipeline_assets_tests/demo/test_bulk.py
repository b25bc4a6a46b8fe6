"""Benchmark files: every line is a distinct event of the same shape as the demo's."""

import json
from datetime import date, datetime
from pathlib import Path

import pytest

from pipeline_assets.demo.bulk import BulkSummary, write_bulk, write_steady_days
from pipeline_assets.demo.generator import DemoConfig, build_demo

EVENTS = 30_000


@pytest.fixture(scope="module")
def bulk(tmp_path_factory: pytest.TempPathFactory) -> BulkSummary:
    return write_bulk(tmp_path_factory.mktemp("bulk"), EVENTS, 4, seed=3)


@pytest.fixture(scope="module")
def rows(bulk: BulkSummary) -> list[dict]:
    return [json.loads(line) for path in bulk.files for line in path.read_text(encoding="utf-8").splitlines()]


def test_lines_are_about_six_hundred_bytes_long(bulk: BulkSummary) -> None:
    assert 560 <= bulk.bytes / bulk.events <= 650
    assert bulk.bytes == sum(path.stat().st_size for path in bulk.files)


def test_files_have_equal_numbers_of_lines(bulk: BulkSummary) -> None:
    assert [path.read_bytes().count(b"\n") for path in bulk.files] == [EVENTS // 4] * 4


def test_ids_are_unique_and_the_summary_counts_what_is_there(bulk: BulkSummary, rows: list[dict]) -> None:
    assert len({row["messageId"] for row in rows}) == len(rows) == EVENTS
    assert len({row["anonymousId"] for row in rows}) == bulk.visitors
    views = [row["context"]["page"]["viewId"] for row in rows if row["type"] == "page"]
    assert len(set(views)) == len(views) == bulk.page_views
    orders = [row["properties"]["order_id"] for row in rows if row.get("event") == "order_completed"]
    assert len(set(orders)) == len(orders) == bulk.orders


def test_events_lie_on_every_day_and_are_received_after_they_happened(rows: list[dict]) -> None:
    days = {datetime.fromisoformat(row["timestamp"]).date() for row in rows}
    assert days == {date(2026, 3, day) for day in range(2, 16)}
    # Texts of one form sort like the moments they name.
    assert all(row["timestamp"] <= row["sentAt"] <= row["receivedAt"] for row in rows)
    assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)


def test_bulk_lines_have_the_fields_of_the_demos_lines(rows: list[dict]) -> None:
    demo = build_demo(DemoConfig.small())
    line = next(
        json.loads(line)
        for file in demo.files
        if file.path.endswith(".jsonl")
        for line in file.content.decode("utf-8", "replace").splitlines()
        if '"order_completed"' in line and '"userId"' in line
    )
    other = next(row for row in rows if row.get("event") == "order_completed" and "userId" in row)
    assert line.keys() == other.keys()
    assert line["context"]["page"].keys() == other["context"]["page"].keys()
    assert other["context"].keys() <= line["context"].keys()


def test_the_same_seed_gives_the_same_bytes(bulk: BulkSummary, tmp_path: Path) -> None:
    again = write_bulk(tmp_path, EVENTS, 4, seed=3)
    assert [path.read_bytes() for path in again.files] == [path.read_bytes() for path in bulk.files]


def test_more_files_than_events_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="files must be between 1 and the number of events"):
        write_bulk(tmp_path, 3, 4, seed=3)


# --- Steady days --------------------------------------------------------------------------------------

STEADY_DAYS = 40
STEADY_EVENTS = 2_000


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> BulkSummary:
    folder = tmp_path_factory.mktemp("steady")
    return write_steady_days(folder, STEADY_EVENTS, 3, first_day=date(2025, 12, 1), days=STEADY_DAYS, late_logins=0.5)


@pytest.fixture(scope="module")
def steady_days(steady: BulkSummary) -> list[list[dict]]:
    return [[json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in steady.files]


def test_steady_days_are_equal_but_for_ids(steady_days: list[list[dict]]) -> None:
    def shape(rows: list[dict]) -> list[tuple]:
        return [
            (
                row["timestamp"][10:],
                row["type"],
                row.get("event"),
                row["context"]["page"]["url"],
                row["context"]["locale"],
            )
            for row in rows
        ]

    assert all(shape(rows) == shape(steady_days[0]) for rows in steady_days)
    assert len({len({row["anonymousId"] for row in rows}) for rows in steady_days}) == 1


def test_each_steady_file_holds_its_own_day(steady: BulkSummary, steady_days: list[list[dict]]) -> None:
    for path, rows in zip(steady.files, steady_days, strict=True):
        assert {row["timestamp"][:10] for row in rows} == {path.stem.removeprefix("steady-")}


def test_ids_of_steady_days_are_unique_and_counted(steady: BulkSummary, steady_days: list[list[dict]]) -> None:
    rows = [row for day in steady_days for row in day]
    assert len({row["messageId"] for row in rows}) == len(rows) == steady.events == STEADY_EVENTS * STEADY_DAYS
    views = [row["context"]["page"]["viewId"] for row in rows if row["type"] == "page"]
    assert len(set(views)) == len(views) == steady.page_views
    orders = [row["properties"]["order_id"] for row in rows if row.get("event") == "order_completed"]
    assert len(set(orders)) == len(orders) == steady.orders
    assert len({row["anonymousId"] for row in rows}) == steady.visitors


def test_the_same_number_of_steady_visitors_is_new_every_day(steady_days: list[list[dict]]) -> None:
    seen: set[str] = set()
    new: list[int] = []
    for rows in steady_days:
        today = {row["anonymousId"] for row in rows}
        new.append(len(today - seen))
        seen |= today
    today = {row["anonymousId"] for row in steady_days[-1]}
    # By then all but those who come after months have been seen, and about every second visitor is new.
    assert max(new[-10:]) - min(new[-10:]) <= 0.15 * len(today)
    assert 0.45 * len(today) <= new[-1] <= 0.75 * len(today)


def test_late_users_show_their_user_id_from_their_second_day_on(steady_days: list[list[dict]]) -> None:
    anonymous: set[str] = set()
    named: set[str] = set()
    for rows in steady_days:
        named |= {row["anonymousId"] for row in rows if "userId" in row}
        anonymous |= {row["anonymousId"] for row in rows if "userId" not in row}
    late = named & anonymous
    assert late
    owners = {(row["anonymousId"], row["userId"]) for rows in steady_days for row in rows if "userId" in row}
    assert len(owners) == len(named)
    for visitor in late:
        days = [{"userId" in row for row in rows if row["anonymousId"] == visitor} for rows in steady_days]
        first, *later = [day for day in days if day]
        assert first == {False}
        assert all(day == {True} for day in later)


def test_a_steady_day_does_not_depend_on_the_days_written_with_it(steady: BulkSummary, tmp_path: Path) -> None:
    day = date(2025, 12, 8)
    again = write_steady_days(tmp_path, STEADY_EVENTS, 3, first_day=day, days=1, late_logins=0.5)
    assert again.files[0].read_bytes() == steady.files[7].read_bytes()


def test_a_steady_day_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="events_per_day must be at least 1"):
        write_steady_days(tmp_path, 0, 3, first_day=date(2025, 12, 1), days=1)
