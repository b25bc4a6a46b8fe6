"""Load files of a ready format as the pipeline does, without a server."""

import json
import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import yaml

from pipeline_assets.ledger.files import Load
from pipeline_assets.ledger.quarantine import REASONS
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.loading import load_sources
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.staging.loading import SourceLoader
from pipeline_assets.starting.trying import TrialLedger

FIXTURES = Path(__file__).parent / "fixtures"
BOOKED_AT = datetime(2024, 6, 1, tzinfo=UTC)


def declare(name: str, **attributes: Any) -> Source:
    """The source that `format: <name>` and a few attributes declare, read from YAML like any other."""
    declared = {
        "type": "pipeline_assets.components.EventSource",
        "attributes": {"path": "*", "format": name, **attributes},
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shop" / "defs.yaml"
        file.parent.mkdir()
        file.write_text(yaml.safe_dump(declared), encoding="utf-8")
        (source,) = load_sources(Path(folder))
    return source


def load(source: Source, file: Path, **changes: Any) -> tuple[list[dict[str, Any]], Load]:
    """The staged rows of a file in the order of its lines, and what would be booked; `changes` are of settings."""
    ledger = TrialLedger(BOOKED_AT)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as database:
        settings = Settings.for_data_dir(Path(folder), first_day=date(2010, 1, 1), **changes)
        landing = settings.landing_dir
        landing.mkdir(parents=True)
        landed = landing / file.name
        landed.write_bytes(file.read_bytes())
        SourceLoader(source, settings, ledger, database).load([LandingFile.at(landed, landing, follow_links=False)])
        (booked,) = ledger.loads
        # What reads the quarantine knows no other reasons.
        assert [bad.reason for bad in booked.quarantined if not bad.reason.startswith(REASONS)] == []
        parts = [str(path) for path in settings.lake_dir.rglob("*.parquet")]
        rows = database.from_parquet(parts).order("line").to_arrow_table().to_pylist() if parts else []
    return rows, booked


def load_text(source: Source, text: str) -> tuple[list[dict[str, Any]], Load]:
    """The staged rows of a file with this content, and what would be booked."""
    return load_bytes(source, text.encode())


def load_bytes(source: Source, content: bytes) -> tuple[list[dict[str, Any]], Load]:
    """The staged rows of a file with these bytes, and what would be booked."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.txt"
        file.write_bytes(content)
        return load(source, file)


def given(row: Mapping[str, Any], *columns: str) -> tuple[Any, ...]:
    """Some columns of a row."""
    return tuple(row[column] for column in columns)


def records(name: str) -> list[dict[str, Any]]:
    """The records of a fixture that are records, in the order of its lines."""
    found = []
    for line in (FIXTURES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict):
            # A table cannot tell an empty cell from one that is not there.
            found.append({key: value for key, value in record.items() if value not in (None, "")})
    return found
