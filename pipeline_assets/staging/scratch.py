"""Folders of one process for what does not fit into memory or is not whole yet; the lake never sees them."""

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path

from pipeline_assets.private import make_folder

_SPILLED = ".spilled-"
# What killed processes have left; nothing that is needed is untouched for so long.
_KEEP = timedelta(days=1)


def spill_folder(scratch: Path) -> Path:
    """Where DuckDB writes what does not fit into memory: in this process's own folder, which it makes and removes."""
    return scratch / f"{_SPILLED}{_name_of_process(os.getpid())}"


@contextmanager
def drafts_folder(scratch: Path) -> Generator[Path]:
    """A new folder for files that are going to be put into the lake; it is removed in the end."""
    with tempfile.TemporaryDirectory(dir=make_folder(scratch), prefix=f"{_SPILLED}drafts-") as folder:
        yield Path(folder)


def remove_spilled(scratch: Path) -> None:
    """Remove what killed processes have left of such folders, after a day: it may be personal data."""
    for folder in scratch.glob(f"{_SPILLED}*"):
        if _is_old(folder):
            shutil.rmtree(folder, ignore_errors=True)


@cache
def _name_of_process(number: int) -> str:
    # In containers every process has the same number: it would share a folder with those of other containers, and by
    # writing into it keep young what a killed one has left.
    return f"{number}-{uuid.uuid4().hex}"


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _KEEP.total_seconds()
    except FileNotFoundError:
        return False
