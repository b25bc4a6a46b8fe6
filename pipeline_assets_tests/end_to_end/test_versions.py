"""Code and data versions: what Dagster calls unsynced is what the ledger calls stale."""

import json
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import dagster as dg
import pytest

from pipeline_assets.asset_keys import staging_key, table_key
from pipeline_assets.assets.building import data_version
from pipeline_assets.dagster_storage import pipeline_instance
from pipeline_assets.jobs import BUILD_JOB, LOAD_JOB
from pipeline_assets.partitions import request_tags
from pipeline_assets.planning import made_of
from pipeline_assets_tests.analyses.declaring import FUNNEL
from pipeline_assets_tests.end_to_end.deployment import CLICKS, QUIET, Deployment
from pipeline_assets_tests.end_to_end.graphql import stale

DAYS = [f"2026-03-{day:02}" for day in (1, 2, 10, 11, 20)]


def clicks(number: int, day: str, *, visitor: str = "v", user: str | None = None) -> str:
    event = {"id": f"e{number}", "name": "product_viewed", "type": "page", "time": f"{day}T10:00:00Z"}
    return json.dumps({**event, "visitor": visitor, "user": user}) + "\n"


@pytest.fixture
def deployment(new_deployment: Callable[..., Deployment]) -> Iterator[Deployment]:
    """A deployment with five days that are built, in Dagster's real storage."""
    made = new_deployment(tables=("sessions", "buying"))
    with pipeline_instance(made.settings) as instance:
        made.instance = instance
        made.declare("clicks", CLICKS)
        made.declare("buying", FUNNEL)
        made.deliver("clicks/a.jsonl", "".join(clicks(number, day) for number, day in enumerate(DAYS)))
        made.refreshed()
        yield made


def unsynced(deployment: Deployment, table: str) -> set[str]:
    """The days of a table that the UI calls unsynced."""
    told = stale(deployment.definitions, deployment.instance, table_key(table), DAYS)
    return {day for day, status in zip(DAYS, told["staleStatusByPartition"], strict=True) if status != "FRESH"}


def staged(deployment: Deployment) -> dict[str, Any]:
    """What the UI says of the source's asset."""
    return stale(deployment.definitions, deployment.instance, staging_key("clicks"))


def by_the_ledger(deployment: Deployment, table: str) -> set[str]:
    return {day.isoformat() for day in deployment.platform.staleness().tables[table]}


def test_a_day_whose_inputs_changed_is_unsynced_until_it_is_built_and_no_other_ever_is(deployment: Deployment) -> None:
    for table in ("events", "sessions"):
        assert unsynced(deployment, table) == set(), table
    load = deployment.definitions.resolve_job_def(LOAD_JOB)
    before = staged(deployment)
    assert load.execute_in_process(instance=deployment.instance).success
    # There was nothing new.
    assert staged(deployment)["dataVersion"] == before["dataVersion"]
    deployment.deliver("clicks/late.jsonl", clicks(100, "2026-03-10"))
    assert load.execute_in_process(instance=deployment.instance).success
    assert staged(deployment)["dataVersion"] != before["dataVersion"]
    assert unsynced(deployment, "events") == by_the_ledger(deployment, "events") == {"2026-03-10", "2026-03-11"}
    deployment.refreshed()
    for table in ("events", "sessions"):
        assert unsynced(deployment, table) == by_the_ledger(deployment, table) == set(), table
    # A correction takes the row from its day.
    deployment.deliver("clicks/late.jsonl", clicks(100, "2026-03-20"))
    assert load.execute_in_process(instance=deployment.instance).success
    assert {"2026-03-10", "2026-03-20"} <= by_the_ledger(deployment, "events")
    assert unsynced(deployment, "events") == by_the_ledger(deployment, "events") & set(DAYS)


def test_days_that_read_a_table_without_partitions_are_unsynced_where_it_says_something_else_of_them(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment(tables=("person_days",))
    deployment.declare("clicks", CLICKS.replace("page_url: url", "page_url: url\n    user_id: user"))
    with pipeline_instance(deployment.settings) as instance:
        deployment.instance = instance
        visits = [clicks(number, day, visitor="ab"[number > 1]) for number, day in enumerate(DAYS)]
        deployment.deliver("clicks/a.jsonl", "".join(visits))
        deployment.refreshed()
        assert unsynced(deployment, "person_days") == by_the_ledger(deployment, "person_days") == set()
        # The visitor of the 10th, the 11th and the 20th turns out to be somebody.
        deployment.deliver("clicks/login.jsonl", clicks(100, "2026-03-20", visitor="b", user="u"))
        load = deployment.definitions.resolve_job_def(LOAD_JOB)
        assert load.execute_in_process(instance=instance).success
        (request,) = deployment.platform.staleness().requests()
        build = deployment.definitions.resolve_job_def(BUILD_JOB)
        before = build.get_subset(asset_selection={table_key(name) for name in build_before(deployment, "person_days")})
        assert before.execute_in_process(instance=instance, tags=request_tags(request), run_config=QUIET).success
        expected = {"2026-03-10", "2026-03-11", "2026-03-20"}
        assert unsynced(deployment, "person_days") == by_the_ledger(deployment, "person_days") & set(DAYS) == expected
        deployment.refreshed()
        assert unsynced(deployment, "person_days") == by_the_ledger(deployment, "person_days") == set()


def build_before(deployment: Deployment, table: str) -> list[str]:
    """The tables that one is made of, directly or not."""
    return [spec.name for spec in made_of(deployment.platform.tables.values(), table) if spec.name != table]


def test_a_changed_declaration_is_a_new_code_version(deployment: Deployment) -> None:
    assert staged(deployment)["staleStatus"] == "FRESH"
    deployment.declare("clicks", CLICKS.replace("page_url: url", "page_url: upper(url)"))
    told = staged(deployment)
    assert told["staleStatus"] == "STALE"
    assert told["staleCauses"] == [{"reason": "has a new code version", "category": "CODE"}]
    # What only chooses files changes no row.
    deployment.declare("clicks", CLICKS.replace("clicks/*", "clicks/*.jsonl"))
    assert staged(deployment)["staleStatus"] == "FRESH"
    assert unsynced(deployment, "buying") == set()
    deployment.declare("buying", FUNNEL + "  window: 1h\n")
    assert unsynced(deployment, "buying") == set(DAYS)
    assert unsynced(deployment, "events") == set()


def test_the_version_of_a_run_is_that_of_its_days_in_any_order() -> None:
    one, two = date(2026, 3, 1), date(2026, 3, 2)
    assert data_version({one: "a", two: "b"}) == data_version({two: "b", one: "a"})
    assert data_version({one: "a"}) != data_version({one: "b"})
    assert isinstance(data_version({one: "a"}), dg.DataVersion)
