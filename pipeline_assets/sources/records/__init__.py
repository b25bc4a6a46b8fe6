"""Record formats: how files are cut into records, and records into what expressions see.

What belongs here: everything in which kinds of files differ, one class each. A new kind is a module with its class and
an entry below; nothing else asks for a format by name. What does not: what records mean (`formats`, declarations), and
what becomes of values once a record is divided (`mapping`).
"""

from pipeline_assets.sources.records.access_log import AccessLog
from pipeline_assets.sources.records.delimited import CsvObjects, CsvRows, TsvObjects, TsvRows
from pipeline_assets.sources.records.json_lines import JsonArray, JsonLines
from pipeline_assets.sources.records.parquet import ParquetObjects, ParquetRows
from pipeline_assets.sources.records.record_format import RecordFormat, RecordOptions
from pipeline_assets.sources.records.tsv_lines import TsvLines
from pipeline_assets.sources.records.w3c_lines import W3cLines

__all__ = ["PLAIN_FORMATS", "RECORD_FORMATS", "RecordFormat", "RecordOptions", "record_format"]

RECORD_FORMATS: dict[str, type[RecordFormat]] = {
    each.name: each for each in (JsonLines, JsonArray, CsvRows, TsvRows, ParquetRows, AccessLog, TsvLines, W3cLines)
}
"""By name."""

_OF_READY: dict[str, type[RecordFormat]] = {each.name: each for each in (CsvObjects, TsvObjects, ParquetObjects)}
# What formats of columns are where a ready format says what they mean.

PLAIN_FORMATS = tuple(name for name, each in RECORD_FORMATS.items() if each.is_plain)
"""Formats of which only the records are known: what they mean is up to the declaration."""


def record_format(name: str, options: RecordOptions) -> RecordFormat:
    """The record format of a name, as a declaration has it.

    Raises:
        KeyError: there is none.
    """
    made = _OF_READY.get(name, RECORD_FORMATS[name]) if options.ready else RECORD_FORMATS[name]
    return made(options)
