"""Progress of long work: bars on a terminal, a line now and then elsewhere, log lines in the UI. No Dagster here."""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from logging import Logger
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

# Seconds between log lines about one piece of work.
_LOG_EVERY = 10.0

Advance = Callable[[str], None]


class Progress(Protocol):
    """Shows how far a piece of work is."""

    @contextmanager
    def track(self, what: str, total: int, log: Logger, steps: Sequence[str] = ()) -> Generator[Advance]:
        """Begin a piece of work of `total` steps; call the result with the name of every finished step.

        Args:
            what: the work.
            total: how many steps it has.
            log: of the run that does it.
            steps: their names in order, where they are known.
        """
        ...


class LoggedProgress:
    """Writes a log line every few seconds."""

    @contextmanager
    def track(self, what: str, total: int, log: Logger, steps: Sequence[str] = ()) -> Generator[Advance]:
        """See `Progress.track`."""
        del steps
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
    def track(self, what: str, total: int, log: Logger, steps: Sequence[str] = ()) -> Generator[Advance]:
        """See `Progress.track`."""
        del log, steps
        task = self._bars.add_task(what, total=total)
        try:
            yield lambda _step: self._bars.advance(task)
        finally:
            self._bars.refresh()


class LineProgress:
    """Writes a line now and then, also while a single step takes long. Short work is done in silence.

    A context manager: lines are written as long as it is entered.

    Args:
        write: writes a line.
        every: seconds between lines, and before the first one.
    """

    def __init__(self, write: Callable[[str], None], every: float = _LOG_EVERY) -> None:
        self._write = write
        self._every = every
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._doing: list[_Piece] = []
        self._last = ""
        self._begun = time.monotonic()
        self._thread = threading.Thread(target=self._tell, name="progress", daemon=True)

    def __enter__(self) -> "LineProgress":
        """Begin to write."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write no more."""
        self._over.set()
        self._thread.join()

    @contextmanager
    def track(self, what: str, total: int, log: Logger, steps: Sequence[str] = ()) -> Generator[Advance]:
        """See `Progress.track`."""
        del log
        piece = _Piece(what, total, steps)
        with self._guard:
            self._doing.append(piece)
        try:
            yield piece.advance
        finally:
            with self._guard:
                self._doing.remove(piece)
                self._last = what

    def _tell(self) -> None:
        while not self._over.wait(self._every):
            with self._guard:
                pieces = [str(piece) for piece in self._doing]
                after = f", {self._last} was the last" if self._last else ""
            # Between pieces tables are checked and written, and Dagster keeps its books.
            doing = "; ".join(pieces) if pieces else f"checking and writing{after}"
            self._write(f"{doing} ({time.monotonic() - self._begun:.0f} s so far)")


class _Piece:
    """A piece of work, and how far it is."""

    def __init__(self, what: str, total: int, steps: Sequence[str]) -> None:
        self._what = what
        self._total = total
        self._steps = steps
        self._done = 0

    def advance(self, step: str) -> None:
        """A step is done."""
        del step
        self._done += 1

    def __str__(self) -> str:
        """What is done of it, and which step is being done where that is known."""
        now = f", now {self._steps[self._done]}" if self._done < len(self._steps) else ""
        return f"{self._what}: {self._done} of {self._total}{now}"


def terminal_bars(console: Console) -> Bars:
    """The display for `BarProgress`."""
    return Bars(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        transient=False,
        console=console,
    )
