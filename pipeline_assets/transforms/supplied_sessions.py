"""When the session ids that trackers supply were first and last seen.

The first event that an id ever had is a minimum over all days. A minimum of each day's minima does not depend on the
order in which days arrive or are built.
"""

from collections.abc import Collection, Sequence
from datetime import date

import polars as pl

from pipeline_assets.contracts.supplied_session_days import SuppliedSessionDays
from pipeline_assets.contracts.supplied_sessions import SuppliedSessions
from pipeline_assets.transforms.sessionize import hex_ids

_ID = ("property", "visitor_id", "session_id_supplied")
_HALF = 16**8


def build_supplied_session_days(
    events: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, sources: Collection[str]
) -> pl.DataFrame:
    """Supplied session ids seen on `days`, per `contracts.SuppliedSessionDays`.

    Args:
        events: at least all events (`contracts.Events`) of `days`.
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


def build_supplied_sessions(supplied_session_days: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Every supplied session id ever seen, per `contracts.SuppliedSessions`; in order of the day it was first seen.

    Args:
        supplied_session_days: all rows of all days (`contracts.SuppliedSessionDays`).

    Reads:
        all supplied_session_days.
    """
    return (
        supplied_session_days.lazy()
        .group_by(_ID)
        .agg(
            session_date=pl.col("activity_date").min(),
            first_at=pl.col("first_at").min(),
            last_at=pl.col("last_at").max(),
        )
        .select(SuppliedSessions.column_names())
        .sort("session_date", *_ID)
        .collect()
    )


def supplied_session_revisions(
    supplied_session_days: pl.LazyFrame | pl.DataFrame, supplied_sessions: pl.LazyFrame | pl.DataFrame
) -> pl.DataFrame:
    """What a day depends on in `supplied_sessions`, as one short text per day.

    That is which of the ids seen on the day were seen on an earlier one, and when first: they start no session there,
    and their events may be strays. All else about them is in the day's events. The revision is their number and a sum
    of 128-bit hashes of them, the same on every machine and for every order of the rows. Such ids are few.

    Returns:
        activity_date, revision; a row per day of `supplied_session_days`, in order.

    Reads:
        all supplied_session_days (four columns), supplied_sessions.
    """
    rows = supplied_session_days.lazy().select("activity_date", *_ID)
    known = supplied_sessions.lazy().select(*_ID, "session_date", "first_at")
    days = rows.select("activity_date").unique().collect()
    older = rows.join(known, on=_ID).filter(pl.col("session_date") < pl.col("activity_date")).collect()
    lengths = (pl.col(name).str.len_bytes() for name in _ID)
    since = pl.col("first_at").dt.epoch("us")
    hashes = hex_ids(older.select(pl.concat_str(*lengths, since, *_ID, separator="\x1f")).to_series())
    # Sums of 32-bit parts cannot overflow, however many rows a day has.
    parts = [hashes.str.slice(8 * place, 8).str.to_integer(base=16).alias(f"part_{place}") for place in range(4)]
    sums = [pl.col(part.name).sum() % _HALF for part in parts]
    digests = older.select("activity_date", *parts).group_by("activity_date").agg(*sums, ids=pl.len())
    return (
        days.join(digests, on="activity_date", how="left")
        .select(
            "activity_date",
            revision=pl.format("{}-{}-{}-{}-{}", "ids", *(part.name for part in parts)).fill_null("0"),
        )
        .sort("activity_date")
    )
