"""The sessions table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

import dataframely as dy
import polars as pl
from polars import selectors as cs

from pipeline_assets.columns import choice, made_of, money, text, utc
from pipeline_assets.declarations.analyses import Channels
from pipeline_assets.planning import UNPARTITIONED, days_around
from pipeline_assets.tables.checking import Finding, Reader, TableCheck, compared
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.session_counts import UNKNOWN_ID, count_sessions
from pipeline_assets.tables.spec import EVENTS, Input, Inputs, TableSpec, sums
from pipeline_assets.transforms import channels
from pipeline_assets.transforms.channels import LANDING_COLUMNS, RuleSet, add_channel, declared_rule_set
from pipeline_assets.transforms.session_rows import SessionRows, session_rows
from pipeline_assets.transforms.sessionize import REASONS, SessionRules
from pipeline_assets.transforms.views import VIEW_COLUMNS, find_views

# Which events a session has: the visitor's, told apart by time, or by the id that the tracker supplies.
_EVENTS = (
    "events.property",
    "events.visitor_id",
    "events.occurred_at",
    "events.received_at",
    "events.event_id",
    "events.event_date",
    "events.event_type",
    "events.view_id",
    "events.source",
    "events.session_id_supplied",
    "supplied_sessions.first_at",
    "supplied_sessions.session_date",
)
_CAMPAIGNS = ("events.utm_source", "events.utm_medium", "events.utm_campaign", "events.click_id")
_LANDING_MADE_OF = ("events.utm_source", "events.utm_medium", "events.referrer_host")
_CHANNEL = (*_LANDING_MADE_OF, "events.utm_campaign", "events.click_id_type")


class Sessions(dy.Schema):
    """Visits: one row per session, on the day it starts. A pause over 30 minutes ends it, or a day without one."""

    session_id = text(
        "Deterministic id: hash of property, visitor and first event, or supplied id",
        primary_key=True,
        metadata=made_of(*_EVENTS, *_CAMPAIGNS),
    )
    session_date = dy.Date(
        description="Calendar day the session starts on, in the reporting time zone",
        metadata=made_of("events.event_date", "supplied_sessions.session_date", index=True),
    )
    property = text("Site, app or fleet", metadata=made_of("events.property", index=True))
    visitor_id = text("The visitor, see events", metadata=made_of("events.visitor_id", index=True))
    session_id_supplied = text(
        "The tracker's own id: of a supplied session its id, of an inferred one the first that an event of it has",
        nullable=True,
        metadata=made_of("events.session_id_supplied", index=True),
    )
    user_id = text("Last user id seen in the session", nullable=True, metadata=made_of("events.user_id", index=True))
    started_at = utc("Time of the first event", metadata=made_of("events.occurred_at"))
    ended_at = utc("Time of the last event", metadata=made_of("events.occurred_at"))
    start_reason = choice(REASONS, "Why the session started", metadata=made_of(*_EVENTS, *_CAMPAIGNS))
    end_reason = choice(REASONS, "Why the session ended", metadata=made_of(*_EVENTS, *_CAMPAIGNS))
    events = dy.Int64(min=1, description="Events in the session", metadata=made_of(*_EVENTS))
    events_next_day = dy.Int64(
        min=0,
        description="Of these, events on the calendar day after session_date",
        metadata=made_of("events.event_date", "supplied_sessions.session_date"),
    )
    page_views = dy.Int64(
        min=0, description="Page and screen views", metadata=made_of("events.event_type", "events.view_id")
    )
    entry_page = text(
        "Path (or screen) of the first view",
        nullable=True,
        metadata=made_of("events.page_path", "events.page_title", "events.event_name"),
    )
    exit_page = text(
        "Path (or screen) of the last view",
        nullable=True,
        metadata=made_of("events.page_path", "events.page_title", "events.event_name"),
    )
    duration_seconds = dy.Int64(
        min=0, description="Whole seconds from first to last event", metadata=made_of("events.occurred_at")
    )
    engaged_seconds = dy.Int64(
        min=0,
        description="Engaged time of its views, from their pings; 0 where there are none",
        metadata=made_of("events.occurred_at", "events.event_type", "events.view_id"),
    )
    is_bounce = dy.Bool(description="Exactly one event", metadata=made_of("events.event_id"))
    is_engaged = dy.Bool(
        description="Over 10 s, or a conversion, or at least 2 views (GA4)",
        metadata=made_of("events.occurred_at", "events.is_conversion", "events.event_type", "events.view_id"),
    )
    conversions = dy.Int64(min=0, description="Conversion events", metadata=made_of("events.is_conversion"))
    revenue = money(
        "Sum of revenue; null where none, or where the session mixes currencies",
        nullable=True,
        metadata=made_of("events.revenue", "events.currency"),
    )
    currency = text(
        "Currency of the revenue; null where none or mixed",
        nullable=True,
        metadata=made_of("events.currency", "events.revenue"),
    )
    utm_source = text("Landing campaign source", nullable=True, metadata=made_of(*_LANDING_MADE_OF))
    utm_medium = text("Landing campaign medium", nullable=True, metadata=made_of(*_LANDING_MADE_OF))
    utm_campaign = text(
        "Landing campaign name", nullable=True, metadata=made_of("events.utm_campaign", *_LANDING_MADE_OF)
    )
    utm_term = text("Landing campaign term", nullable=True, metadata=made_of("events.utm_term", *_LANDING_MADE_OF))
    utm_content = text(
        "Landing campaign content", nullable=True, metadata=made_of("events.utm_content", *_LANDING_MADE_OF)
    )
    click_id = text("Landing click id", nullable=True, metadata=made_of("events.click_id", *_LANDING_MADE_OF))
    referrer_host = text("Landing referrer", nullable=True, metadata=made_of(*_LANDING_MADE_OF))
    channel = text("Channel group, by the deployment's channel rules", metadata=made_of(*_CHANNEL))
    traffic_source = text(
        "Where the visit came from, lower case; (direct) where nothing says", metadata=made_of(*_CHANNEL)
    )
    traffic_medium = text(
        "How it came, lower case; (none) where nothing says, (not set) beside a source without a medium",
        metadata=made_of(*_CHANNEL),
    )
    device_type = text(
        "Device of the first event that names one", nullable=True, metadata=made_of("events.device_type")
    )
    os = text("Operating system of the first event that names one", nullable=True, metadata=made_of("events.os"))
    browser = text("Browser of the first event that names one", nullable=True, metadata=made_of("events.browser"))
    country = text("Country of the first event that names one", nullable=True, metadata=made_of("events.country"))
    is_bot = dy.Bool(description="Whether any event of the session is a bot's", metadata=made_of("events.is_bot"))


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

BY_VISITOR = ("property", "visitor_id")
"""Columns of events that keep a visitor's events together."""


def build_sessions(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    timezone: str,
    session_rules: Mapping[str, SessionRules] | None = None,
    supplied: pl.LazyFrame | pl.DataFrame | None = None,
    channels: RuleSet | None = None,
    reporting: str | None = None,
) -> pl.DataFrame:
    """Sessions that start on `days`, per `Sessions`.

    Args:
        events: see `session_rows`.
        days: session dates to build.
        timezone: see `assign_sessions`.
        session_rules: see `session_rows`.
        supplied: see `session_rows`.
        channels: see `add_channel`.
        reporting: see `single_currency_revenue`.

    Raises:
        ValueError: see `session_rows`.

    Reads:
        events from the day before to the day after a day, or as many days after it as a supplied session may last;
        supplied_sessions that start on the day.
    """
    sessions = session_rows(
        events, days, timezone=timezone, session_rules=session_rules, supplied=supplied, columns=SESSION_COLUMNS
    )
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


@dataclass(frozen=True)
class Parameters:
    """What sessions depend on.

    Attributes:
        timezone: see `assign_sessions`.
        session_rules: see `session_rows`.
        channels: how their channels are found.
        reporting: the reporting currency, which revenue without a currency is in; None where none is declared.
    """

    timezone: str
    session_rules: Mapping[str, SessionRules]
    channels: RuleSet
    reporting: str | None


def build(inputs: Inputs, days: Sequence[date], parameters: Parameters) -> pl.DataFrame:
    """See `build_sessions`."""
    return build_sessions(
        inputs[EVENTS],
        days,
        timezone=parameters.timezone,
        session_rules=parameters.session_rules,
        supplied=inputs.get("supplied_sessions"),
        channels=parameters.channels,
        reporting=parameters.reporting,
    )


def session_inputs(declared: Declarations, *, batch_key: tuple[str, ...] = ()) -> tuple[Input, ...]:
    """What the sessions that start on a day are made of.

    Args:
        declared: the deployment's declarations.
        batch_key: `BY_VISITOR` where rows are of one visitor each, so that a large day can be cut by visitors.
    """
    near = Input(EVENTS, before=1, after=declared.longest_session_days, batch_key=batch_key)
    # Where no source supplies ids of sessions, there is nothing to know of them.
    return (near, Input("supplied_sessions")) if declared.supplied_sources else (near,)


def sessions(declared: Declarations) -> TableSpec:
    """The table, with the rules of the declared sources and channels."""
    rule_set = declared_rule_set(declared.analyses.convention(Channels))
    return TableSpec(
        name="sessions",
        contract=Sessions,
        partition_column="session_date",
        group="behaviour",
        figures=sums("page_views", "conversions"),
        inputs=session_inputs(declared, batch_key=BY_VISITOR),
        build=build,
        parameters=Parameters(declared.timezone, declared.session_rules, rule_set, declared.rates.reporting),
        external_versions=channels.rule_set_version(rule_set),
        checks=(
            TableCheck(
                "every_event_in_one_session",
                "Sessions and their events per day and property, counted again from the lake by a query of DuckDB "
                "that shares no code with the transform and puts every event into one session or excludes it for one "
                "reason (stray, no_session_id, orphan_ping), equal those in PostgreSQL. Shows the excluded events by "
                "source.",
                partial(_every_event_in_one_session, declared),
                blocking=True,
            ),
        ),
    )


def _every_event_in_one_session(declared: Declarations, tables: Reader) -> Finding:
    days = tables.days
    if not days:
        return Finding(True, {"compared": 0})
    with tables.duckdb() as connection:
        recounted = count_sessions(
            connection,
            tables.paths(EVENTS, days_around(days, 2, declared.longest_session_days)),
            days,
            session_rules=declared.session_rules,
            timezone=declared.timezone,
            supplied=tables.paths("supplied_sessions", [UNPARTITIONED]) if declared.supplied_sources else (),
        )
    expected: dict[object, object] = {key: tuple(found) for key, found in recounted.started.items()}
    # An id that `supplied_sessions` does not know is no reason of the rules'.
    expected |= {(day, name): "unknown session id" for day, name, _, why in recounted.excluded if why == UNKNOWN_ID}
    excluded: Counter[str] = Counter()
    for (_, _, source, reason), events in recounted.excluded.items():
        excluded[f"{source}, {reason}"] += events
    actual: dict[object, object] = {
        (day, name): tuple(numbers)
        for day, name, *numbers in tables.rows(
            "select session_date, property, count(*), sum(events)::bigint from marts.sessions "
            "where session_date = any(:days) group by 1, 2"
        )
    }
    return compared(expected, actual, "sessions and events per day and property", excluded=excluded)
