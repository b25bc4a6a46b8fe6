"""Page and screen views of sessions.

A view is made by page and screen events: one for each view id of a session where the tracker gives one, else one for
each event. Pings and other events that carry a view id belong to the view and make none. Only where the tracker
supplies the ids of sessions do pings make a view of their own: their view id says that the page was seen in this
session, too, though it was opened in another. Snowplow counts so.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl
from polars import selectors as cs

from pipeline_assets.contracts.page_views import PageViews
from pipeline_assets.transforms.session_rows import SessionRows, session_rows
from pipeline_assets.transforms.sessionize import SessionRules, group_numbers, hex_ids, is_view

HEARTBEAT_SECONDS = 10
MINIMUM_VISIT_SECONDS = 5

VIEW_COLUMNS = (
    "event_type",
    "event_name",
    "view_id",
    "user_id",
    "page_host",
    "page_path",
    "page_title",
    "referrer_host",
    "scroll_depth",
    "is_bot",
)
"""Columns of events that views need besides those of `session_rows`."""


def build_page_views(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    timezone: str,
    rules: Mapping[str, SessionRules] | None = None,
    supplied: pl.LazyFrame | pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Views of the sessions that start on `days`, per `contracts.PageViews`.

    Engaged time is Snowplow's: with a heartbeat of 10 s and a minimum visit of 5 s,
    `10 * (distinct floor(epoch / 10) of the view's pings - 1) + 5` seconds, 0 without pings. The pings of a view are
    those of its session with its view id. Its scroll depth is the greatest that it or an event with its view id tells;
    what is no number from 0 to 100 tells none.

    Args:
        events: see `session_rows`.
        days: session dates to build.
        timezone: see `assign_sessions`.
        rules: see `session_rows`.
        supplied: see `session_rows`.

    Raises:
        ValueError: see `session_rows`.

    Reads:
        events from the day before to the day after a day, or as many days after it as a supplied session may last;
        supplied_sessions that start on the day.
    """
    sessions = session_rows(events, days, timezone=timezone, rules=rules, supplied=supplied, columns=VIEW_COLUMNS)
    return _page_view_table(find_views(sessions.rows), sessions)


def find_views(rows: pl.DataFrame) -> pl.DataFrame:
    """First event of each view in `rows` (`session_rows`), those of a session together and in order.

    The first page or screen event of a view; of a view of a supplied session that has none there, the first ping.

    Added are view_number, is_entry, is_exit, engaged_seconds, page and the scroll_depth of the view. page is the path;
    where there is none the title, and for a screen without a title the event's name.
    """
    session = pl.col("session_number")
    numbers = group_numbers(rows, "session_number", "view_id")
    rows = rows.with_columns(view=pl.when(pl.col("view_id").is_not_null()).then(numbers))
    beat = pl.col("occurred_at").dt.epoch("s") // HEARTBEAT_SECONDS
    of_views = rows.lazy().filter(pl.col("view").is_not_null())
    engaged = (
        of_views.filter(pl.col("event_type") == "ping")
        .select("view", beat=beat)
        # Most repeats follow each other.
        .filter(pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in ("view", "beat")))
        .unique()
        .group_by("view")
        .agg(beats=pl.len().cast(pl.Int64))
        .collect()
    )
    depths = of_views.select("view", deepest=_scroll_depth()).drop_nulls().group_by("view").max().collect()
    is_repeat = pl.col("view").is_not_null() & ~pl.col("view").is_first_distinct()
    supplied_ping = pl.col("is_supplied") & (pl.col("event_type") == "ping") & pl.col("view").is_not_null()
    opened = rows.filter(is_view(), pl.col("view").is_not_null())["view"].unique()
    return (
        rows.filter(is_view() | (supplied_ping & ~pl.col("view").is_in(opened.implode())))
        .filter(~is_repeat)
        .join(engaged, on="view", how="left", maintain_order="left")
        .join(depths, on="view", how="left", maintain_order="left")
        .with_columns(
            is_entry=session.ne_missing(session.shift()),
            is_exit=session.ne_missing(session.shift(-1)),
            engaged_seconds=(HEARTBEAT_SECONDS * (pl.col("beats") - 1) + MINIMUM_VISIT_SECONDS).fill_null(0),
            scroll_depth=pl.coalesce("deepest", _scroll_depth()),
            page=pl.coalesce("page_path", "page_title", pl.when(pl.col("event_type") == "screen").then("event_name")),
        )
        .with_columns(number=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
        .with_columns(
            view_number=pl.col("number") - pl.when("is_entry").then("number").forward_fill() + 1,
        )
        .drop("number", "view", "beats", "deepest")
    )


def _scroll_depth() -> pl.Expr:
    """The scroll depth of an event, where it is a percentage."""
    depth = pl.col("scroll_depth")
    # Adding zero leaves no minus zero.
    return pl.when(depth.is_not_nan() & depth.is_between(0, 100)).then(depth + 0.0)


def _page_view_table(views: pl.DataFrame, sessions: SessionRows) -> pl.DataFrame:
    """`contracts.PageViews` from the result of `find_views(sessions.rows)`."""
    ids = sessions.sessions["session_id"]
    bots = sessions.rows.group_by("session_number").agg(pl.col("is_bot").any()).sort("session_number")["is_bot"]
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
