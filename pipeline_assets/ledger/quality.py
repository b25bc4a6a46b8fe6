"""How much of a source's files is broken, and which files: for checks, sensors, `status` and `refresh`'s exit code.

One rule for all of them. Beyond its bound is a source

- as long as a file cannot be read at all, and is there;
- if more of all its lines than the declared share is in quarantine;
- for a week after it was booked, if more than that share of one file is, or of all files booked on one day, so that a
  small broken file in a long history is seen. Beyond it is then what chance does not explain: by three standard
  deviations of a file whose lines are broken with the declared probability and by more than a line or two, or wholly.

A file whose content was superseded does not count any more.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipeline_assets.ledger.schema import files, quarantine, source_counts
from pipeline_assets.words import counted

LATELY = timedelta(days=7)
"""How long a file is told of that is broken beyond the bound while the source as a whole is not."""
FEW = 2
"""Quarantined lines that say nothing of a file which has good ones too."""
DEVIATIONS = 3
"""How many standard deviations beyond the bound a file is that is called broken."""
SHOWN_FILES = 10
_SHOWN_REASONS = 3
_NAMED_FILES = 3


@dataclass(frozen=True)
class Lines:
    """Lines that were read, of a file or of several.

    Attributes:
        lines: those that are not blank.
        quarantined: of these, those in quarantine.
    """

    lines: int = 0
    quarantined: int = 0

    @property
    def share(self) -> float:
        """Quarantined lines among all; 0 where there are none."""
        return self.quarantined / max(self.lines, 1)

    def __add__(self, other: "Lines") -> "Lines":
        """Both together."""
        return Lines(self.lines + other.lines, self.quarantined + other.quarantined)

    def __str__(self) -> str:
        """For people."""
        return f"{self.quarantined:,} of {self.lines:,} lines are in quarantine ({self.share:.1%})"


@dataclass(frozen=True)
class BookedLines:
    """The lines of a file that counts, or cannot be read.

    Attributes:
        path: path below landing.
        content: SHA-256 of its bytes.
        found: its lines.
        booked_at: when it was booked.
        error: why it cannot be read, if it cannot.
        reasons: its quarantined lines by reason, the most frequent first; empty where nobody asked.
    """

    path: str
    content: str
    found: Lines
    booked_at: datetime
    error: str | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def explained(self) -> str:
        """What is wrong, in words and without any of the data."""
        if self.error is not None:
            return f"cannot be read: {self.error}"
        first = [f"{reason}: {count:,}" for reason, count in list(self.reasons.items())[:_SHOWN_REASONS]]
        left = len(self.reasons) - _SHOWN_REASONS
        more = [counted(left, "more reason")] if left > 0 else []
        return f"{self.found}" + (f": {'; '.join([*first, *more])}" if first else "")


@dataclass(frozen=True)
class Quality:
    """What is broken of a source.

    Attributes:
        bound: the declared share of lines in quarantine.
        found: all its lines that count.
        broken: files that cannot be read, or are beyond the bound and were booked lately, the worst first.
        days: days of booking that are beyond the bound, lately, and their lines.
        worst: the files to look at first, whether or not they are broken.
    """

    bound: float
    found: Lines
    broken: Sequence[BookedLines] = ()
    days: Mapping[date, Lines] = field(default_factory=dict)
    worst: Sequence[BookedLines] = ()

    @property
    def is_beyond(self) -> bool:
        """Whether the source is beyond its bound."""
        return bool(self.causes)

    @property
    def causes(self) -> list[str]:
        """Why it is beyond its bound, a line each; empty where it is not."""
        bound = f"beyond the bound of {self.bound:.1%}"
        named = {file.path: file for file in self.worst}
        found = [f"{file.path}: {named.get(file.path, file).explained}" for file in self.broken[:_NAMED_FILES]]
        if len(self.broken) > _NAMED_FILES:
            found.append(counted(len(self.broken) - _NAMED_FILES, "more broken file"))
        if self.found.share > self.bound:
            found.append(f"{self.found}, {bound}")
        if not found:
            found += [f"of the files booked on {day}: {lines}, {bound}" for day, lines in self.days.items()]
        return found


def is_beyond(found: Lines, bound: float) -> bool:
    """Whether lines are more broken than declared, and that is no matter of chance: of few lines some may be worse."""
    expected = bound * found.lines
    chance = max(expected + DEVIATIONS * math.sqrt(expected * (1 - bound)), FEW)
    return found.share > bound and (found.quarantined > chance or found.quarantined == found.lines)


def judged(found: Lines, recent: Iterable[BookedLines], *, bound: float, worst: Sequence[BookedLines] = ()) -> Quality:
    """The quality of a source.

    Args:
        found: all its lines that count.
        recent: its files that were booked lately, and all that cannot be read.
        bound: the declared share.
        worst: the files with the most quarantined lines.
    """
    recent = list(recent)
    by_day: dict[date, Lines] = {}
    for file in recent:
        if file.error is None:
            day = file.booked_at.astimezone(UTC).date()
            by_day[day] = by_day.get(day, Lines()) + file.found
    broken = sorted(
        (file for file in recent if file.error is not None or is_beyond(file.found, bound)),
        key=lambda file: (file.error is None, -file.found.quarantined, file.path),
    )
    days = {day: lines for day, lines in sorted(by_day.items()) if is_beyond(lines, bound)}
    names = {file.path for file in broken}
    shown = [*broken, *(file for file in worst if file.path not in names)][:SHOWN_FILES]
    return Quality(bound, found, broken, days, shown)


def quality(engine: sa.Engine, source: str, bound: float, *, is_there: Callable[[str], bool]) -> Quality:
    """The quality of a source as it is now.

    Args:
        engine: the ledger.
        source: the source.
        bound: the share of its lines that may be in quarantine.
        is_there: whether a path below landing is still there. A file that cannot be read has given no rows, so whoever
            takes it away has mended it.
    """
    f, c = files.c, source_counts.c
    mine = f.source == source
    lines = f.lines - f.blank

    columns = (f.path, f.content, lines, f.quarantined, f.booked_at, f.error)
    # Each of the three by an index of its own, which the ledger has for this.
    unreadable = sa.select(*columns).where(mine, f.state == "unreadable")
    lately = sa.select(*columns).where(mine, f.state == "active", f.booked_at > sa.func.now() - LATELY)
    most = (
        sa.select(*columns)
        .where(mine, f.state == "active", f.quarantined > 0)
        .order_by(f.quarantined.desc(), f.path.desc())
        .limit(SHOWN_FILES)
    )
    with engine.connect() as connection:
        kept = connection.execute(sa.select(c.lines - c.blank, c.quarantined).where(c.source == source)).one_or_none()
        found = Lines(*kept) if kept else Lines()
        recent, worst = (
            [_file(row) for row in connection.execute(query)] for query in (unreadable.union_all(lately), most)
        )
        recent = [file for file in recent if file.error is None or is_there(file.path)]
        judgement = judged(found, recent, bound=bound, worst=worst)
        reasons = _reasons(connection, source, [file.content for file in judgement.worst])
    explained = [replace(file, reasons=reasons.get(file.content, {})) for file in judgement.worst]
    return replace(judgement, worst=explained)


def _file(row: Sequence[Any]) -> BookedLines:
    path, content, lines, quarantined, booked_at, error = row
    return BookedLines(path, content, Lines(lines, quarantined), booked_at, error)


def _reasons(connection: sa.Connection, source: str, contents: Sequence[str]) -> dict[str, dict[str, int]]:
    """The quarantined lines of some contents by reason, the most frequent first."""
    q = quarantine.c
    query = (
        sa.select(q.content, q.reason, sa.func.count().label("lines"))
        .where(q.source == source, q.content.in_(contents))
        .group_by(q.content, q.reason)
        .order_by(sa.func.count().desc(), q.reason)
    )
    found: dict[str, dict[str, int]] = {}
    for content, reason, lines in connection.execute(query):
        found.setdefault(content, {})[reason] = lines
    return found
