"""The clean events of a day."""

import dataframely as dy

from pipeline_assets.contracts.columns import choice, money, text, utc
from pipeline_assets.contracts.staged_events import EVENT_TYPES


class Events(dy.Schema):
    """Deduplicated, clock-corrected and enriched events; one row per property and event id and day."""

    event_date = dy.Date(description="Calendar day of occurred_at in the reporting time zone")
    property = text("Site, app or fleet", primary_key=True)
    event_id = text("Id of the event: the source's, or a hash of its content", primary_key=True)
    event_name = text("Name of the event", nullable=True)
    event_type = choice(EVENT_TYPES, "Kind of event")
    occurred_at = utc("When it happened, after clock correction")
    received_at = utc("When the collector received it", nullable=True)
    device_at = utc("When it happened by the device's own clock", nullable=True)
    clock_skew_ms = dy.Int64(nullable=True, description="received_at - sent_at in milliseconds")
    clock_reason = text("Why occurred_at was corrected: skew, future, received_at; null if it was not", nullable=True)
    visitor_id = text("anonymous_id, or user:<user_id> where there is none; null after a refusal", nullable=True)
    anonymous_id = text("Device or browser id", nullable=True)
    user_id = text("Id of the signed-in user", nullable=True)
    session_id_supplied = text("Session id given by the tracker", nullable=True)
    view_id = text("Id of the page or screen view given by the tracker", nullable=True)
    page_url = text("URL of the page", nullable=True)
    page_host = text("Host of the page, lower case", nullable=True)
    page_path = text("Path of the page", nullable=True)
    page_query = text("Query string of the page without the question mark", nullable=True)
    page_title = text("Title of the page or name of the screen", nullable=True)
    referrer_url = text("URL of the referring page", nullable=True)
    referrer_host = text("Host of the referrer, lower case; null where it is the page's own host", nullable=True)
    referrer_path = text("Path of the referrer", nullable=True)
    utm_source = text("Campaign source", nullable=True)
    utm_medium = text("Campaign medium", nullable=True)
    utm_campaign = text("Campaign name", nullable=True)
    utm_term = text("Campaign term", nullable=True)
    utm_content = text("Campaign content", nullable=True)
    click_id = text("Advertising click id", nullable=True)
    click_id_type = text("Parameter that carried the click id, such as gclid", nullable=True)
    user_agent = text("User agent string", nullable=True)
    device_type = text("desktop, mobile, tablet, tv, bot or other", nullable=True)
    os = text("Operating system", nullable=True)
    browser = text("Browser", nullable=True)
    app_version = text("Version of the app", nullable=True)
    language = text("Language of the user interface", nullable=True)
    country = text("Country", nullable=True)
    is_bot = dy.Bool(description="Whether the event was caused by a machine")
    bot_reason = text("Rule that flagged the bot", nullable=True)
    consent = dy.Bool(nullable=True, description="Consent to analytics: true, false, or null where nothing is stated")
    is_conversion = dy.Bool(description="Whether the event counts as a conversion")
    revenue = money("Revenue of the event, negative for a refund", nullable=True)
    currency = text("Currency of the revenue, ISO 4217", nullable=True)
    order_id = text("Id of the order", nullable=True)
    properties = text("Everything that is not a column, as a JSON object", nullable=True)
    source = text("Declared source of the event")
    load_id = text("SHA-256 of the content of the file the event came from")
    line = dy.Int64(min=1, description="Line (or record) number in that file, from 1")
