"""What the demo's generator planted is what the analyses find: funnel, retention, channels, attribution, all else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from pipeline_assets.demo.findings import findings
from pipeline_assets.demo.generator import DemoConfig, build_demo
from pipeline_assets_tests.end_to_end.deployment import Deployment

_ASKED = (
    "page_views",
    "daily_activity",
    "visitors",
    "campaigns",
    "checkout_funnel",
    "visit_retention",
    "channel_attribution",
)


def test_after_the_late_files_every_table_says_what_the_demo_has_planted(
    new_deployment: Callable[..., Deployment],
) -> None:
    # Of the days of a demo that is made now.
    demo = build_demo(replace(DemoConfig.small(), first_day=DemoConfig.latest(datetime.now(UTC)).first_day))
    config = demo.config
    deployment = new_deployment(tables=_ASKED, first_day=config.all_days[0], defs_dir=None)
    demo.write(deployment.settings.landing_dir)
    deployment.refreshed()
    before = findings(deployment.platform.engine, demo.truth)
    # Else the late files would prove nothing.
    assert not all(finding.agrees for finding in before)
    demo.write_late_files(deployment.settings.landing_dir)
    deployment.refreshed()
    found = findings(deployment.platform.engine, demo.truth)
    assert [finding for finding in found if not finding.agrees] == []
    # Nothing agrees only because there is nothing of it.
    assert [finding.what for finding in found if not finding.planted] == []
