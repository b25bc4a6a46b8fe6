"""Page and screen views among the events of sessions, with the engaged time of their pings."""

import polars as pl

from pipeline_assets.transforms.sessionize import group_numbers, is_view

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
