"""Finds mistakes in the declaration of an analysis before any event is read.

What only DuckDB can know (functions, types) is asked of DuckDB: expressions are bound against an empty relation with
the columns of `events`. What only Polars can know (regular expressions) is asked of Polars.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from pipeline_assets.analyses.own import table_problems
from pipeline_assets.declarations.analyses import (
    Attribution,
    Channels,
    Conversion,
    Currencies,
    Funnel,
    Paths,
    Retention,
    Selector,
    Table,
)
from pipeline_assets.declarations.binding import binding_error, empty_relation, in_words, result_type
from pipeline_assets.declarations.expressions import Expression, ExpressionError, parse
from pipeline_assets.declarations.problems import Location, Problem, suggestion
from pipeline_assets.declarations.yaml_files import Kind
from pipeline_assets.tables.event_columns import EVENT_COLUMNS

_ROWS = empty_relation(EVENT_COLUMNS)
_NUMBERS = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|BIGNUM|DECIMAL\(.*\)|FLOAT|DOUBLE|VARCHAR|JSON")
_JSON_COLUMNS = ("properties", "items", "further_ids")


def funnel_problems(funnel: Funnel) -> Iterator[Problem]:
    """Mistakes in a funnel whose shape is right."""
    yield from _repeated(funnel.properties, ("properties",))
    for position, step in enumerate(funnel.steps):
        yield from selector_problems(step, ("steps", position))
    first: dict[str, int] = {}
    for position, step in enumerate(funnel.steps):
        if first.setdefault(step.name, position) != position:
            message = f"step {first[step.name] + 1} is called '{step.name}' too; give each step a name of its own"
            yield Problem(("steps", position, "name"), message)


def retention_problems(retention: Retention) -> Iterator[Problem]:
    """Mistakes in a retention whose shape is right."""
    yield from _repeated(retention.properties, ("properties",))
    yield from selector_problems(retention.cohort, ("cohort",))
    yield from selector_problems(retention.returning, ("returning",))


def paths_problems(paths: Paths) -> Iterator[Problem]:
    """Mistakes in paths whose shape is right."""
    yield from _repeated(paths.properties, ("properties",))


def conversion_problems(conversion: Conversion) -> Iterator[Problem]:
    """Mistakes in a conversion whose shape is right."""
    yield from _repeated(conversion.properties, ("properties",))
    if conversion.event is None and conversion.type is None and conversion.where is None:
        yield Problem((), "a conversion needs a condition: event, type or where")
    yield from selector_problems(conversion, ())
    yield from _value_problems(conversion.value)


def attribution_problems(attribution: Attribution) -> Iterator[Problem]:
    """Mistakes in an attribution whose shape is right."""
    yield from _repeated(attribution.properties, ("properties",))
    yield from _repeated(attribution.models, ("models",))


def channels_problems(channels: Channels) -> Iterator[Problem]:
    """Mistakes in the declaration of channels whose shape is right."""
    for position, rule in enumerate(channels.own):
        location = ("own", position)
        if not rule.conditions:
            fields = ", ".join(name for name in type(rule).model_fields if name != "channel")
            yield Problem(location, f"a rule needs a condition: one of {fields}")
        for field, pattern in rule.conditions.items():
            error = _pattern_error(pattern)
            if error:
                yield Problem((*location, field), f"{field}: not a regular expression: {error}")
    for alias, source in channels.aliases.items():
        for word, at_key in ((alias, True), (source, False)):
            if word != word.lower():
                message = f"sources are compared in lower case; write '{word.lower()}', not '{word}'"
                yield Problem(("aliases", alias), message, at_key)


def currencies_problems(currencies: Currencies) -> Iterator[Problem]:
    """Mistakes in the declaration of currencies whose shape is right."""
    seen: set[tuple[str, object]] = set()
    for position, rate in enumerate(currencies.rates):
        location = ("rates", position, "currency")
        if rate.currency == currencies.reporting:
            yield Problem(location, f"{rate.currency} is the reporting currency and needs no rate")
        elif (rate.currency, rate.since) in seen:
            since = f"since {rate.since}" if rate.since else "without `since`"
            yield Problem(location, f"{rate.currency} has another rate {since}; give one of them another day")
        seen.add((rate.currency, rate.since))


def selector_problems(selector: Selector, location: Location) -> Iterator[Problem]:
    """Mistakes in the choice of events at a place of a declaration."""
    yield from _repeated(selector.event or (), (*location, "event"))
    yield from _repeated(selector.type or (), (*location, "type"))
    if selector.where is None:
        return
    answer = _result_type(selector.where)
    if isinstance(answer, ExpressionError):
        yield Problem((*location, "where"), f"where: {answer}")
    elif answer != "BOOLEAN":
        yield Problem((*location, "where"), f"where: gives {answer}, but a condition must be true or false")


def _value_problems(text: str) -> Iterator[Problem]:
    answer = _result_type(text)
    if isinstance(answer, ExpressionError):
        yield Problem(("value",), f"value: {answer}")
    elif not _NUMBERS.fullmatch(answer):
        yield Problem(("value",), f"value: gives {answer}, but the value of a conversion must be a number")


def _result_type(text: str) -> str | ExpressionError:
    """The type of an expression over the columns of `events`, or what is wrong with it."""
    try:
        expression = parse(text)
        _check_columns(expression)
    except ExpressionError as error:
        return error
    error = binding_error([text], _ROWS)
    if error is None:
        return result_type(text, _ROWS)
    words = in_words(error)
    if "->" in text:
        # In DuckDB the arrow binds less tightly than a comparison.
        words += "; a JSON value that is compared needs brackets: (properties ->> '$.key') = 'x'"
    return ExpressionError(words)


def _check_columns(expression: Expression) -> None:
    for path in sorted(expression.references):
        column = path[0].lower()
        if column not in EVENT_COLUMNS:
            raise ExpressionError(f"unknown column '{path[0]}'{suggestion(path[0], EVENT_COLUMNS)}")
        if len(path) > 1 and column in _JSON_COLUMNS:
            keys = ".".join(path[1:])
            raise ExpressionError(f"{column} is JSON text; write ({column} ->> '$.{keys}')")


def _pattern_error(pattern: str) -> str | None:
    # As it stands, and as a whole value in any case: a bracket may not reach beyond the pattern.
    for text in (pattern, f"(?i)^(?:{pattern})$"):
        try:
            pl.select(pl.lit("").str.contains(text))
        except pl.exceptions.ComputeError as error:
            lines = [line.removeprefix("error: ") for line in str(error).splitlines() if line.startswith("error: ")]
            return lines[0] if lines else str(error).splitlines()[0]
    return None


def _repeated(words: Iterable[str], location: Location) -> Iterator[Problem]:
    counts: Counter[str] = Counter()
    for position, word in enumerate(words):
        counts[word] += 1
        if counts[word] == 2:
            yield Problem((*location, position), f"'{word}' is named twice")


def _funnel_stand_in(location: Location) -> Any:
    match location:
        case ("steps",):
            return [{"name": "step 1"}, {"name": "step 2"}]
        case ("steps", int(position)):
            return {"name": f"step {position + 1}"}
        case ("steps", int(position), "name"):
            return f"step {position + 1}"
        case _:
            return None


def _stand_in(location: Location) -> Any:
    return _STAND_INS.get(location[-1])


_STAND_INS: dict[str | int, Any] = {
    # No currency, so that it is no other rate's or the reporting one.
    "reporting": "XXX",
    "conversion": "any",
    "channel": "any",
}

FUNNEL = Kind(Funnel, "funnel", funnel_problems, _funnel_stand_in)
RETENTION = Kind(Retention, "retention", retention_problems)
PATHS = Kind(Paths, "paths declaration", paths_problems)
CONVERSION = Kind(Conversion, "conversion", conversion_problems)
ATTRIBUTION = Kind(Attribution, "attribution", attribution_problems, _stand_in)
CHANNELS = Kind(Channels, "channels declaration", channels_problems, _stand_in)
CURRENCIES = Kind(Currencies, "currencies declaration", currencies_problems, _stand_in)
TABLE = Kind(Table, "table", table_problems, _stand_in)
KINDS: dict[str, Kind[Any]] = {
    kind.model.__name__: kind
    for kind in (FUNNEL, RETENTION, PATHS, CONVERSION, ATTRIBUTION, CHANNELS, CURRENCIES, TABLE)
}
"""Name of the component -> what it declares."""
