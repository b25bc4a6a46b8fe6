"""The events of the sessions that start on some days, inferred and supplied ones alike; and those of no session."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl
from polars import selectors as cs

from pipeline_assets.declarations.session_limits import DEFAULT_TIMEOUT
from pipeline_assets.transforms.ordering import ORDER_COLUMNS
from pipeline_assets.transforms.sessionize import (
    EVENT_KEY,
    REASON,
    SUPPLIED,
    SessionRules,
    assign_sessions,
    by_source,
    compact,
    hex_ids,
    in_order,
    supplied_sources,
)

ORPHAN_PING = "orphan_ping"
NO_SESSION_ID = "no_session_id"
STRAY = "stray"

_SUPPLIED_KEY = ("property", "visitor_id", "session_id_supplied")
_VIEW_KEY = ("property", "visitor_id", "view_id")
# Less than a calendar day and a change of the clocks.
_CALENDAR_SLACK = timedelta(hours=3)
_ROW_COLUMNS = ("session_number", "is_start", "session_date")


@dataclass(frozen=True)
class SessionRows:
    """Sessions and their events.

    Attributes:
        rows: the events, those of a session together and in order (`event_order`): source, event_date, the columns of
            `EVENT_KEY` and those that were asked for; session_number, counting from 0; is_start, whether it is the
            first event of its session; session_date; is_supplied, whether the session is one of supplied mode.
        sessions: session_id, start_reason and end_reason of every session, in order of session_number.
    """

    rows: pl.DataFrame
    sessions: pl.DataFrame


def session_rows(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    timezone: str,
    session_rules: Mapping[str, SessionRules] | None = None,
    supplied: pl.LazyFrame | pl.DataFrame | None = None,
    columns: Sequence[str] = (),
) -> SessionRows:
    """The sessions that start on `days`, with their events.

    The events of sources in inferred mode make the sessions of `assign_sessions`; passive pings that are in none are
    left out. The events of sources in supplied mode make one session for each property, visitor and supplied id: it
    starts at the first event that the id ever had, on that event's day. Events more than max_session_days after it
    (times 24 hours, or calendar days, for a day may have 23) are strays, in no session; so are events without an id.
    Inferred and supplied events of one visitor do not see each other.

    Args:
        events: all events (`Events`) of `days`, of the day before and the day after each; of the
            max_session_days after each where a source is in supplied mode.
        days: session dates.
        timezone: see `assign_sessions`.
        session_rules: by source; `SessionRules()` for a source that is not named.
        supplied: `SuppliedSessions`, at least the sessions that start on `days`; needed where a source is in
            supplied mode.
        columns: columns of events to keep.

    Raises:
        ValueError: a source is in supplied mode and `supplied` is missing.
    """
    session_rules = session_rules or {}
    wanted = sorted(set(days))
    inferred = _inferred(events, wanted, timezone, session_rules, columns)
    rows = inferred.rows.with_columns(is_supplied=pl.lit(value=False))
    if not supplied_sources(session_rules):
        return SessionRows(rows, inferred.sessions)
    given = _supplied(events, wanted, session_rules, _known(supplied), columns)
    shifted = given.rows.with_columns(
        pl.col("session_number") + pl.lit(len(inferred.sessions), dtype=pl.UInt32), is_supplied=pl.lit(value=True)
    )
    return SessionRows(
        pl.concat([rows, shifted.select(rows.columns)]),
        pl.concat([inferred.sessions, given.sessions]),
    )


def excluded_from_sessions(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    timezone: str,
    session_rules: Mapping[str, SessionRules] | None = None,
    supplied: pl.LazyFrame | pl.DataFrame | None = None,
    by: Sequence[str] = ("event_date", "property", "source"),
) -> pl.DataFrame:
    """Events of `days` that have a visitor and are in no session, counted by reason.

    `orphan_ping`: a passive ping outside its view's session; inferred mode (`assign_sessions`). `no_session_id`: no
    supplied id; `stray`: too long after the first event of the supplied id; supplied mode.

    Args:
        events: all events (`Events`) of `days`, of the two days before and the day after each; where all
            sources are in supplied mode those of `days`.
        days: event dates.
        timezone: see `assign_sessions`.
        session_rules: see `session_rows`.
        supplied: `SuppliedSessions`, at least the sessions with events on `days`; see `session_rows`.
        by: columns of events to count by.

    Returns:
        `by`, reason, events; a row where there are any, in that order.

    Raises:
        ValueError: a source is in supplied mode and `supplied` is missing.
    """
    session_rules = session_rules or {}
    wanted = sorted(set(days))
    parts = [_orphan_pings(events, wanted, timezone, session_rules, by)]
    if supplied_sources(session_rules):
        given = _of_supplied_sources(events, session_rules).filter(pl.col("event_date").is_in(wanted))
        # Next to no id lasts so long.
        lasting = pl.col("last_at") - pl.col("first_at") > _shortest_reach(session_rules) - _CALENDAR_SLACK
        known = _known(supplied).filter(lasting).select(*_SUPPLIED_KEY, "first_at", "session_date")
        parts += [
            given.filter(pl.col("session_id_supplied").is_null()).select(*by, reason=pl.lit(NO_SESSION_ID)),
            given.join(known, on=_SUPPLIED_KEY).filter(~_in_reach(session_rules)).select(*by, reason=pl.lit(STRAY)),
        ]
    return (
        pl.concat([part.with_columns(cs.categorical().cast(pl.String)) for part in parts])
        .group_by(*by, "reason")
        .agg(events=pl.len().cast(pl.Int64))
        .sort(*by, "reason")
        .collect()
    )


def _orphan_pings(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    timezone: str,
    session_rules: Mapping[str, SessionRules],
    columns: Sequence[str],
) -> pl.LazyFrame:
    """The orphan pings of some days.

    Few visitors have one, and only theirs are made sessions of: one of their views was silent for longer than a
    timeout, or might be cut by midnight or a campaign.
    """
    supplied = supplied_sources(session_rules)
    inferred = events.lazy().filter(
        pl.col("visitor_id").is_not_null(), *(pl.col("source") != source for source in supplied)
    )
    of_days = pl.col("event_date").is_in(days)
    at, day = pl.col("occurred_at"), pl.col("event_date")
    timeouts = [rule.timeout for rule in session_rules.values() if rule.mode == "inferred"]
    may_end = at.max() - at.min() > min([DEFAULT_TIMEOUT, *timeouts])
    if any(rule.split_at_midnight for rule in session_rules.values()):
        may_end |= day.max() > day.min()
    if any(rule.split_on_campaign for rule in session_rules.values()):
        may_end |= pl.lit(value=True)
    visitors = (
        inferred.filter(pl.col("view_id").is_not_null())
        .group_by(_VIEW_KEY)
        .agg(is_suspect=((pl.col("event_type") == "ping") & of_days).any() & may_end)
        .filter("is_suspect")
        .select(_VIEW_KEY[:2])
        .unique()
        .collect()
    )
    if visitors.is_empty():
        schema = events.lazy().collect_schema()
        return pl.LazyFrame(schema={**{name: schema[name] for name in columns}, "reason": pl.String})
    theirs = inferred.join(visitors.lazy(), on=_VIEW_KEY[:2], how="semi")
    rows = assign_sessions(theirs, timezone=timezone, session_rules=session_rules, columns=columns)
    return rows.lazy().filter("is_orphan", of_days).select(*columns, reason=pl.lit(ORPHAN_PING))


def _shortest_reach(session_rules: Mapping[str, SessionRules]) -> timedelta:
    return min(timedelta(days=session_rules[source].max_session_days) for source in supplied_sources(session_rules))


def _inferred(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    timezone: str,
    session_rules: Mapping[str, SessionRules],
    columns: Sequence[str],
) -> SessionRows:
    assigned = assign_sessions(events, timezone=timezone, session_rules=session_rules, columns=columns)
    rows = assigned.filter(pl.col("session_date").is_in(days), ~pl.col("is_orphan"))
    starts = rows.filter("is_start")
    ids = starts.select(
        pl.concat_str(
            pl.col("occurred_at").dt.epoch("us"),
            # The lengths keep apart what a visitor id with separators in it would make equal.
            pl.col("property").cast(pl.String).str.len_bytes(),
            pl.col("visitor_id").str.len_bytes(),
            "property",
            "visitor_id",
            "event_id",
            separator="\x1f",
        )
    ).to_series()
    sessions = starts.select(hex_ids(ids).alias("session_id"), "start_reason", "end_reason")
    kept = dict.fromkeys((*EVENT_KEY, "source", "event_date", *columns, *_ROW_COLUMNS))
    return SessionRows(rows.select(*kept).with_columns(session_number=pl.col("is_start").cum_sum() - 1), sessions)


def _supplied(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    session_rules: Mapping[str, SessionRules],
    supplied: pl.LazyFrame,
    columns: Sequence[str],
) -> SessionRows:
    starting = supplied.filter(pl.col("session_date").is_in(days)).select(*_SUPPLIED_KEY, "first_at", "session_date")
    wanted = dict.fromkeys((*EVENT_KEY, "source", "event_date", "session_id_supplied", *columns))
    needed = dict.fromkeys((*wanted, *ORDER_COLUMNS))
    found = (
        _of_supplied_sources(events, session_rules)
        .select(*needed)
        .join(starting, on=_SUPPLIED_KEY)
        .filter(_in_reach(session_rules))
        .select(*(compact(name) for name in needed), "first_at", "session_date")
        .collect()
    )
    rows = in_order(found, "session_id_supplied", keep=(*wanted, "first_at", "session_date"))
    is_start = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in _SUPPLIED_KEY)
    rows = rows.with_columns(is_start=is_start).with_columns(session_number=pl.col("is_start").cum_sum() - 1)
    starts = rows.filter("is_start")
    ids = starts.select(
        pl.concat_str(
            # No inferred session's key begins with a letter.
            pl.lit("supplied"),
            pl.col("first_at").dt.epoch("us"),
            pl.col("property").cast(pl.String).str.len_bytes(),
            pl.col("visitor_id").str.len_bytes(),
            *_SUPPLIED_KEY,
            separator="\x1f",
        )
    ).to_series()
    reason = pl.lit(SUPPLIED, dtype=REASON)
    sessions = starts.select(hex_ids(ids).alias("session_id"), start_reason=reason, end_reason=reason)
    return SessionRows(rows, sessions)


def _of_supplied_sources(
    events: pl.LazyFrame | pl.DataFrame, session_rules: Mapping[str, SessionRules]
) -> pl.LazyFrame:
    return events.lazy().filter(
        pl.col("visitor_id").is_not_null(),
        pl.any_horizontal(pl.col("source") == source for source in supplied_sources(session_rules)),
    )


def _in_reach(session_rules: Mapping[str, SessionRules]) -> pl.Expr:
    """Whether an event lies in max_session_days after first_at, both by the clock and by the calendar."""
    days = by_source(
        {name: timedelta(days=rule.max_session_days) for name, rule in session_rules.items()},
        timedelta(days=SessionRules().max_session_days),
    )
    by_clock = pl.col("occurred_at") - pl.col("first_at") <= days
    return by_clock & (pl.col("event_date") - pl.col("session_date") <= days)


def _known(supplied: pl.LazyFrame | pl.DataFrame | None) -> pl.LazyFrame:
    if supplied is None:
        raise ValueError("A source supplies the ids of sessions, and the table supplied_sessions is missing.")
    return supplied.lazy()
