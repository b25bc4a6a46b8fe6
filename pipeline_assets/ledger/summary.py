"""What the ledger says of a source, in numbers: for checks, `status` and the exit code of `refresh`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from pipeline_assets.ledger.schema import IDENTIFIERS, builds, contents, event_days, files, quarantine, staged
from pipeline_assets.sources.declaration import Source


@dataclass(frozen=True)
class SourceSummary:
    """Counts over the files of a source that count.

    Attributes:
        files: files that count.
        repeats: further paths with equal content.
        superseded: bookings whose path has newer content.
        unreadable: files that cannot be read at all.
        lines: their lines; `lines = landed + quarantined + blank`.
        landed: rows staged.
        quarantined: lines in quarantine.
        blank: blank lines.
        late: staged rows that were first booked after the events of their day had been built.
        reasons: quarantined lines by reason.
        hours_since_newest: hours since the newest booking; None where there is none.
    """

    files: int
    repeats: int
    superseded: int
    unreadable: int
    lines: int
    landed: int
    quarantined: int
    blank: int
    late: int
    reasons: Mapping[str, int]
    hours_since_newest: float | None

    @property
    def late_share(self) -> float:
        """Late rows among the landed; 0 where there are none."""
        return self.late / max(self.landed, 1)


def is_silent(source: Source, found: SourceSummary) -> bool:
    """Whether longer than the source's declared bound no file of it was booked; never where none is declared."""
    bound = source.bounds.freshness_hours
    return bound is not None and (found.hours_since_newest is None or found.hours_since_newest > bound)


def summarise(engine: sa.Engine, source: str) -> SourceSummary:
    """Count the files, lines and reasons of a source."""
    f = files.c

    def state(name: str) -> sa.ColumnElement[int]:
        return sa.func.count().filter(f.state == name)

    def total(column: sa.Column[int]) -> sa.ColumnElement[int]:
        return sa.cast(sa.func.coalesce(sa.func.sum(column).filter(f.state == "active"), 0), sa.BigInteger)

    age = sa.func.extract("epoch", sa.func.now() - sa.func.max(f.booked_at)) / 3600
    counts = sa.select(
        state("active").label("files"),
        state("repeat").label("repeats"),
        state("superseded").label("superseded"),
        state("unreadable").label("unreadable"),
        total(f.lines).label("lines"),
        total(f.landed).label("landed"),
        total(f.quarantined).label("quarantined"),
        total(f.blank).label("blank"),
        sa.cast(age, sa.Float).label("hours_since_newest"),
    ).where(f.source == source)
    counted = (files.c.source == source) & (files.c.state == "active")
    late = (
        sa.select(sa.cast(sa.func.coalesce(sa.func.sum(staged.c.rows), 0), sa.BigInteger()))
        .join_from(staged, files, (f.source == staged.c.source) & (f.content == staged.c.content) & counted)
        .join(contents, contents.c.content == staged.c.content)
        .join(builds, (builds.c.asset == "events") & (builds.c.day == staged.c.event_date))
        .where(contents.c.first_booked_at > builds.c.first_built_at)
    )
    q = quarantine.c
    reasons = (
        sa.select(q.reason, sa.func.count().label("lines"))
        .join_from(quarantine, files, (f.source == q.source) & (f.content == q.content) & counted)
        .group_by(q.reason)
        .order_by(sa.func.count().desc(), q.reason)
    )
    with engine.connect() as connection:
        numbers: dict[str, Any] = dict(connection.execute(counts).mappings().one())
        return SourceSummary(
            **numbers,
            late=connection.execute(late).scalar_one(),
            reasons={row[0]: row[1] for row in connection.execute(reasons)},
        )


@dataclass(frozen=True)
class IdentifierSummary:
    """What the identifiers of some days look like; ids of several days are counted on each.

    Attributes:
        events: events of the days.
        ids_across: those whose id another property has on the same day.
        without_session_id: those in no session, as their tracker supplies the ids of sessions and gave none.
        strays: those in no session, as they came too long after its first event.
        orphan_pings: those in no session, as they are pings of a view of another session.
        anonymous_ids_across: anonymous ids that several properties have on a day.
        user_ids_across: likewise user ids.
    """

    events: int
    ids_across: int
    without_session_id: int
    strays: int
    orphan_pings: int
    anonymous_ids_across: int
    user_ids_across: int

    @property
    def across_share(self) -> float:
        """Events whose id another property has too among all; 0 where there are none."""
        return self.ids_across / max(self.events, 1)

    @property
    def unsessioned_share(self) -> float:
        """Events whose session id is missing or too old among all; 0 where there are none."""
        return (self.without_session_id + self.strays) / max(self.events, 1)


MOST_ACROSS = 0.01
"""Share of events with the id of an event of another property above which one feed may be delivered under two."""

MOST_UNSESSIONED = 0.05
"""Share of events without a session id that should have one, and of strays, above which sessions say little."""


def summarise_identifiers(engine: sa.Engine, days: Collection[date] | None = None) -> IdentifierSummary:
    """What the identifiers of some days look like; of all days by default."""
    names = ("events", "ids_across", *IDENTIFIERS)
    sums = (sa.cast(sa.func.coalesce(sa.func.sum(event_days.c[name]), 0), sa.BigInteger).label(name) for name in names)
    query = sa.select(*sums)
    if days is not None:
        query = query.where(event_days.c.event_date.in_(list(days)))
    with engine.connect() as connection:
        return IdentifierSummary(**connection.execute(query).mappings().one())
