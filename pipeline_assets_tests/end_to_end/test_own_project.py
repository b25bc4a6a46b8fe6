"""A newcomer's path: a project of one's own from a till's export to the first tables, with nothing but its README."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline_assets.settings import Settings
from pipeline_assets.starting.guessing import Wishes
from pipeline_assets.starting.projects import plan
from pipeline_assets_tests.end_to_end.deployment import Deployment
from pipeline_assets_tests.ui.dev_server import heeding_interrupts

START_SECONDS = 240
# As a till in many countries exports: semicolons, decimal commas, Latin-1, Windows' line ends, times without a zone.
HEADER = "Datum;Filiale;Besucher;Artikel;Betrag;Währung\r\n"
TILL = [
    f"{1 + number % 7:02}.03.2026 {10 + number % 8:02}:05:{number % 10:02};München;B{number % 4};Käse {number};"
    f"{12 + number},{50 + number % 10};EUR\r\n"
    for number in range(12)
]


@dataclass
class Shell:
    """A shell in a folder, with the programs of this environment and no settings but the project's."""

    folder: Path
    said: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """No variable of the pipeline or of Dagster, and the programs of this environment first."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIPELINE_", "DAGSTER_"))}
        return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", "COLUMNS": "200"}

    def __call__(self, command: str) -> str:
        """Run a line; its output. It must succeed."""
        done = subprocess.run(  # noqa: PLW1510 - asserted below, with what it said
            command, shell=True, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300
        )
        self.said.append(done.stdout + done.stderr)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def rows(self, query: str) -> list[dict[str, str]]:
        """The answer of the project's database."""
        return list(csv.DictReader(io.StringIO(self(f"pipeline-assets sql {shlex.quote(query)}"))))


@dataclass
class Newcomer:
    """What somebody has who has just made a project."""

    shell: Shell
    project: Path
    printed: str


@pytest.fixture(scope="module")
def newcomer() -> Iterator[Newcomer]:
    """A project made of a till's export."""
    # Not below pytest's own folder, see the server's fixture.
    work = Path(tempfile.mkdtemp(prefix="pipeline-own-"))
    work.chmod(0o755)
    shell = Shell(work)
    (work / "kasse.csv").write_bytes((HEADER + "".join(TILL)).encode("latin-1"))
    try:
        printed = shell("pipeline-assets init shop-2026 --sample kasse.csv --time-zone Europe/Berlin")
        yield Newcomer(Shell(work / "shop-2026"), work / "shop-2026", printed)
    finally:
        with suppress(AssertionError, subprocess.TimeoutExpired):
            Shell(work / "shop-2026")("pipeline-assets stop")
        shutil.rmtree(work, ignore_errors=True)


def readme_commands(project: Path) -> list[str]:
    """The commands that the project's README shows."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (project / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]


def test_the_commands_that_init_prints_and_the_readme_shows_lead_to_the_first_tables(newcomer: Newcomer) -> None:
    shell = newcomer.shell
    assert "12 of 12 records become events of 4 visitors" in newcomer.printed
    commands = [line.strip() for line in newcomer.printed.partition("Next:\n")[2].splitlines()]
    assert commands[0] == "cd shop-2026"
    assert commands[-1] == "dg dev"
    for command in commands[1:-1]:
        shell(command)
    shown = readme_commands(newcomer.project)
    assert {"pipeline-assets refresh", "dg check defs", "dg list defs", "dg dev"} <= set(shown)
    (scaffold,) = re.findall(r"`(dg scaffold defs [^`]*)`", (newcomer.project / "README.md").read_text())
    for command in (scaffold, *shown):
        if command != "dg dev":
            shell(command)
    assert "All definitions loaded successfully" in "".join(shell.said)
    (found,) = shell.rows(
        "select (select sum(events) from marts.daily_activity) as events, sum(gross) as gross, "
        # In the currency of the sample, without a rate of anybody else's.
        "sum(reporting_gross) as reported, (select count(distinct step_number) from marts.kasse_funnel "
        "where entities > 0) as steps, (select count(*) from marts.my_funnel) as scaffolded from marts.revenue"
    )
    assert found == {"events": "12", "gross": "216.46", "reported": "216.46", "steps": "2", "scaffolded": "0"}


def test_a_file_that_is_dropped_later_is_added_by_a_refresh(newcomer: Newcomer) -> None:
    later = [line.replace(".03.2026", ".04.2026") for line in TILL]
    landing = newcomer.project / "data" / "landing" / "kasse"
    (landing / "april.csv").write_bytes((HEADER + "".join(later)).encode("latin-1"))
    newcomer.shell("pipeline-assets refresh")
    assert newcomer.shell.rows("select sum(gross) from marts.revenue") == [{"sum": "432.92"}]


@pytest.mark.exhaustive
def test_dg_dev_serves_the_project(newcomer: Newcomer) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = newcomer.project / "dev.log"
    with log.open("wb") as output, heeding_interrupts():
        process = subprocess.Popen(
            [Path(sys.executable).with_name("dg"), "dev", "--port", str(port)],
            cwd=newcomer.project, env=newcomer.shell.environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    query = json.dumps({"query": "{assetNodes {assetKey {path} groupName}}"}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", query, {"content-type": "application/json"})
    found: set[str] = set()
    deadline = time.monotonic() + START_SECONDS
    try:
        while not found and process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(request, timeout=60) as answer:
                nodes = json.load(answer)["data"]["assetNodes"]
                found = {"/".join(node["assetKey"]["path"]) for node in nodes}
            time.sleep(0.5)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(120)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert {"staging/kasse", "events", "kasse_funnel"} <= found, log.read_text(errors="replace")
    # Neither is there anything of the demo's.
    assert not {"staging/web", "checkout_funnel"} & found


ORDERS = "".join(
    json.dumps(
        {"time": f"2026-03-0{day}T10:00:00Z", "user_id": f"u{day}", "event": "order_completed", "amount": amount,
         "currency": "USD", "order_id": f"o-{day}"}
    ) + "\n"
    for day, amount in ((2, 1000), (3, 2500))
)  # fmt: skip


@pytest.mark.parametrize(
    ("own", "reported"),
    [
        ("{reporting: USD}", Decimal(3500)),
        ("{reporting: EUR, rates: [{currency: USD, rate: 0.5}]}", Decimal(1750)),
    ],
)
def test_only_a_project_s_own_currencies_change_an_amount(
    new_deployment: Callable[..., Deployment], tmp_path: Path, own: str, reported: Decimal
) -> None:
    sample = tmp_path / "orders.jsonl"
    sample.write_text(ORDERS)
    start = plan(tmp_path / "shop", [sample], Wishes())
    start.write()
    defs = tmp_path / "shop" / "shop" / "defs"
    (defs / "currencies" / "defs.yaml").write_text(f"type: pipeline_assets.components.Currencies\nattributes: {own}\n")
    settings = Settings.for_project(tmp_path / "shop", {})
    deployment = new_deployment(defs_dir=defs, tables=("revenue",), landing_url=settings.landing_url)
    assert deployment.refresh().exit_code == 0
    query = "select sum(gross), sum(reporting_gross) from marts.revenue"
    assert deployment.sql(query) == [(Decimal(3500), reported)]
