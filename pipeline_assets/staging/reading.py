"""Opens text files as streams of records: uncompressed, as UTF-8, and cut as their record format says."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.records.cutting import Tally
from pipeline_assets.sources.records.encoding import Utf8Stream
from pipeline_assets.staging.compression import open_stream


def read_records(path: Path, source: Source, tally: Tally, *, limit: int) -> Iterator[pa.RecordBatch]:
    """Cut a text file into records, as its source declares.

    Args:
        path: the file.
        source: the declaration, of a record format of texts.
        tally: receives the header's names, before the first batch is there, and the counts.
        limit: bytes of the longest record that is read.
    """
    stream = tally.text = Utf8Stream(open_stream(path, source.compression), source.encoding)
    return source.record_format.cut(stream, tally, limit=limit)
