"""Page and screen views of sessions.

A view is made by page and screen events: one for each view id of a session where the tracker gives one, else one for
each event. Pings and other events that carry a view id belong to the view and make none.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import polars as pl
from polars import selectors as cs

from pipeline_assets.contracts.page_views import PageViews
from pipeline_assets.transforms.sessionize import assign_sessions, compact, hex_ids, session_ids, sessions_of_days

VIEW_COLUMNS = (
    "event_type",
    "event_name",
    "view_id",
    "user_id",
    "page_host",
    "page_path",
    "page_title",
    "referrer_host",
    "is_bot",
)
"""Columns of events that views need besides those of `assign_sessions`."""


def build_page_views(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    timezone: str,
    timeouts: Mapping[str, timedelta] | None = None,
) -> pl.DataFrame:
    """Views of the sessions that start on `days`, per `contracts.PageViews`.

    Args:
        events: all events (`contracts.Events`) of `days`, of the day before and the day after each.
        days: session dates to build.
        timezone: see `assign_sessions`.
        timeouts: see `assign_sessions`.
    """
    assigned = assign_sessions(compact(events), timezone=timezone, timeouts=timeouts, columns=VIEW_COLUMNS)
    rows = sessions_of_days(assigned, days)
    return _page_view_table(find_views(rows), rows)


def is_view() -> pl.Expr:
    """Whether an event is one of a page or screen view."""
    return pl.col("event_type").is_in(["page", "screen"])


def find_views(rows: pl.DataFrame) -> pl.DataFrame:
    """First event of each view in `rows` (`sessions_of_days`), with view_number, is_entry, is_exit and page.

    page is the path; where there is none the title, and for a screen without a title the event's name.
    """
    session = pl.col("session_number")
    repeats = pl.col("view_id").is_not_null() & ~pl.struct("session_number", "view_id").is_first_distinct()
    return (
        rows.filter(is_view())
        .filter(~repeats)
        .with_columns(
            is_entry=session.ne_missing(session.shift()),
            is_exit=session.ne_missing(session.shift(-1)),
            page=pl.coalesce("page_path", "page_title", pl.when(pl.col("event_type") == "screen").then("event_name")),
        )
        .with_columns(number=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
        .with_columns(
            view_number=pl.col("number") - pl.when("is_entry").then("number").forward_fill() + 1,
        )
        .drop("number")
    )


def _page_view_table(views: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """`contracts.PageViews` from the result of `find_views(rows)`."""
    ids = session_ids(rows.filter("is_start"))
    bots = rows.group_by("session_number").agg(pl.col("is_bot").any()).sort("session_number")["is_bot"]
    # An event id may come again on another day of the session. A view id is the tracker's, an event id may be
    # anything: the letter keeps the two apart.
    event = pl.format("e{}\x1f{}", pl.col("occurred_at").dt.epoch("us"), "event_id")
    key = pl.concat_str("session_id", pl.coalesce(pl.lit("v") + pl.col("view_id"), event), separator="\x1f")
    views = views.with_columns(
        session_id=ids.gather(views["session_number"]),
        is_bot=bots.gather(views["session_number"]),
        viewed_at=pl.col("occurred_at"),
        seconds_to_next=pl.when(~pl.col("is_exit")).then(
            (pl.col("occurred_at").shift(-1) - pl.col("occurred_at")).dt.total_seconds()
        ),
    )
    return (
        views.with_columns(page_view_id=hex_ids(views.select(key).to_series()))
        .select(PageViews.column_names())
        .with_columns(cs.categorical().cast(pl.String))
        .sort("session_date", "viewed_at", "page_view_id")
    )
