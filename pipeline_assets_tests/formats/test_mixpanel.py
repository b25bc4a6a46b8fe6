"""Mixpanel's raw event export; what the events hold is in fixtures/mixpanel.jsonl."""

import json
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from pipeline_assets_tests.formats.landed import FIXTURES, declare, given, load, load_text

IDS = ("anonymous_id", "user_id", "further_ids")


def line(event: str = "x", **properties: Any) -> str:
    return json.dumps({"event": event, "properties": {"time": 1714557600, "distinct_id": "d", **properties}}) + "\n"


@pytest.fixture(scope="module")
def rows() -> dict[int, dict[str, Any]]:
    found, booked = load(declare("mixpanel"), FIXTURES / "mixpanel.jsonl")
    assert [(bad.line, bad.reason.partition(";")[0]) for bad in booked.quarantined] == [
        (11, "missing:anonymous_id or user_id"), (12, "unparsable:occurred_at"),
    ]  # fmt: skip
    return {row["line"]: row for row in found}


def further(distinct_id: str) -> str:
    return json.dumps({"mixpanel_distinct_id": distinct_id}, separators=(",", ":"))


def test_a_page_view_of_an_anonymous_visitor(rows):
    page = rows[1]
    assert given(page, "property", "event_type", "event_name", *IDS) == (
        "shop", "page", "$mp_web_page_view", "18f3-dev", None, None,
    )  # fmt: skip
    assert page["occurred_at"].isoformat() == "2024-05-01T10:00:00+00:00"
    assert page["received_at"].isoformat() == "2024-05-01T10:00:01.500000+00:00"
    assert given(page, "page_url", "page_title", "referrer_url") == (
        "https://shop.example/p/1?utm_source=news&utm_medium=email", "Mug", "https://www.google.com/",
    )  # fmt: skip
    assert given(page, "device_type", "os", "browser", "country") == ("desktop", "Mac OS X", "Chrome", "DE")


def test_the_campaign_that_mixpanel_remembers_is_not_that_of_the_event(rows):
    assert rows[1]["utm_source"] is None
    assert json.loads(rows[1]["properties"])["properties"]["utm_source"] == "long-ago"


def test_whom_mixpanel_takes_a_device_for_is_a_further_id(rows):
    assert given(rows[2], *IDS) == ("18f3-dev", "user-7", further("user-7"))
    # Before the user signed up, and yet exported with the user's id.
    assert given(rows[3], *IDS) == ("18f3-dev", None, further("user-7"))
    # A server knows the user only.
    assert given(rows[5], *IDS) == (None, "user-7", further("user-7"))


def test_events_of_the_original_id_merge_link_two_ids(rows):
    assert given(rows[6], "event_type", *IDS) == (
        "identify", "0f8fad5b-d9cb-469f-a165-70867728950e", "user-9", further("user-9"),
    )  # fmt: skip
    assert given(rows[7], "event_type", *IDS) == ("alias", "old-id", "user-10", None)
    assert given(rows[8], "event_type", *IDS) == ("alias", "11f8-dev", "user-11", None)


def test_an_order_earns_and_its_refund_gives_back(rows):
    assert given(rows[4], "revenue", "currency", "order_id", "is_conversion") == (Decimal("45.5"), "EUR", "o-1", True)
    assert json.loads(rows[4]["items"]) == [
        {"sku": "mug", "name": "Mug", "category": "Kitchen", "price": 15.5, "quantity": 2}
    ]
    assert json.loads(rows[4]["properties"])["properties"]["gift"] is True
    assert given(rows[5], "revenue", "order_id", "is_conversion") == (Decimal("-15.5"), "o-1", False)


def test_times_may_have_milliseconds(rows):
    assert rows[9]["occurred_at"].isoformat() == "2024-05-01T10:06:40.123000+00:00"
    assert given(rows[9], "anonymous_id", "device_type", "app_version") == ("22-ipad", "tablet", "3.1")


def test_the_clock_of_an_old_project_shows_the_time_of_its_zone():
    source = declare("mixpanel", time={"zone": "America/Los_Angeles"})
    # 10:00:00 of a clock in California is 17:00 UTC in May and 18:00 in January.
    text = line(mp_processing_time_ms=1714582801000) + line(time=1704103200)
    summer, winter = (row for row in load_text(source, text)[0])
    assert summer["occurred_at"].isoformat() == "2024-05-01T17:00:00+00:00"
    assert summer["received_at"].isoformat() == "2024-05-01T17:00:01+00:00"
    assert winter["occurred_at"].isoformat() == "2024-01-01T18:00:00+00:00"


def test_orders_of_the_old_ecommerce_specification_are_orders():
    text = line("Completed Order", total=9) + line("refunded_order", total=9) + line("Updated Order", revenue=9)
    rows, _ = load_text(declare("mixpanel"), text)
    assert [given(row, "is_conversion", "revenue") for row in rows] == [(True, 9), (False, -9), (False, None)]
    assert [row["event_name"] for row in rows] == ["Completed Order", "refunded_order", "Updated Order"]


def test_events_are_the_same_where_mixpanel_takes_them_for_the_same():
    def ids(*lines: str) -> list[str | None]:
        return [row["event_id"] for row in load_text(declare("mixpanel"), "".join(lines))[0]]

    first, again, other_name, other_time, merged = ids(
        line(**{"$insert_id": "i"}),
        line(**{"$insert_id": "i", "note": "later"}),
        line("y", **{"$insert_id": "i"}),
        line(time=1714557601, **{"$insert_id": "i"}),
        line(distinct_id="merged since", **{"$insert_id": "i", "$distinct_id_before_identity": "d"}),
    )
    assert first is not None
    assert first == again == merged
    assert len({first, other_name, other_time}) == 3
    # Without one the event is known by its content.
    assert ids(line()) == [None]


def test_tables_of_a_pipeline_are_read(tmp_path):
    lines = line("$mp_web_page_view", **{"$insert_id": "i", "$device_id": "dev", "current_page_title": "Mug"})
    (expected,), _ = load_text(declare("mixpanel"), lines.replace('"d"', '"$device:dev"'))
    columns = ("event_type", "event_name", "occurred_at", "page_title", *IDS)
    file = tmp_path / "rows.parquet"
    with duckdb.connect() as connection:
        connection.sql("set TimeZone = 'UTC'")
        connection.sql(
            """select '$mp_web_page_view' as event_name, timestamptz '2024-05-01 10:00:00+00' as time, 'i' as insert_id,
            '$device:dev' as distinct_id, 'dev' as device_id, '{"current_page_title": "Mug"}' as properties"""
        ).write_parquet(str(file))
    (row,), _ = load(declare("mixpanel", records="parquet"), file)
    assert given(row, *columns) == given(expected, *columns)
    text = (
        "event_name,time,distinct_id,mp_insert_id,mp_device_id,mp_current_url,current_page_title,plan\n"
        "$mp_web_page_view,1714557600,$device:dev,i,dev,https://shop.example/,Mug,pro\n"
    )
    (row,), _ = load_text(declare("mixpanel", records="csv"), text)
    assert given(row, *columns) == given(expected, *columns)
    assert row["event_id"] == expected["event_id"]
    assert row["page_url"] == "https://shop.example/"
    assert json.loads(row["properties"])["properties"]["plan"] == "pro"
