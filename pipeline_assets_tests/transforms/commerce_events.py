"""Random events of shops, for the tests of orders, revenue and products."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from pipeline_assets.transforms.currencies import Rate, Rates
from pipeline_assets_tests.transforms.frames import ORDERS, Row, event

BERLIN = ZoneInfo("Europe/Berlin")
# The night of 29 March 2026 has 23 hours in Berlin.
FIRST = datetime(2026, 3, 28, tzinfo=BERLIN).astimezone(UTC)
RATES = Rates("EUR", (Rate("USD", Decimal("0.923456789")), Rate("GBP", Decimal("1.17"), date(2026, 3, 29))))

NAMES = (
    *("Product Viewed", "view_item", "PRODUCT_ADDED", "add to cart", "product  removed", "remove_from_cart"),
    *("order_completed", "Purchase", "Order Refunded", "refund", "checkout_started", None),
)
BAD_TEXTS = ("", "[", "nope", '"x"', "5", "null", "[]", "{}", "[1, 2]", '[{"sku": "a"', "[" * 3000, '[[{"sku": "a"}]]')

ids = st.sampled_from(["a", "b", " a ", "", None, 7, True, {"x": 1}, "nul\0"])
names = st.sampled_from(["A", "B", None])
prices = st.one_of(
    st.none(),
    st.integers(-5, 2000).map(lambda cents: cents / 100),
    st.decimals(0, 100, places=2).map(str),
    st.sampled_from(
        ["", "1,50", "NaN", "€ 5", "1e2", "0.0000005", "0.0000015", 1e300, "999999999999.999999", [], True]
    ),
)
quantities = st.one_of(
    st.none(), st.integers(0, 4), st.sampled_from([-1, 0.5, 2.0, "3", "x", "", 1e30, 10**6, 10**6 + 1, {}, False])
)
sku_keys, name_keys, category_keys = (
    st.sampled_from(keys)
    for keys in (
        ("sku", "product_id", "item_id"),
        ("name", "product_name", "item_name"),
        ("category", "product_category", "item_category"),
    )
)


@st.composite
def item(draw: st.DrawFn) -> Row:
    """The object of a product, well formed or not."""
    fields = {
        draw(sku_keys): draw(ids),
        draw(name_keys): draw(names),
        draw(category_keys): draw(names),
        "price": draw(prices),
        "quantity": draw(quantities),
        "brand": "x",
    }
    return {key: value for key, value in fields.items() if draw(st.booleans())}


item_texts = st.one_of(st.none(), st.lists(item(), max_size=3).map(json.dumps), st.sampled_from(BAD_TEXTS))
property_texts = st.one_of(st.none(), item().map(json.dumps), st.sampled_from(BAD_TEXTS))
moments = st.one_of(
    st.integers(0, 71).map(lambda hours: FIRST + timedelta(hours=hours)),
    # Midnights of Berlin and the microseconds before them.
    st.sampled_from(
        [
            datetime(2026, 3, day, tzinfo=BERLIN).astimezone(UTC) - timedelta(microseconds=before)
            for day in (29, 30)
            for before in (0, 1)
        ]
    ),
)
amounts = st.one_of(
    st.none(),
    st.decimals(-100, 100, places=2),
    st.sampled_from([Decimal(0), Decimal("0.000001"), Decimal("999999999999.999999"), Decimal("-999999999999")]),
)


@st.composite
def shop_events(draw: st.DrawFn, largest: int = 12) -> list[Row]:
    """Events of two shops over three days in Berlin; distinct ids."""
    return [
        event(
            draw(moments),
            "Europe/Berlin",
            event_id=f"{number}",
            property=draw(st.sampled_from(["shop", "blog"])),
            event_name=draw(st.sampled_from(NAMES)),
            visitor_id=draw(st.sampled_from(["v", "w", None])),
            user_id=draw(st.sampled_from([None, "u"])),
            received_at=draw(st.none() | st.just(FIRST)),
            **{name: draw(st.sampled_from(values)) for name, values in ORDERS.items()},
            is_bot=draw(st.integers(0, 9)) == 0,
            order_id=draw(st.sampled_from([None, "1", "2"])),
            revenue=draw(amounts),
            currency=draw(st.sampled_from(["EUR", "eur", "USD", "GBP", "XXX", None])),
            items=draw(item_texts),
            properties=draw(property_texts),
        )
        for number in range(draw(st.integers(0, largest)))
    ]
