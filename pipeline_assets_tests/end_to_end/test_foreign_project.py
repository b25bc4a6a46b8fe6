"""A pipeline within somebody else's Dagster project, beside another one in the same database."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import dagster as dg
import psycopg
import pytest
import typer.testing
from dagster._core.storage.runs import SqliteRunStorage

from pipeline_assets import build_defs
from pipeline_assets.cli import app
from pipeline_assets.dagster_storage import pipeline_instance
from pipeline_assets.settings import Settings
from pipeline_assets_tests.end_to_end.test_files import click
from pipeline_assets_tests.foreign_projects import add_pipeline, write_project


@pytest.fixture(autouse=True)
def plain_environment() -> Iterator[None]:
    """Nothing set, and nothing left of what commands take from a project's `.env`."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PIPELINE_", "DAGSTER_"))}
    with mock.patch.dict(os.environ, plain, clear=True):
        yield


@pytest.fixture(scope="module")
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, url: str) -> Iterator[Path]:
    """A project with things of its own that are called like ours, and a pipeline with a namespace."""
    project = write_project(
        tmp_path_factory.mktemp("foreign"),
        "foreign_shop",
        PIPELINE_DEFS_DIR="foreign_shop/defs/clickstream",
        PIPELINE_NAMESPACE="acme",
        PIPELINE_TABLES="sessions",
        PIPELINE_FIRST_DAY="2026-01-01",
        PIPELINE_POSTGRES_URL=f"'{url}'",
    )
    add_pipeline(project)
    landing = project / "data" / "landing" / "clicks"
    landing.mkdir(parents=True)
    (landing / "a.jsonl").write_text("".join(click(number) for number in range(5)))
    sys.path.insert(0, str(project))
    yield project
    sys.path.remove(str(project))


def location(project: Path) -> dg.Definitions:
    """What Dagster loads of a project."""
    return importlib.import_module(f"{project.name}.definitions").defs()


def sessions(url: str, schema: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(f"select sum(events) from {schema}.sessions").fetchone()  # ty: ignore[no-matching-overload]
        assert row is not None
        return int(row[0])


def test_it_loads_beside_what_is_called_alike(shop: Path) -> None:
    definitions = location(shop)
    dg.Definitions.validate_loadable(definitions)
    keys = {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    assert keys == {
        "events",
        "sessions",
        "weekly",
        "acme/events",
        "acme/sessions",
        "acme/staged_days",
        "acme/staging/clicks",
    }
    assert {"duckdb", "lake", "acme_pipeline_duckdb", "acme_pipeline_lake"} <= set(definitions.resources or {})
    # An executor of ours would execute their assets too.
    assert definitions.executor is None


def test_refresh_works_from_within_the_project_and_its_runs_are_where_its_ui_looks(
    shop: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop / "foreign_shop" / "defs")
    runner = typer.testing.CliRunner()
    refreshed = runner.invoke(app, ["refresh"])
    assert refreshed.exit_code == 0, refreshed.output
    assert sessions(url, "acme_marts") == 5
    with dg.DagsterInstance.from_config(str(shop)) as instance:
        runs = instance.get_runs()
        assert {run.job_name for run in runs} == {"acme_load_sources", "acme_build_days"}
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    again = runner.invoke(app, ["refresh"])
    assert again.exit_code == 0
    assert again.stdout.startswith("Nothing to do")
    with psycopg.connect(url) as connection:
        schemas = connection.execute("select nspname from pg_namespace where nspname ~ '^(acme_|dagster)'").fetchall()
    assert {name for (name,) in schemas} == {"acme_marts", "acme_ledger"}


def test_a_second_deployment_in_the_same_database_is_merged_in_and_materialised_with_the_first(
    shop: Path, url: str, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "data" / "landing" / "clicks").mkdir(parents=True)
    (other / "data" / "landing" / "clicks" / "b.jsonl").write_text("".join(click(number) for number in range(3)))
    (shop / "data" / "landing" / "clicks" / "c.jsonl").write_text(click(7))
    (other / ".env").write_text(
        f"PIPELINE_NAMESPACE=other\nPIPELINE_TABLES=sessions\nPIPELINE_POSTGRES_URL='{url}'\n"
        f"PIPELINE_FIRST_DAY=2026-01-01\nPIPELINE_DEFS_DIR={shop}/foreign_shop/defs/clickstream/clicks\n"
    )
    # What Dagster has put into the environment from the first one's file is not for the second.
    second = build_defs(Settings.for_project(other, environment={}))
    definitions = dg.Definitions.merge(location(shop), second)
    with dg.DagsterInstance.ephemeral() as instance:
        everything = definitions.resolve_implicit_global_asset_job_def()
        staging = [dg.AssetKey([name, "staging", "clicks"]) for name in ("acme", "other")]
        tables = [dg.AssetKey([name, table]) for name in ("acme", "other") for table in ("events", "sessions")]
        own = [dg.AssetKey("events"), dg.AssetKey("sessions"), dg.AssetKey("weekly")]
        loaded = everything.execute_in_process(instance=instance, asset_selection=[*staging, *own])
        assert loaded.success
        assert loaded.output_for_node("sessions") == "theirs"
        assert loaded.output_for_node("weekly") == 7
        built = everything.execute_in_process(instance=instance, asset_selection=tables, partition_key="2026-03-01")
        assert built.success
    assert (sessions(url, "acme_marts"), sessions(url, "other_marts")) == (6, 3)


def test_the_instance_is_dagster_homes_then_the_projects_then_the_deployments(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.for_project(shop)
    with pipeline_instance(settings) as instance:
        assert isinstance(instance.run_storage, SqliteRunStorage)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with pipeline_instance(settings) as instance:
        assert Path(instance.root_directory) == home
    monkeypatch.delenv("DAGSTER_HOME")
    file = shop / "dagster.yaml"
    before = file.read_text()
    try:
        file.write_text("telemetry:\n  enabled: false\nconcurrency:\n  runs:\n    max_concurrent_runs: 7\n")
        monkeypatch.chdir(shop)
        with pipeline_instance(settings) as instance:
            assert "acme_dagster" in instance.run_storage.postgres_url  # ty: ignore[missing-attribute]
            assert instance.get_concurrency_config().run_queue_config is not None
            assert instance.get_settings("concurrency")["runs"]["max_concurrent_runs"] == 7
        file.write_text("storage: [\n")
        with pytest.raises(ValueError, match=r"dagster\.yaml: not valid YAML"):
            pipeline_instance(settings)
        file.write_text("storage:\n  nothing: {}\n")
        with pytest.raises(ValueError, match=r"dagster\.yaml: Dagster cannot use it"):
            pipeline_instance(settings)
    finally:
        file.write_text(before)
