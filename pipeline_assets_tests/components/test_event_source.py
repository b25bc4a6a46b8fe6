from collections import Counter
from pathlib import Path

import pytest

from pipeline_assets.build import build_defs
from pipeline_assets.declarations.yaml_files import Document, Kind, read
from pipeline_assets.settings import Settings
from pipeline_assets.sources.loading import DeclarationError

DECLARATIONS = Path(__file__).parents[1] / "declarations"


def staging(settings: Settings) -> set[str]:
    keys = build_defs(settings).resolve_asset_graph().get_all_asset_keys()
    return {key.path[-1] for key in keys if key.path[0] == "staging"}


def test_a_folder_of_declarations_takes_the_place_of_the_demos(tmp_path: Path):
    assert staging(Settings.for_data_dir(tmp_path)) == {"web", "app", "devices"}
    own = Settings.for_data_dir(tmp_path, defs_dir=DECLARATIONS)
    assert staging(own) == {"access_log", "online_retail"}


def test_every_declaration_is_read_and_checked_once_for_the_definitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    times = Counter[str]()

    def counted(document: Document, kind: Kind) -> object:
        times[document.file.parent.name] += 1
        return read(document, kind)

    for loading in ("sources", "analyses"):
        monkeypatch.setattr(f"pipeline_assets.{loading}.loading.read", counted)
    build_defs(Settings.for_data_dir(tmp_path))
    assert {"web", "app", "devices", "checkout_funnel"} <= times.keys()
    assert set(times.values()) == {1}


def test_a_mistake_is_told_in_our_words_before_dagster_loads_anything(tmp_path: Path):
    file = tmp_path / "shop/defs.yaml"
    file.parent.mkdir()
    file.write_text((DECLARATIONS / "access_log/defs.yaml").read_text().replace("event_type:", "event_typ:"))
    with pytest.raises(DeclarationError) as caught:
        build_defs(Settings.for_data_dir(tmp_path, defs_dir=tmp_path))
    assert str(caught.value) == f"{file}:10:5: unknown column 'event_typ'; did you mean 'event_type'?"
