"""What each asset and day was built from, as the ledger has it; which days are stale follows in `planning`.

A build claims its days, and its claim is confirmed in the transaction that publishes the rows: as built only if nobody
touched an input since the build began to read. So a crash, an overtaken build or an input that changed under it can
only leave a day stale. A claim has an id of its own, for a run may claim a day more than once: a step that is tried
again, a run that is resumed while the process that was believed dead still works.

A mart's days are built only as long as the very table into which they were published is there. So whoever drops a mart,
or puts another table in its place, finds its days stale.

Whoever changes rows of `builds` and other things in one transaction begins with these rows, in order of table and day
(`hold`), so that two such transactions never wait for each other. Only a mart and its rows come before. Whoever removes
some of them first revokes their claims, in a transaction of its own.

A table without partitions is booked under the day `UNPARTITIONED`. It books which fingerprint each day of its inputs
had, so that a build knows which days have changed since the one before it. What it says of the things that were active
on a day (who a visitor is, when a session began) may change with any other day. So that only the days it changes for
are built again, it books a revision for every day: a digest of what it says of that day.
"""

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, OID, UUID, insert

from pipeline_assets.day_counts import DayCounts
from pipeline_assets.ledger.catalogue import Snapshot, snapshot
from pipeline_assets.ledger.counting import fingerprints
from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.ledger.schema import IDENTIFIERS, builds, event_days, revisions, schema_of
from pipeline_assets.namespace import MARTS
from pipeline_assets.planning import (
    BUILDING,
    LOST,
    STAGING,
    UNPARTITIONED,
    Spec,
    Staleness,
    Window,
    combined,
    compared,
    days_around,
    made_of,
    spans_of,
)

_TEXTS = ARRAY(sa.Text)
_DayCondition = Callable[[sa.ColumnElement[date]], sa.ColumnElement[bool]]
"""Whether a column is one of some days."""

LONGEST_RUN = timedelta(days=1)
"""From the claim of a table's days to its end. What takes longer is not published: see `catalogue.GRACE`."""


class OvertakenError(RuntimeError):
    """The same days were claimed again since; the rows of the latest claim will be the ones that count."""


class TookTooLongError(RuntimeError):
    """A build took so long that files it has read or written may be gone; nothing of it was published."""


@dataclass(frozen=True)
class Claim:
    """Days that a run builds of a table, and what it reads for them.

    Attributes:
        claim_id: of this claim and no other, also of the same run.
        table: the table.
        days: the days; `(UNPARTITIONED,)` of a table without partitions.
        run_id: the run.
        changed: for a table without partitions, all of whose inputs have some: the days on which an input may have
            changed since the table was built. None where that is not known, or the spec is another, and for other
            tables.
        files: the listed files of its inputs: all days of them that it may read. Inputs in PostgreSQL have none.
        staged: the staged files that it reads, of all days that it may read.
        fingerprints: of what each of the days is built from.
    """

    claim_id: uuid.UUID
    table: str
    days: tuple[date, ...]
    run_id: str
    changed: frozenset[date] | None
    files: Snapshot
    staged: tuple[StagedFile, ...]
    fingerprints: Mapping[date, str]


@dataclass(frozen=True)
class Attempt:
    """Days of a table that a run has claimed and not published.

    Attributes:
        table: the table.
        run_id: the run.
        days: number of days; 1 of a table without partitions.
        first: the first of them; `UNPARTITIONED` of such a table.
        last: the last of them.
        claimed_at: when the last of them was claimed, in UTC.
    """

    table: str
    run_id: str
    days: int
    first: date
    last: date
    claimed_at: datetime

    @property
    def days_in_words(self) -> str:
        """Which they are."""
        if self.first == UNPARTITIONED:
            return "the table"
        return str(self.first) if self.days == 1 else f"{self.days} days from {self.first} to {self.last}"


def staged_fingerprints(staged: Iterable[StagedFile]) -> dict[date, str]:
    """Fingerprint of the staged files of each day."""
    return fingerprints((file.source, file.event_date, file.content, file.declaration_version) for file in staged)


class BuildLedger:
    """The ledger's side of building tables.

    Args:
        engine: the ledger.
        specs: every table, inputs before the tables that read them.
        since: the platform's first day; nothing before it is looked at.
    """

    def __init__(self, engine: sa.Engine, specs: Sequence[Spec], *, since: date = date.min) -> None:
        self._engine = engine
        self._specs = {spec.name: spec for spec in specs}
        self._since = since

    def staleness(
        self,
        staged: Mapping[date, str],
        *,
        until: date,
        of: str | None = None,
    ) -> Staleness:
        """The stale days of every table up to `until`; days that never had rows are not stale.

        Args:
            staged: fingerprint of what is staged of each day.
            until: the current day.
            of: only this table is asked for, and what it is made of.
        """
        specs = list(self._specs.values() if of is None else made_of(self._specs.values(), of))
        names = [spec.name for spec in specs]
        with self._engine.connect() as connection:
            booked = self._booked(connection, names, _between(self._since, until))
            revised = self._revised(connection, names, _between(self._since, until))
        # Days to come cannot be built yet; until they can, they are no input of their neighbours either.
        files = {day: text for day, text in staged.items() if self._since <= day <= until}
        return compared(specs, files, booked, revised)

    def _booked(
        self, connection: sa.Connection, tables: Iterable[str], days: _DayCondition
    ) -> dict[str, dict[date, str]]:
        """What some tables were built from on some days.

        `BUILDING` where a claim was not confirmed, `LOST` where the table with the rows is not there any more.
        """
        b = builds.c
        found: dict[str, dict[date, str]] = {table: {} for table in tables}
        inputs = sa.case((b.state != "built", BUILDING), (_is_there(connection), b.inputs), else_=LOST)
        query = sa.select(b.asset, b.day, inputs).where(b.asset.in_(found), sa.or_(b.day == UNPARTITIONED, days(b.day)))
        for asset, day, text in connection.execute(query):
            found[asset][day] = text
        return found

    def _revised(
        self, connection: sa.Connection, tables: Iterable[str], days: _DayCondition
    ) -> dict[str, dict[date, str]]:
        """What those of some tables that have no partitions say of some days."""
        r = revisions.c
        found: dict[str, dict[date, str]] = {
            table: {} for table in tables if table != STAGING and not self._specs[table].is_daily
        }
        query = sa.select(r.asset, r.day, r.revision).where(r.asset.in_(found), days(r.day))
        for asset, day, text in connection.execute(query):
            found[asset][day] = text
        return found

    def built_days(self, table: str) -> list[date]:
        """The days a table was built for, in order; `UNPARTITIONED` for one without partitions."""
        return self._built(builds.c.asset == table)

    def built_by(self, table: str, run_id: str) -> list[date]:
        """The days of a table that a run has built and that nobody has touched since, in order."""
        return self._built(builds.c.asset == table, builds.c.run_id == run_id)

    def _built(self, *which: sa.ColumnElement[bool]) -> list[date]:
        with self._engine.connect() as connection:
            is_built = (builds.c.state == "built", _is_there(connection))
            query = sa.select(builds.c.day).where(*which, *is_built).order_by(builds.c.day)
            return list(connection.execute(query).scalars())

    def unpublished(self) -> list[Attempt]:
        """What of the tables that there are was claimed, and not published since, the latest first."""
        b = builds.c
        latest = sa.func.max(b.claimed_at)
        query = (
            sa.select(
                b.asset,
                b.run_id,
                sa.func.count(),
                sa.func.min(b.day),
                sa.func.max(b.day),
                sa.func.timezone("UTC", latest),
            )
            .where(b.asset.in_(list(self._specs)), b.state == "building", b.run_id != "")
            # What was published and is to be built again since nobody has tried yet.
            .where(sa.or_(b.built_at.is_(None), b.built_at < b.claimed_at))
            .where(sa.or_(b.day == UNPARTITIONED, b.day >= self._since))
            .group_by(b.asset, b.run_id)
            .order_by(latest.desc(), b.asset)
        )
        with self._engine.connect() as connection:
            return [Attempt(*row) for row in connection.execute(query)]

    def build_again(self, table: str, days: Collection[date]) -> None:
        """Let days count as stale that were built, because it is not certain any more that their rows are there.

        Whoever is building them puts that right.
        """
        b = builds.c
        with self._engine.begin() as connection:
            hold(connection, b.asset == table, b.day == _any_of(days))
            connection.execute(
                sa.update(builds).where(b.asset == table, b.day == _any_of(days)).values(state="building")
            )

    def event_counts(self, days: Collection[date]) -> dict[date, dict[str, int]]:
        """Where the landed rows of some days went."""
        e = event_days.c
        names = ("landed", "duplicates", "conflicts", "excluded")
        query = sa.select(e.event_date, *(e[name] for name in names)).where(e.event_date == _any_of(days))
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
        run_id: str,
        *,
        staged: Callable[[sa.Connection, date, date], list[StagedFile]] = lambda *_: [],
        until: date = date.max,
        only_stale: bool = False,
    ) -> Claim:
        """Announce that a run builds some days, and take the lists of what it is to read of them.

        From here on the days count as stale. All in one transaction, so that what is booked as read is what is read.

        Args:
            table: the table to build.
            days: the days to build, any; `[UNPARTITIONED]` for a table without partitions.
            run_id: the run; the latest claim of a day wins.
            staged: gives the staged files that count, from one day to another, where the table reads staging.
            until: the current day; days to come are no input of any.
            only_stale: claim only the days that are not built from what is there now; all of them where there is none
                such, for then somebody has built them since they were asked for.
        """
        spec = self._specs[table]
        needed = [each.table for each in spec.inputs if each.table != STAGING]
        near = _between(self._since, until)
        if spec.is_daily:
            before, after = (max(getattr(each, side) for each in spec.inputs) for side in ("before", "after"))
            near = _any_day(self._known(days_around(days, before, after), until))
        with self._engine.begin() as connection:
            # The lists last: whatever is published after the fingerprints were read counts as touched since.
            since = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
            booked = self._booked(connection, [*needed, table], near)
            own, built = booked[table], {name: booked[name] for name in needed}
            revised = self._revised(connection, needed, near)
            read = [
                file
                for each in spec.inputs
                if each.table == STAGING
                for first, last in spans_of(self._known(days_around(days, each.before, each.after), until))
                for file in staged(connection, first, last)
            ]
            existing = sorted(set().union(*built.values()) - {UNPARTITIONED})
            known = {**built, STAGING: staged_fingerprints(read)}
            fingerprints = {day: combined(spec, day, existing, known, revised) for day in days}
            if only_stale and spec.is_daily:
                days = [day for day in days if own.get(day) != fingerprints[day]] or days
                fingerprints = {day: fingerprints[day] for day in days}
                around = {day for each in spec.inputs for day in days_around(days, each.before, each.after)}
                read = [file for file in read if file.event_date in around]
            files = self._files(connection, spec, days, until)
            reading = None
            if not spec.is_daily and not revised:
                inputs = {name: {str(day): text for day, text in built[name].items()} for name in needed}
                reading = {"version": spec.version, "inputs": inputs}
            changed = _changed_days(connection, table, reading) if reading else None
            claim_id = uuid.uuid4()
            claim = insert(builds).values(
                [
                    {
                        "asset": table,
                        "day": day,
                        "inputs": fingerprints[day],
                        "state": "building",
                        "claim_id": claim_id,
                        "run_id": run_id,
                        "read_since": since,
                        "claimed_at": sa.func.clock_timestamp(),
                        "reading": reading,
                    }
                    for day in sorted(days)
                ]
            )
            taken = ("inputs", "state", "claim_id", "run_id", "read_since", "claimed_at", "reading")
            connection.execute(
                claim.on_conflict_do_update(
                    index_elements=["asset", "day"], set_={name: claim.excluded[name] for name in taken}
                )
            )
        days_changed = None if changed is None else frozenset(changed)
        return Claim(claim_id, table, tuple(days), run_id, days_changed, files, tuple(read), fingerprints)

    def _known(self, days: Iterable[date], until: date) -> list[date]:
        """Those of some days that can be read at all."""
        return [day for day in days if self._since <= day <= until]

    def _files(self, connection: sa.Connection, spec: Spec, days: Sequence[date], until: date) -> Snapshot:
        """The listed files that a table reads of its inputs."""
        wanted: dict[str, Sequence[date] | None] = {}
        for each in spec.inputs:
            if each.table == STAGING:
                continue
            if not self._specs[each.table].is_daily:
                wanted[each.table] = [UNPARTITIONED]
            else:
                near = self._known(days_around(days, each.before, each.after), until)
                wanted[each.table] = near if spec.is_daily else None
        found = snapshot(connection, wanted)
        return {
            name: {day: files for day, files in of.items() if day == UNPARTITIONED or self._since <= day <= until}
            for name, of in found.items()
        }

    def revisions(self, table: str) -> dict[date, str]:
        """What a table without partitions says of each day."""
        with self._engine.connect() as connection:
            return self._revised(connection, [table], _between(date.min, date.max))[table]


def _changed_days(connection: sa.Connection, table: str, reading: Mapping[str, Any]) -> set[date] | None:
    """The days on which what a table without partitions reads differs from what it was last built from, if it was."""
    b = builds.c
    query = sa.select(b.reading).where(
        b.asset == table, b.day == UNPARTITIONED, b.state == "built", _is_there(connection)
    )
    before = connection.execute(query).scalar_one_or_none()
    if before is None or before["version"] != reading["version"]:
        return None
    changed: set[str] = set()
    for name, now in reading["inputs"].items():
        then = before["inputs"].get(name, {})
        # A day that somebody was or is building, or whose rows are lost, may be anything.
        same = {day for day, text in now.items() if text == then.get(day) and text not in (BUILDING, LOST)}
        changed |= (now.keys() | then.keys()) - same
    return {date.fromisoformat(day) for day in changed}


def confirmation(
    spec: Spec,
    days: Collection[date],
    claim_id: uuid.UUID,
    *,
    timezone: str = "UTC",
    mart: str | None = None,
    is_part: bool = False,
) -> sa.UpdateBase:
    """The statement that confirms a claim; run it in the transaction that publishes the rows.

    A day stays stale if one of its inputs was touched since the claim. The statement returns a row per confirmed day,
    to be handed to `require_all`.

    Args:
        spec: the table.
        days: the days that were claimed.
        claim_id: of the claim.
        timezone: IANA name of the reporting time zone, in which a day is over.
        mart: of a mart the table that has the rows now, with its schema, quoted.
        is_part: whether only some of its rows were published, beside those that were there before.
    """
    b, i, held = builds.c, builds.alias("input").c, builds.alias("held").c

    def read(needed: Window) -> sa.ColumnElement[bool]:
        if not spec.is_daily:
            return i.asset == needed.table
        near = i.day.between(b.day - needed.before, b.day + needed.after)
        return (i.asset == needed.table) & sa.or_(near, i.day == UNPARTITIONED)

    touched = sa.exists().where(
        sa.or_(sa.false(), *(read(needed) for needed in spec.inputs if needed.table != STAGING)),
        sa.func.greatest(i.claimed_at, i.built_at) >= b.read_since,
    )
    # As texts, for those any driver binds.
    relation = sa.cast(sa.func.to_regclass(sa.cast(mart, sa.Text)), OID)
    rest_is_lost = b.relation.is_distinct_from(relation) if is_part else sa.false()
    own = sa.cast(sa.cast(str(claim_id), sa.Text), UUID)
    in_order = (
        sa.select(held.day)
        .where(held.asset == spec.name, held.day == _any_of(days), held.claim_id == own)
        .order_by(held.day)
        .with_for_update()
    )
    # What comes while a day goes on is not late, however often the day is built.
    over = sa.func.timezone(sa.cast(timezone, sa.Text), sa.cast(b.day + sa.literal_column("1"), sa.TIMESTAMP))
    return (
        sa.update(builds)
        .where(b.asset == spec.name, b.day.in_(in_order))
        .values(
            state=sa.case((sa.or_(touched, rest_is_lost), "building"), else_="built"),
            relation=relation,
            built_at=sa.func.now(),
            first_built_at=sa.func.coalesce(b.first_built_at, sa.case((sa.func.now() >= over, sa.func.now()))),
        )
        .returning(sa.cast(sa.extract("epoch", sa.func.clock_timestamp() - b.claimed_at), sa.Float))
    )


def hold(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> None:
    """Let nobody else change some rows of `builds` until the transaction ends."""
    b = builds.c
    connection.execute(sa.select(b.day).where(*which).order_by(b.asset, b.day).with_for_update())


def revoke(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> None:
    """Let days count as stale, and let none of their claims be confirmed.

    Args:
        connection: to the ledger.
        which: conditions of the rows of `builds`; all where there is none.
    """
    hold(connection, *which)
    nobody = {"run_id": "", "claim_id": sa.func.gen_random_uuid()}
    connection.execute(sa.update(builds).where(*which).values(state="building", **nobody))


def _is_there(connection: sa.Connection) -> sa.ColumnElement[bool]:
    """Whether the table is there into which a row of `builds` was published; always where that is no mart."""
    b = builds.c
    relations = sa.table(
        "pg_class", sa.column("oid"), sa.column("relname"), sa.column("relnamespace"), schema="pg_catalog"
    )
    schemas = sa.table("pg_namespace", sa.column("oid"), sa.column("nspname"), schema="pg_catalog")
    marts = (
        sa.select(sa.cast(relations.c.relname, sa.Text), relations.c.oid)
        .join_from(relations, schemas, schemas.c.oid == relations.c.relnamespace)
        .where(schemas.c.nspname == schema_of(connection, MARTS))
    )
    return sa.or_(b.relation.is_(None), sa.tuple_(b.asset, b.relation).in_(marts))


def require_all(table: str, days: Sequence[date], ages: Sequence[float]) -> None:
    """Refuse to publish unless every claimed day was confirmed, and in time.

    Args:
        table: the table.
        days: the days that were claimed.
        ages: what the confirmation returned: for how many seconds each day has been claimed.

    Raises:
        OvertakenError: one of the days was claimed again since.
        TookTooLongError: the files that the run has read or written may be gone.
    """
    if len(ages) != len(days):
        what = "it" if list(days) == [UNPARTITIONED] else f"some of the days {min(days)} to {max(days)}"
        raise OvertakenError(
            f"{table}: another run, or this one in another process or try, has begun to build {what} since. Its rows "
            "will count; nothing of this build was published."
        )
    if max(ages) > LONGEST_RUN.total_seconds():
        raise TookTooLongError(
            f"{table}: to build it took more than {LONGEST_RUN.total_seconds() / 3600:.0f} hours, after which files "
            "that were read or written may be removed. Nothing was published. Build fewer days at a time."
        )


def _between(first: date, last: date) -> _DayCondition:
    return lambda column: column.between(first, last)


def _any_day(days: Collection[date]) -> _DayCondition:
    return lambda column: column == _any_of(days)


def _any_of(days: Collection[date]) -> sa.ColumnElement[Any]:
    return sa.any_(_days(days))


def _days(days: Collection[date]) -> sa.ColumnElement[Any]:
    """One value however many days there are. As texts, for those any driver binds."""
    return sa.cast(sa.cast([str(day) for day in days], _TEXTS), ARRAY(sa.Date))


def book_revisions(table: str, revised: Mapping[date, str]) -> list[sa.UpdateBase]:
    """The statements that book what a table says of each day; run them in the transaction that publishes its rows.

    Each returns the days of which the table says something else from now on.
    """
    r = revisions.c
    days = _days(revised)
    texts = sa.cast(list(revised.values()), _TEXTS)
    given = sa.func.unnest(days, texts).table_valued("day", "revision").render_derived()
    new = insert(revisions).from_select(["asset", "day", "revision"], sa.select(sa.literal(table), *given.c))
    return [
        sa.delete(revisions).where(r.asset == table, r.day != sa.all_(days)).returning(r.day),
        new.on_conflict_do_update(
            index_elements=["asset", "day"],
            set_={"revision": new.excluded.revision},
            where=r.revision != new.excluded.revision,
        ).returning(r.day),
    ]


def book_counts(connection: sa.Connection, counts: Mapping[date, DayCounts]) -> None:
    """Book where the landed rows of some days went."""
    for day, found in sorted(counts.items(), key=itemgetter(0)):
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
    for day, found in sorted(counts.items(), key=itemgetter(0)):
        values = {name: found[name] for name in IDENTIFIERS}
        connection.execute(sa.update(event_days).where(e.event_date == day).values(**values))
