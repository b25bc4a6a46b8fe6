"""What happened to each product."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, money, text

_ITEM = ("events.items", "events.properties")
_AMOUNT = ("events.event_name", *_ITEM, "events.currency", "events.event_date")


class Products(dy.Schema):
    """Products viewed, added to carts, bought and returned on a day. Bots are left out.

    Added, removed, purchased and refunded count pieces; viewed and purchases count events and orders.
    """

    activity_date = dy.Date(
        primary_key=True,
        description="Calendar day in the reporting time zone",
        metadata=made_of("events.event_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("events.property"))
    sku = text(
        "Id of the product, else its name, else (none)",
        primary_key=True,
        metadata=made_of(*_ITEM),
    )
    name = text("Name that day's last event with one gives it", nullable=True, metadata=made_of(*_ITEM))
    category = text("Category that day's last event with one gives it", nullable=True, metadata=made_of(*_ITEM))
    viewed = dy.Int64(min=0, description="Events that show it", metadata=made_of("events.event_name", *_ITEM))
    viewers = dy.Int64(
        min=0,
        description="Distinct visitors of these",
        metadata=made_of("events.event_name", *_ITEM, "events.visitor_id"),
    )
    added = dy.Int64(min=0, description="Pieces put into carts", metadata=made_of("events.event_name", *_ITEM))
    removed = dy.Int64(min=0, description="Pieces taken out of carts", metadata=made_of("events.event_name", *_ITEM))
    purchased = dy.Int64(min=0, description="Pieces bought", metadata=made_of("events.event_name", *_ITEM))
    purchases = dy.Int64(
        min=0,
        description="Orders with it; a purchase without an order id is one of its own",
        metadata=made_of("events.event_name", *_ITEM, "events.order_id", "events.event_id"),
    )
    refunded = dy.Int64(min=0, description="Pieces refunded", metadata=made_of("events.event_name", *_ITEM))
    revenue = money(
        "Price times pieces bought, in the reporting currency; null where nothing can be converted",
        nullable=True,
        metadata=made_of(*_AMOUNT),
    )
    refunded_revenue = money(
        "Price times pieces refunded, in the reporting currency; null where nothing can be converted",
        nullable=True,
        metadata=made_of(*_AMOUNT),
    )
    amounts_without_rate = dy.Int64(
        min=0,
        description="Items bought or refunded whose amount is missing because its currency has no rate that day",
        metadata=made_of(*_AMOUNT),
    )
    unreadable = dy.Int64(
        min=0,
        description="Prices, quantities and (in the row of (none)) lists of items that cannot be read; taken as absent",
        metadata=made_of(*_ITEM),
    )
