"""A small broken file beside a long healthy history: everybody who is asked names it, until it is mended."""

import gzip

import dagster as dg
import sqlalchemy as sa

from pipeline_assets.cli.printing import print_report, print_status
from pipeline_assets.namespace import PLAIN
from pipeline_assets.resources import resource_key
from pipeline_assets.sensors.alarms import silent_sources
from pipeline_assets_tests.end_to_end.deployment import CLICKS, Deployment
from pipeline_assets_tests.end_to_end.test_files import click

STAGING = dg.AssetKey(["staging", "clicks"])
SECRET = "somebody@example.org"


def alarm(deployment: Deployment, cursor: str | None) -> tuple[list[dg.AssetCheckEvaluation], str | None]:
    context = dg.build_sensor_context(
        instance=deployment.instance,
        resources={resource_key("platform", PLAIN): deployment.platform},
        definitions=deployment.definitions,
        cursor=cursor,
    )
    data = silent_sources.definition(PLAIN).evaluate_tick(context)
    return [event for event in data.asset_events if isinstance(event, dg.AssetCheckEvaluation)], data.cursor


def test_a_broken_file_is_named_by_check_alarm_refresh_and_status_until_it_is_mended(
    deployment: Deployment, capsys
) -> None:
    deployment.declare("clicks", CLICKS.replace("quarantined: 0.5", "quarantined: 0.01"))
    deployment.deliver("clicks/history.jsonl", "".join(map(click, range(3_000))))
    deployment.refreshed()
    (passed,), cursor = alarm(deployment, None)
    assert passed.passed

    cut = gzip.compress("".join(map(click, range(5_000, 6_000))).encode())[:-100]
    deployment.deliver("clicks/cut.jsonl.gz", cut)
    deployment.deliver("clicks/table.jsonl", f"id;name\n1;{SECRET}\n2;{SECRET}\n")
    report = deployment.refresh()
    quality = report.beyond_bounds["clicks"]
    assert report.exit_code == 3
    # The history hides it from the share of the whole.
    assert quality.found.share < quality.bound
    assert [file.path for file in quality.broken] == ["clicks/cut.jsonl.gz", "clicks/table.jsonl"]

    (check,) = (each for each in report.failed_checks if each.check_name == "quarantined_share")
    (rung,), cursor = alarm(deployment, cursor)
    for told in (check, rung):
        assert (told.passed, told.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert told.description is not None
        assert "clicks/cut.jsonl.gz: cannot be read: " in told.description
        assert "clicks/table.jsonl: 3 of 3 lines are in quarantine (100.0%): not_json: 3" in told.description
        table = told.metadata["worst_files"]
        assert isinstance(table, dg.TableMetadataValue)
        assert [record.data["file"] for record in table.records] == ["clicks/cut.jsonl.gz", "clicks/table.jsonl"]
        assert SECRET not in repr(told)
    materialization = deployment.instance.get_latest_materialization_event(STAGING)
    assert materialization is not None
    assert materialization.asset_materialization is not None
    metadata = materialization.asset_materialization.metadata
    assert metadata["unreadable"].value == "clicks/cut.jsonl.gz"
    assert isinstance(metadata["worst_files"], dg.TableMetadataValue)

    # Nothing new is loaded, and it is told all the same.
    assert deployment.refresh().exit_code == 3
    print_report(deployment.platform, report)
    print_status(deployment.platform)
    printed = capsys.readouterr()
    for said in (printed.err, printed.out):
        words = " ".join(said.split())
        assert "clicks: clicks/cut.jsonl.gz: cannot be read: " in words
        assert "clicks: clicks/table.jsonl: 3 of 3 lines are in quarantine" in words
        assert SECRET not in said

    deployment.deliver("clicks/cut.jsonl.gz", gzip.compress(click(5_000).encode()))
    assert deployment.refresh().exit_code == 3
    deployment.deliver("clicks/table.jsonl", click(7_000))
    assert deployment.refreshed().beyond_bounds == {}
    (mended,), cursor = alarm(deployment, cursor)
    assert mended.passed
    assert alarm(deployment, cursor)[0] == []

    # Nothing of what cannot be read was taken over, so that nothing is left once it is taken away.
    deployment.deliver("clicks/again.jsonl.gz", cut)
    assert deployment.refresh().exit_code == 3
    (deployment.settings.landing_dir / "clicks" / "again.jsonl.gz").unlink()
    assert deployment.refreshed().beyond_bounds == {}

    # What nobody mends is told for a week.
    deployment.deliver("clicks/late.jsonl", "no json\n" * 3)
    assert deployment.refresh().exit_code == 3
    with deployment.platform.engine.begin() as connection:
        connection.execute(sa.text("update ledger.files set booked_at = booked_at - interval '8 days'"))
    assert deployment.refresh().exit_code == 0
