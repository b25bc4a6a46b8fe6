"""A pipeline in the `defs` of a Dagster project: where it may stand, and what may stand in it."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest
import yaml
from dagster.components.scaffold.scaffold import NoParams, get_scaffolder

from pipeline_assets.build import build_defs
from pipeline_assets.component_tree.loading import declared, importable_as
from pipeline_assets.components import EventPipeline
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.settings import Settings
from pipeline_assets.storage.opening import open_store
from pipeline_assets.undeclared import declarations, write_copy
from pipeline_assets_tests.analyses.declaring import CONVERSION, FUNNEL
from pipeline_assets_tests.foreign_projects import PIPELINE, add_pipeline, write_project


@pytest.fixture(autouse=True)
def plain_environment() -> Iterator[None]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PIPELINE_", "DAGSTER_"))}
    with mock.patch.dict(os.environ, plain, clear=True):
        yield


@pytest.fixture
def new_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """A function that makes an importable project, with what its `.env` sets."""
    known = set(sys.modules)

    def make(name: str = "pipelined", **variables: str) -> Path:
        project = write_project(tmp_path, name, PIPELINE_NAMESPACE="acme", PIPELINE_TABLES="sessions", **variables)
        monkeypatch.syspath_prepend(str(project))
        return project

    yield make
    for name in set(sys.modules) - known:
        if name.split(".")[0] == "pipelined":
            del sys.modules[name]


def load(project: Path) -> set[str]:
    """Keys of the assets that Dagster loads of a project."""
    definitions = dg.load_from_defs_folder(path_within_project=project)
    return {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}


def refusal(project: Path) -> str:
    """Why Dagster cannot load a project: the innermost error's words."""
    with pytest.raises(Exception) as caught:
        load(project)
    error: BaseException | None = caught.value
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def test_it_brings_all_that_is_declared_below_it_and_python_files_beside_that(new_project: Callable[..., Path]) -> None:
    project = new_project()
    add_pipeline(project)
    expected = {"events", "sessions", "weekly", "acme/staging/clicks", "acme/staged_days"}
    expected |= {"acme/events", "acme/sessions"}
    assert load(project) == expected
    (project / ".env").write_text("PIPELINE_DEFS_DIR=pipelined/defs/clickstream\nPIPELINE_TABLES=sessions\n")
    # Only where it stands does the command line find it, as Dagster does.
    found = build_defs(Settings.for_project(project)).resolve_asset_graph().get_all_asset_keys()
    without_namespace = {"events", "sessions", "staging/clicks", "staged_days", "weekly"}
    assert {key.to_user_string() for key in found} == without_namespace | {"acme/sessions"}


def test_what_its_file_says_of_its_assets_holds_for_all_of_them(new_project: Callable[..., Path]) -> None:
    project = new_project()
    file = add_pipeline(project) / "defs.yaml"
    file.write_text(f"{PIPELINE}post_processing:\n  assets: [{{attributes: {{tags: {{team: growth}}}}}}]\n")
    specs = dg.load_from_defs_folder(path_within_project=project).resolve_all_asset_specs()
    tagged = {spec.key.to_user_string() for spec in specs if spec.tags.get("team") == "growth"}
    assert tagged == {"weekly", "acme/staging/clicks", "acme/staged_days", "acme/events", "acme/sessions"}


def test_settings_that_name_another_folder_are_refused_with_what_to_put_into_the_file(
    new_project: Callable[..., Path],
) -> None:
    project = new_project(PIPELINE_DEFS_DIR="pipelined/defs")
    folder = add_pipeline(project)
    said = refusal(project)
    assert said == (
        f"PIPELINE_DEFS_DIR names {project}/pipelined/defs, but the EventPipeline of this project is in {folder}: the "
        f"command line would work on other declarations than Dagster. Put into {project}/.env "
        "PIPELINE_DEFS_DIR=pipelined/defs/clickstream, and take it out of the environment."
    )
    with pytest.raises(DeclarationError, match=r"clickstream/defs\.yaml:1:7: an EventPipeline within another"):
        build_defs(Settings.for_project(project))


def test_nothing_else_stands_in_its_file(tmp_path: Path) -> None:
    (tmp_path / "defs.yaml").write_text(f"{PIPELINE}---\n{CONVERSION}")
    with pytest.raises(DeclarationError, match=r"defs\.yaml:3:7: nothing else is declared in the file of an"):
        build_defs(Settings.for_data_dir(tmp_path, defs_dir=tmp_path))


def test_a_second_one_is_refused_with_both_places(new_project: Callable[..., Path]) -> None:
    project = new_project()
    places = [f"{add_pipeline(project, name)}/defs.yaml:1" for name in ("a", "b")]
    assert f"there are 2: {', '.join(places)}." in refusal(project)


@pytest.mark.parametrize("declaration", ["source", CONVERSION, FUNNEL])
def test_a_declaration_outside_of_one_is_refused_before_anything_runs(
    new_project: Callable[..., Path], declaration: str
) -> None:
    project = new_project()
    clickstream = add_pipeline(project)
    if declaration == "source":
        declaration = (clickstream / "clicks" / "defs.yaml").read_text()
    alone = project / "pipelined" / "defs" / "alone"
    alone.mkdir()
    (alone / "defs.yaml").write_text(declaration)
    said = refusal(project)
    assert said.startswith(f"{alone}: what is declared here belongs to no pipeline")
    assert "dg scaffold defs pipeline_assets.components.EventPipeline NAME" in said


def test_mistakes_below_it_are_told_in_our_words(new_project: Callable[..., Path]) -> None:
    project = new_project()
    file = add_pipeline(project) / "clicks" / "defs.yaml"
    file.write_text(file.read_text().replace("event_name:", "event_nam:"))
    assert f"{file}:7:5: unknown column 'event_nam'; did you mean 'event_name'?" in refusal(project)


def test_scaffolding_one_writes_what_the_command_line_needs_and_nothing_that_is_there(tmp_path: Path) -> None:
    def scaffold(project: Path) -> Path:
        folder = project / "shop" / "defs" / "clickstream"
        folder.mkdir(parents=True)
        scaffolder = get_scaffolder(EventPipeline)
        assert isinstance(scaffolder, dg.Scaffolder)
        scaffolder.scaffold(
            dg.ScaffoldRequest("pipeline_assets.components.EventPipeline", folder, "yaml", project, NoParams())
        )
        written = yaml.safe_load((folder / "defs.yaml").read_text())
        assert written == {"type": "pipeline_assets.components.EventPipeline", "attributes": {}}
        return project / ".env"

    assert scaffold(tmp_path / "new").read_text() == "PIPELINE_DEFS_DIR=shop/defs/clickstream\n"
    # Else the UI would know nothing of what `refresh` has built.
    assert "PipelinePostgresStorage" in (tmp_path / "new" / "dagster.yaml").read_text()
    assert stat.S_IMODE((tmp_path / "new" / ".env").stat().st_mode) == 0o600
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / ".env").write_text("SECRET=1")
    (tmp_path / "old" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert scaffold(tmp_path / "old").read_text() == "SECRET=1\nPIPELINE_DEFS_DIR=shop/defs/clickstream\n"
    assert (tmp_path / "old" / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / ".env").write_text("PIPELINE_DEFS_DIR=elsewhere\n")
    assert scaffold(tmp_path / "set").read_text() == "PIPELINE_DEFS_DIR=elsewhere\n"


def test_an_empty_event_pipeline_declares_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "defs.yaml").write_text(PIPELINE)
    keys = build_defs(Settings.for_data_dir(tmp_path, defs_dir=tmp_path)).resolve_asset_graph().get_all_asset_keys()
    assert not [key for key in keys if key.path[0] == "staging"]


def test_a_folder_is_imported_as_its_project_calls_it_and_any_other_under_a_name_of_its_own(tmp_path: Path) -> None:
    path = list(sys.path)
    try:
        for project in (tmp_path, tmp_path / "src"):
            assert importable_as(project / "shop" / "defs", tmp_path) == "shop.defs"
            assert sys.path[-1] == str(project)
    finally:
        sys.path[:] = path
    first, second = (importable_as(tmp_path / name, None) for name in ("a-b", "c"))
    assert first != second
    (tmp_path / "a-b").mkdir()
    (tmp_path / "a-b" / "own.py").write_text("X = 1\n")
    assert __import__(f"{first}.own", fromlist=["X"]).X == 1
    assert importable_as(tmp_path / "a-b", tmp_path) == first


def test_whoever_lists_the_components_imports_no_platform() -> None:
    code = "import sys, pipeline_assets.components; sys.exit('pipeline_assets.platform' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert EventPipeline.get_description()


def test_what_a_declaration_seems_to_get_wrong_is_told_when_a_project_is_loaded(
    new_project: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    project = new_project()
    add_pipeline(project)
    landing = project / "data" / "landing" / "clicks"
    landing.mkdir(parents=True)
    (landing / "a.jsonl").write_text('{"id": "e1", "nmae": "secret", "type": "page", "time": "x", "visitor": "v"}\n')
    load(project)
    told = [record.getMessage() for record in caplog.records if record.name == "pipeline_assets.build"]
    assert told == [
        "Source clicks: event_name: the column 'name' is not in the file in landing whose beginning was looked at; did "
        "you mean 'nmae'?"
    ]


def test_a_source_that_was_loaded_as_it_is_declared_is_not_judged_by_a_few_records(
    new_project: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    project = new_project()
    folder = add_pipeline(project)
    landing = project / "data" / "landing" / "clicks"
    landing.mkdir(parents=True)
    (landing / "a.jsonl").write_text('{"id": "e1", "type": "page", "time": "x", "visitor": "v"}\n')
    settings = replace(Settings.for_project(project), defs_dir=folder)
    write_copy(open_store(settings.lake_url), declarations(*declared(settings)))
    load(project)
    assert not [record for record in caplog.records if record.name == "pipeline_assets.build"]
    file = folder / "clicks" / "defs.yaml"
    file.write_text(file.read_text().replace("event_id: id", "event_id: ident"))
    load(project)
    told = [record.getMessage() for record in caplog.records if record.name == "pipeline_assets.build"]
    assert [line.split(":")[1].strip() for line in told] == ["event_id", "event_name"]
