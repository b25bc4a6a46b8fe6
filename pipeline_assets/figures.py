"""Numbers of a partition that Dagster's UI shows and plots: sums over its rows. No Dagster here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

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
