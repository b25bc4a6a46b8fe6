"""Real ticks of the sensors, on real files, a real ledger and real runs."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from unittest.mock import MagicMock

import dagster as dg
import duckdb
import pytest
import sqlalchemy as sa
from dagster._core.definitions.partitions.snap import PartitionsSnap
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.test_utils import create_run_for_test
from polars.exceptions import ComputeError

from pipeline_assets.attempts import failed_attempts
from pipeline_assets.cli.deployment import in_vain
from pipeline_assets.engine.rows import MartRows
from pipeline_assets.jobs import BUILD_JOB, LOAD_JOB
from pipeline_assets.ledger.full_looks import UNCLAIMED, landing_part
from pipeline_assets.namespace import PLAIN
from pipeline_assets.partitions import request_tags, tagged_days
from pipeline_assets.planning import BuildRequest
from pipeline_assets.resources import resource_key
from pipeline_assets.sensors import alarms
from pipeline_assets.sensors import new_files as new_files_module
from pipeline_assets.sensors.alarms import silent_sources, unmatched_files
from pipeline_assets.sensors.backing_off import INPUTS_TAG, inputs_digest, must_wait, pause_after
from pipeline_assets.sensors.declaring import TICK_SECONDS, Sensor, sensor
from pipeline_assets.sensors.new_files import new_files
from pipeline_assets.sensors.stale_days import stale_days
from pipeline_assets.staging import compaction
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.patience import RUN, TICK, Patience, patience
from pipeline_assets.storage.store import UnreachableError
from pipeline_assets_tests.end_to_end.deployment import CLICKS, QUIET, Deployment
from pipeline_assets_tests.end_to_end.test_files import click
from pipeline_assets_tests.storage.object_store import in_environment

MARCH = [date(2026, 3, day) for day in range(1, 32)]


@pytest.fixture
def clicks(deployment: Deployment) -> Deployment:
    """A deployment with a source of JSON lines."""
    deployment.declare("clicks", CLICKS)
    return deployment


def tick(sensor: Sensor, deployment: Deployment) -> tuple[Sequence[dg.RunRequest], str | None]:
    """The requests of one tick, and why there are none."""
    namespace = deployment.settings.namespace
    context = dg.build_sensor_context(
        instance=deployment.instance,
        resources={resource_key("platform", namespace): deployment.platform},
        definitions=deployment.definitions,
    )
    data = sensor.definition(namespace).evaluate_tick(context)
    return data.run_requests or [], data.skip_message


def settled(deployment: Deployment, name: str, content: str) -> Path:
    """A delivered file that nobody has written to for a while."""
    path = deployment.deliver(name, content)
    earlier = time.time() - 60
    os.utime(path, (earlier, earlier))
    return path


def on(*days: int, hour: int = 12) -> str:
    """A click on each of some days of March."""
    return "".join(click(100 * hour + day, time=f"2026-03-{day:02}T{hour:02}:00:00Z") for day in days)


def run(deployment: Deployment, job: str, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """What the daemon does with a request."""
    return deployment.definitions.resolve_job_def(job).execute_in_process(
        instance=deployment.instance,
        asset_selection=request.asset_selection,
        tags=request.tags,
        run_config=QUIET,
        raise_on_error=False,
    )


def finished(deployment: Deployment, job: str, tags: dict[str, str], status: dg.DagsterRunStatus) -> None:
    """A run on record that has ended."""
    record = create_run_for_test(deployment.instance, job_name=job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    if status == dg.DagsterRunStatus.FAILURE:
        deployment.instance.report_run_failed(record)
    else:
        deployment.instance.report_run_canceled(record)


def test_with_nothing_to_do_the_sensors_ask_for_nothing_and_say_so(clicks: Deployment) -> None:
    assert tick(new_files, clicks) == ([], "No file is pending.")
    assert tick(stale_days, clicks) == ([], "Every day is built from what is there now.")


def test_a_file_that_was_written_to_just_now_is_waited_for(clicks: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # However long the first tick takes.
    monkeypatch.setattr("pipeline_assets.sensors.new_files.SETTLE_SECONDS", 3600)
    clicks.deliver("clicks/a.jsonl", on(1))
    assert tick(new_files, clicks) == ([], "Files are still being written.")


def test_a_file_of_a_time_to_come_is_not_waited_for(clicks: Deployment) -> None:
    path = clicks.deliver("clicks/a.jsonl", on(1))
    # Copied with its times from a machine whose clock is wrong.
    ahead = time.time() + 365 * 24 * 60 * 60
    os.utime(path, (ahead, ahead))
    assert len(tick(new_files, clicks)[0]) == 1


def test_a_settled_file_is_asked_for_with_its_source_alone(clicks: Deployment) -> None:
    settled(clicks, "clicks/a.jsonl", on(1))
    (request,), _ = tick(new_files, clicks)
    assert request.asset_selection == [dg.AssetKey(["staging", "clicks"])]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_no_load_is_asked_for_while_one_waits_or_is_under_way(clicks: Deployment, status: dg.DagsterRunStatus) -> None:
    settled(clicks, "clicks/a.jsonl", on(1))
    create_run_for_test(clicks.instance, job_name=LOAD_JOB, status=status)
    assert tick(new_files, clicks) == ([], "A load is under way.")


@pytest.mark.parametrize("job", [LOAD_JOB, BUILD_JOB])
def test_no_build_is_asked_for_while_files_are_loaded_or_days_built(clicks: Deployment, job: str) -> None:
    settled(clicks, "clicks/a.jsonl", on(1))
    run(clicks, LOAD_JOB, tick(new_files, clicks)[0][0])
    create_run_for_test(clicks.instance, job_name=job, status=dg.DagsterRunStatus.STARTED)
    assert tick(stale_days, clicks) == ([], "A run is under way.")


def test_files_flow_through_both_sensors_into_the_tables_and_then_there_is_rest(clicks: Deployment) -> None:
    settled(clicks, "clicks/a.jsonl", on(1, 2))
    assert run(clicks, LOAD_JOB, tick(new_files, clicks)[0][0]).success
    assert tick(new_files, clicks) == ([], "No file is pending.")
    assert run(clicks, BUILD_JOB, tick(stale_days, clicks)[0][0]).success
    assert tick(stale_days, clicks) == ([], "Every day is built from what is there now.")
    assert clicks.value("select sum(events)::int from marts.daily_activity") == 2
    assert clicks.is_settled()


def test_when_a_full_look_is_due_a_tick_finds_what_the_lake_has_lost(clicks: Deployment) -> None:
    clicks.deliver("clicks/a.jsonl", on(1, 2))
    clicks.refreshed()
    clicks.lake_files("events", date(2026, 3, 1))[0].unlink()
    tick(new_files, clicks)
    assert tick(stale_days, clicks)[1] == "Every day is built from what is there now."
    clicks.platform.full_looks.ask()
    tick(new_files, clicks)
    (request,), _ = tick(stale_days, clicks)
    assert run(clicks, BUILD_JOB, request).success
    assert len(clicks.lake_files("events", date(2026, 3, 1))) == 1


def test_a_full_look_that_takes_longer_than_a_tick_has_is_left_to_a_load(
    clicks: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks.deliver("clicks/a.jsonl", on(1))
    clicks.refreshed()
    clicks.lake_files("events", date(2026, 3, 1))[0].unlink()
    clicks.platform.full_looks.ask()
    monkeypatch.setattr(new_files_module, "LAKE_SECONDS", -1.0)
    (request,), _ = tick(new_files, clicks)
    assert tick(stale_days, clicks)[1] == "Every day is built from what is there now."
    assert run(clicks, LOAD_JOB, request).success
    assert len(tick(stale_days, clicks)[0]) == 1


def let_settle(deployment: Deployment, minutes: int = 10) -> None:
    """As if what was loaded had been loaded so long ago."""
    with deployment.platform.engine.begin() as connection:
        age = sa.text("update ledger.changed_days set changed_at = changed_at - make_interval(mins => :minutes)")
        connection.execute(age, {"minutes": minutes})


def staged_names(deployment: Deployment, day: int) -> set[str]:
    """The staged files of a day of March."""
    day_of = date(2026, 3, day)
    return {each.file.name for each in deployment.platform.staged_files(day_of, day_of)}


@pytest.fixture
def in_small_files(clicks: Deployment) -> Deployment:
    """The same with a day in three small staged files."""
    for hour in (10, 11, 12):
        settled(clicks, f"clicks/{hour}.jsonl", on(1, hour=hour))
        clicks.refreshed()
    assert len(staged_names(clicks, 1)) == 3
    return clicks


def test_small_staged_files_are_compacted_by_a_run_when_nothing_has_come_for_an_hour(
    in_small_files: Deployment,
) -> None:
    clicks = in_small_files
    let_settle(clicks, 50)
    assert tick(new_files, clicks) == ([], "No file is pending.")
    let_settle(clicks, 20)
    (request,), _ = tick(new_files, clicks)
    assert request.asset_selection == [dg.AssetKey(["staging", "clicks"])]
    assert run(clicks, LOAD_JOB, request).success
    assert len(staged_names(clicks, 1)) == 1
    assert tick(new_files, clicks) == ([], "No file is pending.")
    assert tick(stale_days, clicks) == ([], "Every day is built from what is there now.")
    assert clicks.is_settled()


def test_days_that_cannot_be_compacted_are_not_asked_for_again_and_again(
    in_small_files: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks = in_small_files
    let_settle(clicks, 90)
    (request,), _ = tick(new_files, clicks)
    # A run that came to nothing.
    finished(clicks, LOAD_JOB, dict(request.tags), dg.DagsterRunStatus.FAILURE)
    assert "asked for once" in str(tick(new_files, clicks)[1])
    settled(clicks, "clicks/13.jsonl", on(1, hour=13))
    with monkeypatch.context() as patch:
        patch.setattr(compaction, "scan_staged", MagicMock(side_effect=ComputeError("of no file")))
        clicks.refreshed()
        let_settle(clicks, 90)
        assert run(clicks, LOAD_JOB, tick(new_files, clicks)[0][0]).success
    assert tick(new_files, clicks) == ([], "No file is pending.")


def test_a_refresh_compacts_what_has_settled_and_the_views_show_the_same(in_small_files: Deployment) -> None:
    clicks = in_small_files
    assert clicks.refreshed().idle
    assert len(staged_names(clicks, 1)) == 3
    let_settle(clicks)
    before = staged_names(clicks, 1)
    assert clicks.refreshed().idle
    assert len(staged_names(clicks, 1)) == 1
    # As after two days.
    for name in before:
        (clicks.settings.lake_dir / name).unlink()
    with duckdb.connect(str(clicks.settings.lake_dir / "staging.duckdb"), read_only=True) as views:
        assert views.sql("select count(*) from clicks").fetchall() == [(3,)]
    assert clicks.is_settled()


def test_all_stale_days_are_asked_for_in_a_single_run(clicks: Deployment) -> None:
    clicks.deliver("clicks/a.jsonl", on(10, 11, 12, 20, 21))
    clicks.refreshed()
    settled(clicks, "clicks/b.jsonl", on(11, 21, hour=15))
    run(clicks, LOAD_JOB, tick(new_files, clicks)[0][0])
    (request,), _ = tick(stale_days, clicks)
    days = [*MARCH[9:12], *MARCH[19:21]]
    assert tagged_days(request.tags) == days
    assert request.tags.items() >= request_tags(BuildRequest(tuple(days), ())).items()
    assert run(clicks, BUILD_JOB, request).success
    assert tick(stale_days, clicks)[1] == "Every day is built from what is there now."


def test_a_late_file_makes_only_its_day_and_the_neighbours_stale(clicks: Deployment) -> None:
    clicks.deliver("clicks/a.jsonl", on(*range(1, 15)))
    clicks.refreshed()
    settled(clicks, "clicks/late.jsonl", on(8, hour=15))
    run(clicks, LOAD_JOB, tick(new_files, clicks)[0][0])
    (request,), _ = tick(stale_days, clicks)
    # The day before it and the day after look at it; duplicates look back a day, and sessions a day around that.
    assert tagged_days(request.tags) == MARCH[6:10]


def test_the_pause_doubles_from_two_minutes_to_an_hour() -> None:
    minutes = [pause_after(runs) / timedelta(minutes=1) for runs in range(9)]
    assert minutes == [0, 2, 4, 8, 16, 32, 60, 60, 60]


def test_after_runs_in_vain_the_same_is_not_asked_for_before_the_pause_is_over(deployment: Deployment) -> None:
    digest = inputs_digest([MARCH[0], "fingerprint"])
    assert must_wait(deployment.instance, BUILD_JOB, digest) is None
    for runs in (1, 2, 3):
        finished(deployment, BUILD_JOB, {INPUTS_TAG: digest}, dg.DagsterRunStatus.FAILURE)
        now = datetime.now(UTC)
        almost = now + pause_after(runs) - timedelta(seconds=20)
        reason = must_wait(deployment.instance, BUILD_JOB, digest, now=almost)
        assert reason is not None
        assert ("once" if runs == 1 else f"{runs} times") in str(reason.skip_message)
        over = now + pause_after(runs) + timedelta(seconds=1)
        assert must_wait(deployment.instance, BUILD_JOB, digest, now=over) is None


def test_a_cancelled_run_counts_as_one_in_vain(deployment: Deployment) -> None:
    digest = inputs_digest(["x"])
    finished(deployment, BUILD_JOB, {INPUTS_TAG: digest}, dg.DagsterRunStatus.CANCELED)
    assert must_wait(deployment.instance, BUILD_JOB, digest) is not None


def test_runs_for_something_else_or_of_another_job_are_no_reason_to_wait(deployment: Deployment) -> None:
    digest = inputs_digest(["x"])
    finished(deployment, BUILD_JOB, {INPUTS_TAG: inputs_digest(["y"])}, dg.DagsterRunStatus.FAILURE)
    finished(deployment, LOAD_JOB, {INPUTS_TAG: digest}, dg.DagsterRunStatus.FAILURE)
    assert must_wait(deployment.instance, BUILD_JOB, digest) is None


def test_after_a_failed_build_the_sensor_waits_and_asks_at_once_when_its_inputs_change(clicks: Deployment) -> None:
    settled(clicks, "clicks/a.jsonl", on(1))
    run(clicks, LOAD_JOB, tick(new_files, clicks)[0][0])
    (staged,) = clicks.settings.lake_dir.glob("staging/clicks/*/*.parquet")
    staged.unlink()
    (request,), _ = tick(stale_days, clicks)
    failed = run(clicks, BUILD_JOB, request)
    assert not failed.success
    requests, reason = tick(stale_days, clicks)
    assert requests == []
    assert "asked for once and is still to be done" in str(reason)
    assert f"events: 2026-03-01 not published by run {failed.run_id}" in str(reason)
    assert "The lake has lost the staged rows of 1 file" in str(reason)
    assert "`pipeline-assets refresh`" in str(reason)
    # Something has changed: there is a new reason to hope.
    settled(clicks, "clicks/a.jsonl", on(1, 2))
    assert run(clicks, LOAD_JOB, tick(new_files, clicks)[0][0]).success
    (request,), _ = tick(stale_days, clicks)
    assert run(clicks, BUILD_JOB, request).success
    assert tick(stale_days, clicks)[1] == "Every day is built from what is there now."


def test_when_too_many_builds_fail_the_tick_says_that_days_are_not_tried_apart(clicks: Deployment) -> None:
    settled(clicks, "clicks/a.jsonl", on(1, 2, 3))
    run(clicks, LOAD_JOB, tick(new_files, clicks)[0][0])
    for _ in range(9):
        finished(clicks, BUILD_JOB, {}, dg.DagsterRunStatus.FAILURE)
    for staged in clicks.settings.lake_dir.glob("staging/clicks/*/*.parquet"):
        staged.unlink()
    assert not run(clicks, BUILD_JOB, tick(stale_days, clicks)[0][0]).success
    requests, reason = tick(stale_days, clicks)
    assert requests == []
    assert "10 builds or more have failed within the last hour" in str(reason)


def test_status_tells_what_was_built_in_vain_and_why_until_it_is_built(
    clicks: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks.deliver("clicks/a.jsonl", on(1))
    clicks.refreshed()
    assert in_vain(clicks.platform) == []
    monkeypatch.setattr("pipeline_assets.dagster_storage.pipeline_instance", lambda _: nullcontext(clicks.instance))
    with monkeypatch.context() as broken:
        broken.setattr(MartRows, "add", lambda *_: 1 / 0)
        clicks.deliver("clicks/b.jsonl", on(1, hour=15))
        report = clicks.refresh()
    *lines, advice = in_vain(clicks.platform)
    (line,) = (line for line in lines if line.startswith("sessions: "))
    assert line.startswith(f"sessions: 2026-03-01 not published by run {report.failed_runs[0]}, which began 20")
    assert line.endswith("UTC: sessions: ZeroDivisionError: division by zero")
    assert "tries at once" in advice
    # A run at work has not failed.
    for table in ("sessions", "page_views"):
        clicks.platform.claim(table, [MARCH[0]], create_run_for_test(clicks.instance).run_id)
    assert in_vain(clicks.platform) == []
    clicks.refreshed()
    assert in_vain(clicks.platform) == []
    # What is to be built again was not tried yet.
    clicks.platform.builds.build_again("sessions", [MARCH[0]])
    assert in_vain(clicks.platform) == []


def test_of_many_attempts_in_vain_the_latest_are_told_and_the_others_counted(clicks: Deployment) -> None:
    statuses = [dg.DagsterRunStatus.FAILURE] * 11 + [dg.DagsterRunStatus.STARTED]
    runs = [create_run_for_test(clicks.instance, job_name=BUILD_JOB, status=status).run_id for status in statuses]
    for day, run_id in zip(MARCH, runs, strict=False):
        clicks.platform.claim("sessions", [day], run_id)
    *lines, rest, _ = failed_attempts(clicks.platform, lambda: nullcontext(clicks.instance))
    assert [line.split()[6].rstrip(",") for line in lines] == runs[10:0:-1]
    assert rest == "And 1 more attempt of other runs or tables."


def test_on_another_storage_days_that_dagster_does_not_know_hold_up_no_other(
    new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    clicks = new_deployment(tables=("sessions",))
    clicks.declare("clicks", CLICKS)
    clicks.deliver("clicks/a.jsonl", on(10))
    clicks.refreshed()
    clicks.reload()
    sessions = clicks.definitions.resolve_asset_graph().get(dg.AssetKey("sessions")).partitions_def
    assert sessions is not None
    known = PartitionsSnap.from_def(sessions).get_partitions_definition()
    assert known.get_partition_keys() == ["2026-03-10"]

    settled(clicks, "clicks/b.jsonl", on(2, 20))
    assert run(clicks, LOAD_JOB, tick(new_files, clicks)[0][0]).success
    ours = clicks.instance
    (tmp_path / "theirs").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "theirs")) as theirs:
        clicks.instance = theirs
        requests, reason = tick(stale_days, clicks)
        assert requests == []
        assert "when the code location is loaded again" in str(reason)
        settled(clicks, "clicks/c.jsonl", on(9, 10, 11, hour=13))
        clicks.instance = ours
        assert run(clicks, LOAD_JOB, tick(new_files, clicks)[0][0]).success
        clicks.instance = theirs
        (request,), _ = tick(stale_days, clicks)
    assert tagged_days(request.tags) == [date(2026, 3, 10)]
    # What the daemon asks first.
    planned = DagsterRun(job_name=BUILD_JOB, tags=dict(request.tags)).get_resolved_partitions_subset_for_events(known)
    assert planned is not None
    clicks.instance = ours
    (request,), _ = tick(stale_days, clicks)
    assert tagged_days(request.tags)[0] == date(2026, 3, 2)


def test_a_full_look_into_a_bucket_that_takes_longer_than_a_tick_has_is_left_to_a_load(
    new_deployment: Callable[..., Deployment], s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks = new_deployment(landing_url=s3)
    clicks.declare("clicks", CLICKS)
    landing = open_store(s3)
    landing.put("clicks/a.jsonl", on(1).encode())
    clicks.refreshed()
    looks = clicks.platform.full_looks
    looks.ask()
    with monkeypatch.context() as patched:
        patched.setattr(new_files_module, "TICK_SECONDS", -1.0)
        (request,), _ = tick(new_files, clicks)
    parts = (landing_part("clicks"), UNCLAIMED)
    assert [looks.begin(part).is_full for part in parts] == [True, True]
    assert run(clicks, LOAD_JOB, request).success
    assert [looks.begin(part).is_full for part in parts] == [False, False]
    assert tick(new_files, clicks) == ([], "No file is pending.")


def test_a_tick_says_that_a_bucket_cannot_be_reached(new_deployment: Callable[..., Deployment], tmp_path: Path) -> None:
    clicks = new_deployment(landing_url="s3://bucket/landing")
    clicks.declare("clicks", CLICKS)
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    with (
        in_environment(nobody, home=tmp_path),
        pytest.raises(UnreachableError, match=r"s3://bucket/landing.*127.0.0.1:1 cannot be reached.*See that it runs"),
    ):
        tick(new_files, clicks)


def test_a_tick_waits_for_a_store_as_long_as_a_tick_has_and_a_run_as_long_as_it_wants(clicks: Deployment) -> None:
    seen: list[Patience] = []

    @sensor(minimum_interval_seconds=10, description="Sees how long it would wait.")
    def waits() -> dg.SkipReason:
        seen.append(patience())
        return dg.SkipReason("")

    tick(waits, clicks)
    assert (seen, patience()) == ([TICK], RUN)
    assert TICK_SECONDS + TICK.most.total_seconds() < 60 < RUN.most.total_seconds()


def test_after_a_load_that_left_its_files_pending_the_doorbell_waits_until_the_files_change(clicks: Deployment) -> None:
    path = settled(clicks, "clicks/a.jsonl", on(1))
    (request,), _ = tick(new_files, clicks)
    finished(clicks, LOAD_JOB, dict(request.tags), dg.DagsterRunStatus.FAILURE)
    requests, reason = tick(new_files, clicks)
    assert requests == []
    assert "asked for once" in str(reason)
    settled(clicks, path.relative_to(clicks.settings.landing_dir).as_posix(), on(1, 2))
    assert len(tick(new_files, clicks)[0]) == 1


def test_a_source_that_falls_silent_rings_without_a_file_or_a_run(
    clicks: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks.declare("clicks", CLICKS.replace("late: 1}", "late: 1, freshness_hours: 2}"))
    settled(clicks, "clicks/a.jsonl", on(10))
    clicks.refreshed()
    cursors: dict[str, str | None] = {}

    def ring(sensor: Sensor = silent_sources) -> list[tuple[bool | None, str]]:
        context = dg.build_sensor_context(
            instance=clicks.instance,
            resources={resource_key("platform", PLAIN): clicks.platform},
            definitions=clicks.definitions,
            cursor=cursors.get(sensor.description),
        )
        data = sensor.definition(PLAIN).evaluate_tick(context)
        cursors[sensor.description] = data.cursor
        events = [event for event in data.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
        return [(event.passed, event.check_name) for event in events]

    assert sorted(ring()) == [(True, "freshness"), (True, "quarantined_share")]
    assert ring() == []
    assert sorted(ring(unmatched_files)) == [(True, "every_file_has_a_source"), (True, "has_files")]
    clicks.deliver("nobodys/a.jsonl", on(10))
    assert ring(unmatched_files) == [(False, "every_file_has_a_source")]
    with monkeypatch.context() as patched:
        # What cannot be looked through in a tick's time is as it was.
        patched.setattr(alarms, "TICK_SECONDS", -1.0)
        assert ring(unmatched_files) == []
    assert ring(unmatched_files) == []
    with clicks.platform.engine.begin() as connection:
        connection.execute(sa.text("update ledger.files set booked_at = now() - interval '3 hours'"))
    assert ring() == [(False, "freshness")]
    report = clicks.refresh()
    assert (report.silent, report.exit_code) == (["clicks"], 3)
    settled(clicks, "clicks/b.jsonl", on(11))
    clicks.refreshed()
    assert ring() == [(True, "freshness")]


def test_the_freshness_of_a_source_is_a_policy_that_the_daemon_evaluates(clicks: Deployment) -> None:
    def policy() -> dg.FreshnessPolicy | None:
        graph = clicks.definitions.resolve_asset_graph()
        return graph.get(dg.AssetKey(["staging", "clicks"])).freshness_policy_or_from_metadata

    assert policy() is None
    clicks.declare("clicks", CLICKS.replace("late: 1}", "late: 1, freshness_hours: 2}"))
    assert policy() == dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=2))
