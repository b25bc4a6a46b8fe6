"""Compiles a source's declaration to the DuckDB query that stages a file.

The query is a chain of projections over `raw_rows`. Each step sees only the columns of the step before, so that every
value is computed once, and a name in a user's expression can never meet one of ours: ours begin with `~`.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, time
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from pipeline_assets.code_version import code_version
from pipeline_assets.columns import money
from pipeline_assets.declarations.expressions import Expression, Path, choosing, parse
from pipeline_assets.settings import MAX_RECORD_BYTES
from pipeline_assets.sources.access_logs import (
    JSON_LINES,
    LIKELY,
    NAMED_FORMATS,
    REQUEST_PARTS,
    UNFITTING,
    LogFormat,
    log_format,
)
from pipeline_assets.sources.declaration import (
    ID_COLUMNS,
    MAPPABLE_COLUMNS,
    TABLE_FORMATS,
    TIME_COLUMNS,
    Source,
)
from pipeline_assets.sources.encodings import UTF_8, canonical
from pipeline_assets.sources.formats import READY_FORMATS, ReadyFormat
from pipeline_assets.sources.limits import LONGEST_ID, LONGEST_RAW
from pipeline_assets.sources.no_ids import IDENTIFIERS, no_ids_of, which_no_id
from pipeline_assets.sources.staged_events import EVENT_TYPES, StagedEvents
from pipeline_assets.sources.tabular import may_hold_json, object_sql
from pipeline_assets.sources.times import ISO_8601, microseconds
from pipeline_assets.sql import identifier, literal

_STAGING_CODE = (
    "pipeline_assets.sources.mapping:staging_query",
    "pipeline_assets.staging.reading:",
    "pipeline_assets.staging.headers:",
    "pipeline_assets.staging.nested:",
    "pipeline_assets.staging.parquet:",
)
"""What makes staged rows of a file, given its declaration."""

DELIMITED_FORMATS = ("csv", "tsv")

BOOLEAN_COLUMNS = tuple(name for name, column in StagedEvents.columns().items() if column.dtype == pl.Boolean)
DECIMAL_COLUMNS = tuple(name for name, column in StagedEvents.columns().items() if column.dtype == pl.Decimal)
NUMBER_COLUMNS = (*DECIMAL_COLUMNS, "scroll_depth")
"""Columns whose text is read with the declared decimal mark."""

EXACT = "time.exact"
"""Whether a row's time needs no correction, evaluated like a column; no column has a dot in its name."""

INTEGER_COLUMNS = ("sequence",)
LENIENT_COLUMNS = ("items", "scroll_depth")
"""Columns whose value counts as absent where it cannot be used; it then stays in the properties."""

_MONEY = money("")
AMOUNT_TYPE = f"DECIMAL({_MONEY.precision}, {_MONEY.scale})"
"""What holds an amount. A number that it does not hold is no amount: it counts as absent and stays in the properties.
Anything else that is no number breaks the contract."""

_KEYS = ("property", "event_id", "anonymous_id", "user_id", "session_id_supplied", "view_id", "order_id")
_DEFAULTED = ("property", "event_type", "is_conversion")
# PostgreSQL cannot hold U+0000, whose escape a JSON text may contain behind an even number of backslashes.
_NULL_ESCAPES = r"'((?:^|[^\\])(?:\\\\)*)(?:\\u0000)+'"
_MINUTE = 60_000_000
# Where the line of a file is staged with those of others, the number of its file, from 0, is above these bits.
LINE_BITS = 40
_OF_FILE = f'[("~line" >> {LINE_BITS}) + 1]'
_FIRST_MOMENT = -62_135_596_800_000_000  # 0001-01-01 and 9999-12-31: what Python and Arrow consumers can hold
_LAST_MOMENT = 253_402_300_799_999_999

_REQUEST_PATTERN = r"^([A-Z][A-Z_-]*) (.*?)(?: (HTTP/[0-9.]+))?$"

# What is no ISO 8601, but a date or a number all the same.
_OTHER_DATE = r"(\d{1,2}[./-]\s?(\d{1,2}|[A-Za-z]{3,9})[./-]\s?\d{2,4}|\d{4}[./]\d{1,2}[./]\d{1,2})([ T,].*)?"
_OTHER_NUMBER = r"~?\s*[+-]?[\d.,]*\d[\d.,' \x{A0}\x{202F}]*"
_NO_BREAK_SPACES = "\u00a0\u202f"


def rules_version(source: Source, timezone: str, first_day: date, max_record_bytes: int = MAX_RECORD_BYTES) -> str:
    """Version of all that decides how a file's rows are staged: 12 hex digits.

    Attributes that only choose files or act later (path, sessions, dedup_days, bounds) do not count.
    """
    parts = {
        "code": code_version(*_STAGING_CODE),
        "name": source.name,
        "format": source.record_format,
        "columns": source.ready.columns if source.ready else (),
        "table": asdict(source.ready.table) if source.ready and source.record_format in TABLE_FORMATS else {},
        "csv": [asdict(source.dialect), source.csv.decimal, source.csv.thousands]
        if source.record_format in DELIMITED_FORMATS
        else [],
        "encoding": canonical(source.encoding) if source.encoding else UTF_8,
        "reshape": [dict(step) for step in source.ready.reshape] if source.ready else [],
        "compression": source.compression,
        "property": _property(source),
        "mapping": {column: source.mapping[column].strip() for column in sorted(source.mapping)},
        "ids": {kind: source.ids[kind].strip() for kind in sorted(source.ids)},
        "time": {column: source.time_rule(column) for column in TIME_COLUMNS if column in source.mapping},
        "required": [column for column in MAPPABLE_COLUMNS if column in source.required],
        "rules": [[name, rule.strip()] for name, rule in source.rules.items()],
        "consent": source.consent.denied,
        "no_ids": no_ids_of("", source.no_ids),
        "timezone": timezone,
        "first_day": first_day.isoformat(),
        "max_record_bytes": max_record_bytes,
    }
    if source.ready is not None and source.ready.nested is not None:
        parts["nested"] = [source.record_format, asdict(source.ready.nested)]
    if source.time.exact is not None:
        parts["exact"] = source.time.exact.strip()
    if source.log is not None:
        parts["log"] = [source.log.pattern, source.log.fields, source.log.escapes]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def staging_query(source: Source, *, fields: Sequence[str] | None, timezone: str, first_day: date) -> str:
    """The SELECT that turns the records of files into staged rows.

    It reads the relation `raw_rows`, whose columns are taken by position: for text formats (line BIGINT, raw VARCHAR),
    one JSON value, log line or CSV record each; for W3C logs also (fields VARCHAR, day VARCHAR), the names of its
    fields and the date that directives give; for Parquet (line BIGINT, then the columns named in `fields`). The bits of
    `line` from `LINE_BITS` on are the number of the file, from 0. The query's parameters are the lists `load_ids` and
    `booked_at` (TIMESTAMPTZ) of the files, and the session's TimeZone must be UTC.

    Args:
        source: a declaration without mistakes (see `checking`).
        fields: names of the columns of a CSV, TSV or Parquet file; None for other formats.
        timezone: reporting time zone, which decides `event_date`.
        first_day: the platform's first day there; earlier events are quarantined.

    Returns:
        A query with the columns of `StagedEvents`, then `event_date` (null where the row is quarantined), `reason`
        (null where it is good), `raw` (the record where there is a reason, at most its first `LONGEST_RAW` letters) and
        `raw_bytes` (the length of the whole record).
    """
    plan = _Plan(source, column_names(fields or ()))
    steps = [
        *plan.read(),
        plan.evaluated(),
        plan.texts(),
        plan.typed(),
        plan.checked(),
        *plan.clocked(),
        plan.named(),
        plan.judged(timezone, first_day),
    ]
    # A materialised step would hold the whole file in memory.
    previous, chain = "raw_rows", []
    for number, step in enumerate(steps):
        chain.append(f"{identifier(f'~{number}')} AS NOT MATERIALIZED (\n{step.select(previous)}\n)")
        previous = identifier(f"~{number}")
    return "WITH " + ",\n".join(chain) + "\n" + plan.result(timezone).select(previous)


def column_names(fields: Iterable[str]) -> tuple[str, ...]:
    """Names under which a file's columns can be used: an empty one becomes column_<position>, repeats get a suffix."""
    names: list[str] = []
    taken: set[str] = set()
    for position, field in enumerate(fields, 1):
        # The columns of the staging query begin with ~.
        base = field.replace("\0", "").strip().lstrip("~") or f"column_{position}"
        name, repeat = base, 1
        while name.casefold() in taken:
            repeat += 1
            name = f"{base}_{repeat}"
        taken.add(name.casefold())
        names.append(name)
    return tuple(names)


def json_structure(references: Iterable[Path]) -> dict[str, Any]:
    """Nested keys down to the leaves that are read, each leaf VARCHAR; `raw` is the whole row and no key."""
    structure: dict[str, Any] = {}
    for path in sorted(references):
        if path[0] == "raw":
            continue
        level = structure
        for key in path[:-1]:
            if not isinstance(level.get(key), dict):
                level[key] = {}
            level = level[key]
        level.setdefault(path[-1], "VARCHAR")
    return structure


def sql_type(structure: Any) -> str:
    """The DuckDB type of a JSON structure."""
    if isinstance(structure, str):
        return structure
    return "STRUCT(" + ", ".join(f"{identifier(key)} {sql_type(inner)}" for key, inner in structure.items()) + ")"


def _too_long(column: str) -> str:
    return f"too_long:{column} (over {LONGEST_ID} bytes)"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _property(source: Source) -> str:
    return source.property or source.name


@dataclass(frozen=True)
class _Step:
    """A projection of the step before it; `names` rename that one's columns by position."""

    columns: Sequence[str]
    names: Sequence[str] = ()

    def select(self, previous: str) -> str:
        names = f' AS "~rows"({", ".join(self.names)})' if self.names else ""
        return "SELECT " + ",\n  ".join(self.columns) + f"\nFROM {previous}{names}"


_TEXT_RECORD = ('"~line"', '"raw"')


class _Plan:
    """The steps of one source's query, in order."""

    def __init__(self, source: Source, fields: tuple[str, ...]) -> None:
        self.source = source
        self.fields = fields
        self.mapped: dict[str, Expression] = {
            column: parse(source.mapping[column]) for column in MAPPABLE_COLUMNS if column in source.mapping
        }
        # They are evaluated like columns; no column has a dot in its name.
        self.ids = {kind: f"ids.{kind}" for kind in sorted(source.ids)}
        self.mapped |= {column: parse(source.ids[kind]) for kind, column in self.ids.items()}
        if source.time.exact is not None:
            self.mapped[EXACT] = parse(source.time.exact)
        self.times = [column for column in TIME_COLUMNS if column in self.mapped]
        self.is_json = source.reads_objects
        # Of other formats a row is text.
        self.is_parquet = source.record_format == "parquet" and not self.is_json
        self.decimal = source.csv.decimal if source.record_format in DELIMITED_FORMATS else "."
        self.thousands = source.csv.thousands if source.record_format in DELIMITED_FORMATS else ""
        self.log = source.log
        # What the file's rows have besides `raw`, where that is known.
        self.names = self.log.fields if self.log else fields
        self.references = {path for expression in self.mapped.values() for path in expression.references}

    # -- reading: one column per name an expression can use -----------------------------------------------------------

    def read(self) -> list[_Step]:
        """Steps from `raw_rows` to `~line`, `~raw`, `~bad` and the columns expressions read."""
        if self.is_json:
            return self._read_json()
        if self.log:
            return self._read_log(self.log)
        if self.is_parquet:
            return self._read_parquet()
        return self._read_csv()

    def _read_json(self) -> list[_Step]:
        structure = json_structure(self.references)
        parsed = f'json_transform("~json", {literal(_dump(structure))})' if structure else "NULL"
        reshape = self.source.ready.reshape if self.source.ready else ()
        split = {"tsv_lines": self._split_tsv, "w3c_lines": self._split_w3c}.get(self.source.record_format)
        if self.source.ready is not None and self.source.record_format in TABLE_FORMATS:
            of_table = self._split_parquet if self.source.record_format == "parquet" else self._split_csv
            split = partial(of_table, self.source.ready)
        # Expressions see the row as it is after reshaping, a quarantine as it was before.
        row = '"raw"' if split is None and not reshape else '"~json"::VARCHAR AS "raw"'
        return [
            *(split() if split else self._parse_json()),
            *(self._reshape(reshape) if reshape else ()),
            _Step(('"~line"', '"raw"', '"~bad"', '"~json"', f'{parsed} AS "~row"')),
            _Step(
                (
                    '"~line"',
                    '"raw" AS "~raw"',
                    '"~bad"',
                    '"~json"',
                    row,
                    *(f'"~row".{identifier(key)} AS {identifier(key)}' for key in structure),
                )
            ),
        ]

    def _parse_json(self) -> list[_Step]:
        text = f"""CASE WHEN contains("raw", '\\u0000') THEN
            regexp_replace("raw", {_NULL_ESCAPES}, '\\1', 'g')::JSON ELSE "~parsed" END"""
        return [
            # The cast is the only check: what is of type JSON is not checked again by each function that reads it.
            _Step(('"~line"', '"raw"', 'TRY_CAST("raw" AS JSON) AS "~parsed"'), _TEXT_RECORD),
            _Step(
                (
                    '"~line"',
                    '"raw"',
                    '"~parsed"',
                    f"""CASE WHEN "~parsed" IS NOT NULL AND starts_with("raw", '{{') THEN NULL
                    WHEN {_blank("raw")} THEN 'blank'
                    WHEN "~parsed" IS NULL THEN 'not_json'
                    WHEN NOT starts_with(ltrim("raw", E' \\t\\r\\n'), '{{') THEN 'not_an_object' END AS "~bad\"""",
                )
            ),
            _Step(
                (
                    '"~line"',
                    '"raw"',
                    '"~bad"',
                    f'CASE WHEN "~bad" IS NULL THEN {text} END AS "~json"',
                )
            ),
        ]

    def _split_tsv(self) -> list[_Step]:
        names = self.source.ready.columns if self.source.ready else ()
        values = f"string_split(replace(\"raw\", chr(0), ''), {literal(chr(9))})"
        return [
            _Step(('"~line"', '"raw"', f'{values} AS "~values"'), _TEXT_RECORD),
            _Step(
                (
                    '"~line"',
                    '"raw"',
                    '"~values"',
                    f"""CASE WHEN {_blank("raw", chr(9))} THEN 'blank'
                    WHEN len("~values") <> {len(names)}
                    THEN 'field_count: {len(names)} expected, ' || len("~values") || ' found' END AS "~bad\"""",
                )
            ),
            _Step(('"~line"', '"raw"', '"~bad"', _object(f"[{', '.join(map(literal, names))}]", "''"))),
        ]

    def _split_w3c(self) -> list[_Step]:
        clean = "replace(\"raw\", chr(0), '')"
        quoted = """list_transform(regexp_extract_all({0}, '"(?:[^"]|"")*"|[^ ]+'),
            lambda value: CASE WHEN starts_with(value, '"') AND ends_with(value, '"') AND length(value) > 1
              THEN replace(value[2:-2], '""', '"') ELSE value END)"""
        # IIS and Apache put spaces between the fields, CloudFront tabs.
        values = f"""CASE WHEN contains("raw", chr(9)) THEN string_split({clean}, chr(9))
            WHEN contains("raw", '"') THEN {quoted.format(clean)}
            ELSE list_filter(string_split({clean}, ' '), lambda value: value <> '') END"""
        return [
            _Step(
                ('"~line"', '"raw"', 'string_split("fields", \' \') AS "~names"', '"day"', f'{values} AS "~values"'),
                ('"~line"', '"raw"', '"fields"', '"day"'),
            ),
            _Step(
                (
                    '"~line"',
                    '"raw"',
                    '"~names"',
                    '"~values"',
                    f"""CASE WHEN {_blank("raw")} OR starts_with("raw", '#') THEN 'blank'
                    WHEN "~names" IS NULL THEN 'no_fields: no #Fields directive before this line'
                    WHEN len("~values") <> len("~names")
                    THEN 'field_count: ' || len("~names") || ' expected, ' || len("~values") || ' found' END
                    AS "~bad\"""",
                    """"day" IS NOT NULL AND NOT list_contains("~names", 'date') AS "~dated\"""",
                    '"day"',
                )
            ),
            _Step(
                (
                    '"~line"',
                    '"raw"',
                    '"~bad"',
                    """CASE WHEN "~dated" THEN list_append("~names", 'date') ELSE "~names" END AS "~names\"""",
                    'CASE WHEN "~dated" THEN list_append("~values", "day") ELSE "~values" END AS "~values"',
                )
            ),
            _Step(('"~line"', '"raw"', '"~bad"', _object('"~names"', "'-'"))),
        ]

    def _split_csv(self, ready: ReadyFormat) -> list[_Step]:
        cells = {name: f'"~values"[{n}]' for n, name in enumerate(self.fields, 1)}
        return [
            *self._split_cells('"raw"'),
            _Step(
                (
                    '"~line"',
                    '"raw"',
                    '"~bad"',
                    *(f"{_cell(value)} AS {identifier(f'~cell {name}')}" for name, value in cells.items()),
                )
            ),
            *self._record(ready, {name: _text_as_json(ready, name) for name in self.fields}),
        ]

    def _split_parquet(self, ready: ReadyFormat) -> list[_Step]:
        names = [identifier(f"~cell {name}") for name in self.fields]
        row = ", ".join(f"{identifier(name)} := {cell}" for name, cell in zip(self.fields, names, strict=True))
        cells = {}
        for name, cell in zip(self.fields, names, strict=True):
            # The fields of a nested type are there in every row.
            nested = f"json_strip_nulls({_exact(cell, f'typeof({cell})')})"
            cells[name] = f"CASE typeof({cell}) WHEN 'VARCHAR' THEN {_text_as_json(ready, name)} ELSE {nested} END"
        return [
            _Step(
                ('"~line"', f'to_json(struct_pack({row}))::VARCHAR AS "raw"', 'NULL::VARCHAR AS "~bad"', *names),
                ('"~line"', *names),
            ),
            *self._record(ready, cells),
        ]

    def _record(self, ready: ReadyFormat, cells: Mapping[str, str]) -> list[_Step]:
        """Steps from the cells of a row to the record of a ready format."""
        json = object_sql(ready, self.fields, self.references, cells)
        return [
            _Step(('"~line"', '"raw"', '"~bad"', f'CASE WHEN "~bad" IS NULL THEN {json} END AS "~json"')),
            # Text that was opened may have brought a U+0000.
            _Step(('"~line"', '"raw"', '"~bad"', f'{_without_nul_escapes(identifier("~json"))}::JSON AS "~json"')),
        ]

    def _reshape(self, steps: Sequence[Mapping[str, str]]) -> list[_Step]:
        columns = ['"~line"', '"raw"', '"~bad"']
        made = [_Step((*columns, '"~json"', '"~json" AS "record"'))]
        columns += ['"~json"', '"record"']
        for values in steps[:-1]:
            made.append(_Step((*columns, *(f"TRY(({sql}\n)) AS {identifier(name)}" for name, sql in values.items()))))
            columns += map(identifier, values)
        made.append(_Step((*columns[:3], f'coalesce(TRY(({steps[-1]["record"]}\n)), "~json")::VARCHAR AS "~json"')))
        # A text that was opened may have brought a U+0000.
        made.append(_Step((*columns[:3], f'{_without_nul_escapes(identifier("~json"))}::JSON AS "~json"')))
        return made

    def _read_log(self, log: LogFormat) -> list[_Step]:
        fits = f"\"~parts\".{identifier(log.witness)} <> ''"
        values = {group: _log_value(f'"~parts".{identifier(group)}', log.escapes) for group in log.groups}
        if "remote_user" in values:
            # Apache's way to write a name that is empty.
            values["remote_user"] = f"nullif({values['remote_user']}, '\"\"')"
        split = "NULL"
        if "request" in log.groups:
            split = f'regexp_extract("~parts".request, {literal(_REQUEST_PATTERN)}, {list(REQUEST_PARTS)})'
            for part in REQUEST_PARTS:
                values.setdefault(part, _log_value(f'"~request".{part}', log.escapes))
            # What is no request, as a handshake sent to the wrong port, stays as the server wrote it.
            asis = "nullif(nullif(\"~parts\".request, '-'), '')"
            values["request"] = f"CASE WHEN \"~request\".method = '' THEN {asis} ELSE {values['request']} END"
        whole = ('"~line"', '"~raw"', '"~parts"')
        return [
            _Step(
                (
                    '"~line"',
                    '"raw" AS "~raw"',
                    f"""regexp_extract(replace("raw", chr(0), ''), {literal(log.pattern)}, {list(log.groups)})
                    AS "~parts\"""",
                ),
                _TEXT_RECORD,
            ),
            _Step(
                (
                    *whole,
                    f"""CASE WHEN NOT ({fits}) THEN
                    regexp_extract(replace("~raw", chr(0), ''), {literal(log.partly)}, {list(log.stages)}) END
                    AS "~beginning\"""",
                    f'{split} AS "~request"',
                )
            ),
            _Step(
                (
                    *whole,
                    f"""CASE WHEN {fits} THEN NULL WHEN {_blank("~raw")} THEN 'blank'
                    ELSE {_unfitting(log)} END AS "~bad\"""",
                    '"~request"',
                )
            ),
            _Step(
                (
                    '"~line"',
                    '"~raw"',
                    '"~bad"',
                    '"~raw" AS "raw"',
                    *(f"{values[field]} AS {identifier(field)}" for field in log.fields),
                )
            ),
        ]

    def _split_cells(self, raw: str) -> list[_Step]:
        """Steps that add `~bad` and the list `~values` of a CSV record; `raw` is what the record is called then."""
        dialect = self.source.dialect
        clean = "replace(\"raw\", chr(0), '')"
        values = f"string_split({clean}, {literal(dialect.delimiter)})"
        within, outside = dialect.unescaping
        if dialect.marks:
            marked = " OR ".join(f'contains("raw", {literal(mark.decode())})' for mark in dialect.marks)
            content = _unescaped("value", outside)
            if dialect.quote:
                mark = literal(dialect.quote)
                # Taking out doubled quotes alone is cheaper without a pattern.
                inner = f"replace(value[2:-2], {literal(dialect.quote * 2)}, {mark})"
                inner = _unescaped("value[2:-2]", within) if dialect.escape else inner
                content = f"""CASE WHEN starts_with(value, {mark}) AND ends_with(value, {mark}) AND length(value) > 1
                    THEN {inner} ELSE {content} END"""
            values = f"""CASE WHEN {marked} THEN list_transform(
                regexp_extract_all({clean} || {literal(dialect.delimiter)}, {literal(dialect.cell_pattern)}, 1),
                lambda value: {content}) ELSE {values} END"""
        expected = len(self.fields)
        comment = f" OR starts_with({raw}, {literal(dialect.comment)})" if dialect.comment else ""
        return [
            _Step(('"~line"', f'"raw" AS {raw}', f'{values} AS "~values"'), _TEXT_RECORD),
            _Step(
                (
                    '"~line"',
                    raw,
                    '"~values"',
                    f"""CASE WHEN {_blank(raw.strip('"'), dialect.delimiter)}{comment} THEN 'blank'
                    WHEN len("~values") <> {expected}
                    THEN 'field_count: {expected} expected, ' || len("~values") || ' found' END AS "~bad\"""",
                )
            ),
        ]

    def _read_csv(self) -> list[_Step]:
        has_raw = "raw" in {name.casefold() for name in self.fields}
        return [
            *self._split_cells('"~raw"'),
            _Step(
                (
                    '"~line"',
                    '"~raw"',
                    '"~bad"',
                    *(() if has_raw else ('"~raw" AS "raw"',)),
                    *(f'"~values"[{n}] AS {identifier(name)}' for n, name in enumerate(self.fields, 1)),
                )
            ),
            _Step(
                (
                    '"~line"',
                    '"~raw"',
                    '"~bad"',
                    *(() if has_raw else ('"raw"',)),
                    *(f"{_cell(identifier(name))} AS {identifier(name)}" for name in self.fields),
                    *self._absent("raw"),
                )
            ),
        ]

    def _read_parquet(self) -> list[_Step]:
        names = [identifier(name) for name in self.fields]
        row = "struct_pack(" + ", ".join(f"{name} := {name}" for name in names) + ")"
        return [
            _Step(
                (
                    '"~line"',
                    f'{row} AS "~raw"',
                    'NULL::VARCHAR AS "~bad"',
                    *names,
                    *self._absent(),
                ),
                ('"~line"', *names),
            )
        ]

    def _absent(self, *known: str) -> list[str]:
        """Null columns for what the mapping reads and this file does not have."""
        present = {name.casefold() for name in (*self.fields, *known)}
        absent = {path for path in self.references if path[0].casefold() not in present}
        return [
            f"NULL::{sql_type(kind)} AS {identifier(name)}"
            for name, kind in json_structure({path for path in absent if path[0] != "raw"}).items()
        ]

    # -- evaluating the declared expressions --------------------------------------------------------------------------

    def evaluated(self) -> _Step:
        """The value of every expression, `~=<column>`, of any type; what can fail is wrapped."""
        columns = ['"~line"', '"~raw"', '"~bad"', f'{self._remaining()} AS "~rest"']
        for column, expression in self.mapped.items():
            # TRY alone could not tell a failure from a value that is null.
            value = f"({self._written(column, expression)}\n)"
            value = value if expression.bare else f'TRY(struct_pack("v" := {value}))'
            columns.append(f"{value} AS {identifier(f'~={column}')}")
        return _Step(columns)

    def _written(self, column: str, expression: Expression) -> str:
        """SQL of an expression; that of an id takes an id, where there is one among its alternatives."""
        if not self._is_identifier(column) or expression.bare:
            return expression.text
        none = ", ".join(map(literal, ("", *no_ids_of(column, self.source.no_ids))))

        def is_id(value: str) -> str:
            return f"NOT coalesce(list_contains([{none}], lower(trim({value}::VARCHAR))), true)"

        return choosing(expression.text, is_id)

    def _kept(self) -> set[Path]:
        """Paths whose whole value is in a mapped column of every good row."""
        return {
            expression.plain
            for column, expression in self.mapped.items()
            # Where both are mapped device_at wins, and the other may differ from it.
            if expression.plain
            and not (column == "occurred_at" and "device_at" in self.mapped)
            and column != EXACT
            and column not in LENIENT_COLUMNS
        }

    def _lenient(self) -> dict[Path, str]:
        """Paths whose whole value is in a lenient column where it can be used, and the SQL that says whether it can."""
        paths = {column: self.mapped[column].plain for column in LENIENT_COLUMNS if column in self.mapped}
        kept = self._kept()
        return {
            path: f"{_lenient_value(column, self._text(column, path))} IS NOT NULL"
            for column, path in paths.items()
            if path is not None and path not in kept and path != ("raw",)
        }

    def _no_amounts(self) -> dict[Path, str]:
        """Paths whose whole value is an amount, and the SQL that says whether it is a number and yet no amount."""
        paths = {column: self.mapped[column].plain for column in DECIMAL_COLUMNS if column in self.mapped}
        return {
            path: f"coalesce({_is_no_amount(self._text(column, path))}, false)"
            for column, path in paths.items()
            if path is not None and path != ("raw",)
        }

    def _without(self, paths: set[Path]) -> str:
        """SQL of the record without some paths."""
        return f'json_merge_patch("~json", {_patch(json_structure(paths), ())})' if paths else '"~json"'

    def _remaining(self) -> str:
        """SQL of a JSON object of all that is in no mapped column."""
        if self.is_json:
            kept = {path for path in self._kept() if path[0] != "raw"}
            rest = self._without(kept)
            if amounts := {path: sql for path, sql in self._no_amounts().items() if path in kept}:
                # Next to no row has such a number; of these every mapped amount is kept.
                rest_with_amounts = self._without(kept - set(amounts))
                rest = f"CASE WHEN {' OR '.join(amounts.values())} THEN {rest_with_amounts} ELSE {rest} END"
            for path, usable in self._lenient().items():
                # Where the value can be used, everything around it is an object.
                patch = literal(_dump(_nulls(json_structure([path]))))
                rest = f"CASE WHEN {usable} THEN json_merge_patch({rest}, {patch}) ELSE {rest} END"
            return f'CASE WHEN "~bad" IS NULL THEN ({rest})::VARCHAR END'
        kept_names = {path[0].casefold() for path in self._kept() if len(path) == 1}
        values = {name: identifier(name) for name in self.names if name.casefold() not in kept_names}
        no_amounts = {path[0].casefold(): sql for path, sql in self._no_amounts().items() if len(path) == 1}
        values |= {
            name: f"CASE WHEN {no_amounts[name.casefold()]} THEN {identifier(name)} END"
            for name in self.names
            if name.casefold() in kept_names & no_amounts.keys()
        }
        if self.log and "request" in values and not {*REQUEST_PARTS} & {*self.log.groups}:
            # Its three parts say the same, unless it could not be divided.
            values["request"] = 'CASE WHEN "method" IS NULL THEN "request" END'
        if not values:
            return "NULL::VARCHAR"
        usable = {path[0].casefold(): sql for path, sql in self._lenient().items() if len(path) == 1}
        for name, value in values.items():
            if name.casefold() in usable:
                values[name] = f"CASE WHEN NOT coalesce({usable[name.casefold()]}, false) THEN {value} END"
        if self.is_parquet:
            values = {name: _exact(value, f"typeof({identifier(name)})") for name, value in values.items()}
        pairs = ", ".join(f"{literal(name)}, {value}" for name, value in values.items())
        rest = f"json_strip_nulls(json_object({pairs}))::VARCHAR"
        return _without_nul_escapes(rest) if self.is_parquet else rest

    # -- from values to typed columns ---------------------------------------------------------------------------------

    def texts(self) -> _Step:
        """Every value as trimmed text, null where empty, and `~!<column>` where an expression failed."""
        columns = ['"~line"', '"~raw"', '"~bad"', '"~rest"']
        for column, expression in self.mapped.items():
            value = identifier(f"~={column}")
            if not expression.bare:
                columns.append(f"{value} IS NULL AS {identifier(f'~!{column}')}")
                value = f'{value}."v"'
            text = f"{value}::VARCHAR"
            if column in NUMBER_COLUMNS and (self.decimal, self.thousands) != (".", ""):
                # What an expression has made a number of is written with a point.
                text = f"CASE typeof({value}) WHEN 'VARCHAR' THEN {self._number(text)} ELSE {text} END"
            # The fields of text formats are rid of it when they are read; an expression may bring it back.
            if self.is_parquet or not expression.bare or expression.plain == ("raw",):
                text = f"replace({text}, chr(0), '')"
            columns.append(f"{_trimmed(text)} AS {identifier(f'~={column}')}")
        return _Step(columns)

    def typed(self) -> _Step:
        """The typed value of every column beside its text; times are microseconds since the epoch."""
        columns = ["*"]
        for column in self.mapped:
            text = identifier(f"~={column}")
            if column in (*BOOLEAN_COLUMNS, EXACT):
                value = f"try_cast({text} AS BOOLEAN)"
            elif column in DECIMAL_COLUMNS:
                value = f"try_cast({text} AS {AMOUNT_TYPE})"
            elif column in INTEGER_COLUMNS:
                # DuckDB's cast alone would round.
                value = (
                    f"CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+([.]0*)?') THEN try_cast({text} AS BIGINT) END"
                )
            elif column in TIME_COLUMNS:
                value = microseconds(text, *self.source.time_rule(column))
            elif column in LENIENT_COLUMNS:
                value = _lenient_value(column, text)
            elif self._is_identifier(column):
                # The value of an id is what it is instead of one.
                value = which_no_id(text, no_ids_of(column, self.source.no_ids), literal)
            else:
                continue
            columns.append(f"{value} AS {identifier(f'~{column}')}")
        return _Step(columns)

    def checked(self) -> _Step:
        """`~unparsable`: the first column, in the contract's order, whose value is there but cannot be used.

        And `~unusable`: what else cannot be used, that of lenient columns, numbers that are no amounts and what is no
        id; the row does without. `~no_id` is the part of it that leaves a row without a visitor.
        """
        columns = ['"~line"', '"~raw"', '"~bad"', '"~rest"']
        failed = []
        unusable = []
        no_ids = []
        for column, expression in self.mapped.items():
            text, value, failure = (
                identifier(f"~={column}"),
                identifier(f"~{column}"),
                identifier(f"~!{column}"),
            )
            if column in LENIENT_COLUMNS:
                columns.append(value)
                unusable.append(f"CASE WHEN {text} IS NOT NULL AND {value} IS NULL THEN {literal(column)} END")
                continue
            broken = [] if expression.bare else [failure]
            if self._is_identifier(column):
                found = f"{literal(f'{column}: ')} || {value}"
                unusable.append(found)
                if column in ("anonymous_id", "user_id"):
                    no_ids.append(found)
                text = f"CASE WHEN {value} IS NULL THEN {text} END"
            if column in DECIMAL_COLUMNS:
                unusable.append(f"CASE WHEN {_is_no_amount(text, value)} THEN {literal(column)} END")
                broken.append(f"({text} IS NOT NULL AND {value} IS NULL AND NOT {_is_number(text)})")
                columns.append(value)
                failed.append(f"WHEN {' OR '.join(broken)} THEN {literal(column)} || {self._hint(column, text)}")
                continue
            if column in TIME_COLUMNS:
                value = f"CASE WHEN {value} BETWEEN {_FIRST_MOMENT} AND {_LAST_MOMENT} THEN {value} END"
            if column in (*BOOLEAN_COLUMNS, EXACT, *INTEGER_COLUMNS, *TIME_COLUMNS):
                broken.append(f"({text} IS NOT NULL AND ({value}) IS NULL)")
                columns.append(f"{value} AS {identifier(f'~{column}')}")
            else:
                columns.append(f"{text} AS {identifier(f'~{column}')}")
            if broken:
                failed.append(f"WHEN {' OR '.join(broken)} THEN {literal(column)} || {self._hint(column, text)}")
        columns.append(f'CASE {" ".join(failed)} END AS "~unparsable"' if failed else 'NULL::VARCHAR AS "~unparsable"')
        for name, parts in (("~unusable", unusable), ("~no_id", no_ids)):
            listed = f"nullif(concat_ws(', ', {', '.join(parts)}), '')" if parts else "NULL::VARCHAR"
            columns.append(f"{listed} AS {identifier(name)}")
        return _Step(columns)

    def _text(self, column: str, path: Path) -> str:
        """SQL of the text of a column that is mapped to a path, as `texts` makes it."""
        text = f"{_reference(path)}::VARCHAR"
        return _trimmed(self._number(text) if column in NUMBER_COLUMNS else text)

    def _number(self, text: str) -> str:
        """SQL of a number with a point from a text in the declared notation.

        A text in another notation gets something before it that is in no number: 12.50 must not be read as 1250 where
        the point stands between thousands, nor as 12.5 where it is not declared.
        """
        if (self.decimal, self.thousands) == (".", ""):
            return text
        mark, group = re.escape(self.decimal), re.escape(self.thousands)
        grouped = rf"\d{{1,3}}(?:{group}\d{{2,3}})*{group}\d{{3}}|" if group else ""
        pattern = rf"\s*[+-]?(?:{grouped}\d*)(?:{mark}\d*)?(?:[eE][+-]?\d+)?\s*"
        spaced = text
        if self.thousands == " ":
            for space in _NO_BREAK_SPACES:
                spaced = f"replace({spaced}, {literal(space)}, ' ')"
        plain = f"replace({spaced}, {literal(self.thousands)}, '')" if group else spaced
        plain = f"replace({plain}, {literal(self.decimal)}, '.')" if self.decimal != "." else plain
        return f"CASE WHEN regexp_full_match({spaced}, {literal(pattern)}) THEN {plain} ELSE '~' || {text} END"

    def _hint(self, column: str, text: str) -> str:
        """SQL of what a value that cannot be read looks like, and what to declare; empty where it looks like nothing.

        It says nothing of the value itself, which may be personal data.
        """
        hints = {}
        if column in TIME_COLUMNS and self.source.time_rule(column)[0] == ISO_8601:
            hints = {
                rf"\d{{{digits}}}(\.\d+)?": f": a number like {kind}, declare time.format"
                for kind, digits in {"epoch_s": 10, "epoch_ms": 13, "epoch_us": 16}.items()
            }
            hints[_OTHER_DATE] = ": a date in another notation, declare time.format and time.zone"
        elif column in DECIMAL_COLUMNS and self.source.record_format in DELIMITED_FORMATS:
            hints[_OTHER_NUMBER] = ": a number in another notation, declare csv.decimal and csv.thousands"
        cases = " ".join(
            f"WHEN regexp_full_match({text}, {literal(shape)}) THEN {literal(hint)}" for shape, hint in hints.items()
        )
        return f"CASE {cases} ELSE '' END" if cases else "''"

    def _is_identifier(self, column: str) -> bool:
        return column in IDENTIFIERS or column in self.ids.values()

    def _value(self, column: str, null: str = "NULL::VARCHAR") -> str:
        return identifier(f"~{column}") if column in self.mapped else null

    # -- the clock rule of definitions.md -----------------------------------------------------------------------------

    def clocked(self) -> list[_Step]:
        """Steps that add `~claimed`, `~skew`, `~occurred` (microseconds) and `~clock`, the reason of a correction."""
        device, occurred, received, sent = (
            self._value(column, "NULL::BIGINT") for column in ("device_at", "occurred_at", "received_at", "sent_at")
        )
        exact = self._value(EXACT, "false")
        return [
            _Step(
                (
                    "*",
                    f"""CASE WHEN {exact} THEN coalesce({occurred}, {device})
                    ELSE coalesce({device}, {occurred}) END AS "~claimed\"""",
                    f'{received} - {sent} AS "~skew"',
                ),
            ),
            _Step(
                (
                    "*",
                    f"""CASE WHEN {exact} THEN NULL WHEN abs("~skew") > {10 * _MINUTE} THEN 'skew'
                    WHEN "~claimed" > {received} THEN 'future' END AS "~trigger\"""",
                )
            ),
            _Step(
                (
                    "*",
                    """CASE WHEN "~trigger" IS NULL THEN "~claimed"
                    ELSE "~claimed" + coalesce("~skew", 0) END AS "~corrected\"""",
                )
            ),
            _Step(
                (
                    "*",
                    f"""CASE WHEN "~trigger" IS NOT NULL AND "~corrected" > {received} THEN {received}
                    ELSE "~corrected" END AS "~occurred\"""",
                    f"""CASE WHEN "~trigger" IS NOT NULL AND "~corrected" > {received} THEN 'received_at'
                    WHEN "~claimed" IS NOT NULL THEN "~trigger" END AS "~clock\"""",
                )
            ),
        ]

    # -- judging and the result ---------------------------------------------------------------------------------------

    def named(self) -> _Step:
        """The mapped columns under their own names, for rules, required columns and the result."""
        columns = [
            '"~line"',
            '"~raw"',
            '"~bad"',
            '"~rest"',
            '"~unparsable"',
            '"~skew"',
            '"~clock"',
            '"~occurred"',
            '"~unusable"',
            '"~no_id"',
        ]
        columns.append(f'{self._value("received_at", "NULL::BIGINT")} AS "~received"')
        columns += [f"{self._value(column)} AS {identifier(f'~{column}')}" for column in _DEFAULTED]
        for column in MAPPABLE_COLUMNS:
            if column == "occurred_at":
                value = 'make_timestamptz("~occurred")'
            elif column in TIME_COLUMNS:
                value = f"make_timestamptz({self._value(column, 'NULL::BIGINT')})"
            elif column == "event_type":
                value = _by_type(self._value(column), {kind: literal(kind) for kind in EVENT_TYPES}, "'track'")
            elif column == "property":
                value = f"coalesce({self._value(column)}, {literal(_property(self.source))})"
            elif column == "is_conversion":
                value = f"coalesce({self._value(column, 'NULL::BOOLEAN')}, false)"
            elif column in BOOLEAN_COLUMNS:
                value = self._value(column, "NULL::BOOLEAN")
            elif column in DECIMAL_COLUMNS:
                value = self._value(column, f"NULL::{AMOUNT_TYPE}")
            elif column in INTEGER_COLUMNS:
                value = self._value(column, "NULL::BIGINT")
            elif column == "currency":
                value = f"upper({self._value(column)})"
            elif column == "scroll_depth":
                value = self._value(column, "NULL::DOUBLE")
            else:
                value = self._value(column)
            columns.append(f"{value} AS {identifier(column)}")
        columns += [identifier(f"~{column}") for column in self.ids.values()]
        return _Step(columns)

    def judged(self, timezone: str, first_day: date) -> _Step:
        """`~reason`: why a row is quarantined, the first that holds; and whether it refuses analytics."""
        beginning = datetime.combine(first_day, time(), ZoneInfo(timezone))
        earliest = int(beginning.timestamp()) * 1_000_000
        # A file that says it was received after it was booked says nothing: else it could put events into any future.
        # A clock of the collector that is wrong by years must not bring events of years to come; one that is ahead by
        # less than a day costs nothing.
        booked = f"epoch_us(($booked_at::TIMESTAMPTZ[]){_OF_FILE})"
        received = f"""CASE WHEN "~received" < {booked} + {24 * 60 * _MINUTE} THEN "~received" """
        latest = f"""({received} WHEN "~received" IS NULL THEN {booked} ELSE {booked} + {24 * 60 * _MINUTE} END)
            + {5 * _MINUTE}"""
        likely = _likely(self.source)
        cases = [
            ('"~bad" IS NOT NULL', '"~bad"'),
            ('"~unparsable" IS NOT NULL', "'unparsable:' || \"~unparsable\""),
            *(
                (f"strlen({identifier(column)}) > {LONGEST_ID}", literal(_too_long(column)))
                for column in _KEYS
                if column in self.source.mapping
            ),
            *(
                (f"strlen({identifier(f'~{column}')}) > {LONGEST_ID}", literal(_too_long(column)))
                for column in self.ids.values()
            ),
            ('"~occurred" IS NULL', literal("missing:occurred_at") + likely),
            (
                '"anonymous_id" IS NULL AND "user_id" IS NULL',
                f"{literal('missing:anonymous_id or user_id')} || coalesce(' (' || \"~no_id\" || ')', ''){likely}",
            ),
            *(
                # A default must not hide that the source gave nothing.
                (
                    f"{identifier(f'~{column}' if column in _DEFAULTED else column)} IS NULL",
                    literal(f"missing:{column}"),
                )
                for column in MAPPABLE_COLUMNS
                if column in self.source.required
            ),
            (
                f'"~occurred" < {earliest} OR "~occurred" > {latest}',
                literal("out_of_range"),
            ),
            *(
                # A rule that fails on a row has not been kept by it.
                (
                    f"NOT coalesce(TRY(coalesce(({rule}\n), true)), false)",
                    literal(f"rule:{name}"),
                )
                for name, rule in self.source.rules.items()
            ),
        ]
        whens = " ".join(f"WHEN {condition} THEN {reason}" for condition, reason in cases)
        return _Step(
            (
                "*",
                f'CASE {whens} END AS "~reason"',
                'coalesce(NOT "consent", false) AS "~refused"',
            )
        )

    def result(self, timezone: str) -> _Step:
        """The columns of `StagedEvents`, then `event_date`, `reason`, `raw` and `raw_bytes`."""
        drop = self.source.consent.denied == "drop"
        raw = 'to_json("~raw")::VARCHAR' if self.is_parquet else '"~raw"'
        computed = {
            "source": literal(self.source.name),
            "load_id": f"($load_ids::VARCHAR[]){_OF_FILE}",
            "line": f'"~line" & {(1 << LINE_BITS) - 1}',
            "row_hash": f"""CASE WHEN "event_id" IS NULL
                THEN sha256({literal(self.source.name)} || chr(10) || {raw}) END""",
            "clock_skew_ms": '"~skew" // 1000',
            "clock_reason": '"~clock"',
            "unusable": '"~unusable"',
            "properties": f"nullif({self._properties()}, '{{}}')",
            "excluded": "CASE WHEN \"~refused\" THEN 'consent_denied' END" if drop else "NULL::VARCHAR",
        }
        given = '"~event_type"'
        computed["event_type_given"] = _by_type(given, dict.fromkeys(EVENT_TYPES, "NULL"), given)
        computed["further_ids"] = self._further_ids()
        computed |= {column: f'CASE WHEN NOT "~refused" THEN {identifier(column)} END' for column in ID_COLUMNS}
        day = 'make_timestamp("~occurred")'
        if timezone != "UTC":
            day = f'timezone({literal(timezone)}, make_timestamptz("~occurred"))'
        columns = [
            f"{computed.get(column, identifier(column))} AS {identifier(column)}"
            for column in StagedEvents.column_names()
        ]
        columns += [
            f'CASE WHEN "~reason" IS NULL THEN {day}::DATE END AS "event_date"',
            '"~reason" AS "reason"',
            f'CASE WHEN "~reason" IS NOT NULL THEN left({raw}, {LONGEST_RAW}) END AS "raw"',
            f'CASE WHEN "~reason" IS NOT NULL THEN strlen({raw}) END AS "raw_bytes"',
        ]
        return _Step(columns)

    def _further_ids(self) -> str:
        if not self.ids:
            return "NULL::VARCHAR"
        pairs = ", ".join(f"{literal(kind)}, {identifier(f'~{column}')}" for kind, column in self.ids.items())
        ids = f"nullif(json_strip_nulls(json_object({pairs}))::VARCHAR, '{{}}')"
        return f'CASE WHEN NOT "~refused" THEN {ids} END'

    def _properties(self) -> str:
        """The remaining JSON; where consent is refused, without anything that an id was made from."""
        if "consent" not in self.mapped:
            return '"~rest"'
        columns = (*ID_COLUMNS, *self.ids.values())
        paths = {path for column in columns if column in self.mapped for path in self.mapped[column].references}
        if not self.is_json:
            names = {name.casefold(): name for name in self.names}
            whole_row = ("raw",) in paths and "raw" not in names
            paths = {(names[path[0].casefold()],) for path in paths if path[0].casefold() in names}
        else:
            whole_row = ("raw",) in paths
        if whole_row:
            return 'CASE WHEN NOT "~refused" THEN "~rest" END'
        # Here a container that is no object is lost on purpose: it may hold an id in a form nobody declared.
        patch = literal(_dump(_nulls(json_structure(paths))))
        return f'CASE WHEN "~refused" THEN json_merge_patch("~rest", {patch})::VARCHAR ELSE "~rest" END'


def _cell(value: str) -> str:
    """SQL of a cell: a CSV file cannot tell what is empty from what is not there."""
    # Most cells are told apart from white space by one comparison; see `_trimmed`.
    return f"CASE WHEN {value} < '!' AND trim({value}) = '' THEN NULL ELSE {value} END"


def _unescaped(text: str, pattern: str) -> str:
    """SQL of a text without what a pattern finds, save its groups."""
    if not pattern:
        return text
    groups = "".join(rf"\{number}" for number in range(1, re.compile(pattern).groups + 1))
    return f"regexp_replace({text}, {literal(pattern)}, {literal(groups)}, 'g')"


def _text_as_json(ready: ReadyFormat, column: str) -> str:
    """SQL of the JSON of a text cell, which may be JSON itself."""
    cell = identifier(f"~cell {column}")
    text = f"to_json({cell}::VARCHAR)"
    if not may_hold_json(ready, column):
        return text
    opened = f"coalesce(TRY_CAST({cell}::VARCHAR AS JSON), {text})"
    return f"CASE WHEN regexp_matches({cell}::VARCHAR, '^\\s*[{{\\[]') THEN {opened} ELSE {text} END"


def _reference(path: Path) -> str:
    return ".".join(map(identifier, path))


def _object(names: str, absent: str) -> str:
    """SQL of a record's object, `~json`, from the list of its names and the list `~values`."""
    pairs = f"""list_filter(list_zip({names}, "~values"), lambda pair: pair[2] <> '' AND pair[2] <> {absent})"""
    return f'CASE WHEN "~bad" IS NULL THEN to_json(map_from_entries({pairs})) END AS "~json"'


def _log_value(value: str, escapes: str) -> str:
    """SQL of a field of an access log without the server's escapes; null where it is a dash or empty."""
    given = f"nullif(nullif({value}, '-'), '')"
    if escapes == "none":
        return given
    if escapes == "json":
        plain = f"""TRY_CAST('"' || {value} || '"' AS JSON) ->> '$'"""
    else:
        # Every escape becomes one of URLs, because the bytes of several make one character.
        escaped = f"replace({value}, '%', '%25')"
        if escapes == "hash":
            escaped = f"regexp_replace({escaped}, '#([0-9A-Fa-f]{{2}})', '%\\1', 'g')"
        else:
            escaped = rf"regexp_replace(replace({escaped}, '\\', '%5C'), '\\x([0-9A-Fa-f]{{2}})', '%\1', 'g')"
            for letter, byte in (('"', "22"), ("n", "0A"), ("t", "09"), ("r", "0D"), ("v", "0B"), ("f", "0C")):
                escaped = rf"replace({escaped}, '\{letter}', '%{byte}')"
        plain = f"TRY(url_decode({escaped}))"
    sign = "#" if escapes == "hash" else "\\"
    return f"""CASE WHEN contains({value}, '{sign}') THEN nullif(replace(coalesce({plain}, {value}), chr(0), ''), '')
        ELSE {given} END"""


def _unfitting(log: LogFormat) -> str:
    """SQL of the reason why a line does not fit a format: the first field that does not, and what the line may be."""
    fields = " ".join(f"WHEN \"~beginning\".{identifier(field)} = '' THEN {literal(field)}" for field in log.stages)
    known = {name: log_format(text) for name, text in NAMED_FORMATS.items()}
    known |= {ready.name: ready.log for ready in READY_FORMATS.values() if ready.log}
    formats = " ".join(
        f'WHEN regexp_matches("~raw", {literal(other.pattern)}) THEN {literal(LIKELY + name)}'
        for name, other in known.items()
        if other.pattern != log.pattern
    )
    return f"""{literal(UNFITTING)} || CASE {fields} ELSE {literal(f"more after {log.stages[-1]}")} END
        || CASE {formats} WHEN starts_with(ltrim("~raw"), '{{') THEN {literal(LIKELY + JSON_LINES)} ELSE '' END"""


def _likely(source: Source) -> str:
    """SQL to append to the reason why a record of a ready format is none: what else its fields say that it is."""
    if source.ready is None or source.record_format not in ("jsonl", "json_array"):
        return ""
    ready = source.ready
    kinds = [(kind, marks) for kind, marks in ready.lookalikes.items()]
    others = {other.name: other for other in READY_FORMATS.values() if other != ready}
    kinds += [(other.name, marks) for other in others.values() for marks in other.marks]
    cases = " ".join(
        f"WHEN {' AND '.join(_has(mark) for mark in marks)} THEN {literal(LIKELY + kind)}" for kind, marks in kinds
    )
    return f" || CASE {cases} ELSE '' END"


def _has(mark: str) -> str:
    path = "".join(f'."{key}"' for key in mark.split("."))
    return f'json_exists("~raw", {literal(f"${path}")})'


def _by_type(given: str, values: Mapping[str, str], otherwise: str) -> str:
    """SQL of a value for each known type of event, in any case of letters."""
    # DuckDB would make a join of an IN with so many values.
    cases = " ".join(f"WHEN {literal(kind)} THEN {value}" for kind, value in values.items())
    return f"CASE lower({given}) {cases} ELSE {otherwise} END"


def _blank(column: str, delimiter: str = "") -> str:
    # In a tab-separated record a lone tab is two empty fields, not white space.
    space = " \t\r\n\f\v".replace(delimiter, "") if delimiter else " \t\r\n\f\v"
    return f"trim({identifier(column)}, {literal(space)}) = ''"


def _trimmed(text: str) -> str:
    # DuckDB's trim costs ten times as much as looking whether there may be anything to trim: what is less than the
    # character after the space is empty, or begins with a space or a control character.
    return f"CASE WHEN {text} < '!' OR ends_with({text}, ' ') THEN nullif(trim({text}), '') ELSE {text} END"


def _nulls(structure: Any) -> Any:
    return {key: _nulls(inner) for key, inner in structure.items()} if isinstance(structure, dict) else None


def _leaves(structure: Any, path: Path) -> list[Path]:
    if not isinstance(structure, dict):
        return [path]
    return [leaf for key, inner in structure.items() for leaf in _leaves(inner, (*path, key))]


def _patch(structure: dict[str, Any], path: Path) -> str:
    """SQL of the merge patch that removes the leaves of a structure."""
    fixed = [f"{_dump(key)}:null" for key, inner in structure.items() if not isinstance(inner, dict)]
    # A patch replaces what is no object by an object, and adds objects that are missing. So the part for a container is
    # only made where one of the leaves below it was found: then the container is an object.
    optional = [
        f"CASE WHEN coalesce({', '.join(map(_reference, _leaves(inner, (*path, key))))}) IS NOT NULL"
        f" THEN {literal(f'{_dump(key)}:')} || {_patch(inner, (*path, key))} || ',' ELSE '' END"
        for key, inner in structure.items()
        if isinstance(inner, dict)
    ]
    if not optional:
        return literal("{" + ",".join(fixed) + "}")
    if fixed:
        return f"'{{' || {' || '.join(optional)} || {literal(','.join(fixed) + '}')}"
    return f"'{{' || rtrim({' || '.join(optional)}, ',') || '}}'"


def _lenient_value(column: str, text: str) -> str:
    """SQL of the value of a lenient column, null where its text cannot be used."""
    if column == "scroll_depth":
        value = f"try_cast({text} AS DOUBLE)"
        # Not a number is greater than any number here.
        return f"CASE WHEN {value} BETWEEN 0 AND 100 THEN {value} END"
    value = f"try_cast({text} AS JSON)"
    # What was text within the JSON of the row may bring a U+0000 of its own.
    return f"CASE WHEN starts_with({text}, '[') AND {value} IS NOT NULL THEN {_without_nul_escapes(text)} END"


def _is_number(text: str) -> str:
    return f"(try_cast({text} AS DOUBLE) IS NOT NULL)"


def _is_no_amount(text: str, amount: str | None = None) -> str:
    """SQL of whether a text is a number (NaN and infinity are) that is no amount."""
    return f"({amount or f'try_cast({text} AS {AMOUNT_TYPE})'} IS NULL AND {_is_number(text)})"


def _exact(value: str, kind: str) -> str:
    """SQL of the JSON of a value in which no decimal loses a digit: JSON's numbers here hold 15, one of more is a text.

    Args:
        value: SQL of the value.
        kind: SQL of the name of its type.
    """
    digits = f"strlen(trim(regexp_replace(({value})::VARCHAR, '[-.]', '', 'g'), '0'))"
    return f"""CASE WHEN starts_with({kind}, 'DECIMAL') AND {digits} > 15 THEN to_json(({value})::VARCHAR)
        ELSE to_json({value}) END"""


def _without_nul_escapes(text: str) -> str:
    """SQL of a JSON text without the escapes of U+0000."""
    clean = f"regexp_replace({text}, {_NULL_ESCAPES}, '\\1', 'g')"
    return f"CASE WHEN contains({text}, '\\u0000') THEN {clean} ELSE {text} END"
