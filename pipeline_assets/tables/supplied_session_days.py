"""Session ids of trackers, by day."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, text, utc
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import EVENTS, Input, Inputs, TableSpec, sums


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


@dataclass(frozen=True)
class Parameters:
    """What the ids depend on.

    Attributes:
        sources: the sources in supplied mode.
    """

    sources: tuple[str, ...]


def build(inputs: Inputs, days: Sequence[date], parameters: Parameters) -> pl.DataFrame:
    """See `build_supplied_session_days`."""
    return build_supplied_session_days(inputs[EVENTS], days, sources=parameters.sources)


def supplied_session_days(declared: Declarations) -> TableSpec | None:
    """The table, where a source supplies ids of sessions."""
    if not declared.supplied_sources:
        return None
    return TableSpec(
        name="supplied_session_days",
        contract=SuppliedSessionDays,
        partition_column="activity_date",
        store="lake",
        group="behaviour",
        figures=sums("events"),
        inputs=(Input(EVENTS),),
        build=build,
        parameters=Parameters(declared.supplied_sources),
    )
