"""Figures of a day."""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, money, text
from pipeline_assets.tables.sessions import single_currency_revenue
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
