"""Compare the pipeline with plain scripts on generated events, both sides in one run and taking turns."""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import psycopg
from psycopg import sql
from rich.console import Console
from rich.table import Table

from benchmarks import bare
from benchmarks.memory import PeakMemory
from pipeline_assets.contracts.tables import EVENTS, MARTS
from pipeline_assets.demo.bulk import write_bulk
from pipeline_assets.platform import Platform
from pipeline_assets.postgres import leave_server, server_url
from pipeline_assets.settings import PROJECT_ROOT, Settings
from pipeline_assets.sources.loading import declared_sources

SOURCE = "web"
STAGING_TARGET = 0.40
REFRESH_TARGET = 0.30
MEMORY_TARGET = 3 * 2**30
SEED = 20260302


@dataclass
class Side:
    """What one side of a comparison took, an element per round.

    Attributes:
        name: what was run.
        seconds: wall-clock time.
        processor: processor time of all its threads and children, PostgreSQL's not counted; it depends less than
            wall-clock time on what else the machine does.
        memory: peak of its processes without PostgreSQL, bytes; empty where it was not measured.
        server_memory: peak of PostgreSQL's processes, bytes.
        steps: seconds of its steps, of the last round.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    server_memory: list[int] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=dict)


@dataclass
class Comparison:
    """Two sides, and the share of the plain one's speed that the pipeline is to reach."""

    what: str
    target: float
    ours: Side
    plain: Side

    @property
    def ratio(self) -> float:
        """Our share of the plain side's speed: the median over the rounds."""
        pairs = zip(self.plain.seconds, self.ours.seconds, strict=True)
        return statistics.median(plain / ours for plain, ours in pairs)

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.ratio >= self.target


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its figures."""
    options = _options(arguments)
    console = Console(stderr=options.json, width=None if sys.stdout.isatty() else 120)
    folder = nullcontext(str(options.keep)) if options.keep else tempfile.TemporaryDirectory(prefix="bench-")
    with folder as name:
        work = Path(name).absolute()
        work.mkdir(parents=True, exist_ok=True)
        with console.status("Writing events"):
            bulk = write_bulk(work / "landing" / SOURCE, options.events, options.files, SEED)
        console.print(f"{bulk.events:,} events in {len(bulk.files)} files, {bulk.bytes / 2**20:,.0f} MiB, in {work}")
        staging = Comparison(
            "landing to staging",
            STAGING_TARGET,
            Side("SourceLoader"),
            Side("DuckDB: read_json to Parquet"),
        )
        whole = Comparison(
            "landing to marts", REFRESH_TARGET, Side("pipeline-assets refresh"), Side("benchmarks/bare.py")
        )
        rows: dict[str, dict[str, int]] = {}
        for number in range(1, options.rounds + 1):
            settings = _settings(work, f"staging-{number}")
            with console.status(f"Landing to staging, round {number}"):
                _plain_staging(staging.plain, work, number)
                _our_staging(staging.ours, settings, bulk.events)
        for number in range(1, options.rounds + 1):
            settings = _settings(work, f"refresh-{number}")
            # Both sides find a server that runs and holds nothing.
            url = server_url(settings)
            try:
                with console.status(f"Bare script, round {number}"):
                    _run_bare(whole.plain, settings, work / f"bare-{number}", url)
                with console.status(f"Refresh, round {number}"):
                    _run_refresh(whole.ours, settings)
                rows = _row_counts(settings, work / f"bare-{number}", url)
            finally:
                leave_server(settings)
        figures = _figures(bulk.events, len(bulk.files), bulk.bytes, [staging, whole], rows)
    _print(console, bulk.events, [staging, whole], rows)
    if options.json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="events to generate (default: %(default)s)")
    parser.add_argument("--files", type=int, default=28, help="JSONL files they come in (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each side runs (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this empty folder, and leave all of it there")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON; the table goes to stderr")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.keep and options.keep.exists() and any(options.keep.iterdir()):
        parser.error(f"--keep: {options.keep} is not empty")
    return options


# --- The sides ----------------------------------------------------------------------------------------


def _settings(work: Path, name: str) -> Settings:
    return Settings.for_data_dir(work / name, landing_dir=work / "landing")


def _plain_staging(side: Side, work: Path, number: int) -> None:
    files = [str(path) for path in sorted((work / "landing" / SOURCE).iterdir())]
    target = bare.literal(work / f"plain-{number}.parquet")
    with duckdb.connect() as connection, _clock(side, resource.RUSAGE_SELF):
        connection.execute(f"copy (select * from read_json($files)) to {target} (format parquet)", {"files": files})


def _our_staging(side: Side, settings: Settings, events: int) -> None:
    platform = Platform(settings, declared_sources(settings))
    # An existing server with an empty ledger, as in any run but the first.
    try:
        platform.engine.connect().close()
        with duckdb.connect() as connection, _clock(side, resource.RUSAGE_SELF):
            loaded = platform.loader(SOURCE, connection).load(platform.pending(SOURCE))
        if loaded.landed != events:
            raise RuntimeError(f"{loaded.landed} of {events} events were staged.")
        platform.engine.dispose()
    finally:
        leave_server(settings)


def _run_bare(side: Side, settings: Settings, lake: Path, url: str) -> None:
    command = [sys.executable, "-m", "benchmarks.bare", str(settings.landing_dir / SOURCE), str(lake), url]
    side.steps = json.loads(_run(side, command, settings))


def _run_refresh(side: Side, settings: Settings) -> None:
    _run(side, [sys.executable, "-c", "from pipeline_assets.cli import app; app()", "refresh"], settings)


def _run(side: Side, command: list[str], settings: Settings) -> str:
    """Run a program, note its time and memory, and return what it printed."""
    foreign = ("PIPELINE_", "DAGSTER_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment["PIPELINE_DATA_DIR"] = str(settings.data_dir)
    environment["PIPELINE_LANDING_URL"] = settings.landing_dir.as_uri()
    with (
        _clock(side, resource.RUSAGE_CHILDREN),
        subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        memory = PeakMemory(process.pid, settings.postgres_dir)
        memory.start()
        output, errors = process.communicate()
    memory.join()
    if process.returncode:
        raise RuntimeError(f"{side.name} ended with exit code {process.returncode}:\n{output}\n{errors}")
    side.memory.append(memory.process)
    side.server_memory.append(memory.server)
    return output


@contextmanager
def _clock(side: Side, whose: int) -> Generator[None]:
    """Take the time of a round. Nobody shall pay for what another wrote, so that is brought to the disk first."""
    os.sync()
    before, begin = resource.getrusage(whose), time.perf_counter()
    yield
    side.seconds.append(time.perf_counter() - begin)
    after = resource.getrusage(whose)
    side.processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _row_counts(settings: Settings, lake: Path, url: str) -> dict[str, dict[str, int]]:
    """Rows of each table, ours and those of the bare script."""
    ours = settings.lake_dir / EVENTS.name
    rows = {EVENTS.name: {"ours": _parquet_rows(ours), "bare": _parquet_rows(lake / "events")}}
    with psycopg.connect(url) as connection:
        for table in MARTS:
            rows[table.name] = {
                side: _count(connection, schema, table.name)
                for side, schema in (("ours", "marts"), ("bare", bare.SCHEMA))
            }
    return rows


def _parquet_rows(folder: Path) -> int:
    return pl.scan_parquet(folder / "**" / "*.parquet", hive_partitioning=False).select(pl.len()).collect().item()


def _count(connection: psycopg.Connection, schema: str, table: str) -> int:
    query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
    found = connection.execute(query).fetchone()
    return found[0] if found else 0


# --- The figures --------------------------------------------------------------------------------------


def _figures(
    events: int, files: int, size: int, comparisons: Iterable[Comparison], rows: dict[str, dict[str, int]]
) -> dict[str, Any]:
    return {
        "events": events,
        "files": files,
        "bytes": size,
        "cores": os.cpu_count(),
        "comparisons": [{**asdict(each), "ratio": round(each.ratio, 3), "met": each.met} for each in comparisons],
        "memory_target": MEMORY_TARGET,
        "rows": rows,
    }


def _print(console: Console, events: int, comparisons: Sequence[Comparison], rows: dict[str, dict[str, int]]) -> None:
    table = Table(title="Speed: the median of all rounds, both sides taking turns", title_justify="left")
    table.add_column("")
    for heading in ("seconds", "CPU s", "events/s", "ratio", "target"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for each in comparisons:
        for side, ratio, target, verdict in (
            (each.plain, "", "", ""),
            (each.ours, f"{each.ratio:.0%}", f"{each.target:.0%}", _verdict(each.met)),
        ):
            seconds = statistics.median(side.seconds)
            table.add_row(
                f"{each.what}: {side.name}",
                f"{seconds:.1f}",
                f"{statistics.median(side.processor):.1f}",
                f"{events / seconds:,.0f}",
                ratio,
                target,
                verdict,
            )
        table.add_section()
    console.print(table)

    whole = comparisons[-1]
    table = Table(title="Memory: the highest peak of all rounds", title_justify="left")
    table.add_column("")
    for heading in ("GiB", "target", "PostgreSQL beside it, GiB"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for side, is_ours in ((whole.plain, False), (whole.ours, True)):
        peak = max(side.memory)
        table.add_row(
            side.name,
            f"{peak / 2**30:.2f}",
            f"{MEMORY_TARGET / 2**30:.0f}" if is_ours else "",
            f"{max(side.server_memory) / 2**30:.2f}",
            _verdict(peak < MEMORY_TARGET) if is_ours else "",
        )
    console.print(table)

    table = Table(title="Rows: both sides make the same tables", title_justify="left")
    table.add_column("")
    for heading in ("ours", "bare"):
        table.add_column(heading, justify="right")
    for name, counts in rows.items():
        table.add_row(name, f"{counts['ours']:,}", f"{counts['bare']:,}")
    console.print(table)
    steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in whole.plain.steps.items())
    console.print(f"Steps of the bare script: {steps}")


def _verdict(met: bool) -> str:
    return "[green]met[/green]" if met else "[red]missed[/red]"


if __name__ == "__main__":
    main()
