"""What a table is: one value that says what it holds, what it reads, how its rows are made and how they are checked.

No Dagster and no storage here. `registry` collects the specs of a deployment, `planning` says which of their days are
stale, the assets make their rows, `checks` makes their asset checks.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from datetime import date
from functools import cached_property, partial
from typing import Any, Literal

import dataframely as dy
import duckdb
import polars as pl

from pipeline_assets.code_version import code_version
from pipeline_assets.day_counts import DayCounts
from pipeline_assets.digests import digest
from pipeline_assets.figures import Figure
from pipeline_assets.tables.checking import TableCheck

Store = Literal["lake", "marts"]

EVENTS = "events"
"""The table that every other one is made of."""

Inputs = Mapping[str, pl.LazyFrame]
"""The inputs of a table by name; of a daily one the days around those to build."""


@dataclass(frozen=True)
class Counted:
    """Rows that are made frame by frame, and what became of the rows that they are made of.

    Attributes:
        frames: the rows, made while they are iterated.
        counts: where the rows of each day went.
    """

    frames: Iterable[pl.DataFrame]
    counts: Mapping[date, DayCounts]


Build = Callable[[Inputs, Sequence[date], Any], pl.DataFrame | Counted]
"""The rows of some days from the inputs and the table's parameters; no days where the table has no partitions."""

Select = Callable[[duckdb.DuckDBPyConnection, Sequence[str], Sequence[date], Any], pl.DataFrame]
"""The rows wanted of an input in the lake: from its Parquet files, of some days, by the parameters of the table."""

_ON_THE_WAY = (
    "pipeline_assets.engine.incremental:build_part",
    "pipeline_assets.engine.incremental:build_whole",
    "pipeline_assets.io_managers.frames:storable",
)
"""What has a part in the rows of tables besides their functions: which keys are made again, and what is stored."""


@dataclass(frozen=True)
class Lookup:
    """Which rows of a table in PostgreSQL are wanted.

    Attributes:
        column: a column of it, of texts, with an index.
        values: the values wanted, from the other inputs.
    """

    column: str
    values: Callable[[Inputs], pl.Series]


@dataclass(frozen=True)
class Input:
    """An input of a table.

    Attributes:
        table: name of what is read: another table, or `planning.STAGING`.
        before: days before a day that are read with it. A table without partitions reads all days.
        after: days after it.
        columns: the columns that are read; empty means all.
        select: how the rows wanted are taken from the files of the lake, where those are few.
        lookup: for an input without partitions: the rows wanted for some days, where those are few.
        earlier: name under which the rows of the days before are given, apart from those of the days themselves.
        batch_key: columns of it that must stay together when a day is too large to be built at once: a batch reads the
            rows of its share of their values. Empty where all rows are read with every batch.
    """

    table: str
    before: int = 0
    after: int = 0
    columns: tuple[str, ...] = ()
    select: Select | None = None
    lookup: Lookup | None = None
    earlier: str | None = None
    batch_key: tuple[str, ...] = ()


@dataclass(frozen=True)
class IncrementalKey:
    """The key of a table without partitions: all rows of one value are made of input rows that make no other's.

    Where only some days of the inputs have changed, only the keys that have or had input rows on these days are made
    again: a new day costs its own size and not that of the history.

    Attributes:
        key: column of the table that holds it; several rows may have one value.
        seed: column of the table by which its rows are found for input rows; may be `key`.
        first: column of the table, a moment: none of the input rows that matter to a row lies on an earlier day.
        last: likewise, on a later day.
        seeds: values of `seed` that input rows may have, from the input rows of the changed days.
        members: the input rows of some keys, given all input rows, those of the changed days, and the existing rows
            of the table of all keys that have or had input rows on these days.
    """

    key: str
    seed: str
    first: str
    last: str
    seeds: Callable[[Inputs], pl.Series]
    members: Callable[[Inputs, Inputs, pl.DataFrame], Inputs]

    @classmethod
    def by(cls, column: str, source: str, *, first: str, last: str) -> "IncrementalKey":
        """A key that the table shares with its only input."""
        seeds = partial(_names_in, column, source)
        return cls(column, column, first, last, seeds, partial(_rows_of_names, column, source))


def _names_in(column: str, source: str, changed: Inputs) -> pl.Series:
    return changed[source].select(pl.col(column).unique()).collect().to_series()


def _rows_of_names(column: str, source: str, inputs: Inputs, changed: Inputs, existing: pl.DataFrame) -> Inputs:
    names = pl.concat([_names_in(column, source, changed), existing[column]]).unique()
    return {source: inputs[source].filter(pl.col(column).is_in(names.implode()))}


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """A table.

    Attributes:
        name: its name, and that of its asset.
        contract: its columns. The first paragraph of its docstring describes the table.
        partition_column: the day of a row; None where the table has no partitions.
        store: whether it is in the lake or among the marts in PostgreSQL.
        group: group of its asset.
        figures: what the UI shows and plots of each day, beside the number of rows.
        inputs: what it reads, nothing twice. A table without partitions reads all days of them.
        build: makes its rows: a pure function of a module.
        parameters: what `build` and the `select` of inputs are given beside the rows: settings and declarations, as a
            dataclass or a pydantic model.
        external_versions: versions of what the rows depend on beside code and parameters: files of rules, packages.
        rows_at_once: rows that are read at a time of the input that has a `batch_key`.
        days_at_once: days that are built at a time where no input has one: the function needs little memory.
        incremental: for a table without partitions: by which key it can be made again in part, if it can.
        revisions: for a table without partitions that daily tables read: what it says of each day, as a frame with a
            date and a text, from its inputs and its rows. With `incremental` the text is numbers joined by `-`, each of
            them a sum over the input rows of the day, so that those of some keys can be exchanged.
        counts: for a daily table of the lake: the numbers of each day that the ledger books with its rows, by name.
        event_name_column: column whose values the ledger remembers as names of events.
        checks: what its rows must keep besides the contract.
        event_names: names of events that its declaration asks for.
        timezone: the reporting time zone, by which days are cut; `registry.collect` fills it in.

    Raises:
        ValueError: the attributes contradict each other; the message says which table and why.
    """

    name: str
    contract: type[dy.Schema]
    inputs: tuple[Input, ...]
    build: Build
    partition_column: str | None = None
    store: Store = "marts"
    group: str = "marts"
    figures: tuple[Figure, ...] = ()
    parameters: Any = None
    external_versions: Any = None
    rows_at_once: int = 1_000_000
    days_at_once: int = 7
    incremental: IncrementalKey | None = None
    revisions: Callable[[Inputs, pl.DataFrame], pl.DataFrame] | None = None
    counts: Callable[[pl.DataFrame, Sequence[date]], Mapping[date, Mapping[str, int]]] | None = None
    event_name_column: str | None = None
    checks: tuple[TableCheck, ...] = field(default=(), compare=False)
    event_names: tuple[str, ...] = ()
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        columns = self.contract.columns()
        named = {
            "partition_column": [self.partition_column] if self.partition_column else [],
            "figures": [figure.column for figure in self.figures],
            "incremental": [self.incremental.key, self.incremental.seed] if self.incremental else [],
        }
        for attribute, names in named.items():
            if unknown := [name for name in names if name not in columns]:
                raise ValueError(f"{self.name}: {attribute} names '{unknown[0]}', which is no column of the contract")
        if not self.inputs:
            raise ValueError(f"{self.name}: inputs is empty; a table is made of at least one other")
        read = [each.table for each in self.inputs]
        if twice := sorted({name for name in read if read.count(name) > 1}):
            raise ValueError(f"{self.name}: inputs names '{twice[0]}' twice; give one input the days of both")
        if len([each for each in self.inputs if each.batch_key]) > 1:
            raise ValueError(f"{self.name}: several inputs have a batch_key; a day is cut by one of them")
        if self.is_daily and (self.incremental or self.revisions):
            raise ValueError(f"{self.name}: incremental and revisions are for tables without a partition_column")

    @property
    def description(self) -> str:
        """First paragraph of the contract's docstring."""
        return (self.contract.__doc__ or "").strip().split("\n\n", 1)[0]

    @property
    def is_daily(self) -> bool:
        """Whether it has daily partitions."""
        return self.partition_column is not None

    @property
    def has_days(self) -> bool:
        """Whether a daily table can read it: of each day it is known whether what it says has changed."""
        return self.is_daily or self.revisions is not None

    @property
    def batched(self) -> Input | None:
        """The input by whose key a day is cut that is too large to be built at once."""
        return next((each for each in self.inputs if each.batch_key), None)

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """Every function that has a part in its rows."""
        found: list[Callable[..., Any] | None] = [self.build, self.revisions, self.counts]
        if self.incremental:
            found += [self.incremental.seeds, self.incremental.members]
        for each in self.inputs:
            found += [each.select, each.lookup.values if each.lookup else None]
        return [function for function in found if function is not None]

    @cached_property
    def version(self) -> str:
        """Changes with the code of the functions and of what stores rows, the contract, the time zone, the parameters.

        Nobody writes it by hand: a table of another version is stale.
        """
        columns = {name: str(column.dtype) for name, column in self.contract.columns().items()}
        parts = [
            code_version(*self.functions, *_ON_THE_WAY),
            columns,
            self.timezone,
            plain(self.parameters),
            self.external_versions,
        ]
        return digest(parts, 16)

    @property
    def written_at(self) -> tuple[str, int] | None:
        """The file and line of its function, if it has some."""
        function = self.build.func if isinstance(self.build, partial) else self.build
        code = getattr(function, "__code__", None)
        return (code.co_filename, code.co_firstlineno) if code else None

    @property
    def place(self) -> str:
        """Where its function is written, as `file:line`, for messages."""
        file, line = self.written_at or (repr(self.build), 0)
        return f"{file}:{line}" if line else file


def plain(value: Any) -> Any:
    """Parameters as JSON can write them."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        # By hand, for dataclasses that hold pydantic models.
        return {name: plain(inner) for name, inner in vars(value).items()}
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        inner = [plain(each) for each in value]
        return inner if isinstance(value, list | tuple) else sorted(inner, key=repr)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def sums(*columns: str) -> tuple[Figure, ...]:
    """Figures that are called like the columns they add up."""
    return tuple(Figure(column, column) for column in columns)
