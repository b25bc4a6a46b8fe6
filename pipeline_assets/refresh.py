"""Load all that is pending and rebuild all that is stale, in the foreground.

The same jobs that the sensors request, run in this process and recorded in the same Dagster instance. For the command
line, cron, CI and benchmarks.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import dagster as dg

# What the public `execute_in_process` calls, which makes a record of the run by itself: of no code location,
# so that the UI lists it under no job.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

# The state of what an event log storage tells of checks; not exported.
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from pipeline_assets.asset_keys import requested_keys, staging_key
from pipeline_assets.checks.declared import report_leftovers
from pipeline_assets.code_location import job_origin
from pipeline_assets.hints import hints
from pipeline_assets.history import thin_out
from pipeline_assets.jobs import BUILD_JOB, LOAD_JOB, job_name
from pipeline_assets.ledger.quality import Quality
from pipeline_assets.ledger.summary import SourceSummary, is_silent, summarise
from pipeline_assets.leftovers import Leftover
from pipeline_assets.locks import turn
from pipeline_assets.observing import observe_days
from pipeline_assets.partitions import request_tags
from pipeline_assets.planning import BuildRequest
from pipeline_assets.platform import Platform
from pipeline_assets.runs import failure, farthest_days, surely_under_way
from pipeline_assets.settings import PROJECT_ROOT
from pipeline_assets.staging.landing import Listing, Refused
from pipeline_assets.waiting import Wait, WaitedTooLong

_WAIT_SECONDS = 1.0
# A load of years takes hours; one that takes longer than this hangs.
_WAIT_LIMIT_SECONDS = 24 * 60 * 60
_INTERRUPTIONS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
MOST_FAILURES = 10
"""Failed builds after which failing ones are no longer cut in two: so many find one bad day among `MOST_DAYS`."""


@dataclass
class RefreshReport:
    """What a refresh did and what it found.

    Attributes:
        loads: load runs made.
        builds: what was built, one run each.
        failed_runs: ids of runs that failed, a blocking check among the reasons.
        failures: why their steps failed.
        failed_checks: failed checks of this refresh's runs, blocking or not.
        summaries: the ledger's numbers per source, after the refresh.
        beyond_bounds: what is broken of the sources of which more is than they declare, by name.
        silent: sources of which longer than declared no file has come.
        open_checks: blocking checks whose latest execution failed, maybe in an earlier refresh.
        hints: what looks like a mistake in a declaration or a change in what is delivered, a line each.
        pending: files still pending, because somebody is writing to them or they could not be loaded.
        refused: what in landing cannot be read and stays pending too: its name and why.
        lost_marts: marts that were not there any more and are made again, a line each.
        stale_days: days that are still to be built.
        leftovers: what is there although nothing asks for it, such as sources that are no longer declared.
    """

    loads: int = 0
    builds: list[BuildRequest] = field(default_factory=list)
    failed_runs: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    failed_checks: list[dg.AssetCheckEvaluation] = field(default_factory=list)
    summaries: dict[str, SourceSummary] = field(default_factory=dict)
    beyond_bounds: dict[str, Quality] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    open_checks: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    lost_marts: list[str] = field(default_factory=list)
    stale_days: int = 0
    leftovers: list[Leftover] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        """Whether there was nothing to do."""
        return not self.loads and not self.builds

    @property
    def exit_code(self) -> int:
        """0: up to date; 1: a run or blocking check failed; 3: beyond declared bounds; 4: not all is done yet.

        5: up to date, but something is there that is no longer declared. Of several the first of these: 1, 3, 4, 5.
        """
        if self.failed_runs or self.open_checks:
            return 1
        if self.beyond_bounds or self.silent:
            return 3
        if self.pending or self.refused or self.stale_days:
            return 4
        return 5 if any(not left.wanted for left in self.leftovers) else 0


class Refresh:
    """Runs the jobs of a code location in this process.

    Args:
        platform: the deployment.
        definitions: its code location, built on the same platform.
        instance: where runs are recorded.
    """

    def __init__(self, platform: Platform, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self._platform = platform
        self._namespace = platform.settings.namespace
        self._definitions = definitions
        self._instance = instance

    def run(self, *, load: bool = True, full: bool = False) -> RefreshReport:
        """Do all there is to do; what failed does not keep the rest from being done.

        Args:
            load: whether pending files are loaded too.
            full: whether everything is looked at, and not only what has changed since the last look.

        Raises:
            OutdatedError: something else counts than what the platform was made from.
            DeclarationError: something has to count as last declared, but it is not known how that was.
            KeyboardInterrupt: somebody pressed Ctrl-C; nothing half-done is visible.
        """
        report = RefreshReport()
        began = self._platform.builds.now()
        self._platform.settle()
        if full:
            self._platform.full_looks.ask()
        self._platform.look_for_lost()
        if load:
            # Before the loads, which read again what is found to be damaged.
            for source in sorted({day.source for day in self._platform.due_for_compaction()}):
                self._platform.tidy_up(source)
            self._load(report)
        # Before the builds, which book the versions that they have read.
        observe_days(self._platform, self._instance.report_runless_asset_event)
        self._build(report)
        if not report.idle:
            thin_out(self._instance, self._platform.settings.history_days)
        report.leftovers = self._platform.leftovers()
        report_leftovers(self._instance, report.leftovers, self._namespace)
        report.open_checks = self._open_checks()
        for name, source in self._platform.sources.items():
            summary = summarise(self._platform.engine, name)
            report.summaries[name] = summary
            if is_silent(source, summary):
                report.silent.append(name)
            quality = self._platform.quality(name)
            if quality.is_beyond:
                report.beyond_bounds[name] = quality
        report.hints = hints(self._platform, since=began)
        return report

    def pending(self) -> dict[str, list[str]]:
        """Names of the pending files of every source that has any."""
        return _pending(self._landing())

    def _landing(self) -> dict[str, Listing]:
        return {name: self._platform.landing(name) for name in self._platform.sources}

    def _load(self, report: RefreshReport) -> None:
        landing = self._landing()
        pending = _pending(landing)
        while pending:
            self._execute(LOAD_JOB, report, selection=[staging_key(name, self._namespace) for name in pending])
            report.loads += 1
            landing = self._landing()
            left = _pending(landing)
            if left == pending:
                # Only files that somebody is writing to, or that cannot be loaded, are left.
                break
            pending = left
        report.pending = [name for names in pending.values() for name in names]
        report.refused = list(dict.fromkeys(refused for listing in landing.values() for refused in listing.refused))

    def _build(self, report: RefreshReport) -> None:
        tried: set[BuildRequest] = set()
        failed: set[tuple[date, ...]] = set()
        farthest = farthest_days(self._instance)
        staleness = self._platform.staleness()
        report.lost_marts = self._platform.lost_marts(staleness)
        todo = staleness.requests(farthest=farthest)
        while todo:
            request = todo.pop(0)
            tried.add(request)
            report.builds.append(request)
            keys = requested_keys(request, self._namespace)
            if not self._execute(BUILD_JOB, report, selection=keys, tags=request_tags(request)):
                failed.add(request.days)
                # One bad day must not keep the others from being built. Where everything fails, days are not the cause.
                if len(failed) < MOST_FAILURES:
                    todo = [*staleness.halves(request), *todo]
            if not todo:
                # Whatever came up meanwhile: files that were loaded by others, days whose inputs changed under a run,
                # tables that read days of several runs, days of which a table without partitions says otherwise.
                staleness = self._platform.staleness()
                found = [new for new in staleness.requests(farthest=farthest) if new not in tried]
                todo = [new for new in found if new.days not in failed]
        # Computed after the last run, or nothing was stale to begin with.
        report.stale_days = len(set().union(*staleness.tables.values()))

    def _open_checks(self) -> list[str]:
        """Blocking checks whose latest execution failed, in this refresh or before it."""
        with warnings.catch_warnings():
            # Dagster warns of an argument of its own.
            warnings.simplefilter("ignore", dg.BetaWarning)
            graph = self._definitions.resolve_asset_graph()
        keys = [key for key in graph.asset_check_keys if graph.get(key).blocking]
        latest = self._instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
        return sorted(
            f"{key.name} of {key.asset_key.to_user_string()}"
            for key, record in latest.items()
            if record.status == AssetCheckExecutionRecordStatus.FAILED
        )

    def _execute(
        self,
        job: str,
        report: RefreshReport,
        *,
        selection: Sequence[dg.AssetKey],
        tags: Mapping[str, str] | None = None,
    ) -> bool:
        """Run a job and add what happened to the report; whether it succeeded."""
        url = self._platform.postgres_url
        lock = f"refresh with {self._platform.settings.namespace.ledger}"
        with turn(url, lock, "another refresh", limit=_WAIT_LIMIT_SECONDS, told_after=0):
            self._wait_for_others()
            result = self._run(job_name(job, self._namespace), frozenset(selection), tags or {})
        # Dagster books an interrupted step as a failed one, and an interrupted run too.
        if not result.success and any(_is_interrupted(event) for event in result.all_events):
            raise KeyboardInterrupt
        report.failed_checks += [check for check in result.get_asset_check_evaluations() if not check.passed]
        if not result.success:
            report.failed_runs.append(result.run_id)
            report.failures += [failure(event) for event in result.all_events if event.is_step_failure]
        return result.success

    def _run(self, name: str, selection: frozenset[dg.AssetKey], tags: Mapping[str, str]) -> dg.JobExecutionResult:
        """Run some assets of a job like a run that was launched, and one of the code location's, but here."""
        job = self._definitions.resolve_job_def(name)
        run = self._instance.create_run_for_job(
            job_def=job,
            # The events of the run are in the UI; the terminal shows progress and results.
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={**job.run_tags, **tags},
            asset_selection=selection,
            remote_job_origin=job_origin(name, self._platform.settings.project_dir or PROJECT_ROOT),
        )
        return execute_run(InMemoryJob(job), run, self._instance)

    def _wait_for_others(self) -> None:
        """Wait for runs that the sensors or people in the UI have asked for."""
        wait = Wait("runs of the same tables to end", _WAIT_LIMIT_SECONDS, told_after=0)
        url, jobs = self._platform.postgres_url, [job_name(job, self._namespace) for job in (LOAD_JOB, BUILD_JOB)]
        while living := surely_under_way(self._instance, url, *jobs):
            if wait.over:
                raise WaitedTooLong(f"Waited {wait.limit:.0f} seconds in vain for {'; '.join(living.values())}.")
            wait.pause(_WAIT_SECONDS, "; ".join(living.values()))


def _pending(landing: Mapping[str, Listing]) -> dict[str, list[str]]:
    return {name: [file.name for file in listing.files] for name, listing in landing.items() if listing.files}


def _is_interrupted(event: dg.DagsterEvent) -> bool:
    """Whether an event says that a step or a run ended because somebody pressed Ctrl-C."""
    if event.event_type == dg.DagsterEventType.RUN_CANCELED:
        return True
    # Of a failed step, or of a run that failed between two.
    error = getattr(event.event_specific_data, "error", None)
    while error is not None:
        if error.cls_name in _INTERRUPTIONS:
            return True
        error = error.cause
    return False
