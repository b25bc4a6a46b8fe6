"""When the session ids that trackers supply were first and last seen.

The first event that an id ever had is a minimum over all days. A minimum of each day's minima does not depend on the
order in which days arrive or are built.
"""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, text, utc
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import Input, Inputs, TableSpec
from pipeline_assets.transforms.sessionize import hex_ids


class SuppliedSessions(dy.Schema):
    """Session ids that trackers supply, one row per visitor and id: when it was first and last seen."""

    session_date = dy.Date(
        description="Calendar day of the id's first event, on which its session starts",
        metadata=made_of("supplied_session_days.activity_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("supplied_session_days.property"))
    visitor_id = text("The visitor, see events", primary_key=True, metadata=made_of("supplied_session_days.visitor_id"))
    session_id_supplied = text(
        "Session id given by the tracker",
        primary_key=True,
        metadata=made_of("supplied_session_days.session_id_supplied"),
    )
    first_at = utc("Time of the id's first event", metadata=made_of("supplied_session_days.first_at"))
    last_at = utc("Time of the id's last event, strays included", metadata=made_of("supplied_session_days.last_at"))


_ID = ("property", "visitor_id", "session_id_supplied")
_HALF = 16**8


def build_supplied_sessions(supplied_session_days: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Every supplied session id ever seen, per `SuppliedSessions`; in order of the day it was first seen.

    Args:
        supplied_session_days: all rows of all days (`SuppliedSessionDays`).

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


def build(inputs: Inputs, days: Sequence[date], parameters: None) -> pl.DataFrame:  # noqa: ARG001 - of all days
    """See `build_supplied_sessions`."""
    return build_supplied_sessions(inputs["supplied_session_days"])


def revisions(inputs: Inputs, rows: pl.DataFrame) -> pl.DataFrame:
    """See `supplied_session_revisions`."""
    return supplied_session_revisions(inputs["supplied_session_days"], rows)


def supplied_sessions(declared: Declarations) -> TableSpec | None:
    """The table, where a source supplies ids of sessions."""
    if not declared.supplied_sources:
        return None
    return TableSpec(
        name="supplied_sessions",
        contract=SuppliedSessions,
        store="lake",
        group="behaviour",
        inputs=(Input("supplied_session_days"),),
        build=build,
        revisions=revisions,
    )
