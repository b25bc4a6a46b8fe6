"""One refresh that makes every table and every declared analysis, and where its time goes."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table as Printed

from benchmarks.comparisons import SOURCE, rows_in_lake, rows_in_table, settings_of
from benchmarks.measuring import MEMORY_TARGET, REFRESH, Side, run, verdict
from benchmarks.steps import STAGING, TableTime, last_event, table_times
from pipeline_assets.build import build_platform
from pipeline_assets.demo.bulk import BulkSummary
from pipeline_assets.postgres import leave_server, server_url
from pipeline_assets.settings import Settings
from pipeline_assets.tables.spec import TableSpec


@dataclass
class WholeModel:
    """What the refresh took.

    Attributes:
        events: events in the files.
        side: time and memory of the process.
        tables: the cost of each table, in the order of the model.
        rows: rows of each table.
    """

    events: int
    side: Side
    tables: dict[str, TableTime] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def other(self) -> float:
        """Seconds outside of tables and checks: Python's start, Dagster, and finding out what is stale."""
        return self.side.seconds[0] - sum(each.seconds for each in self.tables.values())

    @property
    def met(self) -> bool:
        """Whether it stayed within the memory it may take."""
        return self.side.memory[0] < MEMORY_TARGET

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "events": self.events,
            "side": asdict(self.side),
            "events_per_second": round(self.events / self.side.seconds[0]),
            "tables": {name: asdict(each) | {"rows": self.rows.get(name)} for name, each in self.tables.items()},
            "other_seconds": round(self.other, 3),
            "memory_target": MEMORY_TARGET,
            "met": self.met,
        }


def measure_model(console: Console, work: Path, bulk: BulkSummary, share: float) -> WholeModel:
    """Refresh an empty deployment.

    Args:
        console: where progress is shown.
        work: the benchmark's folder.
        bulk: the files.
        share: the share of the files to take, the earliest ones.
    """
    files = bulk.files[: max(1, round(share * len(bulk.files)))]
    landing = "landing" if len(files) == len(bulk.files) else "landing-model"
    if landing != "landing":
        (work / landing / SOURCE).mkdir(parents=True)
        for path in files:
            os.link(path, work / landing / SOURCE / path.name)
    settings = settings_of(work, "model", landing)
    tables = build_platform(settings).tables
    url = server_url(settings)
    try:
        before = last_event(url)
        measured = WholeModel(0, Side("pipeline-assets refresh"))
        with console.status("The whole model"):
            run(measured.side, REFRESH, settings)
        measured.tables = table_times(url, tables, before)
        measured.rows = _rows(settings, url, list(tables.values()))
        measured.events = measured.rows["events"]
    finally:
        leave_server(settings)
    return measured


def _rows(settings: Settings, url: str, tables: list[TableSpec]) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        return {
            table.name: rows_in_lake(settings.lake_dir / table.name)
            if table.store == "lake"
            else rows_in_table(connection, "marts", table.name)
            for table in tables
        }


def print_model(console: Console, measured: WholeModel) -> None:
    """Print a table of the tables."""
    side = measured.side
    (seconds,) = side.seconds
    printed = Printed(title="The whole model: one refresh, all tables", title_justify="left")
    printed.add_column("")
    for heading in ("rows", "seconds", "its checks", "share"):
        printed.add_column(heading, justify="right")
    for name, each in measured.tables.items():
        rows = f"{measured.rows[name]:,}" if name in measured.rows else ""
        checks = "" if name == STAGING and not each.checks else f"{each.checks:.1f}"
        printed.add_row(name, rows, f"{each.build:.1f}", checks, f"{each.seconds / seconds:.1%}")
    printed.add_section()
    printed.add_row("start, planning, records", "", f"{measured.other:.1f}", "", f"{measured.other / seconds:.1%}")
    printed.add_row("all", "", f"{seconds:.1f}", "", "100%")
    console.print(printed)
    console.print(
        f"{measured.events:,} events, {measured.events / seconds:,.0f} a second; CPU {side.processor[0]:.1f} s and "
        f"PostgreSQL's {side.server_processor[0]:.1f} s; memory at most {side.memory[0] / 2**30:.2f} GiB of "
        f"{MEMORY_TARGET / 2**30:.0f} {verdict(measured.met)}, PostgreSQL's {side.server_memory[0] / 2**30:.2f} GiB"
    )
