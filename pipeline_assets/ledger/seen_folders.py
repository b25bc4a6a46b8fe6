"""Folders of landing in which nothing was pending when they were last listed.

As long as such a folder does not change, nothing was added to it, renamed into it or removed from it, and only the
files in it that may still be written to have to be looked at. Of an object store, whose folders have no times, only
those are remembered in which nothing new is expected. No row depends on it: what is not remembered is listed.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pipeline_assets.ledger.full_looks import Look, is_current, note_done
from pipeline_assets.ledger.schema import seen_folders

SETTLED_AFTER = timedelta(seconds=3)
"""How long after a change of a folder was seen it has to be listed again: file systems count times in up to two
seconds, so that a file may come after the listing and leave the folder's times as they are."""


@dataclass(frozen=True)
class SeenFolder:
    """What a look has seen of a folder.

    Attributes:
        folder: path below landing.
        stamp: inode and times when it was listed; in an object store a word that says that its days are over.
        folders: names of the folders in it that are looked into.
        watched: names of files in it that may still be written to.
        doubtful: the kind of table that it is, if it is one.
        unclaimed: how many files in it no source takes, where that was looked for.
        named: names of the first of those.
        settled: whether no file can have come after it was listed without a change of its times.
        since: when a look first saw this stamp, by the database's clock; None for now.
    """

    folder: str
    stamp: str
    folders: Collection[str] = ()
    watched: Collection[str] = ()
    doubtful: str | None = None
    unclaimed: int = 0
    named: Collection[str] = ()
    settled: bool = False
    since: datetime | None = None


_COLUMNS = ("folder", "stamp", "folders", "watched", "doubtful", "unclaimed", "named", "settled", "since")
_ROWS = 1000


class FolderMemory:
    """What the ledger remembers of folders in landing.

    Args:
        engine: the ledger.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def seen(self, source: str, asked: str) -> dict[str, SeenFolder]:
        """The folders of a source that are remembered, by path.

        Args:
            source: the source; empty for the look for files that no source takes.
            asked: digest of what is looked for; folders that were looked at for something else are left out.
        """
        s = seen_folders.c
        query = sa.select(*(s[name] for name in _COLUMNS)).where(s.source == source, s.asked == asked)
        with self._engine.connect() as connection:
            return {row.folder: SeenFolder(**row._mapping) for row in connection.execute(query)}

    def remember(self, source: str, asked: str, look: Look, seen: Iterable[SeenFolder]) -> None:
        """Remember folders, unless a full look was asked for since the look began, or one that began later has ended.

        That one may have found something pending in a folder in which there was nothing when this look was there. What
        it has found stays to be found until it is loaded, also by looks that are no full ones.

        Args:
            source: the source.
            asked: digest of what was looked for.
            look: the look; after a full one, which is noted as done with it, nothing else is remembered.
            seen: folders in which nothing is pending.
        """
        # In one order for all, so that two looks do not wait for each other.
        rows = [
            {"source": source, "asked": asked, **_values(each)} for each in sorted(seen, key=lambda each: each.folder)
        ]
        s = seen_folders.c
        if not rows and not look.is_full:
            return
        with self._engine.begin() as connection:
            if not is_current(connection, look):
                return
            if look.is_full:
                note_done(connection, look)
                connection.execute(sa.delete(seen_folders).where(s.source == source))
            new = insert(seen_folders)
            for start in range(0, len(rows), _ROWS):
                connection.execute(
                    new.values(rows[start : start + _ROWS]).on_conflict_do_update(
                        index_elements=["source", "folder"],
                        set_={name: new.excluded[name] for name in ("asked", *_COLUMNS[1:])},
                    )
                )


def _values(seen: SeenFolder) -> dict[str, object]:
    values = asdict(seen) | {name: list(getattr(seen, name)) for name in ("folders", "watched", "named")}
    return values | {"since": sa.func.clock_timestamp() if seen.since is None else seen.since}
