r"""Snowplow's enriched events: lines of 131 fields between tabs, without a header.

Entities and the self-describing event get the names that Snowplow's analytics SDKs give them, by their schema: all
entities of one schema are the array `contexts_com_acme_product_1`, the event is the object
`unstruct_event_com_acme_checkout_1`. A mapping reads `unstruct_event_com_acme_checkout_1.step` and
`contexts_com_acme_product_1 ->> '$[0].sku'`. What is no such JSON stays as it is under `contexts`,
`derived_contexts` and `unstruct_event`.

https://docs.snowplow.io/docs/fundamentals/canonical-event/understanding-the-enriched-tsv-format/
"""

from pipeline_assets.sources.formats.ready import ReadyFormat, TableLayout, amount

_HEADER = """
    app_id platform etl_tstamp collector_tstamp dvce_created_tstamp event event_id txn_id name_tracker v_tracker
    v_collector v_etl user_id user_ipaddress user_fingerprint domain_userid domain_sessionidx network_userid geo_country
    geo_region geo_city geo_zipcode geo_latitude geo_longitude geo_region_name ip_isp ip_organization ip_domain
    ip_netspeed page_url page_title page_referrer page_urlscheme page_urlhost page_urlport page_urlpath page_urlquery
    page_urlfragment refr_urlscheme refr_urlhost refr_urlport refr_urlpath refr_urlquery refr_urlfragment refr_medium
    refr_source refr_term mkt_medium mkt_source mkt_term mkt_content mkt_campaign contexts se_category se_action
    se_label se_property se_value unstruct_event tr_orderid tr_affiliation tr_total tr_tax tr_shipping tr_city tr_state
    tr_country ti_orderid ti_sku ti_name ti_category ti_price ti_quantity pp_xoffset_min pp_xoffset_max pp_yoffset_min
    pp_yoffset_max useragent br_name br_family br_version br_type br_renderengine br_lang br_features_pdf
    br_features_flash br_features_java br_features_director br_features_quicktime br_features_realplayer
    br_features_windowsmedia br_features_gears br_features_silverlight br_cookies br_colordepth br_viewwidth
    br_viewheight os_name os_family os_manufacturer os_timezone dvce_type dvce_ismobile dvce_screenwidth
    dvce_screenheight doc_charset doc_width doc_height tr_currency tr_total_base tr_tax_base tr_shipping_base
    ti_currency ti_price_base base_currency geo_timezone mkt_clickid mkt_network etl_tags dvce_sent_tstamp
    refr_domain_userid refr_device_tstamp derived_contexts domain_sessionid derived_tstamp event_vendor event_name
    event_format event_version event_fingerprint true_tstamp
"""
COLUMNS = tuple(_HEADER.split())

_SCHEMA = "^iglu:([a-zA-Z0-9_.-]+)/([a-zA-Z0-9_-]+)/[a-zA-Z0-9_-]+/([0-9]+)(?:-[0-9]+)*$"
_ENTITIES = '[{"schema":"VARCHAR","data":"JSON"}]'


def _part(schema: str, group: int) -> str:
    return rf"regexp_replace(regexp_extract({schema}, '{_SCHEMA}', {group}), '[.-]', '_', 'g')"


def _key(prefix: str, schema: str) -> str:
    """Name of a schema's data: vendor, name in snake case, first number of the version."""
    name = rf"regexp_replace({_part(schema, 2)}, '([^A-Z_])([A-Z])', '\1_\2', 'g')"
    return f"'{prefix}_' || lower({_part(schema, 1)} || '_' || {name} || '_') || {_part(schema, 3)}"


def _entities(name: str) -> str:
    """The entities of a field, each with its key; null unless each of them has a schema."""
    json = f"TRY_CAST(record ->> '$.{name}' AS JSON)"
    entities = f"from_json({json} -> '$.data', '{_ENTITIES}')"
    named = f"list_transform({entities}, lambda e: {{'k': {_key('contexts', 'e.schema')}, 'v': e.data}})"
    wrong = f"list_filter({entities}, lambda e: NOT coalesce(regexp_matches(e.schema, '{_SCHEMA}'), false))"
    return f"CASE WHEN json_type({json}, '$.data') = 'ARRAY' AND len({wrong}) = 0 THEN {named} END"


_UNSTRUCT = "TRY_CAST(record ->> '$.unstruct_event' AS JSON)"

# How far down the page the lower edge of the window has come.
_SEEN = """(100.0 * (TRY_CAST(pp_yoffset_max AS DOUBLE) + TRY_CAST(br_viewheight AS DOUBLE))
    / nullif(TRY_CAST(doc_height AS DOUBLE), 0))"""
_SCREEN = "unstruct_event_com_snowplowanalytics_mobile_screen_view_1"
_ROBOTS = "contexts_com_iab_snowplow_spiders_and_robots_1"
_SESSION = "contexts_com_snowplowanalytics_snowplow_client_session_1"
_MOBILE = "contexts_com_snowplowanalytics_snowplow_mobile_context_1"
_ECOMMERCE = "com_snowplowanalytics_snowplow_ecommerce"
_ACTION = f"unstruct_event_{_ECOMMERCE}_snowplow_ecommerce_action_1"
_TRANSACTION = f"contexts_{_ECOMMERCE}_transaction_1"
_REFUND = f"contexts_{_ECOMMERCE}_refund_1"
_PRODUCTS = f"contexts_{_ECOMMERCE}_product_1"

FORMAT = ReadyFormat(
    name="snowplow",
    title="Snowplow's enriched events",
    records="tsv_lines",
    columns=COLUMNS,
    added=("contexts_", "unstruct_event_"),
    table=TableLayout(marks=(("collector_tstamp", "event_id", "derived_tstamp", "domain_userid"),)),
    reshape=(
        {
            "contexts": _entities("contexts"),
            "derived_contexts": _entities("derived_contexts"),
            "schema": f"{_UNSTRUCT} ->> '$.data.schema'",
            "data": f"{_UNSTRUCT} -> '$.data.data'",
        },
        {
            "entities": "list_concat(contexts, derived_contexts)",
            "kept": """json_object(
                'contexts', CASE WHEN contexts IS NULL THEN record -> '$.contexts' END,
                'derived_contexts', CASE WHEN derived_contexts IS NULL THEN record -> '$.derived_contexts' END)""",
            "event": f"""CASE WHEN data IS NOT NULL AND regexp_matches(schema, '{_SCHEMA}')
                THEN to_json(MAP {{'unstruct_event': NULL, {_key("unstruct_event", "schema")}: data}})
                ELSE '{{}}'::JSON END""",
        },
        {
            "record": """json_merge_patch(record, kept, event, to_json(map_from_entries(list_transform(
                list_sort(list_distinct(list_transform(entities, lambda e: e.k))),
                lambda n: {'k': n, 'v': list_transform(list_filter(entities, lambda e: e.k = n), lambda e: e.v)}))))""",
        },
    ),
    mapping={
        "property": "app_id",
        "event_id": "event_id",
        "event_type": f"""CASE WHEN event = 'page_view' THEN 'page' WHEN event = 'page_ping' THEN 'ping'
            WHEN {_SCREEN}.id IS NOT NULL OR {_SCREEN}.name IS NOT NULL THEN 'screen'
            WHEN event IN ('struct', 'unstruct', 'transaction', 'transaction_item') THEN 'track' ELSE event END""",
        "event_name": "CASE event WHEN 'struct' THEN coalesce(se_action, event) ELSE coalesce(event_name, event) END",
        "device_at": "dvce_created_tstamp",
        "sent_at": "dvce_sent_tstamp",
        "occurred_at": "coalesce(true_tstamp, derived_tstamp, collector_tstamp)",
        "sequence": f"TRY_CAST({_SESSION} ->> '$[0].eventIndex' AS BIGINT)",
        "received_at": "collector_tstamp",
        "anonymous_id": f"""coalesce(domain_userid, {_SESSION} ->> '$[0].userId', {_SESSION} ->> '$[0].user_id',
            network_userid)""",
        "user_id": "user_id",
        # Warehouses write the keys of entities in snake case.
        "session_id_supplied": f"""coalesce(domain_sessionid, {_SESSION} ->> '$[0].sessionId',
            {_SESSION} ->> '$[0].session_id')""",
        "view_id": f"""coalesce(contexts_com_snowplowanalytics_snowplow_web_page_1 ->> '$[0].id', {_SCREEN}.id,
            contexts_com_snowplowanalytics_mobile_screen_1 ->> '$[0].id')""",
        "page_url": "page_url",
        "page_title": f"coalesce(page_title, {_SCREEN}.name)",
        "referrer_url": "page_referrer",
        "utm_source": "mkt_source",
        "utm_medium": "mkt_medium",
        "utm_campaign": "mkt_campaign",
        "utm_term": "mkt_term",
        "utm_content": "mkt_content",
        "click_id": "mkt_clickid",
        "user_agent": "useragent",
        "os": f"coalesce({_MOBILE} ->> '$[0].osType', {_MOBILE} ->> '$[0].os_type')",
        "app_version": "contexts_com_snowplowanalytics_mobile_application_1 ->> '$[0].version'",
        "language": "br_lang",
        "country": "geo_country",
        # Of the enrichment with the IAB's list.
        "is_bot": f"""coalesce({_ROBOTS} ->> '$[0].spiderOrRobot', {_ROBOTS} ->> '$[0].spider_or_robot')""",
        "is_conversion": f"coalesce(event = 'transaction' OR {_ACTION}.type = 'transaction', false)",
        "revenue": f"""CASE WHEN event = 'transaction' THEN {amount("tr_total")}
            WHEN {_ACTION}.type = 'transaction' THEN {amount(f"({_TRANSACTION} ->> '$[0].revenue')")}
            WHEN {_ACTION}.type = 'refund' THEN
                {amount(f"({_REFUND} ->> '$[0].refund_amount')", paid_back=True)} END""",
        "currency": f"""coalesce(tr_currency, ti_currency, {_TRANSACTION} ->> '$[0].currency',
            {_REFUND} ->> '$[0].currency')""",
        "order_id": f"""coalesce(tr_orderid, ti_orderid, {_TRANSACTION} ->> '$[0].transaction_id',
            {_REFUND} ->> '$[0].transaction_id')""",
        "items": f"""CASE WHEN event = 'transaction_item' THEN to_json([json_object('sku', ti_sku, 'name', ti_name,
                'category', ti_category, 'price', ti_price, 'quantity', ti_quantity)])
            WHEN {_PRODUCTS} IS NOT NULL THEN to_json(list_transform(from_json({_PRODUCTS}, '["JSON"]'),
                lambda x: json_object('sku', x ->> '$.id', 'name', x ->> '$.name', 'category', x ->> '$.category',
                    'price', x -> '$.price', 'quantity', x -> '$.quantity'))) END""",
        "scroll_depth": f"CASE WHEN event = 'page_ping' AND {_SEEN} IS NOT NULL THEN least({_SEEN}, 100) END",
    },
    # A true time is what the tracker's owner vouches for.
    time={"exact": "true_tstamp IS NOT NULL"},
    sessions={"mode": "supplied"},
)
