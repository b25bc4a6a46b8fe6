import dataclasses
from importlib import metadata
from pathlib import Path

import pytest

from pipeline_assets.ledger.builds import STAGING, Input
from pipeline_assets.recipes import build_recipes
from pipeline_assets.settings import Settings
from pipeline_assets.transforms import channels, user_agents
from pipeline_assets.transforms.events import look_back_days
from pipeline_assets_tests.sources.staging_rows import source


def versions(folder: Path) -> dict[str, str]:
    recipes = build_recipes([source()], Settings.for_data_dir(folder))
    return {recipe.table: recipe.version for recipe in recipes}


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [table for table in before if before[table] != after[table]]


def test_events_get_a_new_version_with_the_rules_of_user_agents_and_sessions_with_those_of_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = versions(tmp_path)
    assert versions(tmp_path) == before
    with monkeypatch.context() as newer:
        newer.setattr(user_agents, "rules_version", lambda: ("999", "999"))
        assert changed(before, versions(tmp_path)) == ["events"]
    with monkeypatch.context() as newer:
        newer.setattr(channels, "rules_version", lambda: ("ga4", "999", ""))
        assert changed(before, versions(tmp_path)) == ["sessions"]


def test_the_rules_of_user_agents_are_those_of_the_installed_packages() -> None:
    assert user_agents.rules_version() == (metadata.version("ua-parser"), metadata.version("ua-parser-builtins"))


def test_the_rules_of_channels_are_their_version_and_the_list_of_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = channels.rules_version()
    assert channels.rules_version(dataclasses.replace(channels.GA4, version="999")) != version
    longer = tmp_path / "categories.csv"
    longer.write_bytes(channels._CATEGORIES.read_bytes() + b"new.example,SOURCE_CATEGORY_SEARCH\n")
    monkeypatch.setattr(channels, "_CATEGORIES", longer)
    assert channels.rules_version() != version


@pytest.mark.parametrize("dedup_days", [0, 1, 5])
def test_events_read_as_many_days_of_staging_as_the_transform_looks_back(tmp_path: Path, dedup_days: int) -> None:
    events, *_ = build_recipes([source(dedup_days=dedup_days)], Settings.for_data_dir(tmp_path))
    assert events.inputs == (Input(STAGING, before=look_back_days({"web": dedup_days})),)
