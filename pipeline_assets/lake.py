"""Rows in the lake: written into files of their own names, read from the files that a list names.

Nothing here looks into a folder, and nothing here makes a file count: the catalogue does (`ledger.catalogue`).
"""

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

import dataframely as dy
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_assets.columns import contract_schema
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.planning import UNPARTITIONED
from pipeline_assets.private import make_file, make_folder
from pipeline_assets.storage.parquet import scan_parquet
from pipeline_assets.storage.store import Store, StoreError

# Of more files of one asset a listing from the first to the last costs less than to ask for each.
_ASKED_ONE_BY_ONE = 64
_READ_ROWS = 10_000


class Lake:
    """The lake.

    Args:
        store: its bytes.
        drafts: a folder of this process, in which files are written before the store has them.
    """

    def __init__(self, store: Store, drafts: Path) -> None:
        self.store = store
        self._drafts = drafts

    def paths(self, files: Iterable[LakeFile]) -> list[str]:
        """Where listed files are, for DuckDB and pyarrow."""
        return [self.store.locate(file.name) for file in files]

    def scan(self, files: Iterable[LakeFile], contract: type[dy.Schema]) -> pl.LazyFrame:
        """The rows of listed files, with the columns of their contract."""
        paths = self.paths(files)
        if not paths:
            return pl.LazyFrame(schema=contract_schema(contract))
        # Files written before the contract grew lack its new columns, which are nullable.
        return scan_parquet(paths, schema=contract_schema(contract), missing_columns="insert")

    def write(self, rows: pl.DataFrame, table: str, day: date) -> LakeFile:
        """Write rows into a file that is in the store when this returns, and that nobody lists yet.

        Args:
            rows: of one day.
            table: their table.
            day: their day; `UNPARTITIONED` of a table without partitions.

        Raises:
            StoreError: the store refused.
        """
        draft = make_folder(self._drafts) / f"{uuid.uuid4().hex}.parquet"
        try:
            data = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
            pq.write_table(data, make_file(draft), compression="zstd", compression_level=1)
            return self.put(draft, table, day, rows.height)
        finally:
            draft.unlink(missing_ok=True)

    def put(self, draft: Path, asset: str, day: date, rows: int) -> LakeFile:
        """Put a Parquet file that somebody else has written into the store, likewise.

        Args:
            draft: the file; it may be moved.
            asset: the table of its rows, or `staging/<source>`.
            day: their day.
            rows: their number.

        Raises:
            StoreError: the store refused.
        """
        folder = asset if day == UNPARTITIONED else f"{asset}/{day.isoformat()}"
        name = f"{folder}/{uuid.uuid4().hex}.parquet"
        return LakeFile(name, asset, day, rows, self.store.put(name, draft).size)

    def lost(self, files: Iterable[LakeFile]) -> list[LakeFile]:
        """Those of some listed files that the store does not have, or has with another size."""
        files = list(files)
        names: dict[str, list[str]] = {}
        for file in files:
            names.setdefault(file.asset, []).append(file.name)
        there = {name: size for asset, of_asset in names.items() for name, size in self._sizes(asset, of_asset)}
        return [file for file in files if (found := there.get(file.name)) is None or file.bytes not in (None, found)]

    def damaged(self, files: Iterable[LakeFile]) -> list[LakeFile]:
        """Those of some files that the store does not have, or that cannot be read to their ends. Reads all of them."""
        return [file for file in files if not self._is_whole(file)]

    def _is_whole(self, file: LakeFile) -> bool:
        try:
            with self.store.open(file.name) as opened, pq.ParquetFile(opened) as rows:
                return sum(batch.num_rows for batch in rows.iter_batches(_READ_ROWS)) == file.rows
        except FileNotFoundError:
            return False
        except StoreError:
            # It is the store that is in trouble, or somebody in the file's place; that is told as it is.
            return True
        except (pa.ArrowException, OSError):
            return False

    def _sizes(self, asset: str, names: Collection[str]) -> Iterator[tuple[str, int]]:
        """The sizes of those of some files of an asset that are there, and maybe of others between them."""
        if len(names) <= _ASKED_ONE_BY_ONE:
            found = (self.store.stat(name) for name in names)
            yield from ((stat.name, stat.size) for stat in found if stat is not None)
            return
        last = max(names)
        # From the folder of the first: a name that comes right before it.
        first = min(names).rpartition("/")[0]
        for stat in self.store.list(f"{asset}/", after=first):
            if stat.name > last:
                break
            yield stat.name, stat.size

    def forget(self, files: Sequence[LakeFile]) -> None:
        """Delete files that were never listed and never will be. What cannot be deleted is left to the sweep."""
        with suppress(Exception):
            self.store.delete(file.name for file in files)
