"""Two deployments in one database, each with a namespace, and each as if it were alone."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
import typer.testing

from pipeline_assets.build import build_defs
from pipeline_assets.cli import app
from pipeline_assets.dagster_storage import pipeline_instance
from pipeline_assets.ledger.files import lock_source
from pipeline_assets.namespace import PLAIN, Namespace
from pipeline_assets.sensors.new_files import new_files
from pipeline_assets.sensors.stale_days import stale_days
from pipeline_assets.settings import Settings
from pipeline_assets_tests.end_to_end.deployment import CLICKS, Deployment, differences
from pipeline_assets_tests.end_to_end.random_traffic import SHOP as SHOP_SOURCE
from pipeline_assets_tests.end_to_end.random_traffic import declare, lines_of, random_traffic
from pipeline_assets_tests.end_to_end.test_files import click
from pipeline_assets_tests.end_to_end.test_sensors import settled, tick

ACME, SHOP = Namespace("acme"), Namespace("shop_eu")
SEEDS = {ACME: 1, SHOP: 2}
SALES = (SHOP_SOURCE, "ordered_funnel", "returning_people", "sale", "sale_credit")
# Some of every kind: daily and whole, in the lake and in PostgreSQL, read whole, by day, by value and by group.
TABLES = (
    "active_users",
    "campaigns",
    "orders",
    "revenue",
    "users",
    "ordered_funnel",
    "returning_people",
    "sale_credit",
)


def deliver(deployment: Deployment, seed: int, part: int | None = None) -> None:
    """The files of a seed's traffic, or the first or second half of their lines."""
    # The moment at which a file was read is not the same in two deployments.
    rows = [row | {"received": row["received"] or row["time"]} for row in random_traffic(Random(seed))[SHOP_SOURCE]]
    for number, half in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
        if part in (None, number):
            deployment.deliver(f"{SHOP_SOURCE}/{number}.jsonl", lines_of(half))


@pytest.fixture(scope="module")
def make(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]
) -> Iterator[Callable[..., Deployment]]:
    """A function that makes a deployment whose runs are recorded in PostgreSQL."""
    with ExitStack() as stack:

        def of(namespace: Namespace, url: str | None = None) -> Deployment:
            folder = tmp_path_factory.mktemp("deployment")
            declare(folder / "defs", SALES)
            settings = Settings.for_data_dir(
                folder,
                postgres_url=url or new_database(),
                defs_dir=folder / "defs",
                first_day=date(2024, 3, 1),
                tables=TABLES,
                namespace=namespace,
            )
            deployment = Deployment(settings, stack.enter_context(pipeline_instance(settings)))
            stack.callback(deployment.close)
            return deployment

        yield of


@pytest.fixture(scope="module")
def both(make: Callable[..., Deployment], new_database: Callable[[], str]) -> dict[Namespace, Deployment]:
    """Two deployments that were loaded in turns."""
    url = new_database()
    deployments = {namespace: make(namespace, url) for namespace in SEEDS}
    for namespace, part in ((ACME, 0), (SHOP, None), (ACME, 1)):
        deliver(deployments[namespace], SEEDS[namespace], part)
        deployments[namespace].refreshed()
    return deployments


@pytest.mark.parametrize("namespace", SEEDS, ids=str)
def test_each_of_two_deployments_in_one_database_has_the_tables_it_would_have_alone(
    both: dict[Namespace, Deployment], make: Callable[..., Deployment], namespace: Namespace
) -> None:
    alone = make(PLAIN)
    deliver(alone, SEEDS[namespace])
    alone.refreshed()
    expected = alone.everything()
    assert all(frame.height for frame in expected.values())
    assert differences(both[namespace].everything(), expected) == {}
    assert both[namespace].is_settled()


def test_every_check_of_each_of_them_passes(both: dict[Namespace, Deployment]) -> None:
    for deployment in both.values():
        assert deployment.check_everything() == []


def test_everything_in_the_database_is_in_a_schema_of_one_of_them(both: dict[Namespace, Deployment]) -> None:
    query = "select distinct schemaname::text from pg_tables where schemaname !~ '^(pg_catalog|information_schema)$'"
    expected = {schema for name in SEEDS for schema in (name.marts, name.ledger, name.dagster)}
    for deployment in both.values():
        assert {schema for (schema,) in deployment.sql(query)} == expected


def test_all_that_a_code_location_names_begins_with_the_namespace_and_checks_keep_their_names(
    both: dict[Namespace, Deployment], make: Callable[..., Deployment]
) -> None:
    def names(deployment: Deployment) -> dict[str, set[Any]]:
        namespace, definitions = deployment.settings.namespace, build_defs(deployment.settings)
        graph = definitions.resolve_asset_graph()

        def plain(name: str | None) -> str:
            prefix = namespace.named("")
            assert name is not None
            assert name.startswith(prefix)
            return name.removeprefix(prefix)

        def path(key: dg.AssetKey) -> tuple[str, ...]:
            prefix = namespace.asset()
            assert key.path[: len(prefix)] == prefix
            return tuple(key.path[len(prefix) :])

        jobs = [job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")]
        return {
            "assets": {path(key) for key in graph.get_all_asset_keys()},
            "checks": {(path(key.asset_key), key.name) for key in graph.asset_check_keys},
            "groups": {plain(spec.group_name) for spec in definitions.resolve_all_asset_specs()},
            "jobs": {plain(job) for job in jobs},
            "sensors": {plain(sensor.name) for sensor in definitions.sensors or []},
            "resources": {plain(key) for key in definitions.resources or {}},
        }

    expected = names(make(PLAIN))
    assert all(expected.values())
    assert {"build_days", "load_sources"} == expected["jobs"]
    for deployment in both.values():
        assert names(deployment) == expected


def test_two_deployments_fit_into_one_code_location(both: dict[Namespace, Deployment]) -> None:
    merged = dg.Definitions.merge(*(build_defs(deployment.settings) for deployment in both.values()))
    dg.Definitions.validate_loadable(merged)


def test_lineage_and_table_names_are_those_of_the_namespace(both: dict[Namespace, Deployment]) -> None:
    for namespace, deployment in both.items():
        key = dg.AssetKey([str(namespace), "sessions"])
        lineage = deployment.definitions.resolve_asset_graph().get(key).metadata["dagster/column_lineage"]
        made_of = {dep.asset_key for deps in lineage.deps_by_column.values() for dep in deps}
        assert dg.AssetKey([str(namespace), "events"]) in made_of
        assert {found.path[0] for found in made_of} == {str(namespace)}
        event = deployment.instance.get_latest_materialization_event(key)
        assert event is not None and event.asset_materialization is not None
        assert event.asset_materialization.metadata["dagster/table_name"].value == f"{namespace.marts}.sessions"


def test_each_of_them_sees_its_own_runs_and_assets_only(both: dict[Namespace, Deployment]) -> None:
    runs = [{run.run_id for run in deployment.instance.get_runs()} for deployment in both.values()]
    assert all(runs)
    assert not runs[0] & runs[1]
    for namespace, deployment in both.items():
        assert {key.path[0] for key in deployment.instance.all_asset_keys()} == {str(namespace)}


def test_sensors_ask_for_the_assets_of_the_namespace(both: dict[Namespace, Deployment]) -> None:
    deployment = both[ACME]
    assert tick(stale_days, both[SHOP])[0] == tick(new_files, both[SHOP])[0] == []
    deployment.declare("arrivals", CLICKS.replace("clicks/*", "arrivals/*"))
    settled(deployment, "arrivals/a.jsonl", click(1, time="2024-03-29T10:00:00Z"))
    (request,), _ = tick(new_files, deployment)
    assert request.asset_selection == [dg.AssetKey(["acme", "staging", "arrivals"])]
    deployment.definitions.resolve_job_def("acme_load_sources").execute_in_process(
        instance=deployment.instance, asset_selection=request.asset_selection
    )
    (request,), _ = tick(stale_days, deployment)
    asked = request.asset_selection or []
    assert dg.AssetKey(["acme", "events"]) in asked
    assert {key.path[0] for key in asked} == {"acme"}
    assert tick(stale_days, both[SHOP])[0] == []


def test_bookings_of_one_do_not_wait_for_those_of_the_other(both: dict[Namespace, Deployment]) -> None:
    engines = [deployment.platform.engine for deployment in both.values()]
    with engines[0].begin() as first, engines[1].begin() as second:
        for connection in (first, second):
            connection.execute(sa.text("set local lock_timeout = '1s'"))
            lock_source(connection, "clicks")


def test_the_command_line_works_in_the_namespace(
    both: dict[Namespace, Deployment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = both[SHOP].settings
    monkeypatch.setenv("PIPELINE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PIPELINE_POSTGRES_URL", str(settings.postgres_url))
    monkeypatch.setenv("PIPELINE_DEFS_DIR", str(settings.defs_dir))
    monkeypatch.setenv("PIPELINE_FIRST_DAY", settings.first_day.isoformat())
    monkeypatch.setenv("PIPELINE_TABLES", ",".join(TABLES))
    monkeypatch.setenv("PIPELINE_NAMESPACE", "shop_eu")
    runner = typer.testing.CliRunner()
    sessions = both[SHOP].table("sessions").height
    assert runner.invoke(app, ["sql", "select count(*) from shop_eu_marts.sessions"]).stdout == f"count\n{sessions}\n"
    refreshed = runner.invoke(app, ["refresh"])
    assert (refreshed.exit_code, refreshed.stdout.splitlines()[0][:13]) == (0, "Nothing to do")
    assert runner.invoke(app, ["status"]).exit_code == 0

    monkeypatch.delenv("PIPELINE_NAMESPACE")
    for command in (["refresh"], ["status"], ["sql", "select 1"], ["quarantine", "list"], ["postgres-url"]):
        refused = runner.invoke(app, command)
        assert refused.exit_code == 1
        assert "set PIPELINE_NAMESPACE=shop_eu" in " ".join(refused.stderr.split())
    monkeypatch.setenv("PIPELINE_NAMESPACE", "acme")
    monkeypatch.setenv("PIPELINE_LAKE_URL", str(tmp_path / "lake"))
    refused = runner.invoke(app, ["refresh"])
    assert refused.exit_code == 1
    assert "has no deployment.json" in " ".join(refused.stderr.split())
