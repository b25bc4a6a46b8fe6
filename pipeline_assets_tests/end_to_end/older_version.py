"""Make of a deployment what a version before the catalogue had left."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from pipeline_assets_tests.end_to_end.deployment import Deployment


def turn_back(deployment: Deployment, revision: str = "0007") -> list[Path]:
    """Make ledger and lake what they were: files named by what is in them, which a folder lists.

    Args:
        deployment: with a staged file for each content and day, as there were: loaded one file at a time.
        revision: the version of its ledger; that before the catalogue by default.

    Returns:
        The files of the events.
    """
    engine, lake = deployment.platform.engine, deployment.settings.lake_dir
    staged = deployment.sql(
        "select f.name, s.source, s.event_date, s.content, s.declaration_version from ledger.staged s "
        "join ledger.lake_files f using (file)"
    )
    assert len({name for name, *_ in staged}) == len(staged)
    for name, source, day, content, version in staged:
        old = lake / "staging" / source / f"event_date={day}" / f"{content}-{version}.parquet"
        old.parent.mkdir(exist_ok=True)
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
        command.downgrade(config, revision)
    with engine.connect() as connection:
        assert not sa.inspect(connection).has_table("lake_files", schema="ledger")
    deployment.reload()
    return parts
