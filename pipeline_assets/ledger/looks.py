"""What loads and builds have found out besides: the raw columns of a source's files, and the names of events.

For people who look for a mistake in a declaration or a change in what is delivered. No row depends on any of it, so it
is neither taken back when a file is superseded nor told in the order of the files.
"""

import logging
from collections.abc import Collection
from datetime import datetime
from threading import Lock

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from pipeline_assets.key_texts import key_text
from pipeline_assets.ledger.schema import event_names, looks, raw_columns
from pipeline_assets.sources.raw_columns import KnownColumn, KnownColumns, Seen
from pipeline_assets.sources.records.look import Look

logger = logging.getLogger(__name__)

MOST_EVENT_NAMES = 10_000
"""Names that are remembered; with more of them they are data, and none is called unknown any more."""


def known_columns(engine: sa.Engine, source: str) -> KnownColumns:
    """What is remembered of the raw columns of a source."""
    r = raw_columns.c
    with engine.connect() as connection:
        found = connection.execute(sa.select(looks).where(looks.c.source == source)).one_or_none()
        rows = connection.execute(sa.select(raw_columns).where(r.source == source)).all()
    columns = {
        row.name: KnownColumn(
            {kind: Seen(seen["path"], datetime.fromisoformat(seen["load"])) for kind, seen in row.types.items()},
            row.constant,
            Seen(row.gone_path, row.gone_load) if row.gone_path is not None else None,
        )
        for row in rows
    }
    if found is None:
        return KnownColumns(columns)
    return KnownColumns(columns, found.first_load, found.declaration_version, frozenset(found.filled))


class Observer:
    """Remembers what the files of one source have while they are loaded, and writes down only what is new.

    Args:
        engine: the ledger.
        source: the source.
        declaration_version: version of its declaration.
    """

    def __init__(self, engine: sa.Engine, source: str, declaration_version: str) -> None:
        self._engine = engine
        self._source = source
        self._declaration_version = declaration_version
        self._lock = Lock()
        self._known = known_columns(engine, source)
        with engine.connect() as connection:
            self._load: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()

    def note(self, path: str, look: Look | None, filled: Collection[str]) -> None:
        """Write down what a file has.

        Args:
            path: path below landing.
            look: its raw columns, if it was looked at.
            filled: the columns of the event contract that have a value in any of its rows.
        """
        with self._lock:
            known = self._known
            filled_before = known.filled if known.declaration_version == self._declaration_version else frozenset()
            after = filled_before | frozenset(filled)
            is_new = (
                known.since is None or known.declaration_version != self._declaration_version or after != filled_before
            )
            names = known.note(look, Seen(path, self._load)) if look else set()
            known.since = known.since or self._load
            known.declaration_version, known.filled = self._declaration_version, after
            if is_new or names:
                try:
                    self._write(names)
                except SQLAlchemyError as error:
                    # The file is booked, and no row depends on this.
                    logger.warning("What %s has could not be written down: %s.", path, type(error).__name__)

    def _write(self, names: Collection[str]) -> None:
        known = self._known
        with self._engine.begin() as connection:
            values = {"declaration_version": known.declaration_version, "filled": sorted(known.filled)}
            connection.execute(
                insert(looks)
                .values(source=self._source, first_load=known.since, **values)
                .on_conflict_do_update(index_elements=["source"], set_=values)
            )
            rows = [_row(self._source, name, known.columns[name]) for name in sorted(names)]
            if rows:
                new = insert(raw_columns).values(rows)
                connection.execute(
                    new.on_conflict_do_update(
                        index_elements=["source", "name"],
                        set_={
                            # What another worker has written meanwhile stays.
                            "types": new.excluded.types.op("||")(raw_columns.c.types),
                            "constant": new.excluded.constant & raw_columns.c.constant,
                            "gone_path": new.excluded.gone_path,
                            "gone_load": new.excluded.gone_load,
                        },
                    )
                )


def _row(source: str, name: str, column: KnownColumn) -> dict[str, object]:
    return {
        "source": source,
        "name": name,
        "types": {kind: {"path": seen.path, "load": seen.load.isoformat()} for kind, seen in column.types.items()},
        "constant": column.constant,
        "gone_path": column.gone.path if column.gone else None,
        "gone_load": column.gone.load if column.gone else None,
    }


def known_event_names(engine: sa.Engine) -> set[str] | None:
    """The names that events ever had; None where they are too many to be known."""
    with engine.connect() as connection:
        names = set(connection.execute(sa.select(event_names.c.name)).scalars())
    return names if len(names) < MOST_EVENT_NAMES else None


def book_event_names(connection: sa.Connection, names: Collection[str]) -> None:
    """Remember names of events."""
    known = connection.execute(sa.select(sa.func.count()).select_from(event_names)).scalar_one()
    if names and known < MOST_EVENT_NAMES:
        # A name that is longer than a key may be is cut like in a key; nobody declares such a one.
        rows = [{"name": name} for name in sorted(set(map(key_text, names)))[:MOST_EVENT_NAMES]]
        connection.execute(insert(event_names).on_conflict_do_nothing(), rows)
