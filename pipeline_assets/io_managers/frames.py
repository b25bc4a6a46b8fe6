"""What an asset may return, cut into frames that fit into memory, and the check of a frame against its contract.

And where the lake keeps what. Shared by the IO managers. No Dagster here, and no storage.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import dataframely as dy
import polars as pl

from pipeline_assets.key_texts import capped

BATCH_ROWS = 250_000
_FILE = "part.parquet"


class ContractError(ValueError):
    """A frame is not what its table declares. Messages name columns, types and counts, never values."""


@dataclass(frozen=True)
class FrameStream:
    """A table too large for memory: frames that are made one after the other while they are written.

    Attributes:
        frames: consumed once and lazily; every frame has the same columns.
        replaces: where the frames are not all of a table without partitions: rows of it, at least their primary keys,
            that give way to them. All others stay.
    """

    frames: Iterable[pl.DataFrame]
    replaces: pl.DataFrame | None = None


Frames = pl.DataFrame | pl.LazyFrame | FrameStream

ROWS = "dagster/partition_row_count"
"""The number of rows of a partition, as Dagster's UI calls it."""


@dataclass(frozen=True)
class Figure:
    """A number of a partition that Dagster's UI shows and plots: a sum over its rows.

    Attributes:
        name: what it is called there.
        column: the column that is added up; nulls count nothing.
        where: rows that have other values than these are left out, by column.
    """

    name: str
    column: str
    where: tuple[tuple[str, int], ...] = ()

    @property
    def expression(self) -> pl.Expr:
        """The sum."""
        wanted = [pl.col(name) == value for name, value in self.where]
        return (pl.col(self.column).filter(*wanted) if wanted else pl.col(self.column)).sum()


class PartitionFigures:
    """The figures of each partition of a table while its frames come one after the other.

    Args:
        figures: those beside the number of rows.
    """

    def __init__(self, figures: Sequence[Figure] = ()) -> None:
        self._names = [ROWS, *(figure.name for figure in figures)]
        self._expressions = [pl.len(), *(figure.expression for figure in figures)]
        self._sums: dict[object, list[Any]] = {}

    def add(self, frame: pl.DataFrame, key: object) -> None:
        """Count the rows of a partition."""
        self._add(key, frame.select(each.alias(str(place)) for place, each in enumerate(self._expressions)).row(0))

    def add_by(self, frame: pl.DataFrame, column: str) -> None:
        """Count rows of several partitions, told apart by a column."""
        sums = (each.alias(f"figure {place}") for place, each in enumerate(self._expressions))
        for key, *numbers in frame.group_by(column).agg(*sums).iter_rows():
            self._add(key, numbers)

    def of(self, key: object) -> dict[str, int | float]:
        """The figures of a partition, all of them 0 where it has no rows."""
        numbers = self._sums.get(key, [0] * len(self._names))
        return {
            name: number if isinstance(number, int) else float(number)
            for name, number in zip(self._names, numbers, strict=True)
        }

    def _add(self, key: object, numbers: Sequence[Any]) -> None:
        before = self._sums.setdefault(key, [0] * len(numbers))
        self._sums[key] = [one + (other or 0) for one, other in zip(before, numbers, strict=True)]


def lake_path(root: Path, table: str, column: str | None = None, key: str | None = None) -> Path:
    """The Parquet file of a table in the lake, or of one of its partitions."""
    folder = root / table
    if column is not None and key is not None:
        folder /= f"{quote(column, safe='')}={quote(key, safe='')}"
    return folder / _FILE


def lake_files(root: Path, table: str, column: str, keys: Iterable[str]) -> dict[str, Path]:
    """The files there are of some partitions of a table, by key and in the order of the keys.

    The table's folder is listed once, as most of the days since a platform's first were never written.
    """
    written = set(lake_keys(root, table, column))
    paths = {key: lake_path(root, table, column, key) for key in keys if key in written}
    return {key: path for key, path in paths.items() if path.exists()}


def lake_keys(root: Path, table: str, column: str) -> list[str]:
    """The partitions of a table that have a folder."""
    prefix = f"{quote(column, safe='')}="
    try:
        names = [folder.name for folder in (root / table).iterdir()]
    except FileNotFoundError:
        return []
    return [unquote(name[len(prefix) :]) for name in names if name.startswith(prefix)]


def iterate(frames: Frames, batch_rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
    """The frames of what an asset returned, at least one (possibly empty) for a DataFrame or LazyFrame.

    A LazyFrame is computed by the streaming engine, in batches of about `batch_rows` rows.
    """
    if isinstance(frames, FrameStream):
        yield from frames.frames
    elif isinstance(frames, pl.LazyFrame):
        empty = True
        for frame in frames.collect_batches(chunk_size=batch_rows, maintain_order=False, lazy=True):
            empty = False
            yield frame
        if empty:
            yield pl.DataFrame(schema=frames.collect_schema())
    else:
        yield frames


def contract_schema(contract: type[dy.Schema]) -> pl.Schema:
    """Column names and Polars types of a contract, in its order."""
    return pl.Schema({name: column.dtype for name, column in contract.columns().items()})


def type_name(dtype: pl.DataType) -> str:
    """A type as people read it: `Datetime(UTC)`, `Decimal(18, 6)`, `String`."""
    if isinstance(dtype, pl.Datetime):
        return f"Datetime({dtype.time_zone})" if dtype.time_zone else "Datetime"
    if isinstance(dtype, pl.Decimal):
        return f"Decimal({dtype.precision}, {dtype.scale})"
    return str(dtype)


def check_schema(actual: pl.Schema, contract: type[dy.Schema], table: str) -> None:
    """Columns and types, exactly.

    Raises:
        ContractError: lists every missing, extra and differently typed column.
    """
    expected = contract.columns()
    problems = [f"column {name} is missing" for name in expected if name not in actual]
    problems += [f"column {name} ({actual[name]}) is not in the contract" for name in actual if name not in expected]
    problems += [
        f"column {name} is {actual[name]}, the contract says {column.dtype}"
        for name, column in expected.items()
        if name in actual and not column.validate_dtype(actual[name])
    ]
    if problems:
        raise ContractError(f"{table}: {'; '.join(problems)}. Mend the asset, or change {contract.__name__}.")


def checked(frame: pl.DataFrame, contract: type[dy.Schema], table: str) -> pl.DataFrame:
    """The frame with its columns in the contract's order, if its columns and each of its rows keep the contract.

    Raises:
        ContractError: names each broken rule with the number of rows.
    """
    check_schema(frame.schema, contract, table)
    frame = frame.select(contract.column_names())
    _, failure = contract.filter(frame)
    if broken := failure.counts():
        rules = ", ".join(f"{rule.replace('|', ': ')} ({count} rows)" for rule, count in sorted(broken.items()))
        raise ContractError(f"{table}: {len(failure)} of {frame.height} rows break the contract: {rules}.")
    return frame


def storable(frame: pl.DataFrame, indexed: Collection[str] = ()) -> pl.DataFrame:
    """The frame without what PostgreSQL refuses to hold, so that no single value can stop a table for good.

    U+0000 is taken out of texts, and texts of an index are cut as `key_texts` says. A table whose rows are grouped
    by a text has to do both before, else two rows may become one key; here is only the net below.

    Args:
        frame: rows with the types of their table.
        indexed: columns of the primary key and of indexes.
    """
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    with_nul = [name for name in texts if frame[name].str.contains("\0", literal=True).any()]
    return frame.with_columns(pl.col(with_nul).str.replace_all("\0", "", literal=True)).with_columns(
        capped(pl.col(name)) for name in texts if name in indexed
    )


def subset(columns: Sequence[str], available: Sequence[str], table: str) -> list[str]:
    """The columns an input asks for.

    Raises:
        ContractError: one of them does not exist.
    """
    if unknown := [name for name in columns if name not in available]:
        raise ContractError(f"{table}: no such columns: {', '.join(unknown)}. There are: {', '.join(available)}.")
    return list(columns)
