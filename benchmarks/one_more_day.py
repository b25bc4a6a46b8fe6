"""What one more day costs on top of a short and of a long history: it must cost its own size, not the history's."""

import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Printed

from benchmarks.comparisons import SOURCE, settings_of
from benchmarks.measuring import REFRESH, Side, run, verdict
from benchmarks.steps import TableTime, last_event, table_times
from pipeline_assets.build import build_platform
from pipeline_assets.demo.bulk import write_steady_days
from pipeline_assets.postgres import leave_server, server_url
from pipeline_assets.settings import Settings

RATIO_TARGET = 1.2
NEW_DAY = date(2026, 3, 2)
"""The first of the days that are added; each history ends on the day before it."""

_MOST_GROWN = 8


@dataclass
class History:
    """A deployment with some days of history, and what it took to add a day.

    Attributes:
        days: days of history before the first new day.
        side: time and memory, an element per new day.
        tables: the cost of each table, an element per new day.
    """

    days: int
    side: Side
    tables: list[dict[str, TableTime]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall-clock time of a new day."""
        return statistics.median(self.side.seconds)

    @property
    def other(self) -> float:
        """Seconds outside of tables and checks, of the quickest new day."""
        inside = (sum(each.seconds for each in tables.values()) for tables in self.tables)
        return min(seconds - steps for seconds, steps in zip(self.side.seconds, inside, strict=True))

    def table(self, name: str) -> TableTime:
        """A table on the new day on which it was quickest, for what others do on the machine only adds to it."""
        return min((tables.get(name, TableTime()) for tables in self.tables), key=lambda each: each.seconds)


@dataclass
class OneMoreDay:
    """The histories, the shortest first, and the events of each day."""

    day_events: int
    histories: list[History]

    def ratio(self, history: History) -> float:
        """Cost of a day on a history by that on the shortest: CPU time with PostgreSQL's, medians."""
        return history.side.all_processor / self.histories[0].side.all_processor

    @property
    def met(self) -> bool:
        """Whether the longest history makes a day hardly dearer."""
        return self.ratio(self.histories[-1]) < RATIO_TARGET

    def growth(self) -> list[tuple[str, TableTime, TableTime]]:
        """Each table with its cost on the shortest and the longest history, the one that grew most first."""
        short, long = self.histories[0], self.histories[-1]
        names = dict.fromkeys(name for tables in long.tables for name in tables)
        found = [(name, short.table(name), long.table(name)) for name in names]
        return sorted(found, key=lambda row: row[1].seconds - row[2].seconds)

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "day_events": self.day_events,
            "target": RATIO_TARGET,
            "met": self.met,
            "histories": [
                {
                    "days": each.days,
                    "events": each.days * self.day_events,
                    "side": asdict(each.side),
                    "seconds": round(each.seconds, 3),
                    "processor": round(each.side.all_processor, 3),
                    "ratio": round(self.ratio(each), 3),
                    "other_seconds": round(each.other, 3),
                    "tables": {
                        name: asdict(each.table(name)) for name in dict.fromkeys(n for t in each.tables for n in t)
                    },
                }
                for each in self.histories
            ],
        }


def measure_days(
    console: Console,
    work: Path,
    *,
    histories: Sequence[int],
    day_events: int,
    new_days: int,
    late_logins: float,
    seed: int,
) -> OneMoreDay:
    """Build deployments with histories of different lengths, and add the same days to each, in turn.

    Each deployment has its own server, which runs all the time.

    Args:
        console: where progress is shown.
        work: the benchmark's folder.
        histories: days of history, each a deployment.
        day_events: events of a day.
        new_days: how many days are added, each timed by itself.
        late_logins: see `write_steady_days`.
        seed: of the days.
    """
    pool, longest = work / "days", max(histories)
    first = NEW_DAY - timedelta(days=longest)
    with console.status(f"Writing {longest + new_days} days"):
        files = write_steady_days(
            pool, day_events, seed, first_day=first, days=longest + new_days, late_logins=late_logins
        ).files
    measured = OneMoreDay(day_events, [History(days, Side(f"{days} days")) for days in sorted(set(histories))])
    deployments = [settings_of(work, f"days-{each.days}", f"landing-{each.days}") for each in measured.histories]
    with ExitStack() as servers:
        urls: list[str] = []
        for settings in deployments:
            servers.callback(leave_server, settings)
            urls.append(server_url(settings))
        for history, settings in zip(measured.histories, deployments, strict=True):
            with console.status(f"Building {history.days} days"):
                _deliver(files[longest - history.days : longest], settings)
                run(Side(f"{history.days} days of history"), REFRESH, settings)
        for number, file in enumerate(files[longest:], start=1):
            for history, settings, url in zip(measured.histories, deployments, urls, strict=True):
                with console.status(f"New day {number} on {history.days} days"):
                    _deliver([file], settings)
                    before = last_event(url)
                    run(history.side, REFRESH, settings)
                    history.tables.append(table_times(url, build_platform(settings).tables, before))
    return measured


def _deliver(files: Sequence[Path], settings: Settings) -> None:
    folder = settings.landing_dir / SOURCE
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        os.link(path, folder / path.name)


def print_days(console: Console, measured: OneMoreDay) -> None:
    """Print the cost of a day by the length of history, and the tables that pay for the history."""
    printed = Printed(
        title=f"One more day of {measured.day_events:,} events: medians of {len(measured.histories[0].tables)} days, "
        "the histories taking turns",
        title_justify="left",
    )
    for heading in ("days before it", "events before it", "seconds", "CPU s", "PostgreSQL's", "ratio", "target"):
        printed.add_column(heading, justify="right")
    printed.add_column("")
    for each in measured.histories:
        judged = each is measured.histories[-1]
        printed.add_row(
            f"{each.days}",
            f"{each.days * measured.day_events:,}",
            f"{each.seconds:.1f}",
            f"{statistics.median(each.side.processor):.1f}",
            f"{statistics.median(each.side.server_processor):.1f}",
            f"{measured.ratio(each):.2f}",
            f"{RATIO_TARGET}" if judged else "",
            verdict(measured.met) if judged else "",
        )
    console.print(printed)
    console.print("The ratio is that of all CPU time, PostgreSQL's included, to the first row's.")

    short, long = measured.histories[0], measured.histories[-1]
    printed = Printed(
        title="Where a longer history is paid for: seconds of each table's quickest new day", title_justify="left"
    )
    printed.add_column("")
    for heading in (f"after {short.days} days", f"after {long.days} days", "more", "days of it built"):
        printed.add_column(heading, justify="right")
    for cells in _grown(measured):
        printed.add_row(*cells)
    printed.add_section()
    printed.add_row(
        "start, planning, records", f"{short.other:.2f}", f"{long.other:.2f}", f"{long.other - short.other:+.2f}"
    )
    console.print(printed)


def _grown(measured: OneMoreDay) -> Iterator[tuple[str, ...]]:
    for name, short, long in measured.growth()[:_MOST_GROWN]:
        more = long.seconds - short.seconds
        yield name, f"{short.seconds:.2f}", f"{long.seconds:.2f}", f"{more:+.2f}", f"{short.days} and {long.days}"
