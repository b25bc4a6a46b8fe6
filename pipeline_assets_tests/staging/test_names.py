"""A name never means anything but itself: from a file in landing to its rows in the lake."""

import gzip
import io
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from pipeline_assets.lake import Lake
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.files import Booking, StagedFile
from pipeline_assets.settings import Settings
from pipeline_assets.staging.loading import SourceLoader
from pipeline_assets.staging.staged import scan_staged
from pipeline_assets.staging.walking import scan
from pipeline_assets.starting.trying import TrialLedger
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.parquet import duckdb_path, parquet_relation, scan_parquet
from pipeline_assets_tests.formats.landed import BOOKED_AT, declare
from pipeline_assets_tests.staging.names import ODD_BYTES, ODD_FOLDER, ODD_NAMES

DAY = date(2024, 3, 1)
TIME = "2024-03-01T10:00:00Z"
MAPPED = {"event_id": "id", "event_name": "'x'", "occurred_at": "time", "anonymous_id": "visitor"}


def parquet(name: str) -> bytes:
    written = io.BytesIO()
    pl.DataFrame({"id": [name], "time": [TIME], "visitor": ["v"]}).write_parquet(written)
    return written.getvalue()


def event(name: str) -> bytes:
    return f'{{"id": "{name}", "time": "{TIME}", "visitor": "v"}}'.encode()


CONTENTS = {
    "jsonl": event,
    "json_array": lambda name: b"[" + event(name) + b"]",
    "csv": lambda name: f"id,time,visitor\n{name},{TIME},v\n".encode(),
    "tsv": lambda name: f"id\ttime\tvisitor\n{name}\t{TIME}\tv\n".encode(),
    "common_log": lambda name: f'1.2.3.4 - {name} [01/Mar/2024:10:00:00 +0000] "GET / HTTP/1.1" 200 1\n'.encode(),
    "parquet": parquet,
}


class ByName(TrialLedger):
    """A ledger that remembers what was loaded under which name."""

    def __init__(self) -> None:
        super().__init__(BOOKED_AT)
        self.named: dict[str, list[StagedFile]] = {}

    def book(
        self, source: str, bookings: Sequence[Booking], lake: Sequence[LakeFile] = (), *, run_id: str = ""
    ) -> list[Booking]:
        """Remember it."""
        files = {file.day: file for file in lake}
        for each in bookings:
            assert each.load is not None
            self.named[each.path] = [
                StagedFile(source, each.content, each.load.declaration_version, day, rows, files[day])
                for day, rows in each.load.days.items()
            ]
        return super().book(source, bookings, lake, run_id=run_id)


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("folder", ["data", ODD_FOLDER])
def test_a_file_of_any_name_in_any_folder_gives_its_own_rows(tmp_path: Path, kind: str, folder: str) -> None:
    # A folder above that looks like a pattern or a partition must not matter either.
    settings = Settings.for_data_dir(tmp_path / folder, first_day=date(2010, 1, 1))
    (tmp_path / "event_date=1999-01-01 1").mkdir()
    mapping = MAPPED | ({"event_id": "remote_user", "anonymous_id": "remote_host"} if kind == "common_log" else {})
    source = declare(kind, path="s/**/*", mapping=mapping)
    expected = {}
    names = [os.fsencode(f"{name}/{name}") for name in ODD_NAMES] + list(ODD_BYTES)
    for number, name in enumerate(names):
        path = Path(os.fsdecode(os.fsencode(settings.landing_dir / "s") + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        content = CONTENTS[kind](f"e{number}")
        path.write_bytes(content if number % 2 or kind == "parquet" else gzip.compress(content))
        expected[path] = f"e{number}"
    ledger = ByName()
    lake = Lake(open_store(settings.lake_url), settings.scratch_dir)
    found = scan(settings.landing_dir, source.path).files
    with duckdb.connect() as database:
        loader = SourceLoader(source, settings, ledger, database)
        summary = loader.load(found)
    assert {outcome.result for outcome in summary.outcomes} == {"loaded"}
    assert len(ledger.named) == len(expected)
    for file in found:
        # All of them are in one file of the lake, and each has its own row in it.
        rows = (
            scan_staged(lake, ledger.named[file.name]).select("event_id", "event_date", "anonymous_id").collect().rows()
        )
        assert rows == [(expected[file.path], DAY, "1.2.3.4" if kind == "common_log" else "v")]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_parquet_file_of_the_lake_is_read_as_itself_and_nothing_is_added(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / f"{name}.parquet"
    path.parent.mkdir()
    # Names beside it that DuckDB would stumble over while it looks for a pattern.
    (tmp_path / "\\[beside").mkdir()
    with path.open("wb") as file:
        pl.DataFrame({"a": [1]}).write_parquet(file)
    assert scan_parquet([path]).collect().to_dict(as_series=False) == {"a": [1]}
    with duckdb.connect() as database:
        relation = parquet_relation(database, [path])
        assert (relation.columns, relation.fetchall()) == (["a"], [(1,)])
        relation.write_parquet(duckdb_path(tmp_path / name / "copy.parquet"))
    assert (tmp_path / name / "copy.parquet").is_file()


def test_a_row_of_a_parquet_file_beyond_the_limit_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    settings = Settings.for_data_dir(tmp_path, max_record_bytes=4_096)
    (settings.landing_dir / "s").mkdir(parents=True)
    notes = ["x", "y" * 5_000, None]
    rows = {"id": ["a", "b", "c"], "time": [TIME] * 3, "visitor": ["v"] * 3, "note": notes}
    pl.DataFrame(rows).write_parquet(settings.landing_dir / "s" / "1.parquet", compression="uncompressed")
    source = declare("parquet", path="s/*", mapping=MAPPED)
    ledger = TrialLedger(BOOKED_AT)
    with duckdb.connect() as database:
        SourceLoader(source, settings, ledger, database).load(scan(settings.landing_dir, source.path).files)
    (load,) = ledger.loads
    assert (load.lines, load.landed, load.blank) == (3, 2, 0)
    length = len("b") + len(TIME) + len("v") + 5_000
    assert [(bad.line, bad.reason, bad.length) for bad in load.quarantined] == [
        (2, "too_long:record (over 4096 bytes)", length)
    ]
