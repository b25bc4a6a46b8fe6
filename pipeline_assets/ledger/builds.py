"""What each asset and day was built from, and which days are stale.

Every table is described by a `Recipe`: what it reads and how far around a day it looks. From the recipes and the
staged files that count, the fingerprint of what a day *should* be built from follows without looking at any data; a
day is stale where the fingerprint booked with it differs. A build claims its days, and its claim is confirmed in the
transaction that publishes the rows: as built only if nobody else touched an input since the run began to read. So a
crash, an overtaken run or an input that changed under it can only leave a day stale.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.ledger.schema import builds, event_days
from pipeline_assets.transforms.events import DayCounts

STAGING = "staging"
_ABSENT = "-"
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
    """How a table is made: its inputs, and a version that changes with its code, contract or settings."""

    table: str
    version: str
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class Staleness:
    """What has to be built.

    Attributes:
        tables: the stale days of every table.
        present: all days that have rows or were ever built.
        wanted: fingerprint of what a table should be built from on a stale day.
    """

    tables: Mapping[str, set[date]]
    present: set[date]
    wanted: Mapping[tuple[str, date], str] = field(default_factory=dict)

    def asked_of(self, stretch: "Stretch") -> list[tuple[str, date, str]]:
        """What building a stretch is to achieve: its stale tables and days, and the fingerprints they should have."""
        return [
            (table, day, self.wanted[table, day])
            for table in sorted(self.tables)
            for day in sorted(self.tables[table])
            if stretch.first <= day <= stretch.last
        ]

    def stretches(self) -> list["Stretch"]:
        """Ranges of days to build, one run each, oldest first; together they hold every stale day of every table.

        Days that nothing is known of are bridged (building an empty day costs less than another run), but no day that
        is up to date.
        """
        stale = set().union(*self.tables.values())
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
        return found


@dataclass(frozen=True)
class Stretch:
    """A range of days to build in one run, and how many of them are stale."""

    first: date
    last: date
    stale: int

    def halves(self) -> tuple["Stretch", ...]:
        """The stretch cut in two, so that one bad day does not keep the others from being built; none of a day."""
        days = (self.last - self.first).days
        if not days:
            return ()
        middle = self.first + timedelta(days=days // 2)
        return (
            Stretch(self.first, middle, min(self.stale, days // 2 + 1)),
            Stretch(middle + timedelta(days=1), self.last, min(self.stale, days - days // 2)),
        )


class Plan:
    """The fingerprints every table and day should have, given the staged files that count.

    Args:
        recipes: every table, inputs before the tables that read them.
        staged: the staged files that count.
    """

    def __init__(self, recipes: Sequence[Recipe], staged: Iterable[StagedFile]) -> None:
        self._recipes = {recipe.table: recipe for recipe in recipes}
        by_day: dict[date, list[str]] = {}
        for file in staged:
            by_day.setdefault(file.event_date, []).append(f"{file.source}/{file.content}/{file.rules}")
        self.days = set(by_day)
        self._known: dict[tuple[str, date], str] = {
            (STAGING, day): _digest(sorted(names)) for day, names in by_day.items()
        }

    def inputs(self, table: str, day: date, present: set[date]) -> str:
        """Fingerprint of what `table` should be built from on `day`; `present` are the days that exist at all."""
        if table == STAGING:
            return self._known.get((STAGING, day), _ABSENT)
        if (table, day) not in self._known:
            recipe = self._recipes[table]
            self._known[table, day] = combine(
                recipe,
                [
                    self.inputs(needed.table, other, present)
                    if needed.table == STAGING or other in present
                    else _ABSENT
                    for needed in recipe.inputs
                    for other in needed.days(day)
                ],
            )
        return self._known[table, day]


def combine(recipe: Recipe, parts: Sequence[str]) -> str:
    """The fingerprint of a table's day from those of its inputs."""
    return _digest([recipe.table, recipe.version, *parts])


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class BuildLedger:
    """The ledger's side of building tables."""

    def __init__(self, engine: sa.Engine, recipes: Sequence[Recipe]) -> None:
        self._engine = engine
        self._recipes = {recipe.table: recipe for recipe in recipes}

    def staleness(self, staged: Iterable[StagedFile], *, until: date, since: date = date.min) -> "Staleness":
        """The stale days of every table from `since` to `until`; days that never had rows are not stale."""
        plan = Plan(list(self._recipes.values()), staged)
        booked: dict[tuple[str, date], str] = {}
        # Days to come cannot be built yet; until they can, they are no input of their neighbours either.
        present = {day for day in plan.days if since <= day <= until}
        with self._engine.connect() as connection:
            for row in connection.execute(sa.select(builds.c.asset, builds.c.day, builds.c.inputs, builds.c.state)):
                if row.asset in self._recipes and since <= row.day <= until:
                    present.add(row.day)
                    booked[row.asset, row.day] = row.inputs if row.state == "built" else "building"
        stale = {
            table: {day for day in present if booked.get((table, day)) != plan.inputs(table, day, present)}
            for table in self._recipes
        }
        wanted = {(table, day): plan.inputs(table, day, present) for table, days in stale.items() for day in days}
        return Staleness(stale, present, wanted)

    def built_days(self, table: str) -> list[date]:
        """The days a table was built for, in order."""
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
    ) -> None:
        """Announce that a run builds these days; from here on they count as stale.

        Args:
            table: the table to build.
            days: the days to build.
            staged: the staged files the run will read; empty unless the table reads staging.
            run_id: the run; the latest claim of a day wins.
            read_since: when, by `now`, the run began to read inputs; now by default.
        """
        since = read_since or self.now()
        recipe = self._recipes[table]
        plan = Plan([], staged)
        first = min(days) - timedelta(days=max(i.before for i in recipe.inputs))
        last = max(days) + timedelta(days=max(i.after for i in recipe.inputs))
        b = builds.c
        query = sa.select(b.asset, b.day, b.inputs, b.state).where(b.day.between(first, last))
        with self._engine.begin() as connection:
            built = {
                (row.asset, row.day): row.inputs if row.state == "built" else "building"
                for row in connection.execute(query)
            }

            def current(needed: str, day: date) -> str:
                return plan.inputs(STAGING, day, set()) if needed == STAGING else built.get((needed, day), _ABSENT)

            claim = insert(builds).values(
                [
                    {
                        "asset": table,
                        "day": day,
                        "inputs": combine(
                            recipe, [current(i.table, other) for i in recipe.inputs for other in i.days(day)]
                        ),
                        "state": "building",
                        "run_id": run_id,
                        "read_since": since,
                        "claimed_at": sa.func.clock_timestamp(),
                    }
                    for day in days
                ]
            )
            new = claim.excluded
            connection.execute(
                claim.on_conflict_do_update(
                    index_elements=["asset", "day"],
                    set_={name: new[name] for name in ("inputs", "state", "run_id", "read_since", "claimed_at")},
                )
            )


def confirmation(recipe: Recipe, days: Sequence[date], run_id: str) -> sa.UpdateBase:
    """The statement that confirms a claim; run it in the transaction that publishes the rows.

    A day stays stale if another run has touched one of its inputs since this run began to read them. The statement
    returns one row per confirmed day, to be handed to `require_all`.
    """
    b, i = builds.c, builds.alias("input").c
    touched = sa.exists().where(
        sa.or_(
            sa.false(),
            *(
                (i.asset == needed.table) & i.day.between(b.day - needed.before, b.day + needed.after)
                for needed in recipe.inputs
                if needed.table != STAGING
            ),
        ),
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
        raise OvertakenError(
            f"{table}: another run has begun to build some of the days {min(days)} to {max(days)} since this run "
            "began. Its rows will count; nothing of this run was published."
        )


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
