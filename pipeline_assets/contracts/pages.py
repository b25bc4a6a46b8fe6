"""What happened on each page."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, text


class Pages(dy.Schema):
    """Page and screen views by page, of the sessions that start on a day. Bots are left out.

    A page without a path goes by its title, as a screen does.
    """

    session_date = dy.Date(
        primary_key=True,
        description="Calendar day the sessions start on, in the reporting time zone",
        metadata=made_of("page_views.session_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("page_views.property"))
    page_host = text(
        "Host, lower case; (none) where there is none", primary_key=True, metadata=made_of("page_views.page_host")
    )
    page_path = text(
        "Path, or the title where there is no path, or (none)",
        primary_key=True,
        metadata=made_of("page_views.page_path", "page_views.page_title"),
    )
    views = dy.Int64(min=1, description="Views", metadata=made_of("page_views.page_view_id"))
    visitors = dy.Int64(
        min=1, description="Distinct visitors that viewed it", metadata=made_of("page_views.visitor_id")
    )
    entries = dy.Int64(min=0, description="Sessions whose first view it was", metadata=made_of("page_views.is_entry"))
    exits = dy.Int64(min=0, description="Sessions whose last view it was", metadata=made_of("page_views.is_exit"))
    bounces = dy.Int64(
        min=0,
        description="Sessions of one event that entered here",
        metadata=made_of("page_views.is_entry", "page_views.session_id", "sessions.session_id", "sessions.is_bounce"),
    )
    engaged_seconds = dy.Int64(
        min=0, description="Engaged time of all views", metadata=made_of("page_views.engaged_seconds")
    )
    seconds_to_next = dy.Int64(
        min=0,
        description="Whole seconds to the next view of the session, of the views that are not exits together",
        metadata=made_of("page_views.seconds_to_next"),
    )
    mean_seconds_to_next = dy.Float64(
        min=0,
        nullable=True,
        description="The same per view that is not an exit; null where all are",
        metadata=made_of("page_views.seconds_to_next"),
    )
    views_with_scroll_depth = dy.Int64(
        min=0, description="Views that tell how far they scrolled", metadata=made_of("page_views.scroll_depth")
    )
    mean_scroll_depth = dy.Float64(
        nullable=True,
        description="Mean scroll depth of these, in percent; null where there are none",
        metadata=made_of("page_views.scroll_depth"),
    )
