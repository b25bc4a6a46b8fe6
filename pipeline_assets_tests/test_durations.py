"""Lengths of time in declarations."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.declarations.durations import duration
from pipeline_assets.sources.declaration import Source

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
NUMBERS = st.dictionaries(st.sampled_from(list(_UNITS)), st.integers(0, 10_000), min_size=1)


@given(NUMBERS, st.sampled_from(["", " "]))
def test_numbers_with_units_add_up(numbers: dict[str, int], space: str) -> None:
    text = space.join(f"{numbers[unit]}{space}{unit}" for unit in _UNITS if unit in numbers)
    assert duration(text) == timedelta(seconds=sum(number * _UNITS[unit] for unit, number in numbers.items()))


@given(st.integers(0, 400), st.integers(0, 100), st.integers(0, 100), st.integers(0, 10_000_000))
def test_an_iso_duration_means_days_hours_minutes_and_seconds_to_the_microsecond(
    days: int, hours: int, minutes: int, microseconds: int
) -> None:
    seconds = f"{microseconds // 1_000_000}.{microseconds % 1_000_000:06}"
    meant = timedelta(days=days, hours=hours, minutes=minutes, microseconds=microseconds)
    assert duration(f"P{days}DT{hours}H{minutes}M{seconds}S") == meant


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT15S", 15),
        ("15s", 15),
        (" 1m ", 60),
        ("2h", 7_200),
        ("P1DT2H", 93_600),
        ("PT0,5S", 0.5),
        ("250ms", 0.25),
        ("1.5h", 5_400),
    ],
)
def test_lengths_of_time_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1DT",
        "P1Y",
        "P1M",
        "P1.5DT2H",
        "7",
        "15S",
        "-1d",
        "30m1h",
        "1h1h",
        "1:30",
        "0.0000001s",
        "999999999w",
        15,
        1.5,
        None,
        True,
    ],
)
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        duration(text)


@pytest.mark.parametrize(("given", "minutes"), [(45, 45), (0.5, 0.5), ("90s", 1.5), ("PT45M", 45), ("2h", 120)])
def test_a_timeout_is_a_number_of_minutes_or_a_length_of_time(given: object, minutes: float) -> None:
    declared = {"name": "web", "path": "web/*", "format": "segment", "sessions": {"timeout_minutes": given}}
    assert Source.model_validate(declared).sessions.timeout_minutes == minutes


def test_days_that_are_counted_by_the_calendar_are_whole_ones() -> None:
    declared = {"name": "web", "path": "web/*", "format": "segment"}
    source = Source.model_validate(
        {**declared, "dedup_days": "P2D", "sessions": {"max_session_days": "1w"}, "bounds": {"freshness_hours": "90m"}}
    )
    assert (source.dedup_days, source.sessions.max_session_days, source.bounds.freshness_hours) == (2, 7, 1.5)
    with pytest.raises(ValueError, match="whole number of days"):
        Source.model_validate({**declared, "dedup_days": "36h"})
