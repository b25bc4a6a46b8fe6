"""What is known of somebody over all their days, be it a person (`users`) or a visitor (`visitors`)."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, money, text, utc
from pipeline_assets.tables.checking import Reader, Rows, TableCheck, same, whole_numbers
from pipeline_assets.transforms.currencies import total


class Lifetime(dy.Schema):
    """What both tables say of whom a row is about, behind the columns that say who that is."""

    is_bot = dy.Bool(
        description="Whether all events are bots'; where they are not, what bots did counts in no other column",
        metadata=made_of("person_days.is_bot"),
    )
    first_seen_at = utc("First time seen", metadata=made_of("person_days.first_seen_at"))
    last_seen_at = utc("Last time seen", metadata=made_of("person_days.last_seen_at", index=True))
    days_active = dy.Int64(
        description="Days with an event",
        min=0,
        metadata=made_of("person_days.activity_date", "person_days.events"),
    )
    sessions = dy.Int64(description="Sessions", min=0, metadata=made_of("person_days.sessions"))
    engaged_sessions = dy.Int64(
        description="Of these, engaged ones", min=0, metadata=made_of("person_days.engaged_sessions")
    )
    engaged_seconds = dy.Int64(
        description="Engaged time of the sessions", min=0, metadata=made_of("person_days.engaged_seconds")
    )
    page_views = dy.Int64(
        description="Page and screen views of the sessions",
        min=0,
        metadata=made_of("person_days.session_page_views"),
    )
    events = dy.Int64(description="Events of the sessions", min=0, metadata=made_of("person_days.session_events"))
    # A table that is there gets a new column by itself only if it may be null.
    events_outside_sessions = dy.Int64(
        description="Further events, in no session: strays, events without a session id where the tracker supplies it, "
        "pings of a view of another session",
        min=0,
        nullable=True,
        metadata=made_of("person_days.orphan_pings", "person_days.events_without_session_id", "person_days.strays"),
    )
    conversions = dy.Int64(
        description="Conversion events, in a session or not", min=0, metadata=made_of("person_days.conversions")
    )
    revenue = money(
        "Revenue in the reporting currency, in a session or not; null where none",
        nullable=True,
        metadata=made_of("person_days.revenue"),
    )
    first_channel = text(
        "Channel of the first session",
        nullable=True,
        metadata=made_of("person_days.first_session_at", "person_days.channel"),
    )
    first_source = text(
        "Source of the first session",
        nullable=True,
        metadata=made_of("person_days.first_session_at", "person_days.traffic_source"),
    )
    first_medium = text(
        "Medium of the first session",
        nullable=True,
        metadata=made_of("person_days.first_session_at", "person_days.traffic_medium"),
    )
    first_campaign = text(
        "Campaign of the first session",
        nullable=True,
        metadata=made_of("person_days.first_session_at", "person_days.utm_campaign"),
    )
    first_referrer_host = text(
        "Referrer of the first session",
        nullable=True,
        metadata=made_of("person_days.first_session_at", "person_days.referrer_host"),
    )
    first_entry_page = text(
        "Entry page of the first session",
        nullable=True,
        metadata=made_of("person_days.first_session_at", "person_days.entry_page"),
    )
    last_channel = text(
        "Channel of the last session",
        nullable=True,
        metadata=made_of("person_days.last_session_at", "person_days.last_channel"),
    )


_COUNTS = ("sessions", "engaged_sessions", "engaged_seconds", "conversions")
_OUTSIDE = ("orphan_pings", "events_without_session_id", "strays")
_OF_SESSIONS = {"events": "session_events", "page_views": "session_page_views"}
_FIRST_TOUCH = {
    "first_channel": "channel",
    "first_source": "traffic_source",
    "first_medium": "traffic_medium",
    "first_campaign": "utm_campaign",
    "first_referrer_host": "referrer_host",
    "first_entry_page": "entry_page",
}

LIFETIME_COLUMNS = (
    "activity_date",
    "property",
    "visitor_id",
    "user_id",
    "person_id",
    "visitor_day_id",
    "is_bot",
    "first_seen_at",
    "last_seen_at",
    "events",
    *_COUNTS,
    *_OUTSIDE,
    *_OF_SESSIONS.values(),
    "revenue",
    "first_session_at",
    "last_session_at",
)
"""Columns of person_days that `lifetimes` needs."""


def lifetimes(rows: pl.DataFrame, by: Sequence[str], person_days: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Add up person days.

    Whoever has a row that is not a bot's is no bot, and bots' rows count in nothing of them. Events and page views are
    those of their sessions, so that they add up as in `sessions`; what is in no session is counted beside them.
    Conversions and revenue count wherever they happened. The first touch is the
    session that started first, the last touch the one that started last; of several at one moment those of the
    smallest and greatest visitor_day_id.

    Args:
        rows: `LIFETIME_COLUMNS` and `by`.
        by: whom to add up for.
        person_days: what the rows come from, to look up the touches.

    Returns:
        The columns of `Lifetime`, `by`, and how many visitors and properties; in any order.
    """
    humans, bots = rows.filter(~pl.col("is_bot")), rows.filter("is_bot")
    counted = pl.concat([humans, bots.join(humans.select(by).unique(), on=by, how="anti")])
    table = counted.group_by(by).agg(
        pl.col("is_bot", "first_seen_at", "first_session_at").min(),
        pl.col("last_seen_at", "last_session_at").max(),
        pl.col(_COUNTS).sum(),
        *(pl.col(column).sum().alias(name) for name, column in _OF_SESSIONS.items()),
        events_outside_sessions=pl.sum_horizontal(pl.col(_OUTSIDE).sum()),
        revenue=total(pl.col("revenue")),
    )
    days = _count(counted.filter(pl.col("events") > 0), by, ["activity_date"], "days_active")
    first = _session_row(counted, table, by, "first_session_at", "first")
    last = _session_row(counted, table, by, "last_session_at", "last")
    visitors = counted.select(*dict.fromkeys((*by, "property", "visitor_id"))).unique()
    return (
        table.join(days, on=by, how="left")
        .join(_count(visitors, by, ["property", "visitor_id"], "visitors"), on=by, how="left")
        .join(_count(visitors, by, ["property"], "properties"), on=by, how="left")
        .join(_touches(first, person_days).select(*by, **_FIRST_TOUCH), on=by, how="left")
        .join(_touches(last, person_days).select(*by, "last_channel"), on=by, how="left")
        .with_columns(pl.col("days_active").fill_null(0))
    )


def _count(rows: pl.DataFrame, by: Sequence[str], what: Sequence[str], name: str) -> pl.DataFrame:
    """Distinct values of `what` for each group; faster than n_unique, which works group by group."""
    distinct = rows.select(*dict.fromkeys((*by, *what))).unique()
    return distinct.group_by(by).agg(pl.len().cast(pl.Int64).alias(name))


def _session_row(
    rows: pl.DataFrame, table: pl.DataFrame, by: Sequence[str], at: str, keep: Literal["first", "last"]
) -> pl.DataFrame:
    """The row of each group whose `at` is that of the group in `table`: visitor_day_id and the columns of `by`."""
    found = rows.join(table.select(*by, at), on=[*by, at], how="semi").select("visitor_day_id", *by)
    return found.sort("visitor_day_id").unique(by, keep=keep, maintain_order=True)


def _touches(found: pl.DataFrame, person_days: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """The touches on these rows; they are read for these alone, as all of them take much memory."""
    touches = person_days.lazy().select("visitor_day_id", *_FIRST_TOUCH.values(), "last_channel")
    return touches.join(found.lazy(), on="visitor_day_id", how="inner").collect()


def adds_up(name: str) -> TableCheck:
    """The check of a table of lifetimes: nothing of the days is lost or doubled."""
    return same(
        "adds_up",
        "Sessions, their events and page views, and the events in no session, of all rows that are no bots, "
        "add up to those of all days.",
        expected=_of_all_days,
        actual=partial(_of_lifetimes, name),
        also_reads=("visitor_days",),
    )


def _of_all_days(tables: Reader) -> Rows:
    return whole_numbers(
        tables.lake(
            "visitor_days",
            "select 'all', sum(sessions), sum(session_events), sum(session_page_views), "
            "sum(orphan_pings + events_without_session_id + strays) "
            "from files where not is_bot having count(*) > 0",
            all_days=True,
        )
    )


def _of_lifetimes(name: str, tables: Reader) -> Rows:
    return whole_numbers(
        tables.marts(
            f"select 'all', sum(sessions), sum(events), sum(page_views), sum(events_outside_sessions) "  # noqa: S608 - a table of ours
            f"from marts.{name} where not is_bot having count(*) > 0"
        )
    )
