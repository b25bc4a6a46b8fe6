"""How long a sensor waits before it asks again for what it has asked for in vain."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg

from pipeline_assets.digests import digest

INPUTS_TAG = "pipeline/inputs"
"""Tag of a requested run: digest of what it was asked for."""

_LONGEST = timedelta(hours=1)
# 2^6 minutes are over an hour already, so older runs need not be counted.
_COUNTED = 7
_MOST_FAILURES = 10
MANY_FAILURES = (
    f"{_MOST_FAILURES} builds or more have failed within the last hour: until it is fewer, days are asked for together "
    "and not apart from those that cannot be built."
)
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def inputs_digest(inputs: Iterable[object]) -> str:
    """The digest of what a run is asked for; it changes as soon as anything of that does."""
    return digest([str(part) for part in inputs])


def pause_after(runs: int) -> timedelta:
    """Time to wait after the last of so many runs: 2, 4, 8 … minutes, at most an hour; none before the first."""
    return timedelta(0) if runs < 1 else min(timedelta(minutes=2 ** min(runs, _COUNTED)), _LONGEST)


def must_wait(
    instance: dg.DagsterInstance, job: str, digest: str, *, now: datetime | None = None
) -> dg.SkipReason | None:
    """Why a sensor must not ask for the same again yet; None if it may.

    A run that did what it was asked for leaves nothing to ask for, or something else. So the runs that finished with
    the same digest achieved nothing, whatever their status says.

    Args:
        instance: where the runs are recorded.
        job: the job the sensor requests.
        digest: of what it is about to ask for.
        now: the current moment.
    """
    records = instance.get_run_records(
        dg.RunsFilter(job_name=job, tags={INPUTS_TAG: digest}, statuses=_FINISHED), limit=_COUNTED
    )
    if not records:
        return None
    ended = max(_ended(record) for record in records)
    again = ended + pause_after(len(records))
    if (now or datetime.now(UTC)) >= again:
        return None
    how_often = "once" if len(records) == 1 else f"{len(records)} times"
    return dg.SkipReason(
        f"The same was asked for {how_often} and is still to be done; asking again after {again:%Y-%m-%d %H:%M:%S} "
        "UTC. See why the last run did not do it."
    )


def few_failures(instance: dg.DagsterInstance, job: str, *, now: datetime | None = None) -> bool:
    """Whether so few runs failed in the last hour that single days may be the cause, and not the code."""
    since = (now or datetime.now(UTC)) - timedelta(hours=1)
    failed = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.FAILURE], created_after=since)
    return instance.get_runs_count(failed) < _MOST_FAILURES


def _ended(record: dg.RunRecord) -> datetime:
    if record.end_time is not None:
        return datetime.fromtimestamp(record.end_time, UTC)
    return record.update_timestamp.replace(tzinfo=UTC)
