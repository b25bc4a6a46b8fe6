"""The clean events of a day."""

import dataframely as dy

from pipeline_assets.contracts.columns import choice, made_of, money, text, utc
from pipeline_assets.contracts.staged_events import EVENT_TYPES

_BOT = ("staging.is_bot", "staging.user_agent")


class Events(dy.Schema):
    """Deduplicated, clock-corrected and enriched events; one row per property and event id and day."""

    event_date = dy.Date(
        description="Calendar day of occurred_at in the reporting time zone", metadata=made_of("staging.occurred_at")
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("staging.property"))
    event_id = text(
        "Id of the event: the source's, or a hash of its content",
        primary_key=True,
        metadata=made_of("staging.event_id", "staging.row_hash"),
    )
    is_id_derived = dy.Bool(
        description="Whether the source gave no id, so that event_id is a hash of the content",
        metadata=made_of("staging.event_id"),
    )
    event_name = text("Name of the event", nullable=True, metadata=made_of("staging.event_name"))
    event_type = choice(EVENT_TYPES, "Kind of event", metadata=made_of("staging.event_type"))
    event_type_given = text(
        "What the source called the event's type, where that is none of the known ones",
        nullable=True,
        metadata=made_of("staging.event_type_given"),
    )
    occurred_at = utc("When it happened, after clock correction", metadata=made_of("staging.occurred_at"))
    sequence = dy.Int64(
        nullable=True,
        description="The source's place of the event among those of one moment",
        metadata=made_of("staging.sequence"),
    )
    received_at = utc("When the collector received it", nullable=True, metadata=made_of("staging.received_at"))
    device_at = utc("When it happened by the device's own clock", nullable=True, metadata=made_of("staging.device_at"))
    clock_skew_ms = dy.Int64(
        nullable=True, description="received_at - sent_at in milliseconds", metadata=made_of("staging.clock_skew_ms")
    )
    clock_reason = text(
        "Why occurred_at was corrected: skew, future, received_at; null if it was not",
        nullable=True,
        metadata=made_of("staging.clock_reason"),
    )
    visitor_id = text(
        "anonymous_id, or user:<user_id> where there is none; null after a refusal",
        nullable=True,
        metadata=made_of("staging.anonymous_id", "staging.user_id"),
    )
    anonymous_id = text("Device or browser id", nullable=True, metadata=made_of("staging.anonymous_id"))
    user_id = text("Id of the signed-in user", nullable=True, metadata=made_of("staging.user_id"))
    session_id_supplied = text(
        "Session id given by the tracker", nullable=True, metadata=made_of("staging.session_id_supplied")
    )
    further_ids = text(
        "Further ids of the person by kind, as a JSON object of texts",
        nullable=True,
        metadata=made_of("staging.further_ids"),
    )
    view_id = text(
        "Id of the page or screen view given by the tracker", nullable=True, metadata=made_of("staging.view_id")
    )
    page_url = text("URL of the page", nullable=True, metadata=made_of("staging.page_url"))
    page_host = text("Host of the page, lower case", nullable=True, metadata=made_of("staging.page_url"))
    page_path = text("Path of the page", nullable=True, metadata=made_of("staging.page_url"))
    page_query = text(
        "Query string of the page without the question mark", nullable=True, metadata=made_of("staging.page_url")
    )
    page_title = text("Title of the page or name of the screen", nullable=True, metadata=made_of("staging.page_title"))
    referrer_url = text("URL of the referring page", nullable=True, metadata=made_of("staging.referrer_url"))
    referrer_host = text(
        "Host of the referrer, lower case; null where it is the page's own host",
        nullable=True,
        metadata=made_of("staging.referrer_url", "staging.page_url"),
    )
    referrer_path = text("Path of the referrer", nullable=True, metadata=made_of("staging.referrer_url"))
    utm_source = text("Campaign source", nullable=True, metadata=made_of("staging.utm_source", "staging.page_url"))
    utm_medium = text("Campaign medium", nullable=True, metadata=made_of("staging.utm_medium", "staging.page_url"))
    utm_campaign = text("Campaign name", nullable=True, metadata=made_of("staging.utm_campaign", "staging.page_url"))
    utm_term = text("Campaign term", nullable=True, metadata=made_of("staging.utm_term", "staging.page_url"))
    utm_content = text("Campaign content", nullable=True, metadata=made_of("staging.utm_content", "staging.page_url"))
    click_id = text("Advertising click id", nullable=True, metadata=made_of("staging.click_id", "staging.page_url"))
    click_id_type = text(
        "Parameter that carried the click id, such as gclid",
        nullable=True,
        metadata=made_of("staging.click_id", "staging.page_url"),
    )
    user_agent = text("User agent string", nullable=True, metadata=made_of("staging.user_agent"))
    device_type = text(
        "desktop, mobile, tablet, tv, bot or other",
        nullable=True,
        metadata=made_of("staging.device_type", "staging.user_agent"),
    )
    os = text("Operating system", nullable=True, metadata=made_of("staging.os", "staging.user_agent"))
    browser = text("Browser", nullable=True, metadata=made_of("staging.browser", "staging.user_agent"))
    app_version = text("Version of the app", nullable=True, metadata=made_of("staging.app_version"))
    language = text("Language of the user interface", nullable=True, metadata=made_of("staging.language"))
    country = text("Country", nullable=True, metadata=made_of("staging.country"))
    is_bot = dy.Bool(description="Whether the event was caused by a machine", metadata=made_of(*_BOT))
    bot_reason = text("Rule that flagged the bot; tracker: its source says so", nullable=True, metadata=made_of(*_BOT))
    consent = dy.Bool(
        nullable=True,
        description="Consent to analytics: true, false, or null where nothing is stated",
        metadata=made_of("staging.consent"),
    )
    is_conversion = dy.Bool(
        description="Whether the event counts as a conversion", metadata=made_of("staging.is_conversion")
    )
    revenue = money("Revenue of the event, negative for a refund", nullable=True, metadata=made_of("staging.revenue"))
    currency = text(
        "Currency of the revenue, ISO 4217, upper case", nullable=True, metadata=made_of("staging.currency")
    )
    order_id = text("Id of the order", nullable=True, metadata=made_of("staging.order_id"))
    items = text(
        "Products of the event, as a JSON array of objects: sku, name, category, price, quantity",
        nullable=True,
        metadata=made_of("staging.items"),
    )
    scroll_depth = dy.Float64(
        nullable=True,
        description="How far down the page was seen until then, in percent",
        metadata=made_of("staging.scroll_depth"),
    )
    unusable = text(
        "Columns that were given but say nothing and so are null: items, scroll_depth, revenue (a number that is no "
        "amount), and ids with the value that is none, such as `user_id: null`; separated by a comma and a space",
        nullable=True,
        metadata=made_of("staging.unusable"),
    )
    properties = text(
        "Everything that is not a column, as a JSON object", nullable=True, metadata=made_of("staging.properties")
    )
    source = text("Declared source of the event", metadata=made_of("staging.source"))
    load_id = text("SHA-256 of the content of the file the event came from", metadata=made_of("staging.load_id"))
    line = dy.Int64(min=1, description="Line (or record) number in that file, from 1", metadata=made_of("staging.line"))
