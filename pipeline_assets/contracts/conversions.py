"""Events that are worth something."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, money, text, utc


class Conversions(dy.Schema):
    """One row per conversion: an event of a visitor that a declared `Conversion` means. Bots convert nothing."""

    conversion_date = dy.Date(
        description="Calendar day of the event in the reporting time zone",
        metadata=made_of("events.event_date", index=True),
    )
    conversion = text("Name of the declared conversion", metadata=made_of(index=True))
    conversion_id = text(
        "Deterministic id: hash of conversion, property, event id and time",
        primary_key=True,
        metadata=made_of("events.property", "events.event_id", "events.occurred_at"),
    )
    property = text("Site, app or fleet", metadata=made_of("events.property", index=True))
    visitor_id = text("The visitor, see events", metadata=made_of("events.visitor_id", index=True))
    user_id = text("User id of the event", nullable=True, metadata=made_of("events.user_id", index=True))
    session_id = text(
        "The visitor's session that spans the event, both ends included; of several, the one that started last",
        nullable=True,
        metadata=made_of("sessions.session_id", "sessions.started_at", "sessions.ended_at", index=True),
    )
    occurred_at = utc("Time of the event", metadata=made_of("events.occurred_at"))
    value = money(
        "What the conversion is worth, by the declared expression; negative for a loss",
        nullable=True,
        metadata=made_of("events.revenue"),
    )
    currency = text("Currency of the value, ISO 4217", nullable=True, metadata=made_of("events.currency"))
    reporting_value = money(
        "The value in the reporting currency; null where there is no value or no rate that day",
        nullable=True,
        metadata=made_of("events.revenue", "events.currency", "events.event_date"),
    )
    order_id = text("Id of the order", nullable=True, metadata=made_of("events.order_id"))
