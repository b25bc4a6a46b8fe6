"""Orders with their refunds."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, money, text, utc

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
