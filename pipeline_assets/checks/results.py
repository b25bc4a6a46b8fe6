"""What all checks share: the days a check is about, and results that carry numbers."""

from collections.abc import Mapping
from datetime import date

import dagster as dg

from pipeline_assets.partitions import tagged_days
from pipeline_assets.planning import UNPARTITIONED
from pipeline_assets.platform import Platform

# Of shares and hours; more of them say nothing.
_DIGITS = 4


def checked_days(context: dg.AssetCheckExecutionContext, platform: Platform, table: str) -> list[date]:
    """The days of the table that the check's run has built; where it was started by itself, all that are built.

    A run is asked for a range of days and need not build all of them: not those that are up to date, and not those
    without anything that lie between two others. Days that are stale again await their rebuild and have nothing to say.
    """
    if own := platform.builds.built_by(table, context.run.run_id):
        return own
    asked = set(tagged_days(context.run.tags))
    stale = platform.staleness(table).tables[table]
    built = (day for day in platform.builds.built_days(table) if day not in stale)
    return [day for day in built if not asked or day in asked or day == UNPARTITIONED]


def result(
    passed: bool, numbers: Mapping[str, object], *, description: str = "", warn: bool = False
) -> dg.AssetCheckResult:
    """A check result with its numbers, as the UI shows and plots them without a click."""
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
        description=description or None,
        metadata=_readable(numbers),
    )


def _readable(numbers: Mapping[str, object]) -> dict[str, int | float | str | bool]:
    """Numbers by name, those of a nested mapping one by one; anything else becomes text.

    The UI hides lists and mappings behind a link, and plots nothing of them.
    """
    readable: dict[str, int | float | str | bool] = {}
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            readable |= {f"{name}: {key}": inner for key, inner in _readable(value).items()}
        elif isinstance(value, float):
            readable[name] = round(value, _DIGITS)
        elif isinstance(value, list | tuple | set):
            readable[name] = ", ".join(map(str, value)) or "none"
        else:
            readable[name] = value if isinstance(value, int) else str(value)
    return readable
