"""Revenue of each day."""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, money, text
from pipeline_assets.key_texts import capped_key, key_text
from pipeline_assets.tables.checking import Reader, Rows, all_zero, in_reporting, same
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import EVENTS, Input, Inputs, TableSpec, sums
from pipeline_assets.transforms.currencies import MONEY, NO_CURRENCY, Rates, in_reporting_currency, lacks_rate

_AMOUNT = ("events.revenue",)
_ORDER = ("events.revenue", "events.order_id")
_CONVERTED = ("events.revenue", "events.currency", "events.event_date")


class Revenue(dy.Schema):
    """Revenue and refunds of a day in each currency, with and without an order id. Bots are left out."""

    activity_date = dy.Date(
        primary_key=True,
        description="Calendar day in the reporting time zone",
        metadata=made_of("events.event_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("events.property"))
    currency = text(
        "Currency of the amounts, upper case; (none) where the events give none",
        primary_key=True,
        metadata=made_of("events.currency"),
    )
    orders = dy.Int64(
        min=0, description="Distinct order ids with revenue that is not a refund", metadata=made_of(*_ORDER)
    )
    amounts = dy.Int64(min=1, description="Events with revenue, refunds included", metadata=made_of(*_AMOUNT))
    refunds = dy.Int64(min=0, description="Of these, refunds (negative revenue)", metadata=made_of(*_AMOUNT))
    amounts_without_order = dy.Int64(min=0, description="Of amounts, those without order id", metadata=made_of(*_ORDER))
    gross = money(
        "Sum of revenue that is not negative; null if too large", nullable=True, min=0, metadata=made_of(*_AMOUNT)
    )
    refunded = money(
        "Sum of negative revenue, as a positive amount; null if too large",
        nullable=True,
        min=0,
        metadata=made_of(*_AMOUNT),
    )
    net = money("gross - refunded", nullable=True, metadata=made_of(*_AMOUNT))
    gross_without_order = money("The part of gross without order id", nullable=True, min=0, metadata=made_of(*_ORDER))
    refunded_without_order = money(
        "The part of refunded without order id", nullable=True, min=0, metadata=made_of(*_ORDER)
    )
    reporting_gross = money(
        "gross in the reporting currency, by the rate of the day; null where there is no rate",
        nullable=True,
        metadata=made_of(*_CONVERTED),
    )
    reporting_refunded = money(
        "refunded in the reporting currency; null where there is no rate",
        nullable=True,
        metadata=made_of(*_CONVERTED),
    )
    reporting_net = money("reporting_gross - reporting_refunded", nullable=True, metadata=made_of(*_CONVERTED))
    amounts_without_rate = dy.Int64(
        min=0,
        description="Of amounts, those whose currency has no rate that day; 0 without a reporting currency",
        metadata=made_of(*_CONVERTED),
    )


_KEY = ("activity_date", "property", "currency")


def build_revenue(events: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, rates: Rates) -> pl.DataFrame:
    """Revenue of `days` by currency, per `Revenue`; a currency without an amount has no row.

    Every event with a revenue counts, whatever its name, with or without an order id or a visitor; a negative revenue
    is a refund. Bots are left out. Amounts are added up in their own currency and the sum is converted once, so that it
    is rounded once.

    Reads the events of `days` and nothing else.

    Args:
        events: at least all events (`Events`) of `days`.
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


def build(inputs: Inputs, days: Sequence[date], parameters: Rates) -> pl.DataFrame:
    """See `build_revenue`."""
    return build_revenue(inputs[EVENTS], days, rates=parameters)


def _of_events(tables: Reader) -> Rows:
    found: Rows = {}
    for (day, name, currency), amount in tables.lake(
        EVENTS,
        "select (event_date, property, coalesce(currency, '(none)')), sum(revenue) from files "
        "where revenue is not null and not is_bot group by all having abs(sum(revenue)) < 1e12",
    ).items():
        # The currency is a text of a key, and may be too long for one.
        key = (day, name, key_text(currency))
        found[key] = found.get(key, 0) + amount
    return found


def _of_revenue(tables: Reader) -> Rows:
    return {
        tuple(key): net
        for *key, net in tables.rows(
            "select activity_date, property, currency, net from marts.revenue "
            "where activity_date = any(:days) and net is not null"
        )
    }


def revenue(declared: Declarations) -> TableSpec:
    """The table, with the declared rates."""
    return TableSpec(
        name="revenue",
        contract=Revenue,
        partition_column="activity_date",
        group="commerce",
        figures=sums("orders", "reporting_net"),
        inputs=(Input(EVENTS),),
        build=build,
        parameters=declared.rates,
        checks=(
            same(
                "matches_events",
                "Net revenue per day, property and currency, added up again from the lake's events.",
                expected=_of_events,
                actual=_of_revenue,
            ),
            in_reporting(
                declared.rates.reporting,
                all_zero(
                    "has_rates",
                    "Amounts of the days whose currency has no declared rate; they are missing in the reporting "
                    "currency. Shows the amounts without a currency, which count as ones in the reporting currency.",
                    "select coalesce(sum(amounts_without_rate), 0)::bigint as amounts_without_rate, "
                    "coalesce(sum(amounts) filter (where currency = '(none)'), 0)::bigint as amounts_without_currency "
                    "from marts.revenue where activity_date = any(:days)",
                    shown=("amounts_without_currency",),
                ),
            ),
        ),
    )
