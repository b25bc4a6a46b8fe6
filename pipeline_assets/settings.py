"""The only module that reads environment variables.

Everything else receives a `Settings` value; tests and the command line build their own.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline_assets.namespace import PLAIN, Namespace, NamespaceError

PROJECT_ROOT = Path(__file__).resolve().parent.parent

MAX_RECORD_BYTES = 32 << 20
"""Longest record by default."""

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
# Arrow counts the bytes of a batch's texts in 31 bits.
_RECORD_BYTES = (1 << 10, 1 << 30)


class SettingsError(ValueError):
    """An environment variable holds a value the pipeline cannot work with."""


@dataclass(frozen=True)
class Settings:
    """Where things are and the rules that hold for a whole deployment.

    Attributes:
        data_dir: absolute folder that holds landing, lake and the embedded PostgreSQL by default.
        landing_dir: absolute folder new source files are dropped into.
        lake_dir: absolute folder of the Parquet lake.
        postgres_url: URL of an external PostgreSQL server, or None for the embedded one.
        defs_dir: folder with its declarations; None for those of the demo.
        timezone: reporting time zone; a day is a calendar day there.
        first_day: the platform's first day; earlier events are quarantined as `out_of_range`.
        tables: names of the tables to make, with those they are made of; all if there are none.
        follow_links: whether symbolic links in landing may leave it.
        max_record_bytes: the longest line, CSV record, element of a JSON array or row of a Parquet file that is read;
            a longer one goes to quarantine.
        namespace: what its schemas and asset keys begin with, which tells it from others in the same database.
    """

    data_dir: Path
    landing_dir: Path
    lake_dir: Path
    postgres_url: str | None = None
    defs_dir: Path | None = None
    timezone: str = "UTC"
    first_day: date = date(2010, 1, 1)
    tables: tuple[str, ...] = ()
    follow_links: bool = False
    max_record_bytes: int = MAX_RECORD_BYTES
    namespace: Namespace = PLAIN

    @property
    def postgres_dir(self) -> Path:
        """Folder of the embedded PostgreSQL server."""
        return self.data_dir / "postgres"

    @classmethod
    def for_data_dir(cls, data_dir: Path, **changes: Any) -> "Settings":
        """Settings with every path below `data_dir`; `changes` replace single fields."""
        root = data_dir.expanduser().absolute()
        return replace(cls(root, root / "landing", root / "lake"), **changes)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read `PIPELINE_*` variables; relative paths are relative to the project's folder.

        Raises:
            SettingsError: a variable holds a value that cannot be used; the message names it.
        """
        env = os.environ if environment is None else environment
        data_dir = _path(env.get("PIPELINE_DATA_DIR") or "data")
        defs_dir = env.get("PIPELINE_DEFS_DIR")
        return cls(
            data_dir=data_dir,
            landing_dir=_folder_url(env, "PIPELINE_LANDING_URL", data_dir / "landing"),
            lake_dir=_folder_url(env, "PIPELINE_LAKE_URL", data_dir / "lake"),
            postgres_url=env.get("PIPELINE_POSTGRES_URL") or None,
            defs_dir=_path(defs_dir) if defs_dir else None,
            timezone=_timezone(env.get("PIPELINE_TIMEZONE") or "UTC"),
            first_day=_day(env.get("PIPELINE_FIRST_DAY") or "2010-01-01"),
            namespace=_namespace(env.get("PIPELINE_NAMESPACE") or None),
            tables=tuple(name.strip() for name in (env.get("PIPELINE_TABLES") or "").split(",") if name.strip()),
            follow_links=_flag(env, "PIPELINE_FOLLOW_LINKS"),
            max_record_bytes=_record_bytes(env.get("PIPELINE_MAX_RECORD_BYTES") or str(MAX_RECORD_BYTES)),
        )


def _path(value: str) -> Path:
    # Dagster starts processes in folders of its own choosing, so a relative path may not depend on the
    # working folder of whoever reads it.
    return (PROJECT_ROOT / Path(value).expanduser()).absolute()


def _folder_url(env: Mapping[str, str], name: str, default: Path) -> Path:
    value = env.get(name)
    if not value:
        return default
    if value.startswith("file://"):
        return Path(value.removeprefix("file://"))
    if "://" in value:
        raise SettingsError(
            f"{name}: only local folders (a path or file:///…) are supported by this version, got the scheme "
            f"{value.split('://', 1)[0]!r}. Mount the bucket as a folder, or unset {name}."
        )
    return _path(value)


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = (env.get(name) or "false").strip().lower()
    if value not in _FLAGS:
        raise SettingsError(f"{name}: {value!r} is neither true nor false.")
    return _FLAGS[value]


def _record_bytes(value: str) -> int:
    found = re.fullmatch(r"(\d+)\s*([a-z]*)", value.strip().lower())
    least, most = _RECORD_BYTES
    if found is None or found[2] not in _UNITS or not least <= int(found[1]) * _UNITS[found[2]] <= most:
        raise SettingsError(f"PIPELINE_MAX_RECORD_BYTES: {value!r} is no size from 1KiB to 1GiB, such as 32MiB.")
    return int(found[1]) * _UNITS[found[2]]


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(f"PIPELINE_TIMEZONE: {value!r} is not an IANA time zone such as Europe/Berlin.") from error
    return value


def _namespace(value: str | None) -> Namespace:
    try:
        return Namespace(value)
    except NamespaceError as error:
        raise SettingsError(f"PIPELINE_NAMESPACE: {error}") from error


def _day(value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise SettingsError(f"PIPELINE_FIRST_DAY: {value!r} is not a date such as 2010-01-01.") from error
