"""What counts of each source and day, as sums that every booking keeps.

A booking changes the rows of a few contents. Their share of every sum is taken before and after, in the transaction
that books, and the difference is added: that costs what is booked, however much there is already. Now and then
everything is counted again, to tell whether a sum has gone wrong.

The fingerprint of a staged day is the sum of a digest of each content that has rows of the day and of the declaration
that read it: the same set has the same sum, in whatever order it came about.
"""

import hashlib
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pipeline_assets.digests import digest
from pipeline_assets.ledger.changed_days import OBSERVE, note
from pipeline_assets.ledger.schema import files, source_counts, source_reasons, staged_days, text

COUNTS = tuple(column.name for column in source_counts.c if column.name != "source")
"""What is counted of a source."""

_HALF = 1 << 64
_DAYS = """
    select s.event_date, s.late, sum(
        ('x' || encode(substr(d.digest, 1, 8), 'hex'))::bit(64)::bigint::numeric * 18446744073709551616
        + ('x' || encode(substr(d.digest, 9, 8), 'hex'))::bit(64)::bigint
    ) fingerprint, sum(s.rows)::bigint as rows, count(*) contents
    from ledger.staged s
    join ledger.files f on f.source = s.source and f.content = s.content and f.state = 'active'
    cross join lateral (select sha256(convert_to(s.content || '/' || s.declaration_version, 'UTF8')) digest) d
    where s.source = :source and {of}
    group by s.event_date, s.late
"""
_FILES = """
    select
        count(*) filter (where state = 'active') files,
        count(*) filter (where state = 'repeat') repeats,
        count(*) filter (where state = 'superseded') superseded,
        count(*) filter (where state = 'unreadable') unreadable,
        coalesce(sum(lines) filter (where state = 'active'), 0)::bigint lines,
        coalesce(sum(landed) filter (where state = 'active'), 0)::bigint landed,
        coalesce(sum(quarantined) filter (where state = 'active'), 0)::bigint quarantined,
        coalesce(sum(blank) filter (where state = 'active'), 0)::bigint blank
    from ledger.files f where f.source = :source and {of}
"""
_REASONS = """
    select q.reason, count(*) as lines
    from ledger.quarantine q
    join ledger.files f on f.source = q.source and f.content = q.content and f.state = 'active'
    where q.source = :source and {of}
    group by q.reason
"""
# A content never becomes late afterwards: the day's events are first built later than it was first booked, then.
_LATE = """
    update ledger.staged s set late = true from ledger.contents c, ledger.builds b
    where s.source = :source and s.content = any(:contents) and not s.late and c.content = s.content
        and b.asset = 'events' and b.day = s.event_date and c.first_booked_at > b.first_built_at
"""


@dataclass(frozen=True)
class Sums:
    """What is staged of a source and a day.

    Attributes:
        fingerprint: sum of the digests of its contents.
        rows: staged rows.
        contents: contents that have any.
    """

    fingerprint: int = 0
    rows: int = 0
    contents: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        """Both together."""
        return Sums(self.fingerprint + other.fingerprint, self.rows + other.rows, self.contents + other.contents)

    def __neg__(self) -> "Sums":
        """What takes them away."""
        return Sums(-self.fingerprint, -self.rows, -self.contents)


@dataclass(frozen=True)
class _Share:
    """What some contents of a source add to every sum.

    Attributes:
        days: of each day.
        counts: by name, those of `COUNTS`.
        reasons: quarantined lines by reason.
    """

    days: Mapping[date, Sums]
    counts: Mapping[str, int]
    reasons: Mapping[str, int]

    @property
    def changed_days(self) -> set[date]:
        """The days that it changes, if it is added to the sums."""
        return {day for day, sums in self.days.items() if sums != Sums()}

    def __add__(self, other: "_Share") -> "_Share":
        """Both together."""
        return _Share(
            {day: self.days.get(day, Sums()) + other.days.get(day, Sums()) for day in {**self.days, **other.days}},
            {name: self.counts[name] + other.counts[name] for name in COUNTS},
            {
                name: self.reasons.get(name, 0) + other.reasons.get(name, 0)
                for name in {**self.reasons, **other.reasons}
            },
        )

    def __neg__(self) -> "_Share":
        """What takes it away."""
        return _Share(
            {day: -sums for day, sums in self.days.items()},
            {name: -count for name, count in self.counts.items()},
            {reason: -lines for reason, lines in self.reasons.items()},
        )


@contextmanager
def counting(
    connection: sa.Connection, source: str, contents: Iterable[str], paths: Iterable[str] = ()
) -> Generator[None]:
    """Keep the sums of a source while bookings of some contents change, in the transaction that changes them.

    Args:
        connection: in a transaction that holds the lock of the source's bookings.
        source: the source.
        contents: the contents whose bookings, staged rows or quarantined lines change.
        paths: paths whose newest content changes; what they had before is among the contents then.
    """
    f = files.c
    before = sa.select(f.content).where(f.source == source, f.newest, f.path.in_(list(paths)))
    touched = {*contents, *connection.execute(before).scalars()}
    old = _share(connection, source, touched)
    yield
    connection.execute(text(connection, _LATE), {"source": source, "contents": list(touched)})
    change = _share(connection, source, touched) + -old
    _write(connection, source, _kept(connection, source, of=change) + change)
    note(connection, OBSERVE, source, change.changed_days)


def is_counted(connection: sa.Connection, source: str) -> bool:
    """Whether the sums of a source are what counting everything gives; in a transaction that reads one moment."""
    return _share(connection, source) == _kept(connection, source)


def recount(connection: sa.Connection, source: str) -> None:
    """Count everything of a source, in a transaction that holds the lock of its bookings."""
    right = _share(connection, source)
    forget_counts(connection, source)
    _write(connection, source, right)
    note(connection, OBSERVE, source, right.changed_days)


def forget_counts(connection: sa.Connection, source: str) -> None:
    """Remove the sums of a source, of which nothing is booked any more."""
    note(connection, OBSERVE, source, _kept(connection, source).changed_days)
    for table in (staged_days, source_counts, source_reasons):
        connection.execute(sa.delete(table).where(table.c.source == source))


def staged_rows(engine: sa.Engine, sources: Iterable[str], days: Iterable[date]) -> dict[date, int]:
    """Staged rows that count of some days; days without any are left out."""
    d = staged_days.c
    query = (
        sa.select(d.day, sa.cast(sa.func.sum(d.rows), sa.BigInteger()).label("rows"))
        .where(d.source.in_(list(sources)), d.day.in_(list(days)))
        .group_by(d.day)
    )
    with engine.connect() as connection:
        return {row.day: row.rows for row in connection.execute(query)}


def count_rows(engine: sa.Engine, source: str) -> int:
    """Staged rows of a source that count."""
    d = staged_days.c
    query = sa.select(sa.cast(sa.func.coalesce(sa.func.sum(d.rows), 0), sa.BigInteger())).where(d.source == source)
    with engine.connect() as connection:
        return connection.execute(query).scalar_one()


def count_contents(engine: sa.Engine, sources: Iterable[str]) -> int:
    """How many staged contents count, one of several days counted on each."""
    d = staged_days.c
    query = sa.select(sa.cast(sa.func.coalesce(sa.func.sum(d.contents), 0), sa.BigInteger()))
    with engine.connect() as connection:
        return connection.execute(query.where(d.source.in_(list(sources)))).scalar_one()


def source_fingerprint(engine: sa.Engine, source: str) -> str:
    """Fingerprint of all that is staged of a source, and of the declarations that read it."""
    d = staged_days.c
    query = sa.select(d.day, d.fingerprint).where(d.source == source).order_by(d.day)
    with engine.connect() as connection:
        return digest([f"{day}:{int(fingerprint)}" for day, fingerprint in connection.execute(query)])


def booked_fingerprints(engine: sa.Engine, sources: Iterable[str], first: date, last: date) -> dict[date, str]:
    """Fingerprint of what is staged of each of the days `first` to `last`, both included, as `fingerprints` has it."""
    return _booked(engine, sources, staged_days.c.day.between(first, last))


def fingerprints_of(engine: sa.Engine, sources: Iterable[str], days: Iterable[date]) -> dict[date, str]:
    """The same of any days; days of which nothing is staged are left out."""
    return _booked(engine, sources, staged_days.c.day.in_(list(days)))


def _booked(engine: sa.Engine, sources: Iterable[str], which: sa.ColumnElement[bool]) -> dict[date, str]:
    d = staged_days.c
    query = sa.select(d.day, d.source, d.fingerprint).where(d.source.in_(list(sources)), which)
    sums: dict[date, dict[str, int]] = {}
    with engine.connect() as connection:
        for day, source, fingerprint in connection.execute(query):
            sums.setdefault(day, {})[source] = int(fingerprint)
    return {day: _digest(by_source) for day, by_source in sums.items()}


def fingerprints(staged: Iterable[tuple[str, date, str, str]]) -> dict[date, str]:
    """Fingerprint of some staged contents of each day.

    Args:
        staged: source, day, content and version of the declaration of each.
    """
    sums: dict[date, dict[str, int]] = {}
    for source, day, content, version in staged:
        found = hashlib.sha256(f"{content}/{version}".encode()).digest()
        high, low = (int.from_bytes(found[at : at + 8], signed=True) for at in (0, 8))
        of_day = sums.setdefault(day, {})
        of_day[source] = of_day.get(source, 0) + high * _HALF + low
    return {day: _digest(by_source) for day, by_source in sums.items()}


def _digest(sums: Mapping[str, int]) -> str:
    return digest([f"{source}:{sums[source]}" for source in sorted(sums)])


def _share(connection: sa.Connection, source: str, contents: Collection[str] | None = None) -> _Share:
    """What some contents of a source add to every sum; all of them by default."""
    found = [
        # Not one query for both, which could be planned for either only.
        connection.execute(
            text(connection, query.format(of="true" if contents is None else f"{table}.content = any(:contents)")),
            {"source": source, **({} if contents is None else {"contents": list(contents)})},
        )
        for query, table in ((_DAYS, "s"), (_FILES, "f"), (_REASONS, "q"))
    ]
    days: dict[date, Sums] = {}
    late = 0
    for day, is_late, *numbers in found[0]:
        sums = Sums(*map(int, numbers))
        days[day] = days.get(day, Sums()) + sums
        late += sums.rows if is_late else 0
    return _Share(days, {**found[1].mappings().one(), "late": late}, {row.reason: row.lines for row in found[2]})


def _kept(connection: sa.Connection, source: str, of: _Share | None = None) -> _Share:
    """The sums of a source as they are kept, of some days and reasons; of all by default."""
    d, c, r = staged_days.c, source_counts.c, source_reasons.c
    of_days = sa.select(d.day, d.fingerprint, d.rows, d.contents).where(d.source == source)
    of_reasons = sa.select(r.reason, r.lines).where(r.source == source)
    if of is not None:
        of_days = of_days.where(d.day.in_(list(of.days)))
        of_reasons = of_reasons.where(r.reason.in_(list(of.reasons)))
    counts = connection.execute(sa.select(*(c[name] for name in COUNTS)).where(c.source == source)).mappings().first()
    return _Share(
        {day: Sums(*map(int, sums)) for day, *sums in connection.execute(of_days)},
        dict(counts) if counts else dict.fromkeys(COUNTS, 0),
        {row.reason: row.lines for row in connection.execute(of_reasons)},
    )


def _write(connection: sa.Connection, source: str, share: _Share) -> None:
    """Keep these sums of a source; days and reasons of which nothing is left go."""
    d, r = staged_days.c, source_reasons.c
    if gone := [day for day, sums in share.days.items() if not sums.contents]:
        connection.execute(sa.delete(staged_days).where(d.source == source, d.day.in_(gone)))
    if gone := [reason for reason, lines in share.reasons.items() if not lines]:
        connection.execute(sa.delete(source_reasons).where(r.source == source, r.reason.in_(gone)))
    for table, rows in (
        (staged_days, [{"day": day, **asdict(sums)} for day, sums in share.days.items() if sums.contents]),
        (source_reasons, [{"reason": reason, "lines": lines} for reason, lines in share.reasons.items() if lines]),
        (source_counts, [dict(share.counts)]),
    ):
        if rows:
            new = insert(table)
            kept = new.on_conflict_do_update(
                index_elements=[column.name for column in table.primary_key],
                set_={name: new.excluded[name] for name in rows[0] if not table.c[name].primary_key},
            )
            connection.execute(kept, [{"source": source, **row} for row in rows])
