"""PostHog's event export: batch exports of the events model, and answers of its API. `properties` may be JSON or text.

https://posthog.com/docs/cdp/batch-exports/s3, https://posthog.com/docs/data/events#default-properties
"""

from pipeline_assets.sources.formats.ready import ReadyFormat, TableLayout, amount

_USER = """CASE
    WHEN event = '$identify' THEN distinct_id
    WHEN properties."$user_id" IS NOT NULL THEN properties."$user_id"
    WHEN properties."$is_identified" = 'true' THEN distinct_id
    WHEN properties."$is_identified" = 'false' OR properties."$process_person_profile" = 'false' THEN NULL
    WHEN properties."$device_id" IS NULL THEN distinct_id END"""
# The distinct id where it is no user's; or the one that the event says is the same person's.
_OTHER = f"""CASE event WHEN '$identify' THEN properties."$anon_distinct_id" WHEN '$create_alias' THEN properties.alias
    ELSE CASE WHEN ({_USER}) IS NULL THEN distinct_id END END"""
_EVENT = "lower(replace(event, '_', ' '))"


def _opened(name: str) -> str:
    """An object that an export holds as text."""
    text = f"record ->> '$.{name}'"
    return (
        f"CASE WHEN json_type(record, '$.{name}') = 'VARCHAR' AND json_type(TRY_CAST({text} AS JSON)) = 'OBJECT'"
        f" THEN json_object('{name}', ({text})::JSON) ELSE '{{}}'::JSON END"
    )


FORMAT = ReadyFormat(
    name="posthog",
    title="PostHog's event export",
    records="jsonl",
    marks=(("uuid", "event", "distinct_id"), ("event", "distinct_id", "timestamp", "properties")),
    table=TableLayout(json=("properties", "person_properties", "person")),
    reshape=({"record": f"json_merge_patch(record, {_opened('properties')}, {_opened('person_properties')})"},),
    mapping={
        "event_id": "coalesce(uuid, id)",
        "event_name": "event",
        "event_type": """CASE event WHEN '$pageview' THEN 'page' WHEN '$screen' THEN 'screen'
            WHEN '$identify' THEN 'identify' WHEN '$create_alias' THEN 'alias' WHEN '$groupidentify' THEN 'group'
            ELSE 'track' END""",
        # PostHog has corrected it already.
        "occurred_at": '"timestamp"',
        "received_at": "coalesce(created_at, _inserted_at)",
        # The device's id outlives a reset of the distinct id; what is not the user's id is an anonymous one.
        "anonymous_id": f"""coalesce(properties."$device_id", {_OTHER})""",
        "user_id": _USER,
        "session_id_supplied": 'properties."$session_id"',
        "view_id": """CASE event WHEN '$pageleave'
            THEN coalesce(properties."$prev_pageview_id", properties."$pageview_id")
            ELSE properties."$pageview_id" END""",
        "page_url": 'properties."$current_url"',
        "page_title": 'coalesce(properties."$screen_name", properties.title)',
        "referrer_url": """nullif(properties."$referrer", '$direct')""",
        # Its utm_* are those of the visitor's last campaign, perhaps of long ago: the URL says more.
        "user_agent": 'coalesce(properties."$raw_user_agent", properties."$user_agent")',
        "device_type": 'lower(properties."$device_type")',
        "os": 'properties."$os"',
        "browser": 'properties."$browser"',
        "app_version": 'properties."$app_version"',
        "language": 'coalesce(properties."$browser_language", properties."$locale")',
        "country": 'properties."$geoip_country_code"',
        "is_conversion": f"coalesce({_EVENT} = 'order completed', false)",
        "revenue": f"""CASE WHEN {_EVENT} = 'order refunded'
            THEN {amount("coalesce(properties.total, properties.revenue)", paid_back=True)}
            ELSE {amount("properties.revenue")} END""",
        "currency": "properties.currency",
        "order_id": "properties.order_id",
        # A share of the height of the page that is left; the next page view repeats it, but is not about that page.
        "scroll_depth": """CASE event WHEN '$pageleave'
            THEN TRY_CAST(properties."$prev_pageview_max_scroll_percentage" AS DOUBLE) * 100 END""",
    },
    ids={
        # After a reset the device goes on under another distinct id, and so may the next user.
        "posthog_distinct_id": f"""CASE WHEN properties."$device_id" IS NOT NULL
            THEN nullif({_OTHER}, properties."$device_id") END""",
    },
    sessions={"mode": "supplied"},
    required=("event_name",),
)
