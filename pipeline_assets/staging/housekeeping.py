"""Beside the staged files: views for people who explore them in SQL, and the removal of files that no longer count."""

import logging
import os
import shutil
import time
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import duckdb

from pipeline_assets.ledger.files import FileLedger, StagedFile
from pipeline_assets.parquet_files import duckdb_path
from pipeline_assets.private import protect
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets.sql import literal
from pipeline_assets.staging.loading import DRAFTS

logger = logging.getLogger(__name__)

VIEWS = "staging.duckdb"
_SPILLED = ".spilled-"
# A file that has just ceased to count may still be read by a run that began before.
_KEEP = timedelta(days=1)


def write_views(lake: Path, staged: Iterable[StagedFile]) -> Path:
    """Write `staging.duckdb` afresh: one view per source over the staged files that count. Nothing depends on it.

    Args:
        lake: the lake's folder.
        staged: all staged files that count.
    """
    final = lake / VIEWS
    if "\\" in str(lake):
        # A view outlives every alias, and DuckDB has no other way to write this.
        logger.warning("No %s: DuckDB cannot read files in %s, whose name has a backslash.", VIEWS, lake)
        return final
    by_source: dict[str, list[str]] = {}
    for file in staged:
        by_source.setdefault(file.source, []).append(_as_pattern(lake / file.relative_path))
    draft = lake / f".{VIEWS}.{time.time_ns()}"
    columns = ", ".join(f'"{name}"' for name in StagedEvents.column_names())
    # Of the last folder only: others above the lake may be called so too.
    columns += r""", regexp_extract(filename, 'event_date=([0-9-]+)/[^/]*$', 1)::date as event_date"""
    try:
        with duckdb.connect(duckdb_path(draft)) as database:
            for source, paths in sorted(by_source.items()):
                # A view takes no bound values; a source's name is a plain identifier.
                listed = ", ".join(map(literal, paths))
                database.execute(
                    f'create view "{source}" as select {columns} '  # noqa: S608
                    f"from read_parquet([{listed}], hive_partitioning = false)"
                )
        protect(draft).replace(final)
    finally:
        draft.unlink(missing_ok=True)
    return final


def remove_uncounted(lake: Path, source: str, ledger: FileLedger) -> int:
    """Remove staged files of a source that have not counted for a day; how many.

    Should such a content count again, it is staged again. What killed loads left behind is removed too, after a day.

    A file that another load has just published, and not yet booked, is not among them: it is young. And nothing is
    booked while files are removed, so that none can begin to count in the meantime.

    Args:
        lake: the lake's folder.
        source: the source.
        ledger: knows what counts, and when a content ceased to.
    """
    folder = lake / "staging" / source
    uncounted: dict[str, list[Path]] = {}
    counted = {lake / file.relative_path for file in ledger.staged_files([source], date.min, date.max)}
    for path in folder.glob("event_date=*/*.parquet"):
        if path not in counted and _is_old(path):
            uncounted.setdefault(path.name.split("-", 1)[0], []).append(path)
    removed = 0
    if uncounted:
        with ledger.bookings_wait(source):
            # Asked again, now that it cannot change.
            counted = {lake / file.relative_path for file in ledger.staged_files([source], date.min, date.max)}
            for content in ledger.settled(source, uncounted, _KEEP):
                for path in uncounted[content]:
                    if path not in counted:
                        path.unlink(missing_ok=True)
                        removed += 1
    for draft in (folder / DRAFTS).glob("*"):
        if _is_old(draft):
            shutil.rmtree(draft, ignore_errors=True)
    return removed


def spill_folder(lake: Path) -> Path:
    """Where DuckDB writes what does not fit into memory: in this process's own folder, which it makes and removes."""
    return lake / f"{_SPILLED}{os.getpid()}"


def remove_spilled(lake: Path) -> None:
    """Remove what killed processes have left of it, after a day: it may be personal data."""
    for folder in lake.glob(f"{_SPILLED}*"):
        if _is_old(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _KEEP.total_seconds()
    except FileNotFoundError:
        return False


def _as_pattern(path: Path) -> str:
    """A pattern that only this path matches."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))
