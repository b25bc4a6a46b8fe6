"""What happened on a day."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, money, text


class DailyActivity(dy.Schema):
    """One row per day and property. Bots are counted apart and in nothing else but `events`."""

    activity_date = dy.Date(
        primary_key=True, description="Calendar day in the reporting time zone", metadata=made_of("events.event_date")
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("events.property"))
    events = dy.Int64(min=0, description="Events, bots included", metadata=made_of("events.event_id"))
    bot_events = dy.Int64(min=0, description="Events of bots", metadata=made_of("events.event_id", "events.is_bot"))
    visitors = dy.Int64(
        min=0, description="Distinct visitors with an event that day", metadata=made_of("events.visitor_id")
    )
    users = dy.Int64(min=0, description="Distinct user ids with an event that day", metadata=made_of("events.user_id"))
    sessions = dy.Int64(min=0, description="Sessions that start that day", metadata=made_of("sessions.session_id"))
    engaged_sessions = dy.Int64(min=0, description="Of these, engaged ones", metadata=made_of("sessions.is_engaged"))
    bounces = dy.Int64(min=0, description="Of these, sessions of one event", metadata=made_of("sessions.is_bounce"))
    page_views = dy.Int64(
        min=0, description="Page and screen views that day", metadata=made_of("events.event_type", "events.view_id")
    )
    conversions = dy.Int64(min=0, description="Conversion events that day", metadata=made_of("events.is_conversion"))
    revenue = money(
        "Revenue that day; null where none, or where the day mixes currencies",
        nullable=True,
        metadata=made_of("events.revenue"),
    )
    currency = text(
        "Currency of the revenue; null where none or mixed", nullable=True, metadata=made_of("events.currency")
    )
