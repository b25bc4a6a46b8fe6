"""What all checks share: the days a check is about, and results that carry numbers."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

import dagster as dg

from pipeline_assets.partitions import tagged_days
from pipeline_assets.platform import Platform

Key = TypeVar("Key")


def checked_days(context: dg.AssetCheckExecutionContext, platform: Platform, table: str) -> list[date]:
    """The days of the run the check belongs to; all built days where it was started by itself."""
    days = tagged_days(context.run.tags)
    return days or platform.builds.built_days(table)


def result(
    passed: bool, numbers: Mapping[str, object], *, description: str = "", warn: bool = False
) -> dg.AssetCheckResult:
    """A check result with its numbers; decimals and dates are shown as text."""
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
        description=description or None,
        metadata={name: _plain(value) for name, value in numbers.items()},
    )


def compared(expected: Mapping[Key, object], actual: Mapping[Key, object], what: str) -> dg.AssetCheckResult:
    """Passes where both sides are equal; names the first difference."""
    differing = sorted(str(key) for key in expected.keys() | actual.keys() if expected.get(key) != actual.get(key))
    numbers: dict[str, object] = {"compared": len(expected.keys() | actual.keys()), "differing": len(differing)}
    if differing:
        first = next(key for key in expected.keys() | actual.keys() if str(key) == differing[0])
        numbers |= {
            "first_difference": differing[0],
            "expected": str(expected.get(first)),
            "actual": str(actual.get(first)),
        }
    return result(not differing, numbers, description=f"{what}: {len(differing)} of {numbers['compared']} differ")


def _plain(value: object) -> Any:
    return str(value) if isinstance(value, Decimal | date) else value
