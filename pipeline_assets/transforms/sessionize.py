"""Which session an event belongs to, where sessions are inferred from inactivity.

A session starts after a gap strictly longer than the timeout; where a source wants it, also when the campaign changes
and at midnight. A session that has filled a whole calendar day ends at that day's midnight, so that the sessions that
start on a day depend on the events of the day before, the day itself and the day after, and on nothing else.

A ping of a view that began before the current session neither starts nor prolongs a session: it is *passive*. Which
pings are passive is found from the events of less than a day before them, and needs no sessions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import blake2b
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from pipeline_assets.declarations.session_limits import DEFAULT_TIMEOUT, LONGEST_SESSION_DAYS, LONGEST_TIMEOUT
from pipeline_assets.transforms.ordering import ORDER_COLUMNS, event_order

SHORTEST_DAY = timedelta(hours=22)
"""The shortest calendar day of any time zone, where the clock is put forward by two hours."""

CAMPAIGN_MEMORY = timedelta(hours=4)
"""How long a campaign is remembered: naming the same one later counts as a change."""

REASONS = ("inactivity", "day_filled", "midnight", "campaign", "supplied")
"""Why a session starts or ends."""
INACTIVITY = "inactivity"
DAY_FILLED = "day_filled"
MIDNIGHT = "midnight"
CAMPAIGN = "campaign"
SUPPLIED = "supplied"
EVENT_KEY = ("property", "visitor_id", "occurred_at", "event_id")
"""Columns that every row of a session has."""

CAMPAIGN_COLUMNS = ("utm_source", "utm_medium", "utm_campaign", "click_id")
"""What makes two campaigns different ones. An event that has none of them names no campaign."""

FEW_VALUES = (
    "property",
    "source",
    "event_type",
    "event_name",
    "page_host",
    "page_title",
    "referrer_host",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "click_id_type",
    "device_type",
    "os",
    "browser",
    "country",
    "currency",
    "load_id",
)
"""Texts of events that repeat often."""

REASON = pl.Enum(REASONS)
"""Why a session starts or ends."""

_MOMENT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class SessionRules:
    """How the events of a source become sessions.

    Attributes:
        mode: whether sessions are inferred from inactivity, or the tracker supplies their ids.
        timeout: a gap strictly longer than this starts a session; inferred mode.
        split_on_campaign: whether another campaign starts a session; inferred mode.
        split_at_midnight: whether midnight of the reporting time zone starts a session; inferred mode.
        max_session_days: days of 24 hours after the first event of a supplied id in which its events belong to its
            session; supplied mode.

    Raises:
        ValueError: the timeout is not between 0 and `LONGEST_TIMEOUT`, or max_session_days not between 1 and
            `LONGEST_SESSION_DAYS`.
    """

    mode: Literal["inferred", "supplied"] = "inferred"
    timeout: timedelta = DEFAULT_TIMEOUT
    split_on_campaign: bool = False
    split_at_midnight: bool = False
    max_session_days: int = 3

    def __post_init__(self) -> None:
        """Refuse what would make a day depend on days far away."""
        if not timedelta(0) < self.timeout <= LONGEST_TIMEOUT:
            raise ValueError(f"A session timeout must be more than 0 and at most {LONGEST_TIMEOUT}: {self.timeout}")
        if not 1 <= self.max_session_days <= LONGEST_SESSION_DAYS:
            raise ValueError(f"max_session_days must be from 1 to {LONGEST_SESSION_DAYS}: {self.max_session_days}")


def supplied_sources(session_rules: Mapping[str, SessionRules]) -> list[str]:
    """The sources whose trackers supply the ids of sessions."""
    return sorted(source for source, rule in session_rules.items() if rule.mode == "supplied")


def longest_timeout(session_rules: Mapping[str, SessionRules]) -> timedelta:
    """The longest timeout of the sources in inferred mode, one that is not named included."""
    return max([DEFAULT_TIMEOUT, *(rule.timeout for rule in session_rules.values() if rule.mode == "inferred")])


def view_memory(session_rules: Mapping[str, SessionRules]) -> timedelta:
    """How long after its page or screen event a view is known to its pings: 17.5 hours with the default timeout.

    What is left of the shortest day when the last gap before a midnight, the pings in it, their views and the campaigns
    changed since are all to be found within one day.
    """
    return SHORTEST_DAY - CAMPAIGN_MEMORY - longest_timeout(session_rules)


def compact(column: str) -> pl.Expr:
    """A column of events; `FEW_VALUES` as categories, which take a quarter of the memory of texts while sorting."""
    return pl.col(column).cast(pl.Categorical) if column in FEW_VALUES else pl.col(column)


def assign_sessions(
    events: pl.LazyFrame | pl.DataFrame,
    *,
    timezone: str,
    session_rules: Mapping[str, SessionRules] | None = None,
    columns: Sequence[str] = (),
) -> pl.DataFrame:
    """Number the inferred sessions of `events`.

    An event starts a session for the first of these reasons that holds. A gap is measured by the timeout of the later
    event's source, a filled day's gap before midnight by that of the last event's source; the other settings are
    those of the event's own source.

    1. `day_filled`: it is the visitor's first event of the day, and they filled the day before: no gap over the
       timeout from midnight to the first event, between events, and from the last one to midnight. Here all events
       count, passive pings too, and the gap before a ping with a view id is measured by the longest timeout there is.
    2. `inactivity`: the gap since the visitor's previous event is strictly longer than the timeout.
    3. `day_filled`: as above, where a source with a longer timeout goes on after the last gap before midnight.
    4. `midnight`: it is the visitor's first event of the day, and its source splits at midnight.
    5. `campaign`: it names a campaign (`CAMPAIGN_COLUMNS`) other than the one that the visitor named last, or the
       visitor named none in the `CAMPAIGN_MEMORY` before; and its source splits on campaigns. Pings name none. This
       is Universal Analytics' rule: a change of any of the user's traffic source values, and no event without any,
       opens a session.

    A ping with a view id is of the view of the visitor's last page or screen event before it that has this id, if that
    lies within `view_memory`; else it is an event like any other. It is passive if since that event no event had the
    view id for longer than the timeout, or the campaign changed, or its source splits at midnight and the day is
    another. A passive ping neither starts nor prolongs a session. It is in the session of its view if that still goes
    on after it, and in none, an orphan, if not.

    The first day of `events` may miss sessions that began before it, and the last one sessions that go on after it.

    Args:
        events: complete days of events (`Events`); those without a visitor, and those of sources that supply
            the ids of sessions, are left out.
        timezone: reporting time zone, in which event_date is a calendar day.
        session_rules: by source; `SessionRules()` for a source that is not named.
        columns: further columns to keep.

    Returns:
        source, event_date, event_type, view_id, the columns of `EVENT_KEY` and `columns`, the rows of a visitor
        together and in order (`event_order`); session_number, counting from 0 in this frame; is_start; is_orphan;
        session_date, the event_date of the session's first event; start_reason and end_reason, on the first event of a
        session. The session of an orphan means nothing.
    """
    session_rules = session_rules or {}
    campaign_sources = [source for source, rule in session_rules.items() if rule.split_on_campaign]
    midnight_sources = [source for source, rule in session_rules.items() if rule.split_at_midnight]
    wanted = dict.fromkeys(
        (
            *EVENT_KEY,
            "source",
            "event_date",
            "event_type",
            "view_id",
            *(CAMPAIGN_COLUMNS if campaign_sources else ()),
            *columns,
        )
    )
    is_inferred = pl.all_horizontal(
        pl.col("visitor_id").is_not_null(), *(pl.col("source") != source for source in supplied_sources(session_rules))
    )
    needed = dict.fromkeys((*wanted, *ORDER_COLUMNS))
    rows = in_order(events.lazy().filter(is_inferred).select(compact(name) for name in needed).collect(), keep=wanted)
    is_new_visitor = _changes("property") | _changes("visitor_id")
    steps = rows.select(
        "event_date",
        "occurred_at",
        timeout=by_source({name: rule.timeout for name, rule in session_rules.items()}, DEFAULT_TIMEOUT),
        is_view_ping=_is_view_ping(),
        is_new_visitor=is_new_visitor,
        is_new_day=is_new_visitor | _changes("event_date"),
    ).with_columns(day_number=pl.col("is_new_day").cum_sum() - 1)
    changes = _campaign_changes(rows, steps, campaign_sources) if campaign_sources else None
    passive = _passive_pings(rows, steps, changes, midnight_sources, view_memory(session_rules))
    steps = _with_gaps(steps, passive)
    midnights = _midnights(steps["event_date"], timezone)
    days = _visitor_days(steps, midnights, longest_timeout(session_rules))
    at_midnight = _is_any_of(midnight_sources)
    first = pl.col("is_first_of_day")
    reason = (
        pl.when(first & days["follows_filled"].gather(steps["day_number"]))
        .then(_reason(DAY_FILLED))
        .when("is_after_gap")
        .then(_reason(INACTIVITY))
        .when(first & days["follows_unbroken"].gather(steps["day_number"]))
        .then(_reason(DAY_FILLED))
        .when(first & rows.select(at_midnight).to_series())
        .then(_reason(MIDNIGHT))
    )
    if changes is not None:
        reason = reason.when(changes).then(_reason(CAMPAIGN))
    steps = steps.with_columns(start_reason=reason).with_columns(is_start=pl.col("start_reason").is_not_null())
    steps = steps.with_columns(session_number=pl.col("is_start").cum_sum() - 1)
    end_reasons = _end_reasons(steps, days, midnights)
    number = steps["session_number"]
    return rows.hstack(
        steps.select(
            "session_number",
            "is_start",
            "start_reason",
            end_reason=pl.when("is_start").then(end_reasons.gather(number)),
            is_orphan=_orphans(steps, passive),
            session_date=steps.filter("is_start")["event_date"].gather(number),
        )
    )


def hex_ids(keys: pl.Series) -> pl.Series:
    """128-bit BLAKE2b of each text, as 32 hex digits; the same on every machine and in every version."""
    return pl.Series([blake2b(key.encode(), digest_size=16).hexdigest() for key in keys], dtype=pl.String)


def in_order(rows: pl.DataFrame, *further: str, keep: Iterable[str]) -> pl.DataFrame:
    """The columns `keep` of the rows, those of each visitor (and of each value of `further`) together and in order.

    Visitors are numbered and only the keys are sorted, which takes half the memory of sorting `rows`.
    """
    visitor = ("property", "visitor_id", *further)
    keys = rows.select(*visitor, *ORDER_COLUMNS).rechunk()
    numbers = keys.select(visitor).unique(maintain_order=True).with_row_index("visitor")
    order = (
        keys.join(numbers, on=visitor, how="left", maintain_order="left")
        .select("visitor", *ORDER_COLUMNS)
        .with_row_index("row")
        .sort("visitor", "occurred_at")
    )
    # Few events share a visitor's moment; comparing all of the rest only there makes the sort five times faster.
    repeats = (pl.col("visitor") == pl.col("visitor").shift()) & (
        pl.col("occurred_at") == pl.col("occurred_at").shift()
    )
    is_tied = order.select(repeats.fill_null(value=False) | repeats.shift(-1, fill_value=False)).to_series()
    tied = order.filter(is_tied).sort("visitor", *event_order(), nulls_last=True)
    positions = order["row"].scatter(is_tied.arg_true(), tied["row"])
    del keys, order
    # Gathering from many small chunks is several times slower than from one.
    return rows.select(*keep).rechunk()[positions]


def group_numbers(frame: pl.DataFrame, *by: str) -> pl.Series:
    """A number for each row, the same for rows that are equal in `by`; quick where most of them follow each other."""
    is_first = frame.select(pl.any_horizontal(_changes(column) for column in by)).to_series()
    runs = frame.lazy().select(by).filter(is_first).with_row_index("number").collect()
    # The hash only says which runs need a look.
    again = runs.filter(runs.select(pl.struct(by).hash().is_duplicated()).to_series())
    first = again.unique(by, keep="first", maintain_order=True)
    found = again.join(first, on=by, nulls_equal=True)
    return runs["number"].scatter(found["number"], found["number_right"]).gather(is_first.cum_sum() - 1)


def _campaign_changes(rows: pl.DataFrame, steps: pl.DataFrame, sources: Sequence[str]) -> pl.Series:
    """Whether each event names another campaign than the visitor named last, and is of `sources`."""
    names_one = pl.any_horizontal(pl.col(CAMPAIGN_COLUMNS).is_not_null()) & (pl.col("event_type") != "ping")
    named = (
        rows.select(*CAMPAIGN_COLUMNS, "event_type", "occurred_at", is_wanted=_is_any_of(sources))
        .with_columns(visitor=steps["is_new_visitor"].cum_sum())
        .with_row_index("row")
        .filter(names_one)
    )
    since = pl.col("occurred_at") - pl.col("occurred_at").shift()
    differs = pl.any_horizontal(_changes(column) for column in ("visitor", *CAMPAIGN_COLUMNS))
    changed = named.filter(pl.col("is_wanted") & (differs | (since > CAMPAIGN_MEMORY)))["row"]
    return pl.repeat(False, len(rows), dtype=pl.Boolean, eager=True).scatter(changed, values=True)


def _passive_pings(
    rows: pl.DataFrame,
    steps: pl.DataFrame,
    changes: pl.Series | None,
    midnight_sources: Sequence[str],
    memory: timedelta,
) -> pl.DataFrame | None:
    """The passive pings: row, and view_row, the row of the page or screen event of their view; None if there are none.

    Args:
        rows: the events in order.
        steps: the same, with timeout, is_view_ping and is_new_visitor.
        changes: `_campaign_changes`.
        midnight_sources: sources that split at midnight.
        memory: see `view_memory`.
    """
    if not steps["is_view_ping"].any():
        return None
    change = pl.lit(0, dtype=pl.UInt32) if changes is None else changes.cum_sum()
    marks = (
        rows.select("view_id", is_view=is_view(), at_midnight=_is_any_of(midnight_sources))
        .hstack(steps.select("occurred_at", "event_date", "timeout", "is_view_ping"))
        .with_columns(visitor=steps["is_new_visitor"].cum_sum(), change=change)
        .with_row_index("row")
        .filter(pl.col("view_id").is_not_null())
    )
    same_view = pl.col("view") == pl.col("view").shift()
    gap = pl.col("occurred_at") - pl.col("occurred_at").shift()
    silence = same_view & (gap > pl.col("timeout"))
    split = same_view & (pl.col("event_date") != pl.col("event_date").shift()) & bool(midnight_sources)
    changed = same_view & (pl.col("change") != pl.col("change").shift())
    # Where a view's events follow each other, a look at the one before says whether anything is passive. That leaves
    # few views that are worth the sort.
    marks = marks.with_columns(view=group_numbers(marks, "visitor", "view_id"))
    suspects = marks.lazy().filter(silence | split | changed).select("view")
    begun = marks.lazy().filter(_changes("view")).select("view")
    interrupted = begun.filter(pl.col("view").is_duplicated())
    views = pl.concat([suspects, interrupted]).unique().collect()
    if views.is_empty():
        return None
    of_view = {
        f"view_{name}": pl.when("is_view").then(name).forward_fill()
        for name in ("row", "occurred_at", "event_date", "silences", "change", "view")
    }
    passive = (
        marks.join(views, on="view")
        .sort("view", "row")
        .with_columns(silences=silence.fill_null(value=False).cum_sum())
        .with_columns(**of_view)
        .filter(
            pl.col("is_view_ping"),
            pl.col("view") == pl.col("view_view"),
            pl.col("occurred_at") - pl.col("view_occurred_at") <= memory,
            (pl.col("silences") > pl.col("view_silences"))
            | (pl.col("change") > pl.col("view_change"))
            | (pl.col("at_midnight") & (pl.col("event_date") > pl.col("view_event_date"))),
        )
        .select("row", "view_row")
        .sort("row")
    )
    return None if passive.is_empty() else passive


def _with_gaps(steps: pl.DataFrame, passive: pl.DataFrame | None) -> pl.DataFrame:
    """Add is_active, is_first_of_day and is_after_gap, which hold of active events and look at active ones only."""
    since = pl.col("occurred_at") - pl.col("occurred_at").shift()
    if passive is None:
        return steps.with_columns(
            is_active=pl.lit(value=True),
            is_first_of_day=pl.col("is_new_day"),
            is_after_gap=pl.col("is_new_visitor") | (since > pl.col("timeout")),
        )
    is_active = pl.repeat(True, len(steps), dtype=pl.Boolean, eager=True).scatter(passive["row"], values=False)
    # A visitor's first event is active, for the view of a passive ping is before it.
    before = {
        name: pl.when(is_active).then(name).otherwise(None).forward_fill().shift()
        for name in ("occurred_at", "event_date")
    }
    is_new = pl.col("is_new_visitor")
    return steps.with_columns(
        is_active=is_active,
        is_first_of_day=is_active & (is_new | (pl.col("event_date") != before["event_date"])),
        is_after_gap=is_active & (is_new | (pl.col("occurred_at") - before["occurred_at"] > pl.col("timeout"))),
    )


def _visitor_days(steps: pl.DataFrame, midnights: Mapping[date, datetime], longest: timedelta) -> pl.DataFrame:
    """One row per visitor and calendar day with events, in the order of `day_number`.

    Returns:
        is_filled; follows_filled and follows_unbroken: whether the visitor's calendar day before was filled, or
        filled but for the gap before its midnight.
    """
    opening = pl.col("first_at") - _midnight(midnights, pl.col("event_date"))
    next_day = pl.col("event_date").dt.offset_by("1d")
    closing = _midnight(midnights, next_day) - pl.col("last_at")
    follows = ~pl.col("is_new_visitor") & (pl.col("event_date") == next_day.shift())
    # A session goes on over passive pings, whatever the timeout of their source. Which pings are passive may depend on
    # the day before, and this must not.
    timeout = pl.when("is_view_ping").then(pl.lit(longest, dtype=pl.Duration("us"))).otherwise("timeout")
    gap = pl.col("occurred_at") - pl.col("occurred_at").shift()
    return (
        steps.select("day_number", "event_date", "is_new_visitor", "is_new_day", "occurred_at", "timeout", wait=timeout)
        .with_columns(is_break=~pl.col("is_new_day") & (gap > pl.col("wait")))
        .group_by("day_number", maintain_order=True)
        .agg(
            pl.col("event_date", "is_new_visitor").first(),
            first_at=pl.col("occurred_at").first(),
            last_at=pl.col("occurred_at").last(),
            first_wait=pl.col("wait").first(),
            last_wait=pl.col("wait").last(),
            breaks=pl.col("is_break").sum(),
        )
        .with_columns(is_unbroken=(opening <= pl.col("first_wait")) & (pl.col("breaks") == 0))
        .with_columns(is_filled=pl.col("is_unbroken") & (closing <= pl.col("last_wait")))
        .select(
            "is_filled",
            follows_filled=follows & pl.col("is_filled").shift(fill_value=False),
            # A last event short of midnight by more than its own source's timeout may still be followed, within the
            # timeout of another source; the session has filled the day all the same.
            follows_unbroken=follows & pl.col("is_unbroken").shift(fill_value=False),
        )
    )


def _end_reasons(steps: pl.DataFrame, days: pl.DataFrame, midnights: Mapping[date, datetime]) -> pl.Series:
    """Why each session ends: the next one of the visitor started for a campaign or at midnight, its day is filled."""
    active = steps.filter("is_active")
    is_last = pl.col("session_number") != pl.col("session_number").shift(-1)
    last = active.filter(is_last.fill_null(value=True))
    starts = active.filter("is_start").select(next_reason="start_reason", is_next_visitor="is_new_visitor").shift(-1)
    next_day = pl.col("event_date").dt.offset_by("1d")
    closing = _midnight(midnights, next_day) - pl.col("occurred_at")
    is_filled = days["is_filled"].gather(last["day_number"])
    splits = ~pl.col("is_next_visitor") & pl.col("next_reason").is_in([MIDNIGHT, CAMPAIGN])
    return (
        last.select("event_date", "occurred_at", "timeout")
        .hstack(starts)
        .select(
            pl.when(splits)
            .then("next_reason")
            .when(is_filled & (closing <= pl.col("timeout")))
            .then(_reason(DAY_FILLED))
            .otherwise(_reason(INACTIVITY))
            .alias("end_reason")
        )
        .to_series()
    )


def _orphans(steps: pl.DataFrame, passive: pl.DataFrame | None) -> pl.Series:
    """Whether each event is a passive ping outside its view's session, or behind its last active event."""
    orphan = pl.repeat(False, len(steps), dtype=pl.Boolean, eager=True)
    if passive is None:
        return orphan
    next_number = pl.when("is_active").then("session_number").backward_fill()
    pings = passive.hstack(steps.select("session_number", next_number=next_number)[passive["row"]])
    start_row = steps["is_start"].arg_true().gather(pings["session_number"])
    is_outside = start_row > pings["view_row"]
    is_behind = pings["next_number"].ne_missing(pings["session_number"])
    return orphan.scatter(pings["row"].filter(is_outside | is_behind), values=True)


def by_source(values: Mapping[str, timedelta], default: timedelta) -> pl.Expr:
    """The duration of each event's source."""
    duration = pl.lit(default, dtype=pl.Duration("us"))
    for source, value in values.items():
        if value != default:
            own = pl.lit(value, dtype=pl.Duration("us"))
            duration = pl.when(pl.col("source") == source).then(own).otherwise(duration)
    return duration


def is_view() -> pl.Expr:
    """Whether an event is one of a page or screen view."""
    return pl.col("event_type").is_in(["page", "screen"])


def _is_any_of(sources: Sequence[str]) -> pl.Expr:
    return pl.any_horizontal(pl.lit(value=False), *(pl.col("source") == source for source in sources))


def _is_view_ping() -> pl.Expr:
    return (pl.col("event_type") == "ping") & pl.col("view_id").is_not_null()


def _midnights(dates: pl.Series, timezone: str) -> dict[date, datetime]:
    """First moment of each calendar day in `dates` and of the days after them, in UTC."""
    zone = ZoneInfo(timezone)
    days = {day for value in dates.unique() for day in (value, value + timedelta(days=1))}
    # Where the clock is turned at midnight, fold=0 gives the first of two midnights, and the moment of the jump
    # where there is none.
    return {day: datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(ZoneInfo("UTC")) for day in days}


def _midnight(midnights: Mapping[date, datetime], day: pl.Expr) -> pl.Expr:
    return day.replace_strict(midnights, return_dtype=_MOMENT)


def _changes(column: str) -> pl.Expr:
    return pl.col(column).ne_missing(pl.col(column).shift())


def _reason(name: str) -> pl.Expr:
    return pl.lit(name, dtype=REASON)
