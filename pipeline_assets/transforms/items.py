"""Products that events name in JSON.

Trackers write the same facts under several names: Segment's e-commerce events have `sku` or `product_id`, `name` and
`category`; GA4's items have `item_id`, `item_name` and `item_category`. Both have `price` and `quantity`.
"""

import duckdb
import polars as pl

from pipeline_assets.transforms.currencies import MONEY

LARGEST_QUANTITY = 1_000_000
"""A quantity above this is a tracker's mistake."""

_SYNONYMS = {
    "sku": ("sku", "product_id", "item_id"),
    "name": ("name", "product_name", "item_name"),
    "category": ("category", "product_category", "item_category"),
    "price": ("price",),
    "quantity": ("quantity",),
}
_STRUCT = "{" + ",".join(f'"{key}":"JSON"' for keys in _SYNONYMS.values() for key in keys) + "}"
# Of valid JSON, DuckDB parses all fields at once and never with an error.
_READ = """
with elements as (
    select "text", generate_subscripts(items, 1) as "position", unnest(items, recursive := true)
    from (
        select "text", case json_type("text")
            when 'ARRAY' then json_transform("text", '[STRUCT]')
            when 'OBJECT' then [json_transform("text", 'STRUCT')]
        end as items
        from texts
        where json_valid("text")
    )
)
select
    "text",
    "position",
    coalesce(price::varchar, '""') not in ('""', 'null') as has_price,
    coalesce(quantity::varchar, '""') not in ('""', 'null') as has_quantity,
    case when json_type(columns(* exclude ("text", "position"))) in ('VARCHAR', 'UBIGINT', 'BIGINT', 'DOUBLE')
        then nullif(trim(columns(* exclude ("text", "position")) ->> '$'), '')
    end
from elements
""".replace("STRUCT", _STRUCT)
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"

ITEM_SCHEMA = pl.Schema(
    {
        "text": pl.String(),
        "position": pl.Int64(),
        "sku": pl.String(),
        "name": pl.String(),
        "category": pl.String(),
        "price": MONEY,
        "quantity": pl.Int64(),
        "unreadable": pl.Int64(),
    }
)


def decode_items(texts: pl.Series) -> pl.DataFrame:
    """The products in each distinct JSON text, an array of objects or one object.

    Text that is no JSON, and elements that are no objects or have none of the fields, give no row. Ids and names are
    texts or numbers, blanks around them cut off; empty ones, and those with a NUL character, which PostgreSQL cannot
    store, are absent. A price is a number or the text of one with a point, rounded half to even to 6 digits, below
    10^12; a quantity is a whole number from 0 to `LARGEST_QUANTITY`. Anything else counts in unreadable and is absent;
    an absent quantity is 1, as GA4 has it. JSON numbers have the precision of a double, as RFC 8259 advises.

    Reads each distinct text once.

    Args:
        texts: JSON texts or nulls, in any number and order.

    Returns:
        text; position, from 1; sku, name, category, price (null where absent), quantity, and unreadable, the number of
        prices and quantities that are there but cannot be read. No order.
    """
    distinct = texts.alias("text").drop_nulls().unique().to_frame()
    if distinct.is_empty():
        return pl.DataFrame(schema=ITEM_SCHEMA)
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as connection:
        connection.register("texts", distinct.to_arrow())
        found = connection.sql(_READ).pl()
    fields = found.with_columns(
        pl.when(~pl.col(pl.String).exclude("text").str.contains("\x00", literal=True)).then(
            pl.col(pl.String).exclude("text").str.strip_chars()
        )
    ).with_columns(pl.col(pl.String).exclude("text").replace("", None))
    named = fields.select(
        "text",
        "position",
        *(pl.coalesce(keys).alias(name) for name, keys in _SYNONYMS.items()),
        "has_price",
        "has_quantity",
    ).filter(pl.any_horizontal(pl.col(*_SYNONYMS).is_not_null() | pl.col("has_price") | pl.col("has_quantity")))
    price, quantity = (
        pl.when(pl.col(name).str.contains(_NUMBER)).then(name).cast(MONEY, strict=False)
        for name in ("price", "quantity")
    )
    is_whole = (quantity == quantity.cast(pl.Int64)) & quantity.is_between(0, LARGEST_QUANTITY)
    pieces = pl.when(is_whole).then(quantity).cast(pl.Int64)
    return named.select(
        "text",
        "position",
        "sku",
        "name",
        "category",
        price=price,
        quantity=pieces.fill_null(1),
        unreadable=(pl.col("has_price") & price.is_null()).cast(pl.Int64)
        + (pl.col("has_quantity") & pieces.is_null()).cast(pl.Int64),
    )


def is_unreadable(text: pl.Expr, products: pl.Expr) -> pl.Expr:
    """Whether a JSON text that gives this number of `products` is not simply an empty list.

    Args:
        text: JSON texts or nulls.
        products: number of rows that `decode_items` gives for each.
    """
    is_empty = text.str.replace_all(r"\s", "").is_in(["", "[]", "{}", "null"])
    return text.is_not_null() & ~is_empty.fill_null(value=True) & (products == 0)
