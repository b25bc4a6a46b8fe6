"""Deployments for the tests: each in a folder and a database of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import dagster as dg
import pytest

from pipeline_assets.settings import Settings
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, FIRST_DAY, Deployment


@pytest.fixture
def new_deployment(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[Callable[..., Deployment]]:
    """A function that makes an empty deployment, with settings of its own where given.

    The runs are recorded in memory: what Dagster remembers is not what the tables are made from.
    """
    numbers = count()
    with ExitStack() as stack:

        def make(**changes: object) -> Deployment:
            folder = tmp_path / f"deployment{next(numbers)}"
            (folder / "defs").mkdir(parents=True)
            changes = {
                "postgres_url": new_database(),
                "defs_dir": folder / "defs",
                "tables": BACKBONE_TABLES,
                "first_day": FIRST_DAY,
                **changes,
            }
            settings = Settings.for_data_dir(folder, **changes)
            deployment = Deployment(settings, stack.enter_context(dg.DagsterInstance.ephemeral()))
            stack.callback(deployment.close)
            return deployment

        yield make


@pytest.fixture
def deployment(new_deployment: Callable[..., Deployment]) -> Deployment:
    """An empty deployment."""
    return new_deployment()
