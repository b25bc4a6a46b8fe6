"""Runs of the two jobs: which are under way, and which only look so because their process was killed.

Whoever executes a run holds a lock on a PostgreSQL server. Where Dagster's storage is ours, recording a run's start
takes it, for every run there is (`LockingRuns`); on a project's own storage of whatever kind the resource of our assets
takes it on the deployment's server, for runs of these assets.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster_postgres import PostgresRunStorage

from pipeline_assets.locks import Holder, executing
from pipeline_assets.waiting import Wait

_EXECUTED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
# Packages whose errors say that there was one, around the one that there was.
_WRAPPINGS = ("dagster.", "sqlalchemy.")
# A run that is not executed a while after it was launched was killed on its way.
_LAUNCHING = timedelta(seconds=30)
# The longest time from when the resources of a run go to when its end is recorded.
_ENDING_SECONDS = 5.0
_BRIDGED_DAYS = 31
GONE = "The process that executed it is gone."


class LockingRuns(PostgresRunStorage):
    """A storage that takes the lock of every run whose start it records; see `dagster_storage`."""


def under_way(instance: dg.DagsterInstance, url: str, *jobs: str) -> bool:
    """Whether a run of one of the jobs is made, queued, being launched or executed; see `surely_under_way`."""
    queued = [dg.DagsterRunStatus.QUEUED]
    if any(instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=queued)) for job in jobs):
        return True
    # One that was made and nothing more, for whoever made it was killed, stays so for ever.
    if any(_lately(record) for record in _records(instance, jobs, [dg.DagsterRunStatus.NOT_STARTED])):
        return True
    return bool(surely_under_way(instance, url, *jobs))


def surely_under_way(instance: dg.DagsterInstance, url: str, *jobs: str) -> dict[str, str]:
    """The runs of the jobs that are being launched or that a living process executes; run id and words about it.

    It needs no daemon that closes the runs of killed processes; it closes them itself.

    Args:
        instance: where the runs are recorded.
        url: of the deployment's server.
        jobs: names of the jobs.
    """
    found: dict[str, str] = {}
    records = _records(instance, jobs, _EXECUTED)
    living = executed_by(instance, [record.dagster_run.run_id for record in records], url)
    for record in records:
        run = record.dagster_run
        if run.run_id in living:
            worker = living[run.run_id] or "a process that may be connecting to PostgreSQL again"
            found[run.run_id] = f"run {run.run_id} of {run.job_name}, executed by {worker}"
        elif not storage_locks(instance) and _lately(record):
            # There the lock is taken a while after the run's start.
            found[run.run_id] = f"run {run.run_id} of {run.job_name}, which has just begun"
        else:
            _close(instance, run.run_id)
    for record in _records(instance, jobs, [dg.DagsterRunStatus.STARTING]):
        if _lately(record):
            run, launched = record.dagster_run, record.update_timestamp
            found[run.run_id] = f"run {run.run_id} of {run.job_name}, launched at {launched:%Y-%m-%d %H:%M:%S} UTC"
    return found


def failure(event: dg.DagsterEvent) -> str:
    """A failed step, and what the outermost error says that is no mere wrapping: it knows what to do."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return f"{event.step_key}: {data.user_failure_data.description}"
    error = data.error
    while error is not None and error.cause is not None and error.message.startswith(_WRAPPINGS):
        error = error.cause
    return f"{event.step_key}: {error.message.strip() if error else 'failed'}"


def why_failed(instance: dg.DagsterInstance, run_id: str, step: str) -> str:
    """Why a run did not do a step, as far as that is recorded: what this or else the first failed step says."""
    found = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [event for record in found if (event := record.event_log_entry.dagster_event)]
    own = [event for event in events if event.step_key == step]
    return failure((own or events)[0]) if events else ""


def _lately(record: dg.RunRecord) -> bool:
    """Whether the status of a run has changed a moment ago."""
    return datetime.now(UTC) - record.update_timestamp.replace(tzinfo=UTC) < _LAUNCHING


def _close(instance: dg.DagsterInstance, run_id: str) -> None:
    """Record the end of a run that nobody executes."""
    # It may have ended meanwhile; its status says so before its lock goes, or on a storage not ours a moment after.
    wait = Wait(f"the end of run {run_id} to be recorded", 0 if storage_locks(instance) else _ENDING_SECONDS)
    while (run := instance.get_run_by_id(run_id)) is not None and run.status in _EXECUTED:
        if wait.over:
            instance.report_run_failed(run, GONE)
            return
        wait.pause(_ENDING_SECONDS / 10)


def _records(
    instance: dg.DagsterInstance, jobs: Iterable[str], statuses: list[dg.DagsterRunStatus]
) -> list[dg.RunRecord]:
    filters = [dg.RunsFilter(job_name=job, statuses=statuses) for job in jobs]
    return [record for each in filters for record in instance.get_run_records(each)]


def executed_by(instance: dg.DagsterInstance, run_ids: Iterable[str], url: str) -> dict[str, Holder | None]:
    """The started runs among these that a living process executes, and which one, where that is known.

    Args:
        instance: where the runs are recorded.
        run_ids: the runs.
        url: of the server on which they are locked where Dagster's storage is not ours.
    """
    if instance.is_ephemeral:
        # It holds the runs of this process only.
        return dict.fromkeys(run_ids)
    storage = instance.run_storage
    return executing(storage.postgres_url if isinstance(storage, LockingRuns) else url, run_ids)


def farthest_days(instance: dg.DagsterInstance) -> int | None:
    """Days that a day of a run may lie from the one before it; None for any.

    Our own storage plans a run for just its days (`dagster_storage.PlannedRun`). Any other writes an event for every
    table and day from the first to the last.
    """
    return None if storage_locks(instance) else _BRIDGED_DAYS


def storage_locks(instance: dg.DagsterInstance) -> bool:
    """Whether recording a run's start takes its lock, or none is needed."""
    return instance.is_ephemeral or isinstance(instance.run_storage, LockingRuns)
