"""Matomo's visits with their actions as `Live.getLastVisitsDetails` answers them, or the actions of its database.

A record is an action: it has the fields of its visit, and `action`. The database knows its `action.serverTime`, in UTC;
of what the API answers `firstAction` is the timestamp of the visit's first action. The query of the database is in
docs/matomo.sql.

Matomo's documentation: "Reporting API" (module Live), "Database schema", "Tracking HTTP API"; and the classes
`VisitorDetails` of its plugins, which name the fields.
"""

from pipeline_assets.sources.formats.ready import Nested, ReadyFormat, TableLayout, amount

# Timestamps of actions are those of a clock that shows the site's time, those of visits are UTC: at the visit's first
# action the two tell how far the clock is off. That is whole quarters of an hour; what is less is no matter of zones.
_OFF_BY = "coalesce(900 * round((firstAction::BIGINT - firstActionTimestamp::BIGINT) / 900.0), 0)::BIGINT"

# What is seen of a page, an impression or a click, has the URL of the page, but is no view of it.
_CONTENT = "(action.contentName IS NOT NULL OR action.type = '13')"
_PRODUCT = "coalesce(action.productViewSku, action.productViewName)"
_ORDER = "action.type = 'ecommerceOrder'"
_OF_CONVERSION = "action.type IN ('goal', 'ecommerceOrder', 'ecommerceAbandonedCart')"
# Matomo 3 has no positions.
_FIRST_PAGE = f"NOT {_OF_CONVERSION} AND coalesce(action.pageviewPosition, '1') IN ('0', '1')"
_CATEGORY = "coalesce(x ->> '$.itemCategory', x ->> '$.categories[0]')"


def _of_landing(value: str) -> str:
    """What is known of the visit, as something of its first page: it says nothing of the other pages."""
    return f"CASE WHEN {_FIRST_PAGE} THEN {value} END"


def _told(text: str) -> str:
    """A text as it was sent: Matomo keeps what might be markup as entities of HTML."""
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#039;", "''"), ("&amp;", "&")):
        text = f"replace({text}, '{entity}', '{sign}')"
    return text


def _named(code: str, names: dict[str, str]) -> str:
    cases = " ".join(f"WHEN '{short}' THEN '{name}'" for short, name in names.items())
    return f"CASE {code} {cases} ELSE {code} END"


_SYSTEMS = {"WIN": "Windows", "MAC": "Mac", "IOS": "iOS", "IPA": "iPadOS", "AND": "Android", "LIN": "GNU/Linux",
            "COS": "Chrome OS", "UBT": "Ubuntu"}  # fmt: skip
_BROWSERS = {"CH": "Chrome", "CM": "Chrome Mobile", "FF": "Firefox", "FM": "Firefox Mobile", "SF": "Safari",
             "MF": "Mobile Safari", "PS": "Microsoft Edge", "OP": "Opera", "SB": "Samsung Browser"}  # fmt: skip

FORMAT = ReadyFormat(
    name="matomo",
    title="Matomo's visits with their actions",
    records="json_array",
    nested=Nested(array="actionDetails", record="action", of_first={"firstAction": "timestamp"}),
    marks=(("idVisit", "action.type"), ("idVisit", "visitorId", "actionDetails")),
    lookalikes={
        "visits and not actions: deliver what the API answers as it is, one array of visits with their actions": (
            "idVisit",
            "visitorId",
        )
    },
    table=TableLayout(json=("action", "action.itemDetails")),
    mapping={
        "property": "idSite",
        # Pages and events have the number of their row. The others have none: an order is known by its own number, a
        # cart is that of its visit, and a goal is reached once, or once at each action.
        "event_id": """CASE action.type
            WHEN 'ecommerceOrder' THEN 'order-' || action.orderId
            WHEN 'ecommerceAbandonedCart' THEN idVisit || '-cart'
            WHEN 'goal' THEN concat_ws('-', idVisit, 'goal', action.goalId,
                coalesce(action.goalPageId, action."timestamp"))
            ELSE idVisit || '-' || action.pageId END""",
        "event_name": f"""CASE WHEN {_CONTENT} THEN 'content' ELSE CASE action.type
            WHEN 'action' THEN CASE WHEN {_PRODUCT} IS NULL THEN 'page view' ELSE 'product viewed' END
            WHEN 'event' THEN {_told("action.eventAction")}
            WHEN 'goal' THEN coalesce({_told("action.goalName")}, 'goal') WHEN 'ecommerceOrder' THEN 'order completed'
            WHEN 'ecommerceAbandonedCart' THEN 'abandoned cart' ELSE action.type END END""",
        "event_type": f"CASE WHEN action.type = 'action' AND NOT {_CONTENT} THEN 'page' ELSE 'track' END",
        "occurred_at": f"""coalesce(epoch_us(action.serverTime::TIMESTAMP),
            1000000 * (action."timestamp"::BIGINT - {_OFF_BY}))""",
        "sequence": "TRY_CAST(action.pageId AS BIGINT)",
        "anonymous_id": "visitorId",
        "user_id": "userId",
        "session_id_supplied": "idVisit",
        # Six letters, by chance: unique within a visit.
        "view_id": "idVisit || '-' || action.idpageview",
        # The URL of a download or an outlink is where it leads.
        "page_url": f"CASE WHEN action.type IN ('action', 'event', 'goal', 'search') THEN {_told('action.url')} END",
        "page_title": _told("action.pageTitle"),
        "referrer_url": _of_landing("referrerUrl"),
        # Matomo takes campaign parameters out of URLs. Without its plugin for campaigns it knows name and keyword.
        "utm_source": _of_landing("campaignSource"),
        "utm_medium": _of_landing("campaignMedium"),
        "utm_campaign": _of_landing(
            "coalesce(campaignName, CASE WHEN referrerType = 'campaign' THEN referrerName END)"
        ),
        "utm_term": _of_landing(
            "coalesce(campaignKeyword, CASE WHEN referrerType = 'campaign' THEN referrerKeyword END)"
        ),
        "utm_content": _of_landing("campaignContent"),
        "click_id": _of_landing("adClickId"),
        "device_type": """CASE WHEN deviceType IN ('0', 'Desktop') THEN 'desktop'
            WHEN deviceType IN ('1', '3', '10', 'Smartphone', 'Feature phone', 'Phablet') THEN 'mobile'
            WHEN deviceType IN ('2', 'Tablet') THEN 'tablet' WHEN deviceType IN ('5', 'TV', 'Tv') THEN 'tv'
            WHEN deviceType <> 'Unknown' THEN 'other' END""",
        "os": f"coalesce(operatingSystemName, {_named('operatingSystemCode', _SYSTEMS)})",
        "browser": f"coalesce(browserName, {_named('browserCode', _BROWSERS)})",
        "language": "languageCode",
        "country": "upper(nullif(countryCode, 'xx'))",
        "is_conversion": "coalesce(action.type IN ('ecommerceOrder', 'goal'), false)",
        # A goal that is worth nothing is not for free. What lies in a cart has not been paid.
        "revenue": f"""CASE WHEN {_ORDER} THEN {amount("action.revenue")}
            WHEN action.type = 'goal' AND TRY_CAST(action.revenue AS DOUBLE) <> 0 THEN {amount("action.revenue")}
            END""",
        "currency": "siteCurrency",
        "order_id": "action.orderId",
        "items": f"""CASE
            WHEN json_array_length(TRY_CAST(action.itemDetails AS JSON)) > 0 THEN
                to_json(list_transform(from_json(action.itemDetails, '["JSON"]'), lambda x: json_object(
                    'sku', x ->> '$.itemSKU', 'name', x ->> '$.itemName', 'category', {_CATEGORY},
                    'price', x -> '$.price', 'quantity', x -> '$.quantity')))
            WHEN {_PRODUCT} IS NOT NULL THEN
                to_json([json_object('sku', action.productViewSku, 'name', action.productViewName,
                    'category', raw ->> '$.action.productViewCategories[0]',
                    'price', raw -> '$.action.productViewPrice')]) END""",
    },
    time={"columns": {"occurred_at": {"format": "epoch_us"}}},
    sessions={"mode": "supplied"},
    required=("event_name",),
)
