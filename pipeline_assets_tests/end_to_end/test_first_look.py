"""What Dagster's UI is told: the days that are there, what is known of each, and whose runs they are."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.partitions.snap import PartitionsSnap
from dagster._core.storage.dagster_run import DagsterRun
from dagster_shared.check import CheckError
from dagster_shared.record import as_dict

from pipeline_assets.code_location import code_location_name
from pipeline_assets.dagster_storage import PlannedRun
from pipeline_assets.figures import ROWS
from pipeline_assets.jobs import BUILD_JOB, LOAD_JOB
from pipeline_assets.partitions import request_tags
from pipeline_assets.planning import BuildRequest
from pipeline_assets.shown_days import NOTHING_YET
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, CLICKS, Deployment
from pipeline_assets_tests.end_to_end.test_files import click


def on(number: int, day: date) -> str:
    return click(number, time=f"{day}T12:00:00Z")


def shown(deployment: Deployment) -> set[tuple[str, ...]]:
    """The partitions of all daily tables as the UI has them from the loaded code location."""
    graph = deployment.definitions.resolve_asset_graph()
    definitions = (graph.get(dg.AssetKey(table)).partitions_def for table in BACKBONE_TABLES)
    return {
        tuple(PartitionsSnap.from_def(each).get_partitions_definition().get_partition_keys())
        for each in definitions
        if each is not None
    }


def records(deployment: Deployment, table: str) -> dict[str, dict[str, object]]:
    """Numbers and texts of the latest materialization of every day."""
    found: dict[str, dict[str, object]] = {}
    events = deployment.instance.fetch_materializations(dg.AssetKey(table), limit=1000).records
    for record in events:
        materialization = record.asset_materialization
        assert materialization is not None
        assert materialization.partition is not None
        found.setdefault(
            materialization.partition, {name: value.value for name, value in materialization.metadata.items()}
        )
    return found


def test_an_earlier_day_is_built_at_once_and_shown_when_the_location_is_loaded_again(deployment: Deployment) -> None:
    deployment.declare("clicks", CLICKS)
    today = datetime.now(UTC).date()
    early, first, second = (today - timedelta(days=days) for days in (40, 3, 2))
    (nothing_yet,) = shown(deployment)
    assert nothing_yet[0] == max(deployment.settings.first_day, today - NOTHING_YET).isoformat()
    deployment.deliver("clicks/a.jsonl", on(1, first) + on(2, second))
    deployment.refreshed()

    deployment.reload()
    until_now = [(first + timedelta(days=days)).isoformat() for days in range(4)]
    assert shown(deployment) == {tuple(until_now)}

    deployment.deliver("clicks/b.jsonl", on(3, early))
    deployment.refreshed()
    assert deployment.value("select min(session_date) from marts.sessions") == early
    assert shown(deployment) == {tuple(until_now)}

    deployment.reload()
    ((*days,),) = shown(deployment)
    assert (days[0], days[-1]) == (early.isoformat(), today.isoformat())
    assert deployment.check_everything() == []


def test_a_run_for_a_day_from_before_those_shown_is_planned_like_any_other() -> None:
    known = dg.DailyPartitionsDefinition(start_date="2026-03-02", end_date="2026-03-16")
    days = (date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1))
    run = DagsterRun(job_name=BUILD_JOB, tags=request_tags(BuildRequest(days, ())))
    with pytest.raises(CheckError, match="before"):
        run.get_resolved_partitions_subset_for_events(known)
    planned = PlannedRun(**as_dict(run)).get_resolved_partitions_subset_for_events(known)
    assert planned is not None
    assert list(planned.get_partition_keys()) == ["2024-02-28", "2024-02-29", "2024-03-01"]
    assert PlannedRun(**as_dict(run)).get_resolved_partitions_subset_for_events(None) is None


def test_a_run_for_days_that_are_not_in_a_row_is_planned_for_no_other() -> None:
    known = dg.DailyPartitionsDefinition(start_date="2026-03-02", end_date="2026-03-16")
    days = (date(2024, 2, 28), date(2026, 3, 3), date(2026, 3, 9))
    run = DagsterRun(job_name=BUILD_JOB, tags=request_tags(BuildRequest(days, ())))
    planned = PlannedRun(**as_dict(run)).get_resolved_partitions_subset_for_events(known)
    assert planned is not None
    assert list(planned.get_partition_keys()) == [day.isoformat() for day in days]


def test_every_day_of_a_run_says_what_is_there_and_how_to_ask_for_it(
    new_deployment: Callable[..., Deployment],
) -> None:
    # Products are made of their day's events alone, so that a run for the days around one has nothing to do for them.
    deployment = new_deployment(tables=(*BACKBONE_TABLES, "products"))
    deployment.declare("clicks", CLICKS)
    days = [date(2026, 3, day) for day in range(1, 9)]
    deployment.deliver("clicks/a.jsonl", "".join(on(number, day) for number, day in enumerate(days)))
    deployment.refreshed()
    # Rebuilds some days of most tables, and of products this one.
    deployment.deliver("clicks/b.jsonl", on(100, days[3]))
    deployment.refreshed()

    for table in (deployment.platform.tables[name] for name in (*BACKBONE_TABLES, "products")):
        found = records(deployment, table.name)
        assert sorted(found) == [day.isoformat() for day in days]
        rows = deployment.table(table.name)
        for day in days:
            of_day = rows.filter(pl.col(str(table.partition_column)) == day)
            said = found[day.isoformat()]
            assert said[ROWS] == of_day.height
            for figure in table.figures:
                assert said[figure.name] == of_day.select(figure.expression).item()
            if table.store == "marts":
                query = str(said["Query"])
                assert query.endswith(f"""WHERE "{table.partition_column}" = '{day}'""")
                assert len(deployment.sql(query)) == of_day.height
    assert records(deployment, "events")["2026-03-04"]["landed"] == 2


def test_runs_of_refresh_are_runs_of_the_code_location(deployment: Deployment) -> None:
    deployment.declare("clicks", CLICKS)
    deployment.deliver("clicks/a.jsonl", on(1, date(2026, 3, 1)))
    deployment.refreshed()
    runs = deployment.instance.get_runs()
    assert {run.job_name for run in runs} == {LOAD_JOB, BUILD_JOB}
    for run in runs:
        assert run.remote_job_origin is not None
        assert run.remote_job_origin.location_name == code_location_name()
        assert run.tags_for_storage()[".dagster/repository"] == f"__repository__@{code_location_name()}"
    label = {".dagster/repository": f"__repository__@{code_location_name()}"}
    assert len(deployment.instance.get_runs(dg.RunsFilter(job_name=BUILD_JOB, tags=label))) == 1


def test_the_first_day_shown_and_the_last_one_build_without_the_days_around_them(deployment: Deployment) -> None:
    sessions = deployment.definitions.resolve_asset_graph().get(dg.AssetKey("sessions"))
    assert sessions.partitions_def is not None
    definition = PartitionsSnap.from_def(sessions.partitions_def).get_partitions_definition()
    keys = definition.get_partition_keys()
    assert sessions.partition_mappings
    for mapped in sessions.partition_mappings.values():
        for key in (keys[0], keys[-1]):
            subset = definition.empty_subset().with_partition_keys([key])
            found = mapped.get_upstream_mapped_partitions_result_for_partitions(subset, definition, definition)
            assert found.required_but_nonexistent_subset.is_empty
            assert key in found.partitions_subset
