"""The check that everything that is there is declared."""

from collections.abc import Sequence

import dagster as dg

from pipeline_assets.asset_keys import table_key
from pipeline_assets.checks.grouping import Check, asset_check
from pipeline_assets.checks.results import result
from pipeline_assets.leftovers import Leftover
from pipeline_assets.namespace import Namespace
from pipeline_assets.platform import Platform
from pipeline_assets.tables.spec import EVENTS

EVERYTHING_IS_DECLARED = "everything_is_declared"


def declared_check() -> Check:
    """The check, a warning of `events`."""

    @asset_check(
        asset=EVENTS,
        name=EVERYTHING_IS_DECLARED,
        description="Sources, analyses and tables that are there although they are no longer declared. Sources, "
        "conversions, channels and currencies count as last declared, the tables of other analyses are frozen. Declare "
        "them again, or remove them with `pipeline-assets retire`.",
    )
    def everything_is_declared(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        return _found(platform.leftovers())

    return everything_is_declared


def report_leftovers(instance: dg.DagsterInstance, leftovers: Sequence[Leftover], namespace: Namespace) -> None:
    """Let the check say what is found now, without a run, if it says something else: undeclaring starts no run."""
    found = _found(leftovers)
    now = dg.AssetCheckEvaluation(
        asset_key=table_key(EVENTS, namespace),
        check_name=EVERYTHING_IS_DECLARED,
        passed=found.passed,
        severity=found.severity,
        metadata=found.metadata,
    )
    key = now.asset_check_key
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).get(key)
    event = record.event.dagster_event if record and record.event else None
    evaluated = event is not None and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    before = event.asset_check_evaluation_data.metadata if event and evaluated else None
    if before != now.metadata and not (before is None and now.passed):
        instance.report_runless_asset_event(now)


def _found(leftovers: Sequence[Leftover]) -> dg.AssetCheckResult:
    undecided = [left for left in leftovers if not left.wanted]
    shown = {f"{left.noun} {left.name}": left.what for left in leftovers}
    return result(not undecided, {"undeclared": len(undecided), **shown}, warn=True)
