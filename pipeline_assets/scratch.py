"""A local folder of each process for what is on its way: fetched files, drafts, what memory does not hold.

It may hold personal data. Each process has one of its own, and what killed processes have left goes after a day.
"""

import os
import shutil
import time
from datetime import timedelta
from pathlib import Path

from pipeline_assets.settings import Settings

_PREFIX = "process-"
_KEEP = timedelta(days=1)


def own_folder(settings: Settings) -> Path:
    """The folder of this process, which whoever writes into it makes (`private.make_folder`)."""
    return settings.scratch_dir / f"{_PREFIX}{os.getpid()}"


def remove_leftovers(settings: Settings) -> None:
    """Remove the folders into which nobody has put anything for a day."""
    for folder in settings.scratch_dir.glob(f"{_PREFIX}*"):
        try:
            is_old = time.time() - folder.stat().st_mtime > _KEEP.total_seconds()
        except FileNotFoundError:
            continue
        if is_old:
            shutil.rmtree(folder, ignore_errors=True)
