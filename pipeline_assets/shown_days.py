"""Which days the UI shows as partitions: those that are booked. No Dagster here.

Asked for whenever a code location is loaded, so nothing here starts a server or waits for one.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from pipeline_assets.identity import glance
from pipeline_assets.ledger.schema import builds, staged
from pipeline_assets.settings import Settings, SettingsError
from pipeline_assets.tables.spec import EVENTS

DORMANT = timedelta(days=31)
"""A deployment whose last booked day is older holds history: its days end there."""
NOTHING_YET = timedelta(days=365)
"""Days shown where none is booked yet."""


@dataclass(frozen=True)
class Span:
    """Days in a row.

    Attributes:
        first: the first.
        last: the last; None for the current day, whichever it is.
    """

    first: date
    last: date | None = None


def span(booked: tuple[date, date] | None, *, first_day: date, today: date) -> Span:
    """The days to show.

    Args:
        booked: the first and the last day that is booked; None where none is.
        first_day: the platform's first day.
        today: the current day.
    """
    if booked is None:
        return Span(min(max(first_day, today - NOTHING_YET), max(first_day, today)))
    first, last = booked
    return Span(max(first, first_day), last if today - last > DORMANT else None)


def shown_days(settings: Settings) -> Span:
    """The days to show of a deployment: as its ledger says, or where that cannot be asked at once, its lake."""
    today = datetime.now(ZoneInfo(settings.timezone)).date()

    def ask(connection: sa.Connection) -> tuple[date, date] | None:
        return booked_days(connection, settings.first_day, today)

    answer = glance(settings, ask)
    booked = answer[0] if answer else _in_lake(settings, today)
    return span(booked, first_day=settings.first_day, today=today)


def booked_days(connection: sa.Connection, first: date, last: date) -> tuple[date, date] | None:
    """The first and the last day that has rows or was ever built; None where there is none.

    Args:
        connection: to the ledger.
        first: days before it do not count.
        last: nor do days after it.
    """
    s, b = staged.c, builds.c
    days = sa.union_all(sa.select(s.event_date.label("day")), sa.select(b.day).where(b.asset == EVENTS)).subquery().c
    query = sa.select(sa.func.min(days.day), sa.func.max(days.day)).where(days.day.between(first, last))
    found = connection.execute(query).one()
    return None if found[0] is None else (found[0], found[1])


def _in_lake(settings: Settings, today: date) -> tuple[date, date] | None:
    """The same by the files of the lake: good enough to show, and no reader of rows takes it for more."""
    try:
        keys = [folder.name for folder in (settings.lake_dir / EVENTS).iterdir()]
    except (OSError, SettingsError):
        return None
    days = [day for day in map(_day, keys) if day is not None and settings.first_day <= day <= today]
    return (min(days), max(days)) if days else None


def _day(key: str) -> date | None:
    try:
        return date.fromisoformat(key)
    except ValueError:
        return None
