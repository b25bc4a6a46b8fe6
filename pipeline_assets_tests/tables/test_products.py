import json
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.products import Products, build_products
from pipeline_assets.transforms.currencies import Rate, Rates
from pipeline_assets.transforms.items import ITEM_SCHEMA, decode_items
from pipeline_assets_tests.transforms import commerce_reference as plain
from pipeline_assets_tests.transforms.commerce_events import BAD_TEXTS, RATES, item_texts, shop_events
from pipeline_assets_tests.transforms.frames import NOON, Row, columns_of, event, events_frame

TODAY = NOON.date()
EURO = Rates("EUR")


def about(event_id: str, event_name: str, *items: Row, **values: Any) -> Row:
    """An event in euros about these products."""
    given = {"event_id": event_id, "event_name": event_name, "currency": "EUR", "items": json.dumps(items)}
    return event(NOON, **given | values)


def products_of(rows: Sequence[Row], rates: Rates = EURO) -> list[Row]:
    """The products of one day."""
    return Products.validate(build_products(events_frame(rows), [TODAY], rates=rates)).to_dicts()


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("product_viewed", "viewed"),
        ("Product Viewed", "viewed"),
        ("view_item", "viewed"),
        ("PRODUCT_ADDED", "added"),
        (" add to  cart ", "added"),
        ("Product Removed", "removed"),
        ("remove_from_cart", "removed"),
        ("Order Completed", "purchased"),
        ("purchase", "purchased"),
        ("Order Refunded", "refunded"),
        ("refund", "refunded"),
    ],
)
def test_segment_s_and_ga4_s_names_are_known_in_any_case_and_with_spaces(name: str, column: str) -> None:
    (row,) = products_of([about("1", name, {"sku": "a"})])
    columns = ("viewed", "added", "removed", "purchased", "refunded")
    assert {key: row[key] for key in columns} == dict.fromkeys(columns, 0) | {column: 1}


def test_other_events_and_bots_name_no_product() -> None:
    assert (
        products_of(
            [about("1", "checkout_started", {"sku": "a"}), about("2", "purchase", {"sku": "a"}) | {"is_bot": True}]
        )
        == []
    )


def test_revenue_is_price_times_quantity_exactly() -> None:
    rows = [
        about("1", "purchase", {"sku": "a", "price": 0.1, "quantity": 3}, order_id="1"),
        about("2", "purchase", {"item_id": "a", "price": "19.99"}, order_id="1"),
        about("3", "refund", {"product_id": "a", "price": 19.99, "quantity": "1"}),
    ]
    (row,) = products_of(rows)
    assert columns_of(row, "purchased", "purchases", "refunded") == (4, 1, 1)
    assert columns_of(row, "revenue", "refunded_revenue") == (Decimal("20.29"), Decimal("19.99"))


def test_purchases_count_orders_and_a_purchase_without_order_id_is_one_of_its_own() -> None:
    rows = [
        about(str(number), "purchase", {"sku": "a"}, {"sku": "a"}, order_id=order)
        for number, order in enumerate(["1", "1", "2", None, None])
    ]
    assert columns_of(products_of(rows)[0], "purchases", "purchased") == (4, 10)


def test_an_event_views_a_product_once_and_viewers_are_visitors() -> None:
    rows = [
        about("1", "view_item", {"sku": "a"}, {"sku": "a", "quantity": 9}),
        about("2", "view_item", {"sku": "a"}),
        about("3", "view_item", {"sku": "a"}, visitor_id="w"),
        about("4", "view_item", {"sku": "a"}, visitor_id=None),
    ]
    assert columns_of(products_of(rows)[0], "viewed", "viewers") == (4, 2)


def test_an_event_without_items_has_the_product_of_its_properties() -> None:
    rows = [
        event(NOON, event_name="product_viewed", properties='{"sku": "a", "name": "A", "price": 3}'),
        event(NOON, event_name="order_completed", properties='{"product_id": 7, "quantity": 2}', event_id="2"),
        event(NOON, event_name="product_viewed", items="[]", properties='{"sku": "a"}', event_id="3"),
    ]
    got = [columns_of(row, "sku", "name", "viewed", "purchased") for row in products_of(rows)]
    assert got == [("7", None, 0, 2), ("a", "A", 2, 0)]


def test_a_product_goes_by_its_id_else_its_name_else_none() -> None:
    rows = [
        about("1", "add_to_cart", {"sku": "s", "product_id": "p", "name": "N"}, {"item_name": "N"}, {"quantity": 2})
    ]
    assert [columns_of(row, "sku", "added") for row in products_of(rows)] == [("(none)", 2), ("N", 1), ("s", 1)]


def test_an_event_that_names_no_product_counts_for_none_but_an_order_has_no_product() -> None:
    rows = [
        event(NOON, event_name=name, properties='{"name": "Order 5"}', event_id=name)
        for name in ("order_completed", "order_refunded")
    ]
    assert products_of(rows) == []
    (row,) = products_of([event(NOON, event_name="product_viewed")])
    assert columns_of(row, "sku", "viewed", "unreadable") == ("(none)", 1, 0)


def test_name_and_category_are_those_of_the_latest_event_with_one() -> None:
    def at(second: int, event_id: str, **item: str) -> Row:
        return about(event_id, "view_item", {"sku": "a"} | item) | {"occurred_at": NOON + timedelta(seconds=second)}

    rows = [at(1, "2", name="new"), at(1, "1", name="newer?"), at(0, "3", name="old", category="c"), at(2, "4")]
    assert columns_of(products_of(rows)[0], "name", "category") == ("new", "c")


def test_amounts_are_converted_item_by_item_and_those_without_a_rate_are_counted() -> None:
    rates = Rates("EUR", (Rate("USD", Decimal("0.5")),))
    rows = [
        about("1", "purchase", {"sku": "a", "price": 3}, currency="usd"),
        about("2", "purchase", {"sku": "a", "price": 4}, {"sku": "a"}, currency="XXX"),
        about("3", "view_item", {"sku": "a", "price": 4}, currency="XXX"),
    ]
    assert columns_of(products_of(rows, rates)[0], "revenue", "amounts_without_rate") == (Decimal("1.5"), 1)


@pytest.mark.parametrize(
    ("item", "price", "quantity", "unreadable"),
    [
        ({"price": "12.50", "quantity": "3"}, "12.5", 3, 0),
        ({"price": 1e2, "quantity": 2.0}, "100", 2, 0),
        ({"price": -5, "quantity": 0}, "-5", 0, 0),
        ({"price": None, "quantity": ""}, None, 1, 0),
        ({"price": "1,50", "quantity": -1}, None, 1, 2),
        ({"price": float("nan"), "quantity": 0.5}, None, 1, 2),
        ({"price": 1e300, "quantity": 1e30}, None, 1, 2),
        ({"price": 10**12, "quantity": 1_000_001}, None, 1, 2),
        ({"price": {"amount": 1}, "quantity": [1]}, None, 1, 2),
        ({"price": True, "quantity": False}, None, 1, 2),
        ({"price": "0.1234565"}, "0.123456", 1, 0),
        ({"price": "999999999999.999999"}, "999999999999.999999", 1, 0),
    ],
)
def test_numbers_of_any_shape_are_read_and_what_is_none_is_absent_and_counted(
    item: Row, price: str | None, quantity: int, unreadable: int
) -> None:
    (row,) = decode_items(pl.Series([json.dumps([{"sku": "a"} | item])])).to_dicts()
    assert row["price"] == (None if price is None else Decimal(price))
    assert columns_of(row, "quantity", "unreadable") == (quantity, unreadable)


def test_an_amount_too_large_is_absent_and_does_not_fail() -> None:
    (row,) = products_of([about("1", "purchase", {"sku": "a", "price": 999999999999, "quantity": 1000})])
    assert columns_of(row, "revenue", "purchased") == (None, 1000)


@pytest.mark.parametrize("text", [*BAD_TEXTS, '{"sku": ', "[" * 200_000, '{"a":' * 50_000, '"\\ud800"', "\x00"])
def test_text_that_is_no_list_of_products_is_absent_and_never_fails(text: str) -> None:
    decoded = decode_items(pl.Series([text, None]))
    assert decoded.is_empty()
    assert decoded.schema == ITEM_SCHEMA


def test_lists_of_items_that_cannot_be_read_are_counted_and_the_properties_serve() -> None:
    rows = [
        event(NOON, event_name="view_item", items="[", properties='{"sku": "a"}'),
        event(NOON, event_name="purchase", items="[1]", event_id="2"),
        event(NOON, event_name="purchase", items=" [ ] ", event_id="3"),
        event(NOON, event_name="purchase", properties="[", event_id="4"),
    ]
    got = [columns_of(row, "sku", "viewed", "purchases", "unreadable") for row in products_of(rows)]
    assert got == [("(none)", 0, 0, 2), ("a", 1, 0, 0)]


def test_the_products_of_nothing_are_an_empty_frame_that_keeps_the_contract() -> None:
    assert Products.validate(build_products(events_frame([]).lazy(), [TODAY], rates=EURO)).is_empty()


@given(st.lists(item_texts, max_size=8))
@settings(max_examples=30, deadline=None)
def test_items_agree_with_a_plain_reading_of_their_json(texts: list[str | None]) -> None:
    decoded = decode_items(pl.Series(texts, dtype=pl.String))
    assert decoded.schema == ITEM_SCHEMA
    for text in set(texts) - {None}:
        found = decoded.filter(pl.col("text") == text).sort("position").drop("text", "position").to_dicts()
        assert found == plain.products_in(text)


@given(shop_events(), st.randoms(use_true_random=False), st.sampled_from([RATES, Rates()]))
@settings(max_examples=30, deadline=None)
def test_products_agree_with_a_plain_reading_of_the_rules_and_each_day_stands_alone(
    rows: list[Row], random: Random, rates: Rates
) -> None:
    days = sorted({row["event_date"] for row in rows})
    result = Products.validate(build_products(events_frame(rows).lazy(), days, rates=rates))
    assert result.to_dicts() == plain.products(rows, days, rates)
    shuffled = events_frame(random.sample(rows, len(rows)))
    for day in days:
        assert build_products(shuffled, [day], rates=rates).equals(result.filter(pl.col("activity_date") == day))
