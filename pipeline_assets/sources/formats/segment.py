"""Segment's common fields, as its trackers send them and its raw exports hold them; RudderStack and Jitsu keep to them.

https://segment.com/docs/connections/spec/common/,
https://www.rudderstack.com/docs/event-spec/standard-events/common-fields/
"""

from pipeline_assets.sources.formats.ecommerce import OLD_NAMES, event_name, is_called, products
from pipeline_assets.sources.formats.ready import ReadyFormat, TableLayout, amount

_EVENT = event_name("event")
_RENAMED = " ".join(f"WHEN '{old}' THEN '{new}'" for old, new in OLD_NAMES.items())
_NEW = f"CASE {_EVENT} {_RENAMED} END"
_NAME = f"""coalesce(CASE WHEN contains(event, '_') THEN replace(lower({_NEW}), ' ', '_') ELSE {_NEW} END,
    nullif(event, ''), type)"""

_OF_ONE_PRODUCT = sorted({name for name in OLD_NAMES.values() if name.startswith("Product ")})
_SKU = "coalesce(properties.sku, properties.product_id, properties.id)"

# The tables that Segment, RudderStack and Jitsu write to a warehouse: one column for each property.
_TABLE = TableLayout(
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
        "is_conversion": f"coalesce({is_called(_EVENT, 'Order Completed')}, false)",
        # Steps before and after an order repeat its revenue.
        "revenue": f"""CASE
            WHEN {is_called(_EVENT, "Order Refunded")}
                THEN {amount("coalesce(properties.total, properties.revenue)", paid_back=True)}
            WHEN {is_called(_EVENT, "Checkout Started", "Order Updated", "Order Cancelled")} THEN NULL
            WHEN {is_called(_EVENT, "Order Completed")} THEN {amount("coalesce(properties.revenue, properties.total)")}
            ELSE {amount("properties.revenue")} END""",
        "currency": "properties.currency",
        # Version 1 has orderId, and products have an id.
        "order_id": "coalesce(properties.order_id, properties.orderId)",
        "items": f"""coalesce({products("properties.products")}, CASE
            WHEN ({_EVENT} LIKE 'product %' OR {is_called(_EVENT, *_OF_ONE_PRODUCT)}) AND {_SKU} IS NOT NULL THEN
                to_json([json_object('sku', {_SKU}, 'name', properties.name,
                    'category', properties.category, 'price', raw -> '$.properties.price',
                    'quantity', raw -> '$.properties.quantity')])
            END)""",
    },
)
