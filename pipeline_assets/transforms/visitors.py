"""Visitors over all time."""

import polars as pl

from pipeline_assets.contracts.visitors import Visitors
from pipeline_assets.transforms.users import LIFETIME_COLUMNS, lifetimes

_KEY = ["property", "visitor_id"]


def build_visitors(person_days: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Every visitor over all time, per `contracts.Visitors`; the rules are those of `lifetimes`.

    person_id is the person of the row that was seen last of those that count; of several at one moment that of the
    greatest visitor_day_id.

    Args:
        person_days: all rows of all days (`contracts.PersonDays`).

    Reads:
        all person_days; where only some days have changed, the rows of the visitors who were there on them.
    """
    rows = person_days.lazy().select(LIFETIME_COLUMNS).collect().rechunk()
    table = lifetimes(rows, _KEY, person_days)
    latest = (
        rows.join(table.select(*_KEY, "is_bot", "last_seen_at"), on=[*_KEY, "is_bot", "last_seen_at"], how="semi")
        .sort("visitor_day_id")
        .unique(_KEY, keep="last", maintain_order=True)
    )
    return table.join(latest.select(*_KEY, "person_id"), on=_KEY, how="left").select(Visitors.column_names()).sort(_KEY)
