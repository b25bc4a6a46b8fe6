"""Compiles a source's declaration to the DuckDB query that stages a file.

The query is a chain of projections over `raw_rows`. Each step sees only the columns of the step before, so that every
value is computed once, and a name in a user's expression can never meet one of ours: ours begin with `~`.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import polars as pl

from pipeline_assets.code_version import code_version
from pipeline_assets.columns import money
from pipeline_assets.declarations.expressions import Expression, FieldPath, choosing, parse
from pipeline_assets.digests import digest
from pipeline_assets.settings import MAX_RECORD_BYTES
from pipeline_assets.sources.declaration import ID_COLUMNS, MAPPABLE_COLUMNS, TIME_COLUMNS, Source
from pipeline_assets.sources.encodings import UTF_8, canonical
from pipeline_assets.sources.limits import LONGEST_ID, LONGEST_RAW
from pipeline_assets.sources.no_ids import IDENTIFIERS, no_ids_of, which_no_id
from pipeline_assets.sources.records.record_format import MappedFields
from pipeline_assets.sources.records.steps import (
    Step,
    column_names,
    dump,
    json_structure,
    nulls,
    reference,
    trimmed,
    without_nul_escapes,
)
from pipeline_assets.sources.staged_events import EVENT_TYPES, StagedEvents
from pipeline_assets.sources.times import ISO_8601, microseconds
from pipeline_assets.sql import identifier, literal

_STAGING_CODE = ("pipeline_assets.sources.mapping:staging_query", "pipeline_assets.staging.reading:read_records")
"""What makes staged rows of a file, given its declaration, besides the code of its record format."""

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
_MINUTE = 60_000_000
# Where the line of a file is staged with those of others, the number of its file, from 0, is above these bits.
LINE_BITS = 40
_OF_FILE = f'[("~line" >> {LINE_BITS}) + 1]'
_FIRST_MOMENT = -62_135_596_800_000_000  # 0001-01-01 and 9999-12-31: what Python and Arrow consumers can hold
_LAST_MOMENT = 253_402_300_799_999_999

# What is no ISO 8601, but a date or a number all the same.
_OTHER_DATE = r"(\d{1,2}[./-]\s?(\d{1,2}|[A-Za-z]{3,9})[./-]\s?\d{2,4}|\d{4}[./]\d{1,2}[./]\d{1,2})([ T,].*)?"
_OTHER_NUMBER = r"~?\s*[+-]?[\d.,]*\d[\d.,' \x{A0}\x{202F}]*"
_NO_BREAK_SPACES = "\u00a0\u202f"


def declaration_version_of(
    source: Source, timezone: str, first_day: date, max_record_bytes: int = MAX_RECORD_BYTES
) -> str:
    """Version of all that decides how a file's rows are staged: 12 hex digits.

    Attributes that only choose files or act later (path, sessions, dedup_days, bounds) do not count.
    """
    records = source.record_format
    parts = {
        # Of record formats only its own: a change of another one leaves its staged rows as they are.
        "code": code_version(*_STAGING_CODE, f"{type(records).__module__}:{type(records).__qualname__}"),
        "records": [records.name, records.declared()],
        "name": source.name,
        "encoding": canonical(source.encoding) if source.encoding else UTF_8,
        "compression": source.compression,
        "property": _property(source),
        "mapping": {column: source.mapping[column].strip() for column in sorted(source.mapping)},
        "ids": {kind: source.ids[kind].strip() for kind in sorted(source.ids)},
        "exact": source.time.exact and source.time.exact.strip(),
        "time": {column: source.time_rule(column) for column in TIME_COLUMNS if column in source.mapping},
        "required": [column for column in MAPPABLE_COLUMNS if column in source.required],
        "rules": [[name, rule.strip()] for name, rule in source.rules.items()],
        "consent": source.consent.denied,
        "no_ids": no_ids_of("", source.no_ids),
        "timezone": timezone,
        "first_day": first_day.isoformat(),
        "max_record_bytes": max_record_bytes,
    }
    return digest(parts, 12)


def staging_query(source: Source, *, fields: Sequence[str] | None, timezone: str, first_day: date) -> str:
    """The SELECT that turns the records of files into staged rows.

    It reads the relation `raw_rows`, whose columns are taken by position: (line BIGINT, raw VARCHAR), one record each,
    and what else the record format has (`schema`); where DuckDB reads the files itself, (line BIGINT, then the columns
    named in `fields`). The bits of `line` from `LINE_BITS` on are the number of the file, from 0. The parameters of the
    query are the lists `load_ids` and `booked_at` (TIMESTAMPTZ) of the files; the session's TimeZone must be UTC.

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
        *plan.format.steps(plan.fields, plan.references),
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


def _too_long(column: str) -> str:
    return f"too_long:{column} (over {LONGEST_ID} bytes)"


def _property(source: Source) -> str:
    return source.property or source.name


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
        self.format = source.record_format
        self.notation = (self.format.decimal, self.format.thousands)
        self.references = {path for expression in self.mapped.values() for path in expression.references}

    # -- evaluating the declared expressions --------------------------------------------------------------------------

    def evaluated(self) -> Step:
        """The value of every expression, `~=<column>`, of any type; what can fail is wrapped."""
        columns = ['"~line"', '"~raw"', '"~bad"', f'{self.format.rest(self.fields, self._mapped())} AS "~rest"']
        for column, expression in self.mapped.items():
            # TRY alone could not tell a failure from a value that is null.
            value = f"({self._written(column, expression)}\n)"
            value = value if expression.bare else f'TRY(struct_pack("v" := {value}))'
            columns.append(f"{value} AS {identifier(f'~={column}')}")
        return Step(columns)

    def _written(self, column: str, expression: Expression) -> str:
        """SQL of an expression; that of an id takes an id, where there is one among its alternatives."""
        if not self._is_identifier(column) or expression.bare:
            return expression.text
        none = ", ".join(map(literal, ("", *no_ids_of(column, self.source.no_ids))))

        def is_id(value: str) -> str:
            return f"NOT coalesce(list_contains([{none}], lower(trim({value}::VARCHAR))), true)"

        return choosing(expression.text, is_id)

    def _kept(self) -> set[FieldPath]:
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

    def _lenient(self) -> dict[FieldPath, str]:
        """Paths whose whole value is in a lenient column where it can be used, and the SQL that says whether it can."""
        paths = {column: self.mapped[column].plain for column in LENIENT_COLUMNS if column in self.mapped}
        kept = self._kept()
        return {
            path: f"{_lenient_value(column, self._text(column, path))} IS NOT NULL"
            for column, path in paths.items()
            if path is not None and path not in kept and path != ("raw",)
        }

    def _no_amounts(self) -> dict[FieldPath, str]:
        """Paths whose whole value is an amount, and the SQL that says whether it is a number and yet no amount."""
        paths = {column: self.mapped[column].plain for column in DECIMAL_COLUMNS if column in self.mapped}
        return {
            path: f"coalesce({_is_no_amount(self._text(column, path))}, false)"
            for column, path in paths.items()
            if path is not None and path != ("raw",)
        }

    def _mapped(self) -> MappedFields:
        return MappedFields(self._kept(), self._lenient(), self._no_amounts())

    # -- from values to typed columns ---------------------------------------------------------------------------------

    def texts(self) -> Step:
        """Every value as trimmed text, null where empty, and `~!<column>` where an expression failed."""
        columns = ['"~line"', '"~raw"', '"~bad"', '"~rest"']
        for column, expression in self.mapped.items():
            value = identifier(f"~={column}")
            if not expression.bare:
                columns.append(f"{value} IS NULL AS {identifier(f'~!{column}')}")
                value = f'{value}."v"'
            text = f"{value}::VARCHAR"
            if column in NUMBER_COLUMNS and self.notation != (".", ""):
                # What an expression has made a number of is written with a point.
                text = f"CASE typeof({value}) WHEN 'VARCHAR' THEN {self._number(text)} ELSE {text} END"
            # Most formats are rid of it when they are read; an expression may bring it back.
            if self.format.may_hold_nul or not expression.bare or expression.plain == ("raw",):
                text = f"replace({text}, chr(0), '')"
            columns.append(f"{trimmed(text)} AS {identifier(f'~={column}')}")
        return Step(columns)

    def typed(self) -> Step:
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
        return Step(columns)

    def checked(self) -> Step:
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
        return Step(columns)

    def _text(self, column: str, path: FieldPath) -> str:
        """SQL of the text of a column that is mapped to a path, as `texts` makes it."""
        text = f"{reference(path)}::VARCHAR"
        return trimmed(self._number(text) if column in NUMBER_COLUMNS else text)

    def _number(self, text: str) -> str:
        """SQL of a number with a point from a text in the declared notation.

        A text in another notation gets something before it that is in no number: 12.50 must not be read as 1250 where
        the point stands between thousands, nor as 12.5 where it is not declared.
        """
        if self.notation == (".", ""):
            return text
        decimal, thousands = self.notation
        mark, group = re.escape(decimal), re.escape(thousands)
        grouped = rf"\d{{1,3}}(?:{group}\d{{2,3}})*{group}\d{{3}}|" if group else ""
        pattern = rf"\s*[+-]?(?:{grouped}\d*)(?:{mark}\d*)?(?:[eE][+-]?\d+)?\s*"
        spaced = text
        if thousands == " ":
            for space in _NO_BREAK_SPACES:
                spaced = f"replace({spaced}, {literal(space)}, ' ')"
        plain = f"replace({spaced}, {literal(thousands)}, '')" if group else spaced
        plain = f"replace({plain}, {literal(decimal)}, '.')" if decimal != "." else plain
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
        elif column in DECIMAL_COLUMNS and self.format.number_hint:
            hints[_OTHER_NUMBER] = self.format.number_hint
        cases = " ".join(
            f"WHEN regexp_full_match({text}, {literal(shape)}) THEN {literal(hint)}" for shape, hint in hints.items()
        )
        return f"CASE {cases} ELSE '' END" if cases else "''"

    def _is_identifier(self, column: str) -> bool:
        return column in IDENTIFIERS or column in self.ids.values()

    def _value(self, column: str, null: str = "NULL::VARCHAR") -> str:
        return identifier(f"~{column}") if column in self.mapped else null

    # -- the clock rule of definitions.md -----------------------------------------------------------------------------

    def clocked(self) -> list[Step]:
        """Steps that add `~claimed`, `~skew`, `~occurred` (microseconds) and `~clock`, the reason of a correction."""
        device, occurred, received, sent = (
            self._value(column, "NULL::BIGINT") for column in ("device_at", "occurred_at", "received_at", "sent_at")
        )
        exact = self._value(EXACT, "false")
        return [
            Step(
                (
                    "*",
                    f"""CASE WHEN {exact} THEN coalesce({occurred}, {device})
                    ELSE coalesce({device}, {occurred}) END AS "~claimed\"""",
                    f'{received} - {sent} AS "~skew"',
                ),
            ),
            Step(
                (
                    "*",
                    f"""CASE WHEN {exact} THEN NULL WHEN abs("~skew") > {10 * _MINUTE} THEN 'skew'
                    WHEN "~claimed" > {received} THEN 'future' END AS "~trigger\"""",
                )
            ),
            Step(
                (
                    "*",
                    """CASE WHEN "~trigger" IS NULL THEN "~claimed"
                    ELSE "~claimed" + coalesce("~skew", 0) END AS "~corrected\"""",
                )
            ),
            Step(
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

    def named(self) -> Step:
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
        return Step(columns)

    def judged(self, timezone: str, first_day: date) -> Step:
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
        likely = self.format.likely()
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
        return Step(
            (
                "*",
                f'CASE {whens} END AS "~reason"',
                'coalesce(NOT "consent", false) AS "~refused"',
            )
        )

    def result(self, timezone: str) -> Step:
        """The columns of `StagedEvents`, then `event_date`, `reason`, `raw` and `raw_bytes`."""
        drop = self.source.consent.denied == "drop"
        raw = self.format.raw_text
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
        return Step(columns)

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
        inner = self.format.in_rest(self.fields, paths)
        if inner is None:
            return 'CASE WHEN NOT "~refused" THEN "~rest" END'
        # Here a container that is no object is lost on purpose: it may hold an id in a form nobody declared.
        patch = literal(dump(nulls(json_structure(inner))))
        return f'CASE WHEN "~refused" THEN json_merge_patch("~rest", {patch})::VARCHAR ELSE "~rest" END'


def _by_type(given: str, values: Mapping[str, str], otherwise: str) -> str:
    """SQL of a value for each known type of event, in any case of letters."""
    # DuckDB would make a join of an IN with so many values.
    cases = " ".join(f"WHEN {literal(kind)} THEN {value}" for kind, value in values.items())
    return f"CASE lower({given}) {cases} ELSE {otherwise} END"


def _lenient_value(column: str, text: str) -> str:
    """SQL of the value of a lenient column, null where its text cannot be used."""
    if column == "scroll_depth":
        value = f"try_cast({text} AS DOUBLE)"
        # Not a number is greater than any number here.
        return f"CASE WHEN {value} BETWEEN 0 AND 100 THEN {value} END"
    value = f"try_cast({text} AS JSON)"
    # What was text within the JSON of the row may bring a U+0000 of its own.
    return f"CASE WHEN starts_with({text}, '[') AND {value} IS NOT NULL THEN {without_nul_escapes(text)} END"


def _is_number(text: str) -> str:
    return f"(try_cast({text} AS DOUBLE) IS NOT NULL)"


def _is_no_amount(text: str, amount: str | None = None) -> str:
    """SQL of whether a text is a number (NaN and infinity are) that is no amount."""
    return f"({amount or f'try_cast({text} AS {AMOUNT_TYPE})'} IS NULL AND {_is_number(text)})"
