"""Dagster's history is bounded, and its UI shows of assets, partitions, plots and checks what it showed before."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.runs.schema import RunsTable

from pipeline_assets import history
from pipeline_assets.dagster_storage import pipeline_instance
from pipeline_assets.history import thin_out
from pipeline_assets.runs import LockingRuns
from pipeline_assets_tests.end_to_end.deployment import CLICKS, Deployment
from pipeline_assets_tests.end_to_end.test_files import click
from pipeline_assets_tests.end_to_end.ui_location import Ask, web_server

DAYS = [date(2026, 3, day) for day in range(1, 7)]
_ASSETS = """
{assetNodes {
    assetKey {path}
    partitionStats {numMaterialized numFailed numMaterializing}
    assetPartitionStatuses {__typename ... on TimePartitionStatuses {ranges {startKey endKey status}}}
    assetMaterializations(limit: 1) {
        partition runId timestamp
        metadataEntries {label ... on IntMetadataEntry {intValue} ... on TextMetadataEntry {text}}
    }
    latestMaterializationByPartition(partitions: PARTITIONS) {
        partition runId timestamp runOrError {__typename}
        metadataEntries {label ... on IntMetadataEntry {intValue} ... on TextMetadataEntry {text}}
    }
    assetChecksOrError {... on AssetChecks {checks {
        name executionForLatestMaterialization {
            status runId evaluation {success metadataEntries {label ... on IntMetadataEntry {intValue}}}
        }
    }}}
}}
"""
_RUNS = "{runsOrError(limit: 50) {... on Runs {results {runId status stats {... on RunStatsSnapshot {endTime}}}}}}"


def delivered(deployment: Deployment, name: str, *days: date, hour: int = 12) -> None:
    deployment.deliver(
        f"clicks/{name}.jsonl",
        "".join(click(hour * 100 + day.day, time=f"{day}T{hour:02}:00:00Z") for day in days),
    )


def assets(ask: Ask) -> dict[str, Any]:
    """What the pages of all assets show."""
    partitions = "[" + ", ".join(f'"{day}"' for day in DAYS) + "]"
    nodes = ask(_ASSETS.replace("PARTITIONS", partitions))["assetNodes"]
    return {"/".join(node["assetKey"]["path"]): node for node in nodes}


def run_ids(ask: Ask) -> list[str]:
    """The list of runs."""
    return [run["runId"] for run in ask(_RUNS)["runsOrError"]["results"]]


def events(deployment: Deployment) -> Counter[str]:
    """How many events of each type there are."""
    storage = deployment.instance.run_storage
    assert isinstance(storage, LockingRuns)
    kind = SqlEventLogStorageTable.c.dagster_event_type
    with storage.connect() as connection:
        found = connection.execute(sa.select(kind, sa.func.count()).group_by(kind))
        return Counter({name or "log": number for name, number in found})


def aged(deployment: Deployment, days: int = 40) -> None:
    """Let all runs have ended some days ago."""
    storage = deployment.instance.run_storage
    assert isinstance(storage, LockingRuns)
    with storage.connect() as connection:
        then = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
        connection.execute(sa.update(RunsTable).values(update_timestamp=then))


@pytest.fixture
def clicks(deployment: Deployment) -> Iterator[Deployment]:
    """A deployment of which two files were loaded and built, one after the other, recorded on its own server."""
    with pipeline_instance(deployment.settings) as instance:
        deployment.instance = instance
        deployment.declare("clicks", CLICKS)
        delivered(deployment, "first", *DAYS)
        deployment.refreshed()
        delivered(deployment, "late", DAYS[2], hour=15)
        deployment.refreshed()
        yield deployment


def test_what_led_to_a_success_goes_with_the_refresh_and_an_idle_one_leaves_nothing(clicks: Deployment) -> None:
    found = events(clicks)
    left = {"ASSET_MATERIALIZATION", "ASSET_OBSERVATION", "ASSET_CHECK_EVALUATION", "STEP_START", "STEP_SUCCESS"}
    left |= {"LOGS_CAPTURED", "log"}
    assert set(found) - left <= {"PIPELINE_START", "PIPELINE_SUCCESS", "PIPELINE_ENQUEUED", "PIPELINE_STARTING"}
    # Of the late file: events of the day and the one after it, and of the three tables a day around these.
    assert found["ASSET_MATERIALIZATION"] == 2 + 4 * len(DAYS) + 2 + 3 * 4
    before = events(clicks)
    assert clicks.refreshed().idle
    assert events(clicks) == before


def test_columns_are_told_once_and_not_with_every_day(clicks: Deployment) -> None:
    made = {spec.key: spec for spec in clicks.definitions.resolve_all_asset_specs()}
    for table in ("events", "sessions"):
        assert "dagster/column_schema" in made[dg.AssetKey(table)].metadata
        records = clicks.instance.fetch_materializations(dg.AssetKey(table), limit=len(DAYS)).records
        assert len(records) == len(DAYS)
        for record in records:
            assert record.asset_materialization is not None
            assert "dagster/column_schema" not in record.asset_materialization.metadata


def test_of_old_runs_stays_what_the_ui_shows_of_assets_partitions_plots_and_checks(
    clicks: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SHOWN", 1)
    delivered(clicks, "again", *DAYS, hour=16)
    clicks.refreshed()
    with web_server(clicks) as ask:
        before, runs = assets(ask), run_ids(ask)
        assert before["sessions"]["partitionStats"]["numMaterialized"] == len(DAYS)
        assert len(runs) == 6
        assert thin_out(clicks.instance, 0).events == thin_out(clicks.instance, 30).events == 0
        aged(clicks)
        many = events(clicks).total()
        removed = thin_out(clicks.instance, 30)
        assert events(clicks).total() == many - removed.events
        assert removed.results > 0
        # Six days of four tables, and the staged rows, of which the latest load of each day stays.
        assert events(clicks) == {"ASSET_MATERIALIZATION": 4 * len(DAYS) + 1, "ASSET_OBSERVATION": len(DAYS)}
        assert assets(ask) == before
        # Of the loads and builds before the last ones nothing is shown any more.
        assert removed.runs == 4
        assert set(run_ids(ask)) == set(runs[:2])
    assert clicks.check_everything() == []
    assert clicks.is_settled()


def test_a_day_that_failed_stays_failed_and_all_of_a_run_stays_until_it_is_old(clicks: Deployment) -> None:
    delivered(clicks, "broken", DAYS[4], hour=16)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr("pipeline_assets.io_managers.lake.exchange", lambda *_: 1 / 0)
        assert clicks.refresh().failed_runs
    with web_server(clicks) as ask:
        before = assets(ask)
        # The days of the run.
        assert before["events"]["partitionStats"]["numFailed"] == 3
        thin_out(clicks.instance, 30)
        assert events(clicks)["STEP_FAILURE"] > 0
        aged(clicks)
        while thin_out(clicks.instance, 30).events:
            pass
        assert events(clicks)["STEP_FAILURE"] == 0
        after = assets(ask)
    for name, node in before.items():
        assert after[name]["partitionStats"] == node["partitionStats"]
        assert after[name]["latestMaterializationByPartition"] == node["latestMaterializationByPartition"]


def test_a_run_of_which_only_some_steps_are_started_again_needs_nothing_that_was_removed(clicks: Deployment) -> None:
    run = clicks.instance.get_run_records(dg.RunsFilter(job_name="build_days"), limit=1)[0].dagster_run
    job = clicks.definitions.resolve_job_def("build_days")
    again = job.get_subset(asset_selection={dg.AssetKey("sessions"), dg.AssetKey("page_views")})
    result = again.execute_in_process(
        instance=clicks.instance,
        tags={**run.tags, "dagster/parent_run_id": run.run_id, "dagster/root_run_id": run.run_id},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )
    assert result.success


def test_a_run_that_never_began_does_not_keep_later_ones_from_being_looked_at(clicks: Deployment) -> None:
    job = clicks.definitions.resolve_job_def("build_days")
    waiting = clicks.instance.create_run_for_job(job)
    delivered(clicks, "late again", DAYS[2], hour=16)
    clicks.refreshed()
    assert events(clicks)["STEP_OUTPUT"] > 0
    aged(clicks, 2)
    thin_out(clicks.instance, 30)
    assert events(clicks)["STEP_OUTPUT"] == 0
    assert clicks.instance.get_run_by_id(waiting.run_id) is not None


def test_another_storage_is_left_alone() -> None:
    with dg.instance_for_test() as instance:
        assert thin_out(instance, 1) == history.Removed()
