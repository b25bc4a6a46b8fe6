"""Booking files: which content of which path counts, and where each of its lines went.

Everything about one file is booked in one transaction. Whatever the order in which files are booked, which
contents count depends only on the newest content of every path, and ties between equal contents are broken by path.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pipeline_assets.ledger.schema import contents, files, lake_files, quarantine, schema_of, staged
from pipeline_assets.locks import take_turn

# A booking takes a second or two, however large the file is.
_LOCK_LIMIT_SECONDS = 10 * 60


class LedgerError(RuntimeError):
    """A booking that would not balance; nothing of it was written."""


@dataclass(frozen=True)
class QuarantinedLine:
    """A line that could not be loaded, as it was read.

    Attributes:
        line: number of the line or record.
        reason: why.
        raw: the line, or its beginning.
        length: bytes of the whole line; by default those of `raw`.
    """

    line: int
    reason: str
    raw: bytes
    length: int = -1

    def __post_init__(self) -> None:
        """Take the line for whole where nothing else is said."""
        if self.length < 0:
            object.__setattr__(self, "length", len(self.raw))


@dataclass(frozen=True)
class Load:
    """The outcome of reading one content under one version of its declaration.

    Attributes:
        content: SHA-256 of the file's bytes, hex.
        rules: version of the declaration.
        lines: lines (or records) in the file.
        landed: rows staged.
        blank: blank lines.
        days: staged rows per event day; their sum is `landed`.
        quarantined: the refused lines.
        error: why the file could not be read at all; then everything else is zero.
    """

    content: str
    rules: str
    lines: int = 0
    landed: int = 0
    blank: int = 0
    days: Mapping[date, int] = field(default_factory=dict)
    quarantined: Sequence[QuarantinedLine] = ()
    error: str | None = None


@dataclass(frozen=True)
class BookedFile:
    """The newest booking of a path."""

    path: str
    content: str
    rules: str
    stamp: str
    state: str
    error: str | None


@dataclass(frozen=True)
class StagedFile:
    """A staged Parquet file that counts."""

    source: str
    content: str
    rules: str
    event_date: date
    rows: int

    @property
    def relative_path(self) -> str:
        """Path below the lake's folder."""
        return staged_path(self.source, self.event_date, self.content, self.rules)


def staged_path(source: str, event_date: date, content: str, rules: str) -> str:
    """Path below the lake's folder of the staged rows of one content and day."""
    return f"staging/{source}/event_date={event_date.isoformat()}/{content}-{rules}.parquet"


class FileLedger:
    """The ledger's side of loading files."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def booked(self, source: str) -> dict[str, BookedFile]:
        """The newest booking of every path of a source, by path."""
        c = files.c
        query = sa.select(c.path, c.content, c.rules, c.stamp, c.state, c.error).where(c.source == source, c.newest)
        with self._engine.connect() as connection:
            return {row.path: BookedFile(*row) for row in connection.execute(query)}

    def reserve(self, content: str, size: int) -> datetime:
        """The moment a content was first seen; now, if it never was."""
        with self._engine.begin() as connection:
            connection.execute(insert(contents).values(content=content, bytes=size).on_conflict_do_nothing())
            query = sa.select(contents.c.first_booked_at).where(contents.c.content == content)
            return connection.execute(query).scalar_one()

    def has_load(self, source: str, content: str, rules: str) -> bool:
        """Whether this content was already read under these rules, under whatever path."""
        c = files.c
        query = sa.select(sa.exists().where(c.source == source, c.content == content, c.rules == rules))
        with self._engine.connect() as connection:
            return bool(connection.execute(query).scalar())

    def book(self, source: str, path: str, stamp: str, load: Load) -> None:
        """Book a load: `path` now has this content, whose rows are staged and lines quarantined as `load` says.

        Raises:
            LedgerError: the counts do not add up.
        """
        if sum(load.days.values()) != load.landed:
            raise LedgerError(f"{path}: {load.landed} rows landed, but the days hold {sum(load.days.values())}")
        if load.lines != load.landed + load.blank + len(load.quarantined):
            raise LedgerError(
                f"{path}: {load.lines} lines read, but {load.landed} landed, {len(load.quarantined)} were quarantined "
                f"and {load.blank} are blank"
            )
        counts = {
            "rules": load.rules,
            "lines": load.lines,
            "landed": load.landed,
            "quarantined": len(load.quarantined),
            "blank": load.blank,
            "error": load.error,
        }
        with self._engine.begin() as connection:
            lock_source(connection, source)
            same = (files.c.source == source, files.c.content == load.content)
            connection.execute(sa.update(files).where(*same).values(**counts))
            of_before = sa.delete(staged).where(staged.c.source == source, staged.c.content == load.content)
            replaced = connection.execute(of_before.returning(staged.c.file)).scalars().all()
            connection.execute(
                sa.update(lake_files).where(lake_files.c.file.in_(replaced)).values(dropped_at=sa.func.now())
            )
            connection.execute(
                sa.delete(quarantine).where(quarantine.c.source == source, quarantine.c.content == load.content)
            )
            if load.days:
                names = {day: staged_path(source, day, load.content, load.rules) for day in load.days}
                new = insert(lake_files)
                listed = connection.execute(
                    new.on_conflict_do_update(
                        index_elements=["name"], set_={"rows": new.excluded.rows, "dropped_at": None}
                    ).returning(lake_files.c.name, lake_files.c.file),
                    [
                        {
                            "name": names[day],
                            "asset": f"staging/{source}",
                            "day": day,
                            "rows": rows,
                            "run_id": "",
                        }
                        for day, rows in load.days.items()
                    ],
                )
                numbers = {row.name: row.file for row in listed}
                connection.execute(
                    sa.insert(staged),
                    [
                        {
                            "source": source,
                            "content": load.content,
                            "event_date": day,
                            "rules": load.rules,
                            "rows": rows,
                            "file": numbers[names[day]],
                        }
                        for day, rows in sorted(load.days.items())
                    ],
                )
            _copy_quarantine(connection, source, load)
            _point(connection, source, path, stamp, {"content": load.content, **counts})

    def book_known(
        self, source: str, path: str, stamp: str, content: str, *, is_staged: Callable[[], bool] = lambda: True
    ) -> bool:
        """Book that `path` now has a content that was loaded before.

        Args:
            source: the source.
            path: path below landing.
            stamp: of the file.
            content: SHA-256 of the file's bytes, hex.
            is_staged: whether its rows are still there, asked when nobody can remove them any more.

        Returns:
            False, and nothing is booked, where they are not.
        """
        with self._engine.begin() as connection:
            lock_source(connection, source)
            if not is_staged():
                return False
            c = files.c
            row = connection.execute(
                sa.select(c.content, c.rules, c.lines, c.landed, c.quarantined, c.blank, c.error)
                .where(c.source == source, c.content == content)
                .limit(1)
            ).one()
            _point(connection, source, path, stamp, dict(row._mapping))
        return True

    @contextmanager
    def bookings_wait(self, source: str) -> Generator[None]:
        """Keep everybody from booking files of a source meanwhile."""
        with self._engine.begin() as connection:
            lock_source(connection, source)
            yield

    def staged_files(self, sources: Iterable[str], first: date, last: date) -> list[StagedFile]:
        """See `staged_files`."""
        with self._engine.connect() as connection:
            return staged_files(connection, sources, first, last)

    def staged_of(self, source: str, content: str) -> list[StagedFile]:
        """The staged files of one content, whether it counts or not."""
        s = staged.c
        query = sa.select(s.source, s.content, s.rules, s.event_date, s.rows).where(
            s.source == source, s.content == content
        )
        with self._engine.connect() as connection:
            return [StagedFile(*row) for row in connection.execute(query)]

    def paths(self, source: str, content: str) -> list[str]:
        """The paths below landing that a content was last seen under, in order."""
        f = files.c
        query = sa.select(f.path).where(f.source == source, f.content == content, f.newest).order_by(f.path)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def settled(self, source: str, contents_: Iterable[str], since: timedelta) -> set[str]:
        """Those of some contents of a source whose bookings have not changed for so long."""
        f = files.c
        recent = sa.select(f.content).where(f.source == source, f.booked_at > sa.func.now() - since)
        with self._engine.connect() as connection:
            return set(contents_) - set(connection.execute(recent).scalars())

    def read_again(self, source: str, contents_: Iterable[str]) -> None:
        """Mark contents to be read again, although neither they nor their declaration changed (a replay)."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(files)
                .where(files.c.source == source, files.c.content.in_(list(contents_)))
                .values(rules="replay", stamp="replay")
            )


def staged_files(connection: sa.Connection, sources: Iterable[str], first: date, last: date) -> list[StagedFile]:
    """The staged files that count for the days `first` to `last`, both included, in a fixed order."""
    s = staged.c
    query = (
        sa.select(s.source, s.content, s.rules, s.event_date, s.rows)
        .join_from(staged, files, (files.c.source == s.source) & (files.c.content == s.content))
        .where(files.c.state == "active", s.source.in_(list(sources)), s.event_date.between(first, last))
        .order_by(s.event_date, s.source, s.content)
    )
    return [StagedFile(*row) for row in connection.execute(query)]


def lock_source(connection: sa.Connection, source: str) -> None:
    """Serialise with all bookings of a source until the transaction ends."""
    # Bookings of one source are serialised: "the newest content of a path" must not be decided twice at once.
    key = sa.func.hashtextextended(f"{schema_of(connection)}.files/{source}", 0)
    lock = sa.select(sa.func.pg_try_advisory_xact_lock(key))
    what = f"another process that books files of {source}"
    take_turn(lambda: connection.execute(lock).scalar(), what, limit=_LOCK_LIMIT_SECONDS)


def _point(connection: sa.Connection, source: str, path: str, stamp: str, row: Mapping[str, object]) -> None:
    """Make a content the newest of a path and settle which bookings count."""
    f = files.c
    here = (f.source == source, f.path == path)
    touched = [row["content"]]
    superseded = (
        sa.update(files)
        .where(*here, f.newest, f.content != row["content"])
        .values(newest=False, state="superseded", booked_at=sa.func.now())
        .returning(f.content)
    )
    touched += connection.execute(superseded).scalars().all()
    values = {**row, "stamp": stamp, "newest": True, "state": "repeat", "booked_at": sa.func.now()}
    connection.execute(
        insert(files)
        .values(source=source, path=path, **values)
        .on_conflict_do_update(index_elements=["source", "path", "content"], set_=values)
    )
    candidates = (f.source == source, f.content.in_(touched), f.newest)
    connection.execute(
        sa.update(files).where(*candidates).values(state=sa.case((f.error.is_not(None), "unreadable"), else_="repeat"))
    )
    other = files.alias("other")
    first_path = (
        sa.select(sa.func.min(other.c.path))
        .where(other.c.source == f.source, other.c.content == f.content, other.c.newest)
        .scalar_subquery()
    )
    connection.execute(
        sa.update(files).where(*candidates, f.error.is_(None), f.path == first_path).values(state="active")
    )


def _copy_quarantine(connection: sa.Connection, source: str, load: Load) -> None:
    if not load.quarantined:
        return
    with connection.connection.cursor().copy(
        f"copy {schema_of(connection)}.quarantine (source, content, line, reason, rules, raw, bytes) from stdin"
    ) as copy:
        for bad in load.quarantined:
            copy.write_row((source, load.content, bad.line, bad.reason, load.rules, bad.raw, bad.length))
