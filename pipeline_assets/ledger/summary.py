"""What the ledger says of a source, in numbers: for checks, `status` and the exit code of `refresh`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from pipeline_assets.ledger.counting import COUNTS
from pipeline_assets.ledger.schema import IDENTIFIERS, event_days, files, source_counts, source_reasons
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
        late: staged rows that were first booked after their day was over and its events had been built.
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
    """The counts that are kept of a source; see `counting`."""
    f, c, r = files.c, source_counts.c, source_reasons.c
    age = sa.func.extract("epoch", sa.func.now() - sa.func.max(f.booked_at)) / 3600
    newest = sa.select(sa.cast(age, sa.Float())).where(f.source == source)
    counts = sa.select(*(c[name] for name in COUNTS)).where(c.source == source)
    reasons = sa.select(r.reason, r.lines).where(r.source == source).order_by(r.lines.desc(), r.reason)
    with engine.connect() as connection:
        numbers = connection.execute(counts).mappings().first() or dict.fromkeys(COUNTS, 0)
        return SourceSummary(
            **numbers,
            reasons={row.reason: row.lines for row in connection.execute(reasons)},
            hours_since_newest=connection.execute(newest).scalar_one(),
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
