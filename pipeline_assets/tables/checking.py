"""What the rows of a table must keep besides its contract, as functions that read tables and find something.

No Dagster here: `checks` makes asset checks of them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Protocol, TypeVar

import duckdb

Rows = dict[Any, Any]
"""What a query says, by key."""

Key = TypeVar("Key")


class Reader(Protocol):
    """The tables, as a check asks for them."""

    @property
    def days(self) -> Sequence[date]:
        """The days that the check is about, in order: those that were built; for a table without partitions its own."""

    def duckdb(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection to a DuckDB of its own, in UTC."""

    def paths(self, table: str, days: Iterable[date] | None = None) -> list[str]:
        """The Parquet files of a table in the lake, of some days; by default of the check's."""

    def lake_rows(self, table: str, query: str, *, days: Iterable[date] | None = None) -> list[tuple]:
        """Rows of a query of DuckDB over `files`: those of `paths`. None where there are no files."""

    def lake(self, table: str, query: str, *, all_days: bool = False) -> Rows:
        """Second column by first of such a query, the others as a tuple where there are more."""

    def rows(self, query: str, **values: object) -> list[tuple]:
        """Rows of a query in PostgreSQL, `:days` being the days."""

    def record(self, query: str) -> Mapping[str, Any]:
        """The only row of such a query, by column."""

    def marts(self, query: str, **values: object) -> Rows:
        """Second column by first of such a query, the others as a tuple where there are more."""


@dataclass(frozen=True)
class Finding:
    """What a check finds.

    Attributes:
        passed: whether all is well.
        numbers: what the UI shows and plots of it.
        description: in words; may be empty.
    """

    passed: bool
    numbers: Mapping[str, object]
    description: str = ""


@dataclass(frozen=True)
class TableCheck:
    """A check of a table.

    Attributes:
        name: its name, unique for the table.
        description: what must hold.
        find: looks at the tables.
        blocking: whether nothing is built on rows that fail; a check that is not only warns.
        also_reads: tables that are compared with and are no inputs; without them there is no check.
    """

    name: str
    description: str
    find: Callable[[Reader], Finding]
    blocking: bool = False
    also_reads: tuple[str, ...] = ()


def same(
    name: str,
    description: str,
    *,
    expected: Callable[[Reader], Mapping[Any, object]],
    actual: Callable[[Reader], Mapping[Any, object]],
    also_reads: tuple[str, ...] = (),
) -> TableCheck:
    """A blocking check that two questions have the same answer."""

    def find(tables: Reader) -> Finding:
        return compared(expected(tables), actual(tables), name.replace("_", " "))

    return TableCheck(name, description, find, blocking=True, also_reads=also_reads)


def nothing_found(name: str, description: str, wrong: Callable[[Reader], Rows]) -> TableCheck:
    """A blocking check that nothing is wrong."""
    return same(name, description, expected=lambda _: {}, actual=wrong)


def all_zero(name: str, description: str, query: str, *, shown: Collection[str] = ()) -> TableCheck:
    """A warning if any number is not 0 in the only row of a query in PostgreSQL, but for those that are only shown.

    Args:
        name: of the check.
        description: of the check.
        query: its columns are named; `:days` are the days.
        shown: columns whose numbers say nothing bad.
    """

    def find(tables: Reader) -> Finding:
        numbers = tables.record(query)
        return Finding(not any(number for column, number in numbers.items() if column not in shown), numbers)

    return TableCheck(name, description, find)


def in_reporting(currency: str | None, check: TableCheck) -> TableCheck:
    """A check of amounts in the reporting currency, which has nothing to say where none is declared."""
    if currency is not None:
        return check
    return replace(check, find=lambda _: Finding(True, {"reporting_currency": "none declared"}))


def compared(expected: Mapping[Key, object], actual: Mapping[Key, object], what: str, **also: object) -> Finding:
    """Passes where both sides are equal; names the first difference, and shows further numbers."""
    differing = sorted(str(key) for key in expected.keys() | actual.keys() if expected.get(key) != actual.get(key))
    numbers: dict[str, object] = {"compared": len(expected.keys() | actual.keys()), "differing": len(differing)}
    if differing:
        first = next(key for key in expected.keys() | actual.keys() if str(key) == differing[0])
        numbers |= {
            "first_difference": differing[0],
            "expected": str(expected.get(first)),
            "actual": str(actual.get(first)),
        }
    return Finding(not differing, numbers | also, f"{what}: {len(differing)} of {numbers['compared']} differ")


def whole_numbers(*rows: Rows) -> Rows:
    """Whole numbers by key, without the keys that have nothing but zeros."""
    counted = {
        key: tuple(map(int, numbers if isinstance(numbers, tuple) else (numbers,)))
        for of_table in rows
        for key, numbers in of_table.items()
    }
    return {key: numbers for key, numbers in counted.items() if any(numbers)}
