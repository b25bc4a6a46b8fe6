"""Amplitude's events: files of its Export API, and tables of its BigQuery and Snowflake exports.

Amplitude's documentation: "Export API", "Track revenue", "Web Autocapture Schema", "Mobile Autocapture Schema".
"""

from pipeline_assets.sources.formats.ecommerce import event_name, is_called, products
from pipeline_assets.sources.formats.ready import ReadyFormat, TableLayout, amount

# SDKs write the names of their own events with a prefix, and so those of their properties.
_EVENT = event_name(r"regexp_replace(event_type, '^\[Amplitude\] ', '')")
_REVENUE_EVENT = f"{_EVENT} IN ('revenue', 'revenue amount')"
# Amplitude adds one of these to a revenue event, once it has asked the store for the receipt: the same money again.
_VERDICT = f"""{_EVENT} IN ('verified revenue', 'unverified revenue', 'revenue amount verified',
    'revenue amount unverified', 'revenue (verified)', 'revenue (unverified)')"""
_OF_WEB = "lower(platform) = 'web'"
_DEVICE = "concat_ws(' ', device_family, device_type)"
_PRICE = 'event_properties."$price"'
_QUANTITY = 'event_properties."$quantity"'
_PRODUCT = f"""(TRY_CAST({_PRICE} AS DECIMAL(18, 6)) * coalesce(TRY_CAST({_QUANTITY} AS DECIMAL(9, 0)), 1))::VARCHAR"""


def _automatic(name: str) -> str:
    """A property that SDKs set, by either of its names."""
    return f"""coalesce(event_properties."[Amplitude] {name}", event_properties."{name}")"""


FORMAT = ReadyFormat(
    name="amplitude",
    title="Amplitude's export",
    records="jsonl",
    marks=(("event_type", "event_time", "amplitude_id"),),
    table=TableLayout(
        json=(
            "event_properties",
            "user_properties",
            "group_properties",
            "groups",
            "data",
            "plan",
            "global_user_properties",
        )
    ),
    mapping={
        "property": "app",
        "event_id": """coalesce(uuid, device_id || ':' || coalesce("$insert_id", insert_id))""",
        "event_name": "event_type",
        "event_type": f"""CASE WHEN event_type = '$identify' THEN 'identify'
            WHEN event_type = '$groupidentify' THEN 'group' WHEN {_EVENT} = 'page viewed' THEN 'page'
            WHEN {_EVENT} = 'screen viewed' THEN 'screen' ELSE 'track' END""",
        # client_event_time, which Amplitude has corrected by server_received_time - client_upload_time.
        "occurred_at": "event_time",
        "received_at": "coalesce(server_received_time, server_upload_time)",
        # A count of the device's events.
        "sequence": "TRY_CAST(event_id AS BIGINT)",
        "anonymous_id": "device_id",
        "user_id": "user_id",
        # -1: in no session.
        "session_id_supplied": "nullif(session_id, '-1')",
        "page_url": f"coalesce({_automatic('Page Location')}, {_automatic('Page URL')})",
        "page_title": f"coalesce({_automatic('Page Title')}, {_automatic('Screen Name')})",
        "referrer_url": "nullif(event_properties.referrer, 'EMPTY')",
        # Those of user_properties are of the user's last campaign, perhaps of long ago.
        "utm_source": "nullif(event_properties.utm_source, 'EMPTY')",
        "utm_medium": "nullif(event_properties.utm_medium, 'EMPTY')",
        "utm_campaign": "nullif(event_properties.utm_campaign, 'EMPTY')",
        "utm_term": "nullif(event_properties.utm_term, 'EMPTY')",
        "utm_content": "nullif(event_properties.utm_content, 'EMPTY')",
        "device_type": f"""CASE WHEN regexp_matches({_DEVICE}, '(?i)ipad|tablet') THEN 'tablet'
            WHEN lower(platform) IN ('ios', 'android') OR regexp_matches({_DEVICE}, '(?i)phone|android') THEN 'mobile'
            WHEN regexp_matches(device_family, '(?i)^(mac|windows|linux|ubuntu|chrome ?os|chromebook)') THEN 'desktop'
            END""",
        # Of the web the system is called after its device, and the browser is what is called the system.
        "os": f"""CASE WHEN NOT coalesce({_OF_WEB}, false) THEN os_name
            WHEN regexp_matches(device_family, '(?i)iphone|ipad|ipod') THEN 'iOS'
            WHEN regexp_matches(device_family, '(?i)^mac') THEN 'Mac OS X'
            WHEN regexp_matches(device_family, '(?i)^(windows|linux|ubuntu|android|chrome ?os)$') THEN device_family
            END""",
        "browser": f"CASE WHEN {_OF_WEB} THEN os_name END",
        "app_version": "version_name",
        "language": "language",
        "country": "country",
        "is_conversion": f"coalesce({is_called(_EVENT, 'Order Completed')} OR {_REVENUE_EVENT}, false)",
        "revenue": f"""CASE WHEN {_VERDICT} THEN NULL
            WHEN {is_called(_EVENT, "Order Refunded")} THEN {
            amount(
                'coalesce(event_properties."$revenue", event_properties.total, event_properties.revenue)',
                paid_back=True,
            )
        }
            WHEN {is_called(_EVENT, "Checkout Started", "Order Updated", "Order Cancelled")} THEN NULL
            ELSE coalesce({amount('event_properties."$revenue"')}, {_PRODUCT}, {amount("event_properties.revenue")},
                CASE WHEN {is_called(_EVENT, "Order Completed")} THEN {amount("event_properties.total")} END) END""",
        "currency": """coalesce(event_properties."$currency", event_properties.currency)""",
        "order_id": "event_properties.order_id",
        "items": f"""coalesce({products("event_properties.products")},
            CASE WHEN event_properties."$productId" IS NOT NULL AND NOT {_VERDICT} THEN
                to_json([json_object('sku', event_properties."$productId",
                    'price', raw -> '$.event_properties."$price"',
                    'quantity', raw -> '$.event_properties."$quantity"')]) END)""",
    },
    sessions={"mode": "supplied"},
    required=("event_name",),
)
