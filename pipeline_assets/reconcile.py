"""Which days to build next. No Dagster here: the sensor and the command line both ask this."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from pipeline_assets.ledger.builds import contiguous

# Building an empty day costs less than starting another run.
_BRIDGED_DAYS = 7


@dataclass(frozen=True)
class Stretch:
    """A range of days to build in one run, and how many of them are stale."""

    first: date
    last: date
    stale: int


def stretches(stale: dict[str, set[date]]) -> list[Stretch]:
    """Ranges of days that contain every stale day of every table, oldest first."""
    days: Iterable[date] = set().union(*stale.values())
    return [
        Stretch(first, last, sum(first <= day <= last for day in days))
        for first, last in contiguous(days, bridge=_BRIDGED_DAYS)
    ]
