"""What a day adds to each order."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, money, text, utc

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
