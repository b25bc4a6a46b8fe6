"""Which folder is the project that a process works in, and what its `.env` sets. No Dagster here.

A project is a folder that says so itself: it has a `dg.toml`, a `pyproject.toml` with `[tool.dg]`, or a `.env` that
sets a variable of the pipeline. A workspace of several Dagster projects is none.
"""

import io
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ENV_FILE = ".env"
PREFIX = "PIPELINE_"
"""What the names of the pipeline's variables begin with."""


def find_project(working: Path, *, dagster_home: Path | None = None, clone: Path | None = None) -> Path:
    """The folder of the project that a process works in, absolute.

    Its `.env` is read, and relative paths in settings are relative to it. It is the working folder or
    the nearest one above it that is a project. Where there is none: the folder that DAGSTER_HOME names, if it is one
    (Dagster may start processes anywhere); the clone; the working folder.

    Args:
        working: the folder that the process works in.
        dagster_home: the folder of Dagster's instance, if it was named.
        clone: the folder of the clone that the package runs from, if it does.
    """
    working = working.absolute()
    for folder in (working, *working.parents):
        if is_project(folder):
            return folder
    if dagster_home is not None and is_project(dagster_home):
        return dagster_home.absolute()
    return clone or working


def is_project(folder: Path) -> bool:
    """Whether a folder says that it is a project of Dagster's or of the pipeline's."""
    try:
        dg = (
            _toml(folder / "dg.toml")
            if (folder / "dg.toml").is_file()
            else _toml(folder / "pyproject.toml", "tool", "dg")
        )
        return (dg is not None and dg.get("directory_type") != "workspace") or _sets_ours(folder)
    except OSError:
        # A folder above that nobody may look into.
        return False


def is_clone(folder: Path) -> bool:
    """Whether a folder is a clone of this package's repository."""
    project = _toml(folder / "pyproject.toml", "project")
    return project is not None and project.get("name") == "pipeline-assets"


def read_env_file(folder: Path, environment: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    """The pipeline's variables in the `.env` of a folder: name -> line, from 1, and value.

    Its syntax is python-dotenv's, as Dagster's is: quotes, `export`, and `${NAME}` for what is set in the environment
    or above. The last of several lines with a name counts.

    Raises:
        ValueError: a line that seems to set one of them cannot be read; the message says which.
    """
    file = folder / ENV_FILE
    try:
        text = file.read_text(encoding="utf-8-sig") if file.is_file() else ""
    except UnicodeDecodeError:
        raise ValueError(f"{file}: cannot be read, for it is not in UTF-8.") from None
    if PREFIX not in text:
        return {}
    # Imported where there is something to read.
    from dotenv.parser import parse_stream
    from dotenv.variables import parse_variables

    values: dict[str, str | None] = {}
    found: dict[str, tuple[int, str]] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error and PREFIX in binding.original.string:
            line = binding.original.line + _blank_lines(binding.original.string)
            raise ValueError(f"{file}:{line}: cannot be read as NAME=value; is a quotation mark missing?")
        if binding.key is None or binding.value is None:
            continue
        known = {**values, **environment}
        value = "".join(atom.resolve(known) for atom in parse_variables(binding.value))
        values[binding.key] = value
        if binding.key.startswith(PREFIX):
            found[binding.key] = (binding.original.line + _blank_lines(binding.original.string), value)
    return found


def _blank_lines(text: str) -> int:
    """How many lines of a statement are before its own first one."""
    return text[: len(text) - len(text.lstrip())].count("\n")


def _toml(file: Path, *path: str) -> dict[str, Any] | None:
    """A table of a TOML file; None where there is no such file or table."""
    if not file.is_file():
        return None
    try:
        table: Any = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        # Not ours to complain about; who uses it will.
        return None
    for key in path:
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else None


def _sets_ours(folder: Path) -> bool:
    try:
        return bool(read_env_file(folder, {}))
    except ValueError:
        # It tries to; whoever reads it tells what is wrong.
        return True
