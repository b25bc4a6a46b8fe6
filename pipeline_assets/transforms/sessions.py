"""The sessions table."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import polars as pl
from polars import selectors as cs

from pipeline_assets.contracts.columns import money
from pipeline_assets.contracts.sessions import Sessions
from pipeline_assets.transforms.channels import LANDING_COLUMNS, RuleSet, add_channel
from pipeline_assets.transforms.page_views import VIEW_COLUMNS, find_views
from pipeline_assets.transforms.session_rows import SessionRows, session_rows
from pipeline_assets.transforms.sessionize import SessionRules

ENGAGED_AFTER = timedelta(seconds=10)
ENGAGED_VIEWS = 2

_LANDING = tuple(dict.fromkeys((*LANDING_COLUMNS, "utm_term", "utm_content", "click_id")))
_FIRST_NAMED = ("device_type", "os", "browser", "country")

SESSION_COLUMNS = tuple(
    dict.fromkeys(
        (*VIEW_COLUMNS, *_LANDING, *_FIRST_NAMED, "session_id_supplied", "is_conversion", "revenue", "currency")
    )
)
"""Columns of events that sessions need besides those of `session_rows`."""


def build_sessions(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    timezone: str,
    rules: Mapping[str, SessionRules] | None = None,
    supplied: pl.LazyFrame | pl.DataFrame | None = None,
    channels: RuleSet | None = None,
    reporting: str | None = None,
) -> pl.DataFrame:
    """Sessions that start on `days`, per `contracts.Sessions`.

    Args:
        events: see `session_rows`.
        days: session dates to build.
        timezone: see `assign_sessions`.
        rules: see `session_rows`.
        supplied: see `session_rows`.
        channels: see `add_channel`.
        reporting: see `single_currency_revenue`.

    Raises:
        ValueError: see `session_rows`.

    Reads:
        events from the day before to the day after a day, or as many days after it as a supplied session may last;
        supplied_sessions that start on the day.
    """
    sessions = session_rows(events, days, timezone=timezone, rules=rules, supplied=supplied, columns=SESSION_COLUMNS)
    return _session_table(sessions, find_views(sessions.rows), channels, reporting)


def single_currency_revenue(rows: pl.DataFrame, by: Sequence[str], *, reporting: str | None) -> pl.DataFrame:
    """Sum of revenue and its currency for each group `by` that has revenue in one currency only.

    Revenue without a currency is in the reporting currency; where there is none, it is a currency of its own. The
    currency is null where no event gives one. A sum too large for the column is null.

    Args:
        rows: events.
        by: columns to group by.
        reporting: code of the reporting currency, if there is one.
    """
    currency = pl.col("currency").cast(pl.String)
    return (
        rows.filter(pl.col("revenue").is_not_null())
        .group_by(by)
        .agg(
            pl.col("revenue").sum(),
            pl.col("currency").drop_nulls().first(),
            currencies=(currency if reporting is None else currency.fill_null(reporting)).n_unique(),
        )
        .filter(pl.col("currencies") == 1)
        .select(*by, pl.col("revenue").cast(money("").dtype, strict=False), "currency")
    )


def _session_table(
    sessions: SessionRows, views: pl.DataFrame, channels: RuleSet | None, reporting: str | None
) -> pl.DataFrame:
    rows = sessions.rows
    facts = (
        rows.group_by("session_number")
        .agg(
            pl.col("property", "visitor_id", "session_date").first(),
            pl.col("user_id").last(ignore_nulls=True),
            pl.col("session_id_supplied", *_FIRST_NAMED).first(ignore_nulls=True),
            pl.col("is_bot").any(),
            started_at=pl.col("occurred_at").first(),
            ended_at=pl.col("occurred_at").last(),
            events=pl.len().cast(pl.Int64),
            events_next_day=(pl.col("event_date") == pl.col("session_date").dt.offset_by("1d")).sum().cast(pl.Int64),
            conversions=pl.col("is_conversion").sum().cast(pl.Int64),
        )
        .sort("session_number")
        .hstack(sessions.sessions.cast({"start_reason": pl.String, "end_reason": pl.String}))
    )
    seen = views.group_by("session_number").agg(
        page_views=pl.len().cast(pl.Int64),
        entry_page=pl.col("page").first(),
        exit_page=pl.col("page").last(),
        engaged_seconds=pl.col("engaged_seconds").sum(),
    )
    lasted = pl.col("ended_at") - pl.col("started_at")
    table = (
        facts.join(_landings(rows), on="session_number", how="left")
        .join(seen, on="session_number", how="left")
        .join(single_currency_revenue(rows, ["session_number"], reporting=reporting), on="session_number", how="left")
        .with_columns(pl.col("page_views", "engaged_seconds").fill_null(0), cs.categorical().cast(pl.String))
        .with_columns(
            duration_seconds=lasted.dt.total_seconds(),
            is_bounce=pl.col("events") == 1,
            is_engaged=(lasted > ENGAGED_AFTER) | (pl.col("conversions") > 0) | (pl.col("page_views") >= ENGAGED_VIEWS),
        )
    )
    return add_channel(table, channels).select(Sessions.column_names()).sort("session_date", "started_at", "session_id")


def _landings(rows: pl.DataFrame) -> pl.DataFrame:
    """Campaign and referrer of each session's first event that has a source, medium or referrer; else of its first."""
    names_origin = pl.any_horizontal(pl.col("utm_source", "utm_medium", "referrer_host").is_not_null())
    columns = ("session_number", *_LANDING)
    named = rows.filter(names_origin).select(columns).unique("session_number", keep="first", maintain_order=True)
    others = rows.filter("is_start").select(columns).join(named, on="session_number", how="anti")
    return pl.concat([named, others])
