"""What has to be known of a Parquet file before its rows are staged: which bytes are texts, and how long rows may be.

Impala, Hive and old versions of Spark write texts as BINARY and do not say that they are texts. Such a column is read
as text, unless a declaration treats it as bytes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.expressions import parse
from pipeline_assets.sources.mapping import column_names
from pipeline_assets.sql import identifier, literal
from pipeline_assets.staging.compression import UnreadableError
from pipeline_assets.staging.landing import open_regular

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
_NESTED = re.compile(r"(STRUCT|MAP|UNION)\(.*|.*\[\d*\]|VARIANT", re.DOTALL)
# JSON of a value that is no text, with what is around it.
_JSON_BYTES = 32
_ROWS = 1024


class InvalidTextError(UnreadableError):
    """A column of texts holds something else, and DuckDB reads nothing of the file; see `rewrite_as_bytes`."""


def length(columns: Sequence[tuple[str, str]]) -> str | None:
    """SQL of the bytes of a row's texts and nested values; None where it has neither.

    Args:
        columns: names and DuckDB's types.
    """
    lengths = [_LENGTHS[kind].format(identifier(name)) for name, kind in columns if kind in _LENGTHS]
    lengths += [f"strlen(to_json({identifier(name)})::VARCHAR)" for name, kind in columns if _NESTED.fullmatch(kind)]
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
    text where it can be, and where it cannot, as DuckDB writes bytes (`\xFF`). One that the declaration treats as
    bytes stays as it is.

    Attributes:
        selected: SQL of each column, in order.
        no_text: SQL of the name of the first column that should be text and is none, null in rows without such; None
            where no column has to be text.
    """

    selected: list[str]
    no_text: str | None

    @classmethod
    def of(cls, source: Source, schema: pa.Schema, columns: Sequence[tuple[str, str]]) -> "TextColumns":
        """Look at the columns of a file.

        Args:
            source: the declaration.
            schema: the file's schema.
            columns: the same columns as DuckDB calls them, and its types.
        """
        read, of_bytes = _read(source)
        selected, cases = [], []
        for name, (called, kind), field in zip(column_names(schema.names), columns, schema, strict=True):
            column = identifier(called)
            known = name.casefold()
            if kind != "BLOB" or known in of_bytes:
                selected.append(column)
            elif known in read and not pa.types.is_fixed_size_binary(field.type):
                selected.append(f"try(decode({column})) as {column}")
                cases.append(f"when {column} is not null and try(decode({column})) is null then {literal(name)}")
            else:
                selected.append(f"coalesce(try(decode({column})), {column}::varchar) as {column}")
        return cls(selected, f"(case {' '.join(cases)} end)" if cases else None)


def _read(source: Source) -> tuple[set[str], set[str]]:
    """The columns that a declaration reads, and those that it treats as bytes; in small letters."""
    read: set[str] = set()
    of_bytes: set[str] = set()
    for expression in map(parse, (*source.mapping.values(), *source.ids.values())):
        names = {path[0].casefold() for path in expression.references}
        read |= names
        # Expressions over a record see its texts.
        if expression.functions & _OF_BYTES and not source.reads_objects:
            of_bytes |= names
    if source.ready is not None:
        table = source.ready.table
        read |= {name.casefold() for name in (*table.names, *table.json, *table.fields)}
    return read, of_bytes


def rewrite_as_bytes(path: Path, copy: Path) -> None:
    """Copy a Parquet file so that its columns of texts are columns of bytes, which may hold anything.

    DuckDB reads nothing of a file in which a text is no UTF-8.
    """
    with open_regular(path) as file, pq.ParquetFile(file) as read:
        types = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in read.schema_arrow.types]
        kinds = [pa.binary() if _is_text(kind) else kind for kind in types]
        schema = pa.schema(
            [field.with_type(kind) for field, kind in zip(read.schema_arrow, kinds, strict=True)]
        ).remove_metadata()
        with pq.ParquetWriter(copy, schema, store_schema=False) as written:
            for batch in read.iter_batches(_ROWS):
                arrays = [_decoded(column).cast(kind) for column, kind in zip(batch.columns, kinds, strict=True)]
                written.write_batch(pa.record_batch(arrays, schema=schema))


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
