"""Segment's common fields, as its trackers send them and its raw exports hold them; RudderStack and Jitsu keep to them.

https://segment.com/docs/connections/spec/common/, https://segment.com/docs/connections/spec/ecommerce/v2/,
https://segment.com/docs/connections/spec/ecommerce/ (version 1),
https://www.rudderstack.com/docs/event-spec/standard-events/common-fields/
"""

from pipeline_assets.sources.formats.ready import ReadyFormat, Table, amount

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

# Both spellings of an event's name are common: 'Order Completed' and 'order_completed'.
_EVENT = "lower(trim(replace(event, '_', ' ')))"
_RENAMED = " ".join(f"WHEN '{old}' THEN '{new}'" for old, new in OLD_NAMES.items())
_NEW = f"CASE {_EVENT} {_RENAMED} END"
_NAME = f"""coalesce(CASE WHEN contains(event, '_') THEN replace(lower({_NEW}), ' ', '_') ELSE {_NEW} END,
    nullif(event, ''), type)"""


def _is(*names: str) -> str:
    """SQL of whether an event is called so, by its new name or an old one."""
    old = [old for old, new in OLD_NAMES.items() if new in names]
    listed = ", ".join(f"'{name.lower()}'" for name in (*names, *old))
    return f"{_EVENT} IN ({listed})"


# An object of the ecommerce specification in the words of the column `items`.
_ITEM = """json_object(
    'sku', coalesce({0} ->> '$.sku', {0} ->> '$.product_id', {0} ->> '$.id'), 'name', {0} ->> '$.name',
    'category', {0} ->> '$.category', 'price', {0} -> '$.price', 'quantity', {0} -> '$.quantity')"""

_OF_ONE_PRODUCT = sorted({name for name in OLD_NAMES.values() if name.startswith("Product ")})
_SKU = "coalesce(properties.sku, properties.product_id, properties.id)"

# The tables that Segment, RudderStack and Jitsu write to a warehouse: one column for each property.
_TABLE = Table(
    marks=(("id", "anonymous_id", "original_timestamp"),),
    json=("context", "properties", "traits", "integrations", "products"),
    names={
        "id": "messageId",
        "message_id": "messageId",
        "anonymous_id": "anonymousId",
        "user_id": "userId",
        "previous_id": "previousId",
        "group_id": "groupId",
        # The name as it was given; `event` holds the name of its table.
        "event_text": "event",
        "event": "event",
        "original_timestamp": "originalTimestamp",
        "sent_at": "sentAt",
        "received_at": "receivedAt",
        **{f"context_{path.replace('.', '_')}": f"context.{path}" for path in (
            "ip", "locale", "timezone", "app.name", "app.version", "app.build", "campaign.source", "campaign.medium",
            "campaign.name", "campaign.term", "campaign.content", "device.id", "device.type", "library.name",
            "library.version", "location.country", "os.name", "os.version", "page.path", "page.referrer", "page.search",
            "page.title", "page.url",
        )},
        "context_user_agent": "context.userAgent",
        "context_session_id": "context.sessionId",
        "products": "properties.products",
    },
    rest="properties",
    fields=(
        "anonymousId", "category", "channel", "context", "event", "groupId", "integrations", "messageId", "name",
        "originalTimestamp", "previousId", "projectId", "properties", "receivedAt", "rudderId", "sentAt", "timestamp",
        "traits", "type", "userId", "uuid", "uuid_ts", "loaded_at", "version", "writeKey",
    ),
)  # fmt: skip

FORMAT = ReadyFormat(
    name="segment",
    title="Segment's common fields",
    aliases=("rudderstack", "jitsu"),
    records="jsonl",
    marks=(
        ("messageId", "originalTimestamp"),
        ("messageId", "anonymousId"),
        ("messageId", "userId", "type"),
    ),
    table=_TABLE,
    mapping={
        "event_id": "messageId",
        # A table of a warehouse holds one type and does not say which.
        "event_type": """coalesce(type, CASE WHEN event IS NOT NULL THEN 'track'
            WHEN previousId IS NOT NULL THEN 'alias' WHEN groupId IS NOT NULL THEN 'group'
            WHEN properties.url IS NOT NULL THEN 'page' END)""",
        "event_name": _NAME,
        # `timestamp` is what Segment corrected; where there is no original it is still what the device said.
        "device_at": "coalesce(originalTimestamp, timestamp)",
        "sent_at": "sentAt",
        "received_at": "receivedAt",
        # alias: previousId is the id that userId replaces.
        "anonymous_id": "CASE WHEN lower(type) = 'alias' THEN coalesce(previousId, anonymousId) ELSE anonymousId END",
        "user_id": "userId",
        "session_id_supplied": "context.sessionId",
        "page_url": "coalesce(context.page.url, CASE WHEN lower(type) = 'page' THEN properties.url END)",
        "page_title": "coalesce(context.page.title, properties.title, name)",
        "referrer_url": "coalesce(context.page.referrer, CASE WHEN lower(type) = 'page' THEN properties.referrer END)",
        "utm_source": "context.campaign.source",
        "utm_medium": "context.campaign.medium",
        "utm_campaign": "context.campaign.name",
        "utm_term": "context.campaign.term",
        "utm_content": "context.campaign.content",
        "user_agent": "context.userAgent",
        "os": "context.os.name",
        "app_version": "context.app.version",
        "language": "context.locale",
        "country": "coalesce(context.location.country, context.ip_geo.country)",
        "is_conversion": f"coalesce({_is('Order Completed')}, false)",
        # Steps before and after an order repeat its revenue.
        "revenue": f"""CASE
            WHEN {_is("Order Refunded")}
                THEN {amount("coalesce(properties.total, properties.revenue)", paid_back=True)}
            WHEN {_is("Checkout Started", "Order Updated", "Order Cancelled")} THEN NULL
            WHEN {_is("Order Completed")} THEN {amount("coalesce(properties.revenue, properties.total)")}
            ELSE {amount("properties.revenue")} END""",
        "currency": "properties.currency",
        # Version 1 has orderId, and products have an id.
        "order_id": "coalesce(properties.order_id, properties.orderId)",
        "items": f"""CASE
            WHEN json_type(TRY_CAST(properties.products AS JSON)) = 'ARRAY' THEN
                to_json(list_transform(from_json(properties.products, '["JSON"]'), lambda x: {_ITEM.format("x")}))
            WHEN ({_EVENT} LIKE 'product %' OR {_is(*_OF_ONE_PRODUCT)}) AND {_SKU} IS NOT NULL THEN
                to_json([json_object('sku', {_SKU}, 'name', properties.name,
                    'category', properties.category, 'price', raw -> '$.properties.price',
                    'quantity', raw -> '$.properties.quantity')])
            END""",
    },
)
