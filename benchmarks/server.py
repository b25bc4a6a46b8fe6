"""The processes of the embedded PostgreSQL server."""

import re
from contextlib import suppress
from pathlib import Path

import psutil


def server_processes(folder: Path) -> list[psutil.Process]:
    """The server's processes, its first one first; none if it does not run.

    Args:
        folder: the server's data folder.
    """
    try:
        first = re.match(r"\d+", (folder / "postmaster.pid").read_text())
        server = psutil.Process(int(first.group())) if first else None
        return [server, *server.children()] if server else []
    except (OSError, psutil.Error):
        return []


def server_seconds(folder: Path) -> float:
    """Processor time of the server since it started, seconds.

    Connections that were closed meanwhile are in the first process's sum of its children; only Linux keeps that.
    """
    total = 0.0
    for number, process in enumerate(server_processes(folder)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
            if number == 0:
                total += times.children_user + times.children_system
    return total
