"""Runs of the two jobs: which are under way, and which only look so because their process was killed."""

from collections.abc import Iterable

import dagster as dg

from pipeline_assets.dagster_storage import WORKER_TAG, worker_is_alive, worker_tags

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def under_way(instance: dg.DagsterInstance, *jobs: str) -> bool:
    """Whether a run of one of the jobs is queued or running, as far as Dagster knows."""
    return any(instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=_UNFINISHED)) for job in jobs)


def surely_under_way(instance: dg.DagsterInstance, *jobs: str) -> bool:
    """Whether a process is alive that executes a run of one of the jobs.

    Unlike `under_way` this needs no daemon that closes the runs of killed processes; it closes them itself.
    """
    alive = False
    for run in _unfinished(instance, jobs):
        worker = run.tags.get(WORKER_TAG)
        if worker is None:
            continue
        if worker_is_alive(worker):
            alive = True
        else:
            instance.report_run_failed(run, "The process that ran it is gone.")
    return alive


def note_worker(context: dg.AssetExecutionContext) -> None:
    """Write down which process executes the run, so that others can tell whether it still does."""
    if WORKER_TAG not in context.run.tags:
        context.instance.add_run_tags(context.run_id, worker_tags())


def _unfinished(instance: dg.DagsterInstance, jobs: Iterable[str]) -> list[dg.DagsterRun]:
    return [run for job in jobs for run in instance.get_runs(dg.RunsFilter(job_name=job, statuses=_UNFINISHED))]
