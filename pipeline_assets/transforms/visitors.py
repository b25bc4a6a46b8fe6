"""Visitors over all time."""

import polars as pl

from pipeline_assets.contracts.visitors import Visitors
from pipeline_assets.transforms.person_days import with_persons
from pipeline_assets.transforms.users import LIFETIME_COLUMNS, lifetimes

_KEY = ["property", "visitor_id"]


def build_visitors(visitor_days: pl.LazyFrame | pl.DataFrame, identities: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Every visitor over all time, per `contracts.Visitors`; the rules are those of `lifetimes`.

    person_id is the person of the visitor's row that was seen last, bots' rows included; of several at one moment that
    of the greatest visitor_day_id.

    Args:
        visitor_days: all rows of all days (`contracts.VisitorDays`).
        identities: all of `contracts.Identities`.

    Reads:
        all visitor_days, identities.
    """
    rows = visitor_days.lazy().select(LIFETIME_COLUMNS).collect().rechunk()
    ends = rows.group_by(_KEY).agg(pl.col("last_seen_at").max())
    latest = (
        rows.join(ends, on=[*_KEY, "last_seen_at"], how="semi")
        .sort("visitor_day_id")
        .unique(_KEY, keep="last", maintain_order=True)
    )
    persons = with_persons(latest, identities)
    return (
        lifetimes(rows, _KEY, visitor_days)
        .join(persons.select(*_KEY, "person_id"), on=_KEY, how="left")
        .select(Visitors.column_names())
        .sort(_KEY)
    )
