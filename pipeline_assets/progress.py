"""Progress of long work: a bar on a terminal, log lines elsewhere. No Dagster here."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from logging import Logger
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

# Seconds between log lines about one piece of work.
_LOG_EVERY = 10.0

Advance = Callable[[str], None]


class Progress(Protocol):
    """Shows how far a piece of work is."""

    @contextmanager
    def track(self, what: str, total: int, log: Logger) -> Generator[Advance]:
        """Begin a piece of work of `total` steps; call the result with the name of every finished step."""
        ...


class LoggedProgress:
    """Writes a log line every few seconds."""

    @contextmanager
    def track(self, what: str, total: int, log: Logger) -> Generator[Advance]:
        """See `Progress.track`."""
        done = 0
        due = time.monotonic() + _LOG_EVERY

        def advance(step: str) -> None:
            nonlocal done, due
            done += 1
            if time.monotonic() >= due:
                log.info("%s: %s of %s done, the last was %s", what, done, total, step)
                due = time.monotonic() + _LOG_EVERY

        yield advance
        log.info("%s: %s of %s done", what, done, total)


class BarProgress:
    """Draws bars on a terminal.

    Args:
        bars: the display that holds them.
    """

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    @contextmanager
    def track(self, what: str, total: int, log: Logger) -> Generator[Advance]:
        """See `Progress.track`."""
        del log
        task = self._bars.add_task(what, total=total)
        try:
            yield lambda _step: self._bars.advance(task)
        finally:
            self._bars.refresh()


def terminal_bars() -> Bars:
    """The display for `BarProgress`."""
    return Bars(
        TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), transient=False
    )
