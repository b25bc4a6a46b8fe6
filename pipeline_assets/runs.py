"""Runs of the two jobs: which are under way, and which only look so because their process was killed."""

from collections.abc import Iterable

import dagster as dg
from dagster_postgres import PostgresRunStorage

from pipeline_assets.locks import Holder, executing

_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]
_EXECUTED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
GONE = "The process that executed it is gone."


def under_way(instance: dg.DagsterInstance, *jobs: str) -> bool:
    """Whether a run of one of the jobs is queued or running, as far as Dagster knows."""
    statuses = [*_WAITING, *_EXECUTED]
    return any(instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=statuses)) for job in jobs)


def surely_under_way(instance: dg.DagsterInstance, *jobs: str) -> dict[str, str]:
    """The runs of the jobs that a living process executes; run id and a sentence about it.

    Unlike `under_way` this needs no daemon that closes the runs of killed processes; it closes them itself.
    """
    records = [
        record for job in jobs for record in instance.get_run_records(dg.RunsFilter(job_name=job, statuses=_EXECUTED))
    ]
    living = executed_by(instance, [record.dagster_run.run_id for record in records])
    for record in records:
        if record.dagster_run.run_id not in living:
            # It may have ended meanwhile; its lock goes after its status says so.
            now = instance.get_run_by_id(record.dagster_run.run_id)
            if now is not None and now.status in _EXECUTED:
                instance.report_run_failed(now, GONE)
    return {
        record.dagster_run.run_id: _described(record, living[record.dagster_run.run_id])
        for record in records
        if record.dagster_run.run_id in living
    }


def executed_by(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, Holder | None]:
    """The started runs among these that a living process executes, and which one, where that is known."""
    storage = instance.run_storage
    if not isinstance(storage, PostgresRunStorage):
        # An instance in memory, which holds the runs of this process only.
        return dict.fromkeys(run_ids)
    return executing(storage.postgres_url, run_ids)


def _described(record: dg.RunRecord, holder: Holder | None) -> str:
    run = record.dagster_run
    worker = holder or "a process that may be connecting to PostgreSQL again"
    return f"run {run.run_id} of {run.job_name}, executed by {worker}"
