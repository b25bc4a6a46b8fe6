"""Folders that carry a date in their name: which days they are of, and whether more is expected in them.

A date may be one name (`2026-11-27`, `20261127`, with an hour behind it or not) or be spread over levels
(`2026/11/27`, `2026-11/27`), each with a key before it or not (`dt=2026-11-27`, `year=2026/month=11/day=27`). What is
below a day is of that day, up to a name that begins another date.
"""

import calendar
import re
from collections.abc import Collection
from datetime import date
from typing import NamedTuple

_KEY = r"(?:[^=]*=)?"
_HOUR = r"(?:[-_T ]?(?:[01]\d|2[0-3])(?:[-_:]?[0-5]\d){0,2}Z?)?"
_YEAR = r"((?:19|20)\d\d)"
_DAY_NAME = re.compile(rf"{_KEY}{_YEAR}(?:-(\d\d)-(\d\d)|(\d\d)(\d\d)){_HOUR}", re.ASCII)
_MONTH_NAME = re.compile(rf"{_KEY}{_YEAR}-(\d\d)", re.ASCII)
_YEAR_NAME = re.compile(rf"{_KEY}{_YEAR}", re.ASCII)
_PART_NAME = re.compile(rf"{_KEY}(\d\d?)", re.ASCII)


class Days(NamedTuple):
    """The days that a folder is of, both included: a year's, a month's, or one."""

    first: date
    last: date


def days_of(folder: str) -> Days | None:
    """The days that a folder is of, as its path says; None if it says nothing of it.

    Args:
        folder: path below landing.
    """
    numbers: tuple[int, ...] = ()
    for name in folder.split("/"):
        numbers = _after(numbers, name)
    if not numbers:
        return None
    first = date(*numbers, *(1,) * (3 - len(numbers)))
    if len(numbers) == 3:
        return Days(first, first)
    last_month = numbers[1] if len(numbers) == 2 else 12
    return Days(first, date(first.year, last_month, calendar.monthrange(first.year, last_month)[1]))


def is_over(folder: str, folders: Collection[str], *, has_files: bool, before: date) -> bool:
    """Whether a folder is of days that all lie before a day, so that no more is expected in it.

    What only looks like a date is to be told from one. A number may be a year's or a shop's: it is a year's where there
    is nothing in it but its months, and a month's where there is nothing in it but its days. And what has folders of
    other days in it is called by a date for another reason: `schema=2024-01-01/dt=2026-11-27`.

    Args:
        folder: path below landing.
        folders: names of the folders in it.
        has_files: whether there are files in it, beside them.
        before: the day.
    """
    days = days_of(folder)
    if days is None or days.last >= before:
        return False
    below = [days_of(f"{folder}/{name}") for name in folders]
    if not all(each is not None and days.first <= each.first and each.last <= days.last for each in below):
        return False
    return days.first == days.last or (bool(below) and not has_files)


def _after(numbers: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Year, month and day, as far as they are known, of a folder of this name in one of such."""
    for pattern in (_DAY_NAME, _MONTH_NAME, _YEAR_NAME):
        if (found := pattern.fullmatch(name)) and _is_date(read := tuple(int(part) for part in found.groups() if part)):
            return read
    if len(numbers) == 3:
        return numbers
    if numbers and (found := _PART_NAME.fullmatch(name)) and _is_date(read := (*numbers, int(found[1]))):
        return read
    return ()


def _is_date(numbers: tuple[int, ...]) -> bool:
    try:
        date(*numbers, *(1,) * (3 - len(numbers)))
    except ValueError:
        return False
    return True
