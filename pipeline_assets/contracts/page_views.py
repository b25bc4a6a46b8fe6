"""Page and screen views."""

import dataframely as dy

from pipeline_assets.contracts.columns import text, utc


class PageViews(dy.Schema):
    """Page and screen views of the sessions that start on a day; one row per view."""

    page_view_id = text("Deterministic id of the view", primary_key=True)
    session_id = text("Session of the view", metadata={"index": True})
    session_date = dy.Date(
        description="Calendar day the session starts on, in the reporting time zone", metadata={"index": True}
    )
    property = text("Site, app or fleet")
    visitor_id = text("The visitor, see events")
    user_id = text("User id on the view", nullable=True)
    viewed_at = utc("Time of the view")
    view_number = dy.Int64(min=1, description="Position of the view in its session, from 1")
    is_entry = dy.Bool(description="First view of the session")
    is_exit = dy.Bool(description="Last view of the session")
    seconds_to_next = dy.Int64(nullable=True, min=0, description="Whole seconds to the next view of the session")
    page_host = text("Host, lower case", nullable=True)
    page_path = text("Path", nullable=True)
    page_title = text("Title of the page or name of the screen", nullable=True)
    referrer_host = text("Referring host; null where it is the page's own", nullable=True)
    is_bot = dy.Bool(description="Whether the session is a bot's")
