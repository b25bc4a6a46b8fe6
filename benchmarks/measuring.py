"""Time, processor time and memory of what is measured, and programs that run in a process of their own."""

import os
import resource
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.memory import PeakMemory
from benchmarks.server import server_seconds
from pipeline_assets.settings import PROJECT_ROOT, Settings

REFRESH = (sys.executable, "-c", "from pipeline_assets.cli import app; app()", "refresh")
"""The command `pipeline-assets refresh`, by this Python."""
MEMORY_TARGET = 3 * 2**30


@dataclass(frozen=True)
class Part:
    """A part of the benchmark that makes its own events.

    Attributes:
        name: as `--only` and the figures call it.
        add_options: adds the options that only this part has.
        measure: runs it in the benchmark's folder, prints what was found, and returns the figures for JSON.
    """

    name: str
    add_options: Callable[[ArgumentParser], None]
    measure: Callable[[Console, Path, Namespace], dict[str, Any]]


@dataclass
class Side:
    """What one side of a comparison took, an element per round.

    Attributes:
        name: what was run.
        seconds: wall-clock time.
        processor: processor time of all its threads and children, PostgreSQL's not counted; it depends less than
            wall-clock time on what else the machine does.
        server_processor: processor time of PostgreSQL's processes beside it, of programs that `run` ran.
        memory: peak of its processes without PostgreSQL, bytes; empty where it was not measured.
        server_memory: peak of PostgreSQL's processes, bytes.
        steps: seconds of its steps, of the last round.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    server_processor: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    server_memory: list[int] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def all_processor(self) -> float:
        """Processor time with PostgreSQL's, median of the rounds."""
        return statistics.median(sum(pair) for pair in zip(self.processor, self.server_processor, strict=True))


def run(side: Side, command: Sequence[str], settings: Settings, variables: Mapping[str, str] | None = None) -> str:
    """Run a program on a deployment, note its time and memory, and return what it printed.

    Args:
        side: where the round is noted.
        command: the program.
        settings: the deployment's; the environment's own settings do not reach the program.
        variables: further `PIPELINE_*` variables.

    Raises:
        RuntimeError: it did not end with exit code 0.
    """
    foreign = ("PIPELINE_", "DAGSTER_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment["PIPELINE_DATA_DIR"] = str(settings.data_dir)
    environment["PIPELINE_LANDING_URL"] = settings.landing_url
    if settings.defs_dir:
        environment["PIPELINE_DEFS_DIR"] = str(settings.defs_dir)
    environment |= variables or {}
    before = server_seconds(settings.postgres_dir)
    with (
        clock(side, resource.RUSAGE_CHILDREN),
        subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        memory = PeakMemory(process.pid, settings.postgres_dir)
        memory.start()
        output, errors = process.communicate()
    memory.join()
    side.server_processor.append(server_seconds(settings.postgres_dir) - before)
    if process.returncode:
        raise RuntimeError(f"{side.name} ended with exit code {process.returncode}:\n{output}\n{errors}")
    side.memory.append(memory.process)
    side.server_memory.append(memory.server)
    return output


@contextmanager
def clock(side: Side, whose: int) -> Generator[None]:
    """Take the time of a round. Nobody shall pay for what another wrote, so that is brought to the disk first."""
    os.sync()
    before, begin = resource.getrusage(whose), time.perf_counter()
    yield
    side.seconds.append(time.perf_counter() - begin)
    after = resource.getrusage(whose)
    side.processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def verdict(met: bool) -> str:
    """The word for a target."""
    return "[green]met[/green]" if met else "[red]missed[/red]"
