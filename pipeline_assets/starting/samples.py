"""Looks into sample files: format, encoding, how CSV is written, and what is in the columns.

All of it is read with the readers that load files later, so that what is seen here is what will be loaded.
"""

import io
import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_assets.declarations.expressions import database
from pipeline_assets.settings import MAX_RECORD_BYTES
from pipeline_assets.sources.access_logs import NAMED_FORMATS, log_format
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.dialect import Csv, Dialect
from pipeline_assets.sources.formats import READY_FORMATS
from pipeline_assets.sources.records import RECORD_FORMATS, RecordFormat
from pipeline_assets.sources.records.cutting import Tally, UnreadableError
from pipeline_assets.sources.records.encoding import UndeclaredEncodingError, Utf8Stream
from pipeline_assets.sources.records.steps import column_names
from pipeline_assets.sql import literal
from pipeline_assets.staging import reading
from pipeline_assets.staging.landing import open_regular
from pipeline_assets.starting import values

_RECORDS = 5_000
_HEAD = 1 << 20
_DEEPEST = 4
_DELIMITERS = (",", ";", "\t", "|", "^", "~")
_PREAMBLE = 20
# Encodings that are told apart by what their letters would be; the first of equals counts.
_ENCODINGS = (
    "windows-1252", "windows-1250", "windows-1251", "cp850", "mac-roman", "koi8-r", "windows-1253", "windows-1254",
    "shift_jis", "gb18030", "euc-kr",
)  # fmt: skip
_SIGNS = frozenset("€£§°„…«»\u00a0\u2013\u2014\u2018\u2019\u201c\u201d")
_COMMON_LETTERS = frozenset("äöüßéèêëàâáçñíìîïóòôõúùûøåæœãčćďěňřšťůýžąęłńśźżőűşğı")
# A column that few records have is no column but a key that is data.
_RARE = 0.01


class SampleError(ValueError):
    """A sample from which nothing can be begun; the message says why and what to do."""


@dataclass(frozen=True)
class Column:
    """A column of a sample, or a field of its JSON objects.

    Attributes:
        path: its name; of a nested field the names on the way to it.
        values: its values as text, trimmed, in the order of the records; without those that are not there.
        records: records that were looked at.
        type: `text`, or what the file itself says: `number`, `boolean`, `date`, `time`, `zoned_time` or `nested`.
    """

    path: tuple[str, ...]
    values: tuple[str, ...]
    records: int
    type: str = "text"

    @property
    def name(self) -> str:
        """The name as people write it."""
        return ".".join(self.path)

    @property
    def distinct(self) -> int:
        """How many different values there are."""
        return len(set(self.values))


@dataclass(frozen=True)
class Sample:
    """What one or several files of a source are like.

    Attributes:
        format: the attribute `format`; a plain format, a named access log, or a ready one.
        attributes: further attributes of a declaration that say how the files are read: `encoding`, `csv`, `records`.
        columns: the columns; none for formats of lines.
        guesses: what was guessed about how the files are written, attribute -> what is uncertain about it.
    """

    format: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    guesses: Mapping[str, str] = field(default_factory=dict)

    @property
    def record_format(self) -> RecordFormat:
        """How its files are cut into records."""
        return Source.model_validate(
            {"path": "*", "format": self.format, "mapping": {}, **self.attributes}
        ).record_format

    @property
    def delimited(self) -> bool:
        """Whether numbers are text in it, with a decimal mark of its own."""
        return "csv" in self.record_format.takes


def read_samples(files: Sequence[Path]) -> Sample:
    """What some files of one source are like.

    Raises:
        SampleError: they cannot be read, are of several formats, or of none that is known.
    """
    samples: dict[Path, Sample] = {}
    for file in files:
        try:
            sample = _read(file)
        except (UnreadableError, OSError, EOFError, pa.ArrowException) as error:
            raise SampleError(f"{file}: {_words(error)}") from error
        if sample is not None:
            samples[file] = sample
    if not samples:
        raise SampleError(f"{files[0]}: there is nothing in it; give a file with a few records")
    first, *others = samples.items()
    for file, sample in others:
        if (sample.format, sample.attributes.get("records")) != (first[1].format, first[1].attributes.get("records")):
            raise SampleError(
                f"{first[0].name} is {first[1].format} and {file.name} is {sample.format}: they are two sources; begin "
                "with the files of one"
            )
    merged = _merged([sample for _, sample in samples.items()])
    if merged.columns and not any(column.records for column in merged.columns):
        raise SampleError(f"{files[0]}: there are columns but no records in it; give a file with a few")
    return merged


def _words(error: Exception) -> str:
    if isinstance(error, UnreadableError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it is damaged or incomplete"


def _merged(samples: Sequence[Sample]) -> Sample:
    """One sample of several; what is odd about one file is odd about all."""
    first = samples[0]
    attributes: dict[str, Any] = {}
    for sample in samples:
        attributes = {**sample.attributes, **attributes}
    found: dict[tuple[str, ...], list[Column]] = {}
    for column in itertools.chain.from_iterable(sample.columns for sample in samples):
        found.setdefault(column.path, []).append(column)
    total = sum(max((column.records for column in sample.columns), default=0) for sample in samples)
    columns = tuple(
        Column(path, tuple(itertools.chain.from_iterable(part.values for part in parts)), total, parts[0].type)
        for path, parts in found.items()
    )
    guesses = {name: text for sample in samples for name, text in sample.guesses.items()}
    return Sample(first.format, attributes, columns, guesses)


def _read(file: Path) -> Sample | None:
    with open_regular(file) as opened:
        start = opened.read(4)
    if start == b"PAR1":
        return _with_ready(_parquet(file))
    if start == b"PK\x03\x04":
        raise SampleError(f"{file}: this is an Excel workbook or a ZIP archive; save the sheet as CSV, or unpack it")
    head, whole = _head(file)
    if not head.strip():
        return None
    encoding, guesses = _encoding(head, whole=whole)
    attributes: dict[str, Any] = {"encoding": encoding} if encoding else {}
    text = _text(head, encoding).lstrip("\ufeff")
    found = None
    if "\0" not in text:
        found = _of_lines(text) or _json(file, text, attributes) or _delimited(file, text, attributes)
    if found is None:
        raise SampleError(
            f"{file}: this is no format that is known here: JSON lines, a JSON array, CSV, TSV, Parquet, a log of a "
            "web server or an export of a tracker. Declare a log with a format string of its own by hand: `format: "
            "access_log` with `log_format`"
        )
    sample = Sample(found.format, {**attributes, **found.attributes}, found.columns, {**guesses, **found.guesses})
    return _with_ready(sample)


def _head(file: Path) -> tuple[bytes, bool]:
    """The beginning of a file's uncompressed bytes, and whether it is all of it."""
    stream = reading.open_stream(file, "auto")
    head = b""
    while len(head) < _HEAD and (more := stream.read(_HEAD)):
        head += more
    return head, len(head) < _HEAD


# -- encoding ---------------------------------------------------------------------------------------------------------


def _encoding(head: bytes, *, whole: bool) -> tuple[str | None, dict[str, str]]:
    """What must be declared as the encoding; None for UTF-8 and where a byte order mark says it."""
    stream = Utf8Stream(io.BytesIO(head))
    try:
        stream.read(len(head))
    except UndeclaredEncodingError as error:
        return str(error).rstrip("`").rpartition(" ")[-1], {}
    if stream.encoding != "utf-8":
        return None, {}
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut by the end of what was read.
        if whole or error.start < len(head) - 4:
            found = _legacy_encoding(head)
            return found, {"encoding": "a guess, for the files do not say it; correct it where letters look wrong"}
    return None, {}


def _legacy_encoding(head: bytes) -> str:
    lines = [line for line in head.split(b"\n") if not line.isascii()][:2_000]
    scores = {encoding: _plausibility(lines, encoding) for encoding in _ENCODINGS}
    return max(_ENCODINGS, key=lambda encoding: scores[encoding])


def _plausibility(lines: Sequence[bytes], encoding: str) -> float:
    """How much some lines look like text if they are read in an encoding."""
    score = 0.0
    for line in lines:
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError:
            return float("-inf")
        for before, letter, after in zip(" " + text[:-1], text, text[1:] + " ", strict=True):
            if letter.isascii():
                continue
            inside = before.isalpha() or after.isalpha()
            if not letter.isalpha():
                # Signs such as § and ° stand beside words, not in them.
                score += -1.0 if before.isalpha() and after.isalpha() else 0.2 if letter in _SIGNS else -0.3
            elif letter.isupper() and before.islower():
                score -= 1.0
            elif "LATIN" in unicodedata.name(letter, ""):
                score += (1.0 if letter.lower() in _COMMON_LETTERS else 0.1) if inside else 0.0
                score -= 0.8 * (not before.isascii() and before.isalpha()) + 0.8 * (
                    not after.isascii() and after.isalpha()
                )
            else:
                # Letters of other scripts stand among their own.
                score += (
                    -1.0 if (before.isascii() and before.isalpha()) or (after.isascii() and after.isalpha()) else 0.6
                )
    return score


def _text(head: bytes, encoding: str | None) -> str:
    stream = Utf8Stream(io.BytesIO(head), encoding)
    return b"".join(iter(lambda: stream.read(_HEAD), b"")).decode("utf-8", "replace")


# -- records ----------------------------------------------------------------------------------------------------------


def _records(
    file: Path, record_format: str, attributes: Mapping[str, Any], limit: int = _RECORDS
) -> tuple[list[str], Tally]:
    """The first records of a file, as they will be read."""
    source = Source.model_validate({"path": "*", "format": record_format, "mapping": {}, **attributes})
    tally = Tally()
    records: list[str] = []
    for batch in reading.read_records(file, source, tally, limit=MAX_RECORD_BYTES):
        records += batch.column("raw").to_pylist()
        if len(records) >= limit:
            break
    return [record for record in records[:limit] if record.strip()], tally


def _of_lines(text: str) -> Sample | None:
    """Logs and Snowplow's lines, by what their lines look like."""
    lines = [line.rstrip("\r") for line in text.split("\n")[:200] if line.strip()]
    if not lines:
        return None
    fields = next((line for line in lines if line.startswith("#Fields:")), None)
    if fields is not None and lines[0].startswith("#"):
        return Sample("cloudfront_log" if "x-edge-location" in fields else "w3c_log")
    for ready in READY_FORMATS.values():
        if ready.columns and _fits_columns(lines, ready.columns):
            return Sample(ready.name)
    known = {name: log_format(text) for name, text in NAMED_FORMATS.items()}
    known |= {ready.name: ready.log for ready in READY_FORMATS.values() if ready.log}
    counts = ", ".join(f"count(*) filter (regexp_matches(l, {literal(log.pattern)}))"
                       for log in known.values())  # fmt: skip
    sql = f"select {counts} from (select unnest(?) as l)"  # noqa: S608 - patterns of our own
    fitting = dict(zip(known, database().cursor().execute(sql, [lines]).fetchall()[0], strict=True))
    best = max(known, key=lambda name: (fitting[name], len(known[name].groups)))
    # Real logs hold lines of robots that fit nothing.
    return Sample(best) if fitting[best] / len(lines) >= 0.8 else None


def _fits_columns(lines: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether lines have as many fields as a format that has very many."""
    return sum(line.count("\t") + 1 == len(columns) for line in lines) / len(lines) >= 0.8


def _json(file: Path, text: str, attributes: Mapping[str, Any]) -> Sample | None:
    begin = text.lstrip()[:1]
    if begin not in ("{", "["):
        return None
    record_format = "json_array" if begin == "[" else "jsonl"
    texts, _ = _records(file, record_format, attributes)
    objects: list[dict[str, Any]] = []
    for record in texts:
        try:
            value = json.loads(record)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            objects.append(value)
    if len(objects) < len(texts) / 2:
        if begin == "{" and not objects:
            raise SampleError(
                f"{file}: this is JSON over several lines; write one object on each line (`jq -c .`), or an array "
                "of objects"
            )
        return None
    return Sample(record_format, {}, _json_columns(objects))


def _json_columns(objects: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    found: dict[tuple[str, ...], list[Any]] = {}
    for record in objects:
        _leaves(record, (), found)
    folded = Counter(tuple(key.lower() for key in path) for path in found)
    return tuple(
        Column(path, tuple(_as_text(value) for value in leaves if _as_text(value)), len(objects), _json_type(leaves))
        for path, leaves in found.items()
        if len(leaves) > _RARE * len(objects)
        # Keys that differ in case only cannot be told apart by an expression, nor can a key with a dot by people.
        and folded[tuple(key.lower() for key in path)] == 1
    )


def _leaves(record: Mapping[str, Any], path: tuple[str, ...], found: dict[tuple[str, ...], list[Any]]) -> None:
    for key, value in record.items():
        here = (*path, key)
        if not key or "\0" in key:
            continue
        if isinstance(value, dict) and len(here) < _DEEPEST:
            _leaves(value, here, found)
        elif value is not None:
            found.setdefault(here, []).append(value)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value, ensure_ascii=False)


def _json_type(leaves: Sequence[Any]) -> str:
    if any(isinstance(value, dict | list) for value in leaves):
        return "nested"
    if all(isinstance(value, bool) for value in leaves):
        return "boolean"
    return "number" if all(isinstance(value, int | float) for value in leaves) else "text"


# -- CSV --------------------------------------------------------------------------------------------------------------


def _delimited(file: Path, text: str, attributes: Mapping[str, Any]) -> Sample | None:
    best: tuple[float, int, str, list[list[str]]] | None = None
    for delimiter in _DELIMITERS:
        if delimiter not in text:
            continue
        rows = _rows(file, delimiter, attributes)
        widths = Counter(len(row) for row in rows)
        # Columns that hardly any row has are commas in prose.
        width, count = max(widths.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]), default=(1, 0))
        if width > 1 and count / len(rows) >= 0.5:
            score = (round(count / len(rows), 2), width, delimiter, rows)
            best = score if best is None or score[:2] > best[:2] else best
    if best is None:
        return None
    _, width, delimiter, rows = best
    csv: dict[str, Any] = {}
    if delimiter not in (",", "\t"):
        csv["delimiter"] = delimiter
    begin = next((number for number, row in enumerate(rows[:_PREAMBLE]) if len(row) == width), 0)
    before = ["".join(row) for row in rows[:begin]]
    if before and all(line.startswith("#") for line in before):
        csv["comment"] = "#"
    elif before:
        csv["skip"] = _lines_before(text, begin)
    header = rows[begin] if len(rows) > begin else []
    guesses = {}
    if not _is_header(header, rows[begin + 1 : begin + 200]):
        csv["header"] = False
        guesses["csv"] = "the first line seems to be data: the columns are column_1, column_2 …"
    record_format = "tsv" if delimiter == "\t" else "csv"
    given = {**({"csv": csv} if csv else {})}
    texts, tally = _records(file, record_format, {**attributes, **given})
    dialect = Csv.model_validate(csv).dialect(delimiter)
    names = column_names(tally.header or [])
    table = [cells for record in texts if len(cells := dialect.cells(record)) == len(names)]
    columns = tuple(
        Column((name,), tuple(cell.strip() for row in table if (cell := row[place]).strip()), len(table))
        for place, name in enumerate(names)
    )
    return Sample(record_format, given, columns, guesses)


def _rows(file: Path, delimiter: str, attributes: Mapping[str, Any]) -> list[list[str]]:
    """Rows of the file, with its header, if cells are separated so."""
    texts, _ = _records(file, "csv", {**attributes, "csv": {"delimiter": delimiter, "header": False}}, limit=1_000)
    dialect = Dialect(delimiter=delimiter)
    return [dialect.cells(text) for text in texts]


def _lines_before(text: str, records: int) -> int:
    """The number of the line on which a record begins, blank lines counted; from 0."""
    begins = [number for number, line in enumerate(re.split(r"\r\n|\n|\r", text)) if line.strip()]
    return begins[records] if records < len(begins) else 0


def _is_header(row: Sequence[str], rows: Iterable[Sequence[str]]) -> bool:
    """Whether a row names columns: it holds words, and nothing that only data are."""
    cells = [cell.strip() for cell in row]
    named = [cell for cell in cells if cell]
    # Columns may be called the same, but hardly most of them.
    if not named or len({cell.casefold() for cell in named}) < len(named) / 2:
        return False
    for cell in named:
        # A year may well be a column.
        number = values.number_style([cell], comma_first=False) is not None
        if number or values.time_formats([cell]) or values.are_emails([cell]) or values.are_random_ids([cell]):
            return False
        if values.are_addresses([cell]) or (values.are_urls([cell]) and "/" in cell):
            return False
    below = [[cell.strip() for cell in other] for other in rows]
    # A line of data of which all cells are words comes again below, at least in part.
    same = sum(
        any(place < len(other) and other[place] == cell for other in below) for place, cell in enumerate(cells) if cell
    )
    return same < len(named) / 2


# -- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(file: Path) -> Sample | None:
    with open_regular(file) as opened:
        parquet = pq.ParquetFile(opened)
        batch = next(parquet.iter_batches(batch_size=_RECORDS), None)
    if batch is None or not len(batch):
        return None
    columns: list[Column] = []
    for schema, values_of in zip(batch.schema, batch.columns, strict=True):
        columns += _arrow_columns((schema.name,), schema.type, values_of, len(batch))
    return Sample("parquet", {}, tuple(columns))


def _arrow_columns(path: tuple[str, ...], kind: pa.DataType, array: pa.Array, records: int) -> list[Column]:
    if pa.types.is_struct(kind) and len(path) < _DEEPEST:
        inner = [(kind.field(place), array.field(place)) for place in range(kind.num_fields)]
        return [
            column for each, part in inner for column in _arrow_columns((*path, each.name), each.type, part, records)
        ]
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    texts = tuple(text for value in array.to_pylist() if value is not None and (text := _arrow_text(value).strip()))
    return [Column(path, texts, records, _arrow_type(kind))]


def _arrow_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date):
        return value.isoformat(*(" ",) if isinstance(value, datetime) else ())
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _arrow_type(kind: pa.DataType) -> str:
    types = pa.types
    if types.is_timestamp(kind):
        return "zoned_time" if kind.tz else "time"
    if types.is_date(kind):
        return "date"
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    return "nested" if types.is_nested(kind) else "text"


# -- ready formats ----------------------------------------------------------------------------------------------------


def _with_ready(sample: Sample | None) -> Sample | None:
    """A sample of rows or objects as one of a ready format, where it has its marks."""
    if sample is None or not sample.columns:
        return sample
    names = {part.casefold() for column in sample.columns for part in (column.path[0], column.name)}
    for name, ready in READY_FORMATS.items():
        if name != ready.name:
            continue
        if sample.record_format.has_objects:
            marks = ready.marks if sample.format in RECORD_FORMATS[ready.records].alternatives else ()
        else:
            # Rows of a table as they are in a warehouse.
            own = ready.marks if ready.table.names or ready.table.json else ()
            marks = (*own, *ready.table.marks)
        if any(names.issuperset(mark.casefold() for mark in series) for series in marks):
            records = {} if sample.format == ready.records else {"records": sample.format}
            return Sample(name, {**sample.attributes, **records}, sample.columns, sample.guesses)
    return sample
