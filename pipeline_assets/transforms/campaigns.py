"""Figures of each campaign."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from pipeline_assets.contracts.campaigns import Campaigns
from pipeline_assets.contracts.keys import capped_key
from pipeline_assets.transforms.currencies import Rates, in_reporting_currency, lacks_rate, total

NOT_SET = "(not set)"
"""GA4's name for a source, medium or campaign that is not known."""

_KEY = ("session_date", "property", "channel", "traffic_source", "traffic_medium", "campaign")


def build_campaigns(sessions: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, rates: Rates) -> pl.DataFrame:
    """Sessions that start on `days` by where they came from, per `contracts.Campaigns`.

    Bots' sessions are left out. Revenue is that of the sessions, each converted by the rate of its session date and
    then added up; a session whose currency has no rate that day is counted in amounts_without_rate.

    Reads the sessions of `days` and nothing else.

    Args:
        sessions: at least all sessions (`contracts.Sessions`) that start on `days`.
        days: session dates to build.
        rates: the reporting currency and its rates.
    """
    money = (pl.col("revenue"), pl.col("currency"), pl.col("session_date"), rates)
    return (
        sessions.lazy()
        .filter(pl.col("session_date").is_in(sorted(set(days))), ~pl.col("is_bot"))
        .select(
            "session_date",
            "property",
            "channel",
            "visitor_id",
            "is_engaged",
            "is_bounce",
            "page_views",
            "engaged_seconds",
            "duration_seconds",
            "conversions",
            pl.col("traffic_source", "traffic_medium").fill_null(NOT_SET),
            campaign=pl.col("utm_campaign").fill_null(NOT_SET),
            revenue=in_reporting_currency(*money),
            lacks_rate=lacks_rate(*money),
        )
        .with_columns(capped_key(Campaigns))
        .group_by(_KEY)
        .agg(
            pl.col("page_views", "engaged_seconds", "duration_seconds", "conversions").sum().cast(pl.Int64),
            total(pl.col("revenue")),
            sessions=pl.len().cast(pl.Int64),
            engaged_sessions=pl.col("is_engaged").sum().cast(pl.Int64),
            bounces=pl.col("is_bounce").sum().cast(pl.Int64),
            visitors=pl.col("visitor_id").n_unique().cast(pl.Int64),
            amounts_without_rate=pl.col("lacks_rate").sum().cast(pl.Int64),
        )
        .select(Campaigns.column_names())
        .sort(_KEY)
        .collect()
    )
