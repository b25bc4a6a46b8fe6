"""Deployments of one source, side by side, without Dagster: what they stage is compared."""

import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import sqlalchemy as sa

from pipeline_assets.lake import Lake
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.files import FileLedger, StagedFile
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.staging import compaction
from pipeline_assets.staging.compaction import compact
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.staging.loading import LoadSummary, SourceLoader
from pipeline_assets.staging.staged import scan_staged
from pipeline_assets.staging.walking import scan
from pipeline_assets.storage.opening import open_store
from pipeline_assets_tests.formats.landed import declare

# Without ids, so that equal rows of a file are told apart by their place in it.
MAPPED = {"event_name": "name", "occurred_at": "time", "anonymous_id": "visitor"}
PATHS = ("s/a", "s/b", "s/c", "s/d", "s/e", "s/f")


def records(number: int) -> list[dict[str, str]]:
    """The records of a content: on one or two days, some of them equal, some without a visitor."""
    days = [1 + number % 3, 1 + (number * 2 + 1) % 3]
    rows = [
        {"name": f"n{number}", "time": f"2024-03-0{days[line % 2]}T10:00:00Z", "visitor": f"v{line % 3}"}
        for line in range(1 + number % 4)
    ]
    rows += [dict(rows[0])] * (number % 2)
    return rows + [{"name": "x", "time": "2024-03-01T10:00:00Z", "visitor": ""}] * (number % 3 == 1)


def jsonl(number: int) -> bytes:
    lines = [str(row).replace("'", '"') for row in records(number)]
    return (
        "\n".join([*lines, *([""] if number % 4 == 2 else []), *(["{"] if number % 5 == 3 else [])]) + "\n"
    ).encode()


def csv(number: int) -> bytes:
    """With other columns in another order in every other file."""
    columns = ["name", "time", "visitor"] if number % 2 else ["visitor", "extra", "time", "name"]
    rows = [",".join(row.get(column, f"x{number}") for column in columns) for row in records(number)]
    return "\n".join([",".join(columns), *rows, ""]).encode()


def parquet(number: int) -> bytes:
    frame = pl.DataFrame(records(number))
    if number % 2:
        frame = frame.select("visitor", "time", "name", extra=pl.lit(number))
    written = io.BytesIO()
    frame.write_parquet(written)
    return written.getvalue()


KINDS = {"jsonl": jsonl, "csv": csv, "parquet": parquet}
UNREADABLE = 9


def content(kind: str, number: int) -> bytes:
    """One of ten contents, of which the last cannot be read to its end."""
    made = KINDS[kind](number)
    if number != UNREADABLE:
        return made
    # Enough for some records to be read before the end that is missing.
    return made[:-8] if kind == "parquet" else gzip.compress(made * 20_000, mtime=0)[:-20]


@dataclass
class Side:
    """A deployment of one source, with a ledger of its own.

    Attributes:
        settings: where landing and lake are.
        url: of the database.
        engine: of the same.
        source: the source.
        database: DuckDB.
        ledger: knows what counts.
        lake: has the rows.
    """

    settings: Settings
    url: str
    engine: sa.Engine
    source: Source
    database: duckdb.DuckDBPyConnection
    ledger: FileLedger = field(init=False)
    lake: Lake = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = FileLedger(self.engine)
        self.lake = Lake(open_store(self.settings.lake_url), self.settings.scratch_dir)

    def deliver(self, files: Mapping[str, int]) -> None:
        for path, number in files.items():
            self.write(path, content(self.source.format, number))

    def write(self, path: str, made: bytes) -> None:
        """Write a file into landing, unless it is there already."""
        target = self.settings.landing_dir / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != made:
            target.write_bytes(made)

    def pending(self) -> list[LandingFile]:
        version = SourceLoader(self.source, self.settings, self.ledger, self.database).declaration_version
        files = scan(self.settings.landing_dir, self.source.path).files
        new = self.ledger.not_as_booked(self.source.name, version, {file.name: file.stamp for file in files})
        return [file for file in files if file.name in new]

    def load(self, files: Sequence[LandingFile] | None = None) -> LoadSummary:
        loader = SourceLoader(self.source, self.settings, self.ledger, self.database)
        return loader.load(self.pending() if files is None else files)

    def compact(self, ledger: FileLedger | None = None, *, settled: timedelta = timedelta(0)) -> int:
        return compact(
            self.source.name,
            self.lake,
            ledger or self.ledger,
            self.settings.scratch_dir,
            read_again=self.read_again,
            settled=settled,
        )

    def read_again(self, lost: Sequence[LakeFile]) -> None:
        self.ledger.read_again(self.source.name, self.ledger.contents_in(file.name for file in lost))

    def staged(self) -> list[StagedFile]:
        return self.ledger.staged_files([self.source.name], date.min, date.max)

    def rows(self) -> list[tuple[Any, ...]]:
        """All staged rows that count."""
        frame = scan_staged(self.lake, self.staged()).collect()
        return frame.sort("load_id", "line").rows()

    def account(self) -> dict[str, list[Any]]:
        """What the ledger says, without moments and files of the lake."""
        queries = {
            "files": """select path, content, declaration_version, state, newest, lines, landed, quarantined, blank,
                error from ledger.files order by path, content""",
            "quarantine": """select content, line, reason, declaration_version, raw, bytes
                from ledger.quarantine order by 1, 2""",
            "staged": "select content, event_date, declaration_version, rows from ledger.staged order by 1, 2",
        }
        with self.engine.connect() as connection:
            return {name: list(connection.execute(sa.text(query)).all()) for name, query in queries.items()}

    def check_lists(self) -> None:
        """A file is listed as long as rows that count are in it, and all of these are; what is staged counts."""
        with self.engine.connect() as connection:
            listed = connection.execute(sa.text("select name, rows from ledger.lake_files where dropped_at is null"))
            of_lists = {row.name: row.rows for row in listed}
            active = connection.execute(
                sa.text("select content, landed from ledger.files where state = 'active' and landed > 0")
            )
            counting = {row.content: row.landed for row in active}
        staged = self.staged()
        assert {each.file.name for each in staged} == of_lists.keys()
        landed: dict[str, int] = {}
        for each in staged:
            landed[each.content] = landed.get(each.content, 0) + each.rows
        assert landed == counting
        for name, rows in of_lists.items():
            found = pl.read_parquet(self.settings.lake_dir / name)
            assert found.height == rows
            held = dict(found.group_by("load_id").len().iter_rows())
            of_file = {each.content: each.rows for each in staged if each.file.name == name}
            assert of_file.items() <= held.items()

    def check_compact(self) -> None:
        """Of each day there is one small file at most, and of no file half the rows or fewer count."""
        counting: dict[str, int] = {}
        files = {each.file.name: each.file for each in self.staged()}
        for each in self.staged():
            counting[each.file.name] = counting.get(each.file.name, 0) + each.rows
        assert [file for name, file in files.items() if 2 * counting[name] <= file.rows] == []
        small = [file.day for file in files.values() if file.rows < compaction.SMALL_ROWS]
        assert len(small) == len(set(small))

    def empty(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text("truncate ledger.contents, ledger.lake_files, ledger.changed_days cascade"))
        for path in self.settings.landing_dir.glob("s/*"):
            path.unlink()


class Sides:
    """Two sides for each kind of file."""

    def __init__(self, folder: Path, engines: Mapping[str, sa.Engine], database: duckdb.DuckDBPyConnection) -> None:
        self._made: dict[str, list[Side]] = {}
        self._folder, self._engines, self._database = folder, engines, database

    def __call__(self, kind: str) -> list[Side]:
        if kind not in self._made:
            source = declare(kind, path="s/*", mapping=MAPPED)
            self._made[kind] = [
                Side(Settings.for_data_dir(self._folder / kind / str(number)), url, engine, source, self._database)
                for number, (url, engine) in enumerate(self._engines.items())
            ]
        for side in self._made[kind]:
            side.empty()
        return self._made[kind]
