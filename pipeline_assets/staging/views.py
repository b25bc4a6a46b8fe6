"""Beside the staged files: views for people who explore them in SQL."""

import logging
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeGuard

import duckdb

from pipeline_assets.durable import sync
from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.private import make_folder, protect
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets.sql import literal
from pipeline_assets.staging.staged import CountedFile, counted_files
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.parquet import duckdb_path
from pipeline_assets.storage.store import DRAFTS, Store

logger = logging.getLogger(__name__)

VIEWS = "staging.duckdb"


def has_views(store: Store) -> TypeGuard[LocalStore]:
    """Whether a lake has views.

    None in an object store has: what DuckDB reads there it reads through the process that opened it, and who opens the
    views has no such thing.
    """
    return isinstance(store, LocalStore)


def write_views(store: Store, staged: Iterable[StagedFile]) -> Path | None:
    """Write `staging.duckdb` afresh: one view per source over the staged files that count. Nothing depends on it.

    Whoever has the file of before open reads on in it; whoever opens it finds the one or the other, whole.

    Args:
        store: the lake's; see `has_views`.
        staged: all staged files that count.
    """
    if not has_views(store):
        return None
    lake = store.root
    final = lake / VIEWS
    if "\\" in str(lake):
        # A view outlives every alias, and DuckDB has no other way to write this.
        logger.warning("No %s: DuckDB cannot read files in %s, whose name has a backslash.", VIEWS, lake)
        return final
    by_source: dict[str, list[CountedFile]] = {}
    for counted in counted_files(staged):
        by_source.setdefault(counted.source, []).append(counted)
    # Under a name that no other process has, where the sweep finds what a killed one has left.
    draft = make_folder(lake / DRAFTS) / f"{uuid.uuid4().hex}.duckdb"
    try:
        with duckdb.connect(duckdb_path(draft)) as database:
            for source, files in sorted(by_source.items()):
                # A view takes no bound values; a source's name is a plain identifier.
                database.execute(f'create view "{source}" as {_view(lake, files)}')
        sync(protect(draft))
        # What somebody has changed in the file of before goes with it: DuckDB would apply it to this one.
        final.with_name(f"{VIEWS}.wal").unlink(missing_ok=True)
        draft.replace(final)
    finally:
        draft.unlink(missing_ok=True)
    return final


def _view(lake: Path, files: Sequence[CountedFile]) -> str:
    """SQL of the staged rows that count of some files."""
    whole = [file for file in files if file.contents is None]
    parts = [_rows(lake, whole)] if whole else []
    parts += [
        f"{_rows(lake, [file])} where load_id in ({', '.join(map(literal, file.contents))})"
        for file in files
        if file.contents is not None
    ]
    return " union all ".join(parts)


def _rows(lake: Path, files: Sequence[CountedFile]) -> str:
    columns = ", ".join(f'"{name}"' for name in StagedEvents.column_names())
    # Of the last folder only: others above the lake may look like a day too.
    day = r"regexp_extract(filename, '(\d{4}-\d{2}-\d{2})/[^/]*$', 1)::date as event_date"
    listed = ", ".join(literal(_as_pattern(lake / file.file.name)) for file in files)
    return f"select {columns}, {day} from read_parquet([{listed}], hive_partitioning = false)"  # noqa: S608 - quoted paths


def _as_pattern(path: Path) -> str:
    """A pattern that only this path matches."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))
