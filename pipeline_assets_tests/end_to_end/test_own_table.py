"""A team's own table, made in its own package as `docs/tables.md` shows, is a table like all others."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.build import build_platform
from pipeline_assets.settings import SettingsError
from pipeline_assets_tests.end_to_end.deployment import CLICKS, Deployment
from pipeline_assets_tests.end_to_end.test_checks import evaluation
from pipeline_assets_tests.own_tables import example, write_package

NewDeployment = Callable[..., Deployment]
PACKAGE = "acme_of_a_deployment"
DECLARATION = example("yaml").replace("acme.", f"{PACKAGE}.")
FIRST = date(2026, 3, 2)
VISITS = (("a", 0), ("a", 3), ("b", 0), ("b", 7), ("c", 9))


def visit(visitor: str, day: int) -> dict[str, Any]:
    moment = f"{FIRST + timedelta(days=day)}T12:00:00Z"
    return {"id": f"{visitor}{day}", "name": "view", "type": "page", "time": moment, "visitor": visitor, "url": "/"}


def deliver(deployment: Deployment, name: str, *visits: tuple[str, int]) -> None:
    deployment.deliver(f"clicks/{name}.jsonl", "".join(json.dumps(visit(*each)) + "\n" for each in visits))


def loyal(deployment: Deployment) -> dict[int, int]:
    """Loyal visitors by the number of the day."""
    rows = deployment.sql("select day, visitors from marts.loyal_visitors order by 1")
    return {(day - FIRST).days: visitors for day, visitors in rows}


@pytest.fixture
def declared(new_deployment: NewDeployment) -> Deployment:
    """A deployment that is asked for nothing but the table, whose package lies among the declarations."""
    made = new_deployment(tables=("loyal_visitors",))
    assert made.settings.defs_dir is not None
    write_package(made.settings.defs_dir, PACKAGE)
    made.declare("clicks", CLICKS)
    made.declare("loyal_visitors", DECLARATION)
    return made


@pytest.fixture
def deployment(declared: Deployment) -> Deployment:
    """The same with some visits."""
    deliver(declared, "first", *VISITS)
    declared.refreshed()
    return declared


def expected(deployment: Deployment, visits: Sequence[tuple[str, int]]) -> dict[int, int]:
    """The same counted from the visits, for the days that are built."""
    built = [(day - FIRST).days for day in deployment.platform.builds.built_days("loyal_visitors")]
    weeks = {day: Counter(visitor for visitor, at in visits if day - 6 <= at <= day) for day in built}
    counts = {day: sum(number >= 2 for number in week.values()) for day, week in weeks.items()}
    return {day: count for day, count in counts.items() if count}


def test_its_days_are_built_of_the_days_it_reads_and_again_when_late_data_comes(deployment: Deployment) -> None:
    before = loyal(deployment)
    assert before == expected(deployment, VISITS)
    assert before[3] == 1
    # The visits of b lay seven days apart, one too many.
    assert 7 not in before
    late = (("b", 5), ("c", 4))
    deliver(deployment, "late", *late)
    deployment.refreshed()
    assert loyal(deployment) == expected(deployment, (*VISITS, *late))
    assert loyal(deployment)[7] == 1
    assert deployment.platform.staleness().tables["loyal_visitors"] == set()


def test_dagster_shows_its_columns_and_what_they_are_made_of(declared: Deployment) -> None:
    graph = declared.definitions.resolve_asset_graph()
    node = graph.get(dg.AssetKey("loyal_visitors"))
    assert node.group_name == "acme"
    assert node.parent_keys == {dg.AssetKey("sessions")}
    assert node.code_version == declared.platform.tables["loyal_visitors"].version
    assert [column.name for column in node.metadata["dagster/column_schema"].columns] == ["day", "property", "visitors"]
    lineage = node.metadata["dagster/column_lineage"].deps_by_column["visitors"]
    assert {(each.asset_key, each.column_name) for each in lineage} == {
        (dg.AssetKey("sessions"), "visitor_id"),
        (dg.AssetKey("sessions"), "is_bot"),
    }


def test_its_checks_look_at_its_rows(deployment: Deployment) -> None:
    keys = {
        key.name
        for key in deployment.definitions.resolve_asset_graph().asset_check_keys
        if key.asset_key == dg.AssetKey("loyal_visitors")
    }
    assert keys == {"contract", "are_visitors"}
    assert evaluation(deployment, "loyal_visitors", "are_visitors").passed
    with deployment.platform.engine.begin() as connection:
        connection.execute(sa.text("update marts.loyal_visitors set visitors = 99"))
    assert not evaluation(deployment, "loyal_visitors", "are_visitors").passed


def test_only_what_it_is_made_of_is_made_where_it_is_all_that_is_asked_for(declared: Deployment) -> None:
    assert set(declared.platform.tables) == {"events", "sessions", "loyal_visitors"}
    with pytest.raises(SettingsError, match="no table 'loyal_visitor'; did you mean 'loyal_visitors'"):
        _ = build_platform(replace(declared.settings, tables=("loyal_visitor",))).tables


def test_it_is_frozen_when_it_is_no_longer_declared(deployment: Deployment) -> None:
    assert deployment.settings.defs_dir is not None
    before = loyal(deployment)
    (deployment.settings.defs_dir / "loyal_visitors" / "defs.yaml").unlink()
    deployment.reload()
    deliver(deployment, "later", ("a", 4))
    report = deployment.refresh()
    assert (report.failures, report.failed_runs) == ([], [])
    assert loyal(deployment) == before
    (left,) = (each for each in report.leftovers if each.name == "loyal_visitors")
    assert (left.noun, left.what) == ("table", "no longer declared; its table is frozen")
