"""Runs of the two jobs: which are under way, and which only look so because their process was killed."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster_postgres import PostgresRunStorage

from pipeline_assets.locks import Holder, executing

_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]
_EXECUTED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
# A run that is not executed a while after it was launched was killed on its way.
_LAUNCHING = timedelta(seconds=30)
GONE = "The process that executed it is gone."


def under_way(instance: dg.DagsterInstance, *jobs: str) -> bool:
    """Whether a run of one of the jobs is queued or running, as far as Dagster knows."""
    statuses = [*_WAITING, *_EXECUTED]
    return any(instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=statuses)) for job in jobs)


def surely_under_way(instance: dg.DagsterInstance, *jobs: str) -> dict[str, str]:
    """The runs of the jobs that are being launched or that a living process executes; run id and words about it.

    Unlike `under_way` this needs no daemon that closes the runs of killed processes; it closes them itself.
    """
    found: dict[str, str] = {}
    records = _records(instance, jobs, _EXECUTED)
    living = executed_by(instance, [record.dagster_run.run_id for record in records])
    for record in records:
        run = record.dagster_run
        if run.run_id in living:
            worker = living[run.run_id] or "a process that may be connecting to PostgreSQL again"
            found[run.run_id] = f"run {run.run_id} of {run.job_name}, executed by {worker}"
            continue
        # It may have ended meanwhile; its lock goes after its status says so.
        now = instance.get_run_by_id(run.run_id)
        if now is not None and now.status in _EXECUTED:
            instance.report_run_failed(now, GONE)
    for record in _records(instance, jobs, [dg.DagsterRunStatus.STARTING]):
        launched = record.update_timestamp.replace(tzinfo=UTC)
        if datetime.now(UTC) - launched < _LAUNCHING:
            run = record.dagster_run
            found[run.run_id] = f"run {run.run_id} of {run.job_name}, launched at {launched:%Y-%m-%d %H:%M:%S} UTC"
    return found


def _records(
    instance: dg.DagsterInstance, jobs: Iterable[str], statuses: list[dg.DagsterRunStatus]
) -> list[dg.RunRecord]:
    filters = [dg.RunsFilter(job_name=job, statuses=statuses) for job in jobs]
    return [record for each in filters for record in instance.get_run_records(each)]


def executed_by(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, Holder | None]:
    """The started runs among these that a living process executes, and which one, where that is known."""
    storage = instance.run_storage
    if not isinstance(storage, PostgresRunStorage):
        # An instance in memory, which holds the runs of this process only.
        return dict.fromkeys(run_ids)
    return executing(storage.postgres_url, run_ids)
