"""Where the lake keeps what: one Parquet file for each table, or for each partition of it."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote

_FILE = "part.parquet"


def lake_path(root: Path, table: str, column: str | None = None, key: str | None = None) -> Path:
    """The Parquet file of a table in the lake, or of one of its partitions."""
    folder = root / table
    if column is not None and key is not None:
        folder /= f"{quote(column, safe='')}={quote(key, safe='')}"
    return folder / _FILE


def lake_files(root: Path, table: str, column: str, keys: Iterable[str]) -> dict[str, Path]:
    """The files there are of some partitions of a table, by key and in the order of the keys.

    The table's folder is listed once, as most of the days since a platform's first were never written.
    """
    written = set(lake_keys(root, table, column))
    paths = {key: lake_path(root, table, column, key) for key in keys if key in written}
    return {key: path for key, path in paths.items() if path.exists()}


def lake_keys(root: Path, table: str, column: str) -> list[str]:
    """The partitions of a table that have a folder."""
    prefix = f"{quote(column, safe='')}="
    try:
        names = [folder.name for folder in (root / table).iterdir()]
    except FileNotFoundError:
        return []
    return [unquote(name[len(prefix) :]) for name in names if name.startswith(prefix)]
