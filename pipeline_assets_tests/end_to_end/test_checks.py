"""What the asset checks of a deployment say, and that they say it when something is wrong."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import sqlalchemy as sa

from pipeline_assets.declarations.yaml_files import DEFS_DIR
from pipeline_assets.jobs import LOAD_JOB
from pipeline_assets.tables.spec import EVENTS
from pipeline_assets_tests.end_to_end.deployment import CHECKS_JOB, CLICKS, QUIET, Deployment
from pipeline_assets_tests.end_to_end.test_files import click

WITH_CONSENT = CLICKS.replace("    page_url", "    consent: ok\n    page_url")


def evaluation(deployment: Deployment, asset: str, check: str) -> dg.AssetCheckEvaluation:
    """One check of all days."""
    key = dg.AssetCheckKey(dg.AssetKey(asset.split("/")), check)
    job = deployment.definitions.resolve_job_def(CHECKS_JOB).get_subset(asset_check_selection={key})
    result = job.execute_in_process(instance=deployment.instance, run_config=QUIET, raise_on_error=False)
    (found,) = result.get_asset_check_evaluations()
    assert found.asset_check_key == key
    return found


def numbers(evaluation: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


def load(deployment: Deployment) -> None:
    """Load what has landed, and build nothing."""
    job = deployment.definitions.resolve_job_def(LOAD_JOB)
    assert job.execute_in_process(instance=deployment.instance, run_config=QUIET).success


def only_file(deployment: Deployment, pattern: str) -> Any:
    (path,) = deployment.settings.lake_dir.glob(pattern)
    return path


@pytest.fixture
def built(deployment: Deployment) -> Deployment:
    """A deployment with one built day of two clicks."""
    deployment.declare("clicks", CLICKS)
    deployment.deliver("clicks/a.jsonl", click(1) + click(2))
    deployment.refreshed()
    return deployment


def test_a_load_that_is_booked_between_the_build_and_the_check_does_not_fail_it(built: Deployment) -> None:
    built.deliver("clicks/b.jsonl", click(3) + click(4, time="2026-03-03T10:00:00Z"))
    load(built)
    found = evaluation(built, "events", "days_balance")
    assert found.passed
    assert numbers(found)["days"] == 0


def rewrite(deployment: Deployment, path: Path, rows: pl.DataFrame) -> None:
    """Give a file other rows, and let the catalogue list its new size: one of another size would count as lost."""
    rows.write_parquet(path)
    update = sa.text("update ledger.lake_files set bytes = :bytes where :path like '%/' || name")
    with deployment.platform.engine.begin() as connection:
        changed = connection.execute(update, {"bytes": path.stat().st_size, "path": str(path)})
    assert changed.rowcount == 1


def test_a_day_whose_file_lacks_an_event_is_out_of_balance(built: Deployment) -> None:
    (path,) = built.lake_files(EVENTS)
    rewrite(built, path, pl.read_parquet(path, hive_partitioning=False).head(1))
    found = evaluation(built, "events", "days_balance")
    assert not found.passed
    assert numbers(found)["days_out_of_balance"] == "2026-03-01"


@pytest.mark.parametrize(
    ("denied", "kept", "excluded"),
    [("anonymise", {"events_without_identifiers: clicks": 2}, 0), ("drop", {}, 2)],
)
def test_refusals_are_counted(deployment: Deployment, denied: str, kept: dict[str, int], excluded: int) -> None:
    deployment.declare("clicks", f"{WITH_CONSENT}  consent: {{denied: {denied}}}\n")
    deployment.deliver("clicks/a.jsonl", click(1, ok=False) + click(2, ok=False) + click(3, ok=True) + click(4))
    deployment.refreshed()
    found = evaluation(deployment, "events", "consent_denied")
    assert found.passed
    assert numbers(found) == {**kept, "events_with_identifiers": 0, "rows_excluded": excluded}


@pytest.mark.parametrize("column", ["anonymous_id", "user_id"])
def test_an_event_that_refuses_and_keeps_an_identifier_is_an_error(deployment: Deployment, column: str) -> None:
    deployment.declare("clicks", WITH_CONSENT)
    deployment.deliver("clicks/a.jsonl", click(1, ok=False))
    deployment.refreshed()
    (path,) = deployment.lake_files(EVENTS)
    rewrite(deployment, path, pl.read_parquet(path, hive_partitioning=False).with_columns(pl.lit("v1").alias(column)))
    found = evaluation(deployment, "events", "consent_denied")
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.ERROR, False)
    assert numbers(found)["events_with_identifiers"] == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (pl.col("line").cast(pl.Int32), {"columns_that_differ": "line"}),
        (pl.lit(None, pl.String).alias("property"), {"nulls_in_required_columns": 2}),
    ],
)
def test_a_staged_file_that_breaks_the_contract_is_an_error(
    built: Deployment, change: pl.Expr, expected: dict[str, Any]
) -> None:
    assert evaluation(built, "staging/clicks", "contract").passed
    path = only_file(built, "staging/clicks/*/*.parquet")
    rewrite(built, path, pl.read_parquet(path, hive_partitioning=False).with_columns(change))
    found = evaluation(built, "staging/clicks", "contract")
    assert not found.passed
    assert expected.items() <= numbers(found).items()


def test_the_lakes_events_are_found_where_the_io_manager_puts_them(built: Deployment) -> None:
    assert numbers(evaluation(built, "events", "contract"))["rows"] == built.table(EVENTS).height


def test_credits_add_up_to_the_value_of_every_conversion_also_where_its_event_has_no_currency(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment(tables=("channel_attribution",))
    for name in ("currencies", "purchase", "channel_attribution"):
        deployment.declare(name, (DEFS_DIR / name / "defs.yaml").read_text())
    deployment.declare("clicks", CLICKS.replace("    currency: \"'EUR'\"\n", ""))
    deployment.deliver("clicks/a.jsonl", click(1) + click(2, name="order_completed", revenue="12.34"))
    deployment.refreshed()
    credited = deployment.sql("select distinct sum(credit) from marts.channel_attribution group by model")
    assert credited == deployment.sql("select reporting_value from marts.conversions") == [(Decimal("12.34"),)]
    assert numbers(evaluation(deployment, "conversions", "has_values")) == {"without_rate": 0, "without_currency": 1}
    assert evaluation(deployment, "channel_attribution", "credits_add_up").passed
    for wrong, differing in (
        ("update marts.channel_attribution set credit = null where model = 'linear'", 1),
        ("delete from marts.channel_attribution where model <> 'linear'", 8),
    ):
        with deployment.platform.engine.begin() as connection:
            connection.execute(sa.text(wrong))
        found = evaluation(deployment, "channel_attribution", "credits_add_up")
        assert (found.passed, numbers(found)["differing"]) == (False, differing)
