"""`pipeline-assets refresh` as a process of its own that may be killed at any moment.

The processes are forked from a server that has everything imported, so that a second of a test is a second of work.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psutil

import pipeline_assets.build
import pipeline_assets.dagster_storage
import pipeline_assets.refresh
from pipeline_assets import cli
from pipeline_assets.postgres import leave_server
from pipeline_assets.settings import Settings
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, FIRST_DAY

_IMPORTED = (pipeline_assets.build, pipeline_assets.dagster_storage, pipeline_assets.refresh)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def warm_up() -> None:
    """Start the server that the processes are forked from, which is no part of a refresh."""
    process = _CONTEXT.Process(target=os.getpid)
    process.start()
    process.join()


@dataclass(frozen=True)
class Point:
    """A place in the code at which a process kills itself, or PostgreSQL: just after the nth call of a method."""

    cls: type
    method: str
    call: int
    kills_postgres: bool = False

    def arm(self) -> None:
        """Make this process die there."""
        original = getattr(self.cls, self.method)
        calls = count(1)

        def deadly(*arguments: Any, **named: Any) -> Any:
            result = original(*arguments, **named)
            if next(calls) == self.call:
                if self.kills_postgres:
                    kill_postgres(Path(os.environ["PIPELINE_DATA_DIR"]))
                else:
                    os.killpg(os.getpid(), signal.SIGKILL)
            return result

        setattr(self.cls, self.method, deadly)


def start_refresh(
    data_dir: Path,
    dies_at: Point | None = None,
    *,
    tables: Sequence[str] = BACKBONE_TABLES,
    variables: Mapping[str, str] | None = None,
) -> ForkServerProcess:
    """Start `pipeline-assets refresh` on a data folder, in a process group of its own.

    Its words go to `refresh.log` in that folder. It makes some tables, or all where none are named. The variables are
    set in its environment beside those of the data folder.
    """
    process = _CONTEXT.Process(target=_refresh, args=(data_dir, dies_at, tuple(tables), dict(variables or {})))
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


def _refresh(data_dir: Path, dies_at: Point | None, tables: Sequence[str], variables: Mapping[str, str]) -> None:
    os.setsid()
    if dies_at:
        dies_at.arm()
    for name in [name for name in os.environ if name.startswith("PIPELINE_")]:
        del os.environ[name]
    os.environ["PIPELINE_DATA_DIR"] = str(data_dir)
    os.environ["PIPELINE_TABLES"] = ",".join(tables)
    os.environ["PIPELINE_FIRST_DAY"] = FIRST_DAY.isoformat()
    os.environ.update(variables)
    log = os.open(data_dir / "refresh.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["pipeline-assets", "refresh"]
    try:
        cli.app()
    finally:
        sys.stdout.flush()
        # A process forked so does not do what it has put off until its end.
        leave_server(Settings.for_data_dir(data_dir))
