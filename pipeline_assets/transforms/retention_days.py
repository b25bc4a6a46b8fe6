"""Who began and who returned on a day: what retention is computed from, however long its history."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date

import polars as pl

from pipeline_assets.contracts.retention_days import RetentionDays

_KEY = ("activity_date", "property", "visitor_id", "user_id")


def build_retention_days(
    events: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, counted: Mapping[str, Collection[str]]
) -> pl.DataFrame:
    """Who began and who returned on `days`, per `contracts.RetentionDays`.

    Reads the events of the days themselves.

    Args:
        events: event_date, property, visitor_id, user_id and for each retention two marks, `<name>: cohort` (the event
            begins a cohort) and `<name>: return`. Bots and events without a visitor are left out by the caller.
        days: activity dates to build.
        counted: the retentions by name, and the properties each of them counts; none means all.
    """
    rows = events.lazy().filter(pl.col("event_date").is_in(sorted(set(days)))).rename({"event_date": "activity_date"})
    parts = [
        (rows.filter(pl.col("property").is_in(list(properties))) if properties else rows)
        .group_by(_KEY)
        .agg(is_cohort=pl.col(f"{name}: cohort").any(), is_return=pl.col(f"{name}: return").any())
        .filter(pl.col("is_cohort") | pl.col("is_return"))
        .with_columns(retention=pl.lit(name))
        .select(RetentionDays.column_names())
        for name, properties in counted.items()
    ]
    return pl.concat(parts).sort("activity_date", "retention", "property", "visitor_id", "user_id").collect()
