"""Page and screen views."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, text, utc

_VIEW = ("events.event_type", "events.view_id", "events.occurred_at")
_SESSION = (
    "events.property",
    "events.visitor_id",
    "events.source",
    "events.session_id_supplied",
    "supplied_sessions.first_at",
    "supplied_sessions.session_date",
)


class PageViews(dy.Schema):
    """Page and screen views of the sessions that start on a day; one row per view.

    A view whose pings go on in another supplied session is a view of that session, too.
    """

    page_view_id = text(
        "Deterministic id of the view", primary_key=True, metadata=made_of(*_SESSION, *_VIEW, "events.event_id")
    )
    view_id = text("The tracker's own id of the view", nullable=True, metadata=made_of("events.view_id"))
    session_id = text("Session of the view", metadata=made_of(*_SESSION, *_VIEW, "events.event_id", index=True))
    session_date = dy.Date(
        description="Calendar day the session starts on, in the reporting time zone",
        metadata=made_of("events.event_date", "supplied_sessions.session_date", index=True),
    )
    property = text("Site, app or fleet", metadata=made_of("events.property"))
    visitor_id = text("The visitor, see events", metadata=made_of("events.visitor_id"))
    user_id = text("User id on the view", nullable=True, metadata=made_of("events.user_id"))
    viewed_at = utc("Time of the view", metadata=made_of("events.occurred_at"))
    view_number = dy.Int64(min=1, description="Position of the view in its session, from 1", metadata=made_of(*_VIEW))
    is_entry = dy.Bool(description="First view of the session", metadata=made_of(*_VIEW))
    is_exit = dy.Bool(description="Last view of the session", metadata=made_of(*_VIEW))
    seconds_to_next = dy.Int64(
        nullable=True, min=0, description="Whole seconds to the next view of the session", metadata=made_of(*_VIEW)
    )
    engaged_seconds = dy.Int64(
        min=0,
        description="Engaged time from the view's pings, in steps of 10 s from 5 s on; 0 where there are none",
        metadata=made_of(*_VIEW),
    )
    scroll_depth = dy.Float64(
        nullable=True,
        min=0,
        max=100,
        description="How far down the page was seen, in percent; null where no event tells",
        metadata=made_of("events.scroll_depth", "events.view_id"),
    )
    page_host = text("Host, lower case", nullable=True, metadata=made_of("events.page_host"))
    page_path = text("Path", nullable=True, metadata=made_of("events.page_path"))
    page_title = text("Title of the page or name of the screen", nullable=True, metadata=made_of("events.page_title"))
    referrer_host = text(
        "Referring host; null where it is the page's own", nullable=True, metadata=made_of("events.referrer_host")
    )
    is_bot = dy.Bool(description="Whether the session is a bot's", metadata=made_of("events.is_bot"))
