"""A deployment of the version before the catalogue is taken over: its staged rows count, its tables are built again."""

from collections.abc import Callable
from datetime import date

from pipeline_assets_tests.end_to_end.deployment import CLICKS, Deployment, differences
from pipeline_assets_tests.end_to_end.older_version import turn_back
from pipeline_assets_tests.end_to_end.test_sensors import on

DAYS = range(1, 5)


def test_a_deployment_of_the_version_before_is_taken_over_and_ends_equal_to_a_clean_load(
    deployment: Deployment, new_deployment: Callable[..., Deployment]
) -> None:
    clean = new_deployment()
    for each in (deployment, clean):
        each.declare("clicks", CLICKS)
        for day in DAYS:
            each.deliver(f"clicks/{day:02}.jsonl", on(day))
            # Those that are loaded together share a file.
            each.refreshed() if each is deployment else None
    parts = turn_back(deployment)
    # Nothing of before is read but staged rows.
    parts[0].write_bytes(b"not even Parquet")
    read_before = deployment.sql("select path, content, stamp from ledger.files order by path")
    for each in (deployment, clean):
        each.deliver("clicks/late.jsonl", on(3, hour=20))
        each.refreshed()
    assert differences(deployment.everything(), clean.everything()) == {}
    assert deployment.is_settled()
    assert deployment.check_everything() == []
    # Only what is new was read from landing; the sweep finds the files of before when they are old enough.
    still = "select path, content, stamp from ledger.files where path <> 'clicks/late.jsonl' order by path"
    assert deployment.sql(still) == read_before
    assert all(part.exists() for part in parts)
    assert {file.day for file in deployment.platform.catalogue.files("staging/clicks")[date(2026, 3, 3)]} == {
        date(2026, 3, 3)
    }
