"""Finds mistakes in a declaration before any file is read.

What only DuckDB can know (functions, types) is asked of DuckDB: expressions are bound against an empty relation that
looks like the source's rows, in a database that can reach neither files nor network.
"""

import difflib
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from zoneinfo import available_timezones

import duckdb

from pipeline_assets.declarations.binding import binding_error, empty_relation, in_words, result_type
from pipeline_assets.declarations.expressions import Expression, ExpressionError, FieldPath, database, parse
from pipeline_assets.declarations.problems import Problem, suggestion
from pipeline_assets.sources.access_logs import NAMED_FORMATS, LogFormatError, log_format
from pipeline_assets.sources.declaration import (
    COMPUTED_COLUMNS,
    ID_COLUMNS,
    MAPPABLE_COLUMNS,
    TIME_COLUMNS,
    TIME_FORMATS,
    Source,
)
from pipeline_assets.sources.encodings import COMMON, is_known
from pipeline_assets.sources.mapping import (
    BOOLEAN_COLUMNS,
    DECIMAL_COLUMNS,
    INTEGER_COLUMNS,
)
from pipeline_assets.sources.records import RECORD_FORMATS
from pipeline_assets.sources.records.steps import sql_type
from pipeline_assets.sql import literal

_Place = tuple[str, str]
"""Where an expression stands: ("mapping", column), ("ids", kind) or ("time", "exact")."""

_KIND = re.compile("[a-z][a-z0-9_]*")
_ZONED = re.compile("%[zZ]")


def find_problems(source: Source) -> list[Problem]:
    """All mistakes in a declaration whose shape is right, in the order of the attributes."""
    return [
        *_path_problems(source),
        *_records_problems(source),
        *_log_format_problems(source),
        *_encoding_problems(source),
        *_csv_problems(source),
        *source.record_format.problems(),
        *_mapping_problems(source),
        *_time_problems(source),
        *_session_problems(source),
        *_required_problems(source),
        *_rule_problems(source),
    ]


def _path_problems(source: Source) -> Iterator[Problem]:
    path = PurePosixPath(source.path)
    if path.is_absolute() or ".." in path.parts:
        yield Problem(
            ("path",), f"'{source.path}' must be a pattern below the landing folder, without a leading / or .."
        )


def _records_problems(source: Source) -> Iterator[Problem]:
    if source.records is None:
        return
    known = RECORD_FORMATS[source.ready.records].alternatives if source.ready else ()
    if not known:
        yield Problem(
            ("records",), f"`records` is for ready formats of trackers, not for '{source.format}'", at_key=True
        )
    elif source.records not in known:
        yield Problem(("records",), f"a '{source.format}' source can be read from {', '.join(known)}")


def _encoding_problems(source: Source) -> Iterator[Problem]:
    if source.encoding is None:
        return
    if "encoding" not in source.record_format.takes:
        name = source.record_format.name
        yield Problem(("encoding",), f"`encoding` is for text formats, not for {name}", at_key=True)
    elif not is_known(source.encoding):
        yield Problem(
            ("encoding",), f"unknown encoding '{source.encoding}'{suggestion(source.encoding.lower(), COMMON)}"
        )


def _csv_problems(source: Source) -> Iterator[Problem]:
    if source.csv.model_fields_set and "csv" not in source.record_format.takes:
        yield Problem(("csv",), f"`csv` is for csv and tsv, not for {source.record_format.name}", at_key=True)


def _expressions(source: Source) -> dict[_Place, str]:
    """All expressions over a record."""
    found = {("mapping", column): text for column, text in source.mapping.items()}
    found |= {("ids", kind): text for kind, text in source.ids.items()}
    return found if source.time.exact is None else found | {("time", "exact"): source.time.exact}


def _log_format_problems(source: Source) -> Iterator[Problem]:
    if source.format != "access_log":
        if source.log_format is not None:
            yield Problem(("format",), f"'{source.format}' takes no `log_format`; declare `format: access_log` with it")
    elif source.log_format is None:
        yield Problem(
            ("format",),
            "an access_log needs `log_format`: the server's format string, e.g. "
            f"{NAMED_FORMATS['combined_log']}; or name a known one: {', '.join(NAMED_FORMATS)}",
        )
    else:
        try:
            log_format(source.log_format)
        except LogFormatError as error:
            yield Problem(("log_format",), f"log_format: {error}")


def _column_problem(column: str, location: tuple[str | int, ...], *, at_key: bool) -> Problem | None:
    if column in MAPPABLE_COLUMNS:
        return None
    if column in COMPUTED_COLUMNS:
        return Problem(location, f"column '{column}' is always computed and cannot be mapped", at_key)
    return Problem(location, f"unknown column '{column}'{suggestion(column, MAPPABLE_COLUMNS)}", at_key)


def _mapping_problems(source: Source) -> Iterator[Problem]:
    if not source.mapping and "mapping" not in source.model_fields_set:
        # Said of the whole, because it may be the format that is wrong: a ready one needs no mapping.
        yield Problem((), "attribute 'mapping' is missing", at_key=True)
        return
    # A misspelt column is probably the missing one.
    spelled = set(source.mapping) <= set(MAPPABLE_COLUMNS)
    if spelled and not {"anonymous_id", "user_id"} & set(source.mapping):
        yield Problem(("mapping",), "an event needs an id: map anonymous_id, user_id or both", at_key=True)
    if spelled and not {"device_at", "occurred_at"} & set(source.mapping):
        yield Problem(("mapping",), "an event needs a time: map occurred_at or device_at", at_key=True)
    parsed: dict[_Place, Expression] = {}
    for place, text in _expressions(source).items():
        attribute, name = place
        if attribute == "mapping" and (unknown := _column_problem(name, place, at_key=True)):
            yield unknown
            continue
        if attribute == "ids" and (not _KIND.fullmatch(name) or name in ID_COLUMNS):
            yield Problem(
                place,
                f"'{name}' cannot be a kind of further ids: lower-case letters, digits and _, a letter first, and no "
                "column of ids",
                at_key=True,
            )
        try:
            expression = parse(text)
            _check_subscripts(source, expression)
        except ExpressionError as error:
            yield Problem(place, f"{name}: {error}")
            continue
        unknown_fields = [
            Problem(place, f"{name}: {wrong}")
            for path in sorted(expression.references)
            if (wrong := source.record_format.unknown_field(path[0]))
        ]
        yield from unknown_fields
        if not unknown_fields:
            parsed[place] = expression
    yield from _conflicts(source, parsed)
    yield from _binding_problems(source, parsed)


def _check_subscripts(source: Source, expression: Expression) -> None:
    if source.record_format.has_objects:
        for path in sorted(expression.indexed):
            raise ExpressionError(
                f"{'.'.join(path)} is text here and has no elements; "
                f"write raw ->> '$.{'.'.join(path)}[0]' for the first element of a JSON array"
            )


def _conflicts(source: Source, parsed: dict[_Place, Expression]) -> Iterator[Problem]:
    """JSON keys that one structure cannot hold: a value that is also an object, or keys that differ in case only."""
    if not source.record_format.has_objects:
        return
    spelled: dict[FieldPath, tuple[str, FieldPath]] = {}
    leaves: dict[FieldPath, _Place] = {}
    inner: dict[FieldPath, _Place] = {}
    for place, expression in parsed.items():
        column = place[1]
        for path in sorted(expression.references):
            for length in range(1, len(path) + 1):
                part = path[:length]
                first, spelling = spelled.setdefault(tuple(key.lower() for key in part), (column, part))
                if spelling != part:
                    yield Problem(
                        place,
                        f"{column}: {'.'.join(part)} differs from {'.'.join(spelling)} (read by {first}) only in case; "
                        f"write one of them as raw ->> '$.{'.'.join(part)}'",
                    )
                (leaves if length == len(path) else inner).setdefault(part, place)
    for path in sorted(leaves.keys() & inner.keys()):
        yield Problem(
            leaves[path],
            f"{leaves[path][1]}: {'.'.join(path)} is read as a value here and as an object by {inner[path][1]}; "
            f"write raw ->> '$.{'.'.join(path)}' for its JSON text",
        )


def _binding_problems(source: Source, parsed: dict[_Place, Expression]) -> Iterator[Problem]:
    references = {path for expression in parsed.values() for path in expression.references}
    relation = source.record_format.relation(references)
    rows = empty_relation({name: sql_type(kind) for name, kind in relation.items()})
    texts = {place: expression.text for place, expression in parsed.items()}
    if texts and binding_error(texts.values(), rows) is not None:
        for place, text in texts.items():
            error = binding_error([text], rows)
            is_unknown = source.record_format.types_in_file and isinstance(error, duckdb.BinderException)
            if error is not None and not is_unknown:
                yield Problem(place, f"{place[1]}: {in_words(error)}")


def _time_problems(source: Source) -> Iterator[Problem]:
    for column in source.time.columns:
        if column not in TIME_COLUMNS:
            yield Problem(
                ("time", "columns", column),
                f"unknown time column '{column}'{suggestion(column, TIME_COLUMNS)}",
                at_key=True,
            )
        elif column not in source.mapping:
            yield Problem(("time", "columns", column), f"column '{column}' is not mapped", at_key=True)
    rules = [
        (("time",), source.time),
        *((("time", "columns", column), rule) for column, rule in source.time.columns.items()),
    ]
    for location, rule in rules:
        if rule.format is not None and rule.format not in TIME_FORMATS:
            yield from _format_problems(rule.format, (*location, "format"))
            # What is UTC by default would be hours off without a word.
            if "%" in rule.format and not _ZONED.search(rule.format) and (rule.zone or source.time.zone) is None:
                words = "times of this format say no zone; declare `zone` beside it, for instance Europe/Berlin or UTC"
                yield Problem((*location, "format"), words)
        if rule.zone is not None and rule.zone not in available_timezones():
            zones = sorted(available_timezones())
            near = {zone.lower(): zone for zone in zones}
            match = difflib.get_close_matches(rule.zone.lower(), near, n=1, cutoff=0.6)
            hint = f"; did you mean '{near[match[0]]}'?" if match else "; use an IANA name such as Europe/Berlin"
            yield Problem((*location, "zone"), f"unknown time zone '{rule.zone}'{hint}")
        elif rule.zone not in (None, "UTC"):
            columns = location[-1:] if rule is not source.time else TIME_COLUMNS
            formats = [source.time_rule(column)[0] for column in columns if column in source.mapping]
            if formats and all(kind.startswith("epoch_") or _ZONED.search(kind) for kind in formats):
                words = "no time is read in this zone, for epoch times are UTC and an offset says its own; remove it"
                yield Problem((*location, "zone"), words)


def _format_problems(text: str, location: tuple[str | int, ...]) -> Iterator[Problem]:
    if "%" not in text:
        yield Problem(location, f"unknown time format '{text}'{suggestion(text, TIME_FORMATS)}, or a strptime format")
        return
    try:
        database().cursor().execute(f"SELECT try_strptime('', {literal(text)})").fetchall()
    except duckdb.Error as error:
        yield Problem(location, in_words(error))


def _session_problems(source: Source) -> Iterator[Problem]:
    if source.sessions.mode == "supplied" and "session_id_supplied" not in source.mapping:
        yield Problem(("sessions", "mode"), "mode 'supplied' needs the tracker's session id: map session_id_supplied")


def _required_problems(source: Source) -> Iterator[Problem]:
    for position, column in enumerate(source.required):
        unknown = _column_problem(column, ("required", position), at_key=False)
        if unknown:
            yield unknown
        elif column not in source.mapping:
            yield Problem(("required", position), f"column '{column}' is required but not mapped")


def _rule_problems(source: Source) -> Iterator[Problem]:
    rows = empty_relation({column: _staged_type(column) for column in MAPPABLE_COLUMNS})
    for name, text in source.rules.items():
        location = ("rules", name)
        try:
            expression = parse(text)
        except ExpressionError as error:
            yield Problem(location, f"rule {name}: {error}")
            continue
        unknown = [path[0] for path in sorted(expression.references) if path[0].lower() not in MAPPABLE_COLUMNS]
        if unknown:
            hint = suggestion(unknown[0], MAPPABLE_COLUMNS)
            yield Problem(location, f"rule {name}: unknown column '{unknown[0]}'{hint}")
            continue
        error = binding_error([text], rows)
        if error is not None:
            yield Problem(location, f"rule {name}: {in_words(error)}")
            continue
        answer = result_type(text, rows)
        if answer != "BOOLEAN":
            yield Problem(location, f"rule {name}: gives {answer}, but a rule must be true or false")


def _staged_type(column: str) -> str:
    if column in TIME_COLUMNS:
        return "TIMESTAMPTZ"
    if column in DECIMAL_COLUMNS:
        return "DECIMAL(18, 6)"
    if column in INTEGER_COLUMNS:
        return "BIGINT"
    if column == "scroll_depth":
        return "DOUBLE"
    return "BOOLEAN" if column in BOOLEAN_COLUMNS else "VARCHAR"
