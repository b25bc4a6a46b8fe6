"""Which days of which tables have to be built, and in which runs.

A spec says what a table reads and how far around a day it looks. From the specs and the staged files that count, the
fingerprint of what a day *should* be built from follows without looking at any data; a day is stale where the
fingerprint booked with it differs.

A table without partitions is booked under the day `UNPARTITIONED` and reads all days of its inputs. Daily tables that
read it depend on its revisions of their days, and on nothing else of it. Pure: what is booked is `ledger.builds`'.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Protocol

STAGING = "staging"
UNPARTITIONED = date.min
"""The day under which a table without partitions is booked."""
BUILDING = "building"
"""Booked in place of a fingerprint while a day is being built; equal to none."""
_ABSENT = "-"
# Days without anything that two stale days of one run may lie apart.
_BRIDGED_DAYS = 31
LONGEST_STRETCH = 366
"""Days of one run at most: each day's file stays open until the run publishes all of them."""

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
class Input:
    """An input of a table: another table (or `staging`) and the days around a day that are read."""

    table: str
    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class Planned:
    """A `Spec` and nothing else."""

    name: str
    version: str
    inputs: tuple[Input, ...]
    is_daily: bool = True


@dataclass(frozen=True)
class Stretch:
    """A range of days to build in one run.

    Attributes:
        first: first day; `UNPARTITIONED` where only tables without partitions are to be built.
        last: last day.
        stale: how many of the days are stale.
        tables: what to build, in the order of the specs. A table without partitions is not among them as long as
            days outside of the stretch are to be built before it, and neither is what follows from it.
    """

    first: date
    last: date
    stale: int
    tables: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The days."""
        if self.first == UNPARTITIONED:
            return "tables without partitions"
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Staleness:
    """What has to be built.

    Attributes:
        specs: every table, inputs before the tables that read them.
        tables: the stale days of every table; `UNPARTITIONED` for one without partitions.
        present: all days that have rows or were ever built.
        wanted: fingerprint of what a table should be built from on a stale day.
    """

    specs: Sequence[Spec]
    tables: Mapping[str, set[date]]
    present: set[date]
    wanted: Mapping[tuple[str, date], str] = field(default_factory=dict)

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

    def asked_of(self, stretch: Stretch) -> list[tuple[str, date, str]]:
        """What building a stretch is to achieve: its stale tables and days, and the fingerprints they should have."""
        return [
            (table, day, self.wanted[table, day])
            for table in stretch.tables
            for day in sorted(self.tables[table])
            if day == UNPARTITIONED or stretch.first <= day <= stretch.last
        ]

    def stretches(self) -> list[Stretch]:
        """Ranges of days to build, one run each, oldest first; together they hold every stale day of every table.

        Days that nothing is known of are bridged (building an empty day costs less than another run), but no day that
        is up to date. Tables that must wait for other stretches are left to a later call.
        """
        stale = self.days
        found: list[Stretch] = []
        joins = False
        for day in sorted(self.present):
            if day not in stale:
                joins = False
            elif (
                joins
                and (day - found[-1].last).days <= _BRIDGED_DAYS
                and (day - found[-1].first).days < LONGEST_STRETCH
            ):
                found[-1] = Stretch(found[-1].first, day, found[-1].stale + 1)
            else:
                found.append(Stretch(day, day, 1))
                joins = True
        chosen = [self._with_tables(stretch) for stretch in found or [Stretch(UNPARTITIONED, UNPARTITIONED, 0)]]
        return [stretch for stretch in chosen if stretch.tables]

    def halves(self, stretch: Stretch) -> list[Stretch]:
        """The stretch cut in two, so that one bad day does not keep the others from being built; none of a day."""
        days = (stretch.last - stretch.first).days
        if not days:
            return []
        middle = stretch.first + timedelta(days=days // 2)
        halves = (
            self._with_tables(Stretch(first, last, len([day for day in self.days if first <= day <= last])))
            for first, last in ((stretch.first, middle), (middle + timedelta(days=1), stretch.last))
        )
        return [half for half in halves if half.tables]

    def within(self, stretch: Stretch, first: date, last: date | None) -> Stretch | None:
        """The part of a stretch that is not before a day and not after another; None where nothing is to be built."""
        if stretch.first == UNPARTITIONED:
            return stretch
        begin, end = max(stretch.first, first), stretch.last if last is None else min(stretch.last, last)
        if begin > end:
            return None
        part = self._with_tables(Stretch(begin, end, len([day for day in self.days if begin <= day <= end])))
        return part if part.tables else None

    def _with_tables(self, stretch: Stretch) -> Stretch:
        """The stretch with what can be built in it."""
        elsewhere = {
            table
            for table, days in self.tables.items()
            if any(day != UNPARTITIONED and not stretch.first <= day <= stretch.last for day in days)
        }

        def is_stale(table: str) -> bool:
            return UNPARTITIONED in self.tables[table] or any(
                stretch.first <= day <= stretch.last for day in self.tables[table]
            )

        def must_wait(table: str) -> bool:
            return any(
                UNPARTITIONED in self.tables[needed] and any(below in elsewhere for below in self._ancestors[needed])
                for needed in self._ancestors[table]
                if needed in self.tables
            )

        tables = [spec.name for spec in self.specs if is_stale(spec.name) and not must_wait(spec.name)]
        return replace(stretch, tables=tuple(tables))


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
    lost: Mapping[str, Collection[date]],
) -> Staleness:
    """The days of every table that are built from something else than what is there now.

    Args:
        specs: every table, inputs before the tables that read them.
        staged: fingerprints of the staged files that count; days that never had rows are not stale.
        booked: what every table was built from, by day.
        revised: the revisions booked of every table without partitions.
        lost: days of tables whose rows are gone although they were built; they are stale.
    """
    present = set(staged).union(*booked.values()) - {UNPARTITIONED}
    plan = planned(specs, staged, present, revised)
    stale = {
        spec.name: {day for day, text in plan[spec.name].items() if present and booked[spec.name].get(day) != text}
        | (set(lost.get(spec.name, ())) & {*present, UNPARTITIONED})
        for spec in specs
    }
    wanted = {(table, day): plan[table][day] for table, days in stale.items() for day in days}
    return Staleness(specs, stale, present, wanted)


def made_of(specs: Iterable[Spec], table: str) -> list[Spec]:
    """The specs of a table and of everything it is made of, inputs first."""
    wanted, found = {table}, []
    for spec in reversed(list(specs)):
        if spec.name in wanted:
            wanted.update(needed.table for needed in spec.inputs)
            found.append(spec)
    return found[::-1]


def digest(parts: Sequence[str]) -> str:
    """A short text that differs where the parts do."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
