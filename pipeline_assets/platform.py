"""The deployment as one object: settings, declared sources, ledger and engines, each made when first needed.

Assets, checks, sensors and the command line all work through it. No Dagster here.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import sqlalchemy as sa
from duckdb import Error as DuckDBError
from sqlalchemy.exc import SQLAlchemyError

from pipeline_assets.analyses.unknown_names import UnknownName, never_occurred
from pipeline_assets.declarations.analyses import Analyses
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.identity import deployment_engine
from pipeline_assets.lake import Lake
from pipeline_assets.ledger.builds import BuildLedger, Claim
from pipeline_assets.ledger.catalogue import Catalogue, DayFiles, LakeFile, Snapshot
from pipeline_assets.ledger.changed_days import ChangedDay
from pipeline_assets.ledger.counting import booked_fingerprints, count_contents
from pipeline_assets.ledger.declarations import DeclarationLedger, Memory
from pipeline_assets.ledger.files import FileLedger, StagedFile, staged_files
from pipeline_assets.ledger.full_looks import LAKE, UNCLAIMED, FullLooks, views_part
from pipeline_assets.ledger.looks import Observer, known_columns, known_event_names
from pipeline_assets.ledger.quality import Quality, quality
from pipeline_assets.ledger.seen_folders import FolderMemory
from pipeline_assets.leftovers import Leftover, built_tables, mark_tables, remove_days_before
from pipeline_assets.locks import turn
from pipeline_assets.planning import STAGING, UNPARTITIONED, Staleness
from pipeline_assets.postgres import PostgresError, server_url
from pipeline_assets.registry import TableSpecs, collect
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.mapping import declaration_version_of
from pipeline_assets.sources.raw_columns import Drift, KnownColumns, MissingColumn, drift, missing_columns
from pipeline_assets.staging.compaction import SETTLED, compact, due_days
from pipeline_assets.staging.landing import LandingFile, Listing
from pipeline_assets.staging.landings import Landing, open_landing
from pipeline_assets.staging.loading import SourceLoader
from pipeline_assets.staging.pending import Looker, Unclaimed
from pipeline_assets.staging.scratch import remove_spilled, spill_folder
from pipeline_assets.staging.staged import lost_files
from pipeline_assets.staging.views import has_views, write_views
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import StoreError
from pipeline_assets.sweep import inspect, remove_dropped, remove_strays
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.undeclared import SOURCE, Declaration, declarations, in_force, missing, write_copy
from pipeline_assets.waiting import WaitedTooLong
from pipeline_assets.words import counted

logger = logging.getLogger(__name__)

# A view over so many is written in a few tenths of a second.
_FEW_STAGED_FILES = 5000
# Nothing depends on views, so nobody waits for long for whoever writes them, who may sleep: who comes next renews them.
_VIEWS_LIMIT_SECONDS = 30

# What goes wrong with the lake, a disk or the ledger.
_TROUBLE = (OSError, StoreError, SQLAlchemyError, WaitedTooLong)


class OutdatedError(DeclarationError):
    """The declarations that count are not those that this process was loaded with; nothing was written."""


class LostRowsError(RuntimeError):
    """Rows that were built or staged are not in the lake any more; the message says what makes them again."""


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
    def tables(self) -> TableSpecs:
        """Every table, and how it is made."""
        frozen = [each.name for each in self.undeclared if not each.counts]
        return collect(
            self._declaring(list(self.sources.values()), self.analyses), only=self.settings.tables, frozen=frozen
        )

    def _declaring(self, sources: Iterable[Source], analyses: Analyses) -> Declarations:
        return Declarations(tuple(sources), analyses, self.settings.timezone)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Which files of the lake count."""
        return Catalogue(self.engine)

    @cached_property
    def where_files_land(self) -> Landing:
        """Where new files are dropped."""
        return open_landing(self.settings)

    @cached_property
    def lake(self) -> Lake:
        """The files themselves."""
        return Lake(open_store(self.settings.lake_url), self.spill_folder)

    @property
    def spill_folder(self) -> Path:
        """A folder of this process for what does not fit into memory or is not whole yet."""
        return spill_folder(self.settings.scratch_dir)

    @cached_property
    def builds(self) -> BuildLedger:
        """What was built from it."""
        return BuildLedger(self.engine, list(self.tables.values()), since=self.settings.first_day)

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
        write_copy(self.lake.store, memory.remembered)
        counting = [each for each in missing(self.declarations, memory.remembered) if each.counts]
        for each in counting:
            each.value()
        if counting != [each for each in self.undeclared if each.counts]:
            raise OutdatedError(
                "What counts as last declared, because it is no longer declared, is not what this process was loaded "
                "with. Nothing was written. Reload the code location (in the UI: Deployment), or restart the process."
            )
        mark_tables(self.engine, {left.name: left.what for left in self.leftovers(memory) if left.is_table})
        remove_days_before(self.engine, self.tables.values(), self.settings.first_day)
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
        if rest := built - self.tables.keys() - {left.name for left in found}:
            everything = in_force(*self._declared, filter(Declaration.is_readable, undeclared), thaw=True)
            asked = collect(self._declaring(everything.sources, everything.analyses))
            for name in sorted(rest):
                what = "not asked for by PIPELINE_TABLES" if name in asked else "nothing declares it any more"
                found.append(Leftover("table", name, f"{what}; frozen", is_table=True, wanted=name in asked))
        return found

    def claim(self, table: str, days: Sequence[date], run_id: str, *, only_stale: bool = False) -> Claim:
        """Claim days of a table for a run, and take the lists of what it is to read; see `BuildLedger.claim`."""

        def staged(connection: sa.Connection, first: date, last: date) -> list[StagedFile]:
            return staged_files(connection, self.sources, first, last)

        return self.builds.claim(table, days, run_id, staged=staged, until=self.today(), only_stale=only_stale)

    def declaration_version(self, source: str) -> str:
        """Version of a source's declaration."""
        return declaration_version_of(
            self.sources[source], self.settings.timezone, self.settings.first_day, self.settings.max_record_bytes
        )

    def loader(self, source: str, database: duckdb.DuckDBPyConnection, run_id: str = "") -> SourceLoader:
        """The loader of a source's files, for a run."""
        observer = Observer(self.engine, source, self.declaration_version(source))
        return SourceLoader(self.sources[source], self.settings, self.files, database, observer, run_id=run_id)

    @cached_property
    def full_looks(self) -> FullLooks:
        """When everything was last looked at."""
        return FullLooks(self.engine, self.settings.full_look)

    @cached_property
    def _looker(self) -> Looker:
        return Looker(self.where_files_land, self.files, FolderMemory(self.engine), self.full_looks)

    def landing(self, source: str, *, seconds: float | None = None) -> Listing:
        """The files of a source whose newest content has not been booked under its current declaration.

        And what its pattern leads to in landing and cannot be read. Of a source that is no longer declared only the
        contents that were loaded before.

        Args:
            source: the source.
            seconds: how long the look may take; as long as it does by default.

        Raises:
            TooLongError: it would take longer.
        """
        return self._looker.pending(
            source,
            self.sources[source].path,
            self.declaration_version(source),
            known_only=not self.is_declared(source),
            seconds=seconds,
        )

    def pending(self, source: str) -> list[LandingFile]:
        """The same without what cannot be read."""
        return self.landing(source).files

    def quality(self, source: str) -> Quality:
        """How much of a source's files is broken, and which."""
        bound = self.sources[source].bounds.quarantined
        return quality(self.engine, source, bound, is_there=self.where_files_land.has)

    def known_columns(self, source: str) -> KnownColumns:
        """What is remembered of the raw columns of a source's files."""
        return known_columns(self.engine, source)

    def missing_columns(self, source: str) -> list[MissingColumn]:
        """The raw columns that the mapping of a source names and that none of its files has had."""
        known = self.known_columns(source)
        if known.since is None or not known.columns:
            return []
        filled = known.filled if known.declaration_version == self.declaration_version(source) else frozenset()
        return missing_columns(self.sources[source], known.columns, filled)

    def drift(self, source: str, since: datetime) -> list[Drift]:
        """How the raw columns of a source have changed in loads that began since a moment."""
        return drift(self.known_columns(source), since)

    def has_files(self, source: str, *, seconds: float | None = None) -> bool:
        """Whether the path of a source matches a file in landing, or one of its files was loaded; see `landing`."""
        return self.files.has_files(source) or bool(self.landing(source, seconds=seconds).files)

    def unclaimed(self, *, seconds: float | None = None) -> Unclaimed:
        """The files in landing that no source takes.

        Args:
            seconds: how long the look may take; as long as it does by default.

        Raises:
            TooLongError: it would take longer.
        """
        paths = [source.path for name, source in self.sources.items() if self.is_declared(name)]
        return self._looker.unclaimed(paths, seconds=seconds)

    def look_for_unclaimed(self) -> None:
        """When a full look is due: see which files in landing no source takes. A tick may have no time for it."""
        if self.full_looks.begin(UNCLAIMED).is_full:
            self.unclaimed()

    def unknown_event_names(self) -> dict[str, list[UnknownName]]:
        """The names of events that declarations ask for and that never occurred, by table."""
        known = known_event_names(self.engine)
        asked = {name: spec.event_names for name, spec in self.tables.items()}
        found = {table: never_occurred(names, known) for table, names in asked.items()}
        return {table: names for table, names in found.items() if names}

    def require_staged(self, staged: Sequence[StagedFile]) -> None:
        """Make sure that the rows of staged files are there.

        Raises:
            LostRowsError: some are not. Their files are pending now.
        """
        if gone := lost_files(self.lake, staged):
            raise self._lost_staged(gone, "missing or of another size")

    def staged_files(self, first: date, last: date) -> list[StagedFile]:
        """The staged files of the sources that count for some days, both included."""
        return self.files.staged_files(self.sources, max(first, self.settings.first_day), last)

    def has_few_staged_files(self) -> bool:
        """Whether a view over all staged files is made at once."""
        return count_contents(self.engine, self.sources) <= _FEW_STAGED_FILES

    def today(self) -> date:
        """The current day in the reporting time zone."""
        return datetime.now(ZoneInfo(self.settings.timezone)).date()

    def look_for_lost(self, *, seconds: float | None = None) -> None:
        """When a full look is due: have made again what has gone from the lake, and remove what no list ever named.

        Args:
            seconds: how long the look may take; as long as it does by default.

        Raises:
            TooLongError: it took longer, and is still due.
        """
        look = self.full_looks.begin(LAKE)
        if not look.is_full:
            return
        found = inspect(self.engine, self.lake.store, seconds=seconds)
        if found.lost:
            lost = counted(len(found.lost), "file")
            logger.warning("The lake has lost %s, the first is %s.", lost, found.lost[0].name)
            self.make_again(found.lost)
        try:
            remove_strays(self.lake.store, found)
            self.sweep()
        except (OSError, StoreError) as error:
            # What cannot be removed keeps nothing from being loaded or built.
            logger.warning("The lake could not be tidied up; the next full look tries again. %s", error)
        self.full_looks.done(look)

    def make_again(self, lost: Sequence[LakeFile]) -> None:
        """Have listed files made again that the lake has lost: staged rows by the next load, days by the next build."""
        for asset in {file.asset for file in lost}:
            gone = [file for file in lost if file.asset == asset]
            source = asset.removeprefix(f"{STAGING}/")
            if source == asset:
                self.builds.build_again(asset, {file.day for file in gone})
            else:
                self.files.read_again(source, self.files.contents_in(file.name for file in gone))

    def due_for_compaction(self, settled: timedelta = SETTLED) -> list[ChangedDay]:
        """The days of staging that are worth to be compacted; see `staging.compaction`."""
        return [
            day
            for source in self.files.sources_to_compact()
            if source in self.sources
            for day in due_days(source, self.files, settled)
        ]

    def tidy_up(self, source: str, run_id: str = "", *, has_changed: bool = False) -> None:
        """Compact the staged files of a source; where any have changed, renew the views and remove what is not needed.

        Nothing depends on any of it, so a failure is only told.

        Args:
            source: the source.
            run_id: the run that does it.
            has_changed: whether files of the source were loaded.
        """
        scratch = self.settings.scratch_dir
        try:
            replaced = compact(source, self.lake, self.files, scratch, read_again=self.make_again, run_id=run_id)
        except _TROUBLE as error:
            replaced = 0
            logger.warning("Staged files could not be compacted (%s); that is tried again.", type(error).__name__)
        if not (replaced or has_changed):
            return
        try:
            views = self.full_looks.begin(views_part(source))
            # Without a load nobody else may come before the files that were replaced are swept.
            if (not has_changed or views.is_full or self.has_few_staged_files()) and self.write_views():
                self.full_looks.done(views)
        except _TROUBLE as error:
            logger.warning("When views were renewed is not known (%s); that is tried again.", type(error).__name__)
        try:
            self.sweep()
        except _TROUBLE as error:
            logger.warning("The lake could not be swept (%s); that is tried again.", type(error).__name__)

    def write_views(self) -> bool:
        """Renew the views of the staged rows for people who explore them; whether that could be done.

        Nothing depends on them, so a failure is only told.
        """
        if not has_views(self.lake.store):
            return True
        what = "another process that writes the views of staged rows"
        try:
            # One after the other, each with what counts when its turn comes: the newest views are written last.
            with turn(self.postgres_url, f"{self.settings.namespace.ledger}/views", what, limit=_VIEWS_LIMIT_SECONDS):
                write_views(self.lake.store, self.staged_files(date.min, date.max))
        except (*_TROUBLE, PostgresError, DuckDBError) as error:
            logger.warning("The views of staged rows could not be renewed (%s).", type(error).__name__)
            return False
        return True

    def sweep(self) -> None:
        """Remove from the lake what no run can read any more."""
        remove_dropped(self.engine, self.lake.store)
        remove_spilled(self.settings.scratch_dir)

    def staleness(self, of: str | None = None) -> Staleness:
        """The days of every table that are not built from what is there now; days to come are not among them.

        Args:
            of: only this table is asked for, and what it is made of.
        """
        until = self.today()
        staged = booked_fingerprints(self.engine, self.sources, self.settings.first_day, until)
        return self.builds.staleness(staged, until=until, of=of)

    def lost_marts(self, staleness: Staleness) -> list[str]:
        """What to say of each mart that was built and is not there any more."""
        return [
            f"{self.settings.namespace.marts}.{table}: the table that was built is not there any more. All of it is "
            "stale now: `pipeline-assets refresh`, or the sensor, makes it again."
            for table in staleness.lost
        ]

    def listed(self, table: str, days: Iterable[date]) -> DayFiles:
        """The files that hold a table's rows of some days; days without rows, or never built, have none.

        Nor have days before the platform's first.

        Args:
            table: name of a table in the lake.
            days: the days wanted; `[UNPARTITIONED]` of a table without partitions.

        Raises:
            LostRowsError: see `require`.
        """
        wanted = [day for day in days if day == UNPARTITIONED or day >= self.settings.first_day]
        found = self.catalogue.files(table, wanted)
        self.require({table: found})
        return found

    def lake_paths(self, table: str, days: Iterable[date]) -> list[str]:
        """The same as paths, for DuckDB and pyarrow."""
        return self.lake.paths(file for files in self.listed(table, days).values() for file in files)

    def require(self, listed: Snapshot) -> None:
        """Make sure that listed files are in the lake as they were written.

        Raises:
            LostRowsError: some are not: their days do not count as days without rows. They are stale now.
        """
        for table, by_day in listed.items():
            if gone := self.lake.lost(file for files in by_day.values() for file in files):
                raise self._lost(table, gone, "missing or of another size")

    def require_readable(self, listed: Snapshot, staged: Sequence[StagedFile]) -> None:
        """The same after reading has failed: that they can be read to their ends, which takes as long as to read them.

        Raises:
            LostRowsError: some cannot: a disk has damaged them, or somebody else. They are made again like lost ones.
        """
        names = {file.name for file in self.lake.damaged({each.file.name: each.file for each in staged}.values())}
        if names:
            raise self._lost_staged([each for each in staged if each.file.name in names], "not readable")
        for table, by_day in listed.items():
            if gone := self.lake.damaged(file for files in by_day.values() for file in files):
                raise self._lost(table, gone, "not readable")

    def _lost(self, table: str, gone: Sequence[LakeFile], how: str) -> LostRowsError:
        self.make_again(gone)
        days = "" if gone[0].day == UNPARTITIONED else f" of {counted(len({file.day for file in gone}), 'day')}"
        return LostRowsError(
            f"{table}: the lake has lost rows{days}: {counted(len(gone), 'listed file')} {how}, the first is "
            f"{gone[0].name}. They are stale now: `pipeline-assets refresh`, or the sensor, makes them again."
        )

    def _lost_staged(self, gone: Sequence[StagedFile], how: str) -> LostRowsError:
        first = gone[0]
        self.make_again([file.file for file in gone])
        paths = self.files.paths(first.source, first.content)
        return LostRowsError(
            f"The lake has lost the staged rows of {counted(len(gone), 'file')}, each of one day, the first of "
            f"{first.source} and {first.event_date} ({first.file.name} is {how}). The next load reads their files in "
            "landing again. Where they are gone from there too, deliver them again; the first was "
            f"{paths[0] if paths else 'superseded meanwhile'}."
        )
