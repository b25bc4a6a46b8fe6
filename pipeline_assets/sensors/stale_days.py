"""The reconciler: days whose tables are not built from what is there now."""

import dagster as dg

from pipeline_assets.jobs import BUILD_JOB, LOAD_JOB
from pipeline_assets.partitions import range_tags
from pipeline_assets.platform import Platform
from pipeline_assets.runs import under_way


@dg.sensor(
    job_name=BUILD_JOB,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for a build of the oldest stretch of days whose tables are not built from what is there now.",
)
def stale_days(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """Request one run for the oldest stretch of stale days."""
    # Building while files are loading would build the same days twice.
    if under_way(context.instance, LOAD_JOB, BUILD_JOB):
        return dg.SkipReason("A run is under way.")
    todo = platform.staleness().stretches()
    if not todo:
        return dg.SkipReason("Every day is built from what is there now.")
    stretch = todo[0]
    return dg.SensorResult(run_requests=[dg.RunRequest(tags=range_tags(stretch.first, stretch.last))])
