"""Read staged rows: the files the ledger lists, and never a glob."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from pipeline_assets.contracts.staged_events import StagedEvents
from pipeline_assets.ledger.files import StagedFile


def scan_staged(lake: Path, files: Sequence[StagedFile]) -> pl.LazyFrame:
    """The rows of staged files with the columns of `StagedEvents` and `event_date`.

    Args:
        lake: the lake's folder.
        files: as the ledger lists them; see `missing`.
    """
    if not files:
        return StagedEvents.create_empty(lazy=True).with_columns(event_date=pl.lit(None, pl.Date))
    return pl.scan_parquet(
        [lake / file.relative_path for file in files], hive_partitioning=True, try_parse_hive_dates=True
    ).select(*StagedEvents.column_names(), "event_date")


def missing(lake: Path, files: Iterable[StagedFile]) -> list[StagedFile]:
    """The staged files that count and are not there."""
    return [file for file in files if not (lake / file.relative_path).exists()]
