"""Merge the small staged files of a day, so that they do not pile up where a stream lands a file a minute.

The rows and their account stay as they are; only the file that holds them is another one. It is written like any other,
under a name of its own, and one transaction lets it take the place of those that were merged. What was superseded or
read again meanwhile is none of its business: it counts as it did. A crash leaves a file that no list names.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from pipeline_assets.lake import Lake
from pipeline_assets.ledger.files import FileLedger, StagedFile, staging_asset
from pipeline_assets.staging.scratch import drafts_folder
from pipeline_assets.staging.staged import scan_staged
from pipeline_assets.storage.parquet import scan_parquet

SMALL_ROWS = 100_000
"""A staged file with fewer rows is small."""

SETTLED = timedelta(minutes=5)
"""A day whose small files are no younger is merged; a younger one only where it has more than `MOST_FILES`."""

MOST_FILES = 16

# Rows of a merged file, which are sorted in memory, and of all that one load merges.
_MERGED_ROWS = 250_000
_ROWS_PER_LOAD = 1_000_000
# Of rows sorted by content a reader of some contents passes over most groups.
_ROW_GROUP = 25_000


class MergeError(RuntimeError):
    """Staged rows are not what the ledger says; nothing was exchanged."""


def merge_small_files(source: str, lake: Lake, ledger: FileLedger, scratch: Path, *, run_id: str = "") -> int:
    """Merge small files of days that have settled, a bounded amount of rows; how many files have gone into others.

    Args:
        source: the source.
        lake: the lake.
        ledger: knows what counts.
        scratch: a local folder for drafts.
        run_id: the run that merges.

    Raises:
        MergeError: a file has other rows than the ledger says.
        StoreError: the store refused.
    """
    merged = rows = 0
    for day in ledger.days_of_small_files(source, SMALL_ROWS, SETTLED, MOST_FILES):
        small = [each for each in ledger.staged_files([source], day, day) if each.file.rows < SMALL_ROWS]
        for some in _portions(small):
            if rows >= _ROWS_PER_LOAD:
                return merged
            rows += sum(each.rows for each in some)
            merged += _merge(some, lake, ledger, scratch, run_id)
    return merged


def _portions(staged: Iterable[StagedFile]) -> Iterator[list[StagedFile]]:
    """Staged rows in portions of whole files that are worth to be merged."""
    by_name: dict[str, list[StagedFile]] = {}
    for each in staged:
        by_name.setdefault(each.file.name, []).append(each)
    portion: list[StagedFile] = []
    files = 0
    for name in sorted(by_name):
        of_file = by_name[name]
        if files and sum(each.rows for each in (*portion, *of_file)) > _MERGED_ROWS:
            if files > 1:
                yield portion
            portion, files = [], 0
        portion = portion + of_file
        files += 1
    if files > 1:
        yield portion


def _merge(staged: list[StagedFile], lake: Lake, ledger: FileLedger, scratch: Path, run_id: str) -> int:
    """Merge staged rows of a source and day into one file; how many files it has taken the place of."""
    source, day = staged[0].source, staged[0].event_date
    with drafts_folder(scratch) as folder:
        part = folder / "merged.parquet"
        rows = scan_staged(lake, staged).drop("event_date").sort("load_id", "line")
        rows.sink_parquet(part, compression="zstd", row_group_size=_ROW_GROUP)
        found = scan_parquet([part]).group_by("load_id").len().collect()
        if dict(found.iter_rows()) != {each.content: each.rows for each in staged}:
            raise MergeError(f"{source}, {day}: the staged files hold other rows than the ledger says.")
        merged = lake.put(part, staging_asset(source), day, sum(each.rows for each in staged))
    if ledger.exchange_staged(merged, staged, run_id=run_id):
        return len({each.file.name for each in staged})
    # All of it was superseded or merged by another meanwhile.
    lake.forget([merged])
    return 0
