"""The events and products of Segment's ecommerce specification, which other trackers' users keep to as well.

https://segment.com/docs/connections/spec/ecommerce/v2/,
https://segment.com/docs/connections/spec/ecommerce/ (version 1)
"""

OLD_NAMES = {
    # Version 1 of the specification.
    "viewed product category": "Product List Viewed",
    "viewed product": "Product Viewed",
    "added product": "Product Added",
    "removed product": "Product Removed",
    "completed order": "Order Completed",
    # What came with enhanced ecommerce, and the other events that Segment's libraries know in this order of words.
    "searched products": "Products Searched",
    "viewed product list": "Product List Viewed",
    "filtered product list": "Product List Filtered",
    "viewed promotion": "Promotion Viewed",
    "clicked promotion": "Promotion Clicked",
    "clicked product": "Product Clicked",
    "viewed cart": "Cart Viewed",
    "started checkout": "Checkout Started",
    "viewed checkout step": "Checkout Step Viewed",
    "completed checkout step": "Checkout Step Completed",
    "entered payment info": "Payment Info Entered",
    "updated order": "Order Updated",
    "refunded order": "Order Refunded",
    "cancelled order": "Order Cancelled",
    "entered coupon": "Coupon Entered",
    "applied coupon": "Coupon Applied",
    "denied coupon": "Coupon Denied",
    "removed coupon": "Coupon Removed",
    "shared product": "Product Shared",
    "shared cart": "Cart Shared",
    "reviewed product": "Product Reviewed",
}
"""Documented old name of an event, in lower case -> its name in version 2 of the ecommerce specification."""


def event_name(event: str) -> str:
    """SQL of an event's name as it is compared: 'Order Completed' and 'order_completed' are both common."""
    return f"lower(trim(replace({event}, '_', ' ')))"


def is_called(name: str, *names: str) -> str:
    """SQL of whether an event is called so, by its name in version 2 or an old one.

    Args:
        name: SQL of the name as it is compared; see `event_name`.
        names: names of version 2.
    """
    old = [old for old, new in OLD_NAMES.items() if new in names]
    listed = ", ".join(f"'{one.lower()}'" for one in (*names, *old))
    return f"{name} IN ({listed})"


def products(value: str) -> str:
    """SQL of `items` from some SQL of text that is a JSON array of products; null where it is none."""
    return f"""CASE WHEN json_type(TRY_CAST({value} AS JSON)) = 'ARRAY' THEN
        to_json(list_transform(from_json({value}, '["JSON"]'), lambda x: json_object(
            'sku', coalesce(x ->> '$.sku', x ->> '$.product_id', x ->> '$.id'), 'name', x ->> '$.name',
            'category', x ->> '$.category', 'price', x -> '$.price', 'quantity', x -> '$.quantity'))) END"""
