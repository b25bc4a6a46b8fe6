"""How many come back in the periods after they began."""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial

import dataframely as dy
import polars as pl

from pipeline_assets.analyses.checking import repeated, selector_problems
from pipeline_assets.analyses.kind import AnalysisKind
from pipeline_assets.columns import made_of, share
from pipeline_assets.declarations.analyses import Retention
from pipeline_assets.declarations.problems import Problem
from pipeline_assets.tables.checking import Reader, Rows, nothing_found
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import Input, Inputs, TableSpec

_WHO = ("events.visitor_id", "identities.person_id")


class Retentions(dy.Schema):
    """Retention triangle: how many of those who began in a period came back in each period since. Bots take no part."""

    cohort_start = dy.Date(
        primary_key=True,
        description="First day of the calendar period (day, week or month, as declared) in which the cohort began",
        metadata=made_of("events.event_date"),
    )
    period_number = dy.Int64(
        primary_key=True,
        min=0,
        description="Periods since the cohort began; 0 is its own",
        metadata=made_of("events.event_date"),
    )
    cohort_size = dy.Int64(
        min=1,
        description="Visitors or persons, as declared, whose first event of the declared kind lies in the period",
        metadata=made_of(*_WHO, "events.event_date"),
    )
    retained = dy.Int64(
        min=0,
        description="Of these, those with a returning event in the period, on or after the day they began",
        metadata=made_of(*_WHO, "events.event_date"),
    )
    retention = share("retained as a share of cohort_size", metadata=made_of(*_WHO, "events.event_date"))
    is_complete = dy.Bool(
        description="Whether the whole period lies before the last day with activity, for everyone in the cohort",
        metadata=made_of("events.event_date"),
    )


_KEY = ("cohort_start", "period_number")
_ROLLING_DAYS = {"day": 1, "week": 7, "month": 30}
# Days from the first day of a week to its Monday.
_TO_MONDAY = {"monday": 0, "sunday": 1, "saturday": 2}


def build_retention(activity: pl.LazyFrame | pl.DataFrame, *, retention: Retention) -> pl.DataFrame:
    """The retention triangle, per `Retentions`.

    Reads one row per entity and active day of the whole history, never the events themselves.

    An entity begins on its first day with `is_cohort`; before that it does not come back, and without one it is in no
    cohort. It is retained in a period in which it has a day with `is_return`, on or after the day it began; that holds
    for period 0 too. Cohorts are calendar days, weeks or months.

    - **calendar**: the period of a day is the difference between its calendar day, week or month and the cohort's.
    - **rolling**: whole periods of 1, 7 or 30 days between the entity's own first day and the day.

    A cohort has rows for all periods up to `periods` that have begun for one of its entities by the last
    activity_date of all rows. A period is complete once it has passed for all of its entities, that is, when its last
    day lies before that last activity_date: the newest day may still be going on.

    Args:
        activity: activity_date (Date), entity (String), is_cohort, is_return (Boolean); several rows per entity and day
            may be there. Without bots.
        retention: the declaration; its period, counting, week_start and periods are used.
    """
    # Numbers take a fraction of the memory and time of texts. Which number an entity has is all one, but it may be
    # another one in the next query: hence one frame that all that follows reads.
    entity = pl.col("entity").cast(pl.Categorical).to_physical()
    rows = activity.lazy().select("activity_date", entity, "is_cohort", "is_return").collect()
    members = (
        rows.filter("is_cohort")
        .group_by("entity")
        .agg(cohort_date=pl.col("activity_date").min())
        .with_columns(cohort_start=_period_start("cohort_date", retention))
    )
    returns = (
        rows.lazy()
        .filter("is_return")
        .join(members.lazy(), on="entity")
        .filter(pl.col("activity_date") >= pl.col("cohort_date"))
        .select("entity", "cohort_start", period_number=_period_number(retention))
        .filter(pl.col("period_number") <= retention.periods)
        .unique()
        .group_by(_KEY)
        .agg(retained=pl.len().cast(pl.Int64))
        .collect()
    )
    last_day = rows.select(pl.col("activity_date").max()).item()
    return (
        _triangle(members, last_day, retention)
        .join(returns, on=_KEY, how="left")
        .with_columns(pl.col("retained").fill_null(0))
        .with_columns(retention=pl.col("retained") / pl.col("cohort_size"))
        .select(Retentions.column_names())
        .sort(_KEY)
    )


def _triangle(members: pl.DataFrame, last_day: date | None, retention: Retention) -> pl.DataFrame:
    """The cohorts with their periods that have begun: the key, cohort_size and is_complete."""
    calendar = retention.counting == "calendar"
    cohorts = members.group_by("cohort_start").agg(
        cohort_size=pl.len().cast(pl.Int64),
        first=pl.col("cohort_start").first() if calendar else pl.col("cohort_date").min(),
        last=pl.col("cohort_start").first() if calendar else pl.col("cohort_date").max(),
    )
    numbers = pl.int_range(0, retention.periods + 1, dtype=pl.Int64, eager=True).alias("period_number")
    newest = pl.lit(last_day, dtype=pl.Date)
    return (
        cohorts.join(numbers.to_frame(), how="cross")
        .filter(_plus_periods("first", pl.col("period_number"), retention) <= newest)
        .select(
            *_KEY,
            "cohort_size",
            is_complete=_plus_periods("last", pl.col("period_number") + 1, retention) <= newest,
        )
    )


def _period_start(day: str, retention: Retention) -> pl.Expr:
    """First day of the calendar period of a day."""
    if retention.period == "day":
        return pl.col(day)
    if retention.period == "month":
        return pl.col(day).dt.month_start()
    days_in = (pl.col(day).dt.weekday() - 1 + _TO_MONDAY[retention.week_start]) % 7
    return pl.col(day) - pl.duration(days=days_in)


def _period_number(retention: Retention) -> pl.Expr:
    """The period of activity_date, counted from the cohort's."""
    if retention.counting == "rolling":
        return (pl.col("activity_date") - pl.col("cohort_date")).dt.total_days() // _ROLLING_DAYS[retention.period]
    start = _period_start("activity_date", retention)
    if retention.period == "month":
        return _months(start) - _months(pl.col("cohort_start"))
    return (start - pl.col("cohort_start")).dt.total_days() // _ROLLING_DAYS[retention.period]


def _months(day: pl.Expr) -> pl.Expr:
    return day.dt.year().cast(pl.Int64) * 12 + day.dt.month()


def _plus_periods(day: str, periods: pl.Expr, retention: Retention) -> pl.Expr:
    """First day of the period so many periods after the one that begins on `day`."""
    if retention.counting == "calendar" and retention.period == "month":
        return pl.col(day).dt.offset_by(pl.format("{}mo", periods))
    return pl.col(day) + pl.duration(days=periods * _ROLLING_DAYS[retention.period])


def build(inputs: Inputs, days: Sequence[date], parameters: Retention) -> pl.DataFrame:  # noqa: ARG001 - of all days
    """See `build_retention`."""
    activity = inputs["retention_days"].filter(pl.col("retention") == parameters.name)
    return build_retention(activity, retention=parameters)


def _wrong(name: str, tables: Reader) -> Rows:
    return tables.marts(
        f"select cohort_start::text, max(retained) from marts.{name} group by 1 "  # noqa: S608 - a checked name
        f"having count(distinct cohort_size) > 1 or max(retained) > max(cohort_size)"
    )


def retention(analysis: Retention, declared: Declarations) -> TableSpec:  # noqa: ARG001 - like those that need more
    """The table of a declared retention; what each day adds to it is in `retention_days`."""
    asked = (*(analysis.cohort.event or ()), *(analysis.returning.event or ()))
    return TableSpec(
        name=analysis.name,
        contract=Retentions,
        group="analyses",
        inputs=(Input("retention_days"),),
        build=build,
        parameters=analysis,
        event_names=tuple(dict.fromkeys(asked)),
        checks=(
            nothing_found(
                "within_cohorts",
                "A cohort has one size, and no more of it return than it has.",
                partial(_wrong, analysis.name),
            ),
        ),
    )


def retention_problems(retention: Retention) -> Iterator[Problem]:
    """Mistakes in a retention whose shape is right."""
    yield from repeated(retention.properties, ("properties",))
    yield from selector_problems(retention.cohort, ("cohort",))
    yield from selector_problems(retention.returning, ("returning",))


RETENTION = AnalysisKind(
    model=Retention,
    noun="retention",
    find_problems=retention_problems,
    example={"by": "person", "period": "week", "counting": "calendar", "periods": 12},
    table=retention,
)
"""The kind."""
