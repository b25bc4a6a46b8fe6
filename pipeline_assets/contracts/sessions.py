"""Visits."""

import dataframely as dy

from pipeline_assets.contracts.columns import choice, money, text, utc


class Sessions(dy.Schema):
    """Visits: one row per session, on the day it starts. A pause over 30 minutes ends it, as does a day without one."""

    session_id = text("Deterministic id: hash of property, visitor and first event", primary_key=True)
    session_date = dy.Date(
        description="Calendar day the session starts on, in the reporting time zone", metadata={"index": True}
    )
    property = text("Site, app or fleet", metadata={"index": True})
    visitor_id = text("The visitor, see events", metadata={"index": True})
    user_id = text("Last user id seen in the session", nullable=True, metadata={"index": True})
    started_at = utc("Time of the first event")
    ended_at = utc("Time of the last event")
    start_reason = choice(("inactivity", "day_filled"), "Why the session started")
    end_reason = choice(("inactivity", "day_filled"), "Why the session ended")
    events = dy.Int64(min=1, description="Events in the session")
    events_next_day = dy.Int64(min=0, description="Of these, events on the calendar day after session_date")
    page_views = dy.Int64(min=0, description="Page and screen views")
    entry_page = text("Path (or screen) of the first view", nullable=True)
    exit_page = text("Path (or screen) of the last view", nullable=True)
    duration_seconds = dy.Int64(min=0, description="Whole seconds from first to last event")
    engaged_seconds = dy.Int64(min=0, description="Engaged time from pings; 0 where there are none")
    is_bounce = dy.Bool(description="Exactly one event")
    is_engaged = dy.Bool(description="Over 10 s, or a conversion, or at least 2 views (GA4)")
    conversions = dy.Int64(min=0, description="Conversion events")
    revenue = money("Sum of revenue; null where none, or where the session mixes currencies", nullable=True)
    currency = text("Currency of the revenue; null where none or mixed", nullable=True)
    utm_source = text("Landing campaign source", nullable=True)
    utm_medium = text("Landing campaign medium", nullable=True)
    utm_campaign = text("Landing campaign name", nullable=True)
    utm_term = text("Landing campaign term", nullable=True)
    utm_content = text("Landing campaign content", nullable=True)
    click_id = text("Landing click id", nullable=True)
    referrer_host = text("Landing referrer", nullable=True)
    channel = text("Default channel group (GA4)")
    device_type = text("Device of the first event that names one", nullable=True)
    os = text("Operating system of the first event that names one", nullable=True)
    browser = text("Browser of the first event that names one", nullable=True)
    country = text("Country of the first event that names one", nullable=True)
    is_bot = dy.Bool(description="Whether any event of the session is a bot's")
