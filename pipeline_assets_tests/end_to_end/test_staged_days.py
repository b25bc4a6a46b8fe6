"""Dagster is told of every day of staging that has changed, whatever has changed it."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg
import duckdb
import pytest
import sqlalchemy as sa

from pipeline_assets.asset_keys import staged_days_key
from pipeline_assets.jobs import LOAD_JOB
from pipeline_assets.ledger.changed_days import OBSERVE, note
from pipeline_assets.ledger.counting import booked_fingerprints
from pipeline_assets.metadata import DATA_VERSION
from pipeline_assets.observing import observe_days
from pipeline_assets.sensors.stale_days import stale_days
from pipeline_assets.staging.loading import SourceLoader
from pipeline_assets_tests.end_to_end.deployment import CLICKS, QUIET, Deployment
from pipeline_assets_tests.end_to_end.test_sensors import let_settle, on, tick
from pipeline_assets_tests.end_to_end.test_undeclared import retire, undeclare

NO_ROWS = "no rows"
TAPS = CLICKS.replace("clicks/*", "taps/*")


@pytest.fixture
def staged(new_deployment: Callable[..., Deployment]) -> Deployment:
    """A deployment with days of two sources."""
    made = new_deployment(tables=("events",))
    made.declare("clicks", CLICKS)
    made.declare("taps", TAPS)
    made.deliver("clicks/a.jsonl", on(1, 2) + "no json\n")
    made.deliver("clicks/b.jsonl", on(2, hour=13))
    made.deliver("taps/a.jsonl", on(2, 3, hour=14))
    made.refreshed()
    return made


def told(deployment: Deployment) -> list[tuple[date, str]]:
    """All that Dagster was told of days and their versions, in order."""
    records = deployment.instance.fetch_observations(staged_days_key(), limit=1000, ascending=True).records
    found = [record.event_log_entry.asset_observation for record in records]
    return [(date.fromisoformat(each.partition or ""), each.tags[DATA_VERSION]) for each in found if each is not None]


def booked(deployment: Deployment) -> dict[date, str]:
    """The version of each day by the ledger."""
    return booked_fingerprints(deployment.platform.engine, deployment.platform.sources, date.min, date.max)


def check_told(deployment: Deployment) -> None:
    """What Dagster was told last of each day is what the ledger says."""
    latest = dict(told(deployment))
    assert {day: version for day, version in latest.items() if version != NO_ROWS} == booked(deployment)


def load_late(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    deployment.deliver("clicks/late.jsonl", on(2, 4, hour=15))
    deployment.refresh()


def correct(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    deployment.deliver("clicks/a.jsonl", on(4, 5))
    deployment.refresh()


def mend(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    deployment.declare("clicks", CLICKS + "  rules: {known: \"event_name <> 'viewed'\"}\n")
    deployment.refresh()


def replay(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    ((content,),) = deployment.sql("select content from ledger.quarantine")
    deployment.platform.files.read_again("clicks", [content])
    deployment.refresh()


def retire_a_source(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    undeclare(deployment, "taps")
    retire(deployment, "taps")


def move_the_first_day(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    deployment.settings = replace(deployment.settings, first_day=date(2026, 3, 2))
    deployment.reload()
    deployment.refresh()


def lose_staged_files(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    for path in deployment.settings.lake_dir.glob("staging/*/2026-03-02/*"):
        path.unlink()
    deployment.platform.full_looks.ask()
    deployment.refresh()


def end_after_booking(deployment: Deployment, patch: pytest.MonkeyPatch) -> None:
    """A load that is killed when it has booked, and a tick."""
    load = SourceLoader.load

    def deadly(*arguments: Any, **named: Any) -> None:
        load(*arguments, **named)
        raise RuntimeError("killed")

    deployment.deliver("clicks/late.jsonl", on(2, 4, hour=15))
    with patch.context() as patched:
        patched.setattr(SourceLoader, "load", deadly)
        job = deployment.definitions.resolve_job_def(LOAD_JOB)
        assert not job.execute_in_process(instance=deployment.instance, run_config=QUIET, raise_on_error=False).success
    assert dict(told(deployment))[date(2026, 3, 2)] != booked(deployment)[date(2026, 3, 2)]
    requests, _ = tick(stale_days, deployment)
    assert requests


def correct_the_counts(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    """Sums that went wrong were told, and are put right."""
    with deployment.platform.engine.begin() as connection:
        connection.execute(sa.text("update ledger.staged_days set fingerprint = fingerprint + 1"))
    assert not deployment.platform.files.recount("clicks")
    assert not deployment.platform.files.recount("taps")
    deployment.refresh()


ROADS = (
    load_late,
    correct,
    mend,
    replay,
    retire_a_source,
    move_the_first_day,
    lose_staged_files,
    end_after_booking,
    correct_the_counts,
)


@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.__name__)
def test_what_dagster_was_told_last_of_a_day_is_its_version_in_the_ledger(
    staged: Deployment, road: Callable[[Deployment, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_told(staged)
    road(staged, monkeypatch)
    check_told(staged)
    assert staged.platform.files.unobserved_days(1) == []


def test_days_that_stay_as_they_are_are_not_observed_again(staged: Deployment) -> None:
    staged.deliver("clicks/late.jsonl", on(2, hour=15))
    staged.refreshed()
    before, versions, names = told(staged), booked(staged), names_of(staged)
    staged.deliver("clicks/repeat.jsonl", on(2, hour=15))
    staged.refreshed()
    assert (names_of(staged), booked(staged), told(staged)) == (names, versions, before)
    let_settle(staged)
    assert staged.refreshed().idle
    assert len(names_of(staged)) < len(names)
    assert (booked(staged), told(staged)) == (versions, before)


def names_of(deployment: Deployment) -> set[str]:
    """The staged files that count."""
    return {each.file.name for each in deployment.platform.staged_files(date.min, date.max)}


def test_a_day_that_changes_while_dagster_is_told_of_it_is_told_again(staged: Deployment) -> None:
    staged.deliver("clicks/late.jsonl", on(2, hour=15))
    with staged.platform.engine.begin() as connection:
        connection.execute(
            sa.text("insert into ledger.changed_days values ('observe', 'clicks', date '2026-03-02', now())")
        )
    changes: list[dg.AssetObservation] = []

    def tell(observation: dg.AssetObservation) -> None:
        if not changes:
            with duckdb.connect() as database:
                staged.platform.loader("clicks", database).load(staged.platform.pending("clicks"))
        changes.append(observation)
        staged.instance.report_runless_asset_event(observation)

    observe_days(staged.platform, tell)
    assert len(changes) == 2
    check_told(staged)


def test_a_day_that_somebody_is_changing_is_told_once_and_left_to_who_comes_next(staged: Deployment) -> None:
    day = date(2026, 3, 2)
    with staged.platform.engine.begin() as connection:
        note(connection, OBSERVE, "clicks", [day])
    found: list[dg.AssetObservation] = []

    def tell(observation: dg.AssetObservation) -> None:
        assert not found, "it is told again and again, until the other one has come to an end"
        found.append(observation)

    with staged.platform.engine.begin() as connection:
        note(connection, OBSERVE, "clicks", [day])
        observe_days(staged.platform, tell)
    assert [each.partition for each in found] == ["2026-03-02"]
    observe_days(staged.platform, found.append)
    assert [each.partition for each in found] == ["2026-03-02"] * 2
    assert staged.platform.files.unobserved_days(1) == []


def test_a_tick_observes_so_many_days_and_the_next_one_the_rest(
    staged: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    with staged.platform.engine.begin() as connection:
        connection.execute(
            sa.text(
                "insert into ledger.changed_days select 'observe', 'clicks', date '2026-03-01' + n, now() "
                "from generate_series(0, 9) n"
            )
        )
    found: list[dg.AssetObservation] = []
    caplog.set_level(logging.WARNING)
    for expected in (4, 8, 10, 10):
        observe_days(staged.platform, found.append, most=4)
        assert len(found) == expected
    assert {each.tags[DATA_VERSION] for each in found if each.partition == "2026-03-09"} == {NO_ROWS}
    assert caplog.messages == []
