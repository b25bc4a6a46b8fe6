"""Runs for any set of days: what is asked for by the reconciler, and by hand in the UI."""

from collections.abc import Callable, Iterator
from datetime import date

import dagster as dg
import pytest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
)

from pipeline_assets.dagster_storage import pipeline_instance
from pipeline_assets.jobs import BUILD_JOB
from pipeline_assets_tests.end_to_end.deployment import CLICKS, QUIET, Deployment
from pipeline_assets_tests.end_to_end.test_files import click

APART = [date(2013, 5, 6), date(2020, 2, 29), date(2026, 3, 1), date(2026, 3, 2)]
TABLES = ("events", "sessions", "page_views", "daily_activity")


@pytest.fixture
def clicks(new_deployment: Callable[..., Deployment]) -> Iterator[Deployment]:
    """A deployment of days years apart, recorded on its own server."""
    deployment = new_deployment(first_day=date(2012, 1, 1))
    with pipeline_instance(deployment.settings) as instance:
        deployment.instance = instance
        deployment.declare("clicks", CLICKS)
        for number, day in enumerate(APART):
            deployment.deliver(f"clicks/{day}.jsonl", click(number, time=f"{day}T12:00:00Z"))
        yield deployment


def recorded(deployment: Deployment, run_id: str, kind: dg.DagsterEventType) -> dict[str, list[str]]:
    """The partitions that a run recorded of each table, as often as it did."""
    found: dict[str, list[str]] = {}
    for record in deployment.instance.get_records_for_run(run_id, of_type=kind).records:
        event = record.event_log_entry.get_dagster_event()
        if event.asset_key and event.partition:
            found.setdefault(event.asset_key.path[-1], []).append(event.partition)
    return {table: sorted(partitions) for table, partitions in found.items()}


def by_hand(deployment: Deployment, *tables: str, **tags: str) -> dg.ExecuteInProcessResult:
    """A run as the UI starts it."""
    return deployment.definitions.resolve_job_def(BUILD_JOB).execute_in_process(
        instance=deployment.instance,
        asset_selection=[dg.AssetKey(table) for table in tables],
        tags={name.replace("__", "/"): value for name, value in tags.items()},
        run_config=QUIET,
        raise_on_error=False,
    )


def test_days_years_apart_are_one_run_that_records_them_and_what_is_known_of_each_and_no_other(
    clicks: Deployment,
) -> None:
    report = clicks.refreshed()
    assert [build.days for build in report.builds] == [tuple(APART)]
    (run,) = clicks.instance.get_run_records(dg.RunsFilter(job_name=BUILD_JOB))
    days = [day.isoformat() for day in APART]
    run_id = run.dagster_run.run_id
    assert recorded(clicks, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION) == dict.fromkeys(TABLES, days)
    for table in TABLES:
        events = clicks.instance.fetch_materializations(dg.AssetKey(table), limit=10).records
        for event in events:
            assert event.asset_materialization is not None
            assert event.asset_materialization.metadata["dagster/partition_row_count"].value == 1
    assert clicks.check_everything() == []
    assert clicks.is_settled()


@pytest.mark.exhaustive
def test_a_run_is_planned_for_its_days_and_none_between(clicks: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline_assets.refresh.thin_out", lambda *_: None)
    clicks.refreshed()
    (run,) = clicks.instance.get_run_records(dg.RunsFilter(job_name=BUILD_JOB))
    planned = recorded(clicks, run.dagster_run.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    assert planned == {key: [day.isoformat() for day in APART] for key in TABLES}


@pytest.mark.exhaustive
def test_a_partition_a_range_and_a_backfill_asked_for_by_hand_are_built_whole(clicks: Deployment) -> None:
    clicks.refreshed()
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    one = by_hand(clicks, *TABLES, **{PARTITION_NAME_TAG: "2020-02-29"})
    assert one.success
    assert recorded(clicks, one.run_id, kind) == {key: ["2020-02-29"] for key in TABLES}
    days = {ASSET_PARTITION_RANGE_START_TAG: "2026-02-27", ASSET_PARTITION_RANGE_END_TAG: "2026-03-02"}
    whole = ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    # Dagster's daemon makes one run of a backfill of assets with a policy of single runs, for the range it tags.
    for more in ({}, {BACKFILL_ID_TAG: "backfill"}):
        several = by_hand(clicks, *TABLES, **days, **more)
        assert several.success
        assert recorded(clicks, several.run_id, kind) == dict.fromkeys(TABLES, whole)
    assert clicks.value("select count(*) from marts.sessions") == len(APART)
    assert clicks.refreshed().stale_days == 0
    assert clicks.check_everything() == []


@pytest.mark.exhaustive
def test_one_bad_day_keeps_none_of_the_others_from_being_built(
    clicks: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline_assets.ledger import builds

    confirm = builds.require_all

    def refuse(table: str, days: list[date], ages: list[float]) -> None:
        confirm(table, days, ages)
        if table == "events" and APART[1] in days:
            raise RuntimeError("this day is broken")

    monkeypatch.setattr("pipeline_assets.io_managers.lake.require_all", refuse)
    report = clicks.refresh()
    assert report.failed_runs
    built = {day for (day,) in clicks.sql("select day from ledger.builds where asset = 'sessions' and state = 'built'")}
    assert built == set(APART) - {APART[1]}
    monkeypatch.undo()
    assert clicks.refresh().failed_runs == []
    assert clicks.check_everything() == []
