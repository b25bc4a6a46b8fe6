"""Beside the staged files: views for people who explore them in SQL, and the removal of files that no longer count."""

import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb

from pipeline_assets.contracts.staged_events import StagedEvents
from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.staging.loading import DRAFTS

VIEWS = "staging.duckdb"
# A file that has just stopped counting may still be read by a run that began before.
_KEEP_SECONDS = 24 * 3600


def write_views(lake: Path, staged: Iterable[StagedFile]) -> Path:
    """Write `staging.duckdb` afresh: one view per source over the staged files that count. Nothing depends on it.

    Args:
        lake: the lake's folder.
        staged: all staged files that count.
    """
    by_source: dict[str, list[str]] = {}
    for file in staged:
        by_source.setdefault(file.source, []).append(str(lake / file.relative_path))
    final = lake / VIEWS
    draft = lake / f".{VIEWS}.{time.time_ns()}"
    columns = ", ".join(f'"{name}"' for name in [*StagedEvents.column_names(), "event_date"])
    try:
        with duckdb.connect(str(draft)) as database:
            for source, paths in sorted(by_source.items()):
                # A view takes no bound values; a source's name is a plain identifier.
                listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
                database.execute(
                    f'create view "{source}" as select {columns} '  # noqa: S608
                    f"from read_parquet([{listed}], hive_partitioning = true)"
                )
        draft.replace(final)
    finally:
        draft.unlink(missing_ok=True)
    return final


def remove_uncounted(lake: Path, source: str, staged: Sequence[StagedFile]) -> int:
    """Remove staged files of a source that no longer count and were written more than a day ago; how many.

    What killed loads left behind is removed too, after a day.

    Should such a content count again, it is staged again.

    Args:
        lake: the lake's folder.
        source: the source.
        staged: all staged files of the source that count.
    """
    counted = {lake / file.relative_path for file in staged}
    removed = 0
    for path in (lake / "staging" / source).glob("event_date=*/*.parquet"):
        if path not in counted and time.time() - path.stat().st_mtime > _KEEP_SECONDS:
            path.unlink(missing_ok=True)
            removed += 1
    for folder in (lake / "staging" / source / DRAFTS).glob("*"):
        # Left behind by a killed load.
        if time.time() - folder.stat().st_mtime > _KEEP_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
    return removed
