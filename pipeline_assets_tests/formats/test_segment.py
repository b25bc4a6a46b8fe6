"""Segment's common fields and ecommerce events; what the numbered lines hold is in fixtures/segment.jsonl."""

import json
from decimal import Decimal
from typing import Any

import pytest

from pipeline_assets.sources.formats.ecommerce import OLD_NAMES
from pipeline_assets_tests.formats.landed import FIXTURES, declare, given, load, load_text


def event_named(name: str, /, **properties: Any) -> str:
    """A line with a tracked event."""
    event = {"messageId": "1", "type": "track", "event": name, "userId": "u", "timestamp": "2024-05-01T10:00:00Z"}
    return json.dumps(event | {"properties": properties}) + "\n"


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    found, booked = load(declare("segment"), FIXTURES / "segment.jsonl")
    assert (booked.lines, booked.landed, booked.blank) == (13, 10, 1)
    assert [(bad.line, bad.reason) for bad in booked.quarantined] == [(12, "missing:occurred_at"), (13, "not_json")]
    return {row["event_id"]: row for row in found}


def test_a_page_call_becomes_a_page_event_with_its_campaign_and_visitor(rows):
    page = rows["022bb90c-bbac-11e4-8dfc-aa07a5b093db"]
    assert given(page, "property", "event_type", "event_name", "anonymous_id", "user_id") == (
        "shop", "page", "page", "507f191e810c19729de860ea", None,
    )  # fmt: skip
    assert given(page, "page_url", "page_title", "referrer_url") == (
        "https://shop.example/academy/", "Analytics Academy", "https://news.example/",
    )  # fmt: skip
    assert given(page, "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content") == (
        "Newsletter", "email", "TPS Innovation Newsletter", "tps reports", "image link",
    )  # fmt: skip
    assert given(page, "app_version", "language", "clock_skew_ms", "clock_reason") == ("545", "en-US", 500, None)
    # The device's own time counts, not the one that Segment corrected.
    assert page["occurred_at"].isoformat() == "2024-05-01T10:00:00+00:00"
    rest = json.loads(page["properties"])
    assert rest["integrations"] == {"All": True}
    assert "title" not in rest["context"]["page"]


def test_an_order_keeps_its_products(rows):
    order = rows["m-order"]
    assert given(order, "event_type", "event_name", "user_id") == ("track", "Order Completed", "97980cfea0067")
    assert given(order, "revenue", "currency", "order_id", "is_conversion") == (
        Decimal("25.000000"), "USD", "50314b8e", True,
    )  # fmt: skip
    assert json.loads(order["items"]) == [
        {"sku": "45790-32", "name": "Monopoly: 3rd Edition", "category": "Games", "price": 19, "quantity": 1},
        {"sku": "505bd76785", "name": "Uno", "category": None, "price": 3, "quantity": 2},
    ]
    assert json.loads(order["properties"])["properties"]["coupon"] == "hasbros"


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("Completed Order", "Order Completed"),
        ("completed order", "Order Completed"),
        ("Completed_Order", "order_completed"),
        ("Viewed Product", "Product Viewed"),
        ("viewed_product_category", "product_list_viewed"),
        ("Order Completed", "Order Completed"),
        ("ordercompleted", "ordercompleted"),
        ("Completed Orders", "Completed Orders"),
    ],
)
def test_an_event_of_the_old_specification_has_its_new_name_and_keeps_the_old_one(given_name: str, name: str):
    (row,), _ = load_text(declare("segment"), event_named(given_name))
    assert row["event_name"] == name
    assert json.loads(row["properties"])["event"] == given_name


def test_every_old_name_says_what_its_new_name_says():
    properties = {"revenue": 5, "total": 7, "orderId": "o", "id": "p", "name": "Uno", "price": 3}
    for old, new in OLD_NAMES.items():
        rows = [load_text(declare("segment"), event_named(name, **properties))[0][0] for name in (old, new)]
        assert rows[0]["event_name"] == rows[1]["event_name"] == new
        columns = ("is_conversion", "revenue", "order_id", "items")
        assert given(rows[0], *columns) == given(rows[1], *columns), old


def test_an_order_of_the_old_specification_is_an_order():
    text = event_named("Completed Order", orderId="50314b8e", revenue=25, products=[{"id": "505bd767", "price": 3}])
    (order,), _ = load_text(declare("segment"), text)
    assert given(order, "is_conversion", "revenue", "order_id") == (True, Decimal(25), "50314b8e")
    assert json.loads(order["items"])[0]["sku"] == "505bd767"


def test_a_refund_is_negative_and_the_steps_around_an_order_have_no_revenue(rows):
    assert given(rows["m-refund"], "revenue", "order_id", "is_conversion") == (Decimal("-27.5"), "50314b8e", False)
    assert rows["m-checkout"]["revenue"] is None


def test_an_event_about_one_product_has_one_item_and_an_unreadable_revenue_is_none(rows):
    added = rows["m-added"]
    assert json.loads(added["items"]) == [
        {"sku": "507f1f77", "name": "Monopoly", "category": None, "price": 18.99, "quantity": 2}
    ]
    assert added["revenue"] is None
    assert json.loads(added["properties"])["properties"]["revenue"] == "a lot"


def test_identify_and_alias_link_an_anonymous_id_to_the_user(rows):
    columns = ("event_type", "anonymous_id", "user_id")
    assert given(rows["m-identify"], *columns) == ("identify", "507f191e810c19729de860ea", "97980cfea0067")
    assert given(rows["m-alias"], *columns) == ("alias", "39239-239239", "97980cfea0067")
    assert rows["m-group"]["event_type"] == "group"


def test_a_screen_call_of_an_app_becomes_a_screen_event(rows):
    screen = rows["m-screen"]
    assert given(screen, "event_type", "event_name", "page_title", "os", "app_version", "session_id_supplied") == (
        "screen", "screen", "Home", "iOS", "1.0.2", "1714557600",
    )  # fmt: skip


def test_a_type_that_nobody_knows_is_kept(rows):
    assert given(rows["m-charge"], "event_type", "event_type_given") == ("track", "charge")


@pytest.mark.parametrize("name", ["rudderstack", "jitsu"])
def test_formats_derived_from_segment_s_are_read_alike(name):
    relatives, _ = load(declare(name), FIXTURES / "segment.jsonl")
    segments, _ = load(declare("segment"), FIXTURES / "segment.jsonl")
    assert relatives == segments


def test_what_is_declared_wins_column_by_column():
    source = declare(
        "segment",
        mapping={"event_name": "upper(event)", "page_title": "NULL", "consent": "context.consent.analytics"},
        ids={"email_hash": "sha256(lower(traits.email))"},
        sessions={"timeout_minutes": 60},
    )
    assert (source.sessions.mode, source.sessions.timeout_minutes) == ("inferred", 60)
    (row,), _ = load_text(
        source,
        '{"messageId":"1","type":"track","event":"Sign Up","anonymousId":"a","timestamp":"2024-05-01T10:00:00Z",'
        '"context":{"page":{"title":"T"},"consent":{"analytics":true}},"traits":{"email":"A@x"}}\n',
    )
    assert given(row, "event_name", "page_title", "consent", "anonymous_id") == ("SIGN UP", None, True, "a")
    assert list(json.loads(row["further_ids"])) == ["email_hash"]


def test_an_array_of_events_is_read_where_it_is_declared():
    text = '[{"messageId":"1","type":"track","event":"x","userId":"u","timestamp":"2024-05-01T10:00:00Z"}]'
    (row,), _ = load_text(declare("segment", records="json_array"), text)
    assert given(row, "event_id", "user_id") == ("1", "u")
