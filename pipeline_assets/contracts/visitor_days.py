"""What each visitor did on a day."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, money, text, utc

# Which events are in no session.
_OUTSIDE = (
    "events.event_date",
    "events.occurred_at",
    "events.source",
    "events.session_id_supplied",
    "events.event_type",
    "events.view_id",
)


class VisitorDays(dy.Schema):
    """One row per day, property, visitor, user id, further ids and bot or not: what people's tables are added up from.

    Sessions are counted on the day they start, on the row of their visitor and user id; a row may have sessions and
    no events.
    """

    activity_date = dy.Date(
        description="Calendar day in the reporting time zone",
        metadata=made_of("events.event_date", "sessions.session_date"),
    )
    property = text("Site, app or fleet", metadata=made_of("events.property", "sessions.property"))
    visitor_id = text("The visitor, see events", metadata=made_of("events.visitor_id", "sessions.visitor_id"))
    visitor_day_id = text(
        "Deterministic id of the row: hash of day, property, visitor, user id, further ids and is_bot",
        primary_key=True,
        metadata=made_of(
            "events.event_date",
            "events.property",
            "events.visitor_id",
            "events.user_id",
            "events.further_ids",
            "events.is_bot",
            "sessions.session_date",
            "sessions.property",
            "sessions.visitor_id",
            "sessions.user_id",
            "sessions.is_bot",
        ),
    )
    anonymous_id = text(
        "Device or browser id; null where the visitor was known by a user id only",
        nullable=True,
        metadata=made_of("events.visitor_id", "events.user_id", "sessions.visitor_id", "sessions.user_id"),
    )
    user_id = text("Id of the signed-in user", nullable=True, metadata=made_of("events.user_id", "sessions.user_id"))
    further_ids = text(
        "Further ids of the person by kind, as a JSON object of texts",
        nullable=True,
        metadata=made_of("events.further_ids"),
    )
    is_bot = dy.Bool(
        description="Whether the events, or the sessions, are a bot's",
        metadata=made_of("events.is_bot", "sessions.is_bot"),
    )
    first_seen_at = utc(
        "First event; without events the start of the first session",
        metadata=made_of("events.occurred_at", "sessions.started_at"),
    )
    last_seen_at = utc(
        "Last event; without events the start of the last session",
        metadata=made_of("events.occurred_at", "sessions.started_at"),
    )
    events = dy.Int64(min=0, description="Events of the day, in a session or not", metadata=made_of("events.event_id"))
    orphan_pings = dy.Int64(
        min=0, description="Of these, in no session: pings of a view of another session", metadata=made_of(*_OUTSIDE)
    )
    events_without_session_id = dy.Int64(
        min=0,
        description="Of these, in no session: events without an id, where the tracker supplies it",
        metadata=made_of(*_OUTSIDE),
    )
    strays = dy.Int64(
        min=0,
        description="Of these, in no session: events more than max_session_days after their session's first",
        metadata=made_of(*_OUTSIDE),
    )
    page_views = dy.Int64(
        min=0,
        description="Page and screen views of the day: view ids seen first on this row, and views without an id",
        metadata=made_of("events.event_type", "events.view_id"),
    )
    conversions = dy.Int64(min=0, description="Conversion events", metadata=made_of("events.is_conversion"))
    revenue = money(
        "Revenue in the reporting currency; null where none",
        nullable=True,
        metadata=made_of("events.revenue", "events.currency"),
    )
    sessions = dy.Int64(min=0, description="Sessions that start that day", metadata=made_of("sessions.session_id"))
    session_events = dy.Int64(
        min=0, description="Events of these sessions, on whichever day", metadata=made_of("sessions.events")
    )
    session_page_views = dy.Int64(
        min=0, description="Page and screen views of these sessions", metadata=made_of("sessions.page_views")
    )
    engaged_sessions = dy.Int64(min=0, description="Of these, engaged ones", metadata=made_of("sessions.is_engaged"))
    engaged_seconds = dy.Int64(
        min=0, description="Engaged time of these sessions", metadata=made_of("sessions.engaged_seconds")
    )
    first_session_at = utc("Start of the day's first session", nullable=True, metadata=made_of("sessions.started_at"))
    session_id = text("The day's first session", nullable=True, metadata=made_of("sessions.session_id"))
    channel = text("Channel of the first session", nullable=True, metadata=made_of("sessions.channel"))
    traffic_source = text("Source of the first session", nullable=True, metadata=made_of("sessions.traffic_source"))
    traffic_medium = text("Medium of the first session", nullable=True, metadata=made_of("sessions.traffic_medium"))
    utm_campaign = text("Campaign of the first session", nullable=True, metadata=made_of("sessions.utm_campaign"))
    referrer_host = text("Referrer of the first session", nullable=True, metadata=made_of("sessions.referrer_host"))
    entry_page = text("Entry page of the first session", nullable=True, metadata=made_of("sessions.entry_page"))
    device_type = text("Device of the first session", nullable=True, metadata=made_of("sessions.device_type"))
    country = text("Country of the first session", nullable=True, metadata=made_of("sessions.country"))
    last_session_at = utc("Start of the day's last session", nullable=True, metadata=made_of("sessions.started_at"))
    last_channel = text("Channel of the last session", nullable=True, metadata=made_of("sessions.channel"))
