"""Rows that a transform has made, held until they are published: memory depends on one batch, not on all of them.

Every frame is checked against the table's contract here, in the step that made it, and nowhere else.
"""

import uuid
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from pipeline_assets.built import FrameBuffer
from pipeline_assets.figures import PartitionFigures
from pipeline_assets.io_managers.frames import ContractError, check_schema, checked
from pipeline_assets.lake import Lake
from pipeline_assets.ledger.builds import Claim
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.planning import UNPARTITIONED
from pipeline_assets.tables.spec import TableSpec


class HeldRows(Protocol):
    """Rows of a table that are made and not yet published."""

    def add(self, frame: pl.DataFrame) -> None:
        """Hold rows.

        Raises:
            ContractError: they break the contract, or lie outside of the days that were claimed.
        """
        ...

    def finish(self) -> dict[str, Any]:
        """What `Built` says of the rows: files or frames, and figures.

        Raises:
            ContractError: rows of several frames repeat a primary key of each other.
        """
        ...

    def discard(self) -> None:
        """Remove what is held; it is not going to be published."""
        ...


class LakeRows:
    """Rows of a table in the lake: each frame becomes a file for each of its days.

    Args:
        table: the table.
        claim: the days.
        lake: where the files go.
    """

    def __init__(self, table: TableSpec, claim: Claim, lake: Lake) -> None:
        self._table = table
        self._claim = claim
        self._lake = lake
        self._figures = PartitionFigures(table.figures)
        self._files: dict[date, list[LakeFile]] = {day: [] for day in claim.days}

    def add(self, frame: pl.DataFrame) -> None:
        """See `HeldRows.add`."""
        table = self._table
        check_schema(frame.schema, table.contract, table.name)
        for day, part in _by_day(frame, table, self._claim):
            # Day by day, because a primary key is one within a day.
            rows = checked(part, table.contract, table.name)
            self._figures.add(rows, day)
            self._files[day].append(self._lake.write(rows, table.name, day))

    def finish(self) -> dict[str, Any]:
        """See `HeldRows.finish`."""
        for files in self._files.values():
            # Each file is unique in itself.
            if len(files) > 1:
                self._require_unique(files)
        return {
            "files": tuple(file for files in self._files.values() for file in files),
            "figures": _figures(self._figures, self._table, self._claim),
        }

    def _require_unique(self, files: Sequence[LakeFile]) -> None:
        """Make sure that no two rows of a day have the same primary key; as many keys are held as a batch has rows."""
        key = self._table.contract.primary_key()
        if not key:
            return
        rows = sum(file.rows for file in files)
        portions = 1 + rows // self._table.rows_at_once
        keys = self._lake.scan(files, self._table.contract).select(pl.struct(key))
        share = pl.first().hash() % portions
        distinct = (keys.filter(share == portion).select(pl.first().n_unique()) for portion in range(portions))
        if (repeated := rows - sum(each.collect().item() for each in distinct)) > 0:
            raise ContractError(
                f"{self._table.name}: {repeated} rows repeat the primary key ({', '.join(key)}) of another."
            )

    def discard(self) -> None:
        """See `HeldRows.discard`."""
        self._lake.forget([file for files in self._files.values() for file in files])


class MartRows:
    """Rows of a table in PostgreSQL.

    Args:
        table: the table.
        claim: the days.
        folder: a folder of this process, for frames that are too large to be kept in memory.
    """

    def __init__(self, table: TableSpec, claim: Claim, folder: Path) -> None:
        self._table = table
        self._claim = claim
        self._figures = PartitionFigures(table.figures)
        self._frames = FrameBuffer(folder / uuid.uuid4().hex)

    def add(self, frame: pl.DataFrame) -> None:
        """See `HeldRows.add`."""
        rows = checked(frame, self._table.contract, self._table.name)
        if column := self._table.partition_column:
            _require_claimed(rows[column], self._table, self._claim)
            self._figures.add_by(rows, column)
        self._frames.add(rows)

    def finish(self) -> dict[str, Any]:
        """See `HeldRows.finish`."""
        return {"frames": self._frames, "figures": _figures(self._figures, self._table, self._claim)}

    def discard(self) -> None:
        """See `HeldRows.discard`."""
        self._frames.close()


def _by_day(frame: pl.DataFrame, table: TableSpec, claim: Claim) -> Iterator[tuple[date, pl.DataFrame]]:
    """The rows of a frame by day; no day where there are none."""
    if frame.is_empty():
        return
    if table.partition_column is None:
        yield UNPARTITIONED, frame
        return
    _require_claimed(frame[table.partition_column], table, claim)
    for (day,), rows in frame.partition_by(table.partition_column, as_dict=True).items():
        assert isinstance(day, date)  # noqa: S101
        yield day, rows


def _require_claimed(days: pl.Series, table: TableSpec, claim: Claim) -> None:
    """Make sure that rows are of days that were claimed.

    Raises:
        ContractError: some are not.
    """
    if nulls := days.null_count():
        raise ContractError(f"{table.name}: the partition column {table.partition_column} is null in {nulls} rows.")
    strange = days.filter(~days.is_in(list(claim.days)))
    if not strange.is_empty():
        raise ContractError(
            f"{table.name}: {strange.len()} rows belong to other days, the first to {strange.min()}, than those that "
            f"are being built ({min(claim.days)} to {max(claim.days)}). Filter them out, or build these days too."
        )


def _figures(figures: PartitionFigures, table: TableSpec, claim: Claim) -> dict[date, dict[str, int | float]]:
    return {day: figures.of(day) for day in claim.days} if table.partition_column else {}
