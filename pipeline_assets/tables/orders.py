"""Orders, put together from what each day adds to them."""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, money, text, utc
from pipeline_assets.tables.checking import Reader, Rows, same
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import IncrementalKey, Input, Inputs, TableSpec
from pipeline_assets.transforms.currencies import MONEY, NO_CURRENCY, Rates, in_reporting_currency
from pipeline_assets.transforms.ordering import first_known

_GROSS = ("order_days.gross",)
_REFUNDED = ("order_days.refunded",)
_RATE = ("order_days.currency", "order_days.activity_date")


class Orders(dy.Schema):
    """One row per order and currency, over all days: what was ordered, what was paid back and what is left.

    Amounts in the reporting currency are converted part by part, by the rate of the day of each part. Bots are left
    out.
    """

    property = text("Site, app or fleet", primary_key=True, metadata=made_of("order_days.property"))
    order_id = text("Id of the order", primary_key=True, metadata=made_of("order_days.order_id", index=True))
    currency = text(
        "Currency of the amounts, upper case; (none) where the events give none",
        primary_key=True,
        metadata=made_of("order_days.currency"),
    )
    order_date = dy.Date(
        nullable=True,
        description="Calendar day of ordered_at in the reporting time zone",
        metadata=made_of("order_days.activity_date", "order_days.ordered_at", index=True),
    )
    ordered_at = utc(
        "First event that is not a refund; null where only refunds are known",
        nullable=True,
        metadata=made_of("order_days.ordered_at"),
    )
    refunded_at = utc("First refund", nullable=True, metadata=made_of("order_days.refunded_at"))
    first_at = utc("First event, a refund or not", metadata=made_of("order_days.first_at"))
    last_at = utc("Last event, a refund or not", metadata=made_of("order_days.last_at", index=True))
    visitor_id = text(
        "Visitor of the first event with one",
        nullable=True,
        metadata=made_of("order_days.visitor_id", "order_days.activity_date", index=True),
    )
    user_id = text(
        "User id of the first event with one",
        nullable=True,
        metadata=made_of("order_days.user_id", "order_days.activity_date", index=True),
    )
    order_events = dy.Int64(
        min=0, description="Events that are not refunds", metadata=made_of("order_days.order_events")
    )
    refunds = dy.Int64(min=0, description="Refunds", metadata=made_of("order_days.refund_events"))
    quantity = dy.Int64(
        min=0, description="Pieces ordered; 0 where no event lists them", metadata=made_of("order_days.quantity")
    )
    gross = money("Amount ordered; null if too large", nullable=True, min=0, metadata=made_of(*_GROSS))
    refunded = money("Amount paid back; null if too large", nullable=True, min=0, metadata=made_of(*_REFUNDED))
    net = money("gross - refunded", nullable=True, metadata=made_of(*_GROSS, *_REFUNDED))
    reporting_gross = money(
        "gross in the reporting currency; null where a part has no rate",
        nullable=True,
        metadata=made_of(*_GROSS, *_RATE),
    )
    reporting_refunded = money(
        "refunded in the reporting currency; null where a part has no rate",
        nullable=True,
        metadata=made_of(*_REFUNDED, *_RATE),
    )
    reporting_net = money(
        "reporting_gross - reporting_refunded", nullable=True, metadata=made_of(*_GROSS, *_REFUNDED, *_RATE)
    )
    is_refunded = dy.Bool(
        description="Whether at least as much was paid back as was ordered", metadata=made_of(*_GROSS, *_REFUNDED)
    )
    is_partly_refunded = dy.Bool(
        description="Whether something was paid back, but less than was ordered", metadata=made_of(*_GROSS, *_REFUNDED)
    )


_KEY = ("property", "order_id", "currency")


def build_orders(order_days: pl.LazyFrame | pl.DataFrame, *, rates: Rates) -> pl.DataFrame:
    """All orders, per `Orders`.

    An order of which at least as much was paid back as was ordered is refunded, one of which less was paid back is
    partly refunded; a refund whose order is not known counts as refunded. What a day adds is converted by the rate of
    that day, and the amounts in the reporting currency are null where one part has no rate.

    Reads all order days, which are a fraction of the events, and nothing else; where only some days have changed, the
    rows of the orders on them.

    Args:
        order_days: all rows of `OrderDays`.
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
        table = table.join(first_known(in_order, column, _KEY), on=_KEY, how="left")
    return table.select(Orders.column_names()).sort(_KEY)


def _complete_sum(column: str) -> pl.Expr:
    """Sum of a column; null where one of its values is unknown or the sum is too large."""
    return pl.when(pl.col(column).null_count() == 0).then(pl.col(column).sum()).cast(MONEY, strict=False).alias(column)


def _difference(column: str, other: str) -> pl.Expr:
    wide = pl.Decimal(38, 6)
    return (pl.col(column).cast(wide) - pl.col(other).cast(wide)).cast(MONEY, strict=False)


def build(inputs: Inputs, days: Sequence[date], parameters: Rates) -> pl.DataFrame:  # noqa: ARG001 - of all days
    """See `build_orders`."""
    return build_orders(inputs["order_days"], rates=parameters)


def _of_order_days(tables: Reader) -> Rows:
    return tables.lake(
        "order_days",
        "select (property, currency), (count(distinct order_id), sum(gross), sum(refunded)) from files group by all",
        all_days=True,
    )


def _of_orders(tables: Reader) -> Rows:
    return {
        row[:2]: row[2:]
        for row in tables.rows(
            "select property, currency, count(*), sum(gross), sum(refunded) from marts.orders group by 1, 2"
        )
    }


def orders(declared: Declarations) -> TableSpec:
    """The table, with the declared rates."""
    return TableSpec(
        name="orders",
        contract=Orders,
        group="commerce",
        inputs=(Input("order_days"),),
        build=build,
        parameters=declared.rates,
        incremental=IncrementalKey.by("order_id", "order_days", first="first_at", last="last_at"),
        checks=(
            same(
                "matches_order_days",
                "What was ordered and paid back, per property and currency, equals the sums over all days.",
                expected=_of_order_days,
                actual=_of_orders,
            ),
        ),
    )
