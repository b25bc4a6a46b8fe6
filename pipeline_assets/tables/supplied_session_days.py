"""Session ids of trackers, by day."""

from collections.abc import Collection, Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, text, utc


class SuppliedSessionDays(dy.Schema):
    """Session ids that trackers supply, one row per day, visitor and id; of sources in supplied mode only."""

    activity_date = dy.Date(
        primary_key=True,
        description="Calendar day in the reporting time zone",
        metadata=made_of("events.event_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("events.property"))
    visitor_id = text("The visitor, see events", primary_key=True, metadata=made_of("events.visitor_id"))
    session_id_supplied = text(
        "Session id given by the tracker",
        primary_key=True,
        metadata=made_of("events.session_id_supplied", "events.source"),
    )
    first_at = utc("Time of the id's first event that day", metadata=made_of("events.occurred_at"))
    last_at = utc("Time of the id's last event that day", metadata=made_of("events.occurred_at"))
    events = dy.Int64(min=1, description="Events with the id that day", metadata=made_of("events.event_id"))


_ID = ("property", "visitor_id", "session_id_supplied")


def build_supplied_session_days(
    events: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, sources: Collection[str]
) -> pl.DataFrame:
    """Supplied session ids seen on `days`, per `SuppliedSessionDays`.

    Args:
        events: at least all events (`Events`) of `days`.
        days: activity dates to build.
        sources: the sources in supplied mode; the events of others do not count.

    Reads:
        events of the day.
    """
    return (
        events.lazy()
        .filter(
            pl.col("event_date").is_in(sorted(set(days))),
            pl.col("source").is_in(sorted(sources)),
            pl.all_horizontal(pl.col("visitor_id", "session_id_supplied").is_not_null()),
        )
        .group_by(pl.col("event_date").alias("activity_date"), *_ID)
        .agg(
            first_at=pl.col("occurred_at").min(),
            last_at=pl.col("occurred_at").max(),
            events=pl.len().cast(pl.Int64),
        )
        .select(SuppliedSessionDays.column_names())
        .sort("activity_date", *_ID)
        .collect()
    )
