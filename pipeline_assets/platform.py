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
        # Counts of the days a run is building, from the asset that counts to the commit that books them.
        self.day_counts: dict[str, dict[date, DayCounts]] = {}

    @cached_property
    def postgres_url(self) -> str:
        """URL (libpq) of the server that carries ledger and marts; starts the embedded one if need be."""
        return server_url(self.settings)

    @cached_property
    def engine(self) -> sa.Engine:
        """Connections to the ledger, whose tables exist and are current."""
        engine = sa.create_engine(sqlalchemy_url(self.postgres_url, "psycopg"), pool_pre_ping=True)
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

    def staged_files(self, first: date, last: date) -> list[StagedFile]:
        """The staged files of the declared sources that count for some days, both included."""
        return self.files.staged_files(self.sources, first, last)

    def today(self) -> date:
        """The current day in the reporting time zone."""
        return datetime.now(ZoneInfo(self.settings.timezone)).date()

    def staleness(self) -> Staleness:
        """The days of every table that are not built from what is there now; days to come are not among them."""
        until = self.today()
        return self.builds.staleness(self.staged_files(self.settings.first_day, until), until=until)
