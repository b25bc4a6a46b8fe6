"""Which session an event belongs to: the 30-minute rule and the filled-day rule.

A session starts after a gap strictly longer than the timeout. A session that has filled a whole calendar day ends
at that day's midnight, so that the sessions that start on a day depend on the events of the day before, the day
itself and the day after, and on nothing else.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from hashlib import blake2b
from zoneinfo import ZoneInfo

import polars as pl

DEFAULT_TIMEOUT = timedelta(minutes=30)
LONGEST_TIMEOUT = timedelta(hours=12)
"""A timeout must be well below the shortest day, or a day without events would not end a session."""

INACTIVITY = "inactivity"
DAY_FILLED = "day_filled"

EVENT_ORDER = ("property", "visitor_id", "occurred_at", "received_at", "event_id")
"""Order of a visitor's events, nulls last."""

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
    "device_type",
    "os",
    "browser",
    "country",
    "currency",
)
"""Texts of events that repeat often."""


def compact(events: pl.LazyFrame | pl.DataFrame) -> pl.LazyFrame:
    """The events with `FEW_VALUES` as categories, which take a quarter of the memory of texts while sorting."""
    return events.lazy().with_columns(pl.col(FEW_VALUES).cast(pl.Categorical))


def assign_sessions(
    events: pl.LazyFrame | pl.DataFrame,
    *,
    timezone: str,
    timeouts: Mapping[str, timedelta] | None = None,
    columns: Sequence[str] = (),
) -> pl.DataFrame:
    """Number the sessions of `events`.

    A filled day: no gap of the visitor's events over the timeout, from midnight to the first event, between events,
    and from the last one to midnight. The visitor's first event of the day after starts a session with the reason
    `day_filled`, whatever the gap before it. A gap is measured by the timeout of the later event's source; the gap
    before midnight by that of the last event's source.

    The first day of `events` may miss sessions that began before it, and the last one sessions that go on after it.

    Args:
        events: complete days of events (`contracts.Events`); those without a visitor are left out.
        timezone: reporting time zone, in which event_date is a calendar day.
        timeouts: by source; `DEFAULT_TIMEOUT` for a source that is not named.
        columns: further columns to keep.

    Returns:
        source, event_date, the columns of `EVENT_ORDER` and `columns`, the rows of a visitor together and in that
        order; session_number, counting from 0 in this frame; is_start; session_date, the event_date of the session's
        first event; start_reason, on the first event of a session; day_filled, whether the visitor filled the
        event's day.

    Raises:
        ValueError: a timeout is not between 0 and `LONGEST_TIMEOUT`.
    """
    timeouts = timeouts or {}
    if wrong := {source: str(time) for source, time in timeouts.items() if not timedelta(0) < time <= LONGEST_TIMEOUT}:
        raise ValueError(f"A session timeout must be more than 0 and at most {LONGEST_TIMEOUT}: {wrong}")
    wanted = dict.fromkeys((*EVENT_ORDER, "source", "event_date", *columns))
    rows = _in_order(events.lazy().filter(pl.col("visitor_id").is_not_null()).select(*wanted).collect())
    is_new_visitor = _changes("property") | _changes("visitor_id")
    gap = pl.col("occurred_at") - pl.col("occurred_at").shift()
    steps = rows.select(
        "event_date",
        "occurred_at",
        timeout=_timeout(timeouts),
        is_new_visitor=is_new_visitor,
        is_new_day=is_new_visitor | _changes("event_date"),
        is_after_gap=is_new_visitor | (gap > _timeout(timeouts)),
    ).with_columns(day_number=pl.col("is_new_day").cum_sum() - 1)
    days = _visitor_days(steps, timezone)
    starts_after_filled = pl.col("is_new_day") & days["follows_filled"].gather(steps["day_number"])
    starts_after_unbroken = pl.col("is_new_day") & days["follows_unbroken"].gather(steps["day_number"])
    reasons = steps.select(
        pl.when(starts_after_filled)
        .then(pl.lit(DAY_FILLED))
        .when("is_after_gap")
        .then(pl.lit(INACTIVITY))
        .when(starts_after_unbroken)
        .then(pl.lit(DAY_FILLED))
        .alias("start_reason"),
        days["is_filled"].gather(steps["day_number"]).alias("day_filled"),
    )
    numbered = (
        rows.hstack(reasons)
        .with_columns(is_start=pl.col("start_reason").is_not_null())
        .with_columns(session_number=pl.col("is_start").cum_sum() - 1)
    )
    dates = numbered.filter("is_start")["event_date"]
    return numbered.with_columns(session_date=dates.gather(numbered["session_number"]))


def sessions_of_days(assigned: pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """The rows of `assign_sessions` whose session starts on `days`, numbered anew from 0."""
    return assigned.filter(pl.col("session_date").is_in(sorted(set(days)))).with_columns(
        session_number=pl.col("is_start").cum_sum() - 1
    )


def session_ids(starts: pl.DataFrame) -> pl.Series:
    """Id of each session from its first event: 32 hex digits of a hash of property, visitor, time and event id."""
    return hex_ids(
        starts.select(
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
    ).alias("session_id")


def hex_ids(keys: pl.Series) -> pl.Series:
    """128-bit BLAKE2b of each text, as 32 hex digits; the same on every machine and in every version."""
    return pl.Series([blake2b(key.encode(), digest_size=16).hexdigest() for key in keys], dtype=pl.String)


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Sort the rows of each visitor by `EVENT_ORDER`.

    Visitors are numbered and only the keys are sorted, which takes half the memory of sorting `rows`.
    """
    visitor = ("property", "visitor_id")
    keys = rows.select(EVENT_ORDER).rechunk()
    numbers = keys.select(visitor).unique(maintain_order=True).with_row_index("visitor")
    order = (
        keys.join(numbers, on=visitor, how="left", maintain_order="left")
        .select("visitor", "occurred_at", "received_at", "event_id")
        .with_row_index("row")
        .sort("visitor", "occurred_at")
    )
    # Few events share a visitor's moment; comparing long ids only there makes the sort five times faster.
    repeats = (pl.col("visitor") == pl.col("visitor").shift()) & (
        pl.col("occurred_at") == pl.col("occurred_at").shift()
    )
    is_tied = order.select(repeats.fill_null(value=False) | repeats.shift(-1, fill_value=False)).to_series()
    tied = order.filter(is_tied).sort("visitor", "occurred_at", "received_at", "event_id", nulls_last=True)
    positions = order["row"].scatter(is_tied.arg_true(), tied["row"])
    del keys, order
    # Gathering from many small chunks is several times slower than from one.
    return rows.rechunk()[positions]


def _visitor_days(steps: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """One row per visitor and calendar day with events, in the order of `day_number`.

    Returns:
        is_filled; follows_filled and follows_unbroken: whether the visitor's calendar day before was filled, or
        filled but for the gap before its midnight.
    """
    midnights = _midnights(steps["event_date"], timezone)
    opening = pl.col("first_at") - pl.col("event_date").replace_strict(midnights, return_dtype=pl.Datetime("us", "UTC"))
    next_day = pl.col("event_date").dt.offset_by("1d")
    closing = next_day.replace_strict(midnights, return_dtype=pl.Datetime("us", "UTC")) - pl.col("last_at")
    follows = ~pl.col("is_new_visitor") & (pl.col("event_date") == next_day.shift())
    return (
        steps.group_by("day_number", maintain_order=True)
        .agg(
            pl.col("event_date", "is_new_visitor").first(),
            first_at=pl.col("occurred_at").first(),
            last_at=pl.col("occurred_at").last(),
            first_timeout=pl.col("timeout").first(),
            last_timeout=pl.col("timeout").last(),
            gaps=(pl.col("is_after_gap") & ~pl.col("is_new_day")).sum(),
        )
        .with_columns(is_unbroken=(opening <= pl.col("first_timeout")) & (pl.col("gaps") == 0))
        .with_columns(is_filled=pl.col("is_unbroken") & (closing <= pl.col("last_timeout")))
        .select(
            "is_filled",
            follows_filled=follows & pl.col("is_filled").shift(fill_value=False),
            # A last event short of midnight by more than its own source's timeout may still be followed, within the
            # timeout of another source; the session has filled the day all the same.
            follows_unbroken=follows & pl.col("is_unbroken").shift(fill_value=False),
        )
    )


def _midnights(dates: pl.Series, timezone: str) -> dict[date, datetime]:
    """First moment of each calendar day in `dates` and of the days after them, in UTC."""
    zone = ZoneInfo(timezone)
    days = {day for value in dates.unique() for day in (value, value + timedelta(days=1))}
    # Where the clock is turned at midnight, fold=0 gives the first of two midnights, and the moment of the jump
    # where there is none.
    return {day: datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(ZoneInfo("UTC")) for day in days}


def _changes(column: str) -> pl.Expr:
    return pl.col(column).ne_missing(pl.col(column).shift())


def _timeout(timeouts: Mapping[str, timedelta]) -> pl.Expr:
    timeout = pl.lit(DEFAULT_TIMEOUT, dtype=pl.Duration("us"))
    for source, time in timeouts.items():
        timeout = pl.when(pl.col("source") == source).then(pl.lit(time, dtype=pl.Duration("us"))).otherwise(timeout)
    return timeout
