"""Settings are inputs like any other: once they change, everything is as if it had been loaded with the new ones."""

from collections.abc import Callable
from datetime import date
from random import Random
from typing import Any

import pytest

from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, Deployment, differences
from pipeline_assets_tests.end_to_end.random_traffic import APP, SHOP, START, declare, lines_of, random_traffic
from pipeline_assets_tests.end_to_end.test_undeclared import change, comment

NewDeployment = Callable[..., Deployment]

DECLARED = (SHOP, APP, "ordered_funnel", "returning_people", "sale", "sale_credit")
TABLES = (*BACKBONE_TABLES, "users", "visitors", "orders", "active_users", "returning_people", "sale_credit")
FIRST = START.date()
LATER = date(2024, 3, 31)
LEDGER = (
    "select path, state, lines, landed, quarantined, blank from ledger.files order by 1",
    "select source, event_date, rows from ledger.staged order by 1, 2, 3",
    "select source, line, reason from ledger.quarantine order by 1, 2, 3",
    "select * from ledger.event_days order by 1",
    "select asset, day, state, inputs from ledger.builds order by 1, 2",
)


@pytest.fixture
def loaded(new_deployment: NewDeployment) -> NewDeployment:
    """A function that makes a deployment with some settings, with traffic of both sources loaded and built."""

    def make(**changes: Any) -> Deployment:
        made = new_deployment(**{"tables": TABLES, "first_day": FIRST, **changes})
        assert made.settings.defs_dir is not None
        declare(made.settings.defs_dir, DECLARED)
        for source, rows in random_traffic(Random(17)).items():  # noqa: S311
            made.deliver(f"{source}/a.jsonl", lines_of(rows))
        made.refresh()
        return made

    return make


def assert_as_if_loaded_with_its_settings(changed: Deployment, clean: Deployment) -> None:
    """Rows, ledger and lake are those of a clean load, all is settled, and no check fails over all days."""
    assert differences(changed.everything(), clean.everything()) == {}
    for query in LEDGER:
        assert changed.sql(query) == clean.sql(query), query
    assert changed.is_settled()
    assert changed.check_everything() == []
    days = [
        sorted(
            path.parent.relative_to(each.settings.lake_dir) for path in each.settings.lake_dir.glob("*/*/part.parquet")
        )
        for each in (changed, clean)
    ]
    assert days[0] == days[1]


def test_a_first_day_moved_forth_and_back_is_as_if_loaded_with_it(loaded: NewDeployment) -> None:
    deployment = loaded()
    change(deployment, first_day=LATER)
    deployment.refreshed()
    assert deployment.value("select min(day) from ledger.builds where day > '0001-01-01'") >= LATER
    assert deployment.value("select min(session_date) from marts.sessions") >= LATER
    assert_as_if_loaded_with_its_settings(deployment, loaded(first_day=LATER))
    change(deployment, first_day=FIRST)
    deployment.refreshed()
    assert_as_if_loaded_with_its_settings(deployment, loaded())
