"""Read staged rows: the files the ledger lists, and never a glob."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from pipeline_assets.columns import contract_schema
from pipeline_assets.lake import Lake
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets.storage.parquet import scan_parquet


def scan_staged(lake: Lake, files: Sequence[StagedFile]) -> pl.LazyFrame:
    """Staged rows with the columns of `StagedEvents` and `event_date`, and no others that are in the same files.

    Args:
        lake: the lake.
        files: as the ledger lists them; see `lost_files`.
    """
    if not files:
        return StagedEvents.create_empty(lazy=True).with_columns(event_date=pl.lit(None, pl.Date))
    # The ledger says which day a file is of; folders above the lake may be called `event_date=…` too.
    whole: dict[date, list[str]] = {}
    parts: list[pl.LazyFrame] = []
    for counted in counted_files(files):
        path, day = lake.store.locate(counted.file.name), counted.file.day
        if counted.contents is None:
            whole.setdefault(day, []).append(path)
        else:
            parts.append(_scan([path], day).filter(pl.col("load_id").is_in(counted.contents)))
    parts += [_scan(paths, day) for day, paths in whole.items()]
    return pl.concat(parts)


@dataclass(frozen=True)
class CountedFile:
    """A file with staged rows, and which of them count.

    Attributes:
        source: the source.
        file: the file.
        contents: the contents whose rows count; None where all rows do.
    """

    source: str
    file: LakeFile
    contents: list[str] | None


def counted_files(staged: Iterable[StagedFile]) -> list[CountedFile]:
    """The files that hold staged rows, each once."""
    by_name: dict[str, list[StagedFile]] = {}
    for each in staged:
        by_name.setdefault(each.file.name, []).append(each)
    return [
        CountedFile(
            of_file[0].source,
            of_file[0].file,
            None if sum(each.rows for each in of_file) == of_file[0].file.rows else [each.content for each in of_file],
        )
        for of_file in by_name.values()
    ]


def lost_files(lake: Lake, files: Iterable[StagedFile]) -> list[StagedFile]:
    """The staged rows that count and whose file is not there, or has another size."""
    files = list(files)
    lost = {file.name for file in lake.lost({each.file.name: each.file for each in files}.values())}
    return [each for each in files if each.file.name in lost]


def _scan(paths: Sequence[str], day: date) -> pl.LazyFrame:
    rows = scan_parquet(
        # Files staged before the contract grew, and not again since, lack its new columns, which are nullable.
        paths,
        schema=contract_schema(StagedEvents),
        extra_columns="ignore",
        missing_columns="insert",
    )
    return rows.with_columns(event_date=pl.lit(day, pl.Date))
