"""What the footers of Parquet files say about a contract: columns, types, rows and nulls, without reading the rows."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import dataframely as dy
import pyarrow.parquet as pq

from pipeline_assets.storage.opening import open_location
from pipeline_assets.storage.parquet import scan_parquet


@dataclass(frozen=True)
class Footers:
    """Parquet files held against a contract.

    Attributes:
        files: files looked at.
        rows: rows of those that have the contract's columns.
        nulls: nulls in columns that allow none.
        differing: files whose columns or types are not the contract's, each with the names of these columns.
    """

    files: int
    rows: int
    nulls: int
    differing: dict[str, list[str]]

    @property
    def keep_contract(self) -> bool:
        """Whether every file keeps the contract."""
        return not self.differing and self.nulls == 0


def read_footers(paths: Iterable[str], contract: type[dy.Schema], *, beside: Collection[str] = ()) -> Footers:
    """Hold files against a contract: names and types of the columns in any order, nulls in required columns.

    Args:
        paths: the files.
        contract: their contract.
        beside: columns that the files may have besides.
    """
    columns = contract.columns()
    expected = {name: column.dtype for name, column in columns.items()}
    required = {name for name, column in columns.items() if not column.nullable}
    files = rows = nulls = 0
    differing: dict[str, list[str]] = {}
    for path in paths:
        files += 1
        found = dict(scan_parquet([path]).collect_schema())
        shared = found.keys() & expected.keys()
        wrong = (found.keys() ^ expected.keys()) - set(beside) | {n for n in shared if found[n] != expected[n]}
        if wrong:
            differing[path] = sorted(wrong)
            continue
        with open_location(path) as opened, pq.ParquetFile(opened) as file:
            rows += file.metadata.num_rows
            nulls += _nulls(file, required)
    return Footers(files, rows, nulls, differing)


def _nulls(file: pq.ParquetFile, required: set[str]) -> int:
    nulls = 0
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for column in (group.column(index) for index in range(group.num_columns)):
            name = column.path_in_schema
            if name not in required:
                continue
            statistics = column.statistics
            if statistics is not None and statistics.has_null_count:
                nulls += statistics.null_count
            else:
                nulls += file.read_row_group(number, columns=[name]).column(name).null_count
    return nulls
