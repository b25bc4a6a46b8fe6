"""Orders, put together from what each day adds to them."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from pipeline_assets.contracts.keys import capped_key
from pipeline_assets.contracts.order_days import OrderDays
from pipeline_assets.contracts.orders import Orders
from pipeline_assets.transforms.currencies import MONEY, NO_CURRENCY, Rates, in_reporting_currency
from pipeline_assets.transforms.items import decode_items
from pipeline_assets.transforms.ordering import ORDER_COLUMNS, event_order

_KEY = ("property", "order_id", "currency")
_DAY_KEY = ("activity_date", *_KEY)
_EVENT_COLUMNS = (*ORDER_COLUMNS, "revenue", "visitor_id", "user_id", "items")


def build_order_days(events: pl.LazyFrame | pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """What `days` add to orders, per `contracts.OrderDays`.

    An event belongs to an order if it has an order id and a revenue, whatever its name; a negative revenue is a refund.
    Bots are left out; events without a visitor (refused consent) are not, for an order needs none. Two events of one
    order on a day are added, also where their revenue is equal: duplicates are gone by their event ids before, and what
    two event ids tell twice is told twice by the source. Which event is the first `event_order` says.

    Reads the events of `days` and nothing else. All columns are minima, maxima and sums, so that no order of days or
    batches matters.

    Args:
        events: at least all events (`contracts.Events`) of `days`.
        days: activity dates to build.
    """
    revenue = pl.col("revenue")
    rows = (
        events.lazy()
        .filter(
            pl.col("event_date").is_in(sorted(set(days))),
            ~pl.col("is_bot"),
            revenue.is_not_null(),
            pl.col("order_id").is_not_null(),
        )
        .select(
            "property",
            "order_id",
            *_EVENT_COLUMNS,
            activity_date=pl.col("event_date"),
            currency=pl.col("currency").fill_null(NO_CURRENCY),
            is_refund=revenue < 0,
        )
        .with_columns(capped_key(OrderDays))
        .collect()
    )
    pieces = decode_items(rows["items"]).group_by(items="text").agg(pl.col("quantity").sum())
    order, refund = ~pl.col("is_refund"), pl.col("is_refund")
    table = (
        rows.join(pieces, on="items", how="left")
        .group_by(_DAY_KEY)
        .agg(
            first_at=pl.col("occurred_at").min(),
            last_at=pl.col("occurred_at").max(),
            ordered_at=pl.col("occurred_at").filter(order).min(),
            refunded_at=pl.col("occurred_at").filter(refund).min(),
            order_events=order.sum().cast(pl.Int64),
            refund_events=refund.sum().cast(pl.Int64),
            quantity=pl.col("quantity").filter(order).sum().cast(pl.Int64),
            gross=revenue.filter(order).sum().cast(MONEY, strict=False),
            refunded=(-revenue.filter(refund)).sum().cast(MONEY, strict=False),
        )
    )
    in_order = rows.sort(event_order(), nulls_last=True)
    for column in ("visitor_id", "user_id"):
        table = table.join(_first(in_order, column, _DAY_KEY), on=_DAY_KEY, how="left")
    return table.select(OrderDays.column_names()).sort(_DAY_KEY)


def build_orders(order_days: pl.LazyFrame | pl.DataFrame, *, rates: Rates) -> pl.DataFrame:
    """All orders, per `contracts.Orders`.

    An order of which at least as much was paid back as was ordered is refunded, one of which less was paid back is
    partly refunded; a refund whose order is not known counts as refunded. What a day adds is converted by the rate of
    that day, and the amounts in the reporting currency are null where one part has no rate.

    Reads all order days, which are a fraction of the events, and nothing else; where only some days have changed, the
    rows of the orders on them.

    Args:
        order_days: all rows of `contracts.OrderDays`.
        rates: the reporting currency and its rates.
    """
    # A file of each day is a chunk of its own, and what is computed once per chunk costs more than the rows.
    days = order_days.lazy().collect().rechunk()
    given = pl.when(pl.col("currency") != NO_CURRENCY).then("currency")
    parts = ("gross", "refunded")
    reporting = tuple(f"reporting_{part}" for part in parts)
    table = (
        days.with_columns(
            in_reporting_currency(pl.col(part), given, pl.col("activity_date"), rates).alias(f"reporting_{part}")
            for part in parts
        )
        .group_by(_KEY)
        .agg(
            pl.col("first_at", "ordered_at", "refunded_at").min(),
            pl.col("last_at").max(),
            pl.col("order_events", "quantity").sum(),
            *(_complete_sum(part) for part in (*parts, *reporting)),
            order_date=pl.col("activity_date").filter(pl.col("order_events") > 0).min(),
            refunds=pl.col("refund_events").sum(),
        )
        .with_columns(
            net=_difference("gross", "refunded"),
            reporting_net=_difference("reporting_gross", "reporting_refunded"),
        )
    )
    paid_back, ordered = pl.col("refunded"), pl.col("gross")
    table = table.with_columns(
        is_refunded=((paid_back > 0) & (paid_back >= ordered)).fill_null(value=False),
        is_partly_refunded=((paid_back > 0) & (paid_back < ordered)).fill_null(value=False),
    )
    in_order = days.sort("activity_date")
    for column in ("visitor_id", "user_id"):
        table = table.join(_first(in_order, column, _KEY), on=_KEY, how="left")
    return table.select(Orders.column_names()).sort(_KEY)


def _first(in_order: pl.DataFrame, column: str, by: Sequence[str]) -> pl.DataFrame:
    """The first value of a column that is not null, for each group that has one."""
    named = in_order.filter(pl.col(column).is_not_null()).select(*by, column)
    return named.unique(by, keep="first", maintain_order=True)


def _complete_sum(column: str) -> pl.Expr:
    """Sum of a column; null where one of its values is unknown or the sum is too large."""
    return pl.when(pl.col(column).null_count() == 0).then(pl.col(column).sum()).cast(MONEY, strict=False).alias(column)


def _difference(column: str, other: str) -> pl.Expr:
    wide = pl.Decimal(38, 6)
    return (pl.col(column).cast(wide) - pl.col(other).cast(wide)).cast(MONEY, strict=False)
