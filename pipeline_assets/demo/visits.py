"""When a visitor's sessions start, in plain Python."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from pipeline_assets.demo.model import DAY, MINUTE

SESSION_TIMEOUT = 30 * MINUTE


def session_starts(times: Sequence[int]) -> list[int]:
    """Start of each inferred session of one visitor.

    Args:
        times: epoch milliseconds of the visitor's events, in order.

    Returns:
        Times of the events that start a session.
    """
    by_day: defaultdict[int, list[int]] = defaultdict(list)
    for moment in times:
        by_day[moment // DAY].append(moment)
    filled = {day for day, moments in by_day.items() if _is_filled(day, moments)}
    starts: list[int] = []
    previous: int | None = None
    for moment in times:
        silent = previous is None or moment - previous > SESSION_TIMEOUT
        first_after_filled_day = (
            previous is not None and previous // DAY != moment // DAY and moment // DAY - 1 in filled
        )
        if silent or first_after_filled_day:
            starts.append(moment)
        previous = moment
    return starts


def _is_filled(day: int, moments: list[int]) -> bool:
    points = [day * DAY, *moments, (day + 1) * DAY]
    return all(after - before <= SESSION_TIMEOUT for before, after in pairwise(points))
