"""Active visitors and people: daily, weekly, monthly, new and returning."""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, share, text
from pipeline_assets.tables.checking import Reader, Rows, same
from pipeline_assets.tables.spec import Input, Inputs, TableSpec, sums

_ACTIVE = ("person_days.activity_date", "person_days.property", "person_days.events", "person_days.is_bot")
_VISITORS = (*_ACTIVE, "person_days.visitor_id")
_PEOPLE = (*_ACTIVE, "person_days.person_id")


class ActiveUsers(dy.Schema):
    """Visitors and people active on a day and in the 7 and 28 days that end with it, for each property and all (*).

    Active is whoever has an event; bots are left out. A property has a row while anybody was active in the 28 days, on
    days on which anything happened.
    """

    activity_date = dy.Date(
        primary_key=True,
        description="Calendar day in the reporting time zone",
        metadata=made_of("person_days.activity_date"),
    )
    property = text(
        "Site, app or fleet; * for all together", primary_key=True, metadata=made_of("person_days.property")
    )
    visitors_1d = dy.Int64(min=0, description="Visitors active that day", metadata=made_of(*_VISITORS))
    visitors_7d = dy.Int64(
        min=0, description="Visitors active in the 7 days that end with it", metadata=made_of(*_VISITORS)
    )
    visitors_28d = dy.Int64(
        min=1, description="Visitors active in the 28 days that end with it", metadata=made_of(*_VISITORS)
    )
    people_1d = dy.Int64(min=0, description="People active that day", metadata=made_of(*_PEOPLE))
    people_7d = dy.Int64(min=0, description="People active in the 7 days that end with it", metadata=made_of(*_PEOPLE))
    people_28d = dy.Int64(
        min=1, description="People active in the 28 days that end with it", metadata=made_of(*_PEOPLE)
    )
    new_visitors = dy.Int64(
        min=0,
        description="Visitors active that day and on no day before",
        metadata=made_of(*_VISITORS, "person_days.visitor_first_date"),
    )
    returning_visitors = dy.Int64(
        min=0,
        description="Visitors active that day and on a day before",
        metadata=made_of(*_VISITORS, "person_days.visitor_first_date"),
    )
    new_people = dy.Int64(
        min=0,
        description="People active that day and on no day before, in any property",
        metadata=made_of(*_PEOPLE, "person_days.person_first_date"),
    )
    returning_people = dy.Int64(
        min=0,
        description="People active that day and on a day before, in whatever property",
        metadata=made_of(*_PEOPLE, "person_days.person_first_date"),
    )
    visitor_stickiness = share("visitors_1d / visitors_28d", metadata=made_of(*_VISITORS))
    people_stickiness = share("people_1d / people_28d", metadata=made_of(*_PEOPLE))


ALL_PROPERTIES = "*"
WINDOW_DAYS = {"1d": 1, "7d": 7, "28d": 28}

_KEY = ("activity_date", "property")


def build_active_users(person_days: pl.LazyFrame | pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """Who was active on `days` and in the windows that end with them, per `ActiveUsers`.

    Active is whoever has an event; bots are left out. Windows are 1, 7 and 28 calendar days, the day itself included.
    New is who has their first day of activity ever that day: a visitor in its property, a person in any; the others
    are returning. A property has a row on each of `days` on which anything happened, in any property, if anybody was
    active in it in the 28 days; the property `*` is all of them together.

    Args:
        person_days: at least all rows (`PersonDays`) of `days` and of the 27 days before each.
        days: activity dates to build.

    Reads:
        person_days of the day and of the 27 days before.
    """
    rows = person_days.lazy()
    # Whether a day on which nobody came is built at all depends on what was built with it, so it has no row.
    present = rows.filter(pl.col("activity_date").is_in(sorted(set(days)))).select(pl.col("activity_date").unique())
    wanted = present.collect()["activity_date"].sort()
    active = (
        rows.filter(pl.col("events") > 0, ~pl.col("is_bot"))
        .select(
            "activity_date",
            "property",
            "visitor_id",
            "person_id",
            is_new_visitor=pl.col("visitor_first_date") == pl.col("activity_date"),
            is_new_person=pl.col("person_first_date") == pl.col("activity_date"),
        )
        .collect()
    )
    visitors = active.group_by(*_KEY, "visitor_id").agg(is_new=pl.col("is_new_visitor").any())
    people = active.group_by(*_KEY, "person_id").agg(is_new=pl.col("is_new_person").any())
    everywhere = pl.lit(ALL_PROPERTIES).alias("property")
    anywhere = people.group_by("activity_date", everywhere, "person_id").agg(pl.col("is_new").any())
    parts = [
        _counts(visitors, ["property", "visitor_id"], wanted, "visitors"),
        _counts(people, ["property", "person_id"], wanted, "people"),
        # A visitor is one of a property: the visitors of all together add up, people do not.
        _counts(anywhere, ["property", "person_id"], wanted, "people"),
    ]
    together = parts[0].group_by("activity_date", everywhere).agg(pl.exclude(*_KEY).sum()).select(parts[0].columns)
    table = pl.concat([parts[0], together]).join(pl.concat(parts[1:]), on=_KEY, how="left")
    return (
        table.with_columns(
            returning_visitors=pl.col("visitors_1d") - pl.col("new_visitors"),
            returning_people=pl.col("people_1d") - pl.col("new_people"),
            visitor_stickiness=pl.col("visitors_1d") / pl.col("visitors_28d"),
            people_stickiness=pl.col("people_1d") / pl.col("people_28d"),
        )
        .select(ActiveUsers.column_names())
        .sort(_KEY)
    )


def _counts(rows: pl.DataFrame, entity: Sequence[str], days: pl.Series, name: str) -> pl.DataFrame:
    """Distinct entities per day and window, and new ones; for the days and properties with anybody in 28 days.

    An entity active on a day counts from then on until the window has passed or it is active again, and then counts
    anew. So the count of a day is the sum of all steps up to it, at a cost that does not depend on the window.

    Args:
        rows: activity_date, is_new and the columns of `entity`, once for every entity and day.
        entity: property and id.
        days: sorted.
        name: of the entities, in the names of the columns.
    """
    is_same = pl.all_horizontal(pl.col(column) == pl.col(column).shift(-1) for column in entity)
    dates = rows.sort(*entity, "activity_date").select(
        "property", "activity_date", again=pl.when(is_same).then(pl.col("activity_date").shift(-1))
    )
    grid = rows.select("property").unique().join(days.to_frame(), how="cross").sort("activity_date")
    for window, length in WINDOW_DAYS.items():
        column = f"{name}_{window}"
        until = pl.min_horizontal(pl.col("activity_date") + pl.duration(days=length), "again")
        steps = pl.concat(
            [
                dates.select("property", "activity_date", step=pl.lit(1, dtype=pl.Int64)),
                dates.select("property", activity_date=until, step=pl.lit(-1, dtype=pl.Int64)),
            ]
        )
        running = (
            steps.group_by(_KEY)
            .agg(pl.col("step").sum())
            .sort(_KEY)
            .with_columns(pl.col("step").cum_sum().over("property").alias(column))
            .select(*_KEY, column)
            .sort("activity_date")
        )
        grid = grid.join_asof(running, on="activity_date", by="property", strategy="backward", check_sortedness=False)
    new = rows.filter("is_new").group_by(_KEY).agg(pl.len().cast(pl.Int64).alias(f"new_{name}"))
    return (
        grid.join(new, on=_KEY, how="left")
        .with_columns(pl.exclude(*_KEY).fill_null(0))
        .filter(pl.col(f"{name}_28d") > 0)
    )


def build(inputs: Inputs, days: Sequence[date], parameters: None) -> pl.DataFrame:  # noqa: ARG001 - has none
    """See `build_active_users`."""
    return build_active_users(inputs["person_days"], days)


def _of_daily_activity(tables: Reader) -> Rows:
    return tables.marts(
        "select (activity_date, property)::text, visitors from marts.daily_activity "
        "where activity_date = any(:days) and visitors > 0"
    )


def _of_active_users(tables: Reader) -> Rows:
    return tables.marts(
        "select (activity_date, property)::text, visitors_1d from marts.active_users "
        "where activity_date = any(:days) and property <> '*' and visitors_1d > 0"
    )


active_users = TableSpec(
    name="active_users",
    contract=ActiveUsers,
    partition_column="activity_date",
    group="activity",
    figures=sums("visitors_1d", "visitors_28d", "new_visitors"),
    inputs=(Input("person_days", before=max(WINDOW_DAYS.values()) - 1),),
    build=build,
    checks=(
        same(
            "matches_daily_activity",
            "Visitors of a day and property equal those of `daily_activity`.",
            expected=_of_daily_activity,
            actual=_of_active_users,
            also_reads=("daily_activity",),
        ),
    ),
)
"""The table."""
