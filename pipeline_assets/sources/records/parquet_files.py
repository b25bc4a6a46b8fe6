"""What has to be known of a Parquet file before its rows are staged: which bytes are texts, and how long rows may be.

Impala, Hive and old versions of Spark write texts as BINARY and do not say that they are texts. Such a column is read
as text, unless a declaration treats it as bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from duckdb.sqltypes import DuckDBPyType

from pipeline_assets.declarations.expressions import Expression
from pipeline_assets.sources.limits import LONGEST_RAW
from pipeline_assets.sources.records.cutting import too_long_record
from pipeline_assets.sources.records.steps import column_names
from pipeline_assets.sql import identifier, literal

ROW_NUMBER = "file_row_number"
"""The column that DuckDB's number of a row is in: a file with one of its own is read as a copy."""

INVALID_TEXT = "Invalid string encoding"
"""DuckDB's complaint about a column of texts that holds something else."""

# Functions that take bytes: who calls one knows that the column has no type.
_OF_BYTES = frozenset(
    {
        "decode",
        "hex",
        "to_hex",
        "base64",
        "to_base64",
        "octet_length",
        "md5",
        "md5_number",
        "sha1",
        "sha256",
        "bit_length",
    }
)
# Bytes of a value, by the type of its column; DuckDB's names of nested types are longer.
_LENGTHS = {"VARCHAR": "strlen({})", "BLOB": "octet_length({})", "JSON": "strlen({})"}
_NESTED = frozenset({"struct", "map", "union", "list", "array", "variant"})
# JSON of a value that is no text, with what is around it.
_JSON_BYTES = 32
_ROWS = 1024


@dataclass(frozen=True)
class RowQueries:
    """SQL of the rows of files.

    Attributes:
        taken: the number of each row that is staged, and its columns in their order.
        refused: number, reason, raw row and length of those that are not; each row is in one of these queries.
    """

    taken: str
    refused: list[str]


def rows_of(
    file: str,
    expressions: Iterable[Expression],
    schema: pa.Schema,
    columns: Sequence[tuple[str, DuckDBPyType]],
    footers: Sequence[pq.FileMetaData],
    *,
    named: Iterable[str] = (),
    sees_bytes: bool = True,
    limit: int,
) -> RowQueries:
    """SQL of the rows of files with the same columns that are staged, and of those that are too long or no text.

    Args:
        file: SQL of the files, with the number of each row as `file_row_number`, from 0.
        expressions: those of the declaration.
        schema: the files' schema.
        columns: the same columns as DuckDB calls them, and its types.
        footers: the files' footers.
        named: columns that a ready format reads.
        sees_bytes: whether expressions are given bytes where a column holds such.
        limit: bytes of the longest row that is read.
    """
    texts = TextColumns.of(_columns_read(expressions, named, sees_bytes=sees_bytes), schema, columns)
    refused, wanted = [], []

    def refuse(reason: str, raw: str, length: str, where: str, otherwise: str) -> None:
        conditions = " and ".join([*wanted, where])
        refused.append(
            f"select {ROW_NUMBER} + 1, {reason}, {raw}, {length} from {file} where {conditions}"  # noqa: S608 - quoted names
        )
        wanted.append(otherwise)

    if any(may_hold_longer(footer, limit) for footer in footers) and (long := length(columns)):
        refuse(literal(too_long_record(limit)), "''::blob", long, f"{long} > {limit}", f"{long} <= {limit}")
    if texts.no_text:
        names = column_names(schema.names)
        row = ", ".join(
            f"{identifier(name)} := {identifier(called)}" for name, (called, _) in zip(names, columns, strict=True)
        )
        raw = f"encode(to_json(struct_pack({row}))::varchar)"
        reason = f"'invalid_utf8:' || {texts.no_text}"
        no_text, text = f"{texts.no_text} is not null", f"{texts.no_text} is null"
        refuse(reason, f"{raw}[:{LONGEST_RAW}]", f"octet_length({raw})", no_text, text)
    taken = f"select {ROW_NUMBER} + 1 as line, {', '.join(texts.selected)} from {file}"  # noqa: S608 - quoted names
    return RowQueries(f"{taken} where {' and '.join(wanted)}" if wanted else taken, refused)


def length(columns: Sequence[tuple[str, DuckDBPyType]]) -> str | None:
    """SQL of the bytes of a row's texts and nested values; None where it has neither.

    Args:
        columns: names and DuckDB's types.
    """
    lengths = [_LENGTHS[str(kind)].format(identifier(name)) for name, kind in columns if str(kind) in _LENGTHS]
    lengths += [f"strlen(to_json({identifier(name)})::VARCHAR)" for name, kind in columns if kind.id in _NESTED]
    return " + ".join(f"coalesce({one}, 0)" for one in lengths) or None


def may_hold_longer(metadata: pq.FileMetaData, limit: int) -> bool:
    """Whether a row may be longer than a limit, by what the footer says; nearly always it cannot."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        longest = 0
        for index in range(group.num_columns):
            chunk = group.column(index)
            # A flat value is no longer than all of the column. Of repeated values a dictionary holds each but once.
            repeated = metadata.schema.column(index).max_repetition_level > 0
            times = chunk.num_values if repeated and chunk.has_dictionary_page else 1
            longest += chunk.total_uncompressed_size * times + (chunk.num_values * _JSON_BYTES if repeated else 0)
        if longest > limit:
            return True
    return False


@dataclass(frozen=True)
class TextColumns:
    r"""The columns of a file in which bytes that are texts are texts.

    A column of bytes that the declaration reads is text. One that it does not read, or that is of a fixed length, is
    text where it can be, and where it cannot, as DuckDB writes bytes (`\xFF`); so are bytes within a nested value. One
    that the declaration treats as bytes stays as it is.

    Attributes:
        selected: SQL of each column, in order.
        no_text: SQL of the name of the first column that should be text and is none, null in rows without such; None
            where no column has to be text.
    """

    selected: list[str]
    no_text: str | None

    @classmethod
    def of(
        cls, used: tuple[set[str], set[str]], schema: pa.Schema, columns: Sequence[tuple[str, DuckDBPyType]]
    ) -> "TextColumns":
        """Look at the columns of a file.

        Args:
            used: the columns that the declaration reads, and those that it treats as bytes; in small letters.
            schema: the file's schema.
            columns: the same columns as DuckDB calls them, and its types.
        """
        read, of_bytes = used
        selected, cases = [], []
        for name, (called, kind), field in zip(column_names(schema.names), columns, schema, strict=True):
            column = identifier(called)
            known = name.casefold()
            if "BLOB" not in str(kind) or known in of_bytes:
                selected.append(column)
            elif kind.id == "blob" and known in read and not pa.types.is_fixed_size_binary(field.type):
                selected.append(f"try(decode({column})) as {column}")
                cases.append(f"when {column} is not null and try(decode({column})) is null then {literal(name)}")
            else:
                selected.append(f"{_as_text(column, kind)} as {column}")
        return cls(selected, f"(case {' '.join(cases)} end)" if cases else None)


def _columns_read(
    expressions: Iterable[Expression], named: Iterable[str], *, sees_bytes: bool
) -> tuple[set[str], set[str]]:
    """The columns that a declaration reads, and those that it treats as bytes; in small letters."""
    read = {name.casefold() for name in named}
    of_bytes: set[str] = set()
    for expression in expressions:
        names = {path[0].casefold() for path in expression.references}
        read |= names
        if sees_bytes and expression.functions & _OF_BYTES:
            of_bytes |= names
    return read, of_bytes


def _as_text(value: str, kind: DuckDBPyType, depth: int = 0) -> str:
    """SQL of a value in which all bytes are texts, at any depth."""
    element = f"x{depth}"
    match kind.id:
        case "blob":
            return f"coalesce(try(decode({value})), {value}::varchar)"
        case "list" | "array":
            ((_, inner),) = _inner(kind)
            return f"list_transform({value}, lambda {element}: {_as_text(element, inner, depth + 1)})"
        case "struct":
            return f"case when {value} is not null then {_struct_as_text(value, kind, depth)} end"
        case "map":
            entry = _struct_as_text(element, kind, depth + 1)
            return f"map_from_entries(list_transform(map_entries({value}), lambda {element}: {entry}))"
    return value


def _struct_as_text(value: str, kind: DuckDBPyType, depth: int) -> str:
    fields = (
        f"{identifier(name)} := {_as_text(f'{value}.{identifier(name)}', inner, depth)}" for name, inner in _inner(kind)
    )
    return f"struct_pack({', '.join(fields)})"


def _inner(kind: DuckDBPyType) -> list[tuple[str, DuckDBPyType]]:
    """The types that a nested type is made of."""
    return [(name, inner) for name, inner in kind.children if isinstance(inner, DuckDBPyType)]


def copy_as_bytes(file: BinaryIO, copy: Path) -> None:
    """Copy a Parquet file so that its columns of texts are columns of bytes, which may hold anything.

    DuckDB reads nothing of a file in which a text is no UTF-8. The columns of the copy are called by their position.
    """
    with pq.ParquetFile(file) as read:
        types = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in read.schema_arrow.types]
        kinds = [pa.binary() if _is_text(kind) else kind for kind in types]
        fields = zip(read.schema_arrow, kinds, strict=True)
        schema = pa.schema(
            [field.with_name(str(place)).with_type(kind) for place, (field, kind) in enumerate(fields)]
        ).remove_metadata()
        with pq.ParquetWriter(copy, schema, store_schema=False) as written:
            for batch in read.iter_batches(_ROWS):
                arrays = [_decoded(column).cast(kind) for column, kind in zip(batch.columns, kinds, strict=True)]
                written.write_batch(pa.record_batch(arrays, schema=schema))


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
