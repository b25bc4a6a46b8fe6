"""A deployment of the version before the catalogue is taken over: its staged rows count, its tables are built again."""

import shutil
from collections.abc import Callable
from datetime import date
from importlib.resources import as_file, files
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from pipeline_assets_tests.end_to_end.deployment import CLICKS, Deployment, differences
from pipeline_assets_tests.end_to_end.test_sensors import on

DAYS = range(1, 5)
BEFORE = "0007"
"""The version of the ledger before the catalogue."""


def turn_back(deployment: Deployment) -> list[Path]:
    """Make ledger and lake what the version before had: files named by what is in them, which a folder lists."""
    engine, lake = deployment.platform.engine, deployment.settings.lake_dir
    staged = deployment.sql(
        "select f.name, s.source, s.event_date, s.content, s.rules from ledger.staged s join ledger.lake_files f "
        "using (file)"
    )
    # One file for each content and day, as there were.
    assert len({name for name, *_ in staged}) == len(staged) == len(DAYS)
    for name, source, day, content, rules in staged:
        old = lake / "staging" / source / f"event_date={day}" / f"{content}-{rules}.parquet"
        old.parent.mkdir()
        (lake / name).rename(old)
    parts = []
    for file in deployment.platform.catalogue.files("events").values():
        part = lake / "events" / f"event_date={file[0].day}" / "part.parquet"
        part.parent.mkdir()
        shutil.move(lake / file[0].name, part)
        parts.append(part)
    with as_file(files("pipeline_assets.ledger") / "migrations") as folder, engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        command.downgrade(config, BEFORE)
    with engine.connect() as connection:
        assert not sa.inspect(connection).has_table("lake_files", schema="ledger")
    deployment.reload()
    return parts


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
