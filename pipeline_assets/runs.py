"""Runs of the two jobs: which are under way, and which only look so because their process was killed."""

import os
import socket
from collections.abc import Iterable

import dagster as dg
import psutil
from dagster._core.storage.tags import HIDDEN_TAG_PREFIX

# The prefix keeps it off the pages of the UI, where it would say nothing.
WORKER_TAG = f"{HIDDEN_TAG_PREFIX}pipeline_worker"

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def worker_tags() -> dict[str, str]:
    """Tags for a run that this very process executes, so that others notice when it is killed."""
    process = psutil.Process(os.getpid())
    return {WORKER_TAG: f"{socket.gethostname()}/{process.pid}/{process.create_time():.2f}"}


def worker_is_alive(worker: str) -> bool:
    """Whether the process that `worker_tags` names still runs; one on another host is taken to."""
    host, pid, started = worker.rsplit("/", 2)
    if host != socket.gethostname():
        return True
    try:
        # The number may have been given to another process since.
        process = psutil.Process(int(pid))
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - float(started)) < 1
    except psutil.NoSuchProcess:
        return False


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
        context.instance.add_run_tags(context.run.run_id, worker_tags())


def _unfinished(instance: dg.DagsterInstance, jobs: Iterable[str]) -> list[dg.DagsterRun]:
    return [run for job in jobs for run in instance.get_runs(dg.RunsFilter(job_name=job, statuses=_UNFINISHED))]
