"""The deployment as one object: settings, declared sources, ledger and engines, each made when first needed.

Assets, checks, sensors and the command line all work through it. No Dagster here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import sqlalchemy as sa

from pipeline_assets.analyses.loading import Analyses
from pipeline_assets.contracts.tables import Table
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.io_managers.frames import lake_files
from pipeline_assets.ledger.builds import BuildLedger, Recipe, Staleness
from pipeline_assets.ledger.declarations import DeclarationLedger, Memory
from pipeline_assets.ledger.files import FileLedger, StagedFile
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.leftovers import Leftover, built_tables, mark_tables, remove_days_before
from pipeline_assets.model import Model
from pipeline_assets.postgres import server_url, sqlalchemy_url
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.mapping import rules_version
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.staging.loading import SourceLoader, pending_files
from pipeline_assets.transforms.events import DayCounts
from pipeline_assets.undeclared import SOURCE, Declaration, declarations, in_force, missing, write_copy


class OutdatedError(DeclarationError):
    """The declarations that count are not those that this process was loaded with; nothing was written."""


class Platform:
    """Settings, sources, ledger and engines of a deployment.

    Args:
        settings: where things are.
        sources: the declared sources.
        analyses: the declared analyses; none by default.
        remembered: what was last declared, as far as that is known; what is declared no longer counts by it.

    Attributes:
        sources: the sources that count, by name: the declared ones, and those that count as last declared.
        analyses: the analyses that count, likewise.
        undeclared: what is remembered and no longer declared.
        day_counts: counts of the days a run is building, from the asset that counts to the commit that books them.
        revisions: what tables without partitions say of each day, likewise, by run and table.
        built_days: the days a run builds of a table, likewise.
        changed_days: the days on which what a table without partitions reads may have changed since it was built,
            likewise; absent where that is not known.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source],
        analyses: Analyses | None = None,
        remembered: Iterable[Declaration] = (),
    ) -> None:
        self.settings = settings
        self._declared = sources, analyses or Analyses()
        counting = in_force(*self._declared, remembered)
        self.sources = {source.name: source for source in counting.sources}
        self.analyses = counting.analyses
        self.undeclared = counting.undeclared
        self._settled: set[str] = set()
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
    def model(self) -> Model:
        """Every table, and how it is made."""
        frozen = [each.name for each in self.undeclared if not each.counts]
        return Model.of(list(self.sources.values()), self.analyses, self.settings, frozen=frozen)

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """How every table is made, as the ledger knows it."""
        return self.model.recipes

    @cached_property
    def builds(self) -> BuildLedger:
        """What was built from it."""
        return BuildLedger(self.engine, list(self.recipes.values()), since=self.settings.first_day)

    @classmethod
    def current(cls, settings: Settings, sources: Sequence[Source], analyses: Analyses) -> "Platform":
        """The deployment with what the ledger remembers of earlier declarations.

        Raises:
            DeclarationError: something has to count as last declared, but it is not known how that was.
        """
        platform = cls(settings, sources, analyses)
        remembered = platform.memory().remembered
        if not missing(platform.declarations, remembered):
            return platform
        found = cls(settings, sources, analyses, remembered)
        found.engine = platform.engine
        return found

    @cached_property
    def declarations(self) -> list[Declaration]:
        """Everything that is declared."""
        return declarations(*self._declared)

    def is_declared(self, source: str) -> bool:
        """Whether a source that counts is declared."""
        return all((SOURCE, source) != each.key for each in self.undeclared)

    def memory(self) -> Memory:
        """What the ledger knows of declarations."""
        return DeclarationLedger(self.engine).memory()

    def settle(self, run_id: str | None = None, *, loading: str | None = None, building: bool = False) -> None:
        """Begin to work: write down what is declared, mark what is frozen, remove the days before the first one.

        Args:
            run_id: the run that begins, for which this is done once.
            loading: a source whose files are about to be loaded.
            building: whether tables are about to be built.

        Raises:
            OutdatedError: something else counts than what this process was loaded with.
            DeclarationError: something has to count as last declared, but it is not known how that was.
        """
        key = f"{run_id}/{loading}"
        if run_id is not None and key in self._settled:
            return
        memory = DeclarationLedger(self.engine).observe(self.declarations, loading=loading, building=building)
        write_copy(self.settings.lake_dir, memory.remembered)
        counting = [each for each in missing(self.declarations, memory.remembered) if each.counts]
        for each in counting:
            each.value()
        if counting != [each for each in self.undeclared if each.counts]:
            raise OutdatedError(
                "What counts as last declared, because it is no longer declared, is not what this process was loaded "
                "with. Nothing was written. Reload the code location (in the UI: Deployment), or restart the process."
            )
        mark_tables(self.engine, {left.name: left.what for left in self.leftovers(memory) if left.is_table})
        remove_days_before(self.engine, self.settings.lake_dir, self.model.tables.values(), self.settings.first_day)
        # Of one run at a time is enough: they exclude each other.
        self._settled = {known for known in self._settled if known.startswith(f"{run_id}/")} | {key}

    def leftovers(self, memory: Memory | None = None) -> list[Leftover]:
        """What is there although nothing asks for it: no longer declared, frozen, or not retired to its end."""
        memory = memory or self.memory()
        built = built_tables(self.engine)
        undeclared = missing(self.declarations, memory.remembered)
        found = []
        for each in undeclared:
            if each.counts:
                what = "no longer declared; counts as last declared"
            elif each.name in built:
                what = "no longer declared; its table is frozen"
            else:
                continue
            found.append(Leftover(each.noun, each.name, what, memory.seen.get(each.key), is_table=not each.counts))
        found += [Leftover(each.noun, each.name, "being retired; not all of it is removed") for each in memory.retiring]
        if rest := built - self.model.tables.keys() - {left.name for left in found}:
            everything = in_force(*self._declared, filter(Declaration.is_readable, undeclared), thaw=True)
            asked = Model.of(everything.sources, everything.analyses, replace(self.settings, tables=())).tables
            for name in sorted(rest):
                what = "not asked for by PIPELINE_TABLES" if name in asked else "nothing declares it any more"
                found.append(Leftover("table", name, f"{what}; frozen", is_table=True, wanted=name in asked))
        return found

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
        """The files of a source whose newest content has not been booked under its current declaration.

        Of a source that is no longer declared only the contents that were loaded before.
        """
        booked, rules = self.files.booked(source), self.rules(source)
        found = pending_files(self.settings.landing_dir, self.sources[source].path, booked, rules)
        if self.is_declared(source):
            return found
        known = ((file, booked[file.name]) for file in found if file.name in booked)
        return [
            file
            for file, last in known
            if last.rules != rules and (file.stamp == last.stamp or file.content() == last.content)
        ]

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
        """The staged files of the sources that count for some days, both included."""
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
        """The files in the lake that hold a daily table's rows of the days from `first` to `last`, in order.

        None of days before the platform's first.
        """
        assert table.partition_column is not None  # noqa: S101
        first = max(first, self.settings.first_day)
        days = ((first + timedelta(days=offset)).isoformat() for offset in range((last - first).days + 1))
        return lake_files(self.settings.lake_dir, table.name, table.partition_column, days)
