"""Housekeeping: what nobody needs of Dagster's history of runs."""

import dagster as dg

from pipeline_assets.history import thin_out
from pipeline_assets.platform import Platform
from pipeline_assets.sensors.declaring import sensor
from pipeline_assets.words import counted


@sensor(
    minimum_interval_seconds=600,
    description="Removes what nobody needs any more of the records of runs, a little at a time: see "
    "`PIPELINE_HISTORY_DAYS`.",
)
def old_runs(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SkipReason:
    """Remove a portion."""
    removed = thin_out(context.instance, platform.settings.history_days)
    return dg.SkipReason(
        f"Removed {counted(removed.events, 'event')}, {counted(removed.results, 'result')} of checks and "
        f"{counted(removed.runs, 'run')}."
    )
