"""Which days of which tables have to be built, and in which runs.

A spec says what a table reads and how far around a day it looks. From the specs and the staged files that count, the
fingerprint of what a day *should* be built from follows without looking at any data; a day is stale where the
fingerprint booked with it differs.

A table without partitions is booked under the day `UNPARTITIONED` and reads all days of its inputs. Daily tables that
read it depend on its revisions of their days, and on nothing else of it. Pure: what is booked is `ledger.builds`'.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Protocol

from pipeline_assets.digests import digest

STAGING = "staging"
UNPARTITIONED = date.min
"""The day under which a table without partitions is booked."""
BUILDING = "building"
"""Booked in place of a fingerprint while a day is being built; equal to none."""
LOST = "lost"
"""Likewise where a day was built, but the table into which it was published is not there any more."""
_ABSENT = "-"
MOST_DAYS = 366
"""Days of one run at most: what a run has done is lost with it, and its tag has to fit into an index of PostgreSQL."""

Fingerprints = Mapping[str, Mapping[date, str]]
"""Of tables and days; the day of a table without partitions is `UNPARTITIONED`."""


class Window(Protocol):
    """An input of a table, and the days around a day that are read of it."""

    @property
    def table(self) -> str:
        """Name of what is read: another table, or `STAGING`."""

    @property
    def before(self) -> int:
        """Days before a day that are read with it."""

    @property
    def after(self) -> int:
        """Days after it."""


class Spec(Protocol):
    """What planning has to know of a table."""

    @property
    def name(self) -> str:
        """The table."""

    @property
    def version(self) -> str:
        """Changes with its code, contract or settings."""

    @property
    def inputs(self) -> Sequence[Window]:
        """What it reads. Their days say nothing where this table has no partitions: it reads all."""

    @property
    def is_daily(self) -> bool:
        """Whether it has daily partitions."""


@dataclass(frozen=True)
class BuildRequest:
    """What to build in one run.

    Attributes:
        days: any days, in order; none where only tables without partitions are to be built.
        tables: tables, in the order of the specs. A table without partitions is not among them as long as other days
            are to be built before it, and neither is what follows from it.
    """

    days: tuple[date, ...]
    tables: tuple[str, ...]

    def __str__(self) -> str:
        """The days."""
        spans = spans_of(self.days)
        if not spans:
            return "tables without partitions"
        first, last = self.days[0], self.days[-1]
        if len(spans) > 1:
            return f"{len(self.days)} days from {first} to {last}"
        return f"{first}" if first == last else f"{first} to {last}"


@dataclass(frozen=True)
class Staleness:
    """What has to be built.

    Attributes:
        specs: every table, inputs before the tables that read them.
        tables: the stale days of every table; `UNPARTITIONED` for one without partitions.
        wanted: fingerprint of what a table should be built from on a stale day.
        lost: the tables that are not there any more although they were built.
    """

    specs: Sequence[Spec]
    tables: Mapping[str, set[date]]
    wanted: Mapping[tuple[str, date], str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()

    @property
    def days(self) -> set[date]:
        """The days on which any table is stale."""
        return set().union(*self.tables.values()) - {UNPARTITIONED}

    @cached_property
    def _ancestors(self) -> dict[str, set[str]]:
        """Everything a table is made of, directly or not, itself included."""
        found: dict[str, set[str]] = {}
        for spec in self.specs:
            found[spec.name] = {spec.name}.union(*(found.get(needed.table, set()) for needed in spec.inputs))
        return found

    def asked_of(self, request: BuildRequest) -> list[tuple[str, date, str]]:
        """What a request is to achieve: its stale tables and days, and the fingerprints they should have."""
        chosen = {*request.days, UNPARTITIONED}
        return [
            (table, day, self.wanted[table, day])
            for table in request.tables
            for day in sorted(self.tables[table] & chosen)
        ]

    def requests(self, *, farthest: int | None = None) -> list[BuildRequest]:
        """What to build, one run each, oldest days first; together they hold every stale day of every table.

        However far apart the days lie, they are one run, up to `MOST_DAYS` of them. Tables without partitions that read
        days of several requests are left to a later call.

        Args:
            farthest: days that a day of a run may lie from the one before it at most, if there is a limit.
        """
        parts: list[list[date]] = [[]]
        for day in sorted(self.days):
            last = parts[-1]
            if len(last) == MOST_DAYS or (last and farthest is not None and (day - last[-1]).days > farthest):
                parts.append([])
            parts[-1].append(day)
        return self._requests(parts)

    def halves(self, request: BuildRequest) -> list[BuildRequest]:
        """The request cut in two, so that one bad day does not keep the others from being built; none of a day."""
        if len(request.days) < 2:
            return []
        middle = (len(request.days) + 1) // 2
        return self._requests([request.days[:middle], request.days[middle:]])

    def within(self, request: BuildRequest, first: date, last: date | None) -> BuildRequest | None:
        """The part of a request that is not before a day and not after another; None where nothing is to be built."""
        days = [day for day in request.days if first <= day and (last is None or day <= last)]
        if len(days) == len(request.days):
            return request
        found = self._requests([days]) if days else []
        return found[0] if found else None

    def _requests(self, parts: Iterable[Sequence[date]]) -> list[BuildRequest]:
        """A request for each part of the stale days, where anything can be built in it."""
        found = (BuildRequest(tuple(days), self._buildable({*days, UNPARTITIONED})) for days in parts)
        return [request for request in found if request.tables]

    def _buildable(self, days: set[date]) -> tuple[str, ...]:
        """The tables that are stale on some days, and wait for no other day."""
        elsewhere = {table for table, stale in self.tables.items() if not stale <= days}

        def must_wait(table: str) -> bool:
            return any(
                UNPARTITIONED in self.tables[needed] and not elsewhere.isdisjoint(self._ancestors[needed])
                for needed in self._ancestors[table]
                if needed in self.tables
            )

        names = (spec.name for spec in self.specs)
        return tuple(name for name in names if self.tables[name] & days and not must_wait(name))


def spans_of(days: Iterable[date]) -> list[tuple[date, date]]:
    """Days as spans of days in a row: the first and the last day of each, in order."""
    found: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if found and found[-1][1] + timedelta(days=1) == day:
            found[-1] = found[-1][0], day
        else:
            found.append((day, day))
    return found


def days_around(days: Iterable[date], before: int, after: int) -> list[date]:
    """Some days and so many before and after each of them, in order."""
    found = (range(first.toordinal() - before, last.toordinal() + after + 1) for first, last in spans_of(days))
    # No day lies before the first or after the last one that there is.
    known = range(date.min.toordinal(), date.max.toordinal() + 1)
    return [date.fromordinal(number) for number in sorted(set().union(*found)) if number in known]


def combined(spec: Spec, day: date, days: Iterable[date], known: Fingerprints, revised: Fingerprints) -> str:
    """The fingerprint of a table's day from what is known of its inputs.

    Args:
        spec: the table.
        day: the day, or `UNPARTITIONED`.
        days: all days that exist, in order; what a table without partitions reads.
        known: fingerprints of the inputs with daily partitions, and where the table has none, of the others too.
        revised: revisions of the inputs without partitions.
    """
    parts = [spec.name, spec.version]
    for needed in spec.inputs:
        if needed.table in revised and spec.is_daily:
            parts += [revised[needed.table].get(other, _ABSENT) for other in _read(needed, day)]
        elif spec.is_daily:
            parts += [known[needed.table].get(other, _ABSENT) for other in _read(needed, day)]
        elif needed.table in revised:
            parts.append(known[needed.table].get(UNPARTITIONED, _ABSENT))
        else:
            parts += [f"{other}:{known[needed.table].get(other, _ABSENT)}" for other in days]
    return digest(parts)


def _read(needed: Window, day: date) -> list[date]:
    """The input's days that a day reads."""
    return [day + timedelta(days=offset) for offset in range(-needed.before, needed.after + 1)]


def planned(
    specs: Iterable[Spec], staged: Mapping[date, str], present: Collection[date], revised: Fingerprints
) -> Fingerprints:
    """The fingerprints every table and day should have.

    Args:
        specs: every table, inputs before the tables that read them.
        staged: of the staged files that count.
        present: the days that exist at all.
        revised: the revisions booked of every table without partitions.
    """
    days = sorted(present)
    known: dict[str, Mapping[date, str]] = {STAGING: staged}
    for spec in specs:
        own = days if spec.is_daily else [UNPARTITIONED]
        known[spec.name] = {day: combined(spec, day, days, known, revised) for day in own}
    return known


def compared(
    specs: Sequence[Spec],
    staged: Mapping[date, str],
    booked: Fingerprints,
    revised: Fingerprints,
) -> Staleness:
    """The days of every table that are built from something else than what is there now.

    Args:
        specs: every table, inputs before the tables that read them.
        staged: fingerprint of what is staged of each day; days that never had rows are not stale.
        booked: what every table was built from, by day.
        revised: the revisions booked of every table without partitions.
    """
    present = set(staged).union(*booked.values()) - {UNPARTITIONED}
    plan = planned(specs, staged, present, revised)
    stale = {
        spec.name: {day for day, text in plan[spec.name].items() if present and booked[spec.name].get(day) != text}
        for spec in specs
    }
    wanted = {(table, day): plan[table][day] for table, days in stale.items() for day in days}
    lost = tuple(spec.name for spec in specs if LOST in booked[spec.name].values())
    return Staleness(specs, stale, wanted, lost)


def made_of(specs: Iterable[Spec], table: str) -> list[Spec]:
    """The specs of a table and of everything it is made of, inputs first."""
    wanted, found = {table}, []
    for spec in reversed(list(specs)):
        if spec.name in wanted:
            wanted.update(needed.table for needed in spec.inputs)
            found.append(spec)
    return found[::-1]
