"""What is most likely a mistake in a declaration or a change in what is delivered is told."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_assets.build import build_defs
from pipeline_assets.settings import PROJECT_ROOT
from pipeline_assets_tests.end_to_end import deployment
from pipeline_assets_tests.end_to_end.deployment import Deployment
from pipeline_assets_tests.end_to_end.test_files import click

# Its records have all that is mapped.
CLICKS = "".join(line for line in deployment.CLICKS.splitlines(keepends=True) if "revenue" not in line)
MISSPELT = CLICKS.replace("page_url: url", "page_url: ulr")
FUNNEL = """\
type: pipeline_assets.components.Funnel
attributes:
  by: visitor
  steps:
    - {name: seen, event: viewed}
    - {name: bought, event: order_complted}
"""


@pytest.fixture
def clicks(deployment: Deployment) -> Deployment:
    deployment.declare("clicks", CLICKS)
    return deployment


def test_a_misspelt_column_is_told_by_the_refresh_and_by_a_check_until_it_is_mended(clicks: Deployment) -> None:
    clicks.declare("clicks", MISSPELT)
    clicks.deliver("clicks/a.jsonl", click(1))
    told = "page_url is mapped from 'ulr', which no file has had so far; did you mean 'url'?"
    report = clicks.refreshed()
    assert report.hints == [f"clicks: {told}"]
    (check,) = (each for each in report.failed_checks if each.check_name == "mapped_columns")
    assert check.metadata["missing"].value == told
    clicks.declare("clicks", CLICKS)
    assert clicks.refreshed().hints == []


def test_a_code_location_does_not_doubt_columns_of_a_declaration_that_was_loaded(
    clicks: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    def doubts() -> int:
        caplog.clear()
        build_defs(clicks.settings)
        return sum(record.name == "pipeline_assets.build" for record in caplog.records)

    # Beyond what is looked at before a load, a record has the field: only a load can know that.
    clicks.deliver("clicks/a.jsonl", "".join(click(n).replace('"url"', '"link"') for n in range(1, 1200)) + click(1200))
    assert doubts() == 1
    assert clicks.refreshed().hints == []
    assert doubts() == 0
    clicks.declare("clicks", MISSPELT)
    assert doubts() == 1


def test_a_change_of_the_raw_columns_is_told_once_with_the_file_where_it_began(
    clicks: Deployment,
) -> None:
    clicks.deliver("clicks/a.jsonl", click(1))
    assert clicks.refreshed().hints == []
    clicks.deliver("clicks/b.jsonl", click(2).replace('"url"', '"link"'))
    (hint,) = clicks.refreshed().hints
    assert hint == (
        "clicks: raw columns have changed: new: 'link' since clicks/b.jsonl; gone: 'url' since clicks/b.jsonl."
    )
    clicks.deliver("clicks/c.jsonl", click(3))
    assert clicks.refreshed().hints == []


def test_paths_that_match_nothing_and_files_that_nobody_takes_are_told(clicks: Deployment) -> None:
    clicks.deliver("clikcs/a.jsonl", click(1))
    assert clicks.refresh().hints == [
        "clicks: no file in landing matches 'clicks/*', and none has been loaded.",
        "No source takes 1 file in landing: clikcs/a.jsonl.",
    ]
    clicks.deliver("clicks/a.jsonl", click(1))
    assert clicks.refresh().hints == ["No source takes 1 file in landing: clikcs/a.jsonl."]


def test_an_event_that_never_occurred_is_told_by_the_refresh_and_by_a_check(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment(tables=("funnel",))
    deployment.declare("clicks", CLICKS)
    deployment.declare("funnel", FUNNEL)
    deployment.deliver("clicks/a.jsonl", click(1, name="viewed") + click(2, name="order_completed"))
    report = deployment.refresh()
    assert report.hints == ["funnel: no event is called 'order_complted'; did you mean 'order_completed'?"]
    assert [each.check_name for each in report.failed_checks if not each.blocking] == ["events_occur"]


def test_a_property_that_no_source_has_is_told_by_the_refresh(new_deployment: Callable[..., Deployment]) -> None:
    deployment = new_deployment(tables=("funnel",))
    deployment.declare("clicks", CLICKS)
    deployment.declare("funnel", f"{FUNNEL}  properties: [clicks, clikcs]\n")
    assert "funnel: no source has the property 'clikcs'; did you mean 'clicks'?" in deployment.refresh().hints


def test_dg_check_defs_tells_what_the_files_in_landing_and_the_other_declarations_lack(clicks: Deployment) -> None:
    clicks.declare("clicks", MISSPELT)
    clicks.declare("funnel", f"{FUNNEL}  properties: [clikcs]\n")
    clicks.deliver("clicks/a.jsonl", click(1))
    environment = {
        **os.environ,
        "PIPELINE_DATA_DIR": str(clicks.settings.data_dir),
        "PIPELINE_DEFS_DIR": str(clicks.settings.defs_dir),
    }
    result = subprocess.run(
        [Path(sys.executable).parent / "dg", "check", "defs"],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    told = result.stdout + result.stderr
    assert "did you mean 'url'?" in told
    assert "Analysis funnel: no source has the property 'clikcs'; did you mean 'clicks'?" in told
