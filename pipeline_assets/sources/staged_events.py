"""One row per landed line: what a source's declaration mapped, before deduplication and enrichment."""

import dataframely as dy

from pipeline_assets.columns import choice, money, text, utc

EVENT_TYPES = ("page", "screen", "track", "identify", "alias", "group", "ping")


class StagedEvents(dy.Schema):
    """Staged rows, stored as Parquet per file and event day; the ledger lists the files that count."""

    source = text("Declared source the line came from")
    load_id = text("SHA-256 of the content of the file the line came from")
    line = dy.Int64(min=1, description="Line (or record) number in that file, from 1")
    property = text("Site, app or fleet; the source's name unless mapped")
    event_id = text("The source's id of the event, if it gives one", nullable=True)
    row_hash = text("SHA-256 of the raw row; only where the source gives no event id", nullable=True)
    event_name = text("Name of the event", nullable=True)
    event_type = choice(EVENT_TYPES, "Kind of event")
    event_type_given = text(
        "What the source called the event's type, where that is none of the known ones", nullable=True
    )
    occurred_at = utc("When it happened, after clock correction")
    sequence = dy.Int64(nullable=True, description="The source's place of the event among those of one moment")
    received_at = utc("When the collector received it", nullable=True)
    device_at = utc("When it happened by the device's own clock, if mapped", nullable=True)
    sent_at = utc("When the device sent it by its own clock", nullable=True)
    clock_skew_ms = dy.Int64(nullable=True, description="received_at - sent_at in milliseconds")
    clock_reason = text("Why occurred_at was corrected: skew, future, received_at; null if it was not", nullable=True)
    anonymous_id = text("Device or browser id", nullable=True)
    user_id = text("Id of the signed-in user", nullable=True)
    session_id_supplied = text("Session id given by the tracker", nullable=True)
    further_ids = text("Further ids of the person by kind, as a JSON object of texts", nullable=True)
    view_id = text("Id of the page or screen view given by the tracker", nullable=True)
    page_url = text("URL of the page", nullable=True)
    page_title = text("Title of the page or name of the screen", nullable=True)
    referrer_url = text("URL of the referring page", nullable=True)
    utm_source = text("Campaign source, if mapped", nullable=True)
    utm_medium = text("Campaign medium, if mapped", nullable=True)
    utm_campaign = text("Campaign name, if mapped", nullable=True)
    utm_term = text("Campaign term, if mapped", nullable=True)
    utm_content = text("Campaign content, if mapped", nullable=True)
    click_id = text("Advertising click id, if mapped", nullable=True)
    user_agent = text("User agent string", nullable=True)
    device_type = text("Kind of device, if mapped", nullable=True)
    os = text("Operating system, if mapped", nullable=True)
    browser = text("Browser, if mapped", nullable=True)
    app_version = text("Version of the app", nullable=True)
    language = text("Language of the user interface", nullable=True)
    country = text("Country", nullable=True)
    is_bot = dy.Bool(nullable=True, description="Whether the source says that a machine caused it, if mapped")
    consent = dy.Bool(nullable=True, description="Consent to analytics: true, false, or null where nothing is stated")
    is_conversion = dy.Bool(description="Whether the source's declaration counts this event as a conversion")
    revenue = money("Revenue of the event, negative for a refund", nullable=True)
    currency = text("Currency of the revenue, ISO 4217, upper case", nullable=True)
    order_id = text("Id of the order", nullable=True)
    items = text(
        "Products of the event, as a JSON array of objects: sku, name, category, price, quantity", nullable=True
    )
    scroll_depth = dy.Float64(nullable=True, description="How far down the page was seen until then, in percent")
    unusable = text(
        "Columns that were given but say nothing and so are null: items, scroll_depth, revenue (a number that is no "
        "amount), and ids with the value that is none, such as `user_id: null`; separated by a comma and a space",
        nullable=True,
    )
    properties = text("Everything that is not a column, as a JSON object", nullable=True)
    excluded = text("Why the row must not become an event (consent_denied), else null", nullable=True)
