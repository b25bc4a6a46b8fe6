"""Visits."""

import dataframely as dy

from pipeline_assets.contracts.columns import choice, made_of, money, text, utc

REASONS = ("inactivity", "day_filled", "midnight", "campaign", "supplied")

# Which events a session has: the visitor's, told apart by time, or by the id that the tracker supplies.
_EVENTS = (
    "events.property",
    "events.visitor_id",
    "events.occurred_at",
    "events.received_at",
    "events.event_id",
    "events.event_date",
    "events.event_type",
    "events.view_id",
    "events.source",
    "events.session_id_supplied",
    "supplied_sessions.first_at",
    "supplied_sessions.session_date",
)
_CAMPAIGNS = ("events.utm_source", "events.utm_medium", "events.utm_campaign", "events.click_id")
_LANDING = ("events.utm_source", "events.utm_medium", "events.referrer_host")
_CHANNEL = (*_LANDING, "events.utm_campaign", "events.click_id_type")


class Sessions(dy.Schema):
    """Visits: one row per session, on the day it starts. A pause over 30 minutes ends it, or a day without one."""

    session_id = text(
        "Deterministic id: hash of property, visitor and first event, or supplied id",
        primary_key=True,
        metadata=made_of(*_EVENTS, *_CAMPAIGNS),
    )
    session_date = dy.Date(
        description="Calendar day the session starts on, in the reporting time zone",
        metadata=made_of("events.event_date", "supplied_sessions.session_date", index=True),
    )
    property = text("Site, app or fleet", metadata=made_of("events.property", index=True))
    visitor_id = text("The visitor, see events", metadata=made_of("events.visitor_id", index=True))
    session_id_supplied = text(
        "The tracker's own id: of a supplied session its id, of an inferred one the first that an event of it has",
        nullable=True,
        metadata=made_of("events.session_id_supplied", index=True),
    )
    user_id = text("Last user id seen in the session", nullable=True, metadata=made_of("events.user_id", index=True))
    started_at = utc("Time of the first event", metadata=made_of("events.occurred_at"))
    ended_at = utc("Time of the last event", metadata=made_of("events.occurred_at"))
    start_reason = choice(REASONS, "Why the session started", metadata=made_of(*_EVENTS, *_CAMPAIGNS))
    end_reason = choice(REASONS, "Why the session ended", metadata=made_of(*_EVENTS, *_CAMPAIGNS))
    events = dy.Int64(min=1, description="Events in the session", metadata=made_of(*_EVENTS))
    events_next_day = dy.Int64(
        min=0,
        description="Of these, events on the calendar day after session_date",
        metadata=made_of("events.event_date", "supplied_sessions.session_date"),
    )
    page_views = dy.Int64(
        min=0, description="Page and screen views", metadata=made_of("events.event_type", "events.view_id")
    )
    entry_page = text(
        "Path (or screen) of the first view",
        nullable=True,
        metadata=made_of("events.page_path", "events.page_title", "events.event_name"),
    )
    exit_page = text(
        "Path (or screen) of the last view",
        nullable=True,
        metadata=made_of("events.page_path", "events.page_title", "events.event_name"),
    )
    duration_seconds = dy.Int64(
        min=0, description="Whole seconds from first to last event", metadata=made_of("events.occurred_at")
    )
    engaged_seconds = dy.Int64(
        min=0,
        description="Engaged time of its views, from their pings; 0 where there are none",
        metadata=made_of("events.occurred_at", "events.event_type", "events.view_id"),
    )
    is_bounce = dy.Bool(description="Exactly one event", metadata=made_of("events.event_id"))
    is_engaged = dy.Bool(
        description="Over 10 s, or a conversion, or at least 2 views (GA4)",
        metadata=made_of("events.occurred_at", "events.is_conversion", "events.event_type", "events.view_id"),
    )
    conversions = dy.Int64(min=0, description="Conversion events", metadata=made_of("events.is_conversion"))
    revenue = money(
        "Sum of revenue; null where none, or where the session mixes currencies",
        nullable=True,
        metadata=made_of("events.revenue", "events.currency"),
    )
    currency = text(
        "Currency of the revenue; null where none or mixed",
        nullable=True,
        metadata=made_of("events.currency", "events.revenue"),
    )
    utm_source = text("Landing campaign source", nullable=True, metadata=made_of(*_LANDING))
    utm_medium = text("Landing campaign medium", nullable=True, metadata=made_of(*_LANDING))
    utm_campaign = text("Landing campaign name", nullable=True, metadata=made_of("events.utm_campaign", *_LANDING))
    utm_term = text("Landing campaign term", nullable=True, metadata=made_of("events.utm_term", *_LANDING))
    utm_content = text("Landing campaign content", nullable=True, metadata=made_of("events.utm_content", *_LANDING))
    click_id = text("Landing click id", nullable=True, metadata=made_of("events.click_id", *_LANDING))
    referrer_host = text("Landing referrer", nullable=True, metadata=made_of(*_LANDING))
    channel = text("Channel group, by the deployment's channel rules", metadata=made_of(*_CHANNEL))
    traffic_source = text(
        "Where the visit came from, lower case; (direct) where nothing says", metadata=made_of(*_CHANNEL)
    )
    traffic_medium = text(
        "How it came, lower case; (none) where nothing says, (not set) beside a source without a medium",
        metadata=made_of(*_CHANNEL),
    )
    device_type = text(
        "Device of the first event that names one", nullable=True, metadata=made_of("events.device_type")
    )
    os = text("Operating system of the first event that names one", nullable=True, metadata=made_of("events.os"))
    browser = text("Browser of the first event that names one", nullable=True, metadata=made_of("events.browser"))
    country = text("Country of the first event that names one", nullable=True, metadata=made_of("events.country"))
    is_bot = dy.Bool(description="Whether any event of the session is a bot's", metadata=made_of("events.is_bot"))
