"""The pipeline beside plain scripts that do equal work, both sides taking turns."""

import json
import resource
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import polars as pl
import psycopg
from psycopg import sql
from rich.console import Console

from benchmarks import bare
from benchmarks.measuring import REFRESH, Side, clock, run
from pipeline_assets.component_tree.loading import declared
from pipeline_assets.platform import Platform
from pipeline_assets.postgres import leave_server, server_url
from pipeline_assets.settings import Settings
from pipeline_assets.tables.spec import EVENTS

SOURCE = "web"
STAGING_TARGET = 0.40
REFRESH_TARGET = 0.30

# What the bare script makes.
_MARTS = ("sessions", "page_views", "daily_activity")
_TABLES = {"PIPELINE_TABLES": ",".join((EVENTS, *_MARTS))}


@dataclass
class Comparison:
    """Two sides, and the share of the plain one's speed that the pipeline is to reach.

    Attributes:
        what: the work.
        target: the share.
        ours: the pipeline.
        plain: the other side.
        rows: rows of each table on both sides, where they make tables.
    """

    what: str
    target: float
    ours: Side
    plain: Side
    rows: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Our share of the plain side's speed: the median over the rounds."""
        pairs = zip(self.plain.seconds, self.ours.seconds, strict=True)
        return statistics.median(plain / ours for plain, ours in pairs)

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.ratio >= self.target


def compare_staging(console: Console, work: Path, events: int, rounds: int) -> Comparison:
    """Landing to staging beside DuckDB alone."""
    compared = Comparison(
        "landing to staging", STAGING_TARGET, Side("SourceLoader"), Side("DuckDB: read_json to Parquet")
    )
    for number in range(1, rounds + 1):
        with console.status(f"Landing to staging, round {number}"):
            _plain_staging(compared.plain, work, number)
            _our_staging(compared.ours, settings_of(work, f"staging-{number}"), events)
    return compared


def compare_refresh(console: Console, work: Path, rounds: int) -> Comparison:
    """Landing to marts beside the bare script; of the model's tables those that the script makes too."""
    compared = Comparison(
        "landing to marts", REFRESH_TARGET, Side("pipeline-assets refresh"), Side("benchmarks/bare.py")
    )
    for number in range(1, rounds + 1):
        settings, lake = settings_of(work, f"refresh-{number}"), work / f"bare-{number}"
        # Both sides find a server that runs and holds nothing.
        url = server_url(settings)
        try:
            with console.status(f"Bare script, round {number}"):
                _run_bare(compared.plain, settings, lake, url)
            with console.status(f"Refresh, round {number}"):
                run(compared.ours, REFRESH, settings, _TABLES)
            compared.rows = _row_counts(settings, lake, url)
        finally:
            leave_server(settings)
    return compared


def settings_of(work: Path, name: str, landing: str = "landing") -> Settings:
    """A deployment below the benchmark's folder."""
    return Settings.for_data_dir(work / name, landing_url=str(work / landing))


def rows_in_lake(folder: Path) -> int:
    """Rows of all Parquet files below a folder."""
    return pl.scan_parquet(folder / "**" / "*.parquet", hive_partitioning=False).select(pl.len()).collect().item()


def rows_in_table(connection: psycopg.Connection, schema: str, table: str) -> int:
    """Rows of a table in PostgreSQL."""
    query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
    found = connection.execute(query).fetchone()
    return found[0] if found else 0


def _plain_staging(side: Side, work: Path, number: int) -> None:
    files = [str(path) for path in sorted((work / "landing" / SOURCE).iterdir())]
    target = bare.literal(work / f"plain-{number}.parquet")
    with duckdb.connect() as connection, clock(side, resource.RUSAGE_SELF):
        connection.execute(f"copy (select * from read_json($files)) to {target} (format parquet)", {"files": files})


def _our_staging(side: Side, settings: Settings, events: int) -> None:
    platform = Platform(settings, declared(settings)[0])
    # An existing server with an empty ledger, as in any run but the first.
    try:
        platform.engine.connect().close()
        with duckdb.connect() as connection, clock(side, resource.RUSAGE_SELF):
            loaded = platform.loader(SOURCE, connection).load(platform.pending(SOURCE))
        if loaded.landed != events:
            raise RuntimeError(f"{loaded.landed} of {events} events were staged.")
        platform.engine.dispose()
    finally:
        leave_server(settings)


def _run_bare(side: Side, settings: Settings, lake: Path, url: str) -> None:
    command = [sys.executable, "-m", "benchmarks.bare", str(settings.landing_dir / SOURCE), str(lake), url]
    side.steps = json.loads(run(side, command, settings))


def _row_counts(settings: Settings, lake: Path, url: str) -> dict[str, dict[str, int]]:
    """Rows of each table, ours and those of the bare script."""
    rows = {EVENTS: {"ours": rows_in_lake(settings.lake_dir / EVENTS), "bare": rows_in_lake(lake / "events")}}
    with psycopg.connect(url) as connection:
        for table in _MARTS:
            rows[table] = {
                side: rows_in_table(connection, schema, table)
                for side, schema in (("ours", "marts"), ("bare", bare.SCHEMA))
            }
    return rows
