"""Benchmark files: every line is a distinct event of the same shape as the demo's."""

import json
from datetime import date, datetime
from pathlib import Path

import pytest

from pipeline_assets.demo.bulk import BulkSummary, write_bulk
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
