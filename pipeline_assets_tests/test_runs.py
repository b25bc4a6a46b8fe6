"""A run counts as under way as long as the process that executes it lives, wherever that is."""

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.test_utils import create_run_for_test, instance_for_test

from pipeline_assets import locks, runs
from pipeline_assets.dagster_storage import pipeline_instance
from pipeline_assets.jobs import LOAD_JOB
from pipeline_assets.postgres import connect
from pipeline_assets.runs import surely_under_way
from pipeline_assets.settings import PROJECT_ROOT, Settings
from pipeline_assets.waiting import Wait

WORKER = f"""
import sys
from pathlib import Path
import dagster as dg
from pipeline_assets.dagster_storage import pipeline_instance
from pipeline_assets.settings import Settings

@dg.asset
def slow():
    print("begun", flush=True)
    sys.stdin.readline()

job = dg.define_asset_job("{LOAD_JOB}", selection=[slow])
definitions = dg.Definitions(assets=[slow], jobs=[job])
with pipeline_instance(Settings.for_data_dir(Path(sys.argv[1]), postgres_url=sys.argv[2])) as instance:
    definitions.resolve_job_def("{LOAD_JOB}").execute_in_process(instance=instance)
"""


@pytest.fixture(autouse=True)
def server_is_not_young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_YOUNG_SERVER_SECONDS", 0)


@contextmanager
def worker(folder: Path, url: str) -> Generator[tuple["subprocess.Popen[str]", dg.DagsterInstance]]:
    """A process in the middle of a run, and the instance."""
    command = [sys.executable, "-c", WORKER, str(folder), url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            with pipeline_instance(Settings.for_data_dir(folder, postgres_url=url)) as instance:
                yield process, instance
        finally:
            process.kill()


def test_a_run_is_under_way_until_its_process_is_killed_and_then_it_is_closed(postgres_url: str, tmp_path: Path):
    with worker(tmp_path, postgres_url) as (process, instance):
        ((run_id, described),) = surely_under_way(instance, postgres_url, LOAD_JOB).items()
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert described.startswith(f"run {run_id} of {LOAD_JOB}, executed by process {process.pid} on ")
        assert " since 2" in described
        assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.FAILED
        assert surely_under_way(instance, postgres_url, LOAD_JOB) == {}
        closed = instance.get_run_by_id(run_id)
        assert closed is not None
        assert closed.status == dg.DagsterRunStatus.FAILURE


def test_a_run_whose_connections_are_all_lost_goes_on(postgres_url: str, tmp_path: Path):
    with worker(tmp_path, postgres_url) as (process, instance):
        with connect(postgres_url, autocommit=True) as connection:
            ended = connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            ).fetchall()
        assert len(ended) >= 3
        process.communicate("\n")
        assert process.returncode == 0
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS]


def test_a_run_that_ends_while_somebody_looks_is_not_closed(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pipeline_instance(Settings.for_data_dir(tmp_path, postgres_url=postgres_url)) as instance:
        run = create_run_for_test(instance, job_name=LOAD_JOB, status=dg.DagsterRunStatus.STARTED)

        def ends(*_: object) -> dict:
            instance.report_run_canceled(run)
            return {}

        monkeypatch.setattr(runs, "executed_by", ends)
        assert surely_under_way(instance, postgres_url, LOAD_JOB) == {}
        ended = instance.get_run_by_id(run.run_id)
        assert ended is not None
        assert ended.status == dg.DagsterRunStatus.CANCELED


def test_a_run_that_is_being_launched_is_under_way_for_a_while(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pipeline_instance(Settings.for_data_dir(tmp_path, postgres_url=postgres_url)) as instance:
        run = create_run_for_test(instance, job_name=LOAD_JOB, status=dg.DagsterRunStatus.STARTING)
        ((run_id, described),) = surely_under_way(instance, postgres_url, LOAD_JOB).items()
        assert run_id == run.run_id
        assert ", launched at 2" in described
        monkeypatch.setattr(runs, "_LAUNCHING", timedelta(0))
        assert surely_under_way(instance, postgres_url, LOAD_JOB) == {}


def test_a_run_that_was_made_and_never_begun_keeps_no_other_from_being_asked_for(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pipeline_instance(Settings.for_data_dir(tmp_path, postgres_url=postgres_url)) as instance:
        create_run_for_test(instance, job_name=LOAD_JOB, status=dg.DagsterRunStatus.NOT_STARTED)
        assert runs.under_way(instance, postgres_url, LOAD_JOB)
        monkeypatch.setattr(runs, "_LAUNCHING", timedelta(0))
        assert not runs.under_way(instance, postgres_url, LOAD_JOB)


def test_a_run_that_has_ended_holds_no_lock(postgres_url: str, tmp_path: Path):
    @dg.asset
    def nothing() -> None: ...

    with pipeline_instance(Settings.for_data_dir(tmp_path, postgres_url=postgres_url)) as instance:
        run_id = dg.materialize([nothing], instance=instance).run_id
        assert runs.executed_by(instance, [run_id], postgres_url) == {}


def test_run_monitoring_is_on_and_may_ask_about_workers(postgres_url: str, tmp_path: Path):
    with pipeline_instance(Settings.for_data_dir(tmp_path, postgres_url=postgres_url)) as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_launcher.supports_check_run_worker_health


# On a storage of the project's own, here SQLite: the resource of the assets holds the lock.
FOREIGN_WORKER = f"""
import sys
from pathlib import Path
from types import SimpleNamespace
import dagster as dg
from pipeline_assets.resources import platform_resource
from pipeline_assets.settings import Settings

@dg.asset(required_resource_keys={{"platform"}})
def slow():
    print("begun", flush=True)
    sys.stdin.readline()

job = dg.define_asset_job("{LOAD_JOB}", selection=[slow])
settings = Settings.for_data_dir(Path(sys.argv[1]))
resource = platform_resource(SimpleNamespace(postgres_url=sys.argv[2], settings=settings))
definitions = dg.Definitions(assets=[slow], jobs=[job], resources={{"platform": resource}})
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    definitions.resolve_job_def("{LOAD_JOB}").execute_in_process(instance=instance)
"""


def test_on_another_storage_a_run_is_under_way_until_its_process_is_killed_too(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setattr(runs, "_LAUNCHING", timedelta(0))
    monkeypatch.setattr(runs, "_ENDING_SECONDS", 0.1)
    command = [sys.executable, "-c", FOREIGN_WORKER, str(tmp_path), postgres_url]
    pipe = subprocess.PIPE
    with (
        dg.DagsterInstance.from_config(str(tmp_path)) as instance,
        subprocess.Popen(command, cwd=PROJECT_ROOT, stdin=pipe, stdout=pipe, text=True) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        ((run_id, described),) = surely_under_way(instance, postgres_url, LOAD_JOB).items()
        assert f"executed by process {process.pid} on " in described
        assert runs.under_way(instance, postgres_url, LOAD_JOB)
        process.send_signal(signal.SIGKILL)
        process.wait()
        # PostgreSQL lets go of the lock when it notices.
        gone = Wait("the lock of a killed process to go", 10)
        while runs.under_way(instance, postgres_url, LOAD_JOB):
            assert not gone.over
            gone.pause(0.05)
        closed = instance.get_run_by_id(run_id)
        assert closed is not None
        assert closed.status == dg.DagsterRunStatus.FAILURE


def test_on_another_storage_a_run_that_has_just_begun_is_under_way_without_a_lock(postgres_url: str):
    with instance_for_test() as instance:
        run = create_run_for_test(instance, job_name=LOAD_JOB, status=dg.DagsterRunStatus.STARTED)
        assert "has just begun" in surely_under_way(instance, postgres_url, LOAD_JOB)[run.run_id]
