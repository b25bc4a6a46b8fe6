"""Dagster projects of somebody else, as tests write them into a folder."""

from pathlib import Path

from pipeline_assets_tests.end_to_end.deployment import CLICKS

PIPELINE = "type: pipeline_assets.components.EventPipeline\n"

_PYPROJECT = """\
[project]
name = "{name}"
version = "0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{name}"
"""
_DEFINITIONS = """\
from pathlib import Path

import dagster as dg


@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
# Names that ours have too: an asset `events`, a resource `duckdb`, a job and a sensor.
_OWN = """\
import dagster as dg


class Database(dg.ConfigurableResource):
    name: str


@dg.asset(group_name="marts")
def events(duckdb: Database) -> str:
    return duckdb.name


@dg.asset
def sessions(events: str) -> str:
    return events


@dg.sensor(job_name="build_days")
def stale_days():
    return dg.SkipReason("theirs")


defs = dg.Definitions(
    assets=[events, sessions],
    jobs=[dg.define_asset_job("build_days", selection=[events])],
    sensors=[stale_days],
    resources={"duckdb": Database(name="theirs"), "lake": dg.FilesystemIOManager()},
)
"""
_WEEKLY = """\
import dagster as dg

from {name}.numbers import SEVEN


@dg.asset(deps=[dg.AssetKey(["acme", "sessions"])])
def weekly():
    return SEVEN
"""
# What the standard declaration of clicks has, and these records have not.
_WITHOUT = ("revenue", "page_url")


def write_project(root: Path, name: str, **variables: str) -> Path:
    """A project of dg's with assets, resources, jobs and sensors of its own, and runs in SQLite.

    Args:
        root: where its folder is made.
        name: its name, and its Python package's.
        variables: what its `.env` sets.

    Returns:
        Its folder.
    """
    project = root / name
    files = {
        "pyproject.toml": _PYPROJECT.format(name=name),
        "dagster.yaml": f"storage:\n  sqlite:\n    base_dir: {project / 'runs'}\ntelemetry:\n  enabled: false\n",
        ".env": "".join(f"{variable}={value}\n" for variable, value in variables.items()),
        f"{name}/__init__.py": "",
        f"{name}/definitions.py": _DEFINITIONS,
        f"{name}/numbers.py": "SEVEN = 7\n",
        f"{name}/defs/own.py": _OWN,
    }
    return _write(project, files)


def add_pipeline(project: Path, folder: str = "clickstream") -> Path:
    """A pipeline in a folder of a project's `defs`: a source of clicks, and a Python asset of the project's own."""
    name = project.name
    clicks = "".join(line for line in CLICKS.splitlines(keepends=True) if not any(out in line for out in _WITHOUT))
    files = {
        "defs.yaml": PIPELINE,
        "clicks/defs.yaml": clicks,
        "reports/weekly.py": _WEEKLY.format(name=name),
    }
    return _write(project / name / "defs" / folder, files)


def _write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
