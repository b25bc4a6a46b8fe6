"""Whom the rows of an analysis are about: visitors, or the people behind them."""

import polars as pl

_VISITOR = ("property", "visitor_id", "user_id")


def entity(rows: pl.LazyFrame, person_days: pl.LazyFrame | None, day: str) -> pl.LazyFrame:
    """Add the column entity: the person of each row, or its visitor where no people are given.

    A visitor is a property with an id. The person is the one that `person_days` has for the visitor and user id on the
    row's day; where further ids or bots make several rows of them, the first that was seen.

    Args:
        rows: property, visitor_id, user_id and the day. Rows without a visitor have no entity.
        person_days: activity_date, property, visitor_id, user_id, first_seen_at and person_id, of the same days; None
            for visitors.
        day: name of the column with the calendar day.
    """
    if person_days is None:
        # The length keeps apart what an id with the separator in it would make equal.
        key = pl.concat_str(pl.col("property").str.len_bytes(), "property", "visitor_id", separator="\x1f")
        return rows.with_columns(entity=key)
    persons = (
        person_days.select(
            pl.col("activity_date").alias(day), *_VISITOR, "first_seen_at", pl.col("person_id").alias("entity")
        )
        .sort("first_seen_at", "entity")
        .unique([day, *_VISITOR], keep="first", maintain_order=True)
        .drop("first_seen_at")
    )
    return rows.join(persons, on=[day, *_VISITOR], how="left", nulls_equal=True)
