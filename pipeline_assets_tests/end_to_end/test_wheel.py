"""The package as others have it: built as a wheel, installed into another environment, used in folders of theirs."""

import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline_assets.settings import PROJECT_ROOT
from pipeline_assets_tests.end_to_end.deployment import without_progress
from pipeline_assets_tests.end_to_end.test_files import click
from pipeline_assets_tests.foreign_projects import add_pipeline


def run(*command: str | Path, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIPELINE_", "DAGSTER_"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it; what it depends on is found in this one."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=PROJECT_ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    python = environment / "bin" / "python"
    offline = ("--quiet", "--offline", "--no-index", "--no-deps", "--python", python)
    done = run(sys.executable, "-m", "uv", "pip", "install", *offline, wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    return environment


def files(environment: Path) -> set[tuple[Path, int]]:
    return {(file, file.stat().st_mtime_ns) for file in environment.rglob("*") if file.is_file()}


def test_it_says_its_version_and_has_its_types_and_the_instances_configuration(installed: Path, tmp_path: Path) -> None:
    program = """
import sys
import pipeline_assets
assert not [name for name in sys.modules if name.startswith(("dagster", "polars"))]
print(pipeline_assets.__version__)
print(pipeline_assets.__file__)
print(pipeline_assets.Settings.from_environment().project_dir)
"""
    said = run(installed / "bin" / "python", "-c", program, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    number, file, project = said.stdout.splitlines()
    package = Path(file).parent
    assert number == version("pipeline-assets")
    assert package.is_relative_to(installed)
    assert (package / "py.typed").exists()
    assert (package / "dagster.yaml").read_bytes() == (PROJECT_ROOT / "dagster.yaml").read_bytes()
    assert project == str(tmp_path)
    for page in ("README.md", "docs/sources.md", "docs/model/channels.md"):
        assert (package / page).read_bytes() == (PROJECT_ROOT / page).read_bytes()
    helped = run(installed / "bin" / "pipeline-assets", "--help", cwd=tmp_path, COLUMNS="1000")
    assert f"README.md and docs are in {package}" in helped.stdout


@pytest.mark.parametrize("arguments", [["refresh"], ["status"], ["stop"]], ids=lambda arguments: arguments[0])
def test_where_nothing_is_declared_it_says_what_to_do_and_does_nothing(
    installed: Path, tmp_path: Path, arguments: list[str]
) -> None:
    refused = run(installed / "bin" / "pipeline-assets", *arguments, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    said = " ".join(refused.stderr.split())
    assert said.startswith(f"Nothing is declared for {tmp_path}. Make a project with `pipeline-assets init FOLDER`, or")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_declarations_of_its_own_is_all_it_needs(
    installed: Path, tmp_path: Path, postgres_url: str
) -> None:
    before = files(installed)
    project = tmp_path / "shop"
    add_pipeline(project)
    (project / ".env").write_text(
        "PIPELINE_DEFS_DIR=shop/defs/clickstream\nPIPELINE_TABLES=sessions\nPIPELINE_FIRST_DAY=2026-01-01\n"
        f"PIPELINE_POSTGRES_URL='{postgres_url}'\n"
    )
    (project / "shop" / "numbers.py").write_text("SEVEN = 7\n")
    landing = project / "data" / "landing" / "clicks"
    landing.mkdir(parents=True)
    (landing / "a.jsonl").write_text(click(1) + click(2))
    command = installed / "bin" / "pipeline-assets"
    refreshed = run(command, "refresh", cwd=project / "shop")
    assert (refreshed.returncode, without_progress(refreshed.stderr)) == (0, "")
    counted = run(command, "sql", "select events from marts.sessions", cwd=project)
    assert counted.stdout == "events\n2\n"
    assert sorted(path.name for path in project.iterdir()) == [".env", "data", "shop"]
    assert (project / "data" / "lake" / "deployment.json").exists()
    assert files(installed) == before
    refused = run(command, "demo", cwd=project)
    assert refused.returncode == 1
    assert "the demo does not belong among data of your own" in " ".join(refused.stderr.split())


def test_the_demo_is_loaded_by_dagster_where_it_was_made(installed: Path, tmp_path: Path) -> None:
    program = "from pipeline_assets.definitions import defs; print(len(list(defs().assets)))"
    refused = run(installed / "bin" / "python", "-c", program, cwd=tmp_path)
    assert "SettingsError: Nothing is declared for" in refused.stderr
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo_truth.json").write_text("{}")
    loaded = run(installed / "bin" / "python", "-c", program, cwd=tmp_path)
    assert int(loaded.stdout) > 20, loaded.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "demo_truth.json"]
