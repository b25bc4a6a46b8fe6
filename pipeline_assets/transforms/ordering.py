"""The order of events, also of those of one moment.

Whatever asks which of some events came first asks here, so that all tables give the same answer: by the moment; by the
source's own count; by when it arrived; of events without an id of their own by the place in their file, so that the
lines of a log stay in order; and by the id, so that there always is an order.
"""

from collections.abc import Sequence

import polars as pl

ORDER_COLUMNS = ("occurred_at", "sequence", "received_at", "is_id_derived", "load_id", "line", "event_id")
"""Columns of events that their order depends on."""


def event_order() -> list[pl.Expr]:
    """What to sort events by, nulls last: occurred_at, sequence, received_at, file and line, event_id.

    File and line, the content digest of the file that the event came from and its line there, count only for events
    without an id of their source. An id is the same in whichever file it comes, and what it came with is chance.
    """
    derived = pl.when("is_id_derived")
    return [
        pl.col("occurred_at"),
        pl.col("sequence"),
        pl.col("received_at"),
        # Categories would be in an order of their own.
        derived.then(pl.col("load_id").cast(pl.String)),
        derived.then("line"),
        pl.col("event_id"),
    ]


def first_known(in_order: pl.DataFrame, column: str, by: Sequence[str]) -> pl.DataFrame:
    """The first value of a column that is not null, for each group that has one."""
    named = in_order.filter(pl.col(column).is_not_null()).select(*by, column)
    return named.unique(by, keep="first", maintain_order=True)
