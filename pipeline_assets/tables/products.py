"""Figures of each product.

Events are known by the names of Segment's e-commerce specification and of GA4.
"""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, money, text
from pipeline_assets.key_texts import capped
from pipeline_assets.tables.checking import all_zero
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import EVENTS, Input, Inputs, TableSpec, sums
from pipeline_assets.transforms.currencies import MONEY, Rates, in_reporting_currency, lacks_rate, total
from pipeline_assets.transforms.items import decode_items, is_unreadable
from pipeline_assets.transforms.ordering import ORDER_COLUMNS, event_order

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


VIEW, ADD, REMOVE, PURCHASE, REFUND = "view", "add", "remove", "purchase", "refund"
PRODUCT_EVENTS = {
    "product_viewed": VIEW,
    "view_item": VIEW,
    "product_added": ADD,
    "add_to_cart": ADD,
    "product_removed": REMOVE,
    "remove_from_cart": REMOVE,
    "order_completed": PURCHASE,
    "purchase": PURCHASE,
    "order_refunded": REFUND,
    "refund": REFUND,
}
"""What an event does to its products, by its name in lower case with underscores for spaces."""

NO_PRODUCT = "(none)"
"""Stands for the product of an event or item that names none."""

_KEY = ("activity_date", "property", "sku")
_EVENT_COLUMNS = (
    "property",
    *ORDER_COLUMNS,
    "visitor_id",
    "order_id",
    "currency",
    "items",
    "properties",
)


def build_products(events: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, rates: Rates) -> pl.DataFrame:
    """Products named by the events of `days`, per `Products`; a product without an event has no row.

    The kind of event goes by its name (`PRODUCT_EVENTS`), without regard to case, spaces standing for underscores. Its
    products are those of `items`; where these give none, the one that `properties` describe. A product goes by its sku,
    product_id or item_id, else by its name (GA4 asks for one of id and name), else by (none), so that each event that
    views, adds or removes counts somewhere; orders and refunds that name no id in their properties have no product.
    Viewed counts an event once for a product however often it lists it. Name and category are those of the latest event
    (`event_order`, then the place in the list). Revenue is price times quantity in the
    event's currency, exact, converted item by item. Bots are left out; events without a visitor have no viewer.

    What cannot be read is taken as absent and counted in unreadable: see `decode_items`.

    Reads the events of `days` and nothing else.

    Args:
        events: at least all events (`Events`) of `days`.
        days: activity dates to build.
        rates: the reporting currency and its rates.
    """
    rows = _product_events(events, days)
    listed = rows.join(decode_items(rows["items"]).rename({"text": "items"}), on="items", how="inner")
    others = rows.join(listed, on="row", how="anti")
    described = others.join(
        decode_items(others["properties"]).rename({"text": "properties"}), on="properties", how="left"
    ).filter(~pl.col("kind").is_in([PURCHASE, REFUND]) | pl.col("sku").is_not_null())
    items = (
        pl.concat([listed, described.select(listed.columns)])
        .with_columns(
            pl.col("quantity").fill_null(1),
            pl.col("unreadable").fill_null(0),
            capped(pl.coalesce("sku", "name", pl.lit(NO_PRODUCT))).alias("sku"),
        )
        .with_columns(amount=_amount())
    )
    broken = (
        others.filter(is_unreadable(pl.col("items"), pl.lit(0)))
        .with_columns(sku=pl.lit(NO_PRODUCT))
        .group_by(_KEY)
        .agg(broken=pl.len().cast(pl.Int64))
    )
    table = _figures(items, rates).join(broken, on=_KEY, how="full", coalesce=True)
    counts = ("viewed", "viewers", "added", "removed", "purchased", "purchases", "refunded", "amounts_without_rate")
    table = table.with_columns(
        pl.col(counts).fill_null(0), unreadable=pl.sum_horizontal("unreadable", "broken").cast(pl.Int64)
    )
    latest = items.sort(*event_order(), "position", nulls_last=True)
    for column in ("name", "category"):
        named = latest.filter(pl.col(column).is_not_null()).select(*_KEY, column)
        table = table.join(named.unique(_KEY, keep="last", maintain_order=True), on=_KEY, how="left")
    return table.select(Products.column_names()).sort(_KEY)


def _product_events(events: pl.LazyFrame | pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """Events of `days` about products, with row (their number) and kind."""
    wanted = events.lazy().filter(pl.col("event_date").is_in(sorted(set(days))), ~pl.col("is_bot"))
    # Names are few: each is read once, and not once for each event.
    names = wanted.select("event_name").unique().collect()["event_name"].drop_nulls()
    known = names.str.strip_chars().str.to_lowercase().str.replace_all(r"[\s_]+", "_")
    kinds = pl.DataFrame(
        {"event_name": names, "kind": known.replace_strict(PRODUCT_EVENTS, default=None, return_dtype=pl.String)}
    ).drop_nulls()
    return (
        wanted.filter(pl.col("event_name").is_in(kinds["event_name"].to_list()))
        .select("event_name", *_EVENT_COLUMNS, activity_date=pl.col("event_date"))
        .collect()
        .join(kinds, on="event_name", how="left")
        .with_row_index("row")
    )


def _amount() -> pl.Expr:
    """Price times quantity; null where there is no price or the amount is too large."""
    price, quantity = pl.col("price").cast(pl.Decimal(38, 6)), pl.col("quantity").cast(pl.Decimal(38, 0))
    return (price * quantity).cast(MONEY, strict=False)


def _figures(items: pl.DataFrame, rates: Rates) -> pl.DataFrame:
    kind, pieces = pl.col("kind"), pl.col("quantity")
    viewed, bought, paid_back = kind == VIEW, kind == PURCHASE, kind == REFUND
    money = (pl.when(bought | paid_back).then("amount"), pl.col("currency"), pl.col("activity_date"), rates)
    # The letter keeps an order id apart from an event id that equals it.
    order = pl.coalesce(pl.lit("o") + pl.col("order_id"), pl.lit("e") + pl.col("event_id"))
    return (
        items.with_columns(converted=in_reporting_currency(*money), lacks_rate=lacks_rate(*money), order=order)
        .group_by(_KEY)
        .agg(
            pl.col("unreadable").sum(),
            viewed=pl.col("row").filter(viewed).n_unique().cast(pl.Int64),
            viewers=pl.col("visitor_id").filter(viewed).drop_nulls().n_unique().cast(pl.Int64),
            added=pieces.filter(kind == ADD).sum(),
            removed=pieces.filter(kind == REMOVE).sum(),
            purchased=pieces.filter(bought).sum(),
            purchases=pl.col("order").filter(bought).n_unique().cast(pl.Int64),
            refunded=pieces.filter(paid_back).sum(),
            revenue=total(pl.col("converted").filter(bought)),
            refunded_revenue=total(pl.col("converted").filter(paid_back)),
            amounts_without_rate=pl.col("lacks_rate").sum().cast(pl.Int64),
        )
    )


def build(inputs: Inputs, days: Sequence[date], parameters: Rates) -> pl.DataFrame:
    """See `build_products`."""
    return build_products(inputs[EVENTS], days, rates=parameters)


def products(declared: Declarations) -> TableSpec:
    """The table, with the declared rates."""
    return TableSpec(
        name="products",
        contract=Products,
        partition_column="activity_date",
        group="commerce",
        figures=sums("viewed", "purchased", "revenue"),
        inputs=(Input(EVENTS),),
        build=build,
        parameters=declared.rates,
        checks=(
            all_zero(
                "readable",
                "Events of the days whose products could not be read in part or in whole, and amounts without a rate.",
                "select coalesce(sum(unreadable), 0)::bigint as unreadable, "
                "coalesce(sum(amounts_without_rate), 0)::bigint as amounts_without_rate "
                "from marts.products where activity_date = any(:days)",
            ),
        ),
    )
