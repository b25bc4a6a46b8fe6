"""Figures of a day."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from pipeline_assets.contracts.daily_activity import DailyActivity
from pipeline_assets.transforms.page_views import is_view
from pipeline_assets.transforms.sessions import single_currency_revenue

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
    """Activity on `days`, per `contracts.DailyActivity`; a property without events on a day has no row.

    Bots (events, and sessions with a bot's event) count in events and bot_events only. A view is one view id of a
    visitor on the day, or one page or screen event without a view id; visitors without an id view pages too.

    Args:
        events: at least all events (`contracts.Events`) of `days`.
        sessions: at least all sessions (`contracts.Sessions`) that start on `days`.
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
