"""Booking files: which content of which path counts, and where each of its lines went.

Everything about one file is booked in one transaction, together with the files it was loaded with. Whatever the order
in which files are booked, which contents count depends only on the newest content of every path, and ties between equal
contents are broken by path. `staged` has the rows that count and no others: what ceases to count is removed from it by
the transaction that says so, and a file of the lake to which nothing in it points any more is dropped.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from pipeline_assets.key_texts import key_text
from pipeline_assets.ledger import catalogue, changed_days, schema
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.changed_days import COMPACT, OBSERVE, ChangedDay
from pipeline_assets.ledger.counting import counting, is_counted, recount
from pipeline_assets.ledger.full_looks import ask, landing_part
from pipeline_assets.ledger.schema import contents, files, lake_files, quarantine, schema_of, staged
from pipeline_assets.locks import take_turn
from pipeline_assets.sources.records.refused_lines import QuarantinedLine

_TEXTS = ARRAY(sa.Text)
# A booking takes a second or two, however large the files are.
_LOCK_LIMIT_SECONDS = 10 * 60
_LISTED = lake_files.c.dropped_at.is_(None)
_FILE = tuple(lake_files.c[each.name] for each in fields(LakeFile))

LONGEST_RAW = 64 << 10
"""Bytes of a quarantined line that are kept; of a longer one its beginning."""


class LedgerError(RuntimeError):
    """A booking that would not balance; nothing of it was written."""


@dataclass(frozen=True)
class Load:
    """The outcome of reading one content under one version of its declaration.

    Attributes:
        content: SHA-256 of the file's bytes, hex.
        declaration_version: version of the declaration.
        lines: lines (or records) in the file.
        landed: rows staged.
        blank: blank lines.
        days: staged rows per event day; their sum is `landed`.
        quarantined: the refused lines.
        error: why the file could not be read at all; then everything else is zero.
    """

    content: str
    declaration_version: str
    lines: int = 0
    landed: int = 0
    blank: int = 0
    days: Mapping[date, int] = field(default_factory=dict)
    quarantined: Sequence[QuarantinedLine] = ()
    error: str | None = None


@dataclass(frozen=True)
class FileRecord:
    """The newest booking of a path."""

    path: str
    content: str
    declaration_version: str
    stamp: str
    state: str
    error: str | None


@dataclass(frozen=True)
class StagedFile:
    """The staged rows of one content and day, which count, and the file of the lake that holds them.

    Attributes:
        source: the source.
        content: SHA-256 of the original file's bytes, hex; the `load_id` of the rows.
        declaration_version: version of the declaration that read them.
        event_date: the day.
        rows: how many they are.
        file: the file; it may hold rows of other contents too, and rows that do not count.
    """

    source: str
    content: str
    declaration_version: str
    event_date: date
    rows: int
    file: LakeFile


@dataclass(frozen=True)
class Held:
    """How much of a staged file counts.

    Attributes:
        rows: rows in it.
        counting: those of them that count; None where that was not asked.
    """

    rows: int
    counting: int | None


@dataclass(frozen=True)
class UncompactedDay:
    """A day of a source whose staged files have changed since they were last compacted.

    Attributes:
        changed: the day, and when it changed.
        has_settled: whether that was long ago.
        files: its files.
    """

    changed: ChangedDay
    has_settled: bool
    files: list[Held] = field(default_factory=list)


@dataclass(frozen=True)
class Booking:
    """What is booked of a path: the content it has now.

    Attributes:
        path: path below landing.
        stamp: of the file.
        content: SHA-256 of the file's bytes, hex.
        load: the outcome of reading it; None if that is booked already, under whatever path.
    """

    path: str
    stamp: str
    content: str
    load: Load | None = None


def staging_asset(source: str) -> str:
    """How the catalogue calls the staged files of a source."""
    return f"staging/{source}"


class FileLedger:
    """The ledger's side of loading files."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def has_files(self, source: str) -> bool:
        """Whether a file of a source was ever booked."""
        with self._engine.connect() as connection:
            return bool(connection.execute(sa.select(sa.exists().where(files.c.source == source))).scalar())

    def not_as_booked(
        self, source: str, declaration_version: str, stamps: Mapping[str, str]
    ) -> dict[str, FileRecord | None]:
        """Those of some paths of a source whose newest booking is of another state of the file or another declaration.

        Args:
            source: the source.
            declaration_version: version of its declaration.
            stamps: of each path below landing, the stamp that its file has now.

        Returns:
            The newest booking of each such path; None where it has none.
        """
        if not stamps:
            return {}
        c = files.c
        given = (
            sa.func.unnest(
                sa.bindparam("paths", list(stamps), _TEXTS), sa.bindparam("stamps", list(stamps.values()), _TEXTS)
            )
            .table_valued("path", "stamp")
            .render_derived("given")
        )
        query = (
            sa.select(given.c.path, c.content, c.declaration_version, c.stamp, c.state, c.error)
            .select_from(given)
            .outerjoin(files, (c.source == source) & (c.path == given.c.path) & c.newest)
            .where(
                c.stamp.is_distinct_from(given.c.stamp) | c.declaration_version.is_distinct_from(declaration_version)
            )
        )
        with self._engine.connect() as connection:
            return {row.path: None if row.stamp is None else FileRecord(*row) for row in connection.execute(query)}

    def reserve(self, sizes: Mapping[str, int]) -> dict[str, datetime]:
        """The moment each of some contents was first seen; now, if it never was.

        Args:
            sizes: bytes of each content.
        """
        if not sizes:
            return {}
        c = contents.c
        # In order, so that two workers with the same contents do not wait for each other.
        rows = [{"content": content, "bytes": sizes[content]} for content in sorted(sizes)]
        with self._engine.begin() as connection:
            connection.execute(insert(contents).on_conflict_do_nothing(), rows)
            found = connection.execute(sa.select(c.content, c.first_booked_at).where(c.content == _any(sizes)))
            return {row.content: row.first_booked_at for row in found}

    def known(self, source: str, contents_: Collection[str], declaration_version: str) -> set[str]:
        """Those of some contents that were read by this declaration, whatever the path, and whose rows are there."""
        if not contents_:
            return set()
        with self._engine.connect() as connection:
            loaded = _loaded(connection, source, contents_)
            return {content for content, row in loaded.items() if row["declaration_version"] == declaration_version}

    def book(
        self, source: str, bookings: Sequence[Booking], lake: Sequence[LakeFile] = (), *, run_id: str = ""
    ) -> list[Booking]:
        """Book what some paths have now, each accounted for by itself, all in one transaction.

        Args:
            source: the source.
            bookings: of different paths; a content has one load at most.
            lake: the files with the rows that landed, in the store: one of each day. They may hold other rows too.
            run_id: the run that made these files.

        Returns:
            Those without a load whose content is not loaded, or whose rows have gone: nothing is booked of them.

        Raises:
            LedgerError: counts do not add up; nothing is booked.
        """
        loads = {each.content: each.load for each in bookings if each.load is not None}
        by_day = {file.day: file for file in lake}
        for each in bookings:
            if each.load is not None:
                _require_balance(each.path, each.load)
        _require_room(loads.values(), by_day)
        with self._engine.begin() as connection:
            lock_source(connection, source)
            known = _loaded(connection, source, [each.content for each in bookings if each.load is None])
            counts = known | {content: _counts(load) for content, load in loads.items()}
            booked = [each for each in bookings if each.content in counts]
            if not booked:
                return list(bookings)
            with counting(connection, source, [each.content for each in booked], [each.path for each in booked]):
                touched = _remove_staged(connection, source, loads)
                landed = sorted({day for load in loads.values() for day in load.days})
                numbers = catalogue.add(connection, [by_day[day] for day in landed], run_id)
                rows = [
                    {
                        "source": source,
                        "content": content,
                        "event_date": day,
                        "declaration_version": load.declaration_version,
                        "rows": rows,
                        "file": numbers[by_day[day].name],
                    }
                    for content, load in sorted(loads.items())
                    for day, rows in sorted(load.days.items())
                ]
                if rows:
                    connection.execute(sa.insert(staged), rows)
                _renew_counts(connection, source, loads)
                _copy_quarantine(connection, source, loads.values())
                touched += _point(connection, source, booked, counts)
                _drop_unused(connection, {row.file for row in touched})
                changed_days.note(connection, COMPACT, source, {*landed, *(row.event_date for row in touched)})
        return [each for each in bookings if each.content not in counts]

    def exchange_staged(self, compacted: LakeFile, replaced: Iterable[StagedFile], *, run_id: str = "") -> int:
        """Let another file take the place of some, of which it has the rows that count.

        What was superseded or read again meanwhile stays as it is: only what still counts is exchanged.

        Args:
            compacted: the file with the rows of all that is replaced, in the store.
            replaced: rows of one source and day.
            run_id: the run that compacts.

        Returns:
            How many contents count by the new file now; 0: it is not listed.
        """
        replaced = list(replaced)
        s, f = staged.c, lake_files.c
        names = {each.file.name for each in replaced}
        (source,) = {each.source for each in replaced}
        with self._engine.begin() as connection:
            lock_source(connection, source)
            old = set(connection.execute(sa.select(f.file).where(f.name == _any(names), _LISTED)).scalars())
            unchanged = (
                s.source == source,
                s.event_date == compacted.day,
                s.file == _any_number(old),
                s.content == _any(each.content for each in replaced),
            )
            exchanged = connection.execute(sa.select(sa.func.count()).where(*unchanged)).scalar_one()
            if exchanged:
                (number,) = catalogue.add(connection, [compacted], run_id).values()
                connection.execute(sa.update(staged).where(*unchanged).values(file=number))
                _drop_unused(connection, old)
        return exchanged

    def uncompacted_days(self, source: str, settled: timedelta, most: int) -> list[UncompactedDay]:
        """The days of a source whose staged files have changed since they were last compacted, in order of the changes.

        Args:
            source: the source.
            settled: a day that has not changed for so long has settled; how much of its files counts is told.
            most: days, at most.
        """
        c, f, s = schema.changed_days.c, lake_files.c, staged.c
        first = (
            sa.select(c.day, c.changed_at, (c.changed_at <= sa.func.now() - settled).label("has_settled"))
            .where(c.task == COMPACT, c.source == source)
            .order_by(c.changed_at, c.day)
            .limit(most)
        )
        counting = sa.cast(sa.select(sa.func.sum(s.rows)).where(s.file == f.file).scalar_subquery(), sa.BigInteger)
        with self._engine.connect() as connection:
            found = {
                row.day: UncompactedDay(ChangedDay(source, row.day, row.changed_at), row.has_settled)
                for row in connection.execute(first)
            }
            has_settled = f.day == _any_day(day for day, each in found.items() if each.has_settled)
            # Asked for by their days, and not joined: else all files of the source might be read.
            held = sa.select(f.day, f.rows, sa.case((has_settled, counting))).where(
                f.asset == staging_asset(source), f.day == _any_day(found), _LISTED
            )
            for day, rows, of_these in connection.execute(held) if found else ():
                found[day].files.append(Held(rows, of_these))
        return list(found.values())

    def compacted(self, days: Iterable[ChangedDay]) -> None:
        """Note that there is nothing to compact on some days, as long as they do not change again."""
        with self._engine.begin() as connection:
            changed_days.done(connection, COMPACT, days)

    def sources_to_compact(self) -> list[str]:
        """The sources with days that have changed since they were last compacted, in order."""
        with self._engine.connect() as connection:
            return changed_days.sources_of(connection, COMPACT)

    def unobserved_days(self, most: int) -> Sequence[ChangedDay]:
        """Days of which Dagster is still to be told the version, so many at most."""
        with self._engine.connect() as connection:
            return changed_days.noted(connection, OBSERVE, most)

    def observed(self, days: Iterable[ChangedDay]) -> None:
        """Note that Dagster was told the versions that some days have had since they changed."""
        with self._engine.begin() as connection:
            changed_days.done(connection, OBSERVE, days)

    def staged_files(self, sources: Iterable[str], first: date, last: date) -> list[StagedFile]:
        """See `staged_files`."""
        with self._engine.connect() as connection:
            return staged_files(connection, sources, first, last)

    def last_files(self, source: str, most: int) -> list[LakeFile]:
        """The files with staged rows of a source that count which were written last, so many at most."""
        s = staged.c
        # Of a file there may be as many rows as of files that were loaded together.
        last = sa.select(s.file).where(s.source == source).distinct().order_by(s.file.desc()).limit(most)
        query = sa.select(*_FILE).where(lake_files.c.file.in_(last)).order_by(lake_files.c.file.desc())
        with self._engine.connect() as connection:
            return [LakeFile(**row._mapping) for row in connection.execute(query)]

    def recount(self, source: str) -> bool:
        """Count everything of a source again, and put right what was not kept right; whether all of it was.

        Other bookings of the source wait only where something was wrong.
        """
        with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            if is_counted(connection, source):
                return True
        with self._engine.begin() as connection:
            lock_source(connection, source)
            if is_counted(connection, source):
                return True
            recount(connection, source)
        return False

    def contents_in(self, names: Iterable[str]) -> set[str]:
        """The contents whose staged rows some files of the lake hold."""
        query = (
            sa.select(staged.c.content)
            .join_from(staged, lake_files, lake_files.c.file == staged.c.file)
            .where(lake_files.c.name == _any(names))
        )
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def paths(self, source: str, content: str) -> list[str]:
        """The paths below landing that a content was last seen under, in order."""
        f = files.c
        query = sa.select(f.path).where(f.source == source, f.content == content, f.newest).order_by(f.path)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def read_again(self, source: str, contents_: Iterable[str]) -> None:
        """Mark contents to be read again, although neither they nor their declaration changed (a replay)."""
        with self._engine.begin() as connection:
            lock_source(connection, source)
            connection.execute(
                sa.update(files)
                .where(files.c.source == source, files.c.content == _any(contents_))
                .values(declaration_version="replay", stamp="replay")
            )
            # Their folders have not changed.
            ask(connection, landing_part(source))


def staged_files(connection: sa.Connection, sources: Iterable[str], first: date, last: date) -> list[StagedFile]:
    """The staged rows that count of the days `first` to `last`, both included, in a fixed order."""
    s = staged.c
    query = (
        sa.select(s.source, s.content, s.declaration_version, s.event_date, s.rows, *_FILE)
        .join_from(staged, lake_files, lake_files.c.file == s.file)
        .where(s.source.in_(list(sources)), s.event_date.between(first, last))
        .order_by(s.event_date, s.source, s.content)
    )
    # Many rows are of one file.
    known: dict[str, LakeFile] = {}
    return [StagedFile(*row[:5], known.setdefault(row.name, LakeFile(*row[5:]))) for row in connection.execute(query)]


def lock_source(connection: sa.Connection, source: str) -> None:
    """Serialise with all bookings of a source until the transaction ends."""
    # Bookings of one source are serialised: "the newest content of a path" must not be decided twice at once.
    key = sa.func.hashtextextended(f"{schema_of(connection)}.files/{source}", 0)
    lock = sa.select(sa.func.pg_try_advisory_xact_lock(key))
    what = f"another process that books files of {source}"
    take_turn(lambda: connection.execute(lock).scalar(), what, limit=_LOCK_LIMIT_SECONDS)


def _require_balance(path: str, load: Load) -> None:
    if sum(load.days.values()) != load.landed:
        raise LedgerError(f"{path}: {load.landed} rows landed, but the days hold {sum(load.days.values())}")
    if load.lines != load.landed + load.blank + len(load.quarantined):
        raise LedgerError(
            f"{path}: {load.lines} lines read, but {load.landed} landed, {len(load.quarantined)} were quarantined "
            f"and {load.blank} are blank"
        )


def _require_room(loads: Iterable[Load], files_: Mapping[date, LakeFile]) -> None:
    """Make sure that the files hold as many rows of each day as have landed."""
    landed: Counter[date] = Counter()
    for load in loads:
        landed.update(load.days)
    for day, rows in landed.items():
        held = files_[day].rows if day in files_ else 0
        if rows > held:
            raise LedgerError(f"{rows} rows landed on {day}, but the file of that day holds {held}")


def _counts(load: Load) -> dict[str, Any]:
    return {
        "declaration_version": load.declaration_version,
        "lines": load.lines,
        "landed": load.landed,
        "quarantined": len(load.quarantined),
        "blank": load.blank,
        "error": load.error,
    }


def _loaded(connection: sa.Connection, source: str, contents_: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The counts of those of some contents that were read and whose staged rows are all there, by content."""
    f, s = files.c, staged.c
    wanted = sa.select(sa.func.unnest(_texts(set(contents_))).label("content")).subquery()
    names = ("content", "declaration_version", "lines", "landed", "quarantined", "blank", "error")
    # The bookings of a content all say the same.
    booked = (
        sa.select(*(f[name] for name in names))
        .where(f.source == source, f.content == wanted.c.content)
        .limit(1)
        .lateral()
    )
    there = (
        sa.select(sa.func.coalesce(sa.func.sum(s.rows), 0))
        .where(s.source == source, s.content == booked.c.content)
        .scalar_subquery()
    )
    query = sa.select(*booked.c).select_from(wanted.join(booked, sa.true())).where(booked.c.landed == there)
    rows = (dict(row) for row in connection.execute(query).mappings())
    return {row.pop("content"): row for row in rows}


def _remove_staged(connection: sa.Connection, source: str, contents_: Collection[str]) -> list[sa.Row[date, int]]:
    """Remove the staged rows of contents; the day and file of each."""
    s = staged.c
    gone = sa.delete(staged).where(s.source == source, s.content == _any(contents_)).returning(s.event_date, s.file)
    return list(connection.execute(gone).all())


def _renew_counts(connection: sa.Connection, source: str, loads: Mapping[str, Load]) -> None:
    """Give the bookings of contents that were read again, under whatever path and moment, the new counts."""
    f = files.c
    known = sa.select(f.content).where(f.source == source, f.content == _any(loads)).distinct()
    again = [
        {"of_content": content, **_counts(loads[content])} for content in connection.execute(known).scalars().all()
    ]
    if again:
        values = {name: sa.bindparam(name) for name in again[0] if name != "of_content"}
        update = sa.update(files).where(f.source == source, f.content == sa.bindparam("of_content")).values(values)
        connection.execute(update, again)


def _point(
    connection: sa.Connection, source: str, bookings: Sequence[Booking], counts: Mapping[str, Mapping[str, Any]]
) -> list[sa.Row[date, int]]:
    """Make contents the newest of their paths and settle which bookings count.

    Returns:
        Day and file of the staged rows of contents that have ceased to count; they are removed.
    """
    f = files.c
    newest = sa.select(
        sa.func.unnest(_texts(each.path for each in bookings)).label("path"),
        sa.func.unnest(_texts(each.content for each in bookings)).label("content"),
    ).subquery()
    superseded = (
        sa.update(files)
        .where(f.source == source, f.path == newest.c.path, f.newest, f.content != newest.c.content)
        .values(newest=False, state="superseded", booked_at=sa.func.now())
        .returning(f.content)
    )
    before = set(connection.execute(superseded).scalars())
    new = insert(files)
    columns = ("declaration_version", "lines", "landed", "quarantined", "blank", "error", "stamp", "newest", "state")
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["source", "path", "content"],
            set_={name: new.excluded[name] for name in columns} | {"booked_at": sa.func.now()},
        ),
        [
            {
                "source": source,
                "path": each.path,
                "content": each.content,
                **counts[each.content],
                "stamp": each.stamp,
                "newest": True,
                "state": "repeat",
            }
            for each in bookings
        ],
    )
    touched = before | {each.content for each in bookings}
    candidates = (f.source == source, f.content == _any(touched), f.newest)
    first = (
        sa.select(f.content, sa.func.min(f.path).label("path"))
        .where(*candidates, f.error.is_(None))
        .group_by(f.content)
        .subquery()
    )
    is_first = sa.exists().where(first.c.content == f.content, first.c.path == f.path)
    passive = sa.case((f.error.is_not(None), "unreadable"), else_="repeat")
    # Of a content, such as that of empty files, there may be a hundred thousand paths: only what changes is written.
    # First who ceases to count, for of a content one does.
    for which, state in ((~is_first, passive), (is_first, "active")):
        connection.execute(sa.update(files).where(*candidates, which, f.state != state).values(state=state))
    counted = sa.select(f.content).where(f.source == source, f.content == _any(touched), f.state == "active")
    return _remove_staged(connection, source, touched - set(connection.execute(counted).scalars()))


def _drop_unused(connection: sa.Connection, numbers: Collection[int]) -> None:
    """Drop those of some staged files that hold no rows that count any more."""
    f = lake_files.c
    used = sa.exists().where(staged.c.file == f.file)
    catalogue.drop_where(connection, f.file == _any_number(numbers), ~used)


def _copy_quarantine(connection: sa.Connection, source: str, loads: Collection[Load]) -> None:
    """Put the refused lines of some contents in place of those of before."""
    q = quarantine.c
    connection.execute(
        sa.delete(quarantine).where(q.source == source, q.content == _any(load.content for load in loads))
    )
    if not any(load.quarantined for load in loads):
        return
    with connection.connection.cursor().copy(
        f"copy {schema_of(connection)}.quarantine "
        "(source, content, line, reason, declaration_version, raw, bytes) from stdin"
    ) as copy:
        for load in loads:
            version = load.declaration_version
            for bad in load.quarantined:
                # Names of columns are in reasons, and lines are counted by reason: it is part of a key.
                copy.write_row((source, load.content, bad.line, key_text(bad.reason), version, bad.raw, bad.length))


def _texts(values: Iterable[str]) -> sa.BindParameter[Any]:
    return sa.bindparam(None, list(values), ARRAY(sa.Text))


def _any_number(values: Collection[int]) -> sa.ColumnElement[Any]:
    return sa.any_(sa.bindparam(None, sorted(values), ARRAY(sa.BigInteger)))


def _any_day(values: Iterable[date]) -> sa.ColumnElement[Any]:
    return sa.any_(sa.bindparam(None, list(values), ARRAY(sa.Date)))


def _any(values: Iterable[str]) -> sa.ColumnElement[Any]:
    # One value however many there are.
    return sa.any_(_texts(values))
