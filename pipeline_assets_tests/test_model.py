"""Every table of a deployment: what it reads, and what makes it stale."""

import dataclasses
import importlib
import inspect
import pkgutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from pipeline_assets import derivation, transforms
from pipeline_assets.analyses.declaration import (
    Attribution,
    Conversion,
    Currencies,
    Funnel,
    Paths,
    Rate,
    Retention,
    Step,
)
from pipeline_assets.analyses.loading import STANDARD_TABLES, Analyses
from pipeline_assets.code_version import reached
from pipeline_assets.components.loading import declared
from pipeline_assets.contracts.staged_events import StagedEvents
from pipeline_assets.contracts.tables import BACKBONE
from pipeline_assets.model import Model
from pipeline_assets.planning import STAGING, Input
from pipeline_assets.settings import Settings, SettingsError
from pipeline_assets.sources.declaration import Source
from pipeline_assets.transforms import channels, events, user_agents
from pipeline_assets.transforms.events import build_events, look_back_days
from pipeline_assets_tests.sources.staging_rows import source

SUPPLIED = {"mode": "supplied", "max_session_days": 3}
MAPPING = {"event_id": "id", "occurred_at": "time", "anonymous_id": "visitor", "session_id_supplied": "session"}
FUNNEL = Funnel(name="f", by="visitor", steps=(Step(name="a", event="a"), Step(name="b", event="b")))


def model(folder: Path, *sources: Source, analyses: Analyses | None = None, tables: tuple[str, ...] = ()) -> Model:
    settings = Settings.for_data_dir(folder, tables=tables)
    return Model.of(list(sources) or [source()], analyses or Analyses(), settings)


def versions(folder: Path, **options: Any) -> dict[str, str]:
    return {name: recipe.version for name, recipe in model(folder, **options).recipes.items()}


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
        newer.setattr(channels, "rules_version", lambda _: ("ga4", "999", ""))
        assert changed(before, versions(tmp_path)) == ["sessions"]


def test_the_code_of_every_transform_is_part_of_the_version_of_a_table(tmp_path: Path) -> None:
    analyses = Analyses(
        conversions=(Conversion(name="sale", event="bought"),),
        funnels=(FUNNEL,),
        retentions=(Retention(name="r", by="person"),),
        paths=(Paths(name="p"), Paths(name="e", of="events")),
        attributions=(Attribution(name="credit", conversion="sale"),),
    )
    whole = model(tmp_path, source(mapping=MAPPING, sessions=SUPPLIED), analyses=analyses)
    functions = [function for each in whole.derived.values() for function in each.functions]
    found = reached(*functions, build_events)
    defined = {
        (name, each)
        for name in (f"{transforms.__name__}.{info.name}" for info in pkgutil.iter_modules(transforms.__path__))
        for each, value in vars(importlib.import_module(name)).items()
        if inspect.isfunction(value) and value.__module__ == name and each.startswith(("build_", "_"))
    }
    assert len(defined) > 100
    # The roots themselves are not among what they reach, and `__getattr__` serves tests and documentation.
    assert defined - found == {(events.__name__, "build_events"), (channels.__name__, "__getattr__")}


def test_a_helper_of_the_identities_makes_them_stale_and_not_what_they_are_made_of(tmp_path: Path) -> None:
    derived = model(tmp_path).derived
    helper = ("pipeline_assets.transforms.identities", "_component_ids")
    of = {name for name, each in derived.items() if helper in reached(*each.functions)}
    assert "identities" in of
    assert not of & {"sessions", "visitor_days", "page_views"}


def test_the_rules_of_user_agents_are_those_of_the_installed_packages() -> None:
    assert user_agents.rules_version() == (version("ua-parser"), version("ua-parser-builtins"))


def test_a_rate_makes_only_the_tables_stale_that_hold_reporting_amounts(tmp_path: Path) -> None:
    conversion = (Conversion(name="sale", event="bought"),)
    before = versions(tmp_path, analyses=Analyses(conversions=conversion, currencies=Currencies(reporting="EUR")))
    rated = Currencies(reporting="EUR", rates=(Rate(currency="USD", rate="0.9"),))
    after = versions(tmp_path, analyses=Analyses(conversions=conversion, currencies=rated))
    assert changed(before, after) == ["visitor_days", "campaigns", "products", "orders", "revenue", "conversions"]


def test_a_changed_funnel_makes_its_own_table_stale_and_no_other(tmp_path: Path) -> None:
    other = Retention(name="r")
    before = versions(tmp_path, analyses=Analyses(funnels=(FUNNEL,), retentions=(other,)))
    strict = FUNNEL.model_copy(update={"mode": "strict"})
    assert changed(before, versions(tmp_path, analyses=Analyses(funnels=(strict,), retentions=(other,)))) == ["f"]


@pytest.mark.parametrize("dedup_days", [0, 1, 5])
def test_events_read_as_many_days_of_staging_as_the_transform_looks_back(tmp_path: Path, dedup_days: int) -> None:
    events = model(tmp_path, source(dedup_days=dedup_days)).recipes["events"]
    assert events.inputs == (Input(STAGING, before=look_back_days({"web": dedup_days})),)


def test_sessions_read_one_day_to_either_side_and_with_supplied_ids_as_many_days_as_they_may_last(
    tmp_path: Path,
) -> None:
    assert model(tmp_path).recipes["sessions"].inputs == (Input("events", 1, 1),)
    supplied = model(tmp_path, source(), source(name="app", mapping=MAPPING, sessions=SUPPLIED))
    assert supplied.recipes["sessions"].inputs == (Input("events", 1, 3), Input("supplied_sessions"))
    assert not supplied.recipes["supplied_sessions"].is_daily


def test_a_funnel_reads_as_many_days_as_its_window_may_reach_into(tmp_path: Path) -> None:
    def days_after(**changes: Any) -> int:
        declared = Funnel.model_validate(FUNNEL.model_dump() | changes)
        (read,) = model(tmp_path, analyses=Analyses(funnels=(declared,))).recipes["f"].inputs
        return read.after

    # A moment of the day, seven days, and an hour by which a day may be longer.
    assert days_after(window="7d") == 8
    assert days_after(window="30m") == 1
    # Each step of three may come a whole window after the one before.
    steps = [{"name": name, "event": name} for name in "abc"]
    assert days_after(window="7d", window_from="previous", steps=steps) == 15


def test_what_is_about_people_reads_who_they_are_on_the_same_days(tmp_path: Path) -> None:
    analyses = Analyses(
        conversions=(Conversion(name="sale", event="bought"),),
        attributions=(Attribution(name="credit", conversion="sale", lookback_days=30, model_days=28),),
    )
    recipes = model(tmp_path, analyses=analyses).recipes
    assert recipes["credit"].inputs == (
        Input("conversions", 27), Input("sessions", 58), Input("person_days", 58),
    )  # fmt: skip
    by_visitor = analyses.attributions[0].model_copy(update={"by": "visitor", "models": ("last",)})
    recipes = model(tmp_path, analyses=dataclasses.replace(analyses, attributions=(by_visitor,))).recipes
    assert recipes["credit"].inputs == (Input("conversions"), Input("sessions", 31))


def test_every_table_comes_after_those_it_reads(tmp_path: Path) -> None:
    settings = Settings.for_data_dir(tmp_path)
    whole = Model.of(*declared(settings), settings)
    known = {STAGING}
    for name, recipe in whole.recipes.items():
        assert {needed.table for needed in recipe.inputs} <= known, name
        known.add(name)
    assert set(whole.recipes) == set(whole.tables)


def test_a_deployment_may_make_some_tables_only_and_those_they_are_made_of(tmp_path: Path) -> None:
    backbone = tuple(table.name for table in BACKBONE)
    assert set(model(tmp_path, tables=backbone).tables) == set(backbone)
    assert set(model(tmp_path, tables=("person_days",)).tables) == {
        "events", "sessions", "visitor_days", "identities", "person_days",
    }  # fmt: skip


@pytest.mark.parametrize("piece", derivation._ON_THE_WAY)
def test_code_that_stores_rows_or_makes_tables_in_part_is_part_of_every_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: str
) -> None:
    before = versions(tmp_path)
    others = tuple(each for each in derivation._ON_THE_WAY if each != piece)
    monkeypatch.setattr(derivation, "_ON_THE_WAY", others)
    after = versions(tmp_path)
    assert changed(before, after) == list(before)


def test_a_table_that_nothing_declares_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"PIPELINE_TABLES: there is no table 'sesions'; did you mean 'sessions'\?"):
        model(tmp_path, tables=("sesions",))


def test_the_names_that_no_analysis_may_have_are_those_of_the_standard_tables(tmp_path: Path) -> None:
    analyses = Analyses(conversions=(Conversion(name="sale"),), retentions=(Retention(name="r"),))
    supplied = source(name="app", mapping=MAPPING, sessions=SUPPLIED)
    assert set(model(tmp_path, supplied, analyses=analyses).tables) == STANDARD_TABLES | {"r"}


def test_every_column_says_what_it_is_made_of_and_that_exists(tmp_path: Path) -> None:
    settings = Settings.for_data_dir(tmp_path)
    supplied = source(name="app", mapping=MAPPING, sessions=SUPPLIED)
    tables = Model.of([supplied], declared(settings)[1], settings).tables

    columns = {name: set(table.contract.column_names()) for name, table in tables.items()}
    columns["staging"] = set(StagedEvents.column_names())
    for name, table in tables.items():
        for column, written in table.contract.columns().items():
            assert written.description, f"{name}.{column}"
            metadata = written.metadata or {}
            assert "made_of" in metadata, f"{name}.{column}"
            for made_of in metadata["made_of"]:
                origin, _, of = made_of.partition(".")
                assert of in columns.get(origin, ()), f"{name}.{column}: {made_of}"
