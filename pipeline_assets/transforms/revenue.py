"""Revenue of each day."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from pipeline_assets.contracts.keys import capped_key
from pipeline_assets.contracts.revenue import Revenue
from pipeline_assets.transforms.currencies import MONEY, NO_CURRENCY, Rates, in_reporting_currency, lacks_rate

_KEY = ("activity_date", "property", "currency")


def build_revenue(events: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, rates: Rates) -> pl.DataFrame:
    """Revenue of `days` by currency, per `contracts.Revenue`; a currency without an amount has no row.

    Every event with a revenue counts, whatever its name, with or without an order id or a visitor; a negative revenue
    is a refund. Bots are left out. Amounts are added up in their own currency and the sum is converted once, so that it
    is rounded once.

    Reads the events of `days` and nothing else.

    Args:
        events: at least all events (`contracts.Events`) of `days`.
        days: activity dates to build.
        rates: the reporting currency and its rates.
    """
    revenue, no_order = pl.col("revenue"), pl.col("order_id").is_null()
    is_refund = revenue < 0
    converted = [
        in_reporting_currency(pl.col(name), pl.col("given"), pl.col("activity_date"), rates).alias(f"reporting_{name}")
        for name in ("gross", "refunded")
    ]
    table = (
        events.lazy()
        .filter(pl.col("event_date").is_in(sorted(set(days))), ~pl.col("is_bot"), revenue.is_not_null())
        .select(
            "property",
            "revenue",
            "order_id",
            activity_date=pl.col("event_date"),
            currency=pl.col("currency").fill_null(NO_CURRENCY),
            given=pl.col("currency"),
        )
        .with_columns(
            *capped_key(Revenue), lacks_rate=lacks_rate(revenue, pl.col("given"), pl.col("activity_date"), rates)
        )
        .group_by(_KEY)
        .agg(
            given=pl.col("given").max(),
            orders=pl.col("order_id").filter(~is_refund).drop_nulls().n_unique().cast(pl.Int64),
            amounts=pl.len().cast(pl.Int64),
            refunds=is_refund.sum().cast(pl.Int64),
            amounts_without_order=no_order.sum().cast(pl.Int64),
            gross=_sum(revenue.filter(~is_refund)),
            refunded=_sum(-revenue.filter(is_refund)),
            net=_sum(revenue),
            gross_without_order=_sum(revenue.filter(~is_refund & no_order)),
            refunded_without_order=_sum(-revenue.filter(is_refund & no_order)),
            amounts_without_rate=pl.col("lacks_rate").sum().cast(pl.Int64),
        )
        .with_columns(converted)
        .with_columns(reporting_net=_wide("reporting_gross") - _wide("reporting_refunded"))
        .with_columns(pl.col("reporting_net").cast(MONEY, strict=False))
    )
    return table.select(Revenue.column_names()).sort(_KEY).collect()


def _sum(amounts: pl.Expr) -> pl.Expr:
    return amounts.sum().cast(MONEY, strict=False)


def _wide(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Decimal(38, 6))
