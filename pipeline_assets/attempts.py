"""What was to be built and was not published: which days of which tables, why, and what to do. For people."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import dagster as dg

from pipeline_assets.asset_keys import table_key
from pipeline_assets.ledger.builds import Attempt
from pipeline_assets.platform import Platform
from pipeline_assets.runs import why_failed
from pipeline_assets.words import counted

_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_AT_WORK = [status for status in dg.DagsterRunStatus if status not in _ENDED]
_MOST = 10
_LONGEST = 400
TRY_AGAIN = "Mend the cause; `pipeline-assets refresh`, or who materializes these days in the UI, tries at once."


def failed_attempts(
    platform: Platform, instance: Callable[[], AbstractContextManager[dg.DagsterInstance]]
) -> list[str]:
    """Which days of which tables the latest run that claimed them has not published, and why, a line each.

    Args:
        platform: the deployment.
        instance: where its runs are recorded; asked for only where there is such a day.
    """
    attempts = platform.builds.unpublished()
    if not attempts:
        return []
    with instance() as recorded:
        at_work = _at_work(recorded, {attempt.run_id for attempt in attempts})
        failed = [attempt for attempt in attempts if attempt.run_id not in at_work]
        shown = [_explained(platform, recorded, attempt) for attempt in failed[:_MOST]]
    if rest := len(failed) - len(shown):
        shown.append(f"And {counted(rest, 'more attempt')} of other runs or tables.")
    return [*shown, TRY_AGAIN] if shown else []


def _at_work(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> set[str]:
    """Those of some runs that have not ended, however many there are by one question."""
    living = dg.RunsFilter(run_ids=list(run_ids), statuses=_AT_WORK)
    return {run.run_id for run in instance.get_runs(living)}


def _explained(platform: Platform, instance: dg.DagsterInstance, attempt: Attempt) -> str:
    step = table_key(attempt.table, platform.settings.namespace).to_python_identifier()
    why = why_failed(instance, attempt.run_id, step)
    # The UI has all of it.
    why = f": {why if len(why) <= _LONGEST else f'{why[:_LONGEST]} …'}" if why else "."
    return (
        f"{attempt.table}: {attempt.days_in_words} not published by run {attempt.run_id}, which began "
        f"{attempt.claimed_at:%Y-%m-%d %H:%M:%S} UTC{why}"
    )
