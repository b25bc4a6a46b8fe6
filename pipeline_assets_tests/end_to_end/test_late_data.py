"""What comes late changes the days it belongs to and their neighbours, and nothing else."""

from collections.abc import Callable
from datetime import date, timedelta

import dagster as dg
import pytest

from pipeline_assets.jobs import BUILD_JOB
from pipeline_assets.tables.spec import EVENTS
from pipeline_assets_tests.end_to_end.deployment import CLICKS, Deployment
from pipeline_assets_tests.end_to_end.test_sensors import on

DAYS = range(1, 13)
LATE = 6


def march(*days: int) -> set[date]:
    return {date(2026, 3, day) for day in days}


@pytest.fixture
def built(deployment: Deployment) -> Deployment:
    """A deployment with twelve days loaded and built, one file a day."""
    deployment.declare("clicks", CLICKS)
    for day in DAYS:
        deployment.deliver(f"clicks/{day:02}.jsonl", on(day))
    deployment.refreshed()
    return deployment


def bookings(deployment: Deployment) -> dict[tuple[str, date], tuple]:
    """Run and moment by table and day."""
    rows = deployment.sql("select asset, day, run_id, built_at, inputs from ledger.builds")
    return {(asset, day): tuple(rest) for asset, day, *rest in rows}


def rebuilt(deployment: Deployment, before: dict[tuple[str, date], tuple]) -> dict[str, set[date]]:
    """The days of every table that were built since."""
    found: dict[str, set[date]] = {}
    for (asset, day), booking in bookings(deployment).items():
        if before.get((asset, day)) != booking:
            found.setdefault(asset, set()).add(day)
    return found


def test_a_late_file_rebuilds_its_day_and_the_neighbours_that_look_at_it_and_leaves_every_other_day_alone(
    built: Deployment,
) -> None:
    before = bookings(built)
    files = set(built.lake_files(EVENTS))
    built.deliver("clicks/late.jsonl", on(LATE, hour=20))
    report = built.refreshed()
    around = march(LATE - 1, LATE, LATE + 1, LATE + 2)
    # Duplicates are looked for one day later too; only what reads the days around those is built for them as well.
    assert rebuilt(built, before) == {
        "events": march(LATE, LATE + 1),
        **dict.fromkeys(("sessions", "page_views", "daily_activity"), around),
    }
    assert [sorted(build.days) for build in report.builds] == [sorted(around)]
    assert len(files & set(built.lake_files(EVENTS))) == len(DAYS) - 2
    assert built.sql("select events::int from marts.daily_activity where activity_date = '2026-03-06'") == [(2,)]


def test_late_files_of_days_far_apart_are_one_build_and_the_days_between_stay(built: Deployment) -> None:
    before = bookings(built)
    built.deliver("clicks/late.jsonl", on(1, 12, hour=20))
    report = built.refreshed()
    assert rebuilt(built, before)["sessions"] == march(1, 2, 3, 11, 12)
    days = {date(2026, 3, day) for day in (1, 2, 3, 11, 12)}
    assert [set(build.days) for build in report.builds] == [days]
    (run,) = built.instance.get_run_records(dg.RunsFilter(job_name=BUILD_JOB), limit=1)
    for event_type in (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED):
        events = built.instance.get_records_for_run(run.dagster_run.run_id, of_type=event_type).records
        recorded = [
            event.asset_event.partition for event in events if event.asset_event and event.asset_event.partition
        ]
        assert {date.fromisoformat(day) for day in recorded} <= set(march(1, 2, 3, 11, 12))


def test_a_late_repeat_of_known_content_rebuilds_nothing(built: Deployment) -> None:
    before = bookings(built)
    built.deliver("clicks/again.jsonl", on(LATE))
    report = built.refreshed()
    assert (report.loads, report.builds) == (1, [])
    assert rebuilt(built, before) == {}


def test_a_late_file_of_a_day_nobody_has_seen_builds_that_day_too(built: Deployment) -> None:
    before = bookings(built)
    built.deliver("clicks/late.jsonl", on(20))
    built.refreshed()
    assert rebuilt(built, before)["sessions"] == march(20)


def test_late_rows_are_counted_and_the_moment_a_day_was_first_built_is_kept(built: Deployment) -> None:
    first = built.value("select first_built_at from ledger.builds where asset = 'events' and day = '2026-03-06'")
    built.deliver("clicks/late.jsonl", on(LATE, LATE + 1, hour=20))
    built.refreshed()
    assert built.refresher_summary("clicks").late == 2
    assert built.sql(
        "select first_built_at, built_at > first_built_at from ledger.builds where asset = 'events' "
        "and day = '2026-03-06'"
    ) == [(first, True)]


def test_an_event_after_midnight_that_comes_late_extends_the_session_of_the_day_before(built: Deployment) -> None:
    midnight = date(2026, 3, LATE + 1)
    line = '{{"id": "{0}", "name": "viewed", "type": "page", "time": "{1}", "visitor": "night", "url": "https://x/"}}\n'
    built.deliver("clicks/evening.jsonl", line.format("n1", f"{midnight - timedelta(days=1)}T23:50:00Z"))
    built.refreshed()
    built.deliver("clicks/night.jsonl", line.format("n2", f"{midnight}T00:10:00Z"))
    built.refreshed()
    assert built.sql(
        "select session_date, events::int, events_next_day::int from marts.sessions where visitor_id = 'night'"
    ) == [(midnight - timedelta(days=1), 2, 1)]


@pytest.mark.exhaustive
def test_a_late_file_before_a_silent_day_builds_and_checks_just_the_days_it_makes_stale(
    new_deployment: Callable[..., Deployment],
) -> None:
    # Who was active within 28 days makes days stale that lie far beyond the silent ones.
    deployment = new_deployment(tables=("active_users",))
    deployment.declare("clicks", CLICKS)
    for name, day in (("friday", 6), ("monday", 9), ("late", 6), ("later", 2), ("latest", 20)):
        deployment.deliver(f"clicks/{name}.jsonl", on(day, hour=len(name)))
        assert not deployment.refreshed().stale_days
    assert deployment.check_everything() == []
    assert deployment.is_settled()


def test_a_check_is_about_the_days_that_its_run_has_built(built: Deployment) -> None:
    built.deliver("clicks/late.jsonl", on(LATE, hour=20))
    report = built.refreshed()
    (build,) = report.builds
    assert set(build.days) == set(march(LATE - 1, LATE, LATE + 1, LATE + 2))
    runs = built.instance.get_run_records(dg.RunsFilter(job_name=BUILD_JOB), limit=1)
    key = dg.AssetCheckKey(dg.AssetKey("events"), "days_balance")
    latest = built.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert latest.run_id == runs[0].dagster_run.run_id
    assert latest.event is not None and latest.event.dagster_event is not None
    evaluation = latest.event.dagster_event.asset_check_evaluation_data
    assert evaluation.metadata["days"].value == 2
