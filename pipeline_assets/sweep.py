"""The store against the catalogue: what no list names goes in time, and what is listed and not there is found.

A file is removed only when nobody can read or list it any more: it was dropped longer than `GRACE` ago, or it was
written longer ago than that and never listed, which no run may do so late. The catalogue forgets a file first and its
bytes go after that: killed in between, the bytes are a file that was never listed.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from pipeline_assets.ledger.catalogue import GRACE, LakeFile, listed_by_name
from pipeline_assets.ledger.schema import lake_files, staged
from pipeline_assets.storage.store import DRAFTS, Stat, Store, TooLongError

_PORTION = 1000
_DAY = r"\d{4}-\d\d-\d\d"
_OURS = re.compile(
    rf"""
    (staging/)? [^/]+ / ({_DAY}/)? [0-9a-f]{{32}}\.parquet          # what this version writes
    | [^/]+ / ([^/=]+={_DAY}/)? part\.parquet                       # tables of versions without a catalogue
    | staging/[^/]+/event_date={_DAY}/[0-9a-f]{{64}}-[^/]+\.parquet # staged files of theirs
    """,
    re.VERBOSE,
)
"""Names that this software gives to files of the lake; anything else there is somebody's own and stays."""


@dataclass(frozen=True)
class Inspection:
    """What a look at all of the store has found.

    Attributes:
        lost: listed files that are not there, or have another size than the one they were listed with.
        strays: names of files that no list ever named and that nobody can list any more, half-written ones too.
    """

    lost: tuple[LakeFile, ...]
    strays: tuple[str, ...]


def remove_dropped(engine: sa.Engine, store: Store) -> int:
    """Remove files that were dropped longer ago than any run may read them; how many. Costs what is removed."""
    removed = 0
    while names := _forget(engine):
        store.delete(names)
        removed += len(names)
    return removed


def inspect(engine: sa.Engine, store: Store, *, seconds: float | None = None) -> Inspection:
    """Compare all that is listed with all that is there; nothing is changed.

    Both are read in the order of their names, so that memory does not grow with the history.

    Args:
        engine: the ledger.
        store: the lake's.
        seconds: how long it may take; as long as it does by default.

    Raises:
        TooLongError: it took longer.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    with engine.connect() as connection:
        now = connection.execute(sa.select(sa.func.now())).scalar_one()
        missing: list[str] = []
        unknown: list[str] = []
        for name, known, found in _side_by_side(connection, store):
            if deadline is not None and time.monotonic() > deadline:
                raise TooLongError
            if found is None or (known is not None and known.size not in (None, found.size)):
                missing.append(name)
            elif known is None and _OURS.fullmatch(name) and now - found.modified > GRACE:
                unknown.append(name)
        unknown += [draft.name for draft in store.list(f"{DRAFTS}/") if now - draft.modified > GRACE]
    return Inspection(tuple(_surely_lost(engine, store, missing)), tuple(_never_listed(engine, unknown)))


def remove_strays(store: Store, inspection: Inspection) -> int:
    """Remove what no list ever named; how many."""
    store.delete(inspection.strays)
    return len(inspection.strays)


@dataclass(frozen=True)
class _Known:
    size: int | None
    is_listed: bool


def _forget(engine: sa.Engine) -> list[str]:
    """Let the catalogue forget some files that were dropped long ago."""
    f = lake_files.c
    # What holds rows that count is read, whatever a list says.
    used = sa.exists().where(staged.c.file == f.file)
    old = (
        sa.select(f.file, f.name)
        .where(f.dropped_at < sa.func.now() - GRACE, ~used)
        .order_by(f.dropped_at)
        .limit(_PORTION)
        # Another process may be doing the same.
        .with_for_update(skip_locked=True)
    )
    with engine.begin() as connection:
        found = connection.execute(old).all()
        numbers = [row.file for row in found]
        connection.execute(sa.delete(lake_files).where(f.file.in_(numbers)))
    return [row.name for row in found]


def _side_by_side(connection: sa.Connection, store: Store) -> Iterator[tuple[str, _Known | None, Stat | None]]:
    """Every name that is in the catalogue or the store, with what each of them knows of it.

    A file that is known and not listed any more may be there or not.
    """
    f = lake_files.c
    # By code points, as stores have it.
    query = sa.select(f.name, f.bytes, f.dropped_at).order_by(f.name.collate("C"))
    rows = connection.execution_options(yield_per=10_000).execute(query)
    known = ((name, _Known(size, dropped is None)) for name, size, dropped in rows)
    there = ((stat.name, stat) for stat in store.list())
    one, other = next(known, None), next(there, None)
    while one or other:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None  # noqa: S101
            if one[1].is_listed:
                yield one[0], one[1], None
            one = next(known, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(there, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(known, None), next(there, None)


def _surely_lost(engine: sa.Engine, store: Store, names: list[str]) -> Iterator[LakeFile]:
    """Those that are still listed and still not there: a file may have been written or dropped meanwhile."""
    for start in range(0, len(names), _PORTION):
        with engine.connect() as connection:
            listed = listed_by_name(connection, names[start : start + _PORTION])
        for file in listed:
            stat = store.stat(file.name)
            if stat is None or file.bytes not in (None, stat.size):
                yield file


def _never_listed(engine: sa.Engine, names: list[str]) -> Iterator[str]:
    """Those that have not been listed meanwhile."""
    for start in range(0, len(names), _PORTION):
        some = names[start : start + _PORTION]
        with engine.connect() as connection:
            query = sa.select(lake_files.c.name).where(lake_files.c.name.in_(some))
            known = set(connection.execute(query).scalars())
        yield from (name for name in some if name not in known)
