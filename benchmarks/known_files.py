"""What many known files cost a refresh that finds nothing, a sensor's tick, and one new file: as good as nothing."""

import hashlib
import os
import shutil
import statistics
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import duckdb
import polars as pl
from rich.console import Console
from rich.table import Table as Printed

from benchmarks.comparisons import SOURCE, settings_of
from benchmarks.measuring import REFRESH, Part, Side, run, verdict
from pipeline_assets.build import build_defs, build_platform
from pipeline_assets.declarations.yaml_files import DEFS_DIR
from pipeline_assets.demo.bulk import write_steady_days
from pipeline_assets.ledger.files import Booking, Load, StagedFile
from pipeline_assets.ledger.schema import text
from pipeline_assets.platform import Platform
from pipeline_assets.postgres import leave_server, server_url
from pipeline_assets.resources import resource_key
from pipeline_assets.sensors.new_files import new_files
from pipeline_assets.sensors.stale_days import stale_days
from pipeline_assets.settings import Settings
from pipeline_assets.staging import pending
from pipeline_assets.staging.landing import stamp_of

RATIO_TARGET = 1.5
FEW = 1_000
SEED = 20260302
_DAYS = 100
_LAST = date(2026, 3, 1)
_ROUNDS = 3
_TICKS = 5
_NEW_EVENTS = 20


@dataclass
class Known:
    """A deployment that has loaded so many files.

    Attributes:
        files: how many.
        idle: refreshes that find nothing.
        new: refreshes that find a new file.
        tick: seconds of processor time of both sensors' ticks in a warm process, an element per tick.
    """

    files: int
    idle: Side
    new: Side
    tick: list[float]

    @property
    def costs(self) -> dict[str, float]:
        """Processor time with PostgreSQL's of each thing that was measured, medians."""
        return {
            "idle refresh": self.idle.all_processor,
            "tick": statistics.median(self.tick),
            "one new file": self.new.all_processor,
        }


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--known-files",
        type=int,
        default=1_000_000,
        metavar="FILES",
        help=f"look: known files of the large deployment, beside {FEW:,} with the same rows (default: %(default)s)",
    )


def _measure(console: Console, work: Path, options: Namespace) -> dict[str, Any]:
    # The same rows in few and in many files, so that only the number of files is another.
    per_day = max(options.known_files, FEW) // _DAYS
    pool = work / "look-days"
    with console.status(f"Writing {_DAYS} days"):
        first = _LAST - timedelta(days=_DAYS - 1)
        files = write_steady_days(pool, per_day, SEED, first_day=first, days=_DAYS + 1).files
    declared = _with_folders_of_days(work / "look-defs")
    few, many = (_known(console, work, number, files, declared) for number in (FEW, options.known_files))
    ratios = {name: many.costs[name] / cost for name, cost in few.costs.items()}
    _print(console, few, many, ratios)
    return {
        "target": RATIO_TARGET,
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "met": max(ratios.values()) <= RATIO_TARGET,
        "deployments": [asdict(each) for each in (few, many)],
    }


def _with_folders_of_days(folder: Path) -> Path:
    """The demo's declarations, but for the files of the source that is loaded: they are in a folder for each day."""
    shutil.copytree(DEFS_DIR, folder)
    file = folder / SOURCE / "defs.yaml"
    before = file.read_text(encoding="utf-8")
    after = before.replace(f"path: {SOURCE}/*.jsonl*", f"path: {SOURCE}/*/*.jsonl")
    if after == before:
        raise RuntimeError(f"{file} does not declare the path that is to be replaced")
    file.write_text(after, encoding="utf-8")
    return folder


def _known(console: Console, work: Path, number: int, days: Sequence[Path], declared: Path) -> Known:
    name = f"look-{number}"
    settings = replace(settings_of(work, name, f"landing-{name}"), defs_dir=declared)
    found = Known(number, Side(f"idle, {number:,} files"), Side(f"a new file, {number:,} files"), [])
    server_url(settings)
    try:
        with console.status(f"Booking {number:,} files"):
            platform = build_platform(settings)
            _load(platform, settings, days[:-1], max(number // _DAYS, 1))
        with console.status(f"Building what {number:,} files hold"):
            run(Side("build"), REFRESH, settings)
        with console.status(f"Nothing new among {number:,} files"):
            for _ in range(_ROUNDS):
                run(found.idle, REFRESH, settings)
            found.tick += _ticks(settings)
        lines = days[-1].read_text().splitlines()
        newest = max((settings.landing_dir / SOURCE).iterdir())
        for again in range(_ROUNDS):
            with console.status(f"A new file beside {number:,}"):
                some = lines[again * _NEW_EVENTS : (again + 1) * _NEW_EVENTS]
                (newest / f"new-{again}.jsonl").write_text("".join(f"{line}\n" for line in some))
                run(found.new, REFRESH, settings)
    finally:
        leave_server(settings)
    return found


def _load(platform: Platform, settings: Settings, days: Sequence[Path], files_of_day: int) -> None:
    """Have each day's events come in so many files of long ago: in landing, the lake and the ledger, and looked at."""
    landing = settings.landing_dir / SOURCE
    for path in days:
        folder = landing / "whole"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
    with duckdb.connect() as database:
        # The tables are built from these rows; how a file is read is not what is measured.
        platform.settle("load", loading=SOURCE)
        platform.loader(SOURCE, database).load(platform.landing(SOURCE).files)
    whole = platform.files.staged_files([SOURCE], date.min, date.max)
    version = platform.declaration_version(SOURCE)
    for staged in whole:
        _in_many_files(platform, landing, version, staged, files_of_day)
    with platform.engine.begin() as connection:
        query = "update ledger.files set booked_at = booked_at - interval '30 days' where source = :source"
        connection.execute(text(connection, query), {"source": SOURCE})
    for path in (landing / "whole").iterdir():
        path.unlink()
    (landing / "whole").rmdir()
    for part in platform.sources:
        # As if all of it had been looked at two days after it came.
        with mock.patch.object(pending.time, "time", return_value=time.time() + 2 * 24 * 60 * 60):
            if found := platform.landing(part).files:
                raise RuntimeError(f"{len(found)} of the known files are pending, the first is {found[0].name}")
            platform.unclaimed()


def _in_many_files(platform: Platform, landing: Path, version: str, staged: StagedFile, files_of_day: int) -> None:
    """Book the rows of a staged file as those of many files of their day, and put these into landing."""
    folder = landing / staged.event_date.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    rows = pl.read_parquet(platform.lake.paths([staged.file]))
    contents = [hashlib.sha256(f"{folder.name}/{number}".encode()).hexdigest() for number in range(files_of_day)]
    which = pl.int_range(rows.height, eager=True) * files_of_day // rows.height
    rows = rows.with_columns(load_id=pl.Series(contents).gather(which))
    held = dict(which.value_counts().iter_rows())
    merged = platform.lake.write(rows, f"staging/{SOURCE}", staged.event_date)
    old = time.time() - 30 * 24 * 60 * 60
    bookings = []
    for number, content in enumerate(contents):
        path = folder / f"{number:07}.jsonl"
        path.write_bytes(b"\n")
        os.utime(path, (old, old))
        landed = held.get(number, 0)
        days = {staged.event_date: landed} if landed else {}
        load = Load(content, version, lines=landed, landed=landed, days=days)
        stamp = stamp_of(path.stat())
        bookings.append(Booking(f"{SOURCE}/{folder.name}/{path.name}", stamp, content, load))
    # What was one file has nothing any more.
    gone = {path: hashlib.sha256(path.encode()).hexdigest() for path in platform.files.paths(SOURCE, staged.content)}
    nothing = [Booking(path, "gone", content, Load(content, version)) for path, content in gone.items()]
    platform.files.reserve({each.content: 1 for each in (*bookings, *nothing)})
    platform.files.book(SOURCE, [*bookings, *nothing], [merged])


def _ticks(settings: Settings) -> list[float]:
    """Processor time of this process for ticks of both sensors with nothing to do, after one to warm up."""
    platform = build_platform(settings)
    definitions = build_defs(platform=platform)
    found = []
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(_TICKS + 1):
            before = time.process_time()
            for sensor in (new_files, stale_days):
                context = dg.build_sensor_context(
                    instance=instance,
                    resources={resource_key("platform", settings.namespace): platform},
                    definitions=definitions,
                )
                if sensor.definition(settings.namespace).evaluate_tick(context).run_requests:
                    raise RuntimeError(f"{sensor.function.__name__} asks for a run, although there is nothing to do")
            found.append(time.process_time() - before)
    return found[1:]


def _print(console: Console, few: Known, many: Known, ratios: dict[str, float]) -> None:
    printed = Printed(title="What is known already: processor seconds, PostgreSQL's included", title_justify="left")
    for heading in ("", f"{few.files:,} files", f"{many.files:,} files", "ratio", "target"):
        printed.add_column(heading, justify="right")
    printed.add_column("")
    for name, ratio in ratios.items():
        printed.add_row(
            name,
            f"{few.costs[name]:.2f}",
            f"{many.costs[name]:.2f}",
            f"{ratio:.2f}",
            f"{RATIO_TARGET}",
            verdict(ratio <= RATIO_TARGET),
        )
    console.print(printed)
    console.print("The same rows are in both; of a tick the time of PostgreSQL's own processes is not counted.")


LOOK = Part("look", _add_options, _measure)
