"""Compiles a source's declaration to the DuckDB query that stages a file.

The query is a chain of projections over `raw_rows`. Each step sees only the columns of the step before, so that every
value is computed once, and a name in a user's expression can never meet one of ours: ours begin with `~`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from pipeline_assets.contracts.staged_events import EVENT_TYPES, StagedEvents
from pipeline_assets.ledger.files import LONGEST_RAW
from pipeline_assets.settings import MAX_RECORD_BYTES
from pipeline_assets.sources.declaration import (
    ID_COLUMNS,
    JSON_FORMATS,
    LOG_FORMATS,
    MAPPABLE_COLUMNS,
    TIME_COLUMNS,
    Source,
)
from pipeline_assets.sources.expressions import Expression, Path, parse

STAGING_VERSION = 2
"""Raise it whenever the same declaration and file would give other staged rows than before."""

LOG_GROUPS = (
    "remote_host", "remote_user", "time", "request", "method", "target", "protocol", "status", "bytes", "referrer",
    "user_agent",
)  # fmt: skip
"""What an expression over an access log can read; a value given as "-" is null."""

BOOLEAN_COLUMNS = tuple(name for name, column in StagedEvents.columns().items() if column.dtype == pl.Boolean)
DECIMAL_COLUMNS = tuple(name for name, column in StagedEvents.columns().items() if column.dtype == pl.Decimal)
LENIENT_COLUMNS = ("items", "scroll_depth")
"""Columns whose value counts as absent where it cannot be used; it then stays in the properties."""

LONGEST_ID = 500
"""Bytes that an identifier may have; a longer one is a mistake, and PostgreSQL could not index it."""

_KEYS = ("property", "event_id", "anonymous_id", "user_id", "session_id_supplied", "view_id", "order_id")
_DEFAULTED = ("property", "event_type", "is_conversion")
# PostgreSQL cannot hold U+0000, whose escape a JSON text may contain behind an even number of backslashes.
_NULL_ESCAPES = r"'((?:^|[^\\])(?:\\\\)*)(?:\\u0000)+'"
_MINUTE = 60_000_000
_FIRST_MOMENT = -62_135_596_800_000_000  # 0001-01-01 and 9999-12-31: what Python and Arrow consumers can hold
_LAST_MOMENT = 253_402_300_799_999_999

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_COMMON_LOG = r"^(\S+) \S+ (.*?) \[([^\]]*)\] " + _QUOTED + r" (\d{3}|-) (\d+|-)"
_LOG_PATTERNS = {
    "common_log": _COMMON_LOG + r"\s*$",
    "combined_log": _COMMON_LOG + f" {_QUOTED} {_QUOTED}" + r"\s*$",
}
_LINE_GROUPS = (
    "remote_host",
    "remote_user",
    "time",
    "request",
    "status",
    "bytes",
    "referrer",
    "user_agent",
)
_REQUEST_PATTERN = r"^([A-Z]+) (.*?)(?: (HTTP/[0-9.]+))?$"

# Only what is certain is read: DuckDB's cast alone would drop an offset or a zone name it does not know.
_WITH_OFFSET = r".*:\d{2}(:\d{2}(\.\d+)?)?[+-](0\d|1[0-8])(:?[0-5]\d)?"
_WITHOUT_OFFSET = r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?"


def rules_version(source: Source, timezone: str, first_day: date, max_record_bytes: int = MAX_RECORD_BYTES) -> str:
    """Version of all that decides how a file's rows are staged: 12 hex digits.

    Attributes that only choose files or act later (path, sessions, dedup_days, bounds) do not count.
    """
    parts = {
        "version": STAGING_VERSION,
        "name": source.name,
        "format": source.record_format,
        "columns": source.ready.columns if source.ready else (),
        "reshape": [dict(step) for step in source.ready.reshape] if source.ready else [],
        "compression": source.compression,
        "property": _property(source),
        "mapping": {column: source.mapping[column].strip() for column in sorted(source.mapping)},
        "ids": {kind: source.ids[kind].strip() for kind in sorted(source.ids)},
        "time": {column: source.time_rule(column) for column in TIME_COLUMNS if column in source.mapping},
        "required": [column for column in MAPPABLE_COLUMNS if column in source.required],
        "rules": [[name, rule.strip()] for name, rule in source.rules.items()],
        "consent": source.consent.denied,
        "timezone": timezone,
        "first_day": first_day.isoformat(),
        "max_record_bytes": max_record_bytes,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def staging_query(source: Source, *, fields: Sequence[str] | None, timezone: str, first_day: date) -> str:
    """The SELECT that turns a file's records into staged rows.

    It reads the relation `raw_rows`, whose columns are taken by position: for text formats (line BIGINT, raw VARCHAR),
    one JSON value, log line or CSV record each; for W3C logs also (fields VARCHAR, day VARCHAR), the names of its
    fields and the date that directives give; for Parquet (line BIGINT, then the columns named in `fields`). Its
    parameters are `load_id` and `booked_at` (TIMESTAMPTZ), and the session's TimeZone must be UTC.

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
        chain.append(f"{_name(f'~{number}')} AS NOT MATERIALIZED (\n{step.select(previous)}\n)")
        previous = _name(f"~{number}")
    return "WITH " + ",\n".join(chain) + "\n" + plan.result(timezone).select(previous)


def column_names(fields: Iterable[str]) -> tuple[str, ...]:
    """Names under which a file's columns can be used: an empty one becomes column_<position>, repeats get a suffix."""
    names: list[str] = []
    taken: set[str] = set()
    for position, field in enumerate(fields, 1):
        base = field.strip() or f"column_{position}"
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
    return "STRUCT(" + ", ".join(f"{_name(key)} {sql_type(inner)}" for key, inner in structure.items()) + ")"


def quote(text: str) -> str:
    """Text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


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
        self.times = [column for column in TIME_COLUMNS if column in self.mapped]
        self.is_json = source.record_format in JSON_FORMATS
        self.is_parquet = source.record_format == "parquet"
        self.references = {path for expression in self.mapped.values() for path in expression.references}

    # -- reading: one column per name an expression can use -----------------------------------------------------------

    def read(self) -> list[_Step]:
        """Steps from `raw_rows` to `~line`, `~raw`, `~bad` and the columns expressions read."""
        if self.is_json:
            return self._read_json()
        if self.source.record_format in LOG_FORMATS:
            return self._read_log()
        if self.is_parquet:
            return self._read_parquet()
        return self._read_csv()

    def _read_json(self) -> list[_Step]:
        structure = json_structure(self.references)
        parsed = f'json_transform("~json", {quote(_dump(structure))})' if structure else "NULL"
        reshape = self.source.ready.reshape if self.source.ready else ()
        split = {"tsv_lines": self._split_tsv, "w3c_lines": self._split_w3c}.get(self.source.record_format)
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
                    *(f'"~row".{_name(key)} AS {_name(key)}' for key in structure),
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
        values = f"string_split(replace(\"raw\", chr(0), ''), {quote(chr(9))})"
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
            _Step(('"~line"', '"raw"', '"~bad"', _object(f"[{', '.join(map(quote, names))}]", "''"))),
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

    def _reshape(self, steps: Sequence[Mapping[str, str]]) -> list[_Step]:
        columns = ['"~line"', '"raw"', '"~bad"']
        made = [_Step((*columns, '"~json"', '"~json" AS "record"'))]
        columns += ['"~json"', '"record"']
        for values in steps[:-1]:
            made.append(_Step((*columns, *(f"TRY(({sql}\n)) AS {_name(name)}" for name, sql in values.items()))))
            columns += map(_name, values)
        made.append(_Step((*columns[:3], f'coalesce(TRY(({steps[-1]["record"]}\n)), "~json")::VARCHAR AS "~json"')))
        # A text that was opened may have brought a U+0000.
        clean = f"""CASE WHEN contains("~json", '\\u0000')
            THEN regexp_replace("~json", {_NULL_ESCAPES}, '\\1', 'g') ELSE "~json" END"""
        made.append(_Step((*columns[:3], f'{clean}::JSON AS "~json"')))
        return made

    def _read_log(self) -> list[_Step]:
        pattern = _LOG_PATTERNS[self.source.record_format]
        groups = _LINE_GROUPS if self.source.record_format == "combined_log" else _LINE_GROUPS[:-2]
        names = ", ".join(quote(group) for group in groups)
        method, target, protocol = (f'"~request".{part}' for part in ("method", "target", "protocol"))
        request = f"regexp_extract(\"~parts\".request, {quote(_REQUEST_PATTERN)}, ['method', 'target', 'protocol'])"

        def given(value: str) -> str:
            return rf"""nullif(nullif(replace({value}, '\"', '"'), '-'), '')"""

        values = {group: f'"~parts".{group}' for group in groups}
        values |= {"method": method, "target": target, "protocol": protocol}
        return [
            _Step(
                (
                    '"~line"',
                    '"raw" AS "~raw"',
                    f"""regexp_extract(replace("raw", chr(0), ''), {quote(pattern)}, [{names}]) AS "~parts\"""",
                ),
                _TEXT_RECORD,
            ),
            _Step(
                (
                    '"~line"',
                    '"~raw"',
                    '"~parts"',
                    f"""CASE WHEN {_blank("~raw")} THEN 'blank'
                    WHEN "~parts".remote_host = '' THEN 'not_a_log_line' END AS "~bad\"""",
                    f'{request} AS "~request"',
                )
            ),
            _Step(
                (
                    '"~line"',
                    '"~raw"',
                    '"~bad"',
                    '"~raw" AS "raw"',
                    *(
                        f"{given(values[group]) if group in values else 'NULL::VARCHAR'} AS {_name(group)}"
                        for group in LOG_GROUPS
                    ),
                )
            ),
        ]

    def _read_csv(self) -> list[_Step]:
        delimiter = "," if self.source.record_format == "csv" else "\t"
        # RFC 4180: a field is quoted, with doubled quotes inside, or runs to the next delimiter.
        pattern = f'("(?:[^"]|"")*"|[^{delimiter}]*){delimiter}'
        clean = "replace(\"raw\", chr(0), '')"
        values = f"""CASE WHEN contains("raw", '"') THEN list_transform(
            regexp_extract_all({clean} || {quote(delimiter)}, {quote(pattern)}, 1),
            lambda value: CASE WHEN starts_with(value, '"') AND ends_with(value, '"') AND length(value) > 1
              THEN replace(value[2:-2], '""', '"') ELSE value END)
          ELSE string_split({clean}, {quote(delimiter)}) END"""
        expected = len(self.fields)
        has_raw = "raw" in {name.casefold() for name in self.fields}
        return [
            _Step(('"~line"', '"raw" AS "~raw"', f'{values} AS "~values"'), _TEXT_RECORD),
            _Step(
                (
                    '"~line"',
                    '"~raw"',
                    '"~values"',
                    f"""CASE WHEN {_blank("~raw", delimiter)} THEN 'blank'
                    WHEN len("~values") <> {expected}
                    THEN 'field_count: {expected} expected, ' || len("~values") || ' found' END AS "~bad\"""",
                )
            ),
            _Step(
                (
                    '"~line"',
                    '"~raw"',
                    '"~bad"',
                    *(() if has_raw else ('"~raw" AS "raw"',)),
                    *(f'"~values"[{n}] AS {_name(name)}' for n, name in enumerate(self.fields, 1)),
                    *self._absent("raw"),
                )
            ),
        ]

    def _read_parquet(self) -> list[_Step]:
        names = [_name(name) for name in self.fields]
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
            f"NULL::{sql_type(kind)} AS {_name(name)}"
            for name, kind in json_structure({path for path in absent if path[0] != "raw"}).items()
        ]

    # -- evaluating the declared expressions --------------------------------------------------------------------------

    def evaluated(self) -> _Step:
        """The value of every expression, `~=<column>`, of any type; what can fail is wrapped."""
        columns = ['"~line"', '"~raw"', '"~bad"', f'{self._remaining()} AS "~rest"']
        for column, expression in self.mapped.items():
            # TRY alone could not tell a failure from a value that is null.
            value = f"({expression.text}\n)"
            value = value if expression.bare else f'TRY(struct_pack("v" := {value}))'
            columns.append(f"{value} AS {_name(f'~={column}')}")
        return _Step(columns)

    def _kept(self) -> set[Path]:
        """Paths whose whole value is in a mapped column of every good row."""
        return {
            expression.plain
            for column, expression in self.mapped.items()
            # Where both are mapped device_at wins, and the other may differ from it.
            if expression.plain
            and not (column == "occurred_at" and "device_at" in self.mapped)
            and column not in LENIENT_COLUMNS
        }

    def _lenient(self) -> dict[Path, str]:
        """Paths whose whole value is in a lenient column where it can be used, and the SQL that says whether it can."""
        paths = {column: self.mapped[column].plain for column in LENIENT_COLUMNS if column in self.mapped}
        kept = self._kept()
        return {
            path: f"{_lenient_value(column, _trimmed(f'{_reference(path)}::VARCHAR'))} IS NOT NULL"
            for column, path in paths.items()
            if path is not None and path not in kept and path != ("raw",)
        }

    def _remaining(self) -> str:
        """SQL of a JSON object of all that is in no mapped column."""
        if self.is_json:
            kept = {path for path in self._kept() if path[0] != "raw"}
            rest = f'json_merge_patch("~json", {_patch(json_structure(kept), ())})' if kept else '"~json"'
            for path, usable in self._lenient().items():
                # Where the value can be used, everything around it is an object.
                patch = quote(_dump(_nulls(json_structure([path]))))
                rest = f"CASE WHEN {usable} THEN json_merge_patch({rest}, {patch}) ELSE {rest} END"
            return f'CASE WHEN "~bad" IS NULL THEN ({rest})::VARCHAR END'
        names = LOG_GROUPS if self.source.record_format in LOG_FORMATS else self.fields
        kept_names = {path[0].casefold() for path in self._kept() if len(path) == 1}
        values = {name: _name(name) for name in names if name.casefold() not in kept_names}
        if self.source.record_format in LOG_FORMATS and "request" in values:
            # Its three parts say the same, unless it could not be divided.
            values["request"] = 'CASE WHEN "method" IS NULL THEN "request" END'
        if not values:
            return "NULL::VARCHAR"
        if not self.is_parquet:
            values = {name: f"nullif({value}, '')" for name, value in values.items()}
        usable = {path[0].casefold(): sql for path, sql in self._lenient().items() if len(path) == 1}
        for name, value in values.items():
            if name.casefold() in usable:
                values[name] = f"CASE WHEN NOT coalesce({usable[name.casefold()]}, false) THEN {value} END"
        pairs = ", ".join(f"{quote(name)}, {value}" for name, value in values.items())
        return f"json_strip_nulls(json_object({pairs}))::VARCHAR"

    # -- from values to typed columns ---------------------------------------------------------------------------------

    def texts(self) -> _Step:
        """Every value as trimmed text, null where empty, and `~!<column>` where an expression failed."""
        columns = ['"~line"', '"~raw"', '"~bad"', '"~rest"']
        for column, expression in self.mapped.items():
            value = _name(f"~={column}")
            if not expression.bare:
                columns.append(f"{value} IS NULL AS {_name(f'~!{column}')}")
                value = f'{value}."v"'
            text = f"{value}::VARCHAR"
            if self.is_parquet:
                text = f"replace({text}, chr(0), '')"
            columns.append(f"{_trimmed(text)} AS {_name(f'~={column}')}")
        return _Step(columns)

    def typed(self) -> _Step:
        """The typed value of every column beside its text; times are microseconds since the epoch."""
        columns = ["*"]
        for column in self.mapped:
            text = _name(f"~={column}")
            if column in BOOLEAN_COLUMNS:
                value = f"try_cast({text} AS BOOLEAN)"
            elif column in DECIMAL_COLUMNS:
                value = f"try_cast({text} AS DECIMAL(18, 6))"
            elif column in TIME_COLUMNS:
                value = _microseconds(text, *self.source.time_rule(column))
            elif column in LENIENT_COLUMNS:
                value = _lenient_value(column, text)
            else:
                continue
            columns.append(f"{value} AS {_name(f'~{column}')}")
        return _Step(columns)

    def checked(self) -> _Step:
        """`~unparsable`: the first column, in the contract's order, whose value is there but cannot be used.

        And `~unusable`: the lenient columns of which that holds; they do without.
        """
        columns = ['"~line"', '"~raw"', '"~bad"', '"~rest"']
        failed = []
        unusable = []
        for column, expression in self.mapped.items():
            text, value, failure = (
                _name(f"~={column}"),
                _name(f"~{column}"),
                _name(f"~!{column}"),
            )
            if column in LENIENT_COLUMNS:
                columns.append(value)
                unusable.append(f"CASE WHEN {text} IS NOT NULL AND {value} IS NULL THEN {quote(column)} END")
                continue
            broken = [] if expression.bare else [failure]
            if column in TIME_COLUMNS:
                value = f"CASE WHEN {value} BETWEEN {_FIRST_MOMENT} AND {_LAST_MOMENT} THEN {value} END"
            if column in (*BOOLEAN_COLUMNS, *DECIMAL_COLUMNS, *TIME_COLUMNS):
                broken.append(f"({text} IS NOT NULL AND ({value}) IS NULL)")
                columns.append(f"{value} AS {_name(f'~{column}')}")
            else:
                columns.append(f"{text} AS {_name(f'~{column}')}")
            if broken:
                failed.append(f"WHEN {' OR '.join(broken)} THEN {quote(column)}")
        columns.append(f'CASE {" ".join(failed)} END AS "~unparsable"' if failed else 'NULL::VARCHAR AS "~unparsable"')
        found = f"nullif(concat_ws(', ', {', '.join(unusable)}), '')" if unusable else "NULL::VARCHAR"
        columns.append(f'{found} AS "~unusable"')
        return _Step(columns)

    def _value(self, column: str, null: str = "NULL::VARCHAR") -> str:
        return _name(f"~{column}") if column in self.mapped else null

    # -- the clock rule of definitions.md -----------------------------------------------------------------------------

    def clocked(self) -> list[_Step]:
        """Steps that add `~claimed`, `~skew`, `~occurred` (microseconds) and `~clock`, the reason of a correction."""
        device, occurred, received, sent = (
            self._value(column, "NULL::BIGINT") for column in ("device_at", "occurred_at", "received_at", "sent_at")
        )
        return [
            _Step(
                (
                    "*",
                    f'coalesce({device}, {occurred}) AS "~claimed"',
                    f'{received} - {sent} AS "~skew"',
                ),
            ),
            _Step(
                (
                    "*",
                    f"""CASE WHEN abs("~skew") > {10 * _MINUTE} THEN 'skew'
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
        ]
        columns.append(f'{self._value("received_at", "NULL::BIGINT")} AS "~received"')
        columns += [f"{self._value(column)} AS {_name(f'~{column}')}" for column in _DEFAULTED]
        for column in MAPPABLE_COLUMNS:
            if column == "occurred_at":
                value = 'make_timestamptz("~occurred")'
            elif column in TIME_COLUMNS:
                value = f"make_timestamptz({self._value(column, 'NULL::BIGINT')})"
            elif column == "event_type":
                value = _by_type(self._value(column), {kind: quote(kind) for kind in EVENT_TYPES}, "'track'")
            elif column == "property":
                value = f"coalesce({self._value(column)}, {quote(_property(self.source))})"
            elif column == "is_conversion":
                value = f"coalesce({self._value(column, 'NULL::BOOLEAN')}, false)"
            elif column in BOOLEAN_COLUMNS:
                value = self._value(column, "NULL::BOOLEAN")
            elif column in DECIMAL_COLUMNS:
                value = self._value(column, "NULL::DECIMAL(18, 6)")
            elif column == "scroll_depth":
                value = self._value(column, "NULL::DOUBLE")
            else:
                value = self._value(column)
            columns.append(f"{value} AS {_name(column)}")
        columns += [_name(f"~{column}") for column in self.ids.values()]
        return _Step(columns)

    def judged(self, timezone: str, first_day: date) -> _Step:
        """`~reason`: why a row is quarantined, the first that holds; and whether it refuses analytics."""
        beginning = datetime.combine(first_day, time(), ZoneInfo(timezone))
        earliest = int(beginning.timestamp()) * 1_000_000
        latest = f"""coalesce("~received", epoch_us($booked_at::TIMESTAMPTZ)) + {5 * _MINUTE}"""
        cases = [
            ('"~bad" IS NOT NULL', '"~bad"'),
            ('"~unparsable" IS NOT NULL', "'unparsable:' || \"~unparsable\""),
            *(
                (f"strlen({_name(column)}) > {LONGEST_ID}", quote(f"too_long:{column}"))
                for column in _KEYS
                if column in self.source.mapping
            ),
            *(
                (f"strlen({_name(f'~{column}')}) > {LONGEST_ID}", quote(f"too_long:{column}"))
                for column in self.ids.values()
            ),
            ('"~occurred" IS NULL', quote("missing:occurred_at")),
            (
                '"anonymous_id" IS NULL AND "user_id" IS NULL',
                quote("missing:anonymous_id or user_id"),
            ),
            *(
                # A default must not hide that the source gave nothing.
                (
                    f"{_name(f'~{column}' if column in _DEFAULTED else column)} IS NULL",
                    quote(f"missing:{column}"),
                )
                for column in MAPPABLE_COLUMNS
                if column in self.source.required
            ),
            (
                f'"~occurred" < {earliest} OR "~occurred" > {latest}',
                quote("out_of_range"),
            ),
            *(
                # A rule that fails on a row has not been kept by it.
                (
                    f"NOT coalesce(TRY(coalesce(({rule}\n), true)), false)",
                    quote(f"rule:{name}"),
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
            "source": quote(self.source.name),
            "load_id": "$load_id::VARCHAR",
            "line": '"~line"',
            "row_hash": f'CASE WHEN "event_id" IS NULL THEN sha256({quote(self.source.name)} || chr(10) || {raw}) END',
            "clock_skew_ms": '"~skew" // 1000',
            "clock_reason": '"~clock"',
            "unusable": '"~unusable"',
            "properties": f"nullif({self._properties()}, '{{}}')",
            "excluded": "CASE WHEN \"~refused\" THEN 'consent_denied' END" if drop else "NULL::VARCHAR",
        }
        given = '"~event_type"'
        computed["event_type_given"] = _by_type(given, dict.fromkeys(EVENT_TYPES, "NULL"), given)
        computed["further_ids"] = self._further_ids()
        computed |= {column: f'CASE WHEN NOT "~refused" THEN {_name(column)} END' for column in ID_COLUMNS}
        day = 'make_timestamp("~occurred")'
        if timezone != "UTC":
            day = f'timezone({quote(timezone)}, make_timestamptz("~occurred"))'
        columns = [
            f"{computed.get(column, _name(column))} AS {_name(column)}" for column in StagedEvents.column_names()
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
        pairs = ", ".join(f"{quote(kind)}, {_name(f'~{column}')}" for kind, column in self.ids.items())
        ids = f"nullif(json_strip_nulls(json_object({pairs}))::VARCHAR, '{{}}')"
        return f'CASE WHEN NOT "~refused" THEN {ids} END'

    def _properties(self) -> str:
        """The remaining JSON; where consent is refused, without anything that an id was made from."""
        if "consent" not in self.mapped:
            return '"~rest"'
        columns = (*ID_COLUMNS, *self.ids.values())
        paths = {path for column in columns if column in self.mapped for path in self.mapped[column].references}
        if not self.is_json:
            fields = LOG_GROUPS if self.source.record_format in LOG_FORMATS else self.fields
            names = {name.casefold(): name for name in fields}
            whole_row = ("raw",) in paths and "raw" not in names
            paths = {(names[path[0].casefold()],) for path in paths if path[0].casefold() in names}
        else:
            whole_row = ("raw",) in paths
        if whole_row:
            return 'CASE WHEN NOT "~refused" THEN "~rest" END'
        # Here a container that is no object is lost on purpose: it may hold an id in a form nobody declared.
        patch = quote(_dump(_nulls(json_structure(paths))))
        return f'CASE WHEN "~refused" THEN json_merge_patch("~rest", {patch})::VARCHAR ELSE "~rest" END'


def _reference(path: Path) -> str:
    return ".".join(map(_name, path))


def _object(names: str, absent: str) -> str:
    """SQL of a record's object, `~json`, from the list of its names and the list `~values`."""
    pairs = f"""list_filter(list_zip({names}, "~values"), lambda pair: pair[2] <> '' AND pair[2] <> {absent})"""
    return f'CASE WHEN "~bad" IS NULL THEN to_json(map_from_entries({pairs})) END AS "~json"'


def _by_type(given: str, values: Mapping[str, str], otherwise: str) -> str:
    """SQL of a value for each known type of event, in any case of letters."""
    # DuckDB would make a join of an IN with so many values.
    cases = " ".join(f"WHEN {quote(kind)} THEN {value}" for kind, value in values.items())
    return f"CASE lower({given}) {cases} ELSE {otherwise} END"


def _blank(column: str, delimiter: str = "") -> str:
    # In a tab-separated record a lone tab is two empty fields, not white space.
    space = " \t\r\n\f\v".replace(delimiter, "") if delimiter else " \t\r\n\f\v"
    return f"trim({_name(column)}, {quote(space)}) = ''"


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
        f" THEN {quote(f'{_dump(key)}:')} || {_patch(inner, (*path, key))} || ',' ELSE '' END"
        for key, inner in structure.items()
        if isinstance(inner, dict)
    ]
    if not optional:
        return quote("{" + ",".join(fixed) + "}")
    if fixed:
        return f"'{{' || {' || '.join(optional)} || {quote(','.join(fixed) + '}')}"
    return f"'{{' || rtrim({' || '.join(optional)}, ',') || '}}'"


def _lenient_value(column: str, text: str) -> str:
    """SQL of the value of a lenient column, null where its text cannot be used."""
    if column == "scroll_depth":
        value = f"try_cast({text} AS DOUBLE)"
        # Not a number is greater than any number here.
        return f"CASE WHEN {value} BETWEEN 0 AND 100 THEN {value} END"
    value = f"try_cast({text} AS JSON)"
    # What was text within the JSON of the row may bring a U+0000 of its own.
    clean = f"regexp_replace({text}, {_NULL_ESCAPES}, '\\1', 'g')"
    return (
        f"CASE WHEN starts_with({text}, '[') AND {value} IS NOT NULL"
        f" THEN CASE WHEN contains({text}, '\\u0000') THEN {clean} ELSE {text} END END"
    )


def _microseconds(text: str, kind: str, zone: str) -> str:
    """SQL of a moment in microseconds since the epoch, null where the text is no time in this format."""

    def local(timestamp: str) -> str:
        return f"epoch_us({timestamp})" if zone == "UTC" else f"epoch_us(timezone({quote(zone)}, {timestamp}))"

    if kind == "iso8601":
        return (
            f"CASE WHEN ends_with({text}, 'Z') OR regexp_full_match({text}, {quote(_WITH_OFFSET)})"
            f" THEN epoch_us(try_cast({text} AS TIMESTAMPTZ))"
            f" WHEN regexp_full_match({text}, {quote(_WITHOUT_OFFSET)})"
            f" THEN {local(f'try_cast({text} AS TIMESTAMP)')} END"
        )
    decimals = {"epoch_s": 6, "epoch_ms": 3, "epoch_us": 0}
    if kind in decimals:
        digits = decimals[kind]
        return f"try_cast(try_cast({text} AS DECIMAL(24, {digits})) * {10**digits} AS BIGINT)"
    moment = f"try_strptime({text}, {quote(kind)})"
    return f"epoch_us({moment})" if "%z" in kind or "%Z" in kind else local(moment)
