"""A small demo deployment, and `dg dev` on it as people start it: in the project's folder, with nothing else set."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

from pipeline_assets.build import build_defs, build_platform
from pipeline_assets.dagster_storage import pipeline_instance
from pipeline_assets.demo.generator import DemoConfig, build_demo
from pipeline_assets.platform import Platform
from pipeline_assets.postgres import leave_server
from pipeline_assets.refresh import Refresh
from pipeline_assets.settings import PROJECT_ROOT, Settings

START_SECONDS = 240
STOP_SECONDS = 120


@dataclass
class DevServer:
    """A running dev server.

    Attributes:
        url: its address.
        platform: the deployment it serves, as this process sees it.
        definitions: the deployment's code location, as this process loads it.
        first_day: first day of the demo; the platform's is years earlier.
        log: file with what it prints.
    """

    url: str
    platform: Platform
    definitions: dg.Definitions
    first_day: date
    log: Path

    def ask(self, query: str) -> dict[str, Any]:
        """The answer to a GraphQL query."""
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def runs(self) -> list[dict[str, Any]]:
        """Job, status and tags of all runs, the newest first."""
        answer = self.ask("{runsOrError {... on Runs {results {runId jobName status tags {key value}}}}}")
        return answer["runsOrError"]["results"]

    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")


def small_deployment(folder: Path, *, days: int) -> tuple[Platform, dg.Definitions, date]:
    """A built demo of so many days that ends today, and its first day."""
    first_day = datetime.now(UTC).date() - timedelta(days=days - 1)
    settings = Settings.for_data_dir(folder)
    platform = build_platform(settings)
    definitions = build_defs(platform=platform)
    # Other days get other traffic: which small file has how many broken lines would depend on today.
    small = DemoConfig.small()
    faults = replace(small.faults, web_malformed=dict.fromkeys(small.faults.web_malformed, 0))
    demo = build_demo(replace(small, first_day=first_day, days=days, faults=faults))
    with pipeline_instance(settings) as instance:
        refresh = Refresh(platform, definitions, instance)
        demo.write(settings.landing_dir)
        report = refresh.run()
        assert report.exit_code == 0, report
    return platform, definitions, first_day


@contextmanager
def dev_server(platform: Platform, definitions: dg.Definitions, first_day: date) -> Generator[DevServer]:
    """`dg dev` on a deployment, until the block ends; then Ctrl-C, after which nothing may be left."""
    settings = platform.settings
    before = _litter()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIPELINE_", "DAGSTER_"))}
    environment |= {"PIPELINE_DATA_DIR": str(settings.data_dir)}
    port = _free_port()
    log = settings.data_dir / "dev.log"
    with log.open("wb") as output, heeding_interrupts():
        process = subprocess.Popen(
            [Path(sys.executable).with_name("dg"), "dev", "--port", str(port)],
            cwd=PROJECT_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = DevServer(f"http://127.0.0.1:{port}", platform, definitions, first_day, log)
    try:
        _wait_until_loaded(server, process)
        yield server
        platform.engine.dispose()
        leave_server(settings)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(STOP_SECONDS) == 0, server.said()
        _wait_until_alone(process.pid)
        assert not (settings.postgres_dir / "postmaster.pid").exists(), "PostgreSQL outlived its last user"
        left = {*(_litter() - before), *(home for home in _homes(server) if home.exists())}
        assert not left, f"The dev server left {left} in the project's folder:\n{server.said()}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_loaded(server: DevServer, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            if server.ask("{assetNodes {id}}")["assetNodes"]:
                return
        time.sleep(0.5)
    raise AssertionError(f"The dev server did not start:\n{server.said()}")


def _wait_until_alone(group: int) -> None:
    """The main process does not wait for the run workers and code servers of its group, which tidy up themselves."""
    deadline = time.monotonic() + STOP_SECONDS
    while (left := _members(group)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, f"Processes of the dev server outlived it: {left}"


def _members(group: int) -> list[psutil.Process]:
    """The processes of a group that have not ended; nobody may collect those that have."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@contextmanager
def heeding_interrupts() -> Generator[None]:
    """What is started in the background of a shell ignores Ctrl-C, and so would all that it starts in turn."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _litter() -> set[Path]:
    """What Dagster writes into the project's folder if it is not told otherwise."""
    names = (".logs_queue", "logs", "history", "schedules", "storage", ".dg")
    return {PROJECT_ROOT / name for name in names if (PROJECT_ROOT / name).exists()}


def _homes(server: DevServer) -> list[Path]:
    """The temporary homes in the project's folder that this server has announced; other servers have others there."""
    homes = [Path(home) for home in re.findall(r"Using temporary directory (\S+) for storage", server.said())]
    assert homes, server.said()
    return homes
