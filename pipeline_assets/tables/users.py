"""People over all time."""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, text
from pipeline_assets.tables.lifetime import LIFETIME_COLUMNS, Lifetime, adds_up, lifetimes
from pipeline_assets.tables.spec import IncrementalKey, Input, Inputs, TableSpec


class Person(dy.Schema):
    """Who a person is."""

    person_id = text("The person", primary_key=True, metadata=made_of("person_days.person_id"))
    user_id = text(
        "User id of the person, if it has one",
        nullable=True,
        metadata=made_of("person_days.user_id", index=True),
    )
    visitors = dy.Int64(
        description="Visitors the person was",
        min=1,
        metadata=made_of("person_days.property", "person_days.visitor_id"),
    )
    properties = dy.Int64(
        description="Properties the person was seen in", min=1, metadata=made_of("person_days.property")
    )


class Users(Person, Lifetime):
    """One row per person over all time: what is known of them, how they came and what they did."""


def build_users(person_days: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Every person over all time, per `Users`; the rules are those of `lifetimes`.

    Args:
        person_days: all rows of all days (`PersonDays`).

    Reads:
        all person_days; where only some days have changed, the rows of the persons who were there on them.
    """
    rows = person_days.lazy().select(LIFETIME_COLUMNS).collect().rechunk()
    # Every row with a user id belongs to that user's person.
    names = rows.group_by("person_id").agg(pl.col("user_id").max())
    return (
        lifetimes(rows, ["person_id"], person_days)
        .join(names, on="person_id", how="left")
        .select(Users.column_names())
        .sort("person_id")
    )


def build(inputs: Inputs, days: Sequence[date], parameters: None) -> pl.DataFrame:  # noqa: ARG001 - of all days
    """See `build_users`."""
    return build_users(inputs["person_days"])


users = TableSpec(
    name="users",
    contract=Users,
    group="people",
    inputs=(Input("person_days"),),
    build=build,
    incremental=IncrementalKey.by("person_id", "person_days", first="first_seen_at", last="last_seen_at"),
    checks=(adds_up("users"),),
)
"""The table."""
