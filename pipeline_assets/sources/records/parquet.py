"""Parquet: rows of columns with types of their own, which DuckDB reads itself."""

from collections.abc import Collection, Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from duckdb.sqltypes import DuckDBPyType

from pipeline_assets.declarations.expressions import Expression, FieldPath
from pipeline_assets.sources.records.columns import ColumnRecords, absent_columns
from pipeline_assets.sources.records.look import Glance, Look, of_columns
from pipeline_assets.sources.records.parquet_files import RowQueries, rows_of
from pipeline_assets.sources.records.record_format import MappedFields, RecordFormat
from pipeline_assets.sources.records.steps import Step, exact, without_nul_escapes
from pipeline_assets.sources.records.table_objects import TableObjects
from pipeline_assets.sql import identifier


class ParquetFormat(RecordFormat):
    """What Parquet has in common, whatever its rows mean."""

    name = "parquet"
    takes = frozenset()
    is_text = False

    def rows_of(
        self,
        file: str,
        expressions: Iterable[Expression],
        schema: pa.Schema,
        columns: Sequence[tuple[str, DuckDBPyType]],
        footers: Sequence[pq.FileMetaData],
        *,
        limit: int,
    ) -> RowQueries:
        """SQL of the rows of files that are staged, and of those that are not; see `parquet_files.rows_of`.

        Args:
            file: SQL of the files, with the number of each row as `file_row_number`, from 0.
            expressions: those of the declaration.
            schema: the files' schema.
            columns: the same columns as DuckDB calls them, and its types.
            footers: the files' footers.
            limit: bytes of the longest row that is read.
        """
        table = self.ready.table if self.ready else None
        named = (*table.names, *table.json, *table.fields) if table else ()
        # Expressions over an object see its texts.
        return rows_of(
            file, expressions, schema, columns, footers, named=named, sees_bytes=not self.has_objects, limit=limit
        )


class ParquetRows(ParquetFormat, ColumnRecords):
    """Columns of the file's names and types."""

    types_in_file = True
    may_hold_nul = True
    raw_text = 'to_json("~raw")::VARCHAR'

    def look(self, glance: Glance) -> Look | None:
        """The schema's columns."""
        return None if glance.types is None else of_columns(glance.types)

    def steps(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """The columns, and the row as a whole."""
        names = [identifier(name) for name in fields]
        row = "struct_pack(" + ", ".join(f"{name} := {name}" for name in names) + ")"
        absent = absent_columns(fields, references)
        return [Step(('"~line"', f'{row} AS "~raw"', 'NULL::VARCHAR AS "~bad"', *names, *absent), ('"~line"', *names))]

    def as_json(self, name: str, value: str) -> str:
        """JSON in which no decimal loses a digit."""
        return exact(value, f"typeof({identifier(name)})")

    def rest(self, fields: Sequence[str], mapped: MappedFields) -> str:
        """The columns that are not mapped; the only text of a row that may hold a U+0000 is one of them."""
        rest = super().rest(fields, mapped)
        return rest if rest == "NULL::VARCHAR" else without_nul_escapes(rest)


class ParquetObjects(ParquetFormat, TableObjects):
    """Records of a ready format."""

    def split(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """Make an object of the columns."""
        names = [identifier(f"~cell {name}") for name in fields]
        row = ", ".join(f"{identifier(name)} := {cell}" for name, cell in zip(fields, names, strict=True))
        cells = {}
        for name, cell in zip(fields, names, strict=True):
            # The fields of a nested type are there in every row.
            nested = f"json_strip_nulls({exact(cell, f'typeof({cell})')})"
            cells[name] = f"CASE typeof({cell}) WHEN 'VARCHAR' THEN {self.text_as_json(name)} ELSE {nested} END"
        return [
            Step(
                ('"~line"', f'to_json(struct_pack({row}))::VARCHAR AS "raw"', 'NULL::VARCHAR AS "~bad"', *names),
                ('"~line"', *names),
            ),
            *self.record(fields, references, cells),
        ]
