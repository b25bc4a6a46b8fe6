"""The catalogue: which files of the lake count, and what is known of them.

A file is immutable, has a name that nothing else ever has, and counts from the transaction that lists it until the one
that drops it. Whoever writes puts the file into the store first, durably, and then exchanges the list of some days in
the transaction that books everything else about them. Whoever reads takes lists and never looks into a folder. A file
that is dropped, or was never listed, stays in the store until the sweep: longer than any run that may still read it.

A day without files is a day without rows, or one that was never built: which of the two, `builds` knows. A day whose
listed files are not in the store has lost its rows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from pipeline_assets.ledger.schema import lake_files, staged
from pipeline_assets.planning import STAGING

GRACE = timedelta(days=2)
"""How long a file stays in the store that no list names; longer than any run, see `ledger.builds.LONGEST_RUN`."""


@dataclass(frozen=True)
class LakeFile:
    """A file of the lake.

    Attributes:
        name: below the lake's root.
        asset: the table, or `staging/<source>`.
        day: the day of its rows; `UNPARTITIONED` (0001-01-01) of a table without partitions.
        rows: number of rows.
        bytes: size; None where a version wrote it that did not tell.
    """

    name: str
    asset: str
    day: date
    rows: int
    bytes: int | None = None


DayFiles = Mapping[date, Sequence[LakeFile]]
"""The listed files of each day of an asset that has any, in order of the days and of the files' names."""

Snapshot = Mapping[str, DayFiles]
"""The same of several assets, as they were at one moment."""

_COLUMNS = ("name", "asset", "day", "rows", "bytes")
_IS_LISTED = lake_files.c.dropped_at.is_(None)


def snapshot(connection: sa.Connection, wanted: Mapping[str, Collection[date] | None]) -> dict[str, DayFiles]:
    """The lists of some days of several assets, as of one moment.

    Args:
        connection: to the ledger.
        wanted: days by asset; None for all days.
    """
    found: dict[str, dict[date, list[LakeFile]]] = {asset: {} for asset in wanted}
    if wanted:
        # One statement, so that all lists are of one moment whatever the isolation level is.
        of_assets = (_listed(asset, days) for asset, days in wanted.items())
        query = sa.union_all(*of_assets).order_by("asset", "day", "name")
        for row in connection.execute(query):
            found[row.asset].setdefault(row.day, []).append(LakeFile(**row._mapping))
    return dict(found)


def listed_by_name(connection: sa.Connection, names: Collection[str]) -> list[LakeFile]:
    """Those of some files that are listed, in order of their names."""
    named = lake_files.c.name == sa.any_(sa.bindparam(None, list(names), ARRAY(sa.Text)))
    query = sa.select(*(lake_files.c[name] for name in _COLUMNS)).where(_IS_LISTED, named)
    return [LakeFile(**row._mapping) for row in connection.execute(query.order_by(lake_files.c.name))]


def add(connection: sa.Connection, files: Iterable[LakeFile], run_id: str) -> dict[str, int]:
    """List files that are in the store; from the end of the transaction on they count.

    Args:
        connection: to the ledger, in the publishing transaction.
        files: the files.
        run_id: the run that made them.

    Returns:
        The number (`lake_files.file`) of each, by name.
    """
    rows = [{**{name: getattr(file, name) for name in _COLUMNS}, "run_id": run_id} for file in files]
    if not rows:
        return {}
    new = sa.insert(lake_files).returning(lake_files.c.name, lake_files.c.file)
    return {row.name: row.file for row in connection.execute(new, rows)}


def exchange(
    connection: sa.Connection, asset: str, days: Collection[date], files: Iterable[LakeFile], run_id: str
) -> None:
    """Make files the list of some days; those listed before are dropped.

    Args:
        connection: to the ledger, in the publishing transaction.
        asset: the table.
        days: the days.
        files: all files of these days, in the store.
        run_id: the run that made them.

    Raises:
        ValueError: a file is of another asset or day.
    """
    files, own = list(files), set(days)
    if strangers := [file.name for file in files if file.asset != asset or file.day not in own]:
        raise ValueError(f"{asset}: {strangers[0]} is of none of the days whose list is exchanged")
    drop(connection, asset, days)
    add(connection, files, run_id)


def drop(connection: sa.Connection, asset: str, days: Collection[date] | None = None) -> None:
    """Drop the list of some days of an asset, or of all."""
    drop_where(connection, lake_files.c.asset == asset, _of(days))


def drop_where(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> None:
    """Drop the listed files that meet some conditions."""
    # In order, so that two transactions never wait for each other.
    f = lake_files.c
    in_order = sa.select(f.file).where(_IS_LISTED, *which).order_by(f.file).with_for_update(key_share=True)
    gone = f.file.in_(in_order.correlate(None))
    connection.execute(sa.update(lake_files).where(gone).values(dropped_at=sa.func.now()))


def drop_tables(connection: sa.Connection) -> None:
    """Drop the lists of all tables; staged files stay listed."""
    drop_where(connection, ~lake_files.c.asset.startswith(f"{STAGING}/", autoescape=True))


def dropped(connection: sa.Connection, asset: str) -> dict[int, str]:
    """Number and name of an asset's files that no list will ever name again and that hold no rows that count."""
    f = lake_files.c
    used = sa.exists().where(staged.c.file == f.file)
    query = sa.select(f.file, f.name).where(f.asset == asset, f.dropped_at.is_not(None), ~used)
    return {row.file: row.name for row in connection.execute(query)}


def forget(connection: sa.Connection, files: Iterable[int]) -> None:
    """Forget dropped files, by their numbers."""
    numbers = sa.bindparam(None, list(files), ARRAY(sa.BigInteger))
    connection.execute(sa.delete(lake_files).where(lake_files.c.file == sa.any_(numbers)))


def _listed(asset: str, days: Collection[date] | None) -> sa.Select:
    f = lake_files.c
    return sa.select(*(f[name] for name in _COLUMNS)).where(f.asset == asset, _IS_LISTED, _of(days))


def _of(days: Collection[date] | None) -> sa.ColumnElement[bool]:
    if days is None:
        return sa.true()
    # One value however many days there are.
    return lake_files.c.day == sa.any_(sa.bindparam(None, list(days), ARRAY(sa.Date)))


class Catalogue:
    """The catalogue for those who only look.

    Args:
        engine: the ledger.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def snapshot(self, wanted: Mapping[str, Collection[date] | None]) -> dict[str, DayFiles]:
        """See `snapshot`."""
        with self._engine.connect() as connection:
            return snapshot(connection, wanted)

    def files(self, asset: str, days: Collection[date] | None = None) -> DayFiles:
        """The listed files of some days of an asset, or of all."""
        return self.snapshot({asset: days})[asset]
