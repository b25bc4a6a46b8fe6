"""Files of the lake that are lost are noticed and made again, and an older build never takes the place of a newer."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from pipeline_assets.contracts.tables import EVENTS
from pipeline_assets.io_managers.lake import _Draft
from pipeline_assets.jobs import BUILD_JOB, LOAD_JOB
from pipeline_assets.ledger.builds import BuildLedger
from pipeline_assets.platform import LostRowsError
from pipeline_assets.postgres import connect
from pipeline_assets_tests.end_to_end.deployment import CLICKS, QUIET, Deployment, differences
from pipeline_assets_tests.end_to_end.test_sensors import on

DAYS = range(1, 6)


def part(deployment: Deployment, day: int) -> Path:
    return deployment.settings.lake_dir / f"events/event_date=2026-03-{day:02}/part.parquet"


@pytest.fixture
def built(deployment: Deployment) -> Deployment:
    deployment.declare("clicks", CLICKS)
    for day in DAYS:
        deployment.deliver(f"clicks/{day:02}.jsonl", on(day))
    deployment.refreshed()
    return deployment


def test_a_lost_file_of_events_is_stale_and_made_again_and_no_table_loses_a_row(built: Deployment) -> None:
    before = built.everything()
    part(built, 3).unlink()
    assert built.platform.staleness().tables["events"] == {date(2026, 3, 3)}
    with pytest.raises(LostRowsError, match="lost the rows of 1 days, the first of them 2026-03-03"):
        built.platform.lake_files(EVENTS, [date(2026, 3, 3)])
    # A late file has the neighbours of its day built again, which read the lost one.
    built.deliver("clicks/late.jsonl", on(4, hour=20))
    built.refreshed()
    found = built.everything()
    for name, column in (("events", "event_date"), ("sessions", "session_date"), ("daily_activity", "activity_date")):
        untouched = [rows[name].filter(rows[name][column] < date(2026, 3, 4)) for rows in (found, before)]
        assert untouched[0].equals(untouched[1])
    assert found["events"].height == before["events"].height + 1


def test_a_refresh_after_a_loss_makes_the_same_rows_again(built: Deployment) -> None:
    before = built.everything()
    for day in (1, 5):
        part(built, day).unlink()
    assert not built.refreshed().idle
    assert differences(built.everything(), before) == {}
    assert built.refreshed().idle


def test_a_table_that_reads_a_lost_day_fails_and_names_it(built: Deployment) -> None:
    part(built, 3).unlink()
    result = built.definitions.resolve_job_def(BUILD_JOB).execute_in_process(
        instance=built.instance,
        asset_selection=[dg.AssetKey("sessions")],
        partition_key="2026-03-03",
        run_config=QUIET,
        raise_on_error=False,
    )
    assert not result.success
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    assert "2026-03-03" in str(failure.step_failure_data.error)


def test_every_load_restores_staged_files_that_are_lost(built: Deployment) -> None:
    before = built.everything()
    for path in built.settings.lake_dir.glob("staging/clicks/2026-03-0[23]/*.parquet"):
        path.unlink()
    result = built.definitions.resolve_job_def(LOAD_JOB).execute_in_process(
        instance=built.instance, run_config=QUIET, raise_on_error=False
    )
    assert result.success
    assert len(list(built.settings.lake_dir.glob("staging/clicks/*/*.parquet"))) == len(DAYS)
    built.refreshed()
    assert differences(built.everything(), before) == {}


def test_lost_staged_rows_whose_file_is_gone_too_are_named_and_nothing_is_built_without_them(
    built: Deployment,
) -> None:
    before = built.everything()
    (staged,) = built.settings.lake_dir.glob("staging/clicks/2026-03-03/*.parquet")
    staged.unlink()
    (built.settings.landing_dir / "clicks/03.jsonl").unlink()
    built.deliver("clicks/late.jsonl", on(3, hour=20))
    report = built.refresh()
    assert report.exit_code == 1
    assert any("deliver them again; the first was clicks/03.jsonl" in failure for failure in report.failures)
    assert differences(built.everything(), before) == {}
    built.deliver("clicks/03.jsonl", on(3))
    built.refresh()
    assert built.is_settled()


def test_a_build_that_loses_its_claim_while_it_publishes_puts_no_further_file_in_place(
    built: Deployment, new_deployment: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = new_deployment()
    clean.declare("clicks", CLICKS)
    for each in (built, clean):
        for day in DAYS:
            each.deliver(f"clicks/{day:02}.jsonl", on(day))
            each.deliver(f"clicks/more{day:02}.jsonl", on(day, hour=20))
    clean.refreshed()
    published: list[Path] = []
    doubted: list[tuple[int, str, int]] = []
    publish, build_again = _Draft.publish, BuildLedger.build_again

    def publishing(draft: _Draft) -> None:
        publish(draft)
        published.append(draft._path)
        if len(published) == 2:
            # The server goes away for a moment: whoever claims these days now is not kept from them any more.
            with connect(built.settings.postgres_url or "", autocommit=True) as connection:
                connection.execute("""
                    select pg_terminate_backend(pid) from pg_stat_activity
                    where state = 'idle in transaction' and datname = current_database()
                """)

    def doubting(ledger: BuildLedger, table: str, days: Sequence[date]) -> None:
        doubted.append((len(published), table, len(days)))
        build_again(ledger, table, days)

    monkeypatch.setattr(_Draft, "publish", publishing)
    monkeypatch.setattr(BuildLedger, "build_again", doubting)
    assert built.refresh().failed_runs
    assert doubted == [(2, "events", len(DAYS))]
    built.refresh()
    assert built.is_settled()
    assert differences(built.everything(), clean.everything()) == {}
