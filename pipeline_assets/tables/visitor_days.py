"""What each visitor did on a day: the summaries that identities, people and activity are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, money, text, utc
from pipeline_assets.tables.checking import Reader, Rows, same, whole_numbers
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import EVENTS, Input, Inputs, TableSpec, sums
from pipeline_assets.transforms.currencies import Rates, in_reporting_currency, total
from pipeline_assets.transforms.ordering import ORDER_COLUMNS, event_order
from pipeline_assets.transforms.session_rows import NO_SESSION_ID, ORPHAN_PING, STRAY, excluded_from_sessions
from pipeline_assets.transforms.sessionize import SessionRules, hex_ids, is_view

# Which events are in no session.
_OUTSIDE_MADE_OF = (
    "events.event_date",
    "events.occurred_at",
    "events.source",
    "events.session_id_supplied",
    "events.event_type",
    "events.view_id",
)


class VisitorDays(dy.Schema):
    """One row per day, property, visitor, user id, further ids and bot or not: what people's tables are added up from.

    Sessions are counted on the day they start, on the row of their visitor and user id; a row may have sessions and
    no events.
    """

    activity_date = dy.Date(
        description="Calendar day in the reporting time zone",
        metadata=made_of("events.event_date", "sessions.session_date"),
    )
    property = text("Site, app or fleet", metadata=made_of("events.property", "sessions.property"))
    visitor_id = text("The visitor, see events", metadata=made_of("events.visitor_id", "sessions.visitor_id"))
    visitor_day_id = text(
        "Deterministic id of the row: hash of day, property, visitor, user id, further ids and is_bot",
        primary_key=True,
        metadata=made_of(
            "events.event_date",
            "events.property",
            "events.visitor_id",
            "events.user_id",
            "events.further_ids",
            "events.is_bot",
            "sessions.session_date",
            "sessions.property",
            "sessions.visitor_id",
            "sessions.user_id",
            "sessions.is_bot",
        ),
    )
    anonymous_id = text(
        "Device or browser id; null where the visitor was known by a user id only",
        nullable=True,
        metadata=made_of("events.visitor_id", "events.user_id", "sessions.visitor_id", "sessions.user_id"),
    )
    user_id = text("Id of the signed-in user", nullable=True, metadata=made_of("events.user_id", "sessions.user_id"))
    further_ids = text(
        "Further ids of the person by kind, as a JSON object of texts",
        nullable=True,
        metadata=made_of("events.further_ids"),
    )
    is_bot = dy.Bool(
        description="Whether the events, or the sessions, are a bot's",
        metadata=made_of("events.is_bot", "sessions.is_bot"),
    )
    first_seen_at = utc(
        "First event; without events the start of the first session",
        metadata=made_of("events.occurred_at", "sessions.started_at"),
    )
    last_seen_at = utc(
        "Last event; without events the start of the last session",
        metadata=made_of("events.occurred_at", "sessions.started_at"),
    )
    events = dy.Int64(min=0, description="Events of the day, in a session or not", metadata=made_of("events.event_id"))
    orphan_pings = dy.Int64(
        min=0,
        description="Of these, in no session: pings of a view of another session",
        metadata=made_of(*_OUTSIDE_MADE_OF),
    )
    events_without_session_id = dy.Int64(
        min=0,
        description="Of these, in no session: events without an id, where the tracker supplies it",
        metadata=made_of(*_OUTSIDE_MADE_OF),
    )
    strays = dy.Int64(
        min=0,
        description="Of these, in no session: events more than max_session_days after their session's first",
        metadata=made_of(*_OUTSIDE_MADE_OF),
    )
    page_views = dy.Int64(
        min=0,
        description="Page and screen views of the day: view ids seen first on this row, and views without an id",
        metadata=made_of("events.event_type", "events.view_id"),
    )
    conversions = dy.Int64(min=0, description="Conversion events", metadata=made_of("events.is_conversion"))
    revenue = money(
        "Revenue in the reporting currency; null where none",
        nullable=True,
        metadata=made_of("events.revenue", "events.currency"),
    )
    sessions = dy.Int64(min=0, description="Sessions that start that day", metadata=made_of("sessions.session_id"))
    session_events = dy.Int64(
        min=0, description="Events of these sessions, on whichever day", metadata=made_of("sessions.events")
    )
    session_page_views = dy.Int64(
        min=0, description="Page and screen views of these sessions", metadata=made_of("sessions.page_views")
    )
    engaged_sessions = dy.Int64(min=0, description="Of these, engaged ones", metadata=made_of("sessions.is_engaged"))
    engaged_seconds = dy.Int64(
        min=0, description="Engaged time of these sessions", metadata=made_of("sessions.engaged_seconds")
    )
    first_session_at = utc("Start of the day's first session", nullable=True, metadata=made_of("sessions.started_at"))
    session_id = text("The day's first session", nullable=True, metadata=made_of("sessions.session_id"))
    channel = text("Channel of the first session", nullable=True, metadata=made_of("sessions.channel"))
    traffic_source = text("Source of the first session", nullable=True, metadata=made_of("sessions.traffic_source"))
    traffic_medium = text("Medium of the first session", nullable=True, metadata=made_of("sessions.traffic_medium"))
    utm_campaign = text("Campaign of the first session", nullable=True, metadata=made_of("sessions.utm_campaign"))
    referrer_host = text("Referrer of the first session", nullable=True, metadata=made_of("sessions.referrer_host"))
    entry_page = text("Entry page of the first session", nullable=True, metadata=made_of("sessions.entry_page"))
    device_type = text("Device of the first session", nullable=True, metadata=made_of("sessions.device_type"))
    country = text("Country of the first session", nullable=True, metadata=made_of("sessions.country"))
    last_session_at = utc("Start of the day's last session", nullable=True, metadata=made_of("sessions.started_at"))
    last_channel = text("Channel of the last session", nullable=True, metadata=made_of("sessions.channel"))


_SESSION_KEY = ("activity_date", "property", "visitor_id", "is_bot", "user_id")
_KEY = (*_SESSION_KEY, "further_ids")
_VIEW = ("activity_date", "property", "visitor_id", "is_bot", "view_id")
_OUTSIDE = {ORPHAN_PING: "orphan_pings", NO_SESSION_ID: "events_without_session_id", STRAY: "strays"}
_TOUCH = (
    "session_id",
    "channel",
    "traffic_source",
    "traffic_medium",
    "utm_campaign",
    "referrer_host",
    "entry_page",
    "device_type",
    "country",
)


def build_visitor_days(
    events: pl.LazyFrame | pl.DataFrame,
    sessions: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    rates: Rates,
    timezone: str = "UTC",
    session_rules: Mapping[str, SessionRules] | None = None,
    supplied: pl.LazyFrame | pl.DataFrame | None = None,
) -> pl.DataFrame:
    """What each visitor did on `days`, per `VisitorDays`.

    One row per day, property, visitor, user id, further ids and is_bot, so that people without their bots add up as in
    `daily_activity`. A view is one view id of a visitor on the day, on the row of its first event, or one page or
    screen event without a view id. Events without a visitor are left out. Which events are in no session, and why,
    `excluded_from_sessions` says.

    Sessions are counted, with all their events and views, on the day they start, on the row of their visitor, user id
    and is_bot; where further ids make several such rows, on the one without further ids, else that of the smallest.
    Where there is none (the user signed in after midnight) they make a row of their own, without events.

    An anonymous id is the visitor id, but for the visitor `user:<user_id>` of an event of that very user.

    Args:
        events: at least all events (`Events`) of `days`, and around them as `excluded_from_sessions` says.
        sessions: at least all sessions (`Sessions`) that start on `days`.
        days: activity dates to build.
        rates: turn revenue into the reporting currency.
        timezone: see `assign_sessions`.
        session_rules: see `session_rows`.
        supplied: see `excluded_from_sessions`.

    Raises:
        ValueError: see `session_rows`.

    Reads:
        events of the day, of the two days before and the day after; sessions that start on the day; supplied_sessions
        with events on the day.
    """
    wanted = sorted(set(days))
    outside = excluded_from_sessions(
        events, wanted, timezone=timezone, session_rules=session_rules, supplied=supplied, by=("event_date", *_KEY[1:])
    )
    table = _of_events(events, wanted, rates).join(_by_reason(outside), on=_KEY, how="left", nulls_equal=True)
    started = _of_sessions(sessions, wanted)
    first_rows = table.select(_KEY).sort("further_ids", nulls_last=False).unique(_SESSION_KEY, keep="first")
    started = started.join(first_rows, on=_SESSION_KEY, how="left", nulls_equal=True)
    counts = pl.col(
        "events",
        *_OUTSIDE.values(),
        "page_views",
        "conversions",
        "sessions",
        "session_events",
        "session_page_views",
        "engaged_sessions",
        "engaged_seconds",
    )
    user_only = (pl.lit("user:") + pl.col("user_id")).eq(pl.col("visitor_id")).fill_null(value=False)
    result = (
        table.join(started, on=_KEY, how="full", nulls_equal=True, coalesce=True)
        .with_columns(
            counts.fill_null(0).cast(pl.Int64),
            pl.col("first_seen_at").fill_null(pl.col("first_session_at")),
            pl.col("last_seen_at").fill_null(pl.col("last_session_at")),
            anonymous_id=pl.when(~user_only).then("visitor_id"),
        )
        .sort("activity_date", "property", "visitor_id", "user_id", "further_ids", "is_bot")
    )
    return result.with_columns(visitor_day_id=_row_ids(result)).select(VisitorDays.column_names())


def _of_events(events: pl.LazyFrame | pl.DataFrame, days: list[date], rates: Rates) -> pl.DataFrame:
    in_currency = in_reporting_currency(pl.col("revenue"), pl.col("currency"), pl.col("event_date"), rates)
    rows = (
        events.lazy()
        .filter(pl.col("event_date").is_in(days), pl.col("visitor_id").is_not_null())
        .select(
            pl.col("event_date").alias("activity_date"),
            *_KEY[1:],
            *ORDER_COLUMNS,
            "view_id",
            "is_conversion",
            is_view=is_view(),
            reporting_revenue=in_currency,
        )
        .collect()
    )
    table = rows.group_by(_KEY).agg(
        first_seen_at=pl.col("occurred_at").min(),
        last_seen_at=pl.col("occurred_at").max(),
        events=pl.len(),
        conversions=pl.col("is_conversion").sum(),
        revenue=total(pl.col("reporting_revenue")),
    )
    views = rows.filter("is_view")
    with_id = (
        views.filter(pl.col("view_id").is_not_null())
        .sort(event_order(), nulls_last=True)
        .unique(_VIEW, keep="first", maintain_order=True)
    )
    counted = pl.concat([with_id, views.filter(pl.col("view_id").is_null())]).group_by(_KEY).agg(page_views=pl.len())
    return table.join(counted, on=_KEY, how="left", nulls_equal=True)


def count_identifiers(visitor_days: pl.DataFrame, days: Sequence[date]) -> dict[date, dict[str, int]]:
    """What the identifiers of some days look like, from all their visitor days, bots included.

    Returns:
        By day: without_session_id, strays and orphan_pings, the events in no session; anonymous_ids_across and
        user_ids_across, the ids that several properties have on that day.
    """
    numbers = visitor_days.group_by("activity_date").agg(
        pl.col("strays", "orphan_pings").sum(), without_session_id=pl.col("events_without_session_id").sum()
    )
    for column in ("anonymous_id", "user_id"):
        ids = visitor_days.filter(pl.col("events") > 0).select("activity_date", column, "property").unique()
        shared = ids.drop_nulls().group_by("activity_date", column).agg(pl.len()).filter(pl.col("len") > 1)
        across = shared.group_by("activity_date").agg(pl.len().alias(f"{column}s_across"))
        numbers = numbers.join(across, on="activity_date", how="left")
    wanted = pl.DataFrame({"activity_date": sorted(set(days))}, schema={"activity_date": pl.Date})
    rows = wanted.join(numbers, on="activity_date", how="left").fill_null(0).to_dicts()
    return {row.pop("activity_date"): row for row in rows}


def _by_reason(outside: pl.DataFrame) -> pl.DataFrame:
    """Events in no session, by `_KEY` and in a column for each reason."""
    reason = pl.col("reason")
    numbers = {column: pl.col("events").filter(reason == name).sum() for name, column in _OUTSIDE.items()}
    return outside.rename({"event_date": "activity_date"}).group_by(_KEY).agg(**numbers)


def _of_sessions(sessions: pl.LazyFrame | pl.DataFrame, days: list[date]) -> pl.DataFrame:
    return (
        sessions.lazy()
        .filter(pl.col("session_date").is_in(days))
        .select(
            pl.col("session_date").alias("activity_date"),
            *_SESSION_KEY[1:],
            *_TOUCH,
            "started_at",
            "events",
            "page_views",
            "is_engaged",
            "engaged_seconds",
        )
        .collect()
        .sort("started_at", "session_id")
        .group_by(_SESSION_KEY, maintain_order=True)
        .agg(
            pl.col(_TOUCH).first(),
            sessions=pl.len(),
            session_events=pl.col("events").sum(),
            session_page_views=pl.col("page_views").sum(),
            engaged_sessions=pl.col("is_engaged").sum(),
            engaged_seconds=pl.col("engaged_seconds").sum(),
            first_session_at=pl.col("started_at").first(),
            last_session_at=pl.col("started_at").last(),
            last_channel=pl.col("channel").last(),
        )
    )


def _row_ids(rows: pl.DataFrame) -> pl.Series:
    # The lengths keep apart what a text with separators in it would make equal, and null from the empty text.
    texts = ("property", "visitor_id", "user_id", "further_ids")
    lengths = (pl.col(name).str.len_bytes().cast(pl.String).fill_null("-") for name in texts)
    values = (pl.col(name).fill_null("") for name in texts)
    day = pl.col("activity_date").dt.to_string("iso")
    key = pl.concat_str(day, pl.col("is_bot").cast(pl.Int8), *lengths, *values, separator="\x1f")
    return hex_ids(rows.select(key).to_series())


@dataclass(frozen=True)
class Parameters:
    """What visitor days depend on.

    Attributes:
        rates: the reporting currency and its rates.
        timezone: see `assign_sessions`.
        session_rules: see `session_rows`.
    """

    rates: Rates
    timezone: str
    session_rules: Mapping[str, SessionRules]


def build(inputs: Inputs, days: Sequence[date], parameters: Parameters) -> pl.DataFrame:
    """See `build_visitor_days`."""
    return build_visitor_days(
        inputs[EVENTS],
        inputs["sessions"],
        days,
        rates=parameters.rates,
        timezone=parameters.timezone,
        session_rules=parameters.session_rules,
        supplied=inputs.get("supplied_sessions"),
    )


def visitor_days(declared: Declarations) -> TableSpec:
    """The table, with the sessions of the declared sources and the declared rates."""
    session_rules, supplied = declared.session_rules, declared.supplied_sources
    # Which pings of a day are in no session, the two days before and the day after say.
    near = (
        Input(EVENTS, before=2, after=1) if len(supplied) < len(session_rules) or not session_rules else Input(EVENTS)
    )
    return TableSpec(
        name="visitor_days",
        contract=VisitorDays,
        partition_column="activity_date",
        store="lake",
        group="people",
        figures=sums("events", "sessions"),
        inputs=(near, Input("sessions"), *((Input("supplied_sessions"),) if supplied else ())),
        build=build,
        parameters=Parameters(declared.rates, declared.timezone, session_rules),
        counts=count_identifiers,
        checks=(
            same(
                "matches_events_and_sessions",
                "Events with a visitor per day equal those of the lake's events; sessions, their events and their "
                "page views equal those of `sessions`.",
                expected=_of_events_and_sessions,
                actual=_of_visitor_days,
            ),
        ),
    )


def _of_events_and_sessions(tables: Reader) -> Rows:
    return whole_numbers(
        tables.lake(EVENTS, "select 'events of ' || event_date, count(visitor_id) from files group by all"),
        tables.marts(
            "select 'sessions of ' || session_date, count(*), sum(events), sum(page_views) "
            "from marts.sessions where session_date = any(:days) group by 1"
        ),
    )


def _of_visitor_days(tables: Reader) -> Rows:
    return whole_numbers(
        tables.lake("visitor_days", "select 'events of ' || activity_date, sum(events) from files group by all"),
        tables.lake(
            "visitor_days",
            "select 'sessions of ' || activity_date, sum(sessions), sum(session_events), "
            "sum(session_page_views) from files group by all",
        ),
    )
