"""What follows what within a session."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from pipeline_assets.analyses.declaration import Paths
from pipeline_assets.contracts.keys import capped
from pipeline_assets.contracts.path_transitions import PathTransitions
from pipeline_assets.transforms.funnels import median_seconds

START = "(start)"
END = "(end)"
NONE = "(none)"

_KEY = ("session_date", "property", "from_node", "to_node")
_SESSION = ("session_date", "property", "session_id")


def build_paths(views: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, paths: Paths) -> pl.DataFrame:
    """Transitions in the sessions that start on `days`, per `contracts.PathTransitions`.

    Reads the page views, or the events with their session, of the sessions of `days`, and no other day's.

    A session of nodes A, B goes from (start) to A, from A to B, and from B to (end). A node that repeats is a
    transition to itself. Only the first `max_length` transitions of a session count, the one from (start) included; so
    a longer session has none to (end). A node without a name is (none).

    Args:
        views: session_id, session_date (Date), property, position (Int64, order in the session), node (String, null
            without a name), and at (Datetime) where times are known. Without bots.
        days: session dates to build.
        paths: the declaration; its max_length is used.
    """
    frame = views.lazy()
    has_times = "at" in frame.collect_schema()
    rows = (
        frame.filter(pl.col("session_date").is_in(sorted(set(days))))
        .select(
            *_SESSION,
            "position",
            capped(pl.col("node")).fill_null(NONE),
            at=pl.col("at") if has_times else pl.lit(None, pl.Datetime("us", "UTC")),
        )
        # The last two decide only where a session has a position twice.
        .sort(*_SESSION, "position", "at", "node", nulls_last=True)
        .collect()
    )
    is_first = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in _SESSION)
    steps = (
        rows.with_columns(is_first=is_first, order=pl.int_range(pl.len(), dtype=pl.Int64))
        .with_columns(
            is_last=pl.col("is_first").shift(-1, fill_value=True),
            number=pl.col("order") - pl.when("is_first").then("order").forward_fill() + 1,
        )
        .with_columns(
            before=pl.when("is_first").then(pl.lit(START)).otherwise(pl.col("node").shift()),
            took=pl.when(~pl.col("is_first")).then(pl.col("at") - pl.col("at").shift()),
        )
    )
    moves = steps.filter(pl.col("number") <= paths.max_length).select(
        *_SESSION, "took", from_node="before", to_node="node"
    )
    ends = steps.filter("is_last", pl.col("number") < paths.max_length).select(
        *_SESSION, pl.lit(None, pl.Duration("us")).alias("took"), from_node="node", to_node=pl.lit(END)
    )
    return (
        pl.concat([moves, ends])
        .group_by(_KEY)
        .agg(
            transitions=pl.len().cast(pl.Int64),
            sessions=pl.col("session_id").n_unique().cast(pl.Int64),
            median_seconds=median_seconds("took"),
        )
        .select(PathTransitions.column_names())
        .sort(_KEY)
    )
