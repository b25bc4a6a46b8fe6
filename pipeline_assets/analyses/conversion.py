"""A kind of conversions: an event that is worth something. Its rows are in the table `conversions`."""

import re
from collections.abc import Iterator

from pipeline_assets.analyses.checking import expression_type, repeated, selector_problems
from pipeline_assets.analyses.kind import AnalysisKind
from pipeline_assets.declarations.analyses import Conversion
from pipeline_assets.declarations.expressions import ExpressionError
from pipeline_assets.declarations.problems import Problem

_NUMBERS = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|BIGNUM|DECIMAL\(.*\)|FLOAT|DOUBLE|VARCHAR|JSON")


def conversion_problems(conversion: Conversion) -> Iterator[Problem]:
    """Mistakes in a conversion whose shape is right."""
    yield from repeated(conversion.properties, ("properties",))
    if conversion.event is None and conversion.type is None and conversion.where is None:
        yield Problem((), "a conversion needs a condition: event, type or where")
    yield from selector_problems(conversion, ())
    yield from value_problems(conversion.value)


def value_problems(text: str) -> Iterator[Problem]:
    """Mistakes in the expression of what a conversion is worth."""
    answer = expression_type(text)
    if isinstance(answer, ExpressionError):
        yield Problem(("value",), f"value: {answer}")
    elif not _NUMBERS.fullmatch(answer):
        yield Problem(("value",), f"value: gives {answer}, but the value of a conversion must be a number")


CONVERSION = AnalysisKind(
    model=Conversion,
    noun="conversion",
    find_problems=conversion_problems,
    example={"event": "order_completed", "where": "revenue > 0", "value": "revenue"},
)
"""The kind."""
