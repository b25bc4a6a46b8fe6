"""What Dagster lets a component's file say, all of it tried on sources and analyses."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipeline_assets.build import build_defs
from pipeline_assets.component_tree.loading import declared
from pipeline_assets.components import ANALYSES, EventSource
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.settings import Settings
from pipeline_assets.sources.loading import load_sources
from pipeline_assets_tests.analyses.declaring import FUNNEL
from pipeline_assets_tests.end_to_end.deployment import CLICKS
from pipeline_assets_tests.foreign_projects import add_pipeline, write_project

POST_PROCESSING = """\
post_processing:
  assets:
    - target: "*"
      attributes:
        tags: {team: growth}
        owners: ["team:growth"]
        group_name: growth
        automation_condition: "{{ dg.AutomationCondition.eager() }}"
"""
PURCHASES = CLICKS.replace("path: clicks/*", "path: purchases/*\n  name: purchases")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    known = set(sys.modules)
    yield tmp_path / "defs"
    for name in set(sys.modules) - known:
        if name.startswith("pipeline_declarations_"):
            del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    """Files below a folder: `a__b` is `a/b/defs.yaml`, and `a__b_py` is `a/b_py.py`."""
    for name, text in files.items():
        *parents, last = name.split("__")
        file = folder.joinpath(*parents, f"{last}.py" if last.endswith("_py") else f"{last}/defs.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def settings(folder: Path) -> Settings:
    return Settings.for_data_dir(folder.parent / "data", defs_dir=folder)


def specs(folder: Path) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in build_defs(settings(folder)).resolve_all_asset_specs()}


def mistakes(folder: Path) -> list[str]:
    with pytest.raises(DeclarationError) as caught:
        build_defs(settings(folder))
    return str(caught.value).splitlines()


def test_post_processing_changes_the_assets_of_a_source_and_of_an_analysis(folder: Path) -> None:
    write(folder, clicks=CLICKS + POST_PROCESSING, buying=FUNNEL + POST_PROCESSING)
    found = specs(folder)
    for key in ("staging/clicks", "buying"):
        assert found[key].tags["team"] == "growth", key
        assert found[key].owners == ["team:growth"], key
        assert found[key].group_name == "growth", key
        assert found[key].automation_condition is not None, key
        assert found[key].metadata["dagster/code_references"], key
    assert "team" not in found["events"].tags


def test_post_processing_of_a_folder_reaches_all_below_it(folder: Path) -> None:
    root = "type: dagster.DefsFolderComponent\n" + POST_PROCESSING
    write(folder, team=root, team__clicks=CLICKS, team__buying=FUNNEL, other=PURCHASES)
    found = specs(folder)
    assert {key for key, spec in found.items() if spec.tags.get("team") == "growth"} == {"staging/clicks", "buying"}


def test_a_file_may_declare_several(folder: Path) -> None:
    write(folder, all=f"{CLICKS}---\n{PURCHASES}---\n{FUNNEL}  name: buying\n{POST_PROCESSING}")
    found = specs(folder)
    assert {"staging/all", "staging/purchases", "buying"} <= found.keys()
    assert found["buying"].tags["team"] == "growth"
    assert "team" not in found["staging/all"].tags


def test_the_environment_fills_in_templates_for_dagster_and_the_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKS_FOLDER", "clicks of today")
    monkeypatch.setenv("MOST_BROKEN", "0.25")
    templated = CLICKS.replace("clicks/*", '"{{ env.CLICKS_FOLDER }}/*"').replace("0.5", "\"{{ env('MOST_BROKEN') }}\"")
    write(folder, clicks=templated)
    (source,), _ = declared(settings(folder))
    assert (source.path, source.bounds.quarantined) == ("clicks of today/*", 0.25)
    assert "`clicks of today/*`" in (specs(folder)["staging/clicks"].description or "")


def test_a_modules_template_variables_hold_in_its_file_and_those_of_a_folder_below_it(folder: Path) -> None:
    variables = "import dagster as dg\n\n@dg.template_var\ndef pattern():\n    return 'own/*'\n"
    write(
        folder,
        clicks=CLICKS.replace("clicks/*", "'{{ pattern }}'") + "template_vars_module: .variables_py\n",
        clicks__variables_py=variables,
        team="type: dagster.DefsFolderComponent\ntemplate_vars_module: .variables_py\n",
        team__variables_py=variables.replace("own", "of the team"),
        team__bought=CLICKS.replace("clicks/*", "'{{ pattern }}'"),
    )
    sources, _ = declared(settings(folder))
    assert {source.name: source.path for source in sources} == {"clicks": "own/*", "bought": "of the team/*"}
    assert {"staging/clicks", "staging/bought"} <= specs(folder).keys()


def test_what_is_wrong_with_a_template_is_told_with_its_place_beside_all_other_mistakes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINDOW", "soon")
    write(
        folder,
        a=CLICKS.replace("clicks/*", "'{{ env.NOT_SET }}/*'"),
        b=CLICKS.replace("clicks/*", "'{{ pattren }}'"),
        c=FUNNEL + "  window: '{{ env.WINDOW }}'\n",
        d=CLICKS.replace("path:", "pth:"),
    )
    found = mistakes(folder)
    assert f"{folder}/a/defs.yaml:3:9: {{{{ env.NOT_SET }}}}/*: the environment variable NOT_SET is not set" in found
    assert any(line.startswith(f"{folder}/b/defs.yaml:3:9: {{{{ pattren }}}} cannot be filled in: ") for line in found)
    assert any(line.startswith(f"{folder}/c/defs.yaml:6:11: window: ") and "'soon'" in line for line in found)
    assert f"{folder}/d/defs.yaml:3:3: unknown attribute 'pth'; did you mean 'path'?" in found
    # Whoever reads without Dagster says so, and does not take the text for the value.
    with pytest.raises(DeclarationError, match=r"defs\.yaml:3:9: .* is a template, which only Dagster fills in"):
        load_sources(folder / "b")


def test_a_module_of_template_variables_that_cannot_be_loaded_is_told(folder: Path) -> None:
    write(folder, a=CLICKS.replace("clicks/*", "'{{ x }}'") + "template_vars_module: .absent\n")
    (line,) = mistakes(folder)
    assert line.startswith(f"{folder}: Dagster cannot fill in templates here: No module named")


def test_requirements_are_dagsters_to_check(folder: Path) -> None:
    write(folder, clicks=CLICKS + "requirements:\n  env: [NOT_SET]\n")
    assert "staging/clicks" in specs(folder)


def test_nothing_is_declared_where_dagster_does_not_look(folder: Path) -> None:
    hidden = folder / ".ipynb_checkpoints" / "clicks" / "defs.yaml"
    hidden.parent.mkdir(parents=True)
    hidden.write_text(CLICKS)
    write(folder, clicks=CLICKS)
    (source,), _ = declared(settings(folder))
    assert source.name == "clicks"
    write(folder, clicks__more=PURCHASES)
    (line,) = mistakes(folder)
    above = f"{folder}/clicks/defs.yaml declares something in a folder above, below which Dagster looks for nothing"
    assert line == f"{folder}/clicks/more/defs.yaml:1:7: {above}; move one of them into a folder of its own"


def test_a_source_that_python_declares_is_refused_and_told_where_it_belongs(folder: Path) -> None:
    write(
        folder,
        clicks=CLICKS,
        own_py="import dagster as dg\nfrom pipeline_assets.components import EventSource\n\n"
        "@dg.component_instance\ndef mine(context) -> EventSource:\n    return EventSource()\n",
    )
    with pytest.raises(Exception) as caught:
        build_defs(settings(folder))
    error: BaseException = caught.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert "EventSource is a component for YAML (`type: pipeline_assets.components.EventSource`)" in str(error)


def test_the_schema_lets_a_template_stand_for_any_value_and_knows_every_key() -> None:
    for component in (EventSource, ANALYSES["Funnel"]):
        model = component.get_model_cls()
        assert model is not None
        schema = model.model_json_schema()
        assert "$defs" not in schema
        assert schema["additionalProperties"] is False
    model = ANALYSES["Funnel"].get_model_cls()
    assert model is not None
    steps = model.model_json_schema()["properties"]["steps"]
    assert any(choice.get("pattern") == r"\{[{%]" for choice in steps["anyOf"])


@pytest.mark.exhaustive
def test_dg_check_accepts_templates_and_refuses_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write_project(tmp_path, "checked", PIPELINE_TABLES="sessions", CLICKS_FOLDER="x")
    clicks = add_pipeline(project) / "clicks" / "defs.yaml"
    monkeypatch.setenv("PYTHONPATH", str(project))
    dg_command = shutil.which("dg", path=str(Path(sys.executable).parent))
    assert dg_command is not None

    def check() -> subprocess.CompletedProcess[str]:
        command = [dg_command, "check", "yaml"]
        return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300, check=False)

    clicks.write_text(clicks.read_text().replace("clicks/*", '"{{ env.CLICKS_FOLDER }}/*"') + POST_PROCESSING)
    done = check()
    assert done.returncode == 0, done.stdout + done.stderr
    clicks.write_text(clicks.read_text().replace("format:", "formt:"))
    done = check()
    assert done.returncode != 0
    assert "formt" in done.stdout + done.stderr
