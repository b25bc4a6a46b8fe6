"""The only module that reads environment variables, and the `.env` of a project.

Everything else receives a `Settings` value; tests and the command line build their own.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline_assets.namespace import PLAIN, Namespace
from pipeline_assets.project import ENV_FILE, find_project, is_clone, read_env_file
from pipeline_assets.storage_urls import Remote, parse_place

DAGSTER_FILE = "dagster.yaml"
"""What describes the Dagster instance of a project; that of this package is in its own folder."""
PACKAGE_DIR = Path(__file__).resolve().parent
"""The folder of this package: in a clone, or in the site-packages of an environment."""
PROJECT_ROOT = PACKAGE_DIR.parent
"""The clone, where the package runs from one; otherwise nothing of a deployment is sought or put there."""

MAX_RECORD_BYTES = 32 << 20
"""Longest record by default."""

FULL_LOOK = timedelta(hours=1)
"""How often everything is looked at by default."""

_OBJECT_STORES = ("AWS_", "AZURE_", "GOOGLE_")
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_TIMES = {"s": 1, "min": 60, "h": 60 * 60, "d": 24 * 60 * 60}
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
# Arrow counts the bytes of a batch's texts in 31 bits.
_RECORD_BYTES = (1 << 10, 1 << 30)


T = TypeVar("T")


class SettingsError(ValueError):
    """A variable holds a value the pipeline cannot work with; the message says which and where it is set."""


@dataclass(frozen=True)
class Settings:
    """Where things are, and what holds for a whole deployment.

    Attributes:
        data_dir: absolute folder that holds landing, lake and the embedded PostgreSQL by default.
        landing_url: where new source files are dropped: an absolute folder, or a place in an object store
            (`s3://bucket/prefix`); see `storage.opening.open_store`.
        lake_url: where the Parquet lake is, likewise.
        postgres_url: URL of an external PostgreSQL server, or None for the embedded one.
        defs_dir: folder with its declarations; None for those of the demo.
        timezone: reporting time zone; a day is a calendar day there.
        first_day: the platform's first day; earlier events are quarantined as `out_of_range`.
        tables: names of the tables to make, with those they are made of; all if there are none.
        follow_links: whether symbolic links in landing may leave it.
        max_record_bytes: the longest line, CSV record, element of a JSON array or row of a Parquet file that is read;
            a longer one goes to quarantine.
        history_days: days for which everything of Dagster's runs is kept; 0 for ever. See `history`.
        namespace: what its schemas and asset keys begin with, which tells it from others in the same database.
        project_dir: absolute folder of the project these are the settings of; None for settings of nobody's project.
        full_look: how long after a look at everything, in landing and lake, the next one is due; in between, looks cost
            what has changed.
    """

    data_dir: Path
    landing_url: str
    lake_url: str
    postgres_url: str | None = None
    defs_dir: Path | None = None
    timezone: str = "UTC"
    first_day: date = date(2010, 1, 1)
    tables: tuple[str, ...] = ()
    follow_links: bool = False
    max_record_bytes: int = MAX_RECORD_BYTES
    history_days: int = 30
    namespace: Namespace = PLAIN
    project_dir: Path | None = None
    full_look: timedelta = FULL_LOOK

    @property
    def landing_dir(self) -> Path:
        """The folder of landing.

        Raises:
            SettingsError: it is in an object store.
        """
        return _folder(self.landing_url, "PIPELINE_LANDING_URL")

    @property
    def lake_dir(self) -> Path:
        """The folder of the lake.

        Raises:
            SettingsError: it is in an object store.
        """
        return _folder(self.lake_url, "PIPELINE_LAKE_URL")

    @property
    def scratch_dir(self) -> Path:
        """Local folder for what is on its way: fetched files, drafts, what memory does not hold."""
        return self.data_dir / "scratch"

    @property
    def postgres_dir(self) -> Path:
        """Folder of the embedded PostgreSQL server."""
        return self.data_dir / "postgres"

    @property
    def dagster_dir(self) -> Path:
        """Folder of the files that Dagster keeps of runs."""
        return self.data_dir / "dagster"

    @property
    def demo_truth(self) -> Path:
        """File that says what the demo has planted; where it is, the demo was made."""
        return self.data_dir / "demo_truth.json"

    def require_no_declarations(self) -> None:
        """See that the demo can be made.

        Raises:
            SettingsError: own declarations are named, whose data it would be mixed with.
        """
        if self.defs_dir is not None:
            raise SettingsError(
                f"PIPELINE_DEFS_DIR names {self.defs_dir}: the demo does not belong among data of your own. Make it in "
                "an empty folder."
            )

    def require_declarations(self) -> None:
        """See that it is meant that the demo's declarations hold.

        Raises:
            SettingsError: none are named, and neither is this the clone nor was the demo made here.
        """
        here = self.project_dir
        if self.defs_dir is None and here is not None and here != clone() and not self.demo_truth.exists():
            raise SettingsError(
                f"Nothing is declared for {here}. Make a project with `pipeline-assets init FOLDER`, or set "
                f"PIPELINE_DEFS_DIR in {here / ENV_FILE} to the folder with your declarations; `pipeline-assets demo` "
                "makes the demo here."
            )

    @classmethod
    def for_data_dir(cls, data_dir: Path, **changes: Any) -> "Settings":
        """Settings with every path below `data_dir`; `changes` replace single fields."""
        root = data_dir.expanduser().absolute()
        return replace(cls(root, str(root / "landing"), str(root / "lake")), **changes)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """The settings of the project that this process works in: see `current_project`.

        `PIPELINE_*` variables of the environment win over those of the project's `.env`. Relative paths are relative to
        the project's folder.

        Args:
            environment: variables in place of those of the process.

        Raises:
            SettingsError: a variable holds a value that cannot be used; the message names it and where it is set.
        """
        env = os.environ if environment is None else environment
        settings = cls._read(current_project(env), env)
        if environment is None:
            settings._take_object_store_variables()
        return settings

    @classmethod
    def for_project(cls, folder: Path, environment: Mapping[str, str] | None = None) -> "Settings":
        """The settings of the project in a folder, whatever folder the process works in.

        For a project's own `definitions.py`, which Dagster may load anywhere; see `from_environment`.

        Args:
            folder: the project's; the one with its `.env`.
            environment: variables in place of those of the process.

        Raises:
            SettingsError: a variable holds a value that cannot be used; the message names it and where it is set.
        """
        settings = cls._read(folder.expanduser().absolute(), os.environ if environment is None else environment)
        if environment is None:
            settings._take_object_store_variables()
        return settings

    def _take_object_store_variables(self) -> None:
        """Put what the project's `.env` says of object stores into the environment, unless it is set there.

        As Dagster's own commands do: this package, Polars and boto3 all look for it there.
        """
        places = (parse_place(self.landing_url), parse_place(self.lake_url))
        if self.project_dir is None or not any(isinstance(place, Remote) for place in places):
            return
        from dotenv import dotenv_values

        for name, value in dotenv_values(self.project_dir / ENV_FILE).items():
            if value is not None and name.startswith(_OBJECT_STORES):
                os.environ.setdefault(name, value)

    @classmethod
    def _read(cls, folder: Path, environment: Mapping[str, str]) -> "Settings":
        variables = _Variables(folder, environment)
        data_dir = variables.get("PIPELINE_DATA_DIR", variables.path) or folder / "data"
        history_days = variables.get("PIPELINE_HISTORY_DAYS", _days)
        return cls(
            data_dir=data_dir,
            landing_url=variables.get("PIPELINE_LANDING_URL", variables.place) or str(data_dir / "landing"),
            lake_url=variables.get("PIPELINE_LAKE_URL", variables.place) or str(data_dir / "lake"),
            postgres_url=variables.get("PIPELINE_POSTGRES_URL", str),
            defs_dir=variables.get("PIPELINE_DEFS_DIR", variables.path),
            timezone=variables.get("PIPELINE_TIMEZONE", _timezone) or cls.timezone,
            first_day=variables.get("PIPELINE_FIRST_DAY", _day) or cls.first_day,
            namespace=variables.get("PIPELINE_NAMESPACE", Namespace) or PLAIN,
            tables=variables.get("PIPELINE_TABLES", _names) or (),
            follow_links=variables.get("PIPELINE_FOLLOW_LINKS", _flag) or False,
            max_record_bytes=variables.get("PIPELINE_MAX_RECORD_BYTES", _record_bytes) or MAX_RECORD_BYTES,
            history_days=cls.history_days if history_days is None else history_days,
            project_dir=folder,
            full_look=FULL_LOOK if (every := variables.get("PIPELINE_FULL_LOOK", _duration)) is None else every,
        )


def current_project(environment: Mapping[str, str] | None = None) -> Path:
    """The folder of the project that this process works in, see `project.find_project`.

    Args:
        environment: variables in place of those of the process.
    """
    env = os.environ if environment is None else environment
    home = env.get("DAGSTER_HOME")
    return find_project(Path.cwd(), dagster_home=Path(home) if home else None, clone=clone())


def dagster_home(project: Path) -> Path | None:
    """The folder of the Dagster instance of a project, where one is named.

    As Dagster's own commands do, it puts what the project's `.env` sets into the environment, unless it is set there:
    the project's `dagster.yaml` may name any of it.
    """
    from dotenv import load_dotenv

    load_dotenv(project / ENV_FILE, override=False)
    home = os.environ.get("DAGSTER_HOME")
    return Path(home) if home else None


def object_store_variables() -> dict[str, str]:
    """What this process has of the variables that tell the tools of object stores where these are, and as whom."""
    return {name: value for name, value in os.environ.items() if name.startswith(_OBJECT_STORES)}


def clone() -> Path | None:
    """The folder of the clone that the package runs from; None where it is installed."""
    return PROJECT_ROOT if is_clone(PROJECT_ROOT) else None


class _Variables:
    """The variables of a project by name: the environment's, then those of its `.env`.

    Args:
        folder: the project's.
        environment: the environment's.

    Raises:
        SettingsError: a line of `.env` that seems to set one of ours cannot be read.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        try:
            self._of_file = read_env_file(folder, environment)
        except ValueError as error:
            raise SettingsError(str(error)) from None

    def get(self, name: str, convert: Callable[[str], T]) -> T | None:
        """The value of a variable; None where it is not set, or to nothing."""
        line, in_file = self._of_file.get(name, (0, ""))
        # One that is set to nothing is set, so that it can be told not to take the file's.
        text = self._environment.get(name, in_file)
        if not text:
            return None
        try:
            return convert(text)
        except ValueError as error:
            # Dagster puts what is in a project's file into the environment of its processes.
            place = f"{self._folder / ENV_FILE}:{line}: " if line and text == in_file else ""
            raise SettingsError(f"{place}{name}: {error}") from error

    def path(self, value: str) -> Path:
        # Dagster starts processes in folders of its own choosing, so a relative path may not depend on the
        # working folder of whoever reads it.
        return (self._folder / Path(value).expanduser()).absolute()

    def place(self, value: str) -> str:
        found = parse_place(value)
        return str(found) if isinstance(found, Remote) else str(self.path(str(found)))


def _folder(url: str, variable: str) -> Path:
    found = parse_place(url)
    if isinstance(found, Remote):
        raise SettingsError(f"This needs a local folder, and {variable} names {found}.")
    return found


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _flag(value: str) -> bool:
    flag = value.strip().lower()
    if flag not in _FLAGS:
        raise ValueError(f"{flag!r} is neither true nor false.")
    return _FLAGS[flag]


def _record_bytes(value: str) -> int:
    found = re.fullmatch(r"(\d+)\s*([a-z]*)", value.strip().lower())
    least, most = _RECORD_BYTES
    if found is None or found[2] not in _UNITS or not least <= int(found[1]) * _UNITS[found[2]] <= most:
        raise ValueError(f"{value!r} is no size from 1KiB to 1GiB, such as 32MiB.")
    return int(found[1]) * _UNITS[found[2]]


def _duration(value: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})\s*(s|min|h|d)|0", value.strip().lower())
    if found is None:
        raise ValueError(f"{value!r} is no duration such as 30min, 1h or 1d, and not 0 for always.")
    return timedelta(seconds=int(found[1]) * _TIMES[found[2]]) if found[1] else timedelta(0)


def _days(value: str) -> int:
    if not value.strip().isdecimal():
        raise ValueError(f"{value!r} is no number of days, such as 30.")
    return int(value)


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Berlin.") from error
    return value


def _day(value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a date such as 2010-01-01.") from error
