"""Google Analytics 4's BigQuery export; what the numbered lines hold is in fixtures/ga4.jsonl."""

import json
from decimal import Decimal
from typing import Any

import pytest

from pipeline_assets_tests.formats.landed import FIXTURES, declare, given, load, load_text


@pytest.fixture(scope="module")
def rows() -> dict[int, dict[str, Any]]:
    found, booked = load(declare("ga4"), FIXTURES / "ga4.jsonl")
    assert [(bad.line, bad.reason) for bad in booked.quarantined] == [(8, "unparsable:occurred_at")]
    return {row["line"]: row for row in found}


def test_a_page_view_becomes_a_page_event(rows):
    page = rows[1]
    assert given(page, "property", "event_type", "event_name", "anonymous_id", "session_id_supplied") == (
        "3456789012", "page", "page_view", "1018426817.1714557600", "1714557600",
    )  # fmt: skip
    assert page["occurred_at"].isoformat() == "2024-05-01T10:00:00.123456+00:00"
    assert given(page, "page_url", "page_title", "referrer_url") == (
        "https://shop.example/p/1?utm_source=newsletter", "Product 1", "https://www.google.com/",
    )  # fmt: skip
    assert given(page, "device_type", "os", "browser", "language", "country", "consent") == (
        "desktop", "Windows", "Chrome", "en-us", "Germany", True,
    )  # fmt: skip


def test_the_campaign_is_that_of_the_event_and_not_of_the_users_first_visit(rows):
    assert given(rows[1], "utm_source", "utm_medium", "utm_campaign") == ("newsletter", "email", "may")
    assert json.loads(rows[1]["properties"])["traffic_source"]["source"] == "google"


def test_parameters_are_objects_and_the_first_of_two_equal_keys_counts(rows):
    rest = json.loads(rows[1]["properties"])
    assert rest["event_params"] == {"engagement_time_msec": "1200"}
    assert rest["user_properties"] == {"plan": "pro"}


def test_a_mapping_reads_any_parameter():
    source = declare("ga4", mapping={"view_id": "event_params.view", "order_id": "user_properties.plan"})
    (row,), _ = load_text(
        source,
        '{"event_timestamp":1714557600000000,"event_name":"x","user_pseudo_id":"a","event_params":[{"key":"view",'
        '"value":{"string_value":null,"int_value":7}}],"user_properties":[{"key":"plan","value":{"string_value":"p"}}]}',
    )
    assert given(row, "view_id", "order_id", "property") == ("7", "p", "shop")


def test_a_purchase_earns_and_its_refund_gives_back(rows):
    assert given(rows[2], "revenue", "currency", "order_id", "is_conversion", "user_id") == (
        Decimal("45.500000"), "EUR", "T-1", True, "u-7",
    )  # fmt: skip
    assert json.loads(rows[2]["items"]) == [
        {"sku": "SKU-1", "name": "Mug", "category": "Kitchen", "price": 15.5, "quantity": "2"},
        {"sku": "SKU-2", "name": "Pen", "category": None, "price": 14.5, "quantity": "1"},
    ]
    assert given(rows[3], "revenue", "order_id", "is_conversion") == (Decimal("-15.5"), "T-1", False)


def test_events_of_one_batch_are_in_order_of_page_batch_and_place_in_it():
    batches = [
        {"batch_page_id": 0, "batch_ordering_id": 0, "batch_event_index": 1},
        {"batch_page_id": 0, "batch_ordering_id": 0, "batch_event_index": 2},
        {"batch_page_id": 0, "batch_ordering_id": 1, "batch_event_index": 1},
        {"batch_page_id": 1714557600123, "batch_ordering_id": 1, "batch_event_index": 1},
        {"event_params": [{"key": "batch_page_id", "value": {"int_value": 1714557600124}}]},
    ]
    common = {"event_timestamp": 1714557600000000, "event_name": "x", "user_pseudo_id": "a"}
    lines = "\n".join(
        json.dumps(common | {"stream_id": str(place)} | each) for place, each in enumerate([*batches, {}])
    )
    *found, without = [row["sequence"] for row in load_text(declare("ga4"), lines)[0]]
    assert found == sorted(set(found))
    assert without is None


def test_how_far_a_page_was_scrolled(rows):
    assert rows[4]["scroll_depth"] == 90.0


def test_an_event_without_consent_is_kept_without_any_id(rows):
    assert given(rows[5], "consent", "anonymous_id", "user_id", "session_id_supplied") == (False, None, None, None)
    assert "no consent" not in str(rows[5])


def test_a_screen_view_of_an_app_becomes_a_screen_event(rows):
    assert given(rows[6], "property", "event_type", "page_title", "os", "app_version", "device_type") == (
        "99", "screen", "Home", "Android", "2.1", "mobile",
    )  # fmt: skip


def test_parameters_in_another_shape_stay_as_they_are(rows):
    assert json.loads(rows[7]["properties"])["event_params"] == {"not": "a list"}
    assert json.loads(rows[7]["properties"])["user_properties"] == "neither"


def test_a_declared_property_wins_over_the_stream():
    source = declare("ga4", property="shop.example")
    assert "property" not in source.mapping
    found, _ = load(source, FIXTURES / "ga4.jsonl")
    assert {row["property"] for row in found} == {"shop.example"}
    assert json.loads(found[0]["properties"])["stream_id"] == "3456789012"


def test_sessions_are_those_of_the_tracker():
    assert declare("ga4").sessions.mode == "supplied"
    assert declare("ga4", sessions={"mode": "inferred"}).sessions.mode == "inferred"
