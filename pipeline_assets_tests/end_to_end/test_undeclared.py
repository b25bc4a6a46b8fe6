"""What is no longer declared stays until it is retired, and then it was never there."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from dagster import AssetCheckKey, AssetKey

from pipeline_assets import leftovers as leftovers_module
from pipeline_assets import retiring as retiring_module
from pipeline_assets.component_tree.loading import declared
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.io_managers.lake import LakeIOManager
from pipeline_assets.jobs import BUILD_JOB
from pipeline_assets.ledger.declarations import DeclarationLedger
from pipeline_assets.leftovers import LeftoverError, remove_files
from pipeline_assets.platform import Platform
from pipeline_assets.retiring import RetireError, Retiring
from pipeline_assets.sensors.stale_days import stale_days
from pipeline_assets.undeclared import SOURCE, read_copy
from pipeline_assets_tests.end_to_end.deployment import (
    BACKBONE_TABLES,
    CLICKS,
    QUIET,
    Deployment,
    books_balance,
    differences,
)
from pipeline_assets_tests.end_to_end.random_traffic import (
    APP,
    SHOP,
    START,
    declare,
    lines_of,
    random_traffic,
)
from pipeline_assets_tests.end_to_end.test_late_data import bookings, rebuilt
from pipeline_assets_tests.end_to_end.test_sensors import on, tick

NewDeployment = Callable[..., Deployment]

FUNNEL = """\
type: pipeline_assets.components.Funnel
attributes:
  by: visitor
  steps: [{name: any, type: page}, {name: more, type: page}]
"""
UNBOOKED = f"staging/clicks/2026-03-01/{'0' * 32}.parquet"
UNDECLARED_CHECK = "events:everything_is_declared"


def undeclare(deployment: Deployment, *names: str) -> None:
    """Remove declarations and load what is left."""
    assert deployment.settings.defs_dir is not None
    for name in names:
        shutil.rmtree(deployment.settings.defs_dir / name)
    deployment.reload()


def change(deployment: Deployment, **changes: Any) -> None:
    """Change settings, as a new process would find them."""
    deployment.settings = replace(deployment.settings, **changes)
    deployment.reload()


def retiring(deployment: Deployment) -> Retiring:
    """What `pipeline-assets retire` works with."""
    settings = deployment.settings
    return Retiring(settings, *declared(settings), deployment.instance)


def retire(deployment: Deployment, name: str) -> int:
    """Retire something; the exit code."""
    work = retiring(deployment)
    report = work.retire(work.find(name))
    # What is gone is no longer told of.
    assert "everything_is_declared" not in {check.check_name for check in report.failed_checks}
    assert report.failures == []
    deployment.reload()
    return report.exit_code


def failing_checks(deployment: Deployment) -> list[str]:
    """The names of the checks that fail of all."""
    return [text.split(" ", 1)[0] for text in deployment.check_everything()]


def latest_result(deployment: Deployment) -> str:
    """What Dagster shows of the check."""
    key = AssetCheckKey(AssetKey(["events"]), "everything_is_declared")
    record = deployment.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    return record.status.value


def comment(deployment: Deployment, table: str) -> str:
    return deployment.value(
        "select coalesce(obj_description(to_regclass(:name), 'pg_class'), '')", name=f"marts.{table}"
    )


def traces(deployment: Deployment, source: str) -> dict[str, int]:
    """What the ledger and the lake have of a source."""
    tables = ("files", "staged", "quarantine")
    found = {
        table: deployment.value(f"select count(*) from ledger.{table} where source = :source", source=source)
        for table in tables
    }
    found["declarations"] = deployment.value("select count(*) from ledger.declarations where name = :name", name=source)
    found["folders"] = len(list((deployment.settings.lake_dir / "staging").glob(source)))
    return {name: number for name, number in found.items() if number}


@pytest.fixture
def clicks(deployment: Deployment) -> Deployment:
    """A deployment with three days loaded and built of a source."""
    deployment.declare("clicks", CLICKS)
    deployment.deliver("clicks/a.jsonl", on(1, 2, 3) + "no json\n")
    deployment.refreshed()
    return deployment


# --- Sources ------------------------------------------------------------------------------------------


def test_without_its_declaration_a_source_stays_and_is_reported(clicks: Deployment) -> None:
    before = clicks.everything()
    undeclare(clicks, "clicks")
    tick(stale_days, clicks)
    assert latest_result(clicks) == "FAILED"
    report = clicks.refresh()
    assert (report.exit_code, report.idle) == (5, True)
    assert [(left.noun, left.name) for left in report.leftovers] == [("source", "clicks")]
    assert differences(clicks.everything(), before) == {}
    assert clicks.is_settled()
    assert failing_checks(clicks) == [UNDECLARED_CHECK]


def test_new_files_of_an_undeclared_source_are_not_loaded_and_late_ones_of_others_see_its_rows(
    clicks: Deployment,
) -> None:
    undeclare(clicks, "clicks")
    clicks.declare("taps", CLICKS.replace("clicks/*", "taps/*\n  property: clicks"))
    clicks.deliver("clicks/b.jsonl", on(4))
    clicks.deliver("taps/a.jsonl", on(2))
    assert clicks.refresh().exit_code == 5
    # The same id of the same property on the same day: a duplicate only as long as the other source counts.
    assert clicks.sql("select sum(events)::int, sum(duplicates)::int from ledger.event_days") == [(3, 1)]
    assert clicks.sql("select count(*) from ledger.files where path = 'clicks/b.jsonl'") == [(0,)]


def test_what_decides_how_an_undeclared_source_is_staged_still_does(
    clicks: Deployment, new_deployment: NewDeployment
) -> None:
    undeclare(clicks, "clicks")
    clicks.refresh()
    change(clicks, timezone="Pacific/Auckland")
    assert clicks.refresh().exit_code == 5
    clean = new_deployment(timezone="Pacific/Auckland")
    clean.declare("clicks", CLICKS)
    clean.deliver("clicks/a.jsonl", on(1, 2, 3) + "no json\n")
    clean.refreshed()
    assert differences(clicks.everything(), clean.everything()) == {}
    assert clicks.is_settled()


def test_a_source_that_is_declared_again_is_as_if_it_had_been_all_the_time(clicks: Deployment) -> None:
    undeclare(clicks, "clicks")
    clicks.refresh()
    clicks.declare("clicks", CLICKS)
    report = clicks.refreshed()
    assert report.idle
    assert latest_result(clicks) == "SUCCEEDED"
    assert failing_checks(clicks) == []


def test_a_source_of_which_nothing_was_loaded_vanishes_without_a_trace(clicks: Deployment) -> None:
    clicks.declare("taps", CLICKS.replace("clicks/*", "taps/*"))
    clicks.refreshed()
    undeclare(clicks, "taps")
    clicks.refreshed()
    assert read_copy(clicks.platform.lake.store) == clicks.platform.memory().remembered


def test_a_source_whose_declaration_was_never_written_down_stops_everything_and_can_be_retired(
    clicks: Deployment,
) -> None:
    before = clicks.everything()
    with clicks.platform.engine.begin() as connection:
        connection.exec_driver_sql("delete from ledger.declarations")
    undeclare(clicks, "clicks")
    with pytest.raises(DeclarationError, match=r"source 'clicks' is no longer declared.* is not known.*retire clicks"):
        clicks.refresh()
    assert differences(clicks.everything(), before) == {}
    assert retire(clicks, "clicks") == 0
    assert traces(clicks, "clicks") == {}
    assert sum(frame.height for frame in clicks.everything().values()) == 0


def test_a_process_that_was_loaded_before_something_was_retired_writes_nothing(clicks: Deployment) -> None:
    undeclare(clicks, "clicks")
    clicks.refresh()
    old, definitions = clicks.platform, clicks.definitions
    assert retire(clicks, "clicks") == 0
    clicks.deliver("clicks/a.jsonl", on(1, 2))
    result = definitions.resolve_job_def(BUILD_JOB).execute_in_process(
        instance=clicks.instance,
        run_config=QUIET,
        raise_on_error=False,
        tags={"dagster/asset_partition_range_start": "2026-03-01", "dagster/asset_partition_range_end": "2026-03-02"},
    )
    old.engine.dispose()
    failures = [str(event.step_failure_data.error) for event in result.all_events if event.is_step_failure]
    assert failures
    assert all("Reload the code location" in failure for failure in failures)
    assert sum(frame.height for frame in clicks.everything().values()) == 0


# --- Retiring -----------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_retired_source_was_never_there(new_deployment: NewDeployment) -> None:
    traffic = random_traffic(Random(6))
    # Of the app alone are the tables of supplied sessions, and days before the shop's first.
    names = (SHOP, APP, "person_funnel", "returning_people", "sale", "steps")
    tables = (
        *BACKBONE_TABLES,
        "users",
        "orders",
        "revenue",
        "person_funnel",
        "returning_people",
        "conversions",
        "steps",
    )

    def loaded(*declared: str) -> Deployment:
        made = new_deployment(tables=tables, first_day=START.date())
        assert made.settings.defs_dir is not None
        declare(made.settings.defs_dir, declared)
        for source in (SHOP, APP):
            made.deliver(f"{source}/a.jsonl", lines_of(traffic[source]))
        made.refreshed()
        return made

    both, never = loaded(*names), loaded(*(name for name in names if name != APP))
    had = both.platform.tables
    undeclare(both, APP)
    before = both.everything()
    assert both.refresh().exit_code == 5
    assert both.platform.tables.keys() == had.keys()
    assert differences(both.everything(), before) == {}
    assert retire(both, APP) == 0
    assert both.platform.tables.keys() == never.platform.tables.keys() < had.keys()
    assert differences(both.everything(), never.everything()) == {}
    assert both.is_settled()
    assert failing_checks(both) == failing_checks(never) == []
    assert traces(both, APP) == {}
    assert not (both.settings.lake_dir / "supplied_sessions").exists()
    assert both.sql("select content from ledger.contents") == never.sql("select content from ledger.contents")


STEPS = [
    (DeclarationLedger, "begin_retiring"),
    (Platform, "settle"),
    (LakeIOManager, "handle_output"),
    (retiring_module, "remove_files"),
    (Platform, "write_views"),
    (DeclarationLedger, "finish_retiring"),
]


class Killed(BaseException):
    """Stands in for the end of the process."""


def dying(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, after which nothing more is done."""

    def die(*arguments: Any, **named: Any) -> None:
        function(*arguments, **named)
        raise Killed

    return die


@pytest.mark.exhaustive
def test_a_retirement_that_ended_anywhere_is_finished_by_the_same_again(
    clicks: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks.declare("taps", CLICKS.replace("clicks/*", "taps/*"))
    undeclare(clicks, "clicks")
    for number, (owner, name) in enumerate(STEPS, 1):
        clicks.declare("clicks", CLICKS)
        clicks.deliver("clicks/a.jsonl", on(1, 2, 3, hour=number) + "no json\n")
        clicks.refresh()
        undeclare(clicks, "clicks")
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dying(getattr(owner, name)))
            work = retiring(clicks)
            # Within a run Dagster takes it for a failure.
            with suppress(Killed):
                assert work.retire(work.find("clicks")).failed_runs
            clicks.reload()
        if (owner, name) != STEPS[-1]:
            assert [left.noun for left in clicks.platform.leftovers()] == ["source"]
            assert retire(clicks, "clicks") == 0
        assert traces(clicks, "clicks") == {}, name
        assert clicks.is_settled(), name
        assert sum(frame.height for frame in clicks.everything().values()) == 0
        assert clicks.value("select count(*) from ledger.contents") == 0


@pytest.mark.parametrize(
    ("owner", "name"), [(DeclarationLedger, "is_retiring"), (retiring_module, "remove_files"), STEPS[-1]]
)
def test_a_source_that_is_declared_and_loaded_again_while_it_is_retired_loses_nothing(
    clicks: Deployment, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    before = clicks.everything()
    undeclare(clicks, "clicks")
    work = retiring(clicks)
    other = Deployment(clicks.settings, clicks.instance)
    original = getattr(owner, name)

    def late(*arguments: Any, **named: Any) -> Any:
        other.declare("clicks", CLICKS)
        other.refreshed()
        # A load that is under way has put this into the lake and not booked it yet.
        other.platform.lake.store.put(UNBOOKED, b"rows")
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, late)
    with pytest.raises(RetireError, match="source 'clicks' was declared again while it was retired"):
        work.retire(work.find("clicks"))
    monkeypatch.undo()
    assert other.platform.lake.store.stat(UNBOOKED) is not None
    assert differences(other.everything(), before) == {}
    assert other.is_settled()
    assert failing_checks(other) == []
    assert other.refreshed().idle
    other.close()


def test_a_table_that_is_declared_and_built_again_while_it_is_retired_loses_nothing(
    funnel: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = funnel.everything()
    undeclare(funnel, "steps")
    change(funnel, tables=("daily_activity",))
    work = retiring(funnel)
    other = Deployment(funnel.settings, funnel.instance)

    def late(*arguments: Any) -> None:
        other.declare("steps", FUNNEL)
        change(other, tables=("daily_activity", "steps"))
        other.refreshed()
        remove_files(*arguments)

    monkeypatch.setattr(leftovers_module, "remove_files", late)
    with pytest.raises(RetireError, match="funnel 'steps' was declared again"):
        work.retire(work.find("steps"))
    assert differences(other.everything(), before) == {}
    assert other.is_settled()
    assert other.refreshed().idle
    other.close()


def test_only_what_is_no_longer_declared_can_be_retired(clicks: Deployment) -> None:
    with pytest.raises(RetireError, match="source 'clicks' is declared: remove its declaration first"):
        retiring(clicks).find("clicks")
    undeclare(clicks, "clicks")
    with pytest.raises(RetireError, match="no longer declared; did you mean 'clicks'"):
        retiring(clicks).find("click")
    found = retiring(clicks).find("clicks")
    assert (found.noun, found.tables) == ("source", ())
    assert any("3 staged rows of 3 days" in count for count in found.counts)
    assert any("1 quarantined line" in count for count in found.counts)


# --- Analyses -----------------------------------------------------------------------------------------


@pytest.fixture
def funnel(new_deployment: NewDeployment) -> Deployment:
    """A deployment with a source and a funnel."""
    made = new_deployment(tables=("daily_activity", "steps"))
    made.declare("clicks", CLICKS)
    made.declare("steps", FUNNEL)
    made.deliver("clicks/a.jsonl", on(1, 2, 3))
    made.refreshed()
    return made


def test_without_its_declaration_the_table_of_a_funnel_is_frozen_and_marked(funnel: Deployment) -> None:
    rows = funnel.sql("select * from marts.steps order by 1, 2, 3, 4")
    own = comment(funnel, "steps")
    undeclare(funnel, "steps")
    before = bookings(funnel)
    funnel.deliver("clicks/b.jsonl", on(2, 4, hour=15))
    report = funnel.refresh()
    assert (report.exit_code, report.failures) == (5, [])
    assert [(left.noun, left.name) for left in report.leftovers] == [("funnel", "steps")]
    assert "events" in rebuilt(funnel, before)
    assert "steps" not in rebuilt(funnel, before)
    assert funnel.sql("select * from marts.steps order by 1, 2, 3, 4") == rows
    assert comment(funnel, "steps").startswith(f"{own}\n\nFROZEN: no longer declared")
    assert failing_checks(funnel) == [UNDECLARED_CHECK]

    funnel.declare("steps", FUNNEL)
    funnel.refreshed()
    assert comment(funnel, "steps") == own
    assert funnel.value("select count(distinct entry_date) from marts.steps") == 4

    undeclare(funnel, "steps")
    funnel.refresh()
    with funnel.platform.engine.begin() as connection:
        connection.exec_driver_sql("create view of_steps as select * from marts.steps")
    with pytest.raises(RetireError, match="PIPELINE_TABLES asks for steps: take it out"):
        retiring(funnel).find("steps")
    change(funnel, tables=("daily_activity",))
    with pytest.raises(LeftoverError, match="views or other objects of yours depend on it"):
        retire(funnel, "steps")
    with funnel.platform.engine.begin() as connection:
        connection.exec_driver_sql("drop view of_steps")
    assert [left.what for left in funnel.platform.leftovers()] == ["being retired; not all of it is removed"]
    assert retire(funnel, "steps") == 0
    assert funnel.value("select to_regclass('marts.steps')::text") is None
    assert funnel.sql("select count(*) from ledger.builds where asset = 'steps'") == [(0,)]
    funnel.refreshed()


def test_conversions_and_currencies_count_as_last_declared_until_they_are_retired(
    new_deployment: NewDeployment,
) -> None:
    conversion = "type: pipeline_assets.components.Conversion\nattributes: {type: page}\n"

    def loaded(*names: str) -> Deployment:
        made = new_deployment(tables=("conversions",))
        made.declare("clicks", CLICKS)
        for name in names:
            made.declare(name, conversion)
        made.deliver("clicks/a.jsonl", on(1, 2, 3))
        made.refreshed()
        return made

    both, never = loaded("seen", "viewed"), loaded("seen")
    before = both.everything()
    undeclare(both, "viewed")
    both.deliver("clicks/b.jsonl", on(4))
    assert both.refresh().exit_code == 5
    assert both.everything()["conversions"].height > before["conversions"].height
    assert both.value("select count(*) from marts.conversions where conversion = 'viewed'") == 4
    assert retire(both, "viewed") == 0
    never.deliver("clicks/b.jsonl", on(4))
    never.refreshed()
    assert differences(both.everything(), never.everything()) == {}


def test_declarations_that_take_the_place_of_others_leave_nothing_undeclared(funnel: Deployment) -> None:
    undeclare(funnel, "steps")
    change(funnel, tables=("daily_activity",))
    funnel.refresh()
    paths = "type: pipeline_assets.components.Paths\nattributes: {name: steps}\n"
    funnel.declare("ways", paths)
    assert [left.name for left in funnel.platform.leftovers()] == ["steps"]
    memory = DeclarationLedger(funnel.platform.engine).observe(funnel.platform.declarations)
    assert [each.kind for each in memory.remembered if each.name == "steps"] == ["Paths"]
    assert json.dumps([each.name for each in memory.remembered if each.kind == SOURCE]) == '["clicks"]'
    assert books_balance(funnel.platform.engine)
