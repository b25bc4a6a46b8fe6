"""Amplitude's export; what the events hold is in fixtures/amplitude.jsonl."""

import json
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from pipeline_assets_tests.formats.landed import FIXTURES, declare, given, load, load_text

IDS = ("anonymous_id", "user_id", "session_id_supplied")


@pytest.fixture(scope="module")
def rows() -> dict[int, dict[str, Any]]:
    found, booked = load(declare("amplitude"), FIXTURES / "amplitude.jsonl")
    assert [(bad.line, bad.reason.partition(";")[0]) for bad in booked.quarantined] == [
        (11, "missing:anonymous_id or user_id"), (12, "unparsable:occurred_at"),
    ]  # fmt: skip
    return {row["line"]: row for row in found}


def test_a_page_view_of_an_anonymous_visitor(rows):
    page = rows[1]
    assert given(page, "property", "event_id", "event_type", "event_name", "sequence") == (
        "187520", "u-1", "page", "[Amplitude] Page Viewed", 1,
    )  # fmt: skip
    assert given(page, *IDS) == ("dev-1", None, "1714557600000")
    assert given(page, "page_url", "page_title", "referrer_url") == (
        "https://shop.example/p/1?utm_source=news&utm_medium=email", "Mug", "https://www.google.com/",
    )  # fmt: skip
    assert given(page, "device_type", "os", "browser", "language", "country") == (
        "desktop", "Mac OS X", "Chrome", "German", "Germany",
    )  # fmt: skip


def test_the_campaign_is_that_of_the_event_and_not_the_users_last_one(rows):
    assert given(rows[1], "utm_source", "utm_medium", "utm_campaign") == ("news", "email", None)
    assert json.loads(rows[1]["properties"])["user_properties"]["utm_source"] == "long-ago"


def test_a_time_that_amplitude_has_corrected_is_not_corrected_again(rows):
    # The device's clock was 20 minutes fast.
    assert rows[1]["occurred_at"].isoformat() == "2024-05-01T10:00:00.123000+00:00"
    assert rows[1]["received_at"].isoformat() == "2024-05-01T10:00:01+00:00"
    assert given(rows[1], "clock_skew_ms", "clock_reason") == (None, None)
    assert json.loads(rows[1]["properties"])["client_event_time"] == "2024-05-01 10:20:00.123000"
    # Amplitude leaves a difference of less than a minute.
    assert rows[10]["occurred_at"] == rows[10]["received_at"]


def test_identify_links_the_device_to_the_user(rows):
    assert given(rows[2], "event_type", *IDS) == ("identify", "dev-1", "user-7", "1714557600000")
    assert rows[9]["event_type"] == "group"


def test_revenue_is_price_times_quantity_and_its_verification_is_not_the_same_money_again(rows):
    assert given(rows[3], "revenue", "currency", "is_conversion") == (Decimal("25.98"), "EUR", True)
    assert json.loads(rows[3]["items"]) == [{"sku": "mug", "price": 12.99, "quantity": 2}]
    assert given(rows[4], "revenue", "items", "is_conversion") == (None, None, False)
    assert given(rows[8], "revenue", "is_conversion") == (Decimal("9.9"), False)


def test_an_order_earns_and_its_refund_gives_back(rows):
    assert given(rows[5], "revenue", "currency", "order_id", "is_conversion") == (Decimal("45.5"), "EUR", "o-1", True)
    assert json.loads(rows[5]["items"]) == [
        {"sku": "mug", "name": "Mug", "category": "Kitchen", "price": 15.5, "quantity": 2},
        {"sku": "pen", "name": "Pen", "category": None, "price": 14.5, "quantity": 1},
    ]
    assert json.loads(rows[5]["properties"])["event_properties"]["gift"] is True
    assert given(rows[6], "revenue", "order_id", "is_conversion") == (Decimal("-15.5"), "o-1", False)


def test_orders_of_the_old_ecommerce_specification_are_orders():
    text = "".join(
        json.dumps(
            {"event_type": name, "event_time": "2024-05-01 10:00:00", "device_id": "d", "event_properties": told}
        )
        + "\n"
        for name, told in (("Completed Order", {"total": 9}), ("Refunded Order", {"total": 9}))
    )
    rows, _ = load_text(declare("amplitude"), text)
    assert [given(row, "event_name", "is_conversion", "revenue") for row in rows] == [
        ("Completed Order", True, 9), ("Refunded Order", False, -9),
    ]  # fmt: skip


def test_a_screen_of_a_phone_becomes_a_screen_event(rows):
    assert given(rows[7], "event_type", "page_title", "app_version", "device_type", "os", "browser") == (
        "screen", "Home", "3.1", "mobile", "ios", None,
    )  # fmt: skip
    assert given(rows[10], "event_type", "page_url", "device_type", "os", "browser") == (
        "page", "https://shop.example/", "tablet", "iOS", "Mobile Safari",
    )  # fmt: skip


def test_an_event_of_a_server_is_in_no_session(rows):
    assert given(rows[8], *IDS) == (None, "user-8", None)
    assert rows[8]["unusable"] is None
    assert declare("amplitude").sessions.mode == "supplied"


def test_without_a_uuid_an_event_is_known_by_its_device_and_insert_id(rows):
    assert rows[9]["event_id"] == "dev-1:ins-9"


def test_tables_of_a_warehouse_are_read(tmp_path):
    header = "UUID,EVENT_TYPE,EVENT_TIME,DEVICE_ID,SESSION_ID,EVENT_PROPERTIES,$INSERT_ID\n"
    text = header + 'u-1,Page viewed,2024-05-01 10:00:00.123,dev-1,-1,"{""Page Title"": ""Mug""}",ins-1\n'
    (row,), _ = load_text(declare("amplitude", records="csv"), text)
    assert given(row, "event_id", "event_type", "page_title", *IDS) == ("u-1", "page", "Mug", "dev-1", None, None)
    file = tmp_path / "rows.parquet"
    with duckdb.connect() as connection:
        connection.sql("set TimeZone = 'UTC'")
        connection.sql(
            """select 'dev-1' as device_id, 'ins-1' as insert_id, 'x' as event_type, 1714557600000 as session_id,
            timestamptz '2024-05-01 10:00:00.5+00' as event_time, '{"$revenue": 3.5}' as event_properties"""
        ).write_parquet(str(file))
    (row,), _ = load(declare("amplitude", records="parquet"), file)
    assert given(row, "event_id", "session_id_supplied", "revenue") == ("dev-1:ins-1", "1714557600000", Decimal("3.5"))
    assert row["occurred_at"].isoformat() == "2024-05-01T10:00:00.500000+00:00"
