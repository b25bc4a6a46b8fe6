"""What it takes to make a table from others: the terms in which `model` describes every table.

No Dagster here. `assets.tables` turns a `Derived` into an asset, `ledger.builds` says when it is stale.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb
import polars as pl

from pipeline_assets.code_version import code_version
from pipeline_assets.contracts.tables import Table
from pipeline_assets.day_counts import DayCounts
from pipeline_assets.planning import Input, Planned

Frames = Mapping[str, pl.LazyFrame]
"""The inputs of a table by name; of a daily input the days around those to build."""


@dataclass(frozen=True)
class Counted:
    """Rows that are made frame by frame, and what became of the rows that they are made of.

    Attributes:
        frames: the rows, made while they are iterated.
        counts: where the rows of each day went.
    """

    frames: Iterable[pl.DataFrame]
    counts: Mapping[date, DayCounts]


Build = Callable[[Frames, Sequence[date]], pl.DataFrame | Counted]
"""The rows of some days from the inputs; no days where the table has no partitions."""

_ON_THE_WAY = (
    "pipeline_assets.derivation:build_part",
    "pipeline_assets.derivation:build_whole",
    "pipeline_assets.io_managers.frames:storable",
    "pipeline_assets.staging.staged:scan_staged",
)
"""What has a part in the rows of tables besides their transforms: which groups are made again, and what is stored."""

Select = Callable[[duckdb.DuckDBPyConnection, list[str], date, date], pl.DataFrame]
"""The rows wanted of an input in the lake: from its Parquet files, of the days from the first to the last."""


@dataclass(frozen=True)
class Among:
    """Which rows of a table in PostgreSQL are wanted.

    Attributes:
        column: a column of it, of texts, with an index.
        values: the values wanted, from the other inputs.
    """

    column: str
    values: Callable[[Frames], pl.Series]


@dataclass(frozen=True)
class Reads:
    """An input of a table.

    Attributes:
        table: what is read.
        before: days before a day that are read with it.
        after: days after it.
        columns: the columns that are read; empty means all.
        select: how the rows wanted are taken from the files of the lake, where those are few.
        among: for an input without partitions: the rows wanted for some days, where those are few.
        earlier: name under which the rows of the days before are given, apart from those of the days themselves.
    """

    table: Table
    before: int = 0
    after: int = 0
    columns: tuple[str, ...] = ()
    select: Select | None = None
    among: Among | None = None
    earlier: str | None = None


@dataclass(frozen=True)
class Groups:
    """How the rows of a table without partitions fall into groups, each made of input rows that make no other.

    Where only some days of the inputs have changed, only the groups that have or had input rows on these days are made
    again: a new day costs its own size and not that of the history.

    Attributes:
        key: column of the table that names the group, the same on all of its rows.
        seed: column of the table by which its rows are found for input rows; may be `key`.
        first: column of the table, a moment: none of the input rows that matter to a row lies on an earlier day.
        last: likewise, on a later day.
        seeds: values of `seed` that input rows may have, from the input rows of the changed days.
        members: the input rows of some groups, given all input rows, those of the changed days, and the table's rows so
            far of all groups that have or had input rows on these days.
    """

    key: str
    seed: str
    first: str
    last: str
    seeds: Callable[[Frames], pl.Series]
    members: Callable[[Frames, Frames, pl.DataFrame], Frames]

    @classmethod
    def by(cls, column: str, source: Table, *, first: str, last: str) -> "Groups":
        """Groups named by a column that the table shares with its only input."""

        def seeds(changed: Frames) -> pl.Series:
            return changed[source.name].select(pl.col(column).unique()).collect().to_series()

        def members(frames: Frames, changed: Frames, existing: pl.DataFrame) -> Frames:
            names = pl.concat([seeds(changed), existing[column]]).unique()
            return {source.name: frames[source.name].filter(pl.col(column).is_in(names.implode()))}

        return cls(column, column, first, last, seeds, members)


@dataclass(frozen=True)
class Derived:
    """How a table is made from others.

    Attributes:
        table: the table.
        reads: its inputs, no table twice. A table without partitions reads all days of them.
        build: the transform.
        rules: whatever else its rows depend on: settings, declarations, versions of rules. Anything JSON can write.
            The code need not be among them, see `code_version`.
        key: columns of staged rows, or of `events`, that must stay together when a day is too large to be built at
            once; empty where the transform needs little memory.
        rows_at_once: rows of these that are read at a time, where they are cut by key.
        days_at_once: days that are built at a time, where they are not.
        revisions: for a table without partitions that daily tables read: what it says of each day, as a frame with a
            date and a text, from its inputs and its rows. With `groups` the text is numbers joined by `-`, each of them
            a sum over the input rows of the day, so that those of some groups can be exchanged.
        groups: for a table without partitions: how it falls into groups, if it does.
        tally: for a daily table of the lake: the numbers of each day that the ledger books with its rows, by name.
        names: column of the lake's table whose values the ledger remembers as names of events.
    """

    table: Table
    reads: tuple[Reads, ...]
    build: Build
    rules: object = None
    key: tuple[str, ...] = ()
    rows_at_once: int = 1_000_000
    days_at_once: int = 7
    revisions: Callable[[Frames, pl.DataFrame], pl.DataFrame] | None = field(default=None, compare=False)
    groups: Groups | None = field(default=None, compare=False)
    tally: Callable[[pl.DataFrame, Sequence[date]], Mapping[date, Mapping[str, int]]] | None = field(
        default=None, compare=False
    )
    names: str | None = None

    def recipe(self, timezone: str) -> Planned:
        """What the ledger knows of it."""
        inputs = tuple(Input(each.table.name, each.before, each.after) for each in self.reads)
        version = recipe_version(self.table, self.functions, timezone, self.rules)
        return Planned(self.table.name, version, inputs, is_daily=self.table.partition_column is not None)

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """Every function that has a part in its rows."""
        found: list[Callable[..., Any] | None] = [self.build, self.revisions, self.tally]
        if self.groups:
            found += [self.groups.seeds, self.groups.members]
        for each in self.reads:
            found += [each.select, each.among.values if each.among else None]
        return [function for function in found if function is not None]


@dataclass(frozen=True)
class Made:
    """What is made of a table without partitions.

    Attributes:
        rows: its rows, or some of them.
        existing: the rows so far that they take the place of; None for all.
        revisions: what the whole table says of each day; None where no table asks.
    """

    rows: pl.DataFrame
    existing: pl.DataFrame | None
    revisions: dict[date, str] | None


def build_whole(derived: Derived, frames: Frames) -> Made:
    """Make all of a table without partitions from all rows of its inputs."""
    rows = _rows(derived, frames)
    return Made(rows, None, dict(derived.revisions(frames, rows).iter_rows()) if derived.revisions else None)


def build_part(
    derived: Derived,
    frames: Frames,
    on_changed: Frames,
    *,
    changed: Collection[date],
    rows_of_groups: Callable[[pl.Series], pl.DataFrame | None],
    revisions: Mapping[date, str],
) -> Made | None:
    """Make a table's groups again that have or had input rows on some days.

    Args:
        derived: a table with `groups`.
        frames: all rows of its inputs, as they are now.
        on_changed: those of the days that may have changed since the table was built.
        changed: these days.
        rows_of_groups: the table's rows of all groups that have a row with one of these values of `seed`, or one whose
            `first` and `last` show that its input rows may lie on one of the changed days; None if it is not there.
        revisions: what the table says so far of each day.

    Returns:
        None if the table is not there.
    """
    groups = derived.groups
    assert groups is not None  # noqa: S101
    seeds = groups.seeds(on_changed)
    while True:
        existing = rows_of_groups(seeds)
        if existing is None:
            return None
        found = groups.members(frames, on_changed, existing)
        members = {name: frame.collect().rechunk().lazy() for name, frame in found.items()}
        # What the table says of a row may name groups that no row of the table holds together.
        more = groups.seeds(members)
        more = more.filter(~more.is_in(pl.concat([seeds, existing[groups.seed]]).unique().implode()))
        if more.is_empty():
            break
        seeds = pl.concat([seeds, more])
    rows = _rows(derived, members)
    if derived.revisions is None:
        return Made(rows, existing, None)
    days = {each.table.name: pl.col(each.table.partition_column or "") for each in derived.reads}
    elsewhere = {name: frame.filter(~days[name].is_in(list(changed))) for name, frame in members.items()}
    before = dict(derived.revisions(elsewhere, existing).iter_rows())
    after = dict(derived.revisions(members, rows).iter_rows())
    # The other days have the input rows that they had; only what the table says of them may be new.
    exchanged = {day: _exchanged(revisions[day], before[day], text) for day, text in after.items() if day in before}
    kept = {day: text for day, text in revisions.items() if day not in changed}
    return Made(rows, existing, kept | after | exchanged)


def _rows(derived: Derived, frames: Frames) -> pl.DataFrame:
    rows = derived.build(frames, ())
    assert isinstance(rows, pl.DataFrame)  # noqa: S101
    return rows


def _exchanged(whole: str, before: str, after: str) -> str:
    """A revision in which the share of some groups has taken the place of another."""
    numbers = (map(int, text.split("-")) for text in (whole, before, after))
    return "-".join(str(w - b + a) for w, b, a in zip(*numbers, strict=True))


def recipe_version(table: Table, functions: Iterable[Callable[..., Any]], timezone: str, rules: object) -> str:
    """Changes with the code of the functions and of what stores rows, the contract, the time zone and the rules."""
    columns = {name: str(column.dtype) for name, column in table.contract.columns().items()}
    text = json.dumps([code_version(*functions, *_ON_THE_WAY), columns, timezone, rules], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
