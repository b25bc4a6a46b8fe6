"""What is on its way lies in a folder of each process, and goes with time."""

import os
import time
from datetime import timedelta
from pathlib import Path

from pipeline_assets.private import make_folder
from pipeline_assets.scratch import own_folder, remove_leftovers
from pipeline_assets.settings import Settings


def test_what_killed_processes_have_left_is_removed_after_a_day(tmp_path: Path) -> None:
    settings = Settings.for_data_dir(tmp_path)
    remove_leftovers(settings)
    young, old = own_folder(settings), settings.scratch_dir / "process-0"
    for folder, age in ((young, timedelta()), (old, timedelta(hours=25))):
        make_folder(folder)
        (folder / "duckdb_temp_storage_DEFAULT-0.tmp").write_text("personal")
        written = time.time() - age.total_seconds()
        os.utime(folder, (written, written))
    remove_leftovers(settings)
    assert list(settings.scratch_dir.iterdir()) == [young]
