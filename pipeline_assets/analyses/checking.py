"""Finds mistakes in what kinds of analyses have in common, before any event is read: expressions, choices of events.

What only DuckDB can know (functions, types) is asked of DuckDB: expressions are bound against an empty relation with
the columns of `events`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from pipeline_assets.declarations.analyses import Selector
from pipeline_assets.declarations.binding import binding_error, empty_relation, in_words, result_type
from pipeline_assets.declarations.expressions import Expression, ExpressionError, parse
from pipeline_assets.declarations.problems import Location, Problem, suggestion
from pipeline_assets.tables.event_columns import EVENT_COLUMNS

_ROWS = empty_relation(EVENT_COLUMNS)
_JSON_COLUMNS = ("properties", "items", "further_ids")


def selector_problems(selector: Selector, location: Location) -> Iterator[Problem]:
    """Mistakes in the choice of events at a place of a declaration."""
    yield from repeated(selector.event or (), (*location, "event"))
    yield from repeated(selector.type or (), (*location, "type"))
    if selector.where is None:
        return
    answer = expression_type(selector.where)
    if isinstance(answer, ExpressionError):
        yield Problem((*location, "where"), f"where: {answer}")
    elif answer != "BOOLEAN":
        yield Problem((*location, "where"), f"where: gives {answer}, but a condition must be true or false")


def expression_type(text: str) -> str | ExpressionError:
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
            meant = suggestion(path[0], EVENT_COLUMNS)
            kept = f"; a field that is no column is in properties: (properties ->> '$.{'.'.join(path)}')"
            raise ExpressionError(f"unknown column '{path[0]}'{meant or kept}")
        if len(path) > 1 and column in _JSON_COLUMNS:
            keys = ".".join(path[1:])
            raise ExpressionError(f"{column} is JSON text; write ({column} ->> '$.{keys}')")


def repeated(words: Iterable[str], location: Location) -> Iterator[Problem]:
    """Words of a list that are named twice."""
    counts: Counter[str] = Counter()
    for position, word in enumerate(words):
        counts[word] += 1
        if counts[word] == 2:
            yield Problem((*location, position), f"'{word}' is named twice")
