"""The reconciler: days whose tables are not built from what is there now."""

from contextlib import nullcontext
from datetime import date, timedelta

import dagster as dg

from pipeline_assets.asset_keys import requested_keys, table_key
from pipeline_assets.attempts import failed_attempts
from pipeline_assets.checks.declared import report_leftovers
from pipeline_assets.jobs import BUILD_JOB, LOAD_JOB, job_name
from pipeline_assets.namespace import Namespace
from pipeline_assets.observing import observe_days
from pipeline_assets.partitions import request_tags
from pipeline_assets.platform import Platform
from pipeline_assets.runs import farthest_days, storage_locks, under_way
from pipeline_assets.sensors.backing_off import INPUTS_TAG, MANY_FAILURES, few_failures, inputs_digest, must_wait
from pipeline_assets.sensors.declaring import sensor
from pipeline_assets.tables.spec import EVENTS

# Days that are observed by one tick, which has 60 s.
OBSERVED = 1000


@sensor(
    job_name=BUILD_JOB,
    minimum_interval_seconds=10,
    description="Asks for a build of the days whose tables are not built from what is there now.",
)
def stale_days(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """Request one run for the stale days, the oldest first, that were not asked for in vain a moment ago."""
    namespace = platform.settings.namespace
    load, build = job_name(LOAD_JOB, namespace), job_name(BUILD_JOB, namespace)
    # Building while files are loading would build the same days twice.
    if under_way(context.instance, platform.postgres_url, load, build):
        return dg.SkipReason("A run is under way.")
    # That something is no longer declared makes no day stale, so that no run would tell.
    report_leftovers(context.instance, platform.leftovers(), namespace)
    # What a killed load has left to tell.
    observe_days(platform, context.instance.report_runless_asset_event, most=OBSERVED)
    staleness = platform.staleness()
    for lost in platform.lost_marts(staleness):
        context.log.warning(lost)
    todo = staleness.requests(farthest=farthest_days(context.instance))
    if not todo:
        return dg.SkipReason("Every day is built from what is there now.")
    reason, in_vain = dg.SkipReason(), False
    known = _known_days(context, namespace)
    while todo:
        request = todo.pop(0)
        if known is not None:
            possible = staleness.within(request, *known)
            if possible != request:
                reason = dg.SkipReason(
                    f"{request}: Dagster knows some of these days only when the code location is loaded again, which "
                    "somebody has to do (Reload, on its page Deployment); `pipeline-assets refresh` builds them too."
                )
            if possible is None:
                continue
            request = possible
        digest = inputs_digest([*request.days, *staleness.asked_of(request)])
        waiting = must_wait(context.instance, build, digest)
        if waiting is None:
            tags = {**request_tags(request), INPUTS_TAG: digest}
            run = dg.RunRequest(asset_selection=requested_keys(request, namespace), tags=tags)
            return dg.SensorResult(run_requests=[run])
        # One bad day must not keep the others from being built: its half without it is asked for, then other days.
        reason, in_vain = waiting, True
        if few_failures(context.instance, build):
            todo = staleness.halves(request) + todo
    if not in_vain:
        return reason
    lines = [reason.skip_message or "", *failed_attempts(platform, lambda: nullcontext(context.instance))]
    if not few_failures(context.instance, build):
        lines.insert(1, MANY_FAILURES)
    return dg.SkipReason("\n".join(lines))


def _known_days(context: dg.SensorEvaluationContext, namespace: Namespace) -> tuple[date, date | None] | None:
    """The first and the last day for which the daemon can make a run; None where it can for every day.

    On our own storage it can, see `dagster_storage.PlannedRun`. On any other it refuses days that it does not know, and
    asks for the same again at the next tick, so that nothing else would be built.
    """
    if storage_locks(context.instance) or context.repository_def is None:
        return None
    days = context.repository_def.asset_graph.get(table_key(EVENTS, namespace)).partitions_def
    if not isinstance(days, dg.TimeWindowPartitionsDefinition):
        return None
    return days.start.date(), days.end.date() - timedelta(days=1) if days.end else None
