"""What a build yields: one value that the step of a table makes and its IO manager publishes. No Dagster here."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from uuid import UUID

import polars as pl

from pipeline_assets.day_counts import DayCounts
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.private import make_file, make_folder

# Bytes of frames that are kept in memory; of more all are put on the disk.
_KEPT_BYTES = 64 << 20


class FrameBuffer:
    """The frames of a table on their way to PostgreSQL: in memory while they are small, else spilled to the disk.

    Args:
        folder: for those on the disk; it is made, and removed by `close`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: list[pl.DataFrame] = []
        self._bytes = 0
        self._files: list[Path] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Hold a frame."""
        self._kept.append(frame)
        self._bytes += int(frame.estimated_size())
        # A single frame fits into memory: it is there.
        if len(self._kept) + len(self._files) > 1 and (self._files or self._bytes > _KEPT_BYTES):
            self._spill()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """The frames in their order."""
        for path in self._files:
            yield pl.read_ipc(path)
        yield from self._kept

    def close(self) -> None:
        """Forget the frames."""
        self._kept, self._files = [], []
        shutil.rmtree(self._folder, ignore_errors=True)

    def _spill(self) -> None:
        make_folder(self._folder)
        for frame in self._kept:
            path = make_file(self._folder / f"{len(self._files)}.arrow")
            frame.write_ipc(path, compression="lz4")
            self._files.append(path)
        self._kept, self._bytes = [], 0


@dataclass(frozen=True)
class Built:
    """The rows of some days of a table and everything that is to be booked with them.

    Attributes:
        claim_id: of the claim.
        table: the table.
        days: the days that were claimed and built; `(UNPARTITIONED,)` of a table without partitions.
        run_id: the run.
        files: of a table in the lake: files with all rows of these days, in the store and not listed yet. A day of none
            has no rows.
        frames: of a mart: frames with all rows of these days, or of a table without partitions the rows that take the
            place of those that `replaces` names. They keep their contract.
        replaces: rows of a table without partitions, at least their primary keys, that give way; None for all.
        figures: numbers of each day that the UI shows, by name; none of a table without partitions.
        counts: where the staged rows of each day went, where the table is made of these.
        tallies: numbers of each day that the ledger books beside its counts.
        revisions: what a table without partitions says of each day; None where no table asks.
        event_names: names of events among the rows.
    """

    claim_id: UUID
    table: str
    days: tuple[date, ...]
    run_id: str
    files: tuple[LakeFile, ...] = ()
    frames: FrameBuffer | None = None
    replaces: pl.DataFrame | None = None
    figures: Mapping[date, Mapping[str, float]] = field(default_factory=dict)
    counts: Mapping[date, DayCounts] = field(default_factory=dict)
    tallies: Mapping[date, Mapping[str, int]] = field(default_factory=dict)
    revisions: Mapping[date, str] | None = None
    event_names: frozenset[str] = frozenset()
