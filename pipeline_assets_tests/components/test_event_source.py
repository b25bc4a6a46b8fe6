import time
from pathlib import Path

import dagster as dg
import pytest

from pipeline_assets.components import EventSource
from pipeline_assets.components.loading import component_definitions
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.loading import DeclarationError

DECLARATIONS = Path(__file__).parents[1] / "declarations"


def keys(definitions: dg.Definitions) -> set[str]:
    return {spec.key.to_user_string() for asset in definitions.assets or [] for spec in getattr(asset, "specs", [])}


def test_a_folder_of_declarations_takes_the_place_of_the_demos(tmp_path: Path):
    assert keys(component_definitions(Settings.for_data_dir(tmp_path))) == {
        "staging/web",
        "staging/app",
        "staging/devices",
    }
    own = keys(component_definitions(Settings.for_data_dir(tmp_path, defs_dir=DECLARATIONS)))
    assert own == {"staging/access_log", "staging/online_retail"}


def test_loading_the_components_is_cheap(tmp_path: Path):
    settings = Settings.for_data_dir(tmp_path, defs_dir=DECLARATIONS)
    component_definitions(settings)
    start = time.process_time()
    component_definitions(settings)
    assert time.process_time() - start < 1


def test_a_mistake_is_told_in_our_words_before_dagster_loads_anything(tmp_path: Path):
    file = tmp_path / "shop/defs.yaml"
    file.parent.mkdir()
    file.write_text((DECLARATIONS / "access_log/defs.yaml").read_text().replace("event_type:", "event_typ:"))
    with pytest.raises(DeclarationError) as caught:
        component_definitions(Settings.for_data_dir(tmp_path, defs_dir=tmp_path))
    assert str(caught.value) == f"{file}:10:5: unknown column 'event_typ'; did you mean 'event_type'?"


def test_the_attributes_of_the_component_are_those_of_a_source():
    assert EventSource.get_model_cls() is Source
