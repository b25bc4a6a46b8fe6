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
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from pipeline_assets.day_counts import DayCounts
from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.ledger.schema import IDENTIFIERS, builds, event_days, revisions

STAGING = "staging"
WHOLE = date.min
"""The day under which a table without partitions is booked."""
_ABSENT = "-"
_BUILDING = "building"
_TEXTS = ARRAY(sa.Text)
# Days without anything that two stale days of one run may lie apart.
_BRIDGED_DAYS = 31
LONGEST_STRETCH = 366
"""Days of one run at most: each day's file stays open until the run publishes all of them."""


Figures = Mapping[str, float]
"""Numbers of a day that the UI shows, by name."""


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

    def within(self, stretch: Stretch, first: date, last: date | None) -> Stretch | None:
        """The part of a stretch that is not before a day and not after another; None where nothing is to be built."""
        if stretch.first == WHOLE:
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


Fingerprints = Mapping[str, Mapping[date, str]]
"""Of tables and days; the day of a table without partitions is `WHOLE`."""


def combined(recipe: Recipe, day: date, days: Iterable[date], known: Fingerprints, revised: Fingerprints) -> str:
    """The fingerprint of a table's day from what is known of its inputs.

    Args:
        recipe: the table.
        day: the day, or `WHOLE`.
        days: all days that exist, in order; what a table without partitions reads.
        known: fingerprints of the inputs with daily partitions, and where the table has none, of the others too.
        revised: revisions of the inputs without partitions.
    """
    parts = [recipe.table, recipe.version]
    for needed in recipe.inputs:
        if needed.table in revised and recipe.daily:
            parts += [revised[needed.table].get(other, _ABSENT) for other in needed.days(day)]
        elif recipe.daily:
            parts += [known[needed.table].get(other, _ABSENT) for other in needed.days(day)]
        elif needed.table in revised:
            parts.append(known[needed.table].get(WHOLE, _ABSENT))
        else:
            parts += [f"{other}:{known[needed.table].get(other, _ABSENT)}" for other in days]
    return _digest(parts)


def planned(
    recipes: Iterable[Recipe], staged: Mapping[date, str], present: Collection[date], revised: Fingerprints
) -> Fingerprints:
    """The fingerprints every table and day should have.

    Args:
        recipes: every table, inputs before the tables that read them.
        staged: of the staged files that count.
        present: the days that exist at all.
        revised: the revisions booked of every table without partitions.
    """
    days = sorted(present)
    known: dict[str, Mapping[date, str]] = {STAGING: staged}
    for recipe in recipes:
        own = days if recipe.daily else [WHOLE]
        known[recipe.table] = {day: combined(recipe, day, days, known, revised) for day in own}
    return known


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

    def staleness(
        self,
        staged: Iterable[StagedFile],
        *,
        until: date,
        of: str | None = None,
        lost: Mapping[str, Collection[date]] | None = None,
    ) -> Staleness:
        """The stale days of every table up to `until`; days that never had rows are not stale.

        Args:
            staged: all staged files that count.
            until: the current day.
            of: only this table is asked for, and what it is made of.
            lost: days of tables whose rows are gone although they were built; they are stale.
        """
        recipes = self._recipes if of is None else self._made_of(of)
        files = staged_fingerprints(staged)
        # Days to come cannot be built yet; until they can, they are no input of their neighbours either.
        present = {day for day in files if self._since <= day <= until}
        with self._engine.connect() as connection:
            booked = self._booked(connection, recipes, self._since, until)
            revised = self._revised(connection, recipes, self._since, until)
        present.update(*booked.values())
        present.discard(WHOLE)
        plan = planned(recipes.values(), files, present, revised)
        stale: dict[str, set[date]] = {}
        for table in recipes:
            gone = set((lost or {}).get(table, ())) & {*present, WHOLE}
            stale[table] = {day for day, text in plan[table].items() if present and booked[table].get(day) != text}
            stale[table] |= gone
        wanted = {(table, day): plan[table][day] for table, days in stale.items() for day in days}
        return Staleness(list(recipes.values()), stale, present, wanted)

    def _made_of(self, table: str) -> dict[str, Recipe]:
        """The recipes of a table and of everything it is made of, inputs first."""
        wanted = {table}
        for name in reversed(self._recipes):
            if name in wanted:
                wanted.update(needed.table for needed in self._recipes[name].inputs)
        return {name: recipe for name, recipe in self._recipes.items() if name in wanted}

    def _booked(
        self, connection: sa.Connection, tables: Iterable[str], first: date, last: date
    ) -> dict[str, dict[date, str]]:
        """What some tables were built from on some days; `_BUILDING` where a claim was not confirmed."""
        b = builds.c
        found: dict[str, dict[date, str]] = {table: {} for table in tables}
        inputs = sa.case((b.state == "built", b.inputs), else_=_BUILDING)
        query = sa.select(b.asset, b.day, inputs).where(
            b.asset.in_(found), sa.or_(b.day == WHOLE, b.day.between(first, last))
        )
        for asset, day, text in connection.execute(query):
            found[asset][day] = text
        return found

    def _revised(
        self, connection: sa.Connection, tables: Iterable[str], first: date, last: date
    ) -> dict[str, dict[date, str]]:
        """What those of some tables that have no partitions say of some days."""
        r = revisions.c
        found: dict[str, dict[date, str]] = {
            table: {} for table in tables if table != STAGING and not self._recipes[table].daily
        }
        query = sa.select(r.asset, r.day, r.revision).where(r.asset.in_(found), r.day.between(first, last))
        for asset, day, text in connection.execute(query):
            found[asset][day] = text
        return found

    def built_days(self, table: str) -> list[date]:
        """The days a table was built for, in order; `WHOLE` for one without partitions."""
        b = builds.c
        query = sa.select(b.day).where(b.asset == table, b.state == "built").order_by(b.day)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def built_by(self, table: str, run_id: str) -> list[date]:
        """The days of a table that a run has built and that nobody has touched since, in order; maybe `WHOLE`."""
        b = builds.c
        query = sa.select(b.day).where(b.asset == table, b.state == "built", b.run_id == run_id).order_by(b.day)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def build_again(self, table: str, days: Iterable[date]) -> None:
        """Let days count as stale that were built, because it is not certain any more that their rows are there."""
        b = builds.c
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(builds).where(b.asset == table, b.day.in_(list(days))).values(state="building")
            )

    def event_rows(self, first: date, last: date) -> dict[date, int]:
        """Events of the days `first` to `last`, both included."""
        e = event_days.c
        query = sa.select(e.event_date, e.events).where(e.event_date.between(first, last))
        with self._engine.connect() as connection:
            return {row.event_date: row.events for row in connection.execute(query)}

    def event_counts(self, first: date, last: date) -> dict[date, dict[str, int]]:
        """Where the landed rows of the days `first` to `last` went, both included."""
        e = event_days.c
        names = ("landed", "duplicates", "conflicts", "excluded")
        query = sa.select(e.event_date, *(e[name] for name in names)).where(e.event_date.between(first, last))
        with self._engine.connect() as connection:
            return {day: dict(zip(names, numbers, strict=True)) for day, *numbers in connection.execute(query)}

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
        needed = [each.table for each in recipe.inputs]
        first, last = self._since, until
        if recipe.daily:
            first = max(first, min(days) - timedelta(days=max(each.before for each in recipe.inputs)))
            last = min(last, max(days) + timedelta(days=max(each.after for each in recipe.inputs)))
        with self._engine.begin() as connection:
            built = self._booked(connection, needed, first, last)
            revised = self._revised(connection, needed, first, last)
            existing = sorted(set().union(*built.values()) - {WHOLE})
            known = {**built, STAGING: files}
            reading = None
            if not recipe.daily and not revised:
                inputs = {name: {str(day): text for day, text in built[name].items()} for name in needed}
                reading = {"version": recipe.version, "inputs": inputs}
            changed = _changed_days(connection, table, reading) if reading else None
            claim = insert(builds).values(
                [
                    {
                        "asset": table,
                        "day": day,
                        "inputs": combined(recipe, day, existing, known, revised),
                        "state": "building",
                        "run_id": run_id,
                        "read_since": since,
                        "claimed_at": sa.func.clock_timestamp(),
                        "reading": reading,
                        # Of what is there now; what will be there is not known yet.
                        "figures": None,
                    }
                    for day in days
                ]
            )
            new = claim.excluded
            connection.execute(
                claim.on_conflict_do_update(
                    index_elements=["asset", "day"],
                    set_={
                        name: new[name]
                        for name in ("inputs", "state", "run_id", "read_since", "claimed_at", "reading", "figures")
                    },
                )
            )
        return changed

    def book_figures(self, table: str, run_id: str, figures: Mapping[date, Figures]) -> None:
        """Book the numbers of the days that a run has built and that nobody has claimed since.

        Args:
            table: the table.
            run_id: the run.
            figures: numbers by name, of each day.
        """
        b = builds.c
        booking = (
            sa.update(builds)
            .where(b.asset == table, b.day == sa.bindparam("of_day"), b.run_id == run_id)
            .values(figures=sa.bindparam("numbers", type_=builds.c.figures.type))
        )
        if figures:
            with self._engine.begin() as connection:
                connection.execute(booking, [{"of_day": day, "numbers": dict(of)} for day, of in figures.items()])

    def figures(self, table: str, first: date, last: date) -> dict[date, Figures]:
        """The numbers that are booked of the days `first` to `last`, both included; days without any are left out."""
        b = builds.c
        query = sa.select(b.day, b.figures).where(
            b.asset == table, b.day.between(first, last), b.state == "built", b.figures.is_not(None)
        )
        with self._engine.connect() as connection:
            return {row.day: row.figures for row in connection.execute(query)}

    def revisions(self, table: str) -> dict[date, str]:
        """What a table without partitions says of each day."""
        with self._engine.connect() as connection:
            return self._revised(connection, [table], date.min, date.max)[table]


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
    # Two values however many days there are. As texts, for those any driver binds.
    days = sa.cast(sa.cast([str(day) for day in revised], _TEXTS), ARRAY(sa.Date))
    texts = sa.cast(list(revised.values()), _TEXTS)
    given = sa.func.unnest(days, texts).table_valued("day", "revision").render_derived()
    new = insert(revisions).from_select(["asset", "day", "revision"], sa.select(sa.literal(table), *given.c))
    return [
        sa.delete(revisions).where(r.asset == table, r.day != sa.all_(days)),
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
            "ids_across": found.across,
        }
        connection.execute(
            insert(event_days)
            .values(event_date=day, **values)
            .on_conflict_do_update(index_elements=["event_date"], set_=values)
        )


def book_identifiers(connection: sa.Connection, counts: Mapping[date, Mapping[str, int]]) -> None:
    """Book what the identifiers of some days look like: by day, all of `IDENTIFIERS`."""
    e = event_days.c
    for day, found in counts.items():
        values = {name: found[name] for name in IDENTIFIERS}
        connection.execute(sa.update(event_days).where(e.event_date == day).values(**values))
