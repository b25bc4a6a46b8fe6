"""How much memory a process and its children take while they work."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.server import server_processes

SAMPLE_SECONDS = 0.05
# Adding up a server's processes is dearer, for the kernel must divide the pages they share.
_SERVER_SECONDS = 1.0


class PeakMemory(threading.Thread):
    """Watches a process from its start to its end.

    Attributes:
        process: largest sum of the resident memory of the process and its children, bytes; PostgreSQL's not counted.
        server: largest memory of the PostgreSQL server, bytes; shared pages are counted once.

    Args:
        pid: the process.
        server_folder: the PostgreSQL server's data folder.
    """

    def __init__(self, pid: int, server_folder: Path) -> None:
        super().__init__(name="memory", daemon=True)
        self.process = 0
        self.server = 0
        self._root = psutil.Process(pid)
        self._server_folder = server_folder

    def run(self) -> None:
        """Sample until the process ends."""
        next_server = 0.0
        while self._root.is_running() and self._alive():
            with suppress(psutil.Error):
                tree = [self._root, *self._root.children(recursive=True)]
                self.process = max(self.process, sum(_resident(each) for each in tree if not _is_postgres(each)))
            if time.monotonic() >= next_server:
                self.server = max(
                    self.server, sum(_proportional(each) for each in server_processes(self._server_folder))
                )
                next_server = time.monotonic() + _SERVER_SECONDS
            time.sleep(SAMPLE_SECONDS)

    def _alive(self) -> bool:
        try:
            return self._root.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def _proportional(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        full = process.memory_full_info()
        # Only Linux divides shared pages; elsewhere what belongs to the process alone is the next best.
        return getattr(full, "pss", 0) or full.uss
    return 0


def _is_postgres(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.name() == "postgres"
    return True
