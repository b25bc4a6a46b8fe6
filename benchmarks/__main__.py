"""Measure the pipeline on generated events: beside plain scripts, the whole model, one more day of it, and more.

A part with events of its own is a `Part` in a module of its own; `_PARTS` lists them.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.comparisons import SOURCE, Comparison, compare_refresh, compare_staging
from benchmarks.known_files import LOOK
from benchmarks.measuring import MEMORY_TARGET, Part, verdict
from benchmarks.one_more_day import NEW_DAY, measure_days, print_days
from benchmarks.scattered_days import DAYS
from benchmarks.small_files import FILES
from benchmarks.whole_model import measure_model, print_model
from pipeline_assets.demo.bulk import BulkSummary, write_bulk

ON_THE_SAME_EVENTS = ("staging", "refresh", "model")
DEFAULT = (*ON_THE_SAME_EVENTS, "day")
_PARTS: Mapping[str, Part] = {part.name: part for part in (FILES, DAYS, LOOK)}
"""The parts that run only where they are asked for."""
SEED = 20260302


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its figures, each part's as soon as it is done."""
    options = _options(arguments)
    console = Console(stderr=options.json, width=None if sys.stdout.isatty() else 120)
    folder = nullcontext(str(options.keep)) if options.keep else tempfile.TemporaryDirectory(prefix="bench-")
    figures: dict[str, Any] = {"cores": os.cpu_count()}
    with folder as name:
        work = Path(name).absolute()
        work.mkdir(parents=True, exist_ok=True)
        if set(options.only) & set(ON_THE_SAME_EVENTS):
            bulk = _write(console, work, options, figures)
            comparisons: list[Comparison] = []
            if "staging" in options.only:
                comparisons.append(compare_staging(console, work, bulk.events, options.rounds))
            if "refresh" in options.only:
                comparisons.append(compare_refresh(console, work, options.rounds))
            if comparisons:
                figures |= _figures(comparisons)
                _print(console, bulk.events, comparisons)
            if "model" in options.only:
                model = measure_model(console, work, bulk, options.model_share)
                figures["model"] = model.figures()
                print_model(console, model)
        if "day" in options.only:
            days = measure_days(
                console,
                work,
                histories=options.history,
                day_events=options.day_events,
                new_days=options.new_days,
                late_logins=options.late_logins,
                seed=SEED,
            )
            figures["one_more_day"] = days.figures()
            print_days(console, days)
        for key, part in _PARTS.items():
            if key in options.only:
                figures[key] = part.measure(console, work, options)
    if options.json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="extend",
        type=_names,
        metavar="PART,PART",
        help=f"parts to run, of {', '.join((*DEFAULT, *_PARTS))} (default: {','.join(DEFAULT)})",
    )
    parser.add_argument("--events", type=int, default=2_000_000, help="events to generate (default: %(default)s)")
    parser.add_argument("--files", type=int, default=28, help="JSONL files they come in (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each side runs (default: %(default)s)")
    parser.add_argument(
        "--model-share", type=float, default=1.0, help="share of the files for the whole model (default: %(default)s)"
    )
    parser.add_argument(
        "--history",
        type=_numbers,
        default=[10, 100, 300],
        metavar="DAYS,DAYS",
        help="days of history that one more day is added to (default: 10,100,300)",
    )
    parser.add_argument("--day-events", type=int, default=5_000, help="events of each such day (default: %(default)s)")
    parser.add_argument("--new-days", type=int, default=3, help="days that are added (default: %(default)s)")
    parser.add_argument(
        "--late-logins",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the users on those days who log in from their second visit on only (default: %(default)s)",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this empty folder, and leave all of it there")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON; the tables go to stderr")
    for part in _PARTS.values():
        part.add_options(parser)
    options = parser.parse_args(arguments)
    options.only = options.only or list(DEFAULT)
    for name in ("events", "files", "rounds", "day_events", "new_days"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if not 0 < options.model_share <= 1:
        parser.error("--model-share must be above 0 and at most 1")
    if not 0 <= options.late_logins <= 1:
        parser.error("--late-logins must be between 0 and 1")
    if NEW_DAY + timedelta(days=options.new_days) >= datetime.now(UTC).date():
        # Days to come are not built.
        parser.error("--new-days: the last of them must lie in the past")
    if options.keep and options.keep.exists() and any(options.keep.iterdir()):
        parser.error(f"--keep: {options.keep} is not empty")
    return options


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - {*DEFAULT, *_PARTS}:
        raise argparse.ArgumentTypeError(f"there is no part {', '.join(sorted(unknown))}")
    return names


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1 or len(set(numbers)) < 2:
        raise argparse.ArgumentTypeError("two or more different numbers are needed, each at least 1")
    return numbers


def _write(console: Console, work: Path, options: argparse.Namespace, figures: dict[str, Any]) -> BulkSummary:
    with console.status("Writing events"):
        bulk = write_bulk(work / "landing" / SOURCE, options.events, options.files, SEED)
    console.print(f"{bulk.events:,} events in {len(bulk.files)} files, {bulk.bytes / 2**20:,.0f} MiB, in {work}")
    figures |= {"events": bulk.events, "files": len(bulk.files), "bytes": bulk.bytes}
    return bulk


def _figures(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The comparisons for JSON."""
    plain = [asdict(each) for each in comparisons]
    rows = [each.pop("rows") for each in plain]
    return {
        "comparisons": [
            {**figures, "ratio": round(each.ratio, 3), "met": each.met}
            for figures, each in zip(plain, comparisons, strict=True)
        ],
        "memory_target": MEMORY_TARGET,
        "rows": rows[-1],
    }


def _print(console: Console, events: int, comparisons: Sequence[Comparison]) -> None:
    table = Table(title="Speed: the median of all rounds, both sides taking turns", title_justify="left")
    table.add_column("")
    for heading in ("seconds", "CPU s", "events/s", "ratio", "target"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for each in comparisons:
        for side, ratio, target, judged in (
            (each.plain, "", "", ""),
            (each.ours, f"{each.ratio:.0%}", f"{each.target:.0%}", verdict(each.met)),
        ):
            seconds = statistics.median(side.seconds)
            table.add_row(
                f"{each.what}: {side.name}",
                f"{seconds:.1f}",
                f"{statistics.median(side.processor):.1f}",
                f"{events / seconds:,.0f}",
                ratio,
                target,
                judged,
            )
        table.add_section()
    console.print(table)
    for each in comparisons:
        if each.rows:
            _print_tables(console, each)


def _print_tables(console: Console, whole: Comparison) -> None:
    """Memory, rows and steps of the comparison that makes tables."""
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
            verdict(peak < MEMORY_TARGET) if is_ours else "",
        )
    console.print(table)

    table = Table(title="Rows: both sides make the same tables", title_justify="left")
    table.add_column("")
    for heading in ("ours", "bare"):
        table.add_column(heading, justify="right")
    for name, counts in whole.rows.items():
        table.add_row(name, f"{counts['ours']:,}", f"{counts['bare']:,}")
    console.print(table)
    steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in whole.plain.steps.items())
    console.print(f"Steps of the bare script: {steps}")


if __name__ == "__main__":
    main()
