"""The doorbell: files have arrived in landing."""

import time
from datetime import timedelta

import dagster as dg

from pipeline_assets.asset_keys import staging_key
from pipeline_assets.jobs import LOAD_JOB, job_name
from pipeline_assets.platform import Platform
from pipeline_assets.runs import under_way
from pipeline_assets.sensors.backing_off import INPUTS_TAG, inputs_digest, must_wait
from pipeline_assets.sensors.declaring import TICK_SECONDS, sensor
from pipeline_assets.staging.landing import Refused
from pipeline_assets.storage.store import TooLongError

# A file nobody has written to for this long is taken as complete. A wrong guess heals itself: newer content of a path
# supersedes the older.
SETTLE_SECONDS = 3.0
# Of a tick's, for a full look at the lake when one is due. A lake that takes longer is looked at by a load, and so is
# landing that takes longer than what is left.
LAKE_SECONDS = 15.0
# Loads compact what they load. Where none has come for so long, a run is asked for that does nothing else.
QUIET = timedelta(hours=1)


@sensor(
    job_name=LOAD_JOB,
    minimum_interval_seconds=10,
    description="Asks for a load when files in landing are pending and nobody is writing to them any more, or when "
    "nothing has come for an hour and there are small staged files to be compacted.",
)
def new_files(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """Request one run for the sources that have settled pending files."""
    load = job_name(LOAD_JOB, platform.settings.namespace)
    if under_way(context.instance, platform.postgres_url, load):
        return dg.SkipReason("A load is under way.")
    deadline = time.monotonic() + TICK_SECONDS
    waiting = False
    refused: list[Refused] = []
    ready: list[str] = []
    asked_for: list[object] = []
    try:
        # Rows that have gone from the lake are read again, or their days are stale.
        platform.look_for_lost(seconds=LAKE_SECONDS)
    except TooLongError:
        ready += list(platform.sources)[:1]
        asked_for.append(time.time_ns())
    for name in platform.sources:
        try:
            landing = platform.landing(name, seconds=deadline - time.monotonic())
        except TooLongError:
            # No time left to look: the run will. What it finds is not known, so it was never asked for in vain.
            ready.append(name)
            asked_for.append(time.time_ns())
            continue
        pending = landing.files
        refused += landing.refused
        # Times of other machines and time zones may lie ahead, by hours or years.
        if any(abs(time.time() - file.modified) >= SETTLE_SECONDS for file in pending):
            ready.append(name)
            asked_for += [(name, platform.declaration_version(name)), *((file.name, file.stamp) for file in pending)]
        waiting = waiting or bool(pending)
    if not ready:
        due = platform.due_for_compaction(QUIET)
        ready += [day.source for day in due]
        asked_for += due
    if not ready:
        told = f" {len(refused)} cannot be read: {refused[0].name} {refused[0].reason}." if refused else ""
        return dg.SkipReason(("Files are still being written." if waiting else "No file is pending.") + told)
    digest = inputs_digest(asked_for)
    if reason := must_wait(context.instance, load, digest):
        return reason
    keys = [staging_key(name, platform.settings.namespace) for name in dict.fromkeys(ready)]
    request = dg.RunRequest(asset_selection=keys, tags={INPUTS_TAG: digest})
    return dg.SensorResult(run_requests=[request])
