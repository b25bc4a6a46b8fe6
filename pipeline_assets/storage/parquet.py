"""Parquet files by their names, and never by a pattern or by what a folder above them happens to be called.

Everything that reads the lake goes through here. A file is named as `Store.locate` says: by an absolute path or a URL
of an object store, and a name stands for itself. (DuckDB and Polars both expand `*`, `?` and `[…]` in a path, and both
may take a folder `key=value` anywhere above a file for a column.)
"""

import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq

from pipeline_assets.storage.access import Access
from pipeline_assets.storage.duckdb_files import RemoteFiles
from pipeline_assets.storage.opening import open_location, remote_scheme

# DuckDB takes the first three for patterns, and the last for another way to write a slash.
_SPECIAL = frozenset("*?[\\")

_lock = threading.Lock()
_aliases: dict[tuple[int, Path], Path] = {}


def duckdb_path(path: str | Path) -> str:
    """How to write a path so that DuckDB reads or writes this file or folder and no other.

    A folder whose name DuckDB cannot be given gets an alias, a symbolic link with a plain name that lives as long as
    the process. (Quoting a `[` as `[[]` would not do: DuckDB then searches the folder above, and stumbles over names
    beside the one that is meant.)

    Args:
        path: an absolute path, or one of a file that is named plainly.

    Raises:
        OSError: there is no place for an alias: the folder for temporary files has such a name too.
    """
    path = Path(path)
    odd = [index for index, part in enumerate(path.parts) if _is_odd(part)]
    if not odd:
        return str(path)
    # The last odd part may be the file itself; the folders of a lake are few.
    head = Path(*path.parts[: odd[-1] + 1])
    return str(_alias(head).joinpath(*path.parts[odd[-1] + 1 :]))


def is_plain(path: str | Path) -> bool:
    """Whether DuckDB takes a path as it is written."""
    return not any(map(_is_odd, Path(path).parts))


def duckdb_paths(connection: duckdb.DuckDBPyConnection, files: Iterable[str | Path]) -> list[str]:
    """How to write files so that DuckDB reads these and no others, through a connection that is made able to.

    Args:
        connection: which reads them.
        files: absolute paths and URLs.
    """
    paths = []
    for file in files:
        scheme = remote_scheme(file)
        if scheme is None:
            paths.append(duckdb_path(file))
        else:
            if not connection.filesystem_is_registered(scheme):
                connection.register_filesystem(RemoteFiles(scheme))
            paths.append(str(file))
    return paths


def parquet_relation(connection: duckdb.DuckDBPyConnection, files: Sequence[str | Path]) -> duckdb.DuckDBPyRelation:
    """The rows of Parquet files, with the columns that are in them and no others.

    Args:
        connection: which reads them.
        files: absolute paths and URLs.
    """
    return connection.from_parquet(duckdb_paths(connection, files), hive_partitioning=False)


def scan_parquet(files: Iterable[str | Path], **options: Any) -> pl.LazyFrame:
    """The same with Polars.

    Args:
        files: absolute paths and URLs, all of one store.
        **options: those of `polars.scan_parquet`.
    """
    # Polars takes a text for a URL where it looks like one, and a path never.
    chosen: list[Any] = []
    schemes = set()
    for file in files:
        scheme = remote_scheme(file)
        schemes.add(scheme)
        chosen.append(Path(file) if scheme is None else str(file))
    access = {} if schemes <= {None} else Access(str(next(iter(schemes - {None})))).polars_options()
    return pl.scan_parquet(chosen, glob=False, hive_partitioning=False, **access, **options)


def read_metadata(file: str | Path) -> pq.FileMetaData:
    """The footer of a Parquet file.

    Raises:
        FileNotFoundError: it is not there.
    """
    with open_location(file) as opened:
        return pq.read_metadata(opened)


def _is_odd(part: str) -> bool:
    return not _SPECIAL.isdisjoint(part) or not _is_utf8(part)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _alias(target: Path) -> Path:
    target = target.absolute()
    # A forked process must not use what its parent removes when it ends.
    key = (os.getpid(), target)
    with _lock:
        if key not in _aliases:
            folder = Path(tempfile.mkdtemp(prefix="pipeline-names-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            if not is_plain(folder):
                raise OSError(
                    f"the folder for temporary files, {tempfile.gettempdir()!r}, has a name that DuckDB cannot read; "
                    "set TMPDIR to one without * ? [ and \\"
                )
            alias = folder / "target"
            alias.symlink_to(target)
            _aliases[key] = alias
        return _aliases[key]
