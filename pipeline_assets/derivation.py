"""What it takes to make a table from others: the terms in which `model` describes every table.

No Dagster here. `assets.tables` turns a `Derived` into an asset, `ledger.builds` says when it is stale.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import duckdb
import polars as pl

from pipeline_assets.contracts.tables import Table
from pipeline_assets.ledger.builds import Input, Recipe

Frames = Mapping[str, pl.LazyFrame]
"""The inputs of a table by name; of a daily input the days around those to build."""

Build = Callable[[Frames, Sequence[date]], pl.DataFrame]
"""The rows of some days from the inputs; no days where the table has no partitions."""

Select = Callable[[duckdb.DuckDBPyConnection, list[str], date, date], pl.DataFrame]
"""The rows wanted of an input in the lake: from its Parquet files, of the days from the first to the last."""


@dataclass(frozen=True)
class Reads:
    """An input of a table.

    Attributes:
        table: what is read.
        before: days before a day that are read with it.
        after: days after it.
        columns: the columns that are read; empty means all.
        select: how the rows wanted are taken from the files of the lake, where those are few.
    """

    table: Table
    before: int = 0
    after: int = 0
    columns: tuple[str, ...] = ()
    select: Select | None = None


@dataclass(frozen=True)
class Derived:
    """How a table is made from others.

    Attributes:
        table: the table.
        reads: its inputs, no table twice. A table without partitions reads all days of them.
        build: the transform.
        version: raised when the transform gives other rows for the same input.
        rules: whatever else its rows depend on: settings, declarations, versions of rules. Anything JSON can write.
        key: columns of `events` that must stay together when a day is too large to be built at once; empty where the
            transform needs little memory.
        days_at_once: days that are built at a time, where they are not cut by key.
        revisions: for a table without partitions that daily tables read: what it says of each day, as a frame with a
            date and a text, from its inputs and its rows.
    """

    table: Table
    reads: tuple[Reads, ...]
    build: Build
    version: int = 1
    rules: object = None
    key: tuple[str, ...] = ()
    days_at_once: int = 7
    revisions: Callable[[Frames, pl.DataFrame], pl.DataFrame] | None = field(default=None, compare=False)

    def recipe(self, timezone: str) -> Recipe:
        """What the ledger knows of it."""
        inputs = tuple(Input(each.table.name, each.before, each.after) for each in self.reads)
        version = recipe_version(self.table, self.version, timezone, self.rules)
        return Recipe(self.table.name, version, inputs, daily=self.table.partition_column is not None)


def recipe_version(table: Table, version: int, timezone: str, rules: object) -> str:
    """Changes with the transform, the contract's columns, the reporting time zone and the rules."""
    columns = {name: str(column.dtype) for name, column in table.contract.columns().items()}
    text = json.dumps([version, columns, timezone, rules], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
