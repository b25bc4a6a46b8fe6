"""Every table of a deployment: what it reads, and what makes it stale."""

import dataclasses
import importlib
import inspect
import itertools
import pickle
import pkgutil
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from pipeline_assets import analyses as analyses_package
from pipeline_assets import tables, transforms
from pipeline_assets.code_version import _functions, reached
from pipeline_assets.component_tree.loading import declared
from pipeline_assets.declarations.analyses import (
    Analyses,
    Attribution,
    Conversion,
    Currencies,
    Funnel,
    Paths,
    Rate,
    Retention,
    Step,
)
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.planning import STAGING
from pipeline_assets.registry import TableSpecs, collect, in_order
from pipeline_assets.settings import Settings, SettingsError
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets.tables import sessions
from pipeline_assets.tables import spec as spec_module
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.events import look_back_days
from pipeline_assets.tables.fixed import fixed_tables
from pipeline_assets.tables.sessions import BY_VISITOR, Sessions
from pipeline_assets.tables.spec import Input, TableSpec, sums
from pipeline_assets.transforms import channels, user_agents
from pipeline_assets_tests.sources.staging_rows import source

SUPPLIED = {"mode": "supplied", "max_session_days": 3}
MAPPING = {"event_id": "id", "occurred_at": "time", "anonymous_id": "visitor", "session_id_supplied": "session"}
FUNNEL = Funnel(name="f", by="visitor", steps=(Step(name="a", event="a"), Step(name="b", event="b")))


def all_declared(settings: Settings) -> Declarations:
    sources, analyses = declared(settings)
    return Declarations(tuple(sources), analyses)


EVERY_KIND = Analyses(
    (
        Conversion(name="sale", event="bought"),
        FUNNEL,
        Retention(name="r", by="person"),
        Paths(name="p"),
        Paths(name="e", of="events"),
        Attribution(name="credit", conversion="sale"),
    )
)


def tables_of(*sources: Source, analyses: Analyses | None = None, only: tuple[str, ...] = ()) -> TableSpecs:
    return collect(Declarations(sources or (source(),), analyses or Analyses()), only=only)


def versions(**options: Any) -> dict[str, str]:
    return {name: spec.version for name, spec in tables_of(**options).items()}


def windows(spec: TableSpec) -> list[tuple[str, int, int]]:
    return [(each.table, each.before, each.after) for each in spec.inputs]


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [table for table in before if before[table] != after[table]]


def test_events_get_a_new_version_with_the_rules_of_user_agents_and_sessions_with_those_of_channels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = versions()
    assert versions() == before
    with monkeypatch.context() as newer:
        newer.setattr(user_agents, "package_versions", lambda: ("999", "999"))
        assert changed(before, versions()) == ["events"]
    with monkeypatch.context() as newer:
        newer.setattr(channels, "rule_set_version", lambda _: ("ga4", "999", ""))
        assert changed(before, versions()) == ["sessions"]


def test_the_code_of_every_transform_is_part_of_the_version_of_a_table() -> None:
    whole = tables_of(source(mapping=MAPPING, sessions=SUPPLIED), analyses=EVERY_KIND)
    found = reached(*(function for spec in whole.values() for function in spec.functions))
    checking = reached(*(check.find for spec in whole.values() for check in spec.checks))
    # Makers may have helpers.
    checking |= reached(
        *(
            f"{maker.__module__}:{maker.__name__}"
            for maker in fixed_tables().values()
            if isinstance(maker, FunctionType)
        )
    )
    roots = {
        (each.__module__, each.__name__)
        for spec in whole.values()
        for each in spec.functions
        if inspect.isfunction(each)
    }
    modules = [
        f"{package.__name__}.{info.name}"
        for package in (transforms, tables, analyses_package)
        for info in pkgutil.iter_modules(package.__path__)
        if package is transforms or f"{package.__name__}.{info.name}" in {name for name, _ in roots}
    ]
    defined = {
        (name, each)
        for name in modules
        for each, value in vars(importlib.import_module(name)).items()
        if inspect.isfunction(value) and value.__module__ == name and each.startswith(("build", "_"))
    }
    assert len(defined) > 100
    checks = {each for each in defined - found if each in checking or _is_of_a_check(each, whole)}
    # `__getattr__` serves tests and documentation.
    assert defined - found - roots - checks == {(channels.__name__, "__getattr__")}


def _is_of_a_check(definition: tuple[str, str], whole: TableSpecs) -> bool:
    """Whether a function is what a check calls, itself or in a closure."""
    called = (each for spec in whole.values() for check in spec.checks for each in _functions(check.find))
    return definition in {(each.__module__, each.__name__) for each in called}


def test_a_helper_of_the_identities_makes_them_stale_and_not_what_they_are_made_of() -> None:
    specs = tables_of()
    helper = ("pipeline_assets.tables.identities", "_component_ids")
    of = {name for name, each in specs.items() if helper in reached(*each.functions)}
    assert "identities" in of
    assert not of & {"sessions", "visitor_days", "page_views"}


def test_the_rules_of_user_agents_are_those_of_the_installed_packages() -> None:
    assert user_agents.package_versions() == (version("ua-parser"), version("ua-parser-builtins"))


def test_a_rate_makes_only_the_tables_stale_that_hold_reporting_amounts() -> None:
    conversion = Conversion(name="sale", event="bought")
    before = versions(analyses=Analyses((conversion, Currencies(reporting="EUR"))))
    rated = Currencies(reporting="EUR", rates=(Rate(currency="USD", rate="0.9"),))
    after = versions(analyses=Analyses((conversion, rated)))
    assert set(changed(before, after)) == {"visitor_days", "campaigns", "products", "orders", "revenue", "conversions"}


def test_a_changed_funnel_makes_its_own_table_stale_and_no_other() -> None:
    other = Retention(name="r")
    before = versions(analyses=Analyses((FUNNEL, other)))
    strict = FUNNEL.model_copy(update={"mode": "strict"})
    assert changed(before, versions(analyses=Analyses((strict, other)))) == ["f"]


@pytest.mark.parametrize("dedup_days", [0, 1, 5])
def test_events_read_as_many_days_of_staging_as_the_transform_looks_back(dedup_days: int) -> None:
    events = tables_of(source(dedup_days=dedup_days))["events"]
    assert [(each.table, each.before, each.earlier) for each in events.inputs] == [
        (STAGING, look_back_days({"web": dedup_days}), "earlier")
    ]


def test_sessions_read_one_day_to_either_side_and_with_supplied_ids_as_many_days_as_they_may_last() -> None:
    assert windows(tables_of()["sessions"]) == [("events", 1, 1)]
    supplied = tables_of(source(), source(name="app", mapping=MAPPING, sessions=SUPPLIED))
    assert windows(supplied["sessions"]) == [("events", 1, 3), ("supplied_sessions", 0, 0)]
    assert not supplied["supplied_sessions"].is_daily


def test_a_day_is_cut_by_visitors_only_for_tables_whose_rows_are_of_one_visitor_each() -> None:
    cut = {name: spec for name, spec in tables_of(analyses=EVERY_KIND).items() if spec.batched}
    assert {"sessions", "page_views"} <= cut.keys()
    for spec in cut.values():
        assert spec.batched is not None
        assert spec.batched.batch_key == BY_VISITOR or spec.name == "events"
        assert {*BY_VISITOR} <= {*spec.contract.column_names()}


def test_a_funnel_reads_as_many_days_as_its_window_may_reach_into() -> None:
    def days_after(**changes: Any) -> int:
        declared = Funnel.model_validate(FUNNEL.model_dump() | changes)
        (read,) = tables_of(analyses=Analyses((declared,)))["f"].inputs
        return read.after

    # A moment of the day, seven days, and an hour by which a day may be longer.
    assert days_after(window="7d") == 8
    assert days_after(window="30m") == 1
    # Each step of three may come a whole window after the one before.
    steps = [{"name": name, "event": name} for name in "abc"]
    assert days_after(window="7d", window_from="previous", steps=steps) == 15


def test_what_is_about_people_reads_who_they_are_on_the_same_days() -> None:
    analyses = Analyses(
        (
            Conversion(name="sale", event="bought"),
            Attribution(name="credit", conversion="sale", lookback_days=30, model_days=28),
        )
    )
    specs = tables_of(analyses=analyses)
    assert windows(specs["credit"]) == [("conversions", 27, 0), ("sessions", 58, 0), ("person_days", 58, 0)]
    by_visitor = analyses.of(Attribution)[0].model_copy(update={"by": "visitor", "models": ("last",)})
    specs = tables_of(analyses=Analyses((*analyses.of(Conversion), by_visitor)))
    assert windows(specs["credit"]) == [("conversions", 0, 0), ("sessions", 31, 0)]


def test_every_table_comes_after_those_it_reads(tmp_path: Path) -> None:
    settings = Settings.for_data_dir(tmp_path)
    known = {STAGING}
    for name, spec in collect(all_declared(settings)).items():
        assert {needed.table for needed in spec.inputs} <= known, name
        known.add(name)


def test_a_deployment_may_make_some_tables_only_and_those_they_are_made_of() -> None:
    backbone = ("events", "sessions", "page_views", "daily_activity")
    assert set(tables_of(only=backbone)) == set(backbone)
    assert set(tables_of(only=("person_days",))) == {
        "events", "sessions", "visitor_days", "identities", "person_days",
    }  # fmt: skip


@pytest.mark.parametrize("piece", spec_module._ON_THE_WAY)
def test_code_that_stores_rows_or_makes_tables_in_part_is_part_of_every_version(
    monkeypatch: pytest.MonkeyPatch, piece: str
) -> None:
    before = versions()
    others = tuple(each for each in spec_module._ON_THE_WAY if each != piece)
    monkeypatch.setattr(spec_module, "_ON_THE_WAY", others)
    after = versions()
    assert changed(before, after) == list(before)


def test_a_table_that_nothing_declares_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"PIPELINE_TABLES: there is no table 'sesions'; did you mean 'sessions'\?"):
        tables_of(only=("sesions",))


def test_the_names_that_no_analysis_may_have_are_those_of_the_standard_tables() -> None:
    analyses = Analyses((Conversion(name="sale"), Retention(name="r")))
    supplied = source(name="app", mapping=MAPPING, sessions=SUPPLIED)
    assert set(tables_of(supplied, analyses=analyses)) == {*fixed_tables(), "r"}


def test_every_column_says_what_it_is_made_of_and_that_exists(tmp_path: Path) -> None:
    settings = Settings.for_data_dir(tmp_path)
    supplied = source(name="app", mapping=MAPPING, sessions=SUPPLIED)
    specs = collect(Declarations((supplied,), declared(settings)[1]))

    columns = {name: set(table.contract.column_names()) for name, table in specs.items()}
    columns["staging"] = set(StagedEvents.column_names())
    for name, table in specs.items():
        for column, written in table.contract.columns().items():
            assert written.description, f"{name}.{column}"
            metadata = written.metadata or {}
            assert "made_of" in metadata, f"{name}.{column}"
            for made_of in metadata["made_of"]:
                origin, _, of = made_of.partition(".")
                assert of in columns.get(origin, ()), f"{name}.{column}: {made_of}"


def test_every_spec_can_be_sent_to_another_process(tmp_path: Path) -> None:
    settings = Settings.for_data_dir(tmp_path)
    supplied = source(name="app", mapping=MAPPING, sessions=SUPPLIED)
    for spec in collect(Declarations((supplied,), declared(settings)[1])).values():
        sent = pickle.loads(pickle.dumps(dataclasses.replace(spec, checks=())))
        assert sent.version == spec.version, spec.name
        assert sent.build is spec.build, spec.name


def made_of(name: str, *inputs: str, day: str | None = None) -> TableSpec:
    return TableSpec(
        name=name, contract=Sessions, inputs=tuple(map(Input, inputs)), build=sessions.build, partition_column=day
    )


def test_tables_are_in_order_whatever_order_they_are_named_in() -> None:
    specs = [made_of("c", "b", "a"), made_of("b", "a"), made_of("a", STAGING)]
    for each in itertools.permutations(specs):
        assert list(in_order(each)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (
            [made_of("a", "b"), made_of("b", "c"), made_of("c", "a")],
            r"the table '.' is made of itself: . <- . <- . <- .",
        ),
        (
            [made_of("a", "sesions"), made_of("sessions", STAGING)],
            r"'a' reads 'sesions', .*; did you mean 'sessions'\?",
        ),
        (
            [made_of("a", STAGING), made_of("b", "a", day="session_date")],
            r"'b' has a partition_column and reads 'a', which has neither that nor revisions",
        ),
        ([made_of("a", STAGING), made_of("a", STAGING)], r"a table 'a' is already made at .*sessions\.py:\d+"),
    ],
)
def test_tables_that_cannot_be_made_are_refused_with_the_place_of_the_function(
    specs: list[TableSpec], message: str
) -> None:
    with pytest.raises(DeclarationError, match=rf"sessions\.py:\d+: .*{message}"):
        in_order(specs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partition_column": "day"}, "t: partition_column names 'day', which is no column of the contract"),
        ({"figures": sums("vists")}, "t: figures names 'vists', which is no column"),
        ({"inputs": ()}, "t: inputs is empty"),
        ({"inputs": (Input("events"), Input("events", 1))}, "t: inputs names 'events' twice"),
        (
            {"inputs": (Input("events", batch_key=("visitor_id",)), Input("sessions", batch_key=("visitor_id",)))},
            "t: several inputs have a batch_key",
        ),
        (
            {"partition_column": "session_date", "revisions": print},
            "t: incremental and revisions are for tables without",
        ),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(made_of("t", "events"), **changes)
