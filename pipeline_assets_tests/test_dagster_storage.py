"""The Dagster instance of the project: one storage for the command line and the UI."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from pipeline_assets.dagster_storage import PipelinePostgresStorage, pipeline_instance
from pipeline_assets.postgres import connect
from pipeline_assets.settings import PROJECT_ROOT, Settings


@dg.asset
def nothing() -> None: ...


def test_runs_are_kept_in_the_schema_dagster_and_files_below_the_data_folder(postgres_url: str, tmp_path: Path):
    settings = Settings.for_data_dir(tmp_path, postgres_url=postgres_url)
    with pipeline_instance(settings) as instance:
        run_id = dg.materialize([nothing], instance=instance).run_id
        assert Path(instance.storage_directory()).is_relative_to(tmp_path / "dagster")
        assert not instance.telemetry_enabled
    with pipeline_instance(settings) as instance:
        assert instance.get_run_by_id(run_id) is not None
    with connect(postgres_url) as connection:
        schemas = connection.execute("select schemaname from pg_tables where tablename = 'runs'").fetchall()
    assert schemas == [("dagster",)]
    assert list((tmp_path / "dagster/compute_logs").rglob("*.out"))


def test_several_processes_may_create_the_storage_at_once(new_database: Callable[[], str], tmp_path: Path):
    settings = Settings.for_data_dir(tmp_path, postgres_url=new_database())
    errors: list[BaseException] = []

    def build() -> None:
        try:
            pipeline_instance(settings).dispose()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_events_are_written_on_one_connection_which_is_closed_in_the_end(postgres_url: str, tmp_path: Path):
    settings = Settings.for_data_dir(tmp_path, postgres_url=postgres_url)
    pipeline_instance(settings).dispose()
    config = {"data_dir": str(tmp_path), "postgres_url": postgres_url}
    with connect(postgres_url, autocommit=True) as connection:

        def others() -> set[int]:
            query = (
                "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
                "and backend_type = 'client backend'"
            )
            return {pid for (pid,) in connection.execute(query)}

        before = others()
        # As the process of a run makes it.
        storage = PipelinePostgresStorage.from_config_value(None, config).event_log_storage
        seen = set()
        for _ in range(3):
            storage.get_logs_for_run("none")
            seen |= others() - before
        assert len(seen) == 1
        storage.dispose()
        for _ in range(100):
            if not others() & seen:
                break
            time.sleep(0.05)
        assert not others() & seen


def test_a_run_of_a_range_of_days_records_every_day(postgres_url: str, tmp_path: Path):
    days = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-04")

    @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
    def daily() -> None: ...

    tags = {ASSET_PARTITION_RANGE_START_TAG: "2024-01-01", ASSET_PARTITION_RANGE_END_TAG: "2024-01-03"}
    with pipeline_instance(Settings.for_data_dir(tmp_path, postgres_url=postgres_url)) as instance:
        result = dg.materialize([daily, nothing], instance=instance, tags=tags)
        assert result.success
        recorded = instance.all_logs(result.run_id)
        for kind in (dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_MATERIALIZATION):
            found = [event.get_dagster_event() for event in recorded if event.dagster_event_type == kind]
            assert [event.partition for event in found if event.asset_key == daily.key] == days.get_partition_keys()
            assert [event.partition for event in found if event.asset_key == nothing.key] == [None]
        assert instance.get_materialized_partitions(daily.key) == set(days.get_partition_keys())
        assert instance.get_latest_planned_materialization_info(daily.key, "2024-01-02") is not None
        assert set(instance.all_asset_keys()) == {daily.key, nothing.key}


def test_the_instance_is_described_without_paths_and_passwords(tmp_path: Path):
    # What `dagster dev` does in the project's folder, with a temporary home.
    ref = InstanceRef.from_dir(str(tmp_path), config_dir=str(PROJECT_ROOT))
    assert ref.storage_data is not None
    assert yaml.safe_load(ref.storage_data.config_yaml) == {}
    assert yaml.safe_load(ref.compute_logs_data.config_yaml) == {}
    assert yaml.safe_load(ref.local_artifact_storage_data.config_yaml) == {}


def test_two_runs_at_most_and_one_refresh_at_a_time(postgres_url: str, tmp_path: Path):
    with pipeline_instance(Settings.for_data_dir(tmp_path, postgres_url=postgres_url)) as instance:
        queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    assert queue.max_concurrent_runs == 2
    assert queue.tag_concurrency_limits == [{"key": "pipeline/exclusive", "value": "refresh", "limit": 1}]
