"""Figures of a day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import dataframely as dy
import duckdb
import polars as pl

from pipeline_assets.columns import made_of, money, text
from pipeline_assets.storage.parquet import duckdb_paths
from pipeline_assets.tables.checking import Finding, Reader, TableCheck, compared
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.sessions import single_currency_revenue
from pipeline_assets.tables.spec import EVENTS, Input, Inputs, TableSpec, sums
from pipeline_assets.transforms.sessionize import is_view


class DailyActivity(dy.Schema):
    """One row per day and property. Bots are counted apart and in nothing else but `events`."""

    activity_date = dy.Date(
        primary_key=True, description="Calendar day in the reporting time zone", metadata=made_of("events.event_date")
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("events.property"))
    events = dy.Int64(min=0, description="Events, bots included", metadata=made_of("events.event_id"))
    bot_events = dy.Int64(min=0, description="Events of bots", metadata=made_of("events.event_id", "events.is_bot"))
    visitors = dy.Int64(
        min=0, description="Distinct visitors with an event that day", metadata=made_of("events.visitor_id")
    )
    users = dy.Int64(min=0, description="Distinct user ids with an event that day", metadata=made_of("events.user_id"))
    sessions = dy.Int64(min=0, description="Sessions that start that day", metadata=made_of("sessions.session_id"))
    engaged_sessions = dy.Int64(min=0, description="Of these, engaged ones", metadata=made_of("sessions.is_engaged"))
    bounces = dy.Int64(min=0, description="Of these, sessions of one event", metadata=made_of("sessions.is_bounce"))
    page_views = dy.Int64(
        min=0, description="Page and screen views that day", metadata=made_of("events.event_type", "events.view_id")
    )
    conversions = dy.Int64(min=0, description="Conversion events that day", metadata=made_of("events.is_conversion"))
    revenue = money(
        "Revenue that day; null where none, or where the day mixes currencies",
        nullable=True,
        metadata=made_of("events.revenue"),
    )
    currency = text(
        "Currency of the revenue; null where none or mixed", nullable=True, metadata=made_of("events.currency")
    )


_KEY = ("activity_date", "property")
_EVENT_COLUMNS = (
    "property",
    "visitor_id",
    "user_id",
    "event_type",
    "view_id",
    "is_bot",
    "is_conversion",
    "revenue",
    "currency",
)


def build_daily_activity(
    events: pl.LazyFrame | pl.DataFrame,
    sessions: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    reporting: str | None = None,
) -> pl.DataFrame:
    """Activity on `days`, per `DailyActivity`; a property without events on a day has no row.

    Bots (events, and sessions with a bot's event) count in events and bot_events only. A view is one view id of a
    visitor on the day, or one page or screen event without a view id; visitors without an id view pages too.

    Args:
        events: at least all events (`Events`) of `days`.
        sessions: at least all sessions (`Sessions`) that start on `days`.
        days: activity dates to build.
        reporting: see `single_currency_revenue`.
    """
    wanted = sorted(set(days))
    rows = (
        events.lazy()
        .filter(pl.col("event_date").is_in(wanted))
        .select(pl.col("event_date").alias("activity_date"), *_EVENT_COLUMNS)
        .collect()
    )
    started = (
        sessions.lazy()
        .filter(pl.col("session_date").is_in(wanted), ~pl.col("is_bot"))
        .group_by(pl.col("session_date").alias("activity_date"), "property")
        .agg(
            sessions=pl.len(),
            engaged_sessions=pl.col("is_engaged").sum(),
            bounces=pl.col("is_bounce").sum(),
        )
        .collect()
    )
    people = rows.filter(~pl.col("is_bot"))
    views = people.filter(is_view())
    with_id = views.filter(pl.col("view_id").is_not_null()).unique([*_KEY, "visitor_id", "view_id"])
    view_counts = (
        pl.concat([with_id, views.filter(pl.col("view_id").is_null())]).group_by(_KEY).agg(page_views=pl.len())
    )
    table = rows.group_by(_KEY).agg(events=pl.len(), bot_events=pl.col("is_bot").sum())
    for part in (
        _distinct(people, "visitor_id", "visitors"),
        _distinct(people, "user_id", "users"),
        people.group_by(_KEY).agg(conversions=pl.col("is_conversion").sum()),
        view_counts,
        started,
    ):
        table = table.join(part, on=_KEY, how="left")
    counts = pl.exclude(*_KEY).fill_null(0).cast(pl.Int64)
    return (
        table.with_columns(counts)
        .join(single_currency_revenue(people, _KEY, reporting=reporting), on=_KEY, how="left")
        .select(DailyActivity.column_names())
        .sort(_KEY)
    )


def _distinct(rows: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    distinct = rows.filter(pl.col(column).is_not_null()).select(*_KEY, column).unique()
    return distinct.group_by(_KEY).agg(pl.len().alias(name))


@dataclass(frozen=True)
class Parameters:
    """What the figures depend on.

    Attributes:
        reporting: the reporting currency, which revenue without a currency is in; None where none is declared.
    """

    reporting: str | None


def build(inputs: Inputs, days: Sequence[date], parameters: Parameters) -> pl.DataFrame:
    """See `build_daily_activity`."""
    return build_daily_activity(inputs[EVENTS], inputs["sessions"], days, reporting=parameters.reporting)


def daily_activity(declared: Declarations) -> TableSpec:
    """The table, with the reporting currency."""
    parameters = Parameters(declared.rates.reporting)
    return TableSpec(
        name="daily_activity",
        contract=DailyActivity,
        partition_column="activity_date",
        group="activity",
        figures=sums("visitors", "sessions", "page_views", "conversions"),
        inputs=(Input(EVENTS), Input("sessions")),
        build=build,
        parameters=parameters,
        checks=(
            TableCheck(
                "matches_events_and_sessions",
                "Events, visitors and revenue per day and property, counted again from the lake, and sessions, "
                "counted again in PostgreSQL, equal those in the table.",
                partial(_matches_events_and_sessions, parameters),
                blocking=True,
            ),
        ),
    )


# --- Counted again, in SQL: shares no rule with the function, so that both can be compared --------------

# Revenue without a currency is in the reporting currency, where there is none in a currency of its own; a sum that the
# table's column cannot hold is null there.
_ACTIVITY = """
select
    event_date, property,
    count(*) as events,
    count(distinct visitor_id) filter (not is_bot) as visitors,
    case
        when count(distinct coalesce(currency, $reporting, '')) filter (revenue is not null and not is_bot) <= 1
        then try_cast(sum(revenue) filter (not is_bot) as decimal(18, 6))
    end as revenue
from read_parquet($paths, hive_partitioning = false)
group by all
"""


class Activity(NamedTuple):
    """Figures of a day and property: events, and without bots visitors and revenue in its only currency."""

    events: int
    visitors: int
    revenue: Decimal | None


def count_activity(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], *, reporting: str | None
) -> dict[tuple[date, str], Activity]:
    """Activity of each day and property in Parquet files of events; `reporting` is the reporting currency, if any."""
    if not paths:
        return {}
    values = {"paths": duckdb_paths(connection, paths), "reporting": reporting}
    rows = connection.execute(_ACTIVITY, values).fetchall()
    return {(day, name): Activity(*figures) for day, name, *figures in rows}


def _matches_events_and_sessions(parameters: Parameters, tables: Reader) -> Finding:
    with tables.duckdb() as connection:
        recounted = count_activity(connection, tables.paths(EVENTS), reporting=parameters.reporting)
    starts = {
        (day, name): count
        for day, name, count in tables.rows(
            "select session_date, property, count(*) from marts.sessions "
            "where session_date = any(:days) and not is_bot group by 1, 2"
        )
    }
    stored = tables.rows(
        "select activity_date, property, events, visitors, revenue, sessions from marts.daily_activity "
        "where activity_date = any(:days)"
    )
    expected = {key: (*figures, starts.get(key, 0)) for key, figures in recounted.items()}
    actual = {(row[0], row[1]): tuple(row[2:]) for row in stored}
    return compared(expected, actual, "days and properties")
