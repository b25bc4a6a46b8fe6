"""Rows of Google Analytics 4's export to BigQuery, as JSON lines.

Parameters are lists of keys and typed values there; here they become objects of texts, so that a mapping says
`event_params.page_location` and a question about an event `properties ->> '$.event_params.page_location'`.

https://developers.google.com/analytics/bigquery/event-schema
"""

from pipeline_assets.sources.formats.ready import ReadyFormat, TableLayout, amount

_PARAMETERS = (
    '[{"key":"VARCHAR","value":{"string_value":"VARCHAR","int_value":"VARCHAR","float_value":"VARCHAR",'
    '"double_value":"VARCHAR"}}]'
)
_VALUE = "coalesce(p.value.string_value, p.value.int_value, p.value.double_value, p.value.float_value)"


def _parameters(name: str) -> str:
    path = f"'$.{name}'"
    return f"CASE WHEN json_type(record, {path}) = 'ARRAY' THEN from_json(record -> {path}, '{_PARAMETERS}') END"


def _flat(name: str) -> str:
    """An object of a list of parameters; of a key that is there twice, the first value."""
    keys = f"list_transform({name}, lambda q: q.key)"
    firsts = f"list_filter({name}, lambda p, i: p.key IS NOT NULL AND list_position({keys}, p.key) = i)"
    entries = f"list_transform({firsts}, lambda p: {{'k': p.key, 'v': {_VALUE}}})"
    return f"CASE WHEN {name} IS NULL THEN record -> '$.{name}' ELSE to_json(map_from_entries({entries})) END"


def _batch(name: str) -> str:
    return f"coalesce(TRY_CAST({name} AS BIGINT), TRY_CAST(event_params.{name} AS BIGINT))"


# All events of a batch have the time of the batch. One number: that of the page, then four digits for the page's batch,
# then two for the batch's event.
_PAGE, _BATCH, _PLACE = (_batch(name) for name in ("batch_page_id", "batch_ordering_id", "batch_event_index"))
_SEQUENCE = f"""CASE WHEN coalesce({_PAGE}, {_BATCH}, {_PLACE}) IS NOT NULL THEN
    TRY_CAST(coalesce({_PAGE}, 0)::HUGEINT * 1000000 + least(coalesce({_BATCH}, 0), 9999) * 100
        + least(coalesce({_PLACE}, 0), 99) AS BIGINT) END"""

_PARAMETER_LISTS = ("event_params", "user_properties")

FORMAT = ReadyFormat(
    name="ga4",
    title="Google Analytics 4's BigQuery export",
    records="jsonl",
    # Without consent there is no user_pseudo_id.
    marks=(
        ("event_timestamp", "event_name", "user_pseudo_id"),
        ("event_timestamp", "event_name", "event_params"),
    ),
    table=TableLayout(
        json=(
            *_PARAMETER_LISTS,
            "app_info",
            "collected_traffic_source",
            "device",
            "ecommerce",
            "event_dimensions",
            "geo",
            "items",
            "privacy_info",
            "publisher",
            "session_traffic_source_last_click",
            "traffic_source",
            "user_ltv",
        )
    ),
    reshape=(
        {name: _parameters(name) for name in _PARAMETER_LISTS},
        {
            "record": "json_merge_patch(record, json_object("
            + ", ".join(f"'{name}', {_flat(name)}" for name in _PARAMETER_LISTS)
            + "))"
        },
    ),
    mapping={
        "property": "stream_id",
        "event_name": "event_name",
        "event_type": "CASE event_name WHEN 'page_view' THEN 'page' WHEN 'screen_view' THEN 'screen' ELSE 'track' END",
        "occurred_at": "event_timestamp",
        "sequence": _SEQUENCE,
        # Without consent there is no id, and an event needs one; it is taken away again with the consent.
        "anonymous_id": """coalesce(user_pseudo_id,
            CASE WHEN lower(privacy_info.analytics_storage) = 'no' THEN 'no consent' END)""",
        "user_id": "user_id",
        "session_id_supplied": "event_params.ga_session_id",
        "page_url": "event_params.page_location",
        "page_title": "coalesce(event_params.page_title, event_params.firebase_screen)",
        "referrer_url": "event_params.page_referrer",
        # `traffic_source` is that of the user's first visit, which is another question.
        "utm_source": "coalesce(collected_traffic_source.manual_source, event_params.source)",
        "utm_medium": "coalesce(collected_traffic_source.manual_medium, event_params.medium)",
        "utm_campaign": "coalesce(collected_traffic_source.manual_campaign_name, event_params.campaign)",
        "utm_term": "coalesce(collected_traffic_source.manual_term, event_params.term)",
        "utm_content": "coalesce(collected_traffic_source.manual_content, event_params.content)",
        "click_id": "coalesce(collected_traffic_source.gclid, event_params.gclid, collected_traffic_source.dclid)",
        "device_type": "lower(device.category)",
        "os": "device.operating_system",
        "browser": "coalesce(device.web_info.browser, device.browser)",
        "app_version": "app_info.version",
        "language": "device.language",
        "country": "geo.country",
        "consent": """CASE lower(privacy_info.analytics_storage) WHEN 'no' THEN false WHEN 'yes' THEN true END""",
        "is_conversion": "coalesce(event_name IN ('purchase', 'in_app_purchase'), false)",
        "revenue": f"""CASE event_name
            WHEN 'purchase' THEN {amount("coalesce(ecommerce.purchase_revenue, event_params.value)")}
            WHEN 'refund' THEN {amount("coalesce(ecommerce.refund_value, event_params.value)", paid_back=True)}
            WHEN 'in_app_purchase' THEN {amount("event_params.value")} END""",
        "currency": "event_params.currency",
        "order_id": "coalesce(ecommerce.transaction_id, event_params.transaction_id)",
        "items": """CASE WHEN json_array_length(TRY_CAST(items AS JSON)) > 0 THEN
            to_json(list_transform(from_json(items, '["JSON"]'), lambda x: json_object(
                'sku', x ->> '$.item_id', 'name', x ->> '$.item_name', 'category', x ->> '$.item_category',
                'price', x -> '$.price', 'quantity', x -> '$.quantity'))) END""",
        "scroll_depth": "CASE event_name WHEN 'scroll' THEN event_params.percent_scrolled END",
    },
    time={"columns": {"occurred_at": {"format": "epoch_us"}}},
    sessions={"mode": "supplied"},
    required=("event_name",),
)
