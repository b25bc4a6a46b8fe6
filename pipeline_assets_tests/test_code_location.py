"""The code location that runs of this process belong to is the one that Dagster loads."""

from pathlib import Path

import pytest
import yaml

from pipeline_assets.code_location import code_location_name, job_origin
from pipeline_assets.settings import PROJECT_ROOT

NAMED = '[tool.dg.project]\nroot_module = "shop"\ncode_location_name = "shop-eu"\n'
UNNAMED = '[tool.dg.project]\nroot_module = "shop"\n'
DG_TOML = 'directory_type = "project"\n[project]\nroot_module = "till"\ncode_location_name = "till-de"\n'


@pytest.mark.parametrize(
    ("files", "name", "module"),
    [
        ({"pyproject.toml": NAMED}, "shop-eu", "shop.definitions"),
        ({"pyproject.toml": UNNAMED}, "folder", "shop.definitions"),
        ({"dg.toml": DG_TOML, "pyproject.toml": NAMED}, "till-de", "till.definitions"),
        ({"pyproject.toml": "[project]\nname = 'x'\n"}, "folder", "pipeline_assets.definitions"),
        ({"pyproject.toml": "not toml ["}, "folder", "pipeline_assets.definitions"),
        ({}, "folder", "pipeline_assets.definitions"),
    ],
)
def test_the_name_is_what_dg_calls_the_project(tmp_path: Path, files: dict[str, str], name: str, module: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for file, content in files.items():
        (folder / file).write_text(content)
    assert code_location_name(folder) == name
    origin = job_origin("build_days", folder)
    assert (origin.location_name, origin.job_name) == (name, "build_days")
    assert origin.repository_origin.code_location_origin.loadable_target_origin.module_name == module


def test_the_clone_is_called_the_same_by_dg_and_by_its_workspace() -> None:
    (location,) = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text())["load_from"]
    assert code_location_name() == location["python_module"]["location_name"]
    assert job_origin("x").repository_origin.get_label() == f"__repository__@{code_location_name()}"
