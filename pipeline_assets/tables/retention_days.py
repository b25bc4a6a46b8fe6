"""Who began and who returned on a day: what retention is computed from, however long its history."""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import duckdb
import polars as pl

from pipeline_assets.columns import made_of, text
from pipeline_assets.declarations.analyses import Retention, Selector
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.person_days import inputs_about
from pipeline_assets.tables.selection import select_events
from pipeline_assets.tables.spec import EVENTS, Input, Inputs, TableSpec
from pipeline_assets.transforms.entities import entity


class RetentionDays(dy.Schema):
    """One row per day, declared retention and entity with an event that begins a cohort or is a return."""

    activity_date = dy.Date(
        primary_key=True,
        description="Calendar day in the reporting time zone",
        metadata=made_of("events.event_date"),
    )
    retention = text("Name of the declared retention", primary_key=True, metadata=made_of())
    entity = text(
        "Visitor (with its property) or person, as declared",
        primary_key=True,
        metadata=made_of("events.property", "events.visitor_id", "events.user_id", "person_days.person_id"),
    )
    is_cohort = dy.Bool(
        description="Whether an event that begins a cohort is among theirs",
        metadata=made_of("events.event_name", "events.event_type"),
    )
    is_return = dy.Bool(
        description="Whether an event that counts as a return is among theirs",
        metadata=made_of("events.event_name", "events.event_type"),
    )


_VISITOR = ("activity_date", "property", "visitor_id", "user_id")
_MARKS = ("is_cohort", "is_return")


def build_retention_days(
    events: pl.LazyFrame | pl.DataFrame,
    person_days: pl.LazyFrame | None,
    days: Sequence[date],
    *,
    retentions: Sequence[Retention],
) -> pl.DataFrame:
    """Who began and who returned on `days`, per `RetentionDays`.

    Reads the events of the days themselves, and who the visitors were on them.

    Args:
        events: event_date, property, visitor_id, user_id and for each retention two marks, `<name>: cohort` (the event
            begins a cohort) and `<name>: return`. Bots and events without a visitor are left out by the caller.
        person_days: see `entity`; not needed where all retentions are by visitor.
        days: activity dates to build.
        retentions: the declared ones; their name, by and properties are used.
    """
    rows = events.lazy().filter(pl.col("event_date").is_in(sorted(set(days)))).rename({"event_date": "activity_date"})
    parts = [_of(retention, rows, person_days if retention.by == "person" else None) for retention in retentions]
    return pl.concat(parts).sort("activity_date", "retention", "entity").collect()


def _of(retention: Retention, rows: pl.LazyFrame, person_days: pl.LazyFrame | None) -> pl.LazyFrame:
    if retention.properties:
        rows = rows.filter(pl.col("property").is_in(list(retention.properties)))
    visitors = (
        rows.group_by(_VISITOR)
        .agg(
            is_cohort=pl.col(f"{retention.name}: cohort").any(),
            is_return=pl.col(f"{retention.name}: return").any(),
        )
        .filter(pl.any_horizontal(_MARKS))
    )
    return (
        entity(visitors, person_days, "activity_date")
        .filter(pl.col("entity").is_not_null())
        .group_by("activity_date", "entity")
        .agg(pl.col(_MARKS).any())
        .with_columns(retention=pl.lit(retention.name))
        .select(RetentionDays.column_names())
    )


def select(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], days: Sequence[date], parameters: tuple[Retention, ...]
) -> pl.DataFrame:
    """The events that begin a cohort or are a return, by retention."""
    marks: dict[str, Selector] = {f"{each.name}: cohort": each.cohort for each in parameters}
    marks |= {f"{each.name}: return": each.returning for each in parameters}
    return select_events(
        connection,
        paths,
        columns=("property", "visitor_id", "user_id", "event_date"),
        marks=marks,
        days=days,
        only_marked=True,
    )


def build(inputs: Inputs, days: Sequence[date], parameters: tuple[Retention, ...]) -> pl.DataFrame:
    """See `build_retention_days`."""
    return build_retention_days(inputs[EVENTS], inputs.get("person_days"), days, retentions=parameters)


def retention_days(declared: Declarations) -> TableSpec | None:
    """The summary of each day for all declared retentions, where there is one."""
    retentions = declared.analyses.of(Retention)
    if not retentions:
        return None
    by = "person" if any(each.by == "person" for each in retentions) else "visitor"
    return TableSpec(
        name="retention_days",
        contract=RetentionDays,
        partition_column="activity_date",
        store="lake",
        group="analyses",
        inputs=inputs_about(by, Input(EVENTS, select=select)),
        build=build,
        parameters=retentions,
    )
