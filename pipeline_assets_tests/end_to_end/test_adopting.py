"""`pipeline-assets adopt`: after a database or a lake was lost, the tables are those of the files that are there."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import typer.testing

from pipeline_assets.cli import app
from pipeline_assets.undeclared import read_copy
from pipeline_assets_tests.end_to_end.deployment import CLICKS, Deployment, differences
from pipeline_assets_tests.end_to_end.test_files import click

NewDeployment = Callable[..., Deployment]
# One visit over a midnight: the second day is another without the first.
BEFORE, AFTER = click(1, time="2026-03-01T23:50:00Z"), click(2, time="2026-03-02T00:10:00Z")


@pytest.fixture
def built(new_deployment: NewDeployment) -> Deployment:
    """A deployment with two days, each of a file of its own."""
    deployment = new_deployment()
    deployment.declare("clicks", CLICKS)
    deployment.deliver("clicks/1.jsonl", BEFORE)
    deployment.deliver("clicks/2.jsonl", AFTER)
    deployment.refreshed()
    return deployment


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., typer.testing.Result]:
    """A function that runs a command line on a deployment."""

    def run(deployment: Deployment, *arguments: str, answer: str | None = None) -> typer.testing.Result:
        settings = deployment.settings
        monkeypatch.setenv("PIPELINE_DATA_DIR", str(settings.data_dir))
        monkeypatch.setenv("PIPELINE_POSTGRES_URL", str(settings.postgres_url))
        monkeypatch.setenv("PIPELINE_DEFS_DIR", str(settings.defs_dir))
        return typer.testing.CliRunner().invoke(app, list(arguments), input=answer)

    return run


def test_a_new_database_adopts_the_lake_and_nothing_of_what_the_old_one_had_built_counts(
    built: Deployment,
    new_deployment: NewDeployment,
    new_database: Callable[[], str],
    command: Callable[..., typer.testing.Result],
) -> None:
    built.close()
    (built.settings.landing_dir / "clicks/1.jsonl").unlink()
    assert read_copy(built.platform.lake.store)
    before = {stat.name for stat in built.platform.lake.store.list()}
    # Of a retention that is no longer declared, and older than any run.
    forgotten = built.settings.lake_dir / f"retention_days/2026-03-01/{'0' * 32}.parquet"
    forgotten.parent.mkdir(parents=True)
    forgotten.touch()
    os.utime(forgotten, (0, 0))
    revived = Deployment(replace(built.settings, postgres_url=new_database()), built.instance)
    assert command(revived, "status").exit_code == 1
    adopted = command(revived, "adopt", "--yes")
    assert (adopted.exit_code, adopted.stderr) == (0, "")
    assert read_copy(built.platform.lake.store) == []
    revived.refreshed()
    listed = {name for (name,) in revived.sql("select name from ledger.lake_files where dropped_at is null")}
    assert listed
    assert listed.isdisjoint(before)
    assert not forgotten.exists()

    clean = new_deployment()
    clean.declare("clicks", CLICKS)
    clean.deliver("clicks/2.jsonl", AFTER)
    clean.refreshed()
    assert differences(revived.everything(), clean.everything()) == {}
    revived.close()


def test_a_lost_lake_is_built_again_from_landing(
    built: Deployment, command: Callable[..., typer.testing.Result]
) -> None:
    before = built.everything()
    built.close()
    shutil.rmtree(built.settings.lake_dir)
    built.reload()
    assert command(built, "adopt", "--yes").exit_code == 0
    built.refreshed()
    assert differences(built.everything(), before) == {}


def test_whoever_does_not_say_yes_changes_nothing(
    built: Deployment, new_database: Callable[[], str], command: Callable[..., typer.testing.Result]
) -> None:
    other = Deployment(replace(built.settings, postgres_url=new_database()), built.instance)
    asked = command(other, "adopt", answer="n\n")
    assert asked.exit_code == 1
    shown = " ".join(asked.stdout.split())
    assert "is of no deployment" in shown
    assert f"The lake {built.settings.lake_dir} is of the deployment" in shown
    built.reload()
    assert built.refreshed().idle
