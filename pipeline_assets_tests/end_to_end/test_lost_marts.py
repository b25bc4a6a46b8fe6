"""Marts that somebody drops are noticed at the next look and made again; nothing else is."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from io import StringIO

import pytest
import sqlalchemy as sa
from rich.console import Console

from pipeline_assets.cli import printing
from pipeline_assets.namespace import Namespace
from pipeline_assets.planning import UNPARTITIONED
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, CLICKS, Deployment, differences
from pipeline_assets_tests.end_to_end.test_lost_files import build
from pipeline_assets_tests.end_to_end.test_sensors import on

DAYS = [date(2026, 3, day) for day in range(1, 5)]
TABLES = (*BACKBONE_TABLES, "users")

# By the way, schemas of marts that are called otherwise.
HARMS = {
    "dropped": (None, "drop table {schema}.sessions, {schema}.users"),
    "schema dropped": ("acme", "drop schema {schema} cascade"),
    "schema renamed": (None, "alter schema {schema} rename to elsewhere"),
    "renamed": ("acme", "alter table {schema}.sessions rename to visits"),
    "replaced": (
        None,
        "create table copy (like {schema}.users including all); drop table {schema}.users; "
        "alter table copy rename to users; alter table users set schema {schema}",
    ),
}


def load(deployment: Deployment) -> Deployment:
    deployment.declare("clicks", CLICKS)
    for day in range(1, 5):
        deployment.deliver(f"clicks/{day:02}.jsonl", on(day))
    deployment.refreshed()
    return deployment


def change(deployment: Deployment, statements: str) -> None:
    """What somebody does by hand."""
    with deployment.platform.engine.begin() as connection:
        connection.execute(sa.text(statements.format(schema=deployment.settings.namespace.marts)))


def status(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `pipeline-assets status` prints."""
    told = StringIO()
    monkeypatch.setattr(printing, "console", Console(file=told, width=200))
    printing.print_status(deployment.platform)
    return told.getvalue()


@pytest.mark.parametrize(("namespace", "harm"), HARMS.values(), ids=HARMS)
def test_marts_that_are_not_there_any_more_are_stale_named_and_made_again(
    new_deployment: Callable[..., Deployment], namespace: str | None, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = load(new_deployment(tables=TABLES, namespace=Namespace(namespace)))
    before, schema = built.everything(), built.settings.namespace.marts
    change(built, harm)
    tables = built.platform.tables
    marts = [name for name, spec in tables.items() if spec.store == "marts"]
    lost = [name for name in marts if name in harm] or marts
    staleness, told = built.platform.staleness(), status(built, monkeypatch)
    assert list(staleness.lost) == lost
    assert {name: days for name, days in staleness.tables.items() if days} == {
        name: {*DAYS} if tables[name].is_daily else {UNPARTITIONED} for name in lost
    }
    for name in marts:
        assert (f"{schema}.{name}: the table that was built is not there any more" in told) == (name in lost)
    report = built.refreshed()
    assert len(report.lost_marts) == len(lost)
    assert differences(built.everything(), before) == {}
    assert built.is_settled()
    assert built.refreshed().idle


def test_a_mart_that_is_made_again_for_one_day_is_not_taken_for_all_of_it(deployment: Deployment) -> None:
    load(deployment)
    before = deployment.everything()
    change(deployment, "drop table {schema}.sessions")
    assert build(deployment, "sessions", 3, 3).success
    assert deployment.platform.staleness().tables["sessions"] == {*DAYS} - {DAYS[2]}
    assert deployment.platform.builds.built_days("sessions") == [DAYS[2]]
    deployment.refreshed()
    assert differences(deployment.everything(), before) == {}


def test_nobody_misses_a_mart_that_is_not_asked_for(new_deployment: Callable[..., Deployment]) -> None:
    deployment = load(new_deployment())
    frozen = Deployment(replace(deployment.settings, tables=("sessions",)), deployment.instance)
    change(frozen, "drop table {schema}.page_views")
    assert frozen.platform.staleness().lost == ()
    assert frozen.refreshed().idle
    frozen.close()
