"""Finds mistakes in a declaration before any file is read.

What only DuckDB can know (functions, types) is asked of DuckDB: expressions are bound against an empty relation that
looks like the source's rows, in a database that can reach neither files nor network.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from zoneinfo import available_timezones

import duckdb

from pipeline_assets.sources.declaration import (
    COMPUTED_COLUMNS,
    JSON_FORMATS,
    LOG_FORMATS,
    MAPPABLE_COLUMNS,
    TIME_COLUMNS,
    TIME_FORMATS,
    Source,
)
from pipeline_assets.sources.expressions import Expression, ExpressionError, Path, database, parse
from pipeline_assets.sources.mapping import (
    BOOLEAN_COLUMNS,
    DECIMAL_COLUMNS,
    LOG_GROUPS,
    json_structure,
    quote,
    sql_type,
)


@dataclass(frozen=True)
class Problem:
    """A mistake in a declaration.

    Attributes:
        location: keys from the attributes down to the place, e.g. ("mapping", "event_id").
        message: what is wrong and what to do.
        at_key: whether the key itself is wrong and not its value.
    """

    location: tuple[str | int, ...]
    message: str
    at_key: bool = False


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known word nearest to a wrong one, or the list if none is near."""
    choices = list(known)
    near = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; one of {', '.join(choices)}" if len(choices) <= 12 else ""


def find_problems(source: Source) -> list[Problem]:
    """All mistakes in a declaration whose shape is right, in the order of the attributes."""
    return [
        *_path_problems(source),
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


def _column_problem(column: str, location: tuple[str | int, ...], *, at_key: bool) -> Problem | None:
    if column in MAPPABLE_COLUMNS:
        return None
    if column in COMPUTED_COLUMNS:
        return Problem(location, f"column '{column}' is always computed and cannot be mapped", at_key)
    return Problem(location, f"unknown column '{column}'{suggestion(column, MAPPABLE_COLUMNS)}", at_key)


def _mapping_problems(source: Source) -> Iterator[Problem]:
    # A misspelt column is probably the missing one.
    spelled = set(source.mapping) <= set(MAPPABLE_COLUMNS)
    if spelled and not {"anonymous_id", "user_id"} & set(source.mapping):
        yield Problem(("mapping",), "an event needs an id: map anonymous_id, user_id or both", at_key=True)
    if spelled and not {"device_at", "occurred_at"} & set(source.mapping):
        yield Problem(("mapping",), "an event needs a time: map occurred_at or device_at", at_key=True)
    parsed: dict[str, Expression] = {}
    for column, text in source.mapping.items():
        location = ("mapping", column)
        unknown = _column_problem(column, location, at_key=True)
        if unknown:
            yield unknown
            continue
        try:
            expression = parse(text)
            _check_references(source, expression)
        except ExpressionError as error:
            yield Problem(location, f"{column}: {error}")
        else:
            parsed[column] = expression
    yield from _conflicts(source, parsed)
    yield from _binding_problems(source, parsed)


def _check_references(source: Source, expression: Expression) -> None:
    if source.format in LOG_FORMATS:
        known = (*(group for group in LOG_GROUPS if _in_log(source, group)), "raw")
        for path in sorted(expression.references):
            if path[0].lower() not in known:
                raise ExpressionError(f"a {source.format} line has no field '{path[0]}'{suggestion(path[0], known)}")
    if source.format in JSON_FORMATS:
        for path in sorted(expression.indexed):
            raise ExpressionError(
                f"{'.'.join(path)} is text here and has no elements; "
                f"write raw ->> '$.{'.'.join(path)}[0]' for the first element of a JSON array"
            )


def _in_log(source: Source, group: str) -> bool:
    return source.format == "combined_log" or group not in ("referrer", "user_agent")


def _conflicts(source: Source, parsed: dict[str, Expression]) -> Iterator[Problem]:
    """JSON keys that one structure cannot hold: a value that is also an object, or keys that differ in case only."""
    if source.format not in JSON_FORMATS:
        return
    spelled: dict[Path, tuple[str, Path]] = {}
    leaves: dict[Path, str] = {}
    inner: dict[Path, str] = {}
    for column, expression in parsed.items():
        for path in sorted(expression.references):
            for length in range(1, len(path) + 1):
                part = path[:length]
                first, spelling = spelled.setdefault(tuple(key.lower() for key in part), (column, part))
                if spelling != part:
                    yield Problem(
                        ("mapping", column),
                        f"{column}: {'.'.join(part)} differs from {'.'.join(spelling)} (read by {first}) only in case; "
                        f"write one of them as raw ->> '$.{'.'.join(part)}'",
                    )
                (leaves if length == len(path) else inner).setdefault(part, column)
    for path in sorted(leaves.keys() & inner.keys()):
        yield Problem(
            ("mapping", leaves[path]),
            f"{leaves[path]}: {'.'.join(path)} is read as a value here and as an object by {inner[path]}; "
            f"write raw ->> '$.{'.'.join(path)}' for its JSON text",
        )


def _binding_problems(source: Source, parsed: dict[str, Expression]) -> Iterator[Problem]:
    references = {path for expression in parsed.values() for path in expression.references}
    columns = [
        f'NULL::{sql_type(kind)} AS "{name.replace(chr(34), chr(34) * 2)}"' for name, kind in _row(source, references)
    ]
    rows = f'(SELECT NULL::BIGINT AS "~line", {", ".join(columns)}) AS "~rows"'
    texts = {column: expression.text for column, expression in parsed.items()}
    if texts and _bind(texts.values(), rows) is not None:
        for column, text in texts.items():
            error = _bind([text], rows)
            # The types of Parquet columns are not known before a file is read.
            if error is not None and not (source.format == "parquet" and isinstance(error, duckdb.BinderException)):
                yield Problem(("mapping", column), f"{column}: {_first_lines(error)}")


def _row(source: Source, references: set[Path]) -> list[tuple[str, object]]:
    """Columns of the relation that expressions are bound against; a type is a name or a nested structure."""
    if source.format in LOG_FORMATS:
        return [("raw", "VARCHAR"), *((group, "VARCHAR") for group in LOG_GROUPS)]
    return [("raw", "VARCHAR"), *json_structure(references).items()]


def _bind(texts: Iterable[str], rows: str) -> duckdb.Error | None:
    """DuckDB's complaint about expressions over a relation, if it has one; wrapped as `mapping` wraps them."""
    values = ", ".join(f'TRY(struct_pack("v" := ({text}\n)))' for text in texts)
    try:
        # With a plain column beside it, an aggregate cannot be bound.
        sql = f'SELECT "~line", {values} FROM {rows} WHERE false'  # noqa: S608 - declared SQL, and no database to harm
        database().cursor().execute(sql).fetchall()
    except duckdb.Error as error:
        return error
    return None


def _first_lines(error: duckdb.Error) -> str:
    """DuckDB's message and its suggestion, without the echo of the statement and the list of signatures."""
    message = str(error).split("\n\nLINE ")[0]
    # A macro may hide what the expression itself does not say.
    if "GROUP BY" in message or "aggregates are not allowed" in message:
        return "an aggregate is not allowed: an expression sees only its own row"
    if "scalar subquery" in message:
        return "a subquery is not allowed: an expression sees only its own row"
    head, _, rest = message.partition("\n")
    hints = [
        line.strip() for line in rest.splitlines() if line.strip().startswith(("Did you mean", "Candidate bindings"))
    ]
    return " ".join([head.split("Error: ", 1)[-1].strip(), *hints])


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
        if rule.zone is not None and rule.zone not in available_timezones():
            zones = sorted(available_timezones())
            near = {zone.lower(): zone for zone in zones}
            match = difflib.get_close_matches(rule.zone.lower(), near, n=1, cutoff=0.6)
            hint = f"; did you mean '{near[match[0]]}'?" if match else "; use an IANA name such as Europe/Berlin"
            yield Problem((*location, "zone"), f"unknown time zone '{rule.zone}'{hint}")


def _format_problems(text: str, location: tuple[str | int, ...]) -> Iterator[Problem]:
    if "%" not in text:
        yield Problem(location, f"unknown time format '{text}'{suggestion(text, TIME_FORMATS)}, or a strptime format")
        return
    try:
        database().cursor().execute(f"SELECT try_strptime('', {quote(text)})").fetchall()
    except duckdb.Error as error:
        yield Problem(location, _first_lines(error))


def _session_problems(source: Source) -> Iterator[Problem]:
    if source.sessions.mode == "supplied":
        yield Problem(("sessions", "mode"), "mode 'supplied' is not available in this version; use 'inferred'")


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
        error = _bind([text], rows)
        if error is not None:
            yield Problem(location, f"rule {name}: {_first_lines(error)}")
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
    return "BOOLEAN" if column in BOOLEAN_COLUMNS else "VARCHAR"
