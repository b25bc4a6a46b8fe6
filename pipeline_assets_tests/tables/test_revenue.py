from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.revenue import Revenue, build_revenue
from pipeline_assets.transforms.currencies import Rate, Rates
from pipeline_assets_tests.transforms import commerce_reference as plain
from pipeline_assets_tests.transforms.commerce_events import RATES, shop_events
from pipeline_assets_tests.transforms.frames import NOON, Row, columns_of, event, events_frame

TODAY = NOON.date()
EURO = Rates("EUR")


def sale(event_id: str, revenue: str, **values: Any) -> Row:
    """An event with revenue in euros."""
    given: Row = {"event_id": event_id, "revenue": Decimal(revenue), "currency": "EUR"}
    return event(NOON, **given | values)


def revenue_of(rows: Sequence[Row], rates: Rates = EURO) -> list[Row]:
    """The revenue of one day."""
    return Revenue.validate(build_revenue(events_frame(rows), [TODAY], rates=rates)).to_dicts()


def test_revenue_counts_with_and_without_an_order_id_and_a_visitor() -> None:
    rows = [
        sale("1", "10", order_id="A"),
        sale("2", "5", order_id="A"),
        sale("3", "1.5", visitor_id=None),
        sale("4", "-2", order_id="B"),
        sale("5", "-1"),
    ]
    (row,) = revenue_of(rows)
    assert columns_of(row, "orders", "amounts", "refunds", "amounts_without_order") == (1, 5, 2, 2)
    assert columns_of(row, "gross", "refunded", "net") == (Decimal("16.5"), 3, Decimal("13.5"))
    assert columns_of(row, "gross_without_order", "refunded_without_order") == (Decimal("1.5"), 1)


def test_bots_earn_nothing() -> None:
    assert revenue_of([sale("1", "1", is_bot=True)]) == []


def test_a_day_is_converted_once_and_so_rounded_once() -> None:
    rates = Rates("EUR", (Rate("USD", Decimal("0.5")),))
    (row,) = revenue_of([sale(str(number), "0.000001", currency="USD") for number in range(4)], rates)
    assert row["reporting_gross"] == Decimal("0.000002")


def test_amounts_whose_currency_has_no_rate_are_counted() -> None:
    rows = [sale("1", "1", currency="XXX"), sale("2", "-1", currency="XXX"), sale("3", "1", currency=None)]
    got = [columns_of(row, "currency", "amounts_without_rate", "reporting_gross") for row in revenue_of(rows)]
    assert got == [("(none)", 0, 1), ("XXX", 2, None)]


def test_without_a_reporting_currency_no_amount_lacks_a_rate() -> None:
    (row,) = revenue_of([sale("1", "1", currency=None)], Rates())
    assert columns_of(row, "gross", "reporting_gross", "amounts_without_rate") == (1, None, 0)


def test_a_sum_too_large_for_the_column_is_null_and_does_not_fail() -> None:
    (row,) = revenue_of([sale("1", "999999999999"), sale("2", "999999999999"), sale("3", "-999999999999")])
    assert columns_of(row, "gross", "refunded", "net", "reporting_net") == (None, 999999999999, 999999999999, None)


def test_the_revenue_of_nothing_is_an_empty_frame_that_keeps_the_contract() -> None:
    assert Revenue.validate(build_revenue(events_frame([]).lazy(), [], rates=EURO)).is_empty()


@given(shop_events(), st.randoms(use_true_random=False), st.sampled_from([RATES, EURO, Rates()]))
@settings(max_examples=40, deadline=None)
def test_revenue_agrees_with_a_plain_reading_of_the_rules_and_each_day_stands_alone(
    rows: list[Row], random: Random, rates: Rates
) -> None:
    days = sorted({row["event_date"] for row in rows})
    result = Revenue.validate(build_revenue(events_frame(rows).lazy(), days, rates=rates))
    assert result.to_dicts() == plain.revenue(rows, days, rates)
    shuffled = events_frame(random.sample(rows, len(rows)))
    for day in days:
        assert build_revenue(shuffled, [day], rates=rates).equals(result.filter(pl.col("activity_date") == day))
