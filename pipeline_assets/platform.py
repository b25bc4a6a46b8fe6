"""The deployment as one object: settings, declared sources, ledger and engines, each made when first needed.

Assets, checks, sensors and the command line all work through it. No Dagster here.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import sqlalchemy as sa

from pipeline_assets.analyses.loading import Analyses
from pipeline_assets.contracts.tables import Table
from pipeline_assets.identity import deployment_engine
from pipeline_assets.io_managers.frames import lake_files, lake_path
from pipeline_assets.ledger.builds import WHOLE, BuildLedger, Recipe, Staleness
from pipeline_assets.ledger.files import FileLedger, StagedFile
from pipeline_assets.model import Model
from pipeline_assets.postgres import server_url
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.mapping import rules_version
from pipeline_assets.staging.landing import LandingFile, Listing
from pipeline_assets.staging.loading import SourceLoader, pending_files
from pipeline_assets.staging.staged import missing
from pipeline_assets.transforms.events import DayCounts

logger = logging.getLogger(__name__)


class LostRowsError(RuntimeError):
    """Rows that were built or staged are not in the lake any more; the message says what makes them again."""


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
        return rules_version(
            self.sources[source], self.settings.timezone, self.settings.first_day, self.settings.max_record_bytes
        )

    def loader(self, source: str, database: duckdb.DuckDBPyConnection) -> SourceLoader:
        """The loader of a source's files."""
        return SourceLoader(self.sources[source], self.settings, self.files, database)

    def landing(self, source: str) -> Listing:
        """The files of a source whose newest content has not been booked under its current declaration.

        And what its pattern leads to in landing and cannot be read.
        """
        return pending_files(
            self.settings.landing_dir,
            self.sources[source].path,
            self.files.booked(source),
            self.rules(source),
            follow_links=self.settings.follow_links,
        )

    def pending(self, source: str) -> list[LandingFile]:
        """The same without what cannot be read."""
        return self.landing(source).files

    def restage_lost(self, source: str) -> int:
        """Have files of a source read again whose staged rows count but have gone from the lake; how many."""
        staged = self.files.staged_files([source], date.min, date.max)
        lost = {file.content for file in missing(self.settings.lake_dir, staged)}
        if lost:
            logger.warning("%s: the lake has lost the staged rows of %s files; they are read again.", source, len(lost))
            self.files.read_again(source, lost)
        return len(lost)

    def require_staged(self, staged: Sequence[StagedFile]) -> None:
        """Make sure that the rows of staged files are there.

        Raises:
            LostRowsError: some are not. Their files are pending now.
        """
        gone = missing(self.settings.lake_dir, staged)
        if not gone:
            return
        first = gone[0]
        for source in {file.source for file in gone}:
            self.restage_lost(source)
        paths = self.files.paths(first.source, first.content)
        raise LostRowsError(
            f"The lake has lost {len(gone)} staged files, the first of {first.source} and {first.event_date}. The next "
            "load reads their files in landing again. Where they are gone from there too, deliver them again; the "
            f"first was {paths[0] if paths else 'superseded meanwhile'}."
        )

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
        staged = self.staged_files(self.settings.first_day, until)
        return self.builds.staleness(staged, until=until, of=of, lost=self.lost_days())

    def lost_days(self) -> dict[str, set[date]]:
        """The days of every table in the lake that were built, and whose file is gone; `WHOLE` without partitions."""
        found: dict[str, set[date]] = {}
        for table in self.model.tables.values():
            if table.store == "lake":
                built = self.builds.built_days(table.name)
                if gone := set(built) - set(self._files_there(table, built)):
                    found[table.name] = gone
        return found

    def lake_files(self, table: Table, days: Iterable[date]) -> dict[date, Path]:
        """The files in the lake that hold a table's rows of some days, in order; days never built have none.

        Args:
            table: a table in the lake.
            days: the days wanted; `[WHOLE]` of a table without partitions.

        Raises:
            LostRowsError: a day was built, and its file is gone: it does not count as a day without rows.
        """
        days = sorted(days)
        found = self._files_there(table, days)
        if len(found) < len(days):
            gone = sorted(set(self.builds.built_days(table.name)).intersection(days) - found.keys())
            if gone:
                what = "its rows" if gone == [WHOLE] else f"the rows of {len(gone)} days, the first of them {gone[0]}"
                raise LostRowsError(
                    f"{table.name}: the lake has lost {what}. They are stale now: `pipeline-assets refresh`, or the "
                    "sensor, makes them again."
                )
        return found

    def _files_there(self, table: Table, days: Sequence[date]) -> dict[date, Path]:
        lake = self.settings.lake_dir
        if table.partition_column is None:
            path = lake_path(lake, table.name)
            return {WHOLE: path} if path.exists() else {}
        files = lake_files(lake, table.name, table.partition_column, (day.isoformat() for day in days))
        return {date.fromisoformat(key): path for key, path in files.items()}
