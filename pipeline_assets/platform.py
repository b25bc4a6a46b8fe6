"""The deployment as one object: settings, declared sources, ledger and engines, each made when first needed.

Assets, checks, sensors and the command line all work through it. No Dagster here.
"""

from collections.abc import Sequence
from datetime import date, datetime
from functools import cached_property
from zoneinfo import ZoneInfo

import duckdb
import sqlalchemy as sa

from pipeline_assets.ledger.builds import BuildLedger, Recipe, Staleness
from pipeline_assets.ledger.files import FileLedger, StagedFile
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.postgres import server_url, sqlalchemy_url
from pipeline_assets.recipes import build_recipes
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
    """

    def __init__(self, settings: Settings, sources: Sequence[Source]) -> None:
        self.settings = settings
        self.sources = {source.name: source for source in sources}
        self._read_since: dict[str, datetime] = {}
        # Counts of the days a run is building, from the asset that counts to the commit that books them.
        self.day_counts: dict[str, dict[date, DayCounts]] = {}

    @cached_property
    def postgres_url(self) -> str:
        """URL (libpq) of the server that carries ledger and marts; starts the embedded one if need be."""
        return server_url(self.settings)

    @cached_property
    def engine(self) -> sa.Engine:
        """Connections to the ledger, whose tables exist and are current."""
        engine = sa.create_engine(
            sqlalchemy_url(self.postgres_url, "psycopg"),
            pool_pre_ping=True,
            # Quarantined lines are bound values.
            hide_parameters=True,
        )
        migrate(engine)
        return engine

    @cached_property
    def files(self) -> FileLedger:
        """What was read."""
        return FileLedger(self.engine)

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """How every table is made."""
        return {recipe.table: recipe for recipe in build_recipes(list(self.sources.values()), self.settings)}

    @cached_property
    def builds(self) -> BuildLedger:
        """What was built from it."""
        return BuildLedger(self.engine, list(self.recipes.values()))

    def read_begins(self, run_id: str) -> datetime:
        """When a run began to read inputs; now, if it had not yet."""
        if run_id not in self._read_since:
            self._read_since[run_id] = self.builds.now()
        return self._read_since[run_id]

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

    def staleness(self) -> Staleness:
        """The days of every table that are not built from what is there now; days to come are not among them."""
        until = self.today()
        first = self.settings.first_day
        return self.builds.staleness(self.staged_files(first, until), since=first, until=until)
