"""Rows and frames for the tests of the transforms."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets.tables.events import Events
from pipeline_assets.tables.sessions import Sessions

Row = dict[str, Any]

EVENT_SCHEMA = Events.create_empty().schema
SESSION_SCHEMA = Sessions.create_empty().schema
STAGED_SCHEMA = pl.Schema({**StagedEvents.create_empty().schema, "event_date": pl.Date()})


def utc(text: str) -> datetime:
    """A moment in UTC from ISO text without a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOON = utc("2026-03-10T12:00")


def event(occurred_at: datetime, timezone: str = "UTC", **values: Any) -> Row:
    """A row of `Events`: a tracked event of visitor v at shop."""
    row = dict.fromkeys(EVENT_SCHEMA, None) | {
        "event_date": occurred_at.astimezone(ZoneInfo(timezone)).date(),
        "property": "shop",
        "event_id": occurred_at.isoformat(),
        "is_id_derived": False,
        "event_type": "track",
        "occurred_at": occurred_at,
        "visitor_id": "v",
        "anonymous_id": "v",
        "is_bot": False,
        "is_conversion": False,
        "source": "web",
        "load_id": "f",
        "line": 1,
    }
    return row | values


def events_frame(rows: Iterable[Row]) -> pl.DataFrame:
    """A frame per `Events`."""
    return pl.DataFrame(list(rows), schema=EVENT_SCHEMA)


def staged(line: int, occurred_at: datetime = NOON, **values: Any) -> Row:
    """A staged row of file f with the event id e."""
    row = dict.fromkeys(STAGED_SCHEMA, None) | {
        "source": "web",
        "load_id": "f",
        "line": line,
        "property": "shop",
        "event_id": "e",
        "event_type": "track",
        "occurred_at": occurred_at,
        "anonymous_id": "v",
        "is_conversion": False,
        "event_date": occurred_at.date(),
    }
    return row | values


def staged_frame(rows: Iterable[Row]) -> pl.DataFrame:
    """A frame of staged rows with event_date."""
    return pl.DataFrame(list(rows), schema=STAGED_SCHEMA)


def days_between(first: date, last: date) -> list[date]:
    """All days from first to last, both included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def nulls_last(value: Any) -> tuple[bool, Any]:
    """Sort key that puts None after everything else."""
    return (value is None, value)


def event_key(row: Row) -> tuple[Any, ...]:
    """What events are sorted by: the order within one moment, written out once more."""
    place = (row["load_id"], row["line"]) if row["is_id_derived"] else ("", 0)
    return (
        row["occurred_at"],
        nulls_last(row["sequence"]),
        nulls_last(row["received_at"]),
        not row["is_id_derived"],
        place,
        row["event_id"],
    )


ORDERS: dict[str, Sequence[Any]] = {
    "sequence": (None, None, 1, 2, 10),
    "is_id_derived": (False, True, True),
    "load_id": ("f", "g"),
    "line": (1, 2, 10),
}
"""Values of the columns, beside the times and the id, that decide on the order within one moment."""


def only(rows: Iterable[Row], **values: Any) -> list[Row]:
    """The rows that have these values."""
    return [row for row in rows if all(row[name] == value for name, value in values.items())]


def columns_of(row: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    """The values of some columns of a row."""
    return tuple(row[name] for name in names)
