"""What follows what within a session."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, text

_NODES = ("page_views.page_path", "page_views.page_title", "events.event_name")
_ORDER = ("page_views.session_id", "page_views.view_number")


class PathTransitions(dy.Schema):
    """Steps from one page or event to the next within sessions, by the day the session starts. Bots take no part."""

    session_date = dy.Date(
        primary_key=True,
        description="Calendar day the session starts on, in the reporting time zone",
        metadata=made_of("page_views.session_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("page_views.property"))
    from_node = text(
        "Page or event; (start) before the first, (none) without a name", primary_key=True, metadata=made_of(*_NODES)
    )
    to_node = text(
        "Page or event that follows; (end) after the last, (none) without a name",
        primary_key=True,
        metadata=made_of(*_NODES),
    )
    transitions = dy.Int64(min=1, description="How often the one follows the other", metadata=made_of(*_ORDER))
    sessions = dy.Int64(min=1, description="Sessions in which it does", metadata=made_of("page_views.session_id"))
    median_seconds = dy.Float64(
        nullable=True,
        min=0,
        description="Median time between the two; null from (start), to (end) and where times are not known",
        metadata=made_of("page_views.viewed_at"),
    )
