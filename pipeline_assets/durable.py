"""Writes that survive a power cut. A new name in a folder is durable only once the folder is."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until what a file holds, or the names in a folder, are on the disk.

    Raises:
        OSError: it is not there, or the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
