"""A day's events in many small files beside the same rows in a few: landing and building must cost nearly the same."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table as Printed

from benchmarks.comparisons import SOURCE, rows_in_lake, rows_in_table, settings_of
from benchmarks.measuring import REFRESH, Part, Side, run, verdict
from benchmarks.steps import STAGING, TableTime, last_event, table_times
from pipeline_assets.build import build_platform
from pipeline_assets.demo.bulk import write_bulk
from pipeline_assets.postgres import leave_server, server_url
from pipeline_assets.tables.spec import EVENTS

RATIO_TARGET = 1.5
DAY = date(2026, 3, 2)
SEED = 20260302


@dataclass
class Delivery:
    """The day in so many files.

    Attributes:
        files: how many.
        side: time and memory of the refresh.
        tables: the cost of staging and of each table.
        rows: rows of some tables.
    """

    files: int
    side: Side
    tables: dict[str, TableTime] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Wall-clock time of the refresh."""
        return self.side.seconds[0]

    @property
    def staging(self) -> float:
        """Seconds of it that staging took, with its checks."""
        return sum(time.seconds for name, time in self.tables.items() if name.startswith(STAGING))


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--small-files",
        type=int,
        default=2_000,
        metavar="FILES",
        help="files: how many the day comes in (default: %(default)s)",
    )
    parser.add_argument(
        "--few-files",
        type=int,
        default=4,
        metavar="FILES",
        help="files: how many the same rows come in for comparison (default: %(default)s)",
    )
    parser.add_argument(
        "--file-events",
        type=int,
        default=500_000,
        metavar="EVENTS",
        help="files: events of the day (default: %(default)s)",
    )


def _measure(console: Console, work: Path, options: Namespace) -> dict[str, Any]:
    few, many = (
        _refresh(console, work, files, options.file_events) for files in (options.few_files, options.small_files)
    )
    if few.rows != many.rows:
        raise RuntimeError(f"the same events in {few.files} and {many.files} files gave {few.rows} and {many.rows}")
    ratio = many.seconds / few.seconds
    _print(console, options.file_events, few, many)
    return {
        "events": options.file_events,
        "target": RATIO_TARGET,
        "ratio": round(ratio, 3),
        "met": ratio <= RATIO_TARGET,
        "deliveries": [
            {"files": each.files, "staging": round(each.staging, 3), "side": asdict(each.side), "rows": each.rows}
            for each in (few, many)
        ],
    }


def _refresh(console: Console, work: Path, files: int, events: int) -> Delivery:
    """Load and build the day in an empty deployment, whose server runs already."""
    name = f"files-{files}"
    settings = settings_of(work, name, f"landing-{name}")
    with console.status(f"Writing {events:,} events in {files} files"):
        write_bulk(settings.landing_dir / SOURCE, events, files, SEED, first_day=DAY, days=1)
    delivery = Delivery(files, Side(f"{files} files"))
    url = server_url(settings)
    try:
        before = last_event(url)
        with console.status(f"Refresh of {files} files"):
            run(delivery.side, REFRESH, settings)
        delivery.tables = table_times(url, build_platform(settings).tables, before)
        delivery.rows[EVENTS] = rows_in_lake(settings.lake_dir / EVENTS)
        with psycopg.connect(url) as connection:
            for table in ("sessions", "page_views"):
                delivery.rows[table] = rows_in_table(connection, "marts", table)
    finally:
        leave_server(settings)
    return delivery


def _print(console: Console, events: int, few: Delivery, many: Delivery) -> None:
    printed = Printed(title=f"A day of {events:,} events, loaded and built", title_justify="left")
    for heading in ("files", "seconds", "CPU s", "PostgreSQL's", "of it staging, s", "ratio", "target"):
        printed.add_column(heading, justify="right")
    printed.add_column("")
    for each in (few, many):
        judged = each is many
        ratio = each.seconds / few.seconds
        printed.add_row(
            f"{each.files:,}",
            f"{each.seconds:.1f}",
            f"{each.side.processor[0]:.1f}",
            f"{each.side.server_processor[0]:.1f}",
            f"{each.staging:.1f}",
            f"{ratio:.2f}",
            f"{RATIO_TARGET}" if judged else "",
            verdict(ratio <= RATIO_TARGET) if judged else "",
        )
    console.print(printed)


FILES = Part("files", _add_options, _measure)
