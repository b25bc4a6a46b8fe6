"""Assets as Parquet files in a folder: one file per partition, replaced in one step.

    <root>/<table>/<partition column>=<partition key>/part.parquet
    <root>/<table>/part.parquet                                        (no partitions)

The asset's metadata `partition_expr` names the partition column. Daily partitions are cut by a Date column,
or by a Datetime column in the time zone of the partitions; all other kinds by the column's text.
A file appears by a rename after everything was written, checked and synced. Readers open exactly the files of
the partitions they were asked for, so that anything else in the folder is as good as not there.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import dataframely as dy
import polars as pl
import pyarrow.parquet as pq

from pipeline_assets.columns import contract_schema, type_name
from pipeline_assets.figures import ROWS, Figure, PartitionFigures
from pipeline_assets.io_managers.describing import DescribesPartitions, describe_partitions
from pipeline_assets.io_managers.frames import ContractError, FrameStream, check_schema, checked, iterate, subset
from pipeline_assets.lake_paths import lake_files, lake_path
from pipeline_assets.parquet_files import scan_parquet
from pipeline_assets.private import make_file, make_folder

_DRAFT_PREFIX = ".part-"
# Longer than any run writes; a younger draft may belong to a living process.
_DRAFT_SECONDS = 24 * 3600

Publish = Callable[[Callable[[], object]], None]
"""Puts files in their places; see `ParquetLakeIOManager.commit`."""


class ParquetLakeIOManager(DescribesPartitions, dg.IOManager):
    """Stores DataFrames, LazyFrames and FrameStreams; loads LazyFrames, or DataFrames where annotated so.

    Every requested partition gets a file, an empty one too: "nothing happened that day" is known, too.
    """

    def __init__(
        self,
        root: str | Path,
        contracts: Mapping[str, type[dy.Schema]] | None = None,
        figures: Mapping[str, Sequence[Figure]] | None = None,
    ) -> None:
        """Store below the folder `root`.

        Args:
            root: local folder; made when it is missing.
            contracts: by table name (the last part of the asset key). Frames are checked against it before any
                row of them is visible. A table without one is stored as its first frame is.
            figures: by table name: what the UI shows of each partition, beside its number of rows.
        """
        self.root = Path(root)
        self.contracts = dict(contracts or {})
        self.figures = dict(figures or {})

    # --- To be overridden -----------------------------------------------------------------------------

    def commit(self, context: dg.OutputContext, publish: Publish) -> None:  # noqa: ARG002
        """Make the written files visible by calling `publish`.

        Override it to book the write somewhere, say in a transaction around the call. `publish` takes a function that
        it calls before each file, which may raise to keep this file and all others from being published.
        """
        publish(lambda: None)

    def partition_keys(self, context: dg.OutputContext) -> Sequence[str]:
        """The partitions that are written. Override it where a run does not write all of its own."""
        return context.asset_partition_keys

    # --- Paths ----------------------------------------------------------------------------------------

    def path(self, table: str, column: str | None = None, key: str | None = None) -> Path:
        """The file of a table, or of one of its partitions."""
        return lake_path(self.root, table, column, key)

    # --- Writing --------------------------------------------------------------------------------------

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Write the frames of `obj`, one file per partition.

        Raises:
            ContractError: a frame breaks the contract, or has rows outside of the requested partitions.
        """
        if not isinstance(obj, pl.DataFrame | pl.LazyFrame | FrameStream):
            raise dg.DagsterInvariantViolationError(
                f"{context.asset_key.to_user_string()} returned {type(obj).__name__}; the lake stores polars "
                "DataFrame, LazyFrame and FrameStream."
            )
        table = context.asset_key.path[-1]
        if isinstance(obj, FrameStream) and obj.replaces is not None:
            raise ContractError(f"{table}: the lake replaces whole partitions and tables, not some rows of them.")
        contract = self.contracts.get(table)
        cut = _Cut.of(context, context.definition_metadata)
        keys: Sequence[str | None] = self.partition_keys(context) if cut else [None]
        if isinstance(obj, pl.LazyFrame) and contract:
            # A wrong type is told before the work is done.
            check_schema(obj.collect_schema(), contract, table)

        with ExitStack() as drafts:
            files = {
                key: drafts.enter_context(_Draft(self.path(table, cut.column if cut else None, key))) for key in keys
            }
            schema = contract_schema(contract) if contract else None
            figures = PartitionFigures(self.figures.get(table, ()))
            for frame in iterate(obj):
                if contract:
                    check_schema(frame.schema, contract, table)
                elif schema is None:
                    schema = frame.schema
                elif frame.schema != schema:
                    raise ContractError(f"{table}: a frame has the columns {frame.schema}, the first one had {schema}.")
                for key, part in cut.parts(frame, table) if cut else [(None, frame)]:
                    if key not in files:
                        raise ContractError(
                            f"{table}: {part.height} rows belong to the partition {key}, which is not being written "
                            f"({keys[0]} to {keys[-1]}). Filter them out, or request that partition too."
                        )
                    # Key by key, because a primary key is one within a partition.
                    files[key].write(checked(part, contract, table) if contract else part)
                    figures.add(part, key)
            if schema is None:
                raise ContractError(f"{table}: a FrameStream without frames needs a contract to know the columns.")
            for draft in files.values():
                draft.finish(schema, contract, table)

            def publish(before_each: Callable[[], object]) -> None:
                for draft in files.values():
                    before_each()
                    draft.publish()

            self.commit(context, publish)

        self._describe(context, {key: figures.of(key) for key in files}, schema)

    def _describe(
        self, context: dg.OutputContext, figures: Mapping[str | None, Mapping[str, int | float]], schema: pl.Schema
    ) -> None:
        if None in figures:
            context.add_output_metadata({"dagster/row_count": figures[None][ROWS]})
        else:
            written = {key: of for key, of in figures.items() if key is not None}
            describe_partitions(context, self.partition_figures(context, written))
        table = context.asset_key.path[-1]
        contract = self.contracts.get(table)
        columns = contract.columns() if contract else {}
        context.add_output_metadata(
            {
                "dagster/uri": self.path(table).parent.absolute().as_uri(),
                "dagster/column_schema": dg.TableSchema(
                    [
                        dg.TableColumn(
                            name,
                            type_name(dtype),
                            columns[name].description if name in columns else None,
                            dg.TableColumnConstraints(
                                nullable=name not in columns or columns[name].nullable,
                                unique=contract is not None and contract.primary_key() == [name],
                            ),
                        )
                        for name, dtype in schema.items()
                    ]
                ),
            }
        )

    # --- Reading --------------------------------------------------------------------------------------

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame | pl.DataFrame:
        """The rows of the asked partitions; partitions that were never written have none.

        Input metadata `columns` chooses columns.

        Raises:
            ContractError: nothing was written yet and no contract says which columns there would be.
        """
        table = context.asset_key.path[-1]
        metadata = context.upstream_output.definition_metadata if context.upstream_output else None
        cut = _Cut.of(context, metadata)
        frame = self.scan(table, cut.column if cut else None, context.asset_partition_keys if cut else ())
        if columns := (context.definition_metadata or {}).get("columns"):
            frame = frame.select(subset(columns, frame.collect_schema().names(), table))
        if context.dagster_type.typing_type is pl.DataFrame:
            return frame.collect()
        return frame

    def scan(self, table: str, column: str | None, keys: Iterable[str]) -> pl.LazyFrame:
        """The rows of some partitions; those that were never written have none.

        Args:
            table: name of the table.
            column: its partition column; None for a table without partitions.
            keys: keys of the partitions.

        Raises:
            ContractError: nothing was written yet and no contract says which columns there would be.
        """
        contract = self.contracts.get(table)
        if column is None:
            found = [path for path in [self.path(table)] if path.exists()]
        else:
            found = list(lake_files(self.root, table, column, keys).values())
        if found:
            options: dict[str, Any] = {}
            if contract:
                # Files written before the contract grew lack its new columns, which are nullable.
                options = {"schema": contract_schema(contract), "missing_columns": "insert"}
            return scan_parquet(found, **options)
        if contract:
            return pl.LazyFrame(schema=contract_schema(contract))
        raise ContractError(
            f"{table}: none of the asked partitions was written yet, and without a contract the columns are "
            "not known. Materialize it first."
        )


class _Cut:
    """How rows are told apart by partition."""

    def __init__(self, column: str, definition: dg.PartitionsDefinition) -> None:
        self.column = column
        self._definition = definition

    @classmethod
    def of(cls, context: dg.OutputContext | dg.InputContext, metadata: Mapping[str, Any] | None) -> "_Cut | None":
        if not context.has_asset_partitions:
            return None
        name = context.asset_key.to_user_string()
        definition = context.asset_partitions_def
        if isinstance(definition, dg.MultiPartitionsDefinition):
            raise dg.DagsterInvalidDefinitionError(f"{name}: the lake does not store multi-dimensional partitions.")
        if isinstance(definition, dg.TimeWindowPartitionsDefinition) and (
            definition.schedule_type is None
            or definition.schedule_type.value != "DAILY"
            or (definition.minute_offset, definition.hour_offset) != (0, 0)
        ):
            raise dg.DagsterInvalidDefinitionError(f"{name}: the lake stores daily partitions only, from midnight on.")
        column = (metadata or {}).get("partition_expr")
        if not isinstance(column, str):
            raise dg.DagsterInvalidDefinitionError(
                f'{name} has partitions, so its metadata must name the partition column: {{"partition_expr": "…"}}.'
            )
        return cls(column, definition)

    def parts(self, frame: pl.DataFrame, table: str) -> Iterator[tuple[str, pl.DataFrame]]:
        """The rows of a frame by partition key.

        Raises:
            ContractError: the partition column is missing, null somewhere, or of the wrong type.
        """
        dtype = frame.schema.get(self.column)
        if dtype is None:
            raise ContractError(f"{table}: the partition column {self.column} is missing.")
        key = pl.col(self.column)
        if isinstance(self._definition, dg.TimeWindowPartitionsDefinition):
            if not isinstance(dtype, pl.Date | pl.Datetime):
                raise ContractError(
                    f"{table}: the partition column {self.column} is {dtype}; daily partitions need Date or Datetime."
                )
            if isinstance(dtype, pl.Datetime) and dtype.time_zone:
                key = key.dt.convert_time_zone(self._definition.timezone)
            key = key.dt.strftime(self._definition.fmt)
        else:
            key = key.cast(pl.String)
        name = "__partition_key"
        groups = frame.with_columns(key.alias(name)).partition_by(name, as_dict=True, include_key=False)
        for (value,), part in groups.items():
            if value is None:
                raise ContractError(f"{table}: the partition column {self.column} is null in {part.height} rows.")
            yield str(value), part


class _Draft:
    """A Parquet file being written beside its place; closed and removed when it is left unpublished."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._draft = path.with_name(f"{_DRAFT_PREFIX}{uuid.uuid4().hex}")
        self._writer: pq.ParquetWriter | None = None
        self._pieces = 0

    def __enter__(self) -> "_Draft":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()
        self._draft.unlink(missing_ok=True)

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows; what is written leaves the memory."""
        data = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            make_folder(self._path.parent)
            self._remove_old_drafts()
            make_file(self._draft)
            self._writer = pq.ParquetWriter(self._draft, data.schema, compression="zstd", compression_level=1)
        self._writer.write_table(data)
        self.rows += frame.height
        self._pieces += frame.height > 0

    def finish(self, schema: pl.Schema, contract: type[dy.Schema] | None, table: str) -> None:
        """Complete the file, with no rows if there were none, and bring it to the disk.

        Raises:
            ContractError: frames of the partition repeat a primary key of each other.
        """
        if self._writer is None:
            self.write(pl.DataFrame(schema=schema))
        assert self._writer is not None  # noqa: S101
        self._writer.close()
        self._writer = None
        keys = contract.primary_key() if contract else []
        if keys and self._pieces > 1:
            # Each frame was unique in itself.
            distinct = scan_parquet([self._draft]).select(pl.struct(keys).n_unique())
            if (repeated := self.rows - distinct.collect().item()) > 0:
                raise ContractError(f"{table}: {repeated} rows repeat the primary key ({', '.join(keys)}) of another.")
        _fsync(self._draft)

    def publish(self) -> None:
        """Put the file in its place."""
        self._draft.rename(self._path)
        _fsync(self._path.parent)
        # A folder made for this file is lost with a power cut unless the folder above knows it.
        _fsync(self._path.parent.parent)

    def _remove_old_drafts(self) -> None:
        for leftover in self._path.parent.glob(f"{_DRAFT_PREFIX}*"):
            with suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime > _DRAFT_SECONDS:
                    leftover.unlink()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
