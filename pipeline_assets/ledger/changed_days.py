"""Days of staging that have changed, and what is to be done about it.

The transaction that changes a day notes it, once for each task, and whoever has done the task takes the note away, if
the day has not changed again meanwhile. So nothing that was killed, failed or had no time is forgotten, and to learn
that there is nothing to do costs a look at an empty table, however long the history is.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from pipeline_assets.ledger.schema import changed_days

COMPACT = "compact"
"""The task to compact the staged files of a day: they are others, or other rows of them count."""
OBSERVE = "observe"
"""The task to tell Dagster the version of a day: other contents count, or were read by other declarations."""


@dataclass(frozen=True)
class ChangedDay:
    """A day of a source that has changed.

    Attributes:
        source: the source.
        day: the day.
        changed_at: when it last did, by the database's clock.
    """

    source: str
    day: date
    changed_at: datetime


def note(connection: sa.Connection, task: str, source: str, days: Collection[date]) -> None:
    """Note that days of a source have changed, in the transaction that changes them."""
    if not days:
        return
    # In order, so that two transactions do not wait for each other. One value however many days there are.
    each = sa.func.unnest(sa.bindparam("days", sorted(days), ARRAY(sa.Date)))
    rows = sa.select(sa.literal(task), sa.literal(source), each, sa.func.clock_timestamp())
    new = insert(changed_days).from_select([column.name for column in changed_days.c], rows)
    key = [column.name for column in changed_days.primary_key]
    connection.execute(new.on_conflict_do_update(index_elements=key, set_={"changed_at": new.excluded.changed_at}))


def noted(connection: sa.Connection, task: str, most: int) -> Sequence[ChangedDay]:
    """The days for which a task is to be done, those that changed first; so many at most."""
    c = changed_days.c
    query = sa.select(c.source, c.day, c.changed_at).where(c.task == task).order_by(c.changed_at).limit(most)
    return [ChangedDay(*row) for row in connection.execute(query)]


def sources_of(connection: sa.Connection, task: str) -> list[str]:
    """The sources that have such days, in order."""
    c = changed_days.c
    query = sa.select(c.source).distinct().where(c.task == task).order_by(c.source)
    return list(connection.execute(query).scalars())


def done(connection: sa.Connection, task: str, days: Iterable[ChangedDay]) -> None:
    """Take the notes of some days away, unless a day has changed again."""
    days = list(days)
    c = changed_days.c
    given = (
        sa.func.unnest(
            sa.bindparam("sources", [each.source for each in days], ARRAY(sa.Text)),
            sa.bindparam("days", [each.day for each in days], ARRAY(sa.Date)),
            sa.bindparam("moments", [each.changed_at for each in days], ARRAY(sa.TIMESTAMP(timezone=True))),
        )
        .table_valued("source", "day", "changed_at")
        .render_derived("given")
    )
    same = (c.source == given.c.source) & (c.day == given.c.day) & (c.changed_at == given.c.changed_at)
    # What somebody is changing at the moment is not waited for: it has to be done again anyway.
    unchanged = (
        sa.select(c.source, c.day)
        .join_from(changed_days, given, same)
        .where(c.task == task)
        .with_for_update(of=changed_days, skip_locked=True)
    )
    if days:
        connection.execute(sa.delete(changed_days).where(c.task == task, sa.tuple_(c.source, c.day).in_(unchanged)))


def forget(connection: sa.Connection, task: str, source: str) -> None:
    """Take away all notes of a source: of it nothing is there any more."""
    c = changed_days.c
    connection.execute(sa.delete(changed_days).where(c.task == task, c.source == source))
