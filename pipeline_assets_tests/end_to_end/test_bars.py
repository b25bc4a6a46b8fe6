"""The bars that `refresh` shows on a terminal."""

import io
from collections.abc import Callable

from rich.console import Console

from pipeline_assets.build import build_defs
from pipeline_assets.progress import BarProgress, terminal_bars
from pipeline_assets.refresh import Refresh
from pipeline_assets_tests.end_to_end.deployment import CLICKS, Deployment
from pipeline_assets_tests.end_to_end.test_files import click


def test_the_bar_of_every_table_is_full_when_all_is_done(new_deployment: Callable[..., Deployment]) -> None:
    deployment = new_deployment(tables=("visitors",))
    deployment.declare("clicks", CLICKS)
    deployment.deliver("clicks/a.jsonl", click(0))
    with terminal_bars(Console(file=io.StringIO(), force_terminal=True)) as bars:
        shown = {"progress": BarProgress(bars)}
        definitions = build_defs(platform=deployment.platform, resource_overrides=shown)
        assert Refresh(deployment.platform, definitions, deployment.instance).run().exit_code == 0
        tasks = {task.description: task.finished for task in bars.tasks}
    assert tasks == dict.fromkeys(["staging clicks", *deployment.platform.tables], True)
