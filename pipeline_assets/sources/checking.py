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

from pipeline_assets.declarations.binding import binding_error, in_words
from pipeline_assets.declarations.expressions import Expression, ExpressionError, Path, database, parse
from pipeline_assets.declarations.problems import Problem, suggestion
from pipeline_assets.sources.access_logs import NAMED_FORMATS, LogFormatError, log_format
from pipeline_assets.sources.declaration import (
    COMPUTED_COLUMNS,
    ID_COLUMNS,
    MAPPABLE_COLUMNS,
    TABLE_FORMATS,
    TIME_COLUMNS,
    TIME_FORMATS,
    Source,
)
from pipeline_assets.sources.encodings import COMMON, is_known
from pipeline_assets.sources.mapping import (
    BOOLEAN_COLUMNS,
    DECIMAL_COLUMNS,
    DELIMITED_FORMATS,
    INTEGER_COLUMNS,
    json_structure,
    sql_type,
)
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
    usual = source.ready.records if source.ready else None
    known: list[str] = []
    if usual in ("jsonl", "json_array"):
        known = ["jsonl", "json_array", *sorted(TABLE_FORMATS)]
    elif usual == "tsv_lines":
        known = sorted(TABLE_FORMATS)
    if not known:
        yield Problem(
            ("records",), f"`records` is for ready formats of trackers, not for '{source.format}'", at_key=True
        )
    elif source.records not in known:
        yield Problem(("records",), f"a '{source.format}' source can be read from {', '.join(known)}")


def _encoding_problems(source: Source) -> Iterator[Problem]:
    if source.encoding is None:
        return
    if source.record_format == "parquet":
        yield Problem(("encoding",), "`encoding` is for text formats, not for parquet", at_key=True)
    elif not is_known(source.encoding):
        yield Problem(
            ("encoding",), f"unknown encoding '{source.encoding}'{suggestion(source.encoding.lower(), COMMON)}"
        )


def _csv_problems(source: Source) -> Iterator[Problem]:
    """Settings of CSV that contradict each other, or stand where there is no CSV."""
    csv = source.csv
    if source.record_format not in DELIMITED_FORMATS:
        if csv.model_fields_set:
            yield Problem(("csv",), f"`csv` is for csv and tsv, not for {source.record_format}", at_key=True)
        return
    dialect = source.dialect
    if source.record_format == "tsv" and dialect.delimiter != "\t":
        yield Problem(("csv", "delimiter"), "the delimiter of tsv is a tab; declare csv for another one")
    for name, text in {"delimiter": dialect.delimiter, "quote": csv.quote, "escape": csv.escape, "comment": csv.comment,
                       "decimal": csv.decimal, "thousands": csv.thousands}.items():  # fmt: skip
        if any(character in "\r\n\0" for character in text):
            yield Problem(("csv", name), f"{name}: must not hold line ends or NUL")
    for name, text in {"quote": csv.quote, "escape": csv.escape}.items():
        if text and (not text.isascii() or text.isalnum() or text == " "):
            yield Problem(("csv", name), f"{name}: must be a sign of ASCII, or none, not {text!r}")
    for name, text in {"quote": csv.quote, "escape": dialect.escape}.items():
        if text and text in dialect.delimiter:
            yield Problem(("csv", name), f"{name}: is part of the delimiter")
    if csv.comment and (csv.comment.startswith(dialect.delimiter) or (csv.quote and csv.comment.startswith(csv.quote))):
        yield Problem(("csv", "comment"), "comment: begins like a cell")
    for name, text in {"decimal": csv.decimal, "thousands": csv.thousands}.items():
        if text and (text.isalnum() or text in "+-"):
            yield Problem(("csv", name), f"{name}: must be a sign that is no part of a number, not {text!r}")
    if csv.decimal == csv.thousands:
        other = '`decimal: ","`' if csv.decimal == "." else "another one"
        place = "thousands" if "thousands" in csv.model_fields_set else "decimal"
        yield Problem(("csv", place), f"decimal and thousands are both '{csv.decimal}'; declare {other}")
    if isinstance(dialect.header, tuple):
        yield from _header_problems(source, dialect.header)


def _header_problems(source: Source, header: tuple[str, ...]) -> Iterator[Problem]:
    seen: set[str] = set()
    for position, name in enumerate(header):
        if name.strip().casefold() in seen:
            yield Problem(("csv", "header", position), f"column '{name}' is there twice")
        seen.add(name.strip().casefold())
    if source.ready is not None:
        return
    for place, text in _expressions(source).items():
        try:
            expression = parse(text)
        except ExpressionError:
            # Told with the mapping.
            continue
        for path in sorted(expression.references):
            if path[0].casefold() not in {*seen, "raw"}:
                hint = suggestion(path[0], header)
                yield Problem(place, f"{place[1]}: the declared header has no column '{path[0]}'{hint}")


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
            _check_references(source, expression)
        except ExpressionError as error:
            yield Problem(place, f"{name}: {error}")
        else:
            parsed[place] = expression
    yield from _conflicts(source, parsed)
    yield from _binding_problems(source, parsed)


def _check_references(source: Source, expression: Expression) -> None:
    if source.log is not None:
        known = (*source.log.fields, "raw")
        for path in sorted(expression.references):
            if path[0].lower() not in known:
                article = "an" if source.format[0] in "aeiou" else "a"
                raise ExpressionError(
                    f"{article} {source.format} line has no field '{path[0]}'{suggestion(path[0], known)}"
                )
    if source.ready is not None and source.ready.columns:
        known = (*source.ready.columns, "raw")
        for path in sorted(expression.references):
            if path[0].lower() not in known and not path[0].lower().startswith(source.ready.added):
                added = ", ".join(f"{name}…" for name in source.ready.added)
                raise ExpressionError(
                    f"a {source.format} line has no field '{path[0]}'{suggestion(path[0], known)} (or one of {added})"
                )
    if source.reads_objects:
        for path in sorted(expression.indexed):
            raise ExpressionError(
                f"{'.'.join(path)} is text here and has no elements; "
                f"write raw ->> '$.{'.'.join(path)}[0]' for the first element of a JSON array"
            )


def _conflicts(source: Source, parsed: dict[_Place, Expression]) -> Iterator[Problem]:
    """JSON keys that one structure cannot hold: a value that is also an object, or keys that differ in case only."""
    if not source.reads_objects:
        return
    spelled: dict[Path, tuple[str, Path]] = {}
    leaves: dict[Path, _Place] = {}
    inner: dict[Path, _Place] = {}
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
    columns = [
        f'NULL::{sql_type(kind)} AS "{name.replace(chr(34), chr(34) * 2)}"' for name, kind in _row(source, references)
    ]
    rows = f'(SELECT NULL::BIGINT AS "~line", {", ".join(columns)}) AS "~rows"'
    texts = {place: expression.text for place, expression in parsed.items()}
    if texts and binding_error(texts.values(), rows) is not None:
        for place, text in texts.items():
            error = binding_error([text], rows)
            # The types of Parquet columns are not known before a file is read.
            if error is not None and not (source.format == "parquet" and isinstance(error, duckdb.BinderException)):
                yield Problem(place, f"{place[1]}: {in_words(error)}")


def _row(source: Source, references: set[Path]) -> list[tuple[str, object]]:
    """Columns of the relation that expressions are bound against; a type is a name or a nested structure."""
    if source.log is not None:
        return [("raw", "VARCHAR"), *((field, "VARCHAR") for field in source.log.fields)]
    return [("raw", "VARCHAR"), *json_structure(references).items()]


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
    columns = ", ".join(f"NULL::{_staged_type(column)} AS {column}" for column in MAPPABLE_COLUMNS)
    rows = f'(SELECT NULL::BIGINT AS "~line", {columns}) AS "~rows"'
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
        sql = f"DESCRIBE SELECT ({text}\n) AS v FROM {rows}"  # noqa: S608 - as above
        answer = database().cursor().execute(sql).fetchall()[0][1]
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
