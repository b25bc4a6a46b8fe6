"""One dev server for all tests of this folder: it takes half a minute to start."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_assets_tests.ui.dev_server import DevServer, dev_server, small_deployment

DAYS = 6


@pytest.fixture(scope="session")
def server() -> Iterator[DevServer]:
    """A dev server on a demo of six days."""
    # Not below pytest's own folder, which root's PostgreSQL cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="pipeline-ui-"))
    try:
        with dev_server(*small_deployment(folder, days=DAYS)) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)
