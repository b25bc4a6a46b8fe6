"""A few rows on days in a row, on days years apart and in groups of days: what lies between must cost nothing."""

import random
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table as Printed

from benchmarks.comparisons import SOURCE, settings_of
from benchmarks.measuring import REFRESH, Part, Side, run, verdict
from benchmarks.steps import last_event
from pipeline_assets.demo.bulk import write_steady_days
from pipeline_assets.postgres import leave_server, server_url

RATIO_TARGET = 2.0
FIRST_DAY = date(2023, 1, 1)
SPAN = 1_000
"""Days among which those with rows lie."""
CLUSTERS = 20
SEED = 20260302


@dataclass
class Layout:
    """Days with rows.

    Attributes:
        name: how they lie.
        days: the days, in order.
        side: time and memory of the refresh.
        runs: build runs it took.
        events: events that Dagster recorded of it, by type.
    """

    name: str
    days: Sequence[date]
    side: Side = field(default_factory=lambda: Side(""))
    runs: int = 0
    events: dict[str, int] = field(default_factory=dict)

    @property
    def all_events(self) -> int:
        """Events of all types."""
        return sum(self.events.values())


def _layouts(count: int) -> list[Layout]:
    chance = random.Random(SEED)
    everything = [FIRST_DAY + timedelta(days=offset) for offset in range(SPAN)]
    long = max(count // CLUSTERS, 1)
    # A cluster begins in a part of the span of its own, so that no two touch.
    part = SPAN // CLUSTERS
    starts = [cluster * part + chance.randrange(part - long - 1) for cluster in range(count // long)]
    return [
        Layout("in a row", everything[:count]),
        Layout("at random", sorted(chance.sample(everything, count))),
        Layout(f"in groups of {long}", [day for start in starts for day in everything[start : start + long]]),
    ]


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--scattered-days",
        type=int,
        default=200,
        metavar="DAYS",
        help="days: how many have rows (default: %(default)s)",
    )
    parser.add_argument(
        "--scattered-events",
        type=int,
        default=3_000,
        metavar="EVENTS",
        help="days: events on all of them together (default: %(default)s)",
    )


def _measure(console: Console, work: Path, options: Namespace) -> dict[str, Any]:
    layouts = _layouts(options.scattered_days)
    for number, layout in enumerate(layouts):
        _refresh(console, work, f"scattered-{number}", layout, options.scattered_events)
    _print(console, options.scattered_events, layouts)
    return {
        "events": options.scattered_events,
        "target": RATIO_TARGET,
        "met": all(_met(layout, layouts[0]) for layout in layouts),
        "layouts": [
            {
                "name": each.name,
                "days": len(each.days),
                "side": asdict(each.side),
                "runs": each.runs,
                "dagster_events": each.events,
            }
            for each in layouts
        ],
    }


def _refresh(console: Console, work: Path, name: str, layout: Layout, events: int) -> None:
    """Load and build the days in an empty deployment, whose server runs already."""
    settings = settings_of(work, name, f"landing-{name}")
    folder, pool = settings.landing_dir / SOURCE, work / f"pool-{name}"
    folder.mkdir(parents=True)
    with console.status(f"Writing {len(layout.days)} days"), (folder / "events.jsonl").open("wb") as whole:
        for day in layout.days:
            (path,) = write_steady_days(pool, events // len(layout.days), SEED, first_day=day, days=1).files
            with path.open("rb") as part:
                shutil.copyfileobj(part, whole)
    layout.side.name = layout.name
    url = server_url(settings)
    try:
        before = last_event(url)
        with console.status(f"Refresh of {len(layout.days)} days {layout.name}"):
            run(layout.side, REFRESH, settings)
        with psycopg.connect(url) as connection:
            types = (
                "select dagster_event_type, count(*) from dagster.event_logs where id > %s group by 1 order by 2 desc"
            )
            layout.events = {kind or "log": count for kind, count in connection.execute(types, (before,))}
            runs = connection.execute("select count(*) from dagster.runs where pipeline_name = 'build_days'").fetchone()
            layout.runs = runs[0] if runs else 0
    finally:
        leave_server(settings)


def _met(layout: Layout, in_a_row: Layout) -> bool:
    return layout.runs == 1 and layout.side.seconds[0] <= RATIO_TARGET * in_a_row.side.seconds[0]


def _print(console: Console, events: int, layouts: Sequence[Layout]) -> None:
    printed = Printed(title=f"{events:,} events, loaded and built", title_justify="left")
    for heading in ("days", "", "runs", "seconds", "CPU s", "PostgreSQL's", "Dagster events", "ratio", "target"):
        printed.add_column(heading, justify="right")
    printed.add_column("")
    for each in layouts:
        judged = each is not layouts[0]
        printed.add_row(
            f"{len(each.days)}",
            each.name,
            f"{each.runs}",
            f"{each.side.seconds[0]:.1f}",
            f"{each.side.processor[0]:.1f}",
            f"{each.side.server_processor[0]:.1f}",
            f"{each.all_events:,}",
            f"{each.side.seconds[0] / layouts[0].side.seconds[0]:.2f}",
            f"1 run, {RATIO_TARGET}" if judged else "",
            verdict(_met(each, layouts[0])) if judged else "",
        )
    console.print(printed)


DAYS = Part("days", _add_options, _measure)
