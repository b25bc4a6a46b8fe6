"""Snowplow's enriched events; what they hold is in fixtures/snowplow.tsv."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from pipeline_assets.sources.formats.snowplow import COLUMNS
from pipeline_assets_tests.formats.landed import FIXTURES, declare, given, load, load_text

VIEW = "a86c42e5-b831-45c8-b706-e214c26b4b3d"
SESSION = "70f65ac2-1e7a-4bbd-8f09-b3c0e9a8c5ad"
GOOD = {
    "app_id": "web",
    "collector_tstamp": "2024-05-01 10:00:00",
    "event": "page_view",
    "event_id": "e",
    "domain_userid": "v",
}


def line(**fields: str) -> str:
    """A line of the enriched format with these fields."""
    values = {**GOOD, **fields}
    assert set(values) <= set(COLUMNS)
    return "\t".join(values.get(column, "") for column in COLUMNS) + "\n"


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    found, booked = load(declare("snowplow"), FIXTURES / "snowplow.tsv")
    assert (booked.lines, booked.landed, booked.blank) == (11, 9, 1)
    assert [(bad.line, bad.reason) for bad in booked.quarantined] == [(10, "field_count: 131 expected, 130 found")]
    assert booked.quarantined[0].raw == b"\t".join([b"shop-web"] * 130)
    return {row["event_id"]: row for row in found}


def test_the_131_fields_stand_in_their_canonical_order():
    places = {0: "app_id", 5: "event", 29: "page_url", 52: "contexts", 58: "unstruct_event", 77: "useragent"}
    places |= {108: "tr_currency", 119: "dvce_sent_tstamp", 122: "derived_contexts", 126: "event_name"}
    assert (len(COLUMNS), len(set(COLUMNS)), COLUMNS[130]) == (131, 131, "true_tstamp")
    assert {place: COLUMNS[place] for place in places} == places


def test_a_page_view_becomes_a_page_event(rows):
    page = rows["c6ef3124-b53a-4b13-a233-0088f79dcbcb"]
    assert given(page, "property", "event_type", "event_name", "anonymous_id", "view_id", "session_id_supplied") == (
        "shop-web", "page", "page_view", "bc2e92ec6c204a14", VIEW, SESSION,
    )  # fmt: skip
    assert page["occurred_at"].isoformat() == "2024-05-01T10:00:00+00:00"
    assert page["received_at"].isoformat() == "2024-05-01T10:00:01.500000+00:00"
    assert given(page, "clock_skew_ms", "clock_reason") == (500, None)
    assert given(page, "utm_source", "utm_medium", "utm_campaign") == ("mail", "email", "may")
    assert given(page, "page_url", "page_title", "referrer_url", "language", "country") == (
        "https://shop.example/p/1?utm_source=mail", "Product 1", "https://www.google.com/", "en-US", "DE",
    )  # fmt: skip


def test_entities_are_arrays_under_the_names_that_the_sdks_give_them(rows):
    rest = json.loads(rows["c6ef3124-b53a-4b13-a233-0088f79dcbcb"]["properties"])
    assert rest["contexts_com_snowplowanalytics_snowplow_web_page_1"] == [{"id": VIEW}]
    assert rest["contexts_nl_basjes_yauaa_context_1"] == [{"deviceClass": "Desktop"}]
    assert not {"contexts", "derived_contexts", "unstruct_event"} & set(rest)
    products = json.loads(rows["self-describing-1"]["properties"])["contexts_com_acme_product_1"]
    assert products == [{"sku": "a"}, {"sku": "b"}]


def test_a_ping_has_the_view_of_its_page_and_how_far_its_window_came(rows):
    ping = rows["ping-1"]
    assert given(ping, "event_type", "view_id", "scroll_depth") == ("ping", VIEW, 50.0)


def test_a_self_describing_event_is_an_object_named_after_its_schema(rows):
    event = rows["self-describing-1"]
    assert given(event, "event_type", "event_name", "user_id") == ("track", "checkoutStep", "u-7")
    # PostgreSQL cannot hold U+0000.
    assert json.loads(event["properties"])["unstruct_event_com_acme_shop_eu_checkout_step_2"] == {
        "step": 3, "note": "ab",
    }  # fmt: skip


def test_a_mapping_reads_entities_and_events_by_the_name_of_their_schema():
    mapping = {
        "order_id": "unstruct_event_com_acme_shop_eu_checkout_step_2.step",
        "page_title": "contexts_com_acme_product_1 ->> '$[1].sku'",
        "language": "raw ->> '$.contexts_com_acme_product_1[0].sku'",
    }
    rows, _ = load(declare("snowplow", mapping=mapping), FIXTURES / "snowplow.tsv")
    assert given(rows[2], "order_id", "page_title", "language") == ("3", "b", "a")


def test_an_order_is_read_from_the_ecommerce_schemas(rows):
    order = rows["order-1"]
    assert given(order, "revenue", "currency", "order_id", "is_conversion") == (
        Decimal("45.500000"), "EUR", "T-1", True,
    )  # fmt: skip
    assert json.loads(order["items"]) == [
        {"sku": "SKU-1", "name": "Mug", "category": "Kitchen", "price": 15.5, "quantity": 2}
    ]


def test_an_order_is_read_from_the_older_transaction_events():
    text = line(event="transaction", event_id="t", tr_orderid="o", tr_total="20.5", tr_currency="USD")
    text += line(event="transaction_item", event_id="i", ti_orderid="o", ti_sku="s", ti_price="10", ti_quantity="2")
    (order, item), _ = load_text(declare("snowplow"), text)
    assert given(order, "revenue", "currency", "order_id", "items") == (Decimal("20.5"), "USD", "o", None)
    assert given(item, "revenue", "order_id") == (None, "o")
    assert json.loads(item["items"])[0]["sku"] == "s"


def test_a_screen_view_of_an_app_takes_its_ids_from_the_session_entity(rows):
    screen = rows["screen-1"]
    assert given(screen, "event_type", "anonymous_id", "session_id_supplied", "view_id", "page_title") == (
        "screen", "phone-1", "session-9", "5d79770b", "Home",
    )  # fmt: skip
    assert given(screen, "os", "app_version", "property") == ("ios", "1.1.0", "shop-app")


def test_structured_events_are_named_by_their_action(rows):
    assert given(rows["struct-1"], "event_type", "event_name") == ("track", "add_to_basket")


def test_json_that_cannot_be_read_does_not_fail_the_line(rows):
    row = rows["broken-contexts"]
    rest = json.loads(row["properties"])
    assert (rest["contexts"], rest["unstruct_event"]) == ('{"data":[{"schema":', "[]")
    # One entity without a schema leaves all of its field as they are.
    assert "not iglu" in rest["derived_contexts"]
    assert row["view_id"] is None


def test_a_true_time_is_corrected_by_no_clock(rows):
    assert rows["true-time"]["occurred_at"].isoformat() == "2024-04-30T09:00:00+00:00"
    assert given(rows["true-time"], "clock_skew_ms", "clock_reason") == (500, None)


@pytest.mark.parametrize("derived", ["", "2024-05-01 09:00:00"])
@pytest.mark.parametrize("true", ["2024-04-01 10:00:30", "2024-05-01 10:00:00.001", "2024-05-01 10:05:00"])
def test_a_true_time_counts_whatever_the_other_clocks_say(true: str, derived: str):
    device = {"dvce_created_tstamp": "2024-05-01 08:00:00", "dvce_sent_tstamp": "2024-05-01 08:00:05"}
    (row,), _ = load_text(declare("snowplow"), line(true_tstamp=true, derived_tstamp=derived, **device))
    assert row["occurred_at"] == datetime.fromisoformat(f"{true}+00:00")
    assert row["clock_reason"] is None
    # What the device said is kept beside it.
    assert row["device_at"] == datetime.fromisoformat("2024-05-01 08:00:00+00:00")


def test_a_true_time_long_after_the_collectors_is_out_of_range():
    found, booked = load_text(declare("snowplow"), line(true_tstamp="2024-05-01 10:05:00.001"))
    assert (found, [bad.reason for bad in booked.quarantined]) == ([], ["out_of_range"])


def test_without_a_true_time_the_device_s_counts_as_far_as_its_clock_was_off():
    device = {"dvce_created_tstamp": "2024-05-01 08:00:00", "dvce_sent_tstamp": "2024-05-01 08:00:05"}
    (row,), _ = load_text(declare("snowplow"), line(**device))
    # Snowplow's derived time: collector - (sent - created).
    assert (row["occurred_at"].isoformat(), row["clock_reason"]) == ("2024-05-01T09:59:55+00:00", "skew")


def test_without_a_device_time_the_collectors_counts():
    (row,), _ = load_text(declare("snowplow"), line())
    assert row["occurred_at"].isoformat() == "2024-05-01T10:00:00+00:00"


def test_an_unknown_kind_of_event_is_kept(rows):
    (unknown,) = [row for row in rows.values() if row["event_type_given"]]
    assert given(unknown, "event_type", "event_type_given") == ("track", "ad_impression")


@pytest.mark.parametrize("field", ["pp_yoffset_max", "doc_height", "br_viewheight"])
def test_a_ping_without_usable_sizes_has_no_scroll_depth(field):
    sizes = {"pp_yoffset_max": "100", "doc_height": "0", "br_viewheight": "100", field: "x"}
    (row,), _ = load_text(declare("snowplow"), line(event="page_ping", **sizes))
    assert given(row, "event_type", "scroll_depth") == ("ping", None)


def test_a_refusal_takes_away_the_entity_that_an_id_came_from():
    session = {"schema": "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2"}
    entities = json.dumps({"data": [{**session, "data": {"userId": "phone-1", "sessionId": "s"}}]})
    (row,), _ = load_text(declare("snowplow", mapping={"consent": "se_label"}), line(contexts=entities, se_label="no"))
    assert given(row, "consent", "anonymous_id", "session_id_supplied") == (False, None, None)
    assert "phone-1" not in row["properties"]


def test_the_sequence_is_the_event_index_of_the_client_session():
    session = {
        "schema": "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2",
        "data": {"userId": "u", "sessionId": "s", "eventIndex": 12},
    }
    contexts = {"schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0", "data": [session]}
    rows, _ = load_text(declare("snowplow"), line(contexts=json.dumps(contexts)) + line())
    assert [row["sequence"] for row in rows] == [12, None]
