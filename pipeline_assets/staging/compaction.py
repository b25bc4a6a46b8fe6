"""Compact the staged files of a day: small ones become one, and of a file of which little counts that little is kept.

A stream lands a file a minute, and what is superseded or read again stays in the file that it was in. The rows that
count and their account stay as they are; only the file that holds them is another one. It is written like any other,
under a name of its own, and one transaction lets it take the place of those that it was made from. What was superseded
or read again meanwhile is none of its business: it counts as it did. A crash leaves a file that no list names.

Each day stands alone, and so does each file: one that is lost or damaged is told and read again, and left out.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PolarsError

from pipeline_assets.lake import Lake
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.changed_days import ChangedDay
from pipeline_assets.ledger.files import FileLedger, StagedFile, UncompactedDay, staging_asset
from pipeline_assets.staging.scratch import drafts_folder
from pipeline_assets.staging.staged import scan_staged
from pipeline_assets.storage.parquet import scan_parquet
from pipeline_assets.storage.store import StoreError, UnreachableError

logger = logging.getLogger(__name__)

SMALL_ROWS = 100_000
"""A staged file with fewer rows is small."""

SETTLED = timedelta(minutes=5)
"""A day that has not changed for so long is compacted; another one only where it has more than `MOST_FILES`."""

MOST_FILES = 16
"""Small files that a day has while it still changes."""

# Rows of a file that small ones become, which are sorted in memory, and of all that is read on one occasion.
_ROWS_OF_FILE = 250_000
_ROWS_AT_ONCE = 1_000_000
# Days that are looked at on one occasion.
_DAYS_AT_ONCE = 500
# Of rows sorted by content a reader of some contents passes over most groups.
_ROW_GROUP = 25_000


class RowsError(RuntimeError):
    """Staged rows are not what the ledger says."""


def due_days(source: str, ledger: FileLedger, settled: timedelta = SETTLED) -> list[ChangedDay]:
    """The days of a source that are worth to be compacted now; those that have settled and are not are forgotten.

    Costs what has changed since the last time.

    Args:
        source: the source.
        ledger: knows what has changed.
        settled: a day that has not changed for so long has settled.
    """
    due: list[ChangedDay] = []
    rest: list[ChangedDay] = []
    for day in ledger.uncompacted_days(source, settled, _DAYS_AT_ONCE):
        if _is_due(day):
            due.append(day.changed)
        elif day.has_settled:
            rest.append(day.changed)
    if rest:
        ledger.compacted(rest)
    return due


def compact(
    source: str,
    lake: Lake,
    ledger: FileLedger,
    scratch: Path,
    *,
    read_again: Callable[[Sequence[LakeFile]], None],
    settled: timedelta = SETTLED,
    run_id: str = "",
) -> int:
    """Compact the days of a source that are due, a bounded amount of rows; how many files others have replaced.

    Args:
        source: the source.
        lake: the lake.
        ledger: knows what counts.
        scratch: a local folder for drafts.
        read_again: has the rows of lost or damaged files made again.
        settled: a day that has not changed for so long has settled.
        run_id: the run that compacts.

    Raises:
        StoreError: the lake cannot be reached, or takes no file.
        OSError: there is no place for drafts.
    """
    work = _Compaction(lake, ledger, scratch, read_again, run_id)
    for day in due_days(source, ledger, settled):
        try:
            if not work.compact(day):
                break
        except (PolarsError, RowsError) as error:
            # Looked at again when it changes; else it would be asked for for ever.
            logger.warning("%s, %s: staged files could not be compacted: %s", source, day.day, type(error).__name__)
        ledger.compacted([day])
    return work.replaced


@dataclass
class _Compaction:
    """What is done on one occasion.

    Attributes:
        rows: rows of the files that were read.
        replaced: files that others have taken the place of.
    """

    lake: Lake
    ledger: FileLedger
    scratch: Path
    read_again: Callable[[Sequence[LakeFile]], None]
    run_id: str
    rows: int = 0
    replaced: int = 0

    def compact(self, changed: ChangedDay) -> bool:
        """Compact a day, or as much of it as there is room for; whether that was all of it."""
        for some in _portions(self.ledger.staged_files([changed.source], changed.day, changed.day)):
            if self.rows >= _ROWS_AT_ONCE:
                return False
            self._rewrite(some)
        return True

    def _rewrite(self, staged: Sequence[StagedFile]) -> None:
        """Put one file in the place of some; those that are lost or damaged are left out."""
        while _is_worth_it(_by_file(staged)):
            self.rows += sum(of_file[0].file.rows for of_file in _by_file(staged))
            try:
                self._exchange(staged)
            except (PolarsError, OSError, RowsError):
                wrong = [of_file for of_file in _by_file(staged) if not self._is_right(of_file)]
                if not wrong:
                    raise
                names = {of_file[0].file.name for of_file in wrong}
                staged = [each for each in staged if each.file.name not in names]
            else:
                return

    def _exchange(self, staged: Sequence[StagedFile]) -> None:
        source, day = staged[0].source, staged[0].event_date
        with drafts_folder(self.scratch) as folder:
            part = folder / "compacted.parquet"
            rows = scan_staged(self.lake, staged).drop("event_date").sort("load_id", "line")
            rows.sink_parquet(part, compression="zstd", row_group_size=_ROW_GROUP)
            found = scan_parquet([part]).group_by("load_id").len().collect()
            if dict(found.iter_rows()) != {each.content: each.rows for each in staged}:
                raise RowsError(f"{source}, {day}: the staged files hold other rows than the ledger says.")
            made = self.lake.put(part, staging_asset(source), day, _counting(staged))
        if self.ledger.exchange_staged(made, staged, run_id=self.run_id):
            self.replaced += len(_by_file(staged))
        else:
            # All of it was superseded or compacted by another meanwhile.
            self.lake.forget([made])

    def _is_right(self, staged: Sequence[StagedFile]) -> bool:
        """Whether a file can be read and holds what the ledger says; if not, that is told, and it is read again."""
        file = staged[0].file
        held: Counter[str] = Counter()
        try:
            with self.lake.store.open(file.name) as opened:
                for batch in pq.ParquetFile(opened).iter_batches():
                    held.update(batch.column("load_id").to_pylist())
        except UnreachableError:
            raise
        except StoreError as error:
            # Its rows may be there: who may read it is not known here.
            logger.warning("A staged file is left out of what is compacted: %s", error)
            return False
        except (pa.ArrowException, OSError, KeyError):
            held.clear()
        if all(held[each.content] == each.rows for each in staged):
            return True
        logger.warning("%s is missing or damaged; the next load reads its files in landing again.", file.name)
        self.read_again([file])
        return False


def _by_file(staged: Iterable[StagedFile]) -> list[list[StagedFile]]:
    """Staged rows by the file that holds them."""
    found: dict[str, list[StagedFile]] = {}
    for each in staged:
        found.setdefault(each.file.name, []).append(each)
    return list(found.values())


def _portions(staged: Iterable[StagedFile]) -> Iterator[list[StagedFile]]:
    """Staged rows of a day in portions of whole files that are worth to be rewritten."""
    portion: list[list[StagedFile]] = []
    rows = 0
    # The smallest first, so that no two small ones are left apart.
    for of_file in sorted(_by_file(staged), key=lambda of_file: (_counting(of_file), of_file[0].file.name)):
        held, counting = of_file[0].file.rows, _counting(of_file)
        if not (_is_small(held) or _is_mostly_dead(held, counting)):
            continue
        if rows + counting > _ROWS_OF_FILE:
            if _is_worth_it(portion):
                yield list(itertools.chain(*portion))
            portion, rows = [], 0
        portion.append(of_file)
        rows += counting
    if _is_worth_it(portion):
        yield list(itertools.chain(*portion))


def _is_worth_it(files: Sequence[Sequence[StagedFile]]) -> bool:
    """Whether it is worth to make one file of some: there are several, or little of it counts."""
    return len(files) > 1 or any(_is_mostly_dead(of_file[0].file.rows, _counting(of_file)) for of_file in files)


def _counting(staged: Iterable[StagedFile]) -> int:
    return sum(each.rows for each in staged)


def _is_due(day: UncompactedDay) -> bool:
    small = sum(_is_small(file.rows) for file in day.files)
    if not day.has_settled:
        return small > MOST_FILES
    dead = [file for file in day.files if file.counting is not None and _is_mostly_dead(file.rows, file.counting)]
    return small > 1 or bool(dead)


def _is_small(rows: int) -> bool:
    return rows < SMALL_ROWS


def _is_mostly_dead(rows: int, counting: int) -> bool:
    """Whether at least half of the rows of a file do not count any more."""
    return 2 * counting <= rows
