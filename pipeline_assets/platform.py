"""The deployment as one object: settings, declared sources, ledger and engines, each made when first needed.

Assets, checks, sensors and the command line all work through it. No Dagster here.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import sqlalchemy as sa

from pipeline_assets.analyses.loading import Analyses
from pipeline_assets.contracts.tables import Table
from pipeline_assets.identity import deployment_engine
from pipeline_assets.io_managers.frames import lake_files
from pipeline_assets.ledger.builds import BuildLedger, Recipe, Staleness
from pipeline_assets.ledger.files import FileLedger, StagedFile
from pipeline_assets.model import Model
from pipeline_assets.postgres import server_url
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.mapping import rules_version
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.staging.loading import SourceLoader, pending_files
from pipeline_assets.transforms.events import DayCounts


class Platform:
    """Settings, sources, ledger and engines of a deployment.

    Args:
        settings: where things are.
        sources: the declared sources.
        analyses: the declared analyses; none by default.

    Attributes:
        day_counts: counts of the days a run is building, from the asset that counts to the commit that books them.
        revisions: what tables without partitions say of each day, likewise, by run and table.
        built_days: the days a run builds of a table, likewise.
        changed_days: the days on which what a table without partitions reads may have changed since it was built,
            likewise; absent where that is not known.
    """

    def __init__(self, settings: Settings, sources: Sequence[Source], analyses: Analyses | None = None) -> None:
        self.settings = settings
        self.sources = {source.name: source for source in sources}
        self.analyses = analyses or Analyses()
        self._read_since: dict[str, datetime] = {}
        self.day_counts: dict[str, dict[date, DayCounts]] = {}
        self.revisions: dict[tuple[str, str], dict[date, str]] = {}
        self.built_days: dict[tuple[str, str], list[date]] = {}
        self.changed_days: dict[tuple[str, str], set[date]] = {}
        self._stale: dict[str, Mapping[str, set[date]]] = {}
        self._planned: Staleness | None = None

    @cached_property
    def postgres_url(self) -> str:
        """URL (libpq) of the server that carries ledger and marts; starts the embedded one if need be."""
        return server_url(self.settings)

    @cached_property
    def engine(self) -> sa.Engine:
        """Connections to the ledger, whose tables are current and whose lake is this one."""
        return deployment_engine(self.settings)

    @cached_property
    def files(self) -> FileLedger:
        """What was read."""
        return FileLedger(self.engine)

    @cached_property
    def model(self) -> Model:
        """Every table, and how it is made."""
        return Model.of(list(self.sources.values()), self.analyses, self.settings)

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """How every table is made, as the ledger knows it."""
        return self.model.recipes

    @cached_property
    def builds(self) -> BuildLedger:
        """What was built from it."""
        return BuildLedger(self.engine, list(self.recipes.values()), since=self.settings.first_day)

    def read_begins(self, run_id: str) -> datetime:
        """When a run began to read inputs; now, if it had not yet."""
        if run_id not in self._read_since:
            self._read_since[run_id] = self.builds.now()
        return self._read_since[run_id]

    def plan(self, staleness: Staleness) -> None:
        """What the next run in this process is to build, so that it need not find out again."""
        self._planned = staleness

    def stale_when_begun(self, run_id: str) -> Mapping[str, set[date]]:
        """The stale days of every table when a run was asked for, or first asked itself."""
        if run_id not in self._stale:
            planned, self._planned = self._planned or self.staleness(), None
            # Of one run at a time is enough: they exclude each other.
            self._stale = {run_id: planned.tables}
        return self._stale[run_id]

    def rules(self, source: str) -> str:
        """Version of a source's declaration."""
        return rules_version(self.sources[source], self.settings.timezone, self.settings.first_day)

    def loader(self, source: str, database: duckdb.DuckDBPyConnection) -> SourceLoader:
        """The loader of a source's files."""
        return SourceLoader(self.sources[source], self.settings, self.files, database)

    def pending(self, source: str) -> list[LandingFile]:
        """The files of a source whose newest content has not been booked under its current declaration."""
        return pending_files(
            self.settings.landing_dir, self.sources[source].path, self.files.booked(source), self.rules(source)
        )

    def restage_lost(self) -> int:
        """Have files read again whose staged rows count but have gone from the lake; how many."""
        lost: dict[str, set[str]] = {}
        for file in self.staged_files(date.min, date.max):
            if not (self.settings.lake_dir / file.relative_path).exists():
                lost.setdefault(file.source, set()).add(file.content)
        for source, contents in lost.items():
            self.files.read_again(source, contents)
        return sum(len(contents) for contents in lost.values())

    def staged_files(self, first: date, last: date) -> list[StagedFile]:
        """The staged files of the declared sources that count for some days, both included."""
        return self.files.staged_files(self.sources, max(first, self.settings.first_day), last)

    def today(self) -> date:
        """The current day in the reporting time zone."""
        return datetime.now(ZoneInfo(self.settings.timezone)).date()

    def staleness(self, of: str | None = None) -> Staleness:
        """The days of every table that are not built from what is there now; days to come are not among them.

        Args:
            of: only this table is asked for, and what it is made of.
        """
        until = self.today()
        return self.builds.staleness(self.staged_files(self.settings.first_day, until), until=until, of=of)

    def lake_files(self, table: Table, first: date, last: date) -> list[Path]:
        """The files in the lake that hold a daily table's rows of the days from `first` to `last`, in order."""
        assert table.partition_column is not None  # noqa: S101
        days = ((first + timedelta(days=offset)).isoformat() for offset in range((last - first).days + 1))
        return lake_files(self.settings.lake_dir, table.name, table.partition_column, days)
