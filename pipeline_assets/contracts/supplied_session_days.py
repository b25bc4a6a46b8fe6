"""Session ids of trackers, by day."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, text, utc


class SuppliedSessionDays(dy.Schema):
    """Session ids that trackers supply, one row per day, visitor and id; of sources in supplied mode only."""

    activity_date = dy.Date(
        primary_key=True,
        description="Calendar day in the reporting time zone",
        metadata=made_of("events.event_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("events.property"))
    visitor_id = text("The visitor, see events", primary_key=True, metadata=made_of("events.visitor_id"))
    session_id_supplied = text(
        "Session id given by the tracker",
        primary_key=True,
        metadata=made_of("events.session_id_supplied", "events.source"),
    )
    first_at = utc("Time of the id's first event that day", metadata=made_of("events.occurred_at"))
    last_at = utc("Time of the id's last event that day", metadata=made_of("events.occurred_at"))
    events = dy.Int64(min=1, description="Events with the id that day", metadata=made_of("events.event_id"))
