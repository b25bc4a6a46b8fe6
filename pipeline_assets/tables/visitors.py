"""Visitors over all time."""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, text
from pipeline_assets.tables.lifetime import LIFETIME_COLUMNS, Lifetime, adds_up, lifetimes
from pipeline_assets.tables.spec import IncrementalKey, Input, Inputs, TableSpec


class Visitor(dy.Schema):
    """Who a visitor is."""

    property = text("Site, app or fleet", primary_key=True, metadata=made_of("person_days.property"))
    visitor_id = text(
        "The visitor, see events", primary_key=True, metadata=made_of("person_days.visitor_id", index=True)
    )
    person_id = text(
        "The person the visitor was when last seen",
        metadata=made_of("person_days.person_id", "person_days.last_seen_at", index=True),
    )


class Visitors(Visitor, Lifetime):
    """One row per property and visitor over all time: how they came and what they did."""


_KEY = ["property", "visitor_id"]


def build_visitors(person_days: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Every visitor over all time, per `Visitors`; the rules are those of `lifetimes`.

    person_id is the person of the row that was seen last of those that count; of several at one moment that of the
    greatest visitor_day_id.

    Args:
        person_days: all rows of all days (`PersonDays`).

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


def build(inputs: Inputs, days: Sequence[date], parameters: None) -> pl.DataFrame:  # noqa: ARG001 - of all days
    """See `build_visitors`."""
    return build_visitors(inputs["person_days"])


visitors = TableSpec(
    name="visitors",
    contract=Visitors,
    group="people",
    inputs=(Input("person_days"),),
    build=build,
    incremental=IncrementalKey.by("visitor_id", "person_days", first="first_seen_at", last="last_seen_at"),
    checks=(adds_up("visitors"),),
)
"""The table."""
