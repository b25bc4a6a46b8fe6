"""What a day adds to each order."""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, money, text, utc
from pipeline_assets.key_texts import capped_key
from pipeline_assets.tables.spec import EVENTS, Input, Inputs, TableSpec, sums
from pipeline_assets.transforms.currencies import MONEY, NO_CURRENCY
from pipeline_assets.transforms.items import decode_items
from pipeline_assets.transforms.ordering import ORDER_COLUMNS, event_order, first_known

_PARTS = ("events.order_id", "events.revenue")


class OrderDays(dy.Schema):
    """The part of an order that lies on a day: sums, minima and maxima, from which orders are put together.

    An event belongs to an order if it has an order id and a revenue; a negative revenue is a refund. Two events with
    the same order id are two parts, also if their revenue is equal: what is delivered twice is gone by its event id
    before. Bots are left out.
    """

    activity_date = dy.Date(
        primary_key=True,
        description="Calendar day in the reporting time zone",
        metadata=made_of("events.event_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("events.property"))
    order_id = text("Id of the order", primary_key=True, metadata=made_of("events.order_id"))
    currency = text(
        "Currency of the amounts, upper case; (none) where the events give none",
        primary_key=True,
        metadata=made_of("events.currency"),
    )
    first_at = utc("First event of the order that day", metadata=made_of("events.occurred_at", *_PARTS))
    last_at = utc("Last event of the order that day", metadata=made_of("events.occurred_at", *_PARTS))
    ordered_at = utc(
        "First event that day that is not a refund", nullable=True, metadata=made_of("events.occurred_at", *_PARTS)
    )
    refunded_at = utc("First refund that day", nullable=True, metadata=made_of("events.occurred_at", *_PARTS))
    order_events = dy.Int64(min=0, description="Events that are not refunds", metadata=made_of(*_PARTS))
    refund_events = dy.Int64(min=0, description="Refunds", metadata=made_of(*_PARTS))
    quantity = dy.Int64(
        min=0,
        description="Pieces in the items of the events that are not refunds; 0 where they list none",
        metadata=made_of("events.items", *_PARTS),
    )
    gross = money(
        "Sum of revenue that is not negative; null if too large", nullable=True, min=0, metadata=made_of(*_PARTS)
    )
    refunded = money(
        "Sum of negative revenue, as a positive amount; null if too large",
        nullable=True,
        min=0,
        metadata=made_of(*_PARTS),
    )
    visitor_id = text(
        "Visitor of the first event with one", nullable=True, metadata=made_of("events.visitor_id", *_PARTS)
    )
    user_id = text("User id of the first event with one", nullable=True, metadata=made_of("events.user_id", *_PARTS))


_KEY = ("activity_date", "property", "order_id", "currency")
_EVENT_COLUMNS = (*ORDER_COLUMNS, "revenue", "visitor_id", "user_id", "items")


def build_order_days(events: pl.LazyFrame | pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """What `days` add to orders, per `OrderDays`.

    An event belongs to an order if it has an order id and a revenue, whatever its name; a negative revenue is a refund.
    Bots are left out; events without a visitor (refused consent) are not, for an order needs none. Two events of one
    order on a day are added, also where their revenue is equal: duplicates are gone by their event ids before, and what
    two event ids tell twice is told twice by the source. Which event is the first `event_order` says.

    Reads the events of `days` and nothing else. All columns are minima, maxima and sums, so that no order of days or
    batches matters.

    Args:
        events: at least all events (`Events`) of `days`.
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
        .group_by(_KEY)
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
        table = table.join(first_known(in_order, column, _KEY), on=_KEY, how="left")
    return table.select(OrderDays.column_names()).sort(_KEY)


def build(inputs: Inputs, days: Sequence[date], parameters: None) -> pl.DataFrame:  # noqa: ARG001 - has none
    """See `build_order_days`."""
    return build_order_days(inputs[EVENTS], days)


order_days = TableSpec(
    name="order_days",
    contract=OrderDays,
    partition_column="activity_date",
    store="lake",
    group="commerce",
    figures=sums("order_events", "quantity"),
    inputs=(Input(EVENTS),),
    build=build,
)
"""The table."""
