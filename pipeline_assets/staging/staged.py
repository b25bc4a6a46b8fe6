"""Read staged rows: the files the ledger lists, and never a glob."""

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from pipeline_assets.contracts.columns import contract_schema
from pipeline_assets.contracts.staged_events import StagedEvents
from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.parquet_files import scan_parquet


def scan_staged(lake: Path, files: Sequence[StagedFile]) -> pl.LazyFrame:
    """The rows of staged files with the columns of `StagedEvents` and `event_date`.

    Args:
        lake: the lake's folder.
        files: as the ledger lists them; see `lost_files`.
    """
    if not files:
        return StagedEvents.create_empty(lazy=True).with_columns(event_date=pl.lit(None, pl.Date))
    by_day: dict[date, list[Path]] = {}
    for file in files:
        by_day.setdefault(file.event_date, []).append(lake / file.relative_path)
    # The ledger says which day a file is of; folders above the lake may be called `event_date=…` too.
    return pl.concat(
        scan_parquet(
            # Files staged before the contract grew, and not again since, lack its new columns, which are nullable.
            paths,
            schema=contract_schema(StagedEvents),
            extra_columns="ignore",
            missing_columns="insert",
        ).with_columns(event_date=pl.lit(day, pl.Date))
        for day, paths in by_day.items()
    )


def lost_files(lake: Path, files: Iterable[StagedFile]) -> list[StagedFile]:
    """The staged files that count and are not there."""
    return [file for file in files if not (lake / file.relative_path).exists()]
