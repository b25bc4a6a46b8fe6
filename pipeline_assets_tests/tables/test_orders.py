from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.order_days import OrderDays, build_order_days
from pipeline_assets.tables.orders import Orders, build_orders
from pipeline_assets.tables.revenue import build_revenue
from pipeline_assets.transforms.currencies import Rate, Rates
from pipeline_assets_tests.transforms import commerce_reference as plain
from pipeline_assets_tests.transforms.commerce_events import RATES, shop_events
from pipeline_assets_tests.transforms.frames import NOON, Row, columns_of, days_between, event, events_frame

EURO = Rates("EUR")
TODAY = NOON.date()
DAY = timedelta(days=1)


def part(revenue: float, after: timedelta = timedelta(0), **values: Any) -> Row:
    """An event of order 1 in euros."""
    given: Row = {"order_id": "1", "currency": "EUR", "revenue": Decimal(str(revenue))}
    return event(NOON + after, **given | values)


def orders_of(rows: Sequence[Row], rates: Rates = EURO) -> list[Row]:
    """All orders of these events."""
    dates = [row["event_date"] for row in rows]
    order_days = OrderDays.validate(build_order_days(events_frame(rows), days_between(min(dates), max(dates))))
    return Orders.validate(build_orders(order_days, rates=rates)).to_dicts()


def test_an_order_is_put_together_over_its_days() -> None:
    rows = [part(100), part(-30, 3 * DAY, visitor_id="clerk"), part(-10, 9 * DAY)]
    (order,) = orders_of(rows)
    assert columns_of(order, "gross", "refunded", "net", "refunds", "order_date") == (100, 40, 60, 2, TODAY)
    assert columns_of(order, "ordered_at", "refunded_at", "visitor_id") == (NOON, NOON + 3 * DAY, "v")
    assert columns_of(order, "is_refunded", "is_partly_refunded") == (False, True)


def test_an_order_of_which_all_was_paid_back_is_refunded() -> None:
    (order,) = orders_of([part(100), part(-100, DAY)])
    assert columns_of(order, "net", "is_refunded", "is_partly_refunded") == (0, True, False)


def test_a_refund_whose_order_is_not_known_counts_as_refunded() -> None:
    (order,) = orders_of([part(-5)])
    assert columns_of(order, "order_date", "ordered_at", "gross", "net", "is_refunded") == (None, None, 0, -5, True)


def test_a_free_order_is_an_order() -> None:
    (order,) = orders_of([part(0)])
    assert columns_of(order, "order_events", "gross", "is_refunded") == (1, 0, False)


def test_two_events_of_one_order_with_equal_revenue_are_two_parts() -> None:
    (order,) = orders_of([part(7, event_id="1"), part(7, event_id="2")])
    assert columns_of(order, "order_events", "gross") == (2, 14)


def test_each_currency_of_an_order_has_a_row_and_none_is_a_currency() -> None:
    rows = [part(1), part(2, currency=None, event_id="2"), part(3, currency="USD", event_id="3")]
    assert [columns_of(row, "currency", "gross") for row in orders_of(rows)] == [("(none)", 2), ("EUR", 1), ("USD", 3)]


def test_each_part_is_converted_by_the_rate_of_its_day() -> None:
    rates = Rates("EUR", (Rate("USD", Decimal("0.5")), Rate("USD", Decimal("0.25"), TODAY + DAY)))
    (order,) = orders_of([part(100, currency="USD"), part(-100, DAY, currency="USD")], rates)
    assert columns_of(order, "reporting_gross", "reporting_refunded", "reporting_net") == (50, 25, 25)


def test_an_order_with_a_part_without_a_rate_has_no_amount_in_the_reporting_currency() -> None:
    rates = Rates("EUR", (Rate("USD", Decimal("0.5"), TODAY + DAY),))
    (order,) = orders_of([part(100, currency="USD"), part(-100, DAY, currency="USD")], rates)
    assert columns_of(order, "gross", "reporting_gross", "reporting_refunded", "reporting_net") == (100, *[None] * 3)


def test_events_without_order_id_or_revenue_and_of_bots_belong_to_no_order() -> None:
    rows = [part(1, order_id=None), part(1, is_bot=True, event_id="b"), part(1, event_id="c") | {"revenue": None}]
    assert orders_of(rows) == []


def test_an_order_needs_no_visitor() -> None:
    (order,) = orders_of([part(1, visitor_id=None), part(1, DAY, visitor_id="w", user_id="u")])
    assert columns_of(order, "visitor_id", "user_id", "gross") == ("w", "u", 2)


def test_visitor_and_user_are_those_of_the_first_event_with_one_by_time_arrival_and_id() -> None:
    rows = [
        part(1, event_id="1", visitor_id="late", received_at=NOON + DAY),
        part(1, event_id="2", visitor_id="first", received_at=NOON),
        part(1, event_id="0", visitor_id="unknown arrival", user_id="only user"),
    ]
    (order,) = orders_of(rows)
    assert columns_of(order, "visitor_id", "user_id") == ("first", "only user")


def test_the_order_of_the_days_does_not_matter() -> None:
    rows = [part(1, number * DAY, visitor_id=f"v{number}", user_id=f"u{number}") for number in range(5)]
    days = build_order_days(events_frame(rows), days_between(TODAY, TODAY + 4 * DAY))
    forth, back = (build_orders(frame, rates=EURO) for frame in (days, days.reverse()))
    assert forth.equals(back)
    assert forth.select("visitor_id", "user_id", "order_date").row(0) == ("v0", "u0", TODAY)


def test_pieces_are_counted_of_orders_and_not_of_refunds() -> None:
    items = '[{"sku": "a", "quantity": 2}, {"sku": "b"}]'
    rows = [part(1, items=items), part(-1, event_id="2", items=items), part(1, event_id="3", items="[")]
    assert orders_of(rows)[0]["quantity"] == 3


def test_an_amount_too_large_for_the_column_is_null_and_does_not_fail() -> None:
    largest = 999999999999
    (order,) = orders_of([part(largest), part(largest, timedelta(1)), part(-1, timedelta(2))])
    assert columns_of(order, "gross", "refunded", "net", "is_partly_refunded") == (None, 1, None, False)


def test_orders_of_nothing_are_empty_frames_that_keep_the_contract() -> None:
    order_days = OrderDays.validate(build_order_days(events_frame([]), [TODAY]))
    assert order_days.is_empty()
    assert Orders.validate(build_orders(order_days, rates=EURO)).is_empty()


@given(shop_events(), st.randoms(use_true_random=False), st.sampled_from([RATES, EURO, Rates()]))
@settings(max_examples=40, deadline=None)
def test_orders_agree_with_a_plain_reading_of_the_rules_in_any_order_of_rows_and_days(
    rows: list[Row], random: Random, rates: Rates
) -> None:
    days = sorted({row["event_date"] for row in rows})
    order_days = OrderDays.validate(build_order_days(events_frame(rows).lazy(), days))
    assert order_days.to_dicts() == plain.order_days(rows, days)
    orders = Orders.validate(build_orders(order_days.lazy(), rates=rates))
    assert orders.to_dicts() == plain.orders(rows, days, rates)
    shuffled = events_frame(random.sample(rows, len(rows)))
    daily = [build_order_days(shuffled, [day]) for day in random.sample(days, len(days))]
    apart = pl.concat([OrderDays.create_empty(), *daily])
    assert apart.sort("activity_date", "property", "order_id", "currency").equals(order_days)
    assert build_orders(apart, rates=rates).equals(orders)


@given(shop_events())
@settings(max_examples=25, deadline=None)
def test_gross_of_all_orders_is_gross_of_all_revenue_with_an_order_id(rows: list[Row]) -> None:
    rows = [row for row in rows if row["revenue"] is None or abs(row["revenue"]) < 1000]
    days = sorted({row["event_date"] for row in rows})
    orders = build_orders(build_order_days(events_frame(rows), days), rates=RATES)
    revenue = build_revenue(events_frame(rows), days, rates=RATES)
    for part_of in ("gross", "refunded"):
        expected = revenue.group_by("property", "currency").agg(
            (pl.col(part_of) - pl.col(f"{part_of}_without_order")).sum()
        )
        found = orders.group_by("property", "currency").agg(pl.col(part_of).sum())
        both = expected.join(found, on=["property", "currency"], how="left", suffix="_found").fill_null(0)
        assert both.filter(pl.col(part_of) != pl.col(f"{part_of}_found")).is_empty()
        assert found.join(expected, on=["property", "currency"], how="anti").is_empty()
