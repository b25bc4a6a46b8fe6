"""The sessions table."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import polars as pl
from polars import selectors as cs

from pipeline_assets.contracts.columns import money
from pipeline_assets.contracts.sessions import Sessions
from pipeline_assets.transforms.channels import add_channel
from pipeline_assets.transforms.page_views import VIEW_COLUMNS, find_views
from pipeline_assets.transforms.sessionize import (
    DAY_FILLED,
    INACTIVITY,
    assign_sessions,
    compact,
    session_ids,
    sessions_of_days,
)

HEARTBEAT_SECONDS = 10
MINIMUM_VISIT_SECONDS = 5
ENGAGED_AFTER = timedelta(seconds=10)
ENGAGED_VIEWS = 2

_LANDING = (
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "click_id",
    "referrer_host",
)
_FIRST_NAMED = ("device_type", "os", "browser", "country")

SESSION_COLUMNS = tuple(
    dict.fromkeys((*VIEW_COLUMNS, *_LANDING, *_FIRST_NAMED, "is_conversion", "revenue", "currency"))
)
"""Columns of events that sessions need besides those of `assign_sessions`."""


def build_sessions(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    timezone: str,
    timeouts: Mapping[str, timedelta] | None = None,
) -> pl.DataFrame:
    """Sessions that start on `days`, per `contracts.Sessions`.

    Args:
        events: all events (`contracts.Events`) of `days`, of the day before and the day after each.
        days: session dates to build.
        timezone: see `assign_sessions`.
        timeouts: see `assign_sessions`.
    """
    rows = _rows(events, days, timezone, timeouts)
    return _session_table(rows, find_views(rows), session_ids(rows.filter("is_start")))


def single_currency_revenue(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Sum of revenue and its currency for each group `by` that has revenue in one currency only.

    Revenue without a currency is a currency of its own. A sum too large for the column is null.
    """
    return (
        rows.filter(pl.col("revenue").is_not_null())
        .group_by(by)
        .agg(pl.col("revenue").sum(), pl.col("currency").first(), currencies=pl.col("currency").n_unique())
        .filter(pl.col("currencies") == 1)
        .select(*by, pl.col("revenue").cast(money("").dtype, strict=False), "currency")
    )


def _rows(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    timezone: str,
    timeouts: Mapping[str, timedelta] | None,
) -> pl.DataFrame:
    assigned = assign_sessions(compact(events), timezone=timezone, timeouts=timeouts, columns=SESSION_COLUMNS)
    return sessions_of_days(assigned, days)


def _session_table(rows: pl.DataFrame, views: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    facts = (
        rows.group_by("session_number")
        .agg(
            pl.col("property", "visitor_id", "session_date", "start_reason").first(),
            pl.col("user_id").last(ignore_nulls=True),
            pl.col(_FIRST_NAMED).first(ignore_nulls=True),
            pl.col("is_bot").any(),
            started_at=pl.col("occurred_at").first(),
            ended_at=pl.col("occurred_at").last(),
            end_reason=pl.when(pl.col("day_filled").last()).then(pl.lit(DAY_FILLED)).otherwise(pl.lit(INACTIVITY)),
            events=pl.len().cast(pl.Int64),
            events_next_day=(pl.col("event_date") != pl.col("session_date")).sum().cast(pl.Int64),
            conversions=pl.col("is_conversion").sum().cast(pl.Int64),
        )
        .sort("session_number")
        .with_columns(ids)
    )
    seen = views.group_by("session_number").agg(
        page_views=pl.len().cast(pl.Int64), entry_page=pl.col("page").first(), exit_page=pl.col("page").last()
    )
    lasted = pl.col("ended_at") - pl.col("started_at")
    table = (
        facts.join(_landings(rows), on="session_number", how="left")
        .join(seen, on="session_number", how="left")
        .join(_engaged_seconds(rows), on="session_number", how="left")
        .join(single_currency_revenue(rows, ["session_number"]), on="session_number", how="left")
        .with_columns(pl.col("page_views", "engaged_seconds").fill_null(0), cs.categorical().cast(pl.String))
        .with_columns(
            duration_seconds=lasted.dt.total_seconds(),
            is_bounce=pl.col("events") == 1,
            is_engaged=(lasted > ENGAGED_AFTER) | (pl.col("conversions") > 0) | (pl.col("page_views") >= ENGAGED_VIEWS),
        )
    )
    return add_channel(table).select(Sessions.column_names()).sort("session_date", "started_at", "session_id")


def _landings(rows: pl.DataFrame) -> pl.DataFrame:
    """Campaign and referrer of each session's first event that has a source, medium or referrer; else of its first."""
    names_origin = pl.any_horizontal(pl.col("utm_source", "utm_medium", "referrer_host").is_not_null())
    columns = ("session_number", *_LANDING)
    named = rows.filter(names_origin).select(columns).unique("session_number", keep="first", maintain_order=True)
    others = rows.filter("is_start").select(columns).join(named, on="session_number", how="anti")
    return pl.concat([named, others])


def _engaged_seconds(rows: pl.DataFrame) -> pl.DataFrame:
    """Snowplow's rule for each view of a session, added up; sessions without pings are not listed."""
    beat = pl.col("occurred_at").dt.epoch("s") // HEARTBEAT_SECONDS
    return (
        rows.filter(pl.col("event_type") == "ping", pl.col("view_id").is_not_null())
        .group_by("session_number", "view_id")
        .agg(beats=beat.n_unique().cast(pl.Int64))
        .group_by("session_number")
        .agg(engaged_seconds=(HEARTBEAT_SECONDS * (pl.col("beats") - 1) + MINIMUM_VISIT_SECONDS).sum())
    )
