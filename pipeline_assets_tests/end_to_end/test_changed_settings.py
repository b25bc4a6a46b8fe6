"""Settings are inputs like any other: once they change, everything is as if it had been loaded with the new ones."""

from collections.abc import Callable
from datetime import date
from random import Random
from typing import Any

import pytest

from pipeline_assets_tests.end_to_end.deployment import Deployment, differences
from pipeline_assets_tests.end_to_end.random_traffic import APP, SHOP, START, declare, lines_of, random_traffic
from pipeline_assets_tests.end_to_end.test_undeclared import change, comment

NewDeployment = Callable[..., Deployment]

DECLARED = (SHOP, APP, "sale", "sale_credit")
# With all that they are made of: tables of each kind.
TABLES = ("users", "orders", "sale_credit")
FIRST = START.date()
LATER = date(2024, 3, 31)
LEDGER = (
    "select path, state, lines, landed, quarantined, blank from ledger.files order by 1",
    "select source, event_date, rows from ledger.staged order by 1, 2, 3",
    "select source, line, reason from ledger.quarantine order by 1, 2, 3",
    "select * from ledger.event_days order by 1",
    "select asset, day, state, inputs from ledger.builds order by 1, 2",
)


TRAFFIC = random_traffic(Random(17))


@pytest.fixture
def loaded(new_deployment: NewDeployment) -> NewDeployment:
    """A function that makes a deployment with some settings, with traffic of both sources loaded and built."""

    def make(**changes: Any) -> Deployment:
        made = new_deployment(**{"tables": TABLES, "first_day": FIRST, **changes})
        assert made.settings.defs_dir is not None
        declare(made.settings.defs_dir, DECLARED)
        for source, rows in TRAFFIC.items():
            made.deliver(f"{source}/a.jsonl", lines_of(rows))
        made.refreshed()
        return made

    return make


def assert_as_if_loaded_with_its_settings(changed: Deployment, clean: Deployment) -> None:
    """Rows, ledger and lake are those of a clean load, all is settled, and no check fails over all days."""
    assert differences(changed.everything(), clean.everything()) == {}
    for query in LEDGER:
        assert changed.sql(query) == clean.sql(query), query
    assert changed.is_settled()
    assert changed.check_everything() == []
    listed = "select distinct asset, day from ledger.lake_files where dropped_at is null order by asset, day"
    assert changed.sql(listed) == clean.sql(listed)


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
def test_another_reporting_time_zone_is_as_if_loaded_with_it(loaded: NewDeployment) -> None:
    deployment = loaded()
    change(deployment, timezone="Pacific/Auckland")
    deployment.refreshed()
    assert_as_if_loaded_with_its_settings(deployment, loaded(timezone="Pacific/Auckland"))


@pytest.mark.exhaustive
def test_tables_not_asked_for_are_marked_and_once_asked_for_again_as_if_they_always_had_been(
    loaded: NewDeployment,
) -> None:
    deployment = loaded()
    own = comment(deployment, "users")
    users = deployment.sql("select * from marts.users order by person_id")
    change(deployment, tables=("sessions",))
    late = lines_of([{**row, "id": f"late-{row['id']}"} for row in TRAFFIC[SHOP][:20]])
    deployment.deliver(f"{SHOP}/late.jsonl", late)
    # They were left out on purpose, so that nothing is amiss, but nobody may take them for current.
    report = deployment.refreshed()
    frozen = {left.name: left.what for left in report.leftovers}
    assert frozen.keys() >= {"users", "orders", "sale_credit", "conversions", "identities", "person_days"}
    assert set(frozen.values()) == {"not asked for by PIPELINE_TABLES; frozen"}
    assert deployment.sql("select * from marts.users order by person_id") == users
    assert comment(deployment, "users") == f"{own}\n\nFROZEN: not asked for by PIPELINE_TABLES; frozen"
    change(deployment, tables=TABLES)
    assert any(deployment.platform.staleness().tables["users"])
    deployment.refreshed()
    assert comment(deployment, "users") == own
    clean = loaded()
    clean.deliver(f"{SHOP}/late.jsonl", late)
    clean.refreshed()
    assert_as_if_loaded_with_its_settings(deployment, clean)
