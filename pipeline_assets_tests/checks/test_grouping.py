"""Checks that share a step say what they would say alone."""

from typing import Any

import dagster as dg
import pytest
from dagster_duckdb import DuckDBResource

from pipeline_assets.checks.grouping import Check, asset_check, grouped
from pipeline_assets.namespace import Namespace


def saying(name: str, *, passed: bool = True, error: str = "", blocking: bool = False) -> Check:
    @asset_check(asset="upper", name=name, description=name, blocking=blocking)
    def check() -> dg.AssetCheckResult:
        if error:
            raise ValueError(error)
        return dg.AssetCheckResult(passed=passed, metadata={"said": name})

    return check


def run(*checks: Check, selection: dg.AssetSelection | None = None) -> dg.ExecuteInProcessResult:
    @dg.asset
    def upper() -> None: ...

    @dg.asset(deps=[upper])
    def lower() -> None: ...

    resources: dict[str, Any] = {"pipeline_platform": object(), "pipeline_duckdb": DuckDBResource(database=":memory:")}
    definitions = dg.Definitions(
        assets=[upper, lower],
        asset_checks=grouped(checks, Namespace()),
        resources=resources,
        jobs=[dg.define_asset_job("all", selection=selection or dg.AssetSelection.all())],
    )
    return definitions.resolve_job_def("all").execute_in_process(raise_on_error=False)


def said(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    evaluations = result.get_asset_check_evaluations()
    assert all(found.metadata["said"].value == found.check_name for found in evaluations)
    return {found.check_name: found.passed for found in evaluations}


def built(result: dg.ExecuteInProcessResult) -> set[str]:
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}


def test_a_blocking_check_stops_what_follows_and_no_other_check():
    result = run(saying("a", passed=False, blocking=True), saying("b", blocking=True), saying("c", passed=False))
    assert not result.success
    assert said(result) == {"a": False, "b": True, "c": False}
    assert built(result) == {"upper"}


def test_a_check_that_does_not_block_stops_nothing():
    result = run(saying("a", blocking=True), saying("b", passed=False), saying("c", error="oh"))
    assert said(result) == {"a": True, "b": False}
    assert built(result) == {"upper", "lower"}
    assert not result.success


@pytest.mark.parametrize("blocking", [True, False])
def test_errors_are_told_with_the_checks_names_and_the_others_speak(blocking: bool):
    checks = (saying("a", error="oh"), saying("b"), saying("c", error="no"))
    result = run(*(Check(check.spec._replace(blocking=blocking), check.function) for check in checks))
    assert said(result) == {"b": True}
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert failure.user_failure_data.description == "a: oh; c: no"
    assert built(result) == ({"upper"} if blocking else {"upper", "lower"})


def test_a_check_can_be_run_alone():
    chosen = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("upper"), "b"))
    assert said(run(saying("a"), saying("b"), saying("c"), selection=chosen)) == {"b": True}
