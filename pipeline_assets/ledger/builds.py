"""What each asset and day was built from, and which days are stale.

Every table is described by a `Recipe`: what it reads and how far around a day it looks. From the recipes and the
staged files that count, the fingerprint of what a day *should* be built from follows without looking at any data; a
day is stale where the fingerprint booked with it differs. A build claims its days, and its claim is confirmed in the
transaction that publishes the rows: as built only if nobody else touched an input since the run began to read. So a
crash, an overtaken run or an input that changed under it can only leave a day stale.

A table without partitions is booked under the day `WHOLE` and reads all days of its inputs. It books which fingerprint
each of them had, so that a build knows which days have changed since the one before it. What it says of the things
that were active on a day (who a visitor is, when a session began) may change with any other day. So that only the days
it changes for are built again, it books a revision for every day: a digest of what it says of that day. Daily tables
that read it depend on the revisions of their days, and on nothing else of it.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.ledger.schema import builds, event_days, revisions
from pipeline_assets.transforms.events import DayCounts

STAGING = "staging"
WHOLE = date.min
"""The day under which a table without partitions is booked."""
_ABSENT = "-"
_BUILDING = "building"
# Days without anything that two stale days of one run may lie apart.
_BRIDGED_DAYS = 31
LONGEST_STRETCH = 366
"""Days of one run at most: each day's file stays open until the run publishes all of them."""


class OvertakenError(RuntimeError):
    """Another run has claimed the same days since; its rows will be the ones that count."""


@dataclass(frozen=True)
class Input:
    """An input of a table: another table (or `staging`) and the days around a day that are read."""

    table: str
    before: int = 0
    after: int = 0

    def days(self, day: date) -> list[date]:
        """The input's days that a day reads."""
        return [day + timedelta(days=offset) for offset in range(-self.before, self.after + 1)]


@dataclass(frozen=True)
class Recipe:
    """How a table is made.

    Attributes:
        table: its name.
        version: changes with its code, contract or settings.
        inputs: what it reads. The days of an input say nothing where this table has no partitions: it reads all.
        daily: whether it has daily partitions.
    """

    table: str
    version: str
    inputs: tuple[Input, ...]
    daily: bool = True


@dataclass(frozen=True)
class Stretch:
    """A range of days to build in one run.

    Attributes:
        first: first day; `WHOLE` where only tables without partitions are to be built.
        last: last day.
        stale: how many of the days are stale.
        tables: what to build, in the order of the recipes. A table without partitions is not among them as long as
            days outside of the stretch are to be built before it, and neither is what follows from it.
    """

    first: date
    last: date
    stale: int
    tables: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The days."""
        if self.first == WHOLE:
            return "tables without partitions"
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Staleness:
    """What has to be built.

    Attributes:
        recipes: every table, inputs before the tables that read them.
        tables: the stale days of every table; `WHOLE` for one without partitions.
        present: all days that have rows or were ever built.
        wanted: fingerprint of what a table should be built from on a stale day.
    """

    recipes: Sequence[Recipe]
    tables: Mapping[str, set[date]]
    present: set[date]
    wanted: Mapping[tuple[str, date], str] = field(default_factory=dict)

    @property
    def days(self) -> set[date]:
        """The days on which any table is stale."""
        return set().union(*self.tables.values()) - {WHOLE}

    @cached_property
    def _ancestors(self) -> dict[str, set[str]]:
        """Everything a table is made of, directly or not, itself included."""
        found: dict[str, set[str]] = {}
        for recipe in self.recipes:
            found[recipe.table] = {recipe.table}.union(*(found.get(needed.table, set()) for needed in recipe.inputs))
        return found

    def asked_of(self, stretch: Stretch) -> list[tuple[str, date, str]]:
        """What building a stretch is to achieve: its stale tables and days, and the fingerprints they should have."""
        return [
            (table, day, self.wanted[table, day])
            for table in stretch.tables
            for day in sorted(self.tables[table])
            if day == WHOLE or stretch.first <= day <= stretch.last
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
        chosen = [self._with_tables(stretch) for stretch in found or [Stretch(WHOLE, WHOLE, 0)]]
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

    def _with_tables(self, stretch: Stretch) -> Stretch:
        """The stretch with what can be built in it."""
        elsewhere = {
            table
            for table, days in self.tables.items()
            if any(day != WHOLE and not stretch.first <= day <= stretch.last for day in days)
        }

        def is_stale(table: str) -> bool:
            return WHOLE in self.tables[table] or any(
                stretch.first <= day <= stretch.last for day in self.tables[table]
            )

        def must_wait(table: str) -> bool:
            return any(
                WHOLE in self.tables[needed] and any(below in elsewhere for below in self._ancestors[needed])
                for needed in self._ancestors[table]
                if needed in self.tables
            )

        tables = [recipe.table for recipe in self.recipes if is_stale(recipe.table) and not must_wait(recipe.table)]
        return replace(stretch, tables=tuple(tables))


Fingerprint = Callable[[str, date], str]
"""The fingerprint of a table and day."""


def combined(
    recipe: Recipe,
    day: date,
    *,
    daily: Collection[str],
    days: Iterable[date],
    known: Fingerprint,
    revision: Fingerprint,
) -> str:
    """The fingerprint of a table's day from what is known of its inputs.

    Args:
        recipe: the table.
        day: the day, or `WHOLE`.
        daily: the tables with daily partitions.
        days: all days that exist, in order; what a table without partitions reads.
        known: fingerprints of the inputs.
        revision: revisions of the inputs without partitions.
    """
    parts: list[str] = []
    for needed in recipe.inputs:
        is_daily = needed.table == STAGING or needed.table in daily
        if recipe.daily:
            parts += [(known if is_daily else revision)(needed.table, other) for other in needed.days(day)]
        elif is_daily:
            parts += [f"{other}:{known(needed.table, other)}" for other in days]
        else:
            parts.append(known(needed.table, WHOLE))
    return _digest([recipe.table, recipe.version, *parts])


class Plan:
    """The fingerprints every table and day should have.

    Args:
        recipes: every table, inputs before the tables that read them.
        staged: the staged files that count.
        present: the days that exist at all.
        revised: the revisions booked, by table and day.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        staged: Mapping[date, str],
        present: Collection[date],
        revised: Mapping[tuple[str, date], str],
    ) -> None:
        self._recipes = {recipe.table: recipe for recipe in recipes}
        self._daily = {recipe.table for recipe in recipes if recipe.daily}
        self._staged = staged
        self._present = sorted(present)
        self._days = set(present)
        self._revised = revised
        self._known: dict[tuple[str, date], str] = {}

    def fingerprint(self, table: str, day: date) -> str:
        """Fingerprint of what `table` should be built from on `day`."""
        if table == STAGING:
            return self._staged.get(day, _ABSENT)
        if day != WHOLE and day not in self._days:
            return _ABSENT
        if (table, day) not in self._known:
            self._known[table, day] = combined(
                self._recipes[table],
                day,
                daily=self._daily,
                days=self._present,
                known=self.fingerprint,
                revision=lambda needed, other: self._revised.get((needed, other), _ABSENT),
            )
        return self._known[table, day]


def staged_fingerprints(staged: Iterable[StagedFile]) -> dict[date, str]:
    """Fingerprint of the staged files of each day."""
    by_day: dict[date, list[str]] = {}
    for file in staged:
        by_day.setdefault(file.event_date, []).append(f"{file.source}/{file.content}/{file.rules}")
    return {day: _digest(sorted(names)) for day, names in by_day.items()}


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class BuildLedger:
    """The ledger's side of building tables.

    Args:
        engine: the ledger.
        recipes: every table, inputs before the tables that read them.
        since: the platform's first day; nothing before it is looked at.
    """

    def __init__(self, engine: sa.Engine, recipes: Sequence[Recipe], *, since: date = date.min) -> None:
        self._engine = engine
        self._recipes = {recipe.table: recipe for recipe in recipes}
        self._since = since

    def staleness(self, staged: Iterable[StagedFile], *, until: date) -> Staleness:
        """The stale days of every table up to `until`; days that never had rows are not stale."""
        files = staged_fingerprints(staged)
        # Days to come cannot be built yet; until they can, they are no input of their neighbours either.
        present = {day for day in files if self._since <= day <= until}
        with self._engine.connect() as connection:
            booked = self._booked(connection, self._recipes, self._since, until)
            revised = self._revised(connection, self._recipes, self._since, until)
        present.update(day for _, day in booked if day != WHOLE)
        plan = Plan(list(self._recipes.values()), files, present, revised)
        stale: dict[str, set[date]] = {}
        for table, recipe in self._recipes.items():
            days = present if recipe.daily else {WHOLE} if present else set()
            stale[table] = {day for day in days if booked.get((table, day)) != plan.fingerprint(table, day)}
        wanted = {(table, day): plan.fingerprint(table, day) for table, days in stale.items() for day in days}
        return Staleness(list(self._recipes.values()), stale, present, wanted)

    def _booked(
        self, connection: sa.Connection, tables: Collection[str], first: date, last: date
    ) -> dict[tuple[str, date], str]:
        """What some tables were built from on some days; `_BUILDING` where a claim was not confirmed."""
        b = builds.c
        inputs = sa.case((b.state == "built", b.inputs), else_=_BUILDING)
        query = sa.select(b.asset, b.day, inputs).where(
            b.asset.in_(tables), sa.or_(b.day == WHOLE, b.day.between(first, last))
        )
        return {(asset, day): text for asset, day, text in connection.execute(query)}

    def _revised(
        self, connection: sa.Connection, tables: Collection[str], first: date, last: date
    ) -> dict[tuple[str, date], str]:
        """What some tables without partitions say of some days."""
        r = revisions.c
        query = sa.select(r.asset, r.day, r.revision).where(r.asset.in_(tables), r.day.between(first, last))
        return {(asset, day): text for asset, day, text in connection.execute(query)}

    def built_days(self, table: str) -> list[date]:
        """The days a table was built for, in order; `WHOLE` for one without partitions."""
        b = builds.c
        query = sa.select(b.day).where(b.asset == table, b.state == "built").order_by(b.day)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def event_rows(self, first: date, last: date) -> dict[date, int]:
        """Events of the days `first` to `last`, both included."""
        e = event_days.c
        query = sa.select(e.event_date, e.events).where(e.event_date.between(first, last))
        with self._engine.connect() as connection:
            return {row.event_date: row.events for row in connection.execute(query)}

    def now(self) -> datetime:
        """The current moment by the database's clock, which all workers share."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()

    def claim(
        self,
        table: str,
        days: Sequence[date],
        staged: Iterable[StagedFile],
        run_id: str,
        *,
        read_since: datetime | None = None,
        until: date = date.max,
    ) -> set[date] | None:
        """Announce that a run builds these days; from here on they count as stale.

        Args:
            table: the table to build.
            days: the days to build; `[WHOLE]` for a table without partitions.
            staged: the staged files the run will read; empty unless the table reads staging.
            run_id: the run; the latest claim of a day wins.
            read_since: when, by `now`, the run began to read inputs; now by default.
            until: the current day; days to come are no input of any.

        Returns:
            For a table without partitions, all of whose inputs have some: the days on which an input may have changed
            since the table was built. None where that is not known, or the recipe is another, and for other tables.
        """
        since = read_since or self.now()
        recipe = self._recipes[table]
        files = staged_fingerprints(staged)
        daily = {name for name, other in self._recipes.items() if other.daily}
        needed = [each.table for each in recipe.inputs]
        first, last = self._since, until
        if recipe.daily:
            first = max(first, min(days) - timedelta(days=max(each.before for each in recipe.inputs)))
            last = min(last, max(days) + timedelta(days=max(each.after for each in recipe.inputs)))
        with self._engine.begin() as connection:
            built = self._booked(connection, needed, first, last)
            revised = self._revised(connection, needed, first, last)
            existing = sorted({day for _, day in built if day != WHOLE})

            def known(needed: str, day: date) -> str:
                return files.get(day, _ABSENT) if needed == STAGING else built.get((needed, day), _ABSENT)

            def fingerprint(day: date) -> str:
                return combined(
                    recipe,
                    day,
                    daily=daily,
                    days=existing,
                    known=known,
                    revision=lambda needed, other: revised.get((needed, other), _ABSENT),
                )

            reading = None
            if not recipe.daily and daily.issuperset(needed):
                inputs = {name: {str(day): known(name, day) for day in existing} for name in needed}
                reading = {"version": recipe.version, "inputs": inputs}
            changed = _changed_days(connection, table, reading) if reading else None
            claim = insert(builds).values(
                [
                    {
                        "asset": table,
                        "day": day,
                        "inputs": fingerprint(day),
                        "state": "building",
                        "run_id": run_id,
                        "read_since": since,
                        "claimed_at": sa.func.clock_timestamp(),
                        "reading": reading,
                    }
                    for day in days
                ]
            )
            new = claim.excluded
            connection.execute(
                claim.on_conflict_do_update(
                    index_elements=["asset", "day"],
                    set_={
                        name: new[name] for name in ("inputs", "state", "run_id", "read_since", "claimed_at", "reading")
                    },
                )
            )
        return changed

    def revisions(self, table: str) -> dict[date, str]:
        """What a table without partitions says of each day."""
        with self._engine.connect() as connection:
            return {day: text for (_, day), text in self._revised(connection, [table], date.min, date.max).items()}


def _changed_days(connection: sa.Connection, table: str, reading: Mapping[str, Any]) -> set[date] | None:
    """The days on which what a table without partitions reads differs from what it was last built from, if it was."""
    b = builds.c
    query = sa.select(b.reading).where(b.asset == table, b.day == WHOLE, b.state == "built")
    before = connection.execute(query).scalar_one_or_none()
    if before is None or before["version"] != reading["version"]:
        return None
    changed: set[str] = set()
    for name, now in reading["inputs"].items():
        then = before["inputs"].get(name, {})
        # A day that somebody was or is building may be anything.
        same = {day for day, fingerprint in now.items() if fingerprint == then.get(day) != _BUILDING}
        changed |= (now.keys() | then.keys()) - same
    return {date.fromisoformat(day) for day in changed}


def confirmation(recipe: Recipe, days: Sequence[date], run_id: str) -> sa.UpdateBase:
    """The statement that confirms a claim; run it in the transaction that publishes the rows.

    A day stays stale if another run has touched one of its inputs since this run began to read them. The statement
    returns one row per confirmed day, to be handed to `require_all`.
    """
    b, i = builds.c, builds.alias("input").c

    def read(needed: Input) -> sa.ColumnElement[bool]:
        if not recipe.daily:
            return i.asset == needed.table
        near = i.day.between(b.day - needed.before, b.day + needed.after)
        return (i.asset == needed.table) & sa.or_(near, i.day == WHOLE)

    touched = sa.exists().where(
        sa.or_(sa.false(), *(read(needed) for needed in recipe.inputs if needed.table != STAGING)),
        i.run_id != run_id,
        sa.func.greatest(i.claimed_at, i.built_at) >= b.read_since,
    )
    return (
        sa.update(builds)
        .where(b.asset == recipe.table, b.day.between(min(days), max(days)), b.run_id == run_id)
        .values(
            state=sa.case((touched, "building"), else_="built"),
            built_at=sa.func.now(),
            first_built_at=sa.func.coalesce(b.first_built_at, sa.func.now()),
        )
        .returning(b.day)
    )


def require_all(table: str, days: Sequence[date], confirmed: int) -> None:
    """Refuse to publish unless every claimed day was confirmed.

    Raises:
        OvertakenError: another run has claimed one of the days since.
    """
    if confirmed != len(days):
        what = "it" if list(days) == [WHOLE] else f"some of the days {min(days)} to {max(days)}"
        raise OvertakenError(
            f"{table}: another run has begun to build {what} since this run began. Its rows will count; nothing of "
            "this run was published."
        )


def book_revisions(table: str, revised: Mapping[date, str]) -> list[sa.UpdateBase]:
    """The statements that book what a table says of each day; run them in the transaction that publishes its rows."""
    r = revisions.c
    gone = sa.delete(revisions).where(r.asset == table)
    if not revised:
        return [gone]
    values = [{"asset": table, "day": day, "revision": revision} for day, revision in sorted(revised.items())]
    new = insert(revisions).values(values)
    return [
        gone.where(r.day.not_in(list(revised))),
        new.on_conflict_do_update(
            index_elements=["asset", "day"],
            set_={"revision": new.excluded.revision},
            where=r.revision != new.excluded.revision,
        ),
    ]


def book_counts(connection: sa.Connection, counts: Mapping[date, DayCounts]) -> None:
    """Book where the landed rows of some days went."""
    for day, found in counts.items():
        values = {
            "landed": found.landed,
            "events": found.events,
            "duplicates": found.duplicates,
            "conflicts": found.conflicts,
            "excluded": found.excluded,
            "reasons": dict(found.excluded_by_reason),
        }
        connection.execute(
            insert(event_days)
            .values(event_date=day, **values)
            .on_conflict_do_update(index_elements=["event_date"], set_=values)
        )
