"""Lengths of time, as declarations write them: a number and a unit, several of them, or an ISO 8601 duration.

Every attribute that is a length of time reads these forms, and no other. An attribute whose name says a unit
(`timeout_minutes`) also takes a plain number of it.
"""

import re
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

EXAMPLES = "15s, 30m, 1h30m, 7d, 1w or in ISO 8601 PT15S, PT30M, P1DT2H"

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_NUMBER = r"[0-9]{1,9}(?:[.,][0-9]{1,9})?"
_PART = re.compile(rf"\s*({_NUMBER})\s*(ms|[smhdw])")
_SHORT = re.compile(rf"(?:\s*{_NUMBER}\s*(?:ms|[smhdw]))+", re.ASCII)
# ISO 8601 knows years and months too, but these are no length of time, and a fraction of its smallest part only.
_ISO = re.compile(
    rf"P(?:({_NUMBER})W|(?:({_NUMBER})D)?(?:T(?:({_NUMBER})H)?(?:({_NUMBER})M)?(?:({_NUMBER})S)?)?)(?<![PT])"
)
_ISO_UNITS = ("w", "d", "h", "m", "s")
_MICROSECOND = timedelta(microseconds=1)


def duration(value: Any) -> timedelta:
    """The length of time that a text of a declaration means; a timedelta is one already.

    Units may be given once each, the larger before the smaller; fractions are exact to the microsecond.

    Raises:
        ValueError: it is written in another way, is finer than a microsecond or longer than 999,999,999 days.
    """
    if isinstance(value, timedelta):
        return value
    parts = _parts(value.strip()) if isinstance(value, str) else None
    if parts is None:
        raise ValueError(f"must be a length of time such as {EXAMPLES}")
    microseconds = sum(_fraction(number) * (_UNITS[unit] // _MICROSECOND) for number, unit in parts)
    if microseconds.denominator != 1:
        raise ValueError("must be a whole number of microseconds")
    try:
        return microseconds.numerator * _MICROSECOND
    except OverflowError:
        raise ValueError("must be at most 999,999,999 days") from None


def _parts(text: str) -> list[tuple[str, str]] | None:
    """Numbers and units; None where the text is no duration."""
    iso = _ISO.fullmatch(text)
    if iso:
        found = [(number, unit) for number, unit in zip(iso.groups(), _ISO_UNITS, strict=True) if number is not None]
        # Only the last part may have a fraction.
        return found if all(number.isdecimal() for number, _ in found[:-1]) else None
    if not _SHORT.fullmatch(text):
        return None
    found = _PART.findall(text)
    lengths = [_UNITS[unit] for _, unit in found]
    return found if all(a > b for a, b in pairwise(lengths)) else None


def _fraction(number: str) -> Fraction:
    return Fraction(number.replace(",", "."))


def _counted(value: Any, unit: timedelta, name: str, *, whole: bool) -> Any:
    """The number of units that a value means; what is no text is left for the type to judge."""
    if not isinstance(value, str | timedelta):
        return value
    try:
        length = duration(value)
    except ValueError as error:
        raise ValueError(f"must be a number of {name} or {str(error).removeprefix('must be ')}") from None
    number, rest = divmod(length, unit)
    if not rest:
        return number
    if whole:
        raise ValueError(f"must be a whole number of {name}")
    return length / unit


def _schema(kind: str, example: str, **bounds: float) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": kind, **bounds}, {"type": "string", "examples": [example]}]})


def _in(unit: timedelta, name: str, *, whole: bool = False) -> BeforeValidator:
    return BeforeValidator(lambda value: _counted(value, unit, name, whole=whole))


Duration = Annotated[
    timedelta, BeforeValidator(duration), WithJsonSchema({"type": "string", "examples": ["7d", "15s"]})
]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Minutes = Annotated[Positive, _in(timedelta(minutes=1), "minutes"), _schema("number", "30m", exclusiveMinimum=0)]
Hours = Annotated[Positive, _in(timedelta(hours=1), "hours"), _schema("number", "36h", exclusiveMinimum=0)]
Days = Annotated[Positive, _in(timedelta(days=1), "days"), _schema("number", "30d", exclusiveMinimum=0)]
"""A number of days of 24 hours, maybe a part of one."""
CalendarDays = Annotated[int, _in(timedelta(days=1), "days", whole=True), _schema("integer", "3d", minimum=0)]
"""A number of calendar days."""
