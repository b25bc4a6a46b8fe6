"""Fixtures of the tests of staging."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa

from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets_tests.staging.sides import Sides


@pytest.fixture
def sides(tmp_path: Path, postgres_url: str, new_database: Any) -> Iterator[Sides]:
    engines = {url: sa.create_engine(sqlalchemy_url(url, "psycopg")) for url in (postgres_url, new_database())}
    for engine in engines.values():
        migrate(engine)
    with closing(duckdb.connect()) as database:
        yield Sides(tmp_path, engines, database)
    for engine in engines.values():
        engine.dispose()
