"""What an asset may return, cut into frames that fit into memory, and the check of a frame against its contract.

Shared by the IO managers. No Dagster here, and no storage.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import dataframely as dy
import polars as pl

from pipeline_assets.key_texts import capped

BATCH_ROWS = 250_000


class ContractError(ValueError):
    """A frame is not what its table declares. Messages name columns, types and counts, never values."""


@dataclass(frozen=True)
class FrameStream:
    """A table too large for memory: frames that are made one after the other while they are written.

    Attributes:
        frames: consumed once and lazily; every frame has the same columns.
        replaces: where the frames are not all of a table without partitions: rows of it, at least their primary keys,
            that give way to them. All others stay.
        checked: whether the frames are known to keep the contract of their table.
    """

    frames: Iterable[pl.DataFrame]
    replaces: pl.DataFrame | None = None
    checked: bool = False


Frames = pl.DataFrame | pl.LazyFrame | FrameStream


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
