"""Files of the lake that are lost are noticed and made again, and an older build never takes the place of a newer."""

import uuid
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipeline_assets.engine.building import Building
from pipeline_assets.jobs import BUILD_JOB, LOAD_JOB
from pipeline_assets.ledger import builds as booking
from pipeline_assets.ledger.catalogue import exchange
from pipeline_assets.platform import LostRowsError
from pipeline_assets.tables.spec import EVENTS
from pipeline_assets_tests.end_to_end.deployment import CLICKS, QUIET, Deployment, differences
from pipeline_assets_tests.end_to_end.test_sensors import on

DAYS = range(1, 6)
Harm = Callable[[Path], object]


def part(deployment: Deployment, day: int) -> Path:
    (path,) = deployment.lake_files(EVENTS, date(2026, 3, day))
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def garble(path: Path) -> None:
    """What a failing disk or a power cut may leave: as many bytes, and no Parquet file."""
    path.write_bytes(bytes(path.stat().st_size))


def damage(path: Path) -> None:
    """The same somewhere in the middle: the footer can be read, the rows cannot."""
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(200) + content[204:])


HARMS = pytest.mark.parametrize("harm", [Path.unlink, truncate], ids=["missing", "truncated"])


@pytest.fixture
def built(deployment: Deployment) -> Deployment:
    deployment.declare("clicks", CLICKS)
    for day in DAYS:
        deployment.deliver(f"clicks/{day:02}.jsonl", on(day))
    deployment.refreshed()
    return deployment


def build(
    deployment: Deployment, table: str, first: int, last: int, *, again: str | None = None
) -> dg.ExecuteInProcessResult:
    """Build some days of a table by hand; under the id of a run that is under way, as if that was resumed."""
    tags = {
        "dagster/asset_partition_range_start": f"2026-03-{first:02}",
        "dagster/asset_partition_range_end": f"2026-03-{last:02}",
    }
    return deployment.definitions.resolve_job_def(BUILD_JOB).execute_in_process(
        # Two processes that execute one run know nothing of each other.
        instance=dg.DagsterInstance.ephemeral() if again else deployment.instance,
        run_id=again,
        asset_selection=[dg.AssetKey(table)],
        tags=tags,
        run_config=QUIET,
        raise_on_error=False,
    )


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = (event for event in result.all_events if event.is_step_failure)
    return str(event.step_failure_data.error)


@HARMS
def test_a_lost_file_of_events_is_stale_and_made_again_and_no_table_loses_a_row(built: Deployment, harm: Harm) -> None:
    before = built.everything()
    lost = part(built, 3)
    harm(lost)
    built.platform.full_looks.ask()
    built.platform.look_for_lost()
    assert built.platform.staleness().tables["events"] == {date(2026, 3, 3)}
    with pytest.raises(LostRowsError, match=f"of 1 day: 1 listed file missing or of another size.*{lost.name}"):
        built.platform.listed(EVENTS, [date(2026, 3, 3)])
    # A late file has the neighbours of its day built again, which read the lost one.
    built.deliver("clicks/late.jsonl", on(4, hour=20))
    built.refreshed()
    found = built.everything()
    for name, column in (("events", "event_date"), ("sessions", "session_date"), ("daily_activity", "activity_date")):
        untouched = [rows[name].filter(rows[name][column] < date(2026, 3, 4)) for rows in (found, before)]
        assert untouched[0].equals(untouched[1])
    assert found["events"].height == before["events"].height + 1


def test_a_full_look_after_a_loss_makes_the_same_rows_again(built: Deployment) -> None:
    before = built.everything()
    for day in (1, 5):
        part(built, day).unlink()
    assert built.refreshed().idle
    built.platform.full_looks.ask()
    assert not built.refreshed().idle
    assert differences(built.everything(), before) == {}
    assert built.refreshed().idle


@HARMS
def test_a_table_that_reads_a_lost_day_fails_and_names_the_file_and_its_day_is_stale(
    built: Deployment, harm: Harm
) -> None:
    lost = part(built, 3)
    harm(lost)
    result = build(built, "sessions", 3, 3)
    assert not result.success
    assert f"2026-03-03/{lost.name}" in failure(result)
    stale = "select asset, day from ledger.builds where state = 'building' order by asset"
    assert built.sql(stale) == [("events", date(2026, 3, 3)), ("sessions", date(2026, 3, 3))]


@HARMS
@pytest.mark.parametrize("table", ["events", "sessions"])
def test_a_file_that_is_lost_while_it_is_read_is_named_and_its_day_is_stale(
    built: Deployment, monkeypatch: pytest.MonkeyPatch, harm: Harm, table: str
) -> None:
    asset = "staging/clicks" if table == EVENTS else EVENTS
    (file,) = built.platform.catalogue.files(asset, [date(2026, 3, 3)])[date(2026, 3, 3)]
    work = Building._work

    def meanwhile(building: Building) -> object:
        harm(built.settings.lake_dir / file.name)
        return work(building)

    monkeypatch.setattr(Building, "_work", meanwhile)
    result = build(built, table, 2, 4)
    assert not result.success
    assert "LostRowsError" in failure(result)
    assert file.name in failure(result)
    monkeypatch.undo()
    assert built.refreshed().builds
    assert built.is_settled()


def test_a_load_with_a_full_look_restores_staged_files_that_are_lost(built: Deployment) -> None:
    before = built.everything()
    built.platform.full_looks.ask()
    for path in built.settings.lake_dir.glob("staging/clicks/2026-03-0[23]/*.parquet"):
        path.unlink()
    result = built.definitions.resolve_job_def(LOAD_JOB).execute_in_process(
        instance=built.instance, run_config=QUIET, raise_on_error=False
    )
    assert result.success
    assert len(list(built.settings.lake_dir.glob("staging/clicks/*/*.parquet"))) == len(DAYS)
    built.refreshed()
    assert differences(built.everything(), before) == {}


@pytest.mark.parametrize("harm", [garble, damage])
@pytest.mark.parametrize("asset", [EVENTS, "staging/clicks"])
def test_a_damaged_file_of_the_listed_size_is_named_by_what_reads_it_and_made_again(
    built: Deployment, new_deployment: Callable[..., Deployment], asset: str, harm: Harm
) -> None:
    (path,) = built.lake_files(asset, date(2026, 3, 3))
    harm(path)
    # Of events a table of the day after reads it, of staging the day itself.
    built.deliver("clicks/late.jsonl", on(4 if asset == EVENTS else 3, hour=20))
    report = built.refresh()
    assert path.name in " ".join([*report.failures, *(str(check.metadata) for check in report.failed_checks)])
    built.refreshed()
    clean = new_deployment()
    clean.declare("clicks", CLICKS)
    for file in (built.settings.landing_dir / "clicks").iterdir():
        clean.deliver(f"clicks/{file.name}", file.read_bytes())
    clean.refreshed()
    assert differences(built.everything(), clean.everything()) == {}
    assert built.is_settled()


def test_of_a_failed_build_the_error_is_told_that_says_what_to_do(built: Deployment) -> None:
    lost = part(built, 3)
    lost.unlink()
    lost.symlink_to(lost)
    built.deliver("clicks/late.jsonl", on(4, hour=20))
    report = built.refresh()
    (told,) = {failure for failure in report.failures if failure.startswith("sessions: ")}
    assert "leads in a circle; remove it." in told


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


@pytest.mark.parametrize("table", ["events", "sessions"])
def test_an_older_build_that_ends_after_a_newer_one_publishes_nothing(
    built: Deployment, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """Two builds of the same days race: the one that claimed them first comes to its commit last."""
    build_days = Building.built
    newer: list[dg.ExecuteInProcessResult] = []

    def overtaken(building: Building, *, only_changed: bool) -> object:
        made = build_days(building, only_changed=only_changed)
        if building.claim.days[0] == date(2026, 3, 2):
            newer.append(build(built, table, 3, 3))
        return made

    before = built.everything()
    monkeypatch.setattr(Building, "built", overtaken)
    result = build(built, table, 2, 4)
    assert newer[0].success
    assert not result.success
    assert "has begun to build some of the days 2026-03-02 to 2026-03-04 since" in failure(result)
    assert differences(built.everything(), before) == {}
    query = "select day from ledger.builds where asset = :table and run_id = :run and state = 'built'"
    assert built.sql(query, table=table, run=newer[0].run_id) == [(date(2026, 3, 3),)]
    assert built.sql(query, table=table, run=result.run_id) == []
    monkeypatch.undo()
    built.refreshed()
    assert built.is_settled()
    assert differences(built.everything(), before) == {}


@pytest.mark.parametrize("table", ["events", "sessions"])
def test_what_a_process_believed_dead_has_built_is_not_published_after_its_run_was_resumed(
    built: Deployment, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    build_days = Building.built
    first: list[uuid.UUID] = []
    resumed: list[dg.ExecuteInProcessResult] = []

    def sleeping(building: Building, *, only_changed: bool) -> object:
        made = build_days(building, only_changed=only_changed)
        if not first:
            first.append(building.claim.claim_id)
            # Meanwhile there is more of the days that it has built.
            built.deliver("clicks/late.jsonl", on(3, hour=20))
            load = built.definitions.resolve_job_def(LOAD_JOB)
            assert load.execute_in_process(instance=built.instance, run_config=QUIET).success
            if table != EVENTS:
                assert build(built, EVENTS, 2, 4).success
            resumed.append(build(built, table, 2, 4, again=building.claim.run_id))
        return made

    before = built.table(table).height
    monkeypatch.setattr(Building, "built", sleeping)
    result = build(built, table, 2, 4)
    assert resumed[0].success
    assert (result.run_id, result.success) == (resumed[0].run_id, False)
    assert "or this one in another process or try, has begun to build" in failure(result)
    assert built.table(table).height == before + 1
    monkeypatch.undo()
    assert built.platform.builds.built_by(table, result.run_id) == [date(2026, 3, day) for day in (2, 3, 4)]
    built.refreshed()
    assert built.is_settled()


def test_what_is_written_counts_only_when_it_is_published(built: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    before = built.everything()
    listed = built.lake_files(EVENTS)

    def failing(*_: object) -> None:
        raise ZeroDivisionError

    # In the last statement but those that follow the exchange of the lists.
    monkeypatch.setattr("pipeline_assets.io_managers.lake.book_identifiers", failing)
    assert not build(built, "events", 1, 5).success
    assert built.lake_files(EVENTS) == listed
    assert differences(built.everything(), before) == {}
    assert len(list((built.settings.lake_dir / "events").rglob("*.parquet"))) == 2 * len(listed)


def test_a_step_that_fails_leaves_no_file_that_nobody_will_ever_list(
    built: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = built.lake_files(EVENTS)

    def failing(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pipeline_assets.engine.rows.LakeRows.finish", failing)
    assert not build(built, "events", 1, 5).success
    assert sorted((built.settings.lake_dir / "events").rglob("*.parquet")) == sorted(listed)


def test_a_build_that_took_longer_than_files_are_kept_for_is_not_published(
    built: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = built.everything()
    monkeypatch.setattr(booking, "LONGEST_RUN", timedelta(0))
    for table in ("events", "sessions"):
        result = build(built, table, 1, 5)
        assert not result.success
        assert "Nothing was published. Build fewer days at a time." in failure(result)
    monkeypatch.undo()
    assert differences(built.everything(), before) == {}
    built.refreshed()
    assert built.is_settled()


def test_a_day_without_events_is_built_and_has_no_file(built: Deployment) -> None:
    assert build(built, "events", 6, 6).success
    assert date(2026, 3, 6) in built.platform.builds.built_days("events")
    assert built.lake_files(EVENTS, date(2026, 3, 6)) == []
    assert built.platform.listed(EVENTS, [date(2026, 3, 6), date(2026, 3, 20)]) == {}


def test_a_file_is_listed_for_its_own_day_and_table_only(built: Deployment) -> None:
    (file,) = built.platform.catalogue.files("events", [date(2026, 3, 1)])[date(2026, 3, 1)]
    with built.platform.engine.begin() as connection:
        for asset, day in (("events", date(2026, 3, 2)), ("sessions", date(2026, 3, 1))):
            with pytest.raises(ValueError, match="is of none of the days"):
                exchange(connection, asset, [day], [file], "run")
