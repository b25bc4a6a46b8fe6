"""What each campaign brought."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, money, text


class Campaigns(dy.Schema):
    """Sessions by channel, source, medium and campaign, on the day they start. Bots are left out.

    Visitors of two rows must not be added: a visitor may come by several ways on a day.
    """

    session_date = dy.Date(
        primary_key=True,
        description="Calendar day the sessions start on, in the reporting time zone",
        metadata=made_of("sessions.session_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("sessions.property"))
    channel = text("Channel group", primary_key=True, metadata=made_of("sessions.channel"))
    traffic_source = text(
        "Source of the traffic; (not set) where unknown", primary_key=True, metadata=made_of("sessions.traffic_source")
    )
    traffic_medium = text(
        "Medium of the traffic; (not set) where unknown", primary_key=True, metadata=made_of("sessions.traffic_medium")
    )
    campaign = text(
        "Campaign; (not set) where there is none", primary_key=True, metadata=made_of("sessions.utm_campaign")
    )
    sessions = dy.Int64(min=1, description="Sessions", metadata=made_of("sessions.session_id"))
    engaged_sessions = dy.Int64(min=0, description="Of these, engaged ones", metadata=made_of("sessions.is_engaged"))
    bounces = dy.Int64(min=0, description="Of these, sessions of one event", metadata=made_of("sessions.is_bounce"))
    visitors = dy.Int64(min=1, description="Distinct visitors that day", metadata=made_of("sessions.visitor_id"))
    page_views = dy.Int64(min=0, description="Page and screen views", metadata=made_of("sessions.page_views"))
    engaged_seconds = dy.Int64(min=0, description="Engaged time", metadata=made_of("sessions.engaged_seconds"))
    duration_seconds = dy.Int64(
        min=0,
        description="Whole seconds from first to last event of each session, added up",
        metadata=made_of("sessions.duration_seconds"),
    )
    conversions = dy.Int64(min=0, description="Conversion events", metadata=made_of("sessions.conversions"))
    revenue = money(
        "Revenue in the reporting currency; null where there is none that can be converted",
        nullable=True,
        metadata=made_of("sessions.revenue", "sessions.currency", "sessions.session_date"),
    )
    amounts_without_rate = dy.Int64(
        min=0,
        description="Sessions whose revenue is missing because its currency has no rate that day",
        metadata=made_of("sessions.revenue", "sessions.currency", "sessions.session_date"),
    )
