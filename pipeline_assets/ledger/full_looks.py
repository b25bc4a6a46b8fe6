"""When each part of a deployment was last looked at as a whole.

Looking costs what has changed since the last look: folders that have not changed are not listed, and what the ledger
says is there is taken to be there. So that nothing is missed that leaves no trace (an old file that was rewritten in
place, a file of the lake that was removed), everything is looked at now and then, and when somebody asks for it. This
is the one notion of it; what a part is, and what looking at it means, those say who look.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pipeline_assets.ledger.schema import full_looks

UNCLAIMED = "landing"
"""The part that is looked at for files that no source takes."""
LAKE = "lake"
"""The part that is what the ledger lists of the lake."""


def landing_part(source: str) -> str:
    """The part that is what lies in landing of a source."""
    return f"landing/{source}"


def views_part(source: str) -> str:
    """The part that is the view of a source for people who explore its staged rows."""
    return f"views/{source}"


def ledger_part(source: str) -> str:
    """The part that is what the ledger counts of a source."""
    return f"ledger/{source}"


@dataclass(frozen=True)
class Look:
    """A look at a part that has begun.

    Attributes:
        part: what is looked at.
        is_full: whether everything has to be looked at.
        asked: how often a full look had been asked for by then.
        began: when, by the database's clock.
    """

    part: str
    is_full: bool
    asked: int
    began: datetime


class FullLooks:
    """The ledger's notes of full looks.

    Args:
        engine: the ledger.
        every: how long after one the next is due.
    """

    def __init__(self, engine: sa.Engine, every: timedelta) -> None:
        self._engine = engine
        self._every = every

    def begin(self, part: str) -> Look:
        """Begin to look at a part; if the look is a full one, say `done` when it has come to its end."""
        f = full_looks.c
        now = sa.func.clock_timestamp()
        # Of a clock that was set back, what was done in the future says nothing.
        is_due = sa.or_(f.done_at.is_(None), f.done_at <= now - self._every, f.done_at > now)
        query = sa.select(f.asked, is_due.label("is_due"), now.label("now")).where(f.part == part)
        new = insert(full_looks).values(part=part, asked=0).on_conflict_do_nothing()
        with self._engine.connect() as connection:
            found = connection.execute(query).one_or_none()
            if found is None:
                # There from here on, so that whoever asks for a look meanwhile is not overheard.
                connection.execute(new)
                connection.commit()
                found = connection.execute(query).one()
        return Look(part, found.is_due, found.asked, found.now)

    def done(self, look: Look) -> None:
        """Note that a full look has come to its end, unless another was asked for meanwhile."""
        with self._engine.begin() as connection:
            note_done(connection, look)

    def ask(self) -> None:
        """Let everything be looked at as a whole next time."""
        with self._engine.begin() as connection:
            ask_for_all(connection)


def ask(connection: sa.Connection, part: str) -> None:
    """Let a part be looked at as a whole next time; in the transaction that makes that necessary."""
    # A look that begins at this moment waits for the end of the transaction, or is told by it.
    new = insert(full_looks).values(part=part, asked=1)
    again = {"asked": full_looks.c.asked + 1, "done_at": None}
    connection.execute(new.on_conflict_do_update(index_elements=["part"], set_=again))


def ask_for_all(connection: sa.Connection) -> None:
    """Let everything be looked at as a whole next time; in the transaction that makes that necessary."""
    connection.execute(sa.update(full_looks).values(asked=full_looks.c.asked + 1, done_at=None))


def note_done(connection: sa.Connection, look: Look) -> None:
    """Note that a full look has come to its end, unless another was asked for meanwhile: with what the look leaves."""
    f = full_looks.c
    done = sa.update(full_looks).where(f.part == look.part, f.asked == look.asked)
    connection.execute(done.values(done_at=look.began))


def is_current(connection: sa.Connection, look: Look) -> bool:
    """Whether no full look was asked for since a look began, and none that began later has come to its end.

    Until the transaction ends, neither can be.
    """
    f = full_looks.c
    # Of a clock that was set back, what was done in the future says nothing.
    is_overtaken = sa.and_(f.done_at > look.began, f.done_at <= sa.func.clock_timestamp())
    is_current = sa.and_(f.asked == look.asked, is_overtaken.is_not(True))
    # Who looks at everything changes the row before the transaction ends.
    query = sa.select(is_current).where(f.part == look.part).with_for_update(read=not look.is_full)
    return bool(connection.execute(query).scalar_one_or_none())


def forget(connection: sa.Connection, source: str) -> None:
    """Remove the notes of a source, of which nothing is booked any more."""
    parts = [part(source) for part in (landing_part, views_part, ledger_part)]
    connection.execute(sa.delete(full_looks).where(full_looks.c.part.in_(parts)))
