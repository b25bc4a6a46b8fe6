"""Revenue of each day."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, money, text

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
