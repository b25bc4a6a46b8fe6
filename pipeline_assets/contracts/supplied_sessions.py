"""Session ids of trackers over all time."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, text, utc


class SuppliedSessions(dy.Schema):
    """Session ids that trackers supply, one row per visitor and id: when it was first and last seen."""

    session_date = dy.Date(
        description="Calendar day of the id's first event, on which its session starts",
        metadata=made_of("supplied_session_days.activity_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("supplied_session_days.property"))
    visitor_id = text("The visitor, see events", primary_key=True, metadata=made_of("supplied_session_days.visitor_id"))
    session_id_supplied = text(
        "Session id given by the tracker",
        primary_key=True,
        metadata=made_of("supplied_session_days.session_id_supplied"),
    )
    first_at = utc("Time of the id's first event", metadata=made_of("supplied_session_days.first_at"))
    last_at = utc("Time of the id's last event, strays included", metadata=made_of("supplied_session_days.last_at"))
