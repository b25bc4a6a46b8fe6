"""Lines of access logs, of which a pattern says what their fields are."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.sources.access_logs import (
    JSON_LINES,
    LIKELY,
    NAMED_FORMATS,
    REQUEST_PARTS,
    UNFITTING,
    LogFormat,
    log_format,
)
from pipeline_assets.sources.formats import READY_FORMATS
from pipeline_assets.sources.records.columns import ColumnRecords
from pipeline_assets.sources.records.steps import TEXT_RECORD, Step, is_blank
from pipeline_assets.sql import identifier, literal

_REQUEST_PATTERN = r"^([A-Z][A-Z_-]*) (.*?)(?: (HTTP/[0-9.]+))?$"


class AccessLog(ColumnRecords):
    """Columns of the fields of a line."""

    name = "access_log"
    has_own_columns = False
    takes = frozenset({"encoding", "log_format"})

    @property
    def _log(self) -> LogFormat:
        """The format of the lines; where it cannot be read the declaration is refused before anything asks."""
        assert self.options.log is not None  # noqa: S101
        return self.options.log

    @property
    def known_fields(self) -> tuple[str, ...]:
        """The fields of the line."""
        return self.options.log.fields if self.options.log else ()

    @property
    def times(self) -> Mapping[str, str]:
        """How the server writes the times of its fields."""
        return self.options.log.times if self.options.log else {}

    def relation(self, references: Collection[FieldPath]) -> dict[str, Any]:
        """The line and its fields."""
        if self.options.log is None:
            return super().relation(references)
        return dict.fromkeys(("raw", *self.known_fields), "VARCHAR")

    def declared(self) -> dict[str, Any]:
        """The format of the lines."""
        log = self.options.log
        return {} if log is None else {"log": [log.pattern, log.fields, log.escapes]}

    def columns_of(self, fields: Sequence[str]) -> Sequence[str]:
        """The fields of the line."""
        del fields
        return self._log.fields

    def remaining(self, name: str, value: str) -> str:
        """Of a request nothing: its three parts say the same, unless it could not be divided."""
        if name == "request" and not {*REQUEST_PARTS} & {*self._log.groups}:
            return f'CASE WHEN "method" IS NULL THEN {value} END'
        return value

    def steps(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """Match the line, divide the request, undo the server's escapes."""
        del fields, references
        log = self._log
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
            Step(
                (
                    '"~line"',
                    '"raw" AS "~raw"',
                    f"""regexp_extract(replace("raw", chr(0), ''), {literal(log.pattern)}, {list(log.groups)})
                    AS "~parts\"""",
                ),
                TEXT_RECORD,
            ),
            Step(
                (
                    *whole,
                    f"""CASE WHEN NOT ({fits}) THEN
                    regexp_extract(replace("~raw", chr(0), ''), {literal(log.partly)}, {list(log.stages)}) END
                    AS "~beginning\"""",
                    f'{split} AS "~request"',
                )
            ),
            Step(
                (
                    *whole,
                    f"""CASE WHEN {fits} THEN NULL WHEN {is_blank("~raw")} THEN 'blank'
                    ELSE {_unfitting(log)} END AS "~bad\"""",
                    '"~request"',
                )
            ),
            Step(
                (
                    '"~line"',
                    '"~raw"',
                    '"~bad"',
                    '"~raw" AS "raw"',
                    *(f"{values[field]} AS {identifier(field)}" for field in log.fields),
                )
            ),
        ]


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
