"""The Dagster components of analyses."""

from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.scaffold.scaffold import NoParams, get_scaffolder

from pipeline_assets import components
from pipeline_assets.analyses.kinds import KINDS
from pipeline_assets.analyses.loading import PACKAGE, load_analyses
from pipeline_assets.build import build_defs
from pipeline_assets.component_tree.loading import ReadDeclarations, declared
from pipeline_assets.components.analyses import AnalysisComponent
from pipeline_assets.declarations import analyses as declaration
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.settings import Settings
from pipeline_assets_tests.analyses.declaring import CONVERSION, FUNNEL, PATHS, declare


def dg_keys(definitions: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}


def component(name: str) -> type[AnalysisComponent]:
    found = getattr(components, name)
    assert issubclass(found, AnalysisComponent)
    return found


@pytest.mark.parametrize("name", KINDS)
def test_the_attributes_of_a_component_are_those_of_its_declaration(name: str):
    model = getattr(declaration, name)
    assert component(name).kind.model is model is KINDS[name].model
    told = component(name).get_model_cls()
    assert told is not None
    # The editor's help for YAML files is made of it.
    schema = told.model_json_schema()
    assert schema["type"] == "object"
    assert schema["properties"].keys() == model.model_fields.keys()
    assert schema.get("required", []) == model.model_json_schema().get("required", [])


@pytest.mark.parametrize("name", KINDS)
def test_a_component_says_in_one_line_what_it_is(name: str):
    (line,) = (component(name).__doc__ or "").splitlines()
    assert line.endswith(".")


@pytest.mark.parametrize("name", KINDS)
def test_the_declaration_to_start_from_can_be_loaded(tmp_path: Path, name: str):
    scaffolder = get_scaffolder(component(name))
    assert isinstance(scaffolder, dg.Scaffolder)
    request = dg.ScaffoldRequest(
        type_name=f"{PACKAGE}.{name}",
        target_path=tmp_path / "mine",
        scaffold_format="yaml",
        project_root=tmp_path,
        params=NoParams(),
    )
    request.target_path.mkdir()
    scaffolder.scaffold(request)
    written = yaml.safe_load((tmp_path / "mine/defs.yaml").read_text())
    assert written["type"] == f"{PACKAGE}.{name}"
    declare(tmp_path, CONVERSION, "purchase")
    if name == "Table":
        # Whose module is the team's to write.
        with pytest.raises(DeclarationError, match=r"mine/defs\.yaml:4:9: there is no module my_package"):
            load_analyses(tmp_path)
        return
    load_analyses(tmp_path)


@pytest.mark.parametrize("name", ["Conversion", "Channels", "Currencies"])
def test_what_others_make_use_of_has_no_assets(name: str, tmp_path: Path):
    given = {"Conversion": {"event": "x"}, "Channels": {}, "Currencies": {"reporting": "EUR"}}[name]
    declare(tmp_path, yaml.safe_dump({"type": f"{PACKAGE}.{name}", "attributes": given}), "mine")
    declarations = ReadDeclarations(Settings.for_data_dir(tmp_path, defs_dir=tmp_path))
    built = []
    declarations.definitions(lambda declared: built.append(declared.name) or dg.Definitions())
    assert built == ["mine"]
    assert "mine" not in dg_keys(build_defs(Settings.for_data_dir(tmp_path, defs_dir=tmp_path)))


def test_the_mistakes_of_sources_and_analyses_are_told_together_and_once(tmp_path: Path):
    source = "type: pipeline_assets.components.EventSource\nattributes: {pth: x}\n"
    first = declare(tmp_path, source, "a")
    second = declare(tmp_path, FUNNEL + "  windw: 7d\n", "b")
    third = declare(tmp_path, PATHS + "   bad: [\n", "c")
    with pytest.raises(DeclarationError) as caught:
        build_defs(Settings.for_data_dir(tmp_path, defs_dir=tmp_path))
    lines = str(caught.value).splitlines()
    assert f"{first}:2:14: unknown attribute 'pth'; did you mean 'path'?" in lines
    assert f"{second}:6:3: unknown attribute 'windw'; did you mean 'window'?" in lines
    assert [line for line in lines if line.startswith(str(third))] == [
        f"{third}:4:7: not valid YAML: mapping values are not allowed here"
    ]


def test_sources_and_analyses_of_a_deployment_are_read_together(tmp_path: Path):
    sources, analyses = declared(Settings.for_data_dir(tmp_path))
    assert [source.name for source in sources] == ["app", "devices", "web"]
    assert [conversion.name for conversion in analyses.of(declaration.Conversion)] == ["purchase"]
