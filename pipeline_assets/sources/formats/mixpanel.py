"""Mixpanel's events: the raw event export, and tables of its data pipelines.

Mixpanel's documentation: "Raw Event Export", "Event Deduplication", "Identifying Users" (original and simplified
ID merge), "Data Pipelines", "Default Properties".
"""

from pipeline_assets.sources.formats.ecommerce import event_name, is_called, products
from pipeline_assets.sources.formats.ready import ReadyFormat, TableLayout, amount

_TIME = "properties.time"
# Events of one moment and user of one name with one $insert_id are one event to Mixpanel. What it has merged the user
# with since changes distinct_id from one export to the next.
_BEFORE = 'coalesce(properties."$distinct_id_before_identity", properties.distinct_id)'


def _plain_id(value: str) -> str:
    """An id as its device calls it: the simplified ID merge puts `$device:` before that of an anonymous one."""
    return f"regexp_replace({value}, '^\\$device:', '')"


_DISTINCT = "properties.distinct_id"
_DEVICE = _plain_id('properties."$device_id"')
_MERGED = 'raw ->> \'$.properties."$distinct_ids"'
_EVENT = event_name("event")
_USER = f"""CASE event
    WHEN '$identify' THEN coalesce(properties."$identified_id", properties."$user_id", {_DISTINCT})
    WHEN '$create_alias' THEN properties.alias
    WHEN '$merge' THEN {_MERGED}[0]'
    ELSE coalesce(properties."$user_id", CASE WHEN {_DEVICE} IS NULL AND NOT starts_with({_DISTINCT}, '$device:')
        THEN {_DISTINCT} END) END"""

FORMAT = ReadyFormat(
    name="mixpanel",
    title="Mixpanel's raw event export",
    records="jsonl",
    marks=(("event", "properties.time", "properties.distinct_id"),),
    table=TableLayout(
        json=("properties",),
        names={
            "event_name": "event",
            "mp_event_name": "event",
            "time": "properties.time",
            "distinct_id": "properties.distinct_id",
            **{name: f"properties.${name}" for name in ("insert_id", "device_id", "user_id")},
            # In tables with a column for each property `mp_` stands for `$`.
            **{
                f"mp_{name}": f"properties.${name}"
                for name in (
                    "insert_id",
                    "device_id",
                    "user_id",
                    "distinct_id_before_identity",
                    "current_url",
                    "referrer",
                    "os",
                    "browser",
                    "device",
                    "model",
                    "app_version",
                    "app_version_string",
                    "identified_id",
                    "anon_id",
                )
            },
        },
        rest="properties",
        fields=("event", "properties"),
    ),
    mapping={
        "event_id": f"""CASE WHEN properties."$insert_id" <> '' THEN
            sha256(concat_ws(chr(10), event, {_TIME}, {_BEFORE}, properties."$insert_id")) END""",
        "event_name": "event",
        "event_type": """CASE event WHEN '$mp_web_page_view' THEN 'page' WHEN 'mp_page_view' THEN 'page'
            WHEN '$identify' THEN 'identify' WHEN '$create_alias' THEN 'alias' WHEN '$merge' THEN 'alias'
            ELSE 'track' END""",
        # Seconds or milliseconds of a clock that, in old projects, shows the project's time: its zone may be declared.
        "occurred_at": f"""CASE
            WHEN regexp_full_match({_TIME}, '\\d{{1,11}}([.]\\d*)?')
                THEN make_timestamp(({_TIME}::DECIMAL(24, 6) * 1000000)::BIGINT)::VARCHAR
            WHEN regexp_full_match({_TIME}, '\\d{{12,14}}([.]\\d*)?')
                THEN make_timestamp(({_TIME}::DECIMAL(24, 3) * 1000)::BIGINT)::VARCHAR
            ELSE {_TIME} END""",
        "received_at": "properties.mp_processing_time_ms",
        "anonymous_id": f"""CASE event
            WHEN '$identify' THEN coalesce({_plain_id('properties."$anon_id"')}, {_DEVICE})
            WHEN '$create_alias' THEN {_plain_id(_DISTINCT)}
            WHEN '$merge' THEN {_plain_id(f"{_MERGED}[1]'")}
            ELSE coalesce({_DEVICE}, CASE WHEN starts_with({_DISTINCT}, '$device:') THEN {_plain_id(_DISTINCT)} END)
            END""",
        "user_id": _USER,
        "page_url": 'properties."$current_url"',
        "page_title": "properties.current_page_title",
        "referrer_url": """nullif(properties."$referrer", '$direct')""",
        # Its utm_* may be those of an earlier page or visit: the URL says more.
        "device_type": """CASE
            WHEN regexp_matches(concat_ws(' ', properties."$device", properties."$model"), '(?i)ipad|tablet')
                THEN 'tablet'
            WHEN properties."$os" IN ('iOS', 'Android', 'iPhone OS', 'Windows Phone', 'BlackBerry') THEN 'mobile'
            WHEN properties."$os" IN ('Mac OS X', 'macOS', 'Windows', 'Linux', 'Chrome OS') THEN 'desktop' END""",
        "os": 'properties."$os"',
        "browser": 'properties."$browser"',
        "app_version": 'coalesce(properties."$app_version_string", properties."$app_version")',
        "country": "properties.mp_country_code",
        "is_conversion": f"coalesce({is_called(_EVENT, 'Order Completed')}, false)",
        "revenue": f"""CASE WHEN {is_called(_EVENT, "Order Refunded")}
            THEN {amount("coalesce(properties.total, properties.revenue)", paid_back=True)}
            WHEN {is_called(_EVENT, "Checkout Started", "Order Updated", "Order Cancelled")} THEN NULL
            WHEN {is_called(_EVENT, "Order Completed")} THEN {amount("coalesce(properties.revenue, properties.total)")}
            ELSE {amount("properties.revenue")} END""",
        "currency": "properties.currency",
        "order_id": "properties.order_id",
        "items": products("properties.products"),
    },
    ids={
        # The id of the person that Mixpanel has made of the device's.
        "mixpanel_distinct_id": f"""CASE WHEN event NOT IN ('$create_alias', '$merge')
            AND {_plain_id(_DISTINCT)} IS DISTINCT FROM {_DEVICE} AND NOT starts_with({_DISTINCT}, '$device:')
            THEN {_DISTINCT} END""",
    },
    time={"columns": {"received_at": {"format": "epoch_ms"}}},
    required=("event_name",),
)
