"""Fixtures of stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import Store
from pipeline_assets_tests.storage.object_store import in_environment, new_bucket, running_object_store


@pytest.fixture(scope="session")
def object_store() -> Iterator[dict[str, str]]:
    """The variables by which a running object store is found."""
    with running_object_store() as variables:
        yield variables


@pytest.fixture
def s3(object_store: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """URL of a place in an empty bucket, which this process can reach."""
    with in_environment(object_store, home=tmp_path):
        yield f"s3://{new_bucket(object_store)}/a prefix/é[1]%20+"


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    place = request.getfixturevalue("s3") if request.param == "s3" else tmp_path / "a folder" / "é[1]%20+"
    return open_store(place)
