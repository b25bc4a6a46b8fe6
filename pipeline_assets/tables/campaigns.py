"""Figures of each campaign."""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, money, text
from pipeline_assets.key_texts import capped_key
from pipeline_assets.tables.checking import Reader, Rows, same
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import Input, Inputs, TableSpec, sums
from pipeline_assets.transforms.currencies import Rates, in_reporting_currency, lacks_rate, total


class Campaigns(dy.Schema):
    """Sessions by channel, source, medium and campaign, on the day they start. Bots are left out.

    Visitors of two rows must not be added: a visitor may come by several ways on a day.
    """

    session_date = dy.Date(
        primary_key=True,
        description="Calendar day the sessions start on, in the reporting time zone",
        metadata=made_of("sessions.session_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("sessions.property"))
    channel = text("Channel group", primary_key=True, metadata=made_of("sessions.channel"))
    traffic_source = text(
        "Source of the traffic; (not set) where unknown", primary_key=True, metadata=made_of("sessions.traffic_source")
    )
    traffic_medium = text(
        "Medium of the traffic; (not set) where unknown", primary_key=True, metadata=made_of("sessions.traffic_medium")
    )
    campaign = text(
        "Campaign; (not set) where there is none", primary_key=True, metadata=made_of("sessions.utm_campaign")
    )
    sessions = dy.Int64(min=1, description="Sessions", metadata=made_of("sessions.session_id"))
    engaged_sessions = dy.Int64(min=0, description="Of these, engaged ones", metadata=made_of("sessions.is_engaged"))
    bounces = dy.Int64(min=0, description="Of these, sessions of one event", metadata=made_of("sessions.is_bounce"))
    visitors = dy.Int64(min=1, description="Distinct visitors that day", metadata=made_of("sessions.visitor_id"))
    page_views = dy.Int64(min=0, description="Page and screen views", metadata=made_of("sessions.page_views"))
    engaged_seconds = dy.Int64(min=0, description="Engaged time", metadata=made_of("sessions.engaged_seconds"))
    duration_seconds = dy.Int64(
        min=0,
        description="Whole seconds from first to last event of each session, added up",
        metadata=made_of("sessions.duration_seconds"),
    )
    conversions = dy.Int64(min=0, description="Conversion events", metadata=made_of("sessions.conversions"))
    revenue = money(
        "Revenue in the reporting currency; null where there is none that can be converted",
        nullable=True,
        metadata=made_of("sessions.revenue", "sessions.currency", "sessions.session_date"),
    )
    amounts_without_rate = dy.Int64(
        min=0,
        description="Sessions whose revenue is missing because its currency has no rate that day",
        metadata=made_of("sessions.revenue", "sessions.currency", "sessions.session_date"),
    )


NOT_SET = "(not set)"
"""GA4's name for a source, medium or campaign that is not known."""

_KEY = ("session_date", "property", "channel", "traffic_source", "traffic_medium", "campaign")


def build_campaigns(sessions: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, rates: Rates) -> pl.DataFrame:
    """Sessions that start on `days` by where they came from, per `Campaigns`.

    Bots' sessions are left out. Revenue is that of the sessions, each converted by the rate of its session date and
    then added up; a session whose currency has no rate that day is counted in amounts_without_rate.

    Reads the sessions of `days` and nothing else.

    Args:
        sessions: at least all sessions (`Sessions`) that start on `days`.
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


def build(inputs: Inputs, days: Sequence[date], parameters: Rates) -> pl.DataFrame:
    """See `build_campaigns`."""
    return build_campaigns(inputs["sessions"], days, rates=parameters)


def _of_sessions(tables: Reader) -> Rows:
    return tables.marts(
        "select (session_date, property)::text, count(*) from marts.sessions "
        "where session_date = any(:days) and not is_bot group by 1"
    )


def _of_campaigns(tables: Reader) -> Rows:
    return tables.marts(
        "select (session_date, property)::text, sum(sessions)::bigint from marts.campaigns "
        "where session_date = any(:days) group by 1"
    )


def campaigns(declared: Declarations) -> TableSpec:
    """The table, with the declared rates."""
    return TableSpec(
        name="campaigns",
        contract=Campaigns,
        partition_column="session_date",
        group="activity",
        figures=sums("sessions", "conversions", "revenue"),
        inputs=(Input("sessions"),),
        build=build,
        parameters=declared.rates,
        checks=(
            same(
                "matches_sessions",
                "Sessions of a day and property, bots left out, equal those of `sessions`.",
                expected=_of_sessions,
                actual=_of_campaigns,
            ),
        ),
    )
