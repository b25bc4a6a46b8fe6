"""Looks at what a file has: the names and types of its raw columns, from its header, its schema or some of its records.

The records are those that are read anyway, a few of each batch. Only a declaration's own names are looked for below the
first level of a JSON record, and keys that look like data are passed over: they may be personal.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_assets.settings import MAX_RECORD_BYTES
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.raw_columns import missing_columns, own_references
from pipeline_assets.sources.records.cutting import Tally
from pipeline_assets.sources.records.look import TEXT, Glance, Look
from pipeline_assets.staging import reading
from pipeline_assets.staging.landing import open_regular
from pipeline_assets.staging.walking import some_files
from pipeline_assets.words import counted

# Of the records of a batch that are looked at: one in so many, but at least and at most so many.
_ONE_IN = 25
_OF_BATCH = (10, 50)
_MOST = 1000
# Files that are looked at before anything is loaded, and bytes of a compressed or plain text file.
_PEEKED_FILES = 2
# Names of files and folders, of each source: whenever a code location is loaded.
_PEEKED_NAMES = 2_000


@dataclass
class Sample:
    """Some of the records of a file."""

    records: list[str] = field(default_factory=list)

    def watching(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, of each of which a few records are kept."""
        for batch in batches:
            if len(self.records) < _MOST:
                least, most = _OF_BATCH
                wanted = min(max(len(batch) // _ONE_IN, least), most)
                self.records += batch.column("raw").slice(0, wanted).to_pylist()
            yield batch


def look(source: Source, *, header: list[str] | None, schema: pa.Schema | None, sample: Sample) -> Look | None:
    """What a file has; None where its format has no columns of its own, or where there was nothing to look at.

    Args:
        source: the declaration.
        header: names of the columns of a CSV or TSV file.
        schema: schema of a Parquet file.
        sample: records of any other file.
    """
    types = {name: _arrow_type(kind) for name, kind in zip(schema.names, schema.types, strict=True)} if schema else None
    nested = [path for paths in own_references(source).values() for path in paths if len(path) > 1]
    return source.record_format.look(Glance(sample.records, header, types, nested))


def filled_columns(metadata: pq.FileMetaData) -> set[str]:
    """The columns of a Parquet file that have a value in any row, as its footer says."""
    found: set[str] = set()
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for index in range(metadata.num_columns):
            column = group.column(index)
            statistics = column.statistics
            known = statistics is not None and statistics.has_null_count
            if not known or statistics.null_count < column.num_values:
                found.add(column.path_in_schema)
    return found


def peek(source: Source, landing: Path, *, is_loaded: bool = False) -> list[str]:
    """What a declaration seems to get wrong, by a look at a file or two in landing, if there are any.

    Args:
        source: the declaration.
        landing: the folder.
        is_loaded: whether files were loaded as it says. Which columns no file has had is known then, and told by
            `refresh` and a check; a field that few records have would be missed here again and again.
    """
    found: set[str] = set()
    looked = 0
    candidates, are_all = some_files(landing, source.path, most=_PEEKED_FILES, names=_PEEKED_NAMES)
    if not candidates and are_all and some_files(landing, "**", most=1, names=_PEEKED_NAMES)[0]:
        return [f"no file in landing matches the path '{source.path}'"]
    if is_loaded:
        return []
    for path in candidates:
        try:
            seen = _peeked(source, path)
        except (OSError, ValueError, pa.ArrowException):
            # Unfinished or damaged: the load tells.
            continue
        if seen is not None:
            looked += 1
            found |= seen.types.keys()
    if not looked:
        return []
    where = f"in none of the {counted(looked, 'file')}" if looked > 1 else "not in the file"
    return [
        f"{missing.mapped}: the column '{missing.name}' is {where} in landing whose beginning was looked at"
        + (f"; did you mean '{missing.near}'?" if missing.near else "")
        for missing in missing_columns(source, found)
    ]


def _peeked(source: Source, path: Path) -> Look | None:
    if not source.record_format.is_text:
        with open_regular(path) as file:
            return look(source, header=None, schema=pq.read_schema(file), sample=Sample())
    tally = Tally()
    batch = next(reading.read_records(path, source, tally, limit=MAX_RECORD_BYTES), None)
    records = [] if batch is None else batch.column("raw").slice(0, _MOST).to_pylist()
    return look(source, header=tally.header, schema=None, sample=Sample(records))


def _arrow_type(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return TEXT
    # 32 bits or 64, with a zone or without: what matters is told by the load.
    for name in ("boolean", "integer", "floating", "decimal", "timestamp", "date", "binary", "list", "struct"):
        if getattr(pa.types, f"is_{name}")(kind):
            return name
    return str(kind)
