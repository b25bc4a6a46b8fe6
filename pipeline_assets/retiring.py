"""Remove for good what is no longer declared: a source, an analysis, or a table that nothing asks for.

First the ledger says that it no longer counts, in one transaction; then the days it had a part in are built without it,
its own tables and files go, and last the ledger forgets it. Killed anywhere in between, the same again finishes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date

import dagster as dg
import sqlalchemy as sa

from pipeline_assets.asset_keys import staging_key, table_key
from pipeline_assets.build import build_defs
from pipeline_assets.checks.declared import EVERYTHING_IS_DECLARED, report_leftovers
from pipeline_assets.declarations.analyses import Analyses
from pipeline_assets.declarations.problems import suggestion
from pipeline_assets.declarations.yaml_files import declaring_folder
from pipeline_assets.ledger.declarations import DeclarationLedger
from pipeline_assets.ledger.schema import files
from pipeline_assets.ledger.summary import summarise
from pipeline_assets.leftovers import built_tables, remove_files, remove_table, rows_of
from pipeline_assets.observing import observe_days
from pipeline_assets.planning import STAGING
from pipeline_assets.platform import Platform
from pipeline_assets.refresh import Refresh, RefreshReport
from pipeline_assets.registry import TableSpecs, collect
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import EVENTS
from pipeline_assets.undeclared import CONVERSION, SOURCE, Declaration, declarations, in_force, missing, write_copy
from pipeline_assets.words import counted

_DECLARED_AGAIN = (
    "The {} '{}' was declared again while it was retired: what was loaded or built of it since stays. To retire it, "
    "stop what still declares it, remove its declaration, then run this again."
)


class RetireError(ValueError):
    """It cannot be retired; the message says why and what to do."""


@dataclass(frozen=True)
class Retirement:
    """What retiring something would remove.

    Attributes:
        noun: what it is.
        name: its name.
        declaration: how it was last declared; None for a table that nothing asks for.
        tables: the tables that would go.
        counts: how much of what would go, in words.
        begun: whether an earlier retirement did not come to its end.
    """

    noun: str
    name: str
    declaration: Declaration | None
    tables: tuple[str, ...]
    counts: tuple[str, ...]
    begun: bool = False


@dataclass
class Retiring:
    """Retires something of a deployment.

    Args:
        settings: the deployment's.
        sources: the declared sources.
        analyses: the declared analyses.
        instance: where runs are recorded.
        resources: resources by name that replace the default ones.
    """

    settings: Settings
    sources: Sequence[Source]
    analyses: Analyses
    instance: dg.DagsterInstance
    resources: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reach the ledger."""
        self._platform = Platform(self.settings, self.sources, self.analyses)
        self._engine = self._platform.engine
        self._ledger = DeclarationLedger(self._engine)

    def find(self, name: str, kind: str | None = None) -> Retirement:
        """What would go.

        Args:
            name: of the source, analysis or table.
            kind: what it is (`source`, `funnel`, `table` …), where several have the name.

        Raises:
            RetireError: there is no such thing, it is still declared, or it is not clear which is meant.
        """
        memory = self._ledger.memory()
        declared = declarations(self.sources, self.analyses)
        gone = [*missing(declared, memory.remembered), *memory.retiring]
        found = [each for each in gone if each.name == name and kind in (None, each.noun)]
        if len(found) > 1:
            nouns = ", ".join(each.noun for each in found)
            raise RetireError(f"'{name}' is the name of several things: {nouns}. Say which: --kind {found[0].noun}")
        if found:
            planned = self._planned(found[0], begun=found[0] in memory.retiring)
            if asked := sorted({*planned.tables} & {*self.settings.tables}):
                raise RetireError(f"PIPELINE_TABLES asks for {', '.join(asked)}: take it out, then run this again.")
            return planned
        if still := next((each for each in declared if each.name == name and kind in (None, each.noun)), None):
            raise RetireError(
                f"The {still.noun} '{name}' is declared: remove its declaration first (its folder with defs.yaml in "
                f"{declaring_folder(self.settings)}), then run this again."
            )
        unasked = built_tables(self._engine) - self._tables(gone).keys()
        if name in unasked and kind in (None, "table"):
            return Retirement("table", name, None, (name,), (self._rows(name),))
        known = sorted({each.name for each in gone} | unasked)
        hint = suggestion(name, known) if known else "; everything that is there is declared"
        raise RetireError(f"There is no source, analysis or table '{name}' that is no longer declared{hint}")

    def retire(self, what: Retirement) -> RefreshReport:
        """Remove it, and build what it had a part in without it.

        Returns:
            What was built. If anything of that failed, it is not removed to its end: run it again.

        Raises:
            RetireError: it was declared again meanwhile; what was loaded or built of it since stays.
            LeftoverError: something in PostgreSQL depends on a table that would go.
            DeclarationError: something else has to count as last declared, but it is not known how that was.
        """
        if what.declaration is not None:
            self._ledger.begin_retiring(what.declaration)
        platform = Platform.current(self.settings, self.sources, self.analyses)
        write_copy(platform.lake.store, platform.memory().remembered)
        refresher = Refresh(platform, build_defs(platform=platform, resource_overrides=self.resources), self.instance)
        report = refresher.run(load=False)
        if report.failed_runs or report.stale_days:
            return report
        if what.declaration is not None and not self._ledger.is_retiring(what.declaration):
            raise RetireError(_DECLARED_AGAIN.format(what.noun, what.name))
        for table in what.tables:
            remove_table(self._engine, platform.lake.store, table)
        namespace = self.settings.namespace
        assets = [table_key(table, namespace) for table in what.tables]
        if what.declaration is not None:
            if what.declaration.kind == SOURCE:
                remove_files(self._engine, platform.lake.store, f"{STAGING}/{what.name}")
                platform.write_views()
                assets.append(staging_key(what.name, namespace))
            if not self._ledger.finish_retiring(what.declaration):
                raise RetireError(_DECLARED_AGAIN.format(what.noun, what.name))
            observe_days(platform, self.instance.report_runless_asset_event)
        # What Dagster still shows of it would never change again.
        self.instance.wipe_assets(assets)
        report.leftovers = platform.leftovers()
        # While it was built without it, it was still there.
        report.failed_checks = [check for check in report.failed_checks if check.check_name != EVERYTHING_IS_DECLARED]
        report_leftovers(self.instance, report.leftovers, namespace)
        return report

    def _tables(self, undeclared: Collection[Declaration]) -> TableSpecs:
        """The tables there would be if some declarations counted too and all tables were asked for."""
        readable = [each for each in undeclared if each.is_readable()]
        counting = in_force(self.sources, self.analyses, readable, thaw=True)
        return collect(Declarations(counting.sources, counting.analyses, self.settings.timezone))

    def _planned(self, declaration: Declaration, *, begun: bool) -> Retirement:
        others = [
            each
            for each in missing(declarations(self.sources, self.analyses), self._ledger.memory().remembered)
            if each.key != declaration.key
        ]
        tables = set(self._tables([*others, declaration])) - set(self._tables(others))
        if not declaration.counts:
            tables.add(declaration.name)
        built = tables & (built_tables(self._engine) | {declaration.name})
        counts = self._of_source(declaration.name) if declaration.kind == SOURCE else []
        if declaration.kind == CONVERSION:
            rows = rows_of(self._engine, "conversions", "conversion = :name", {"name": declaration.name})
            counts.append(f"{counted(rows, 'row')} of conversions")
        counts += [self._rows(table) for table in sorted(built - {EVENTS})]
        return Retirement(
            declaration.noun, declaration.name, declaration, tuple(sorted(tables)), tuple(counts), begun=begun
        )

    def _of_source(self, name: str) -> list[str]:
        summary = summarise(self._engine, name)
        with self._engine.connect() as connection:
            query = sa.select(sa.func.count()).select_from(files).where(files.c.source == name)
            booked = connection.execute(query).scalar_one()
        days = {file.event_date for file in self._platform.files.staged_files([name], date.min, date.max)}
        listed = [file for files in self._platform.catalogue.files(f"{STAGING}/{name}").values() for file in files]
        size = sum(file.bytes or 0 for file in listed)
        return [
            f"{counted(booked, 'booking')} of files with {counted(summary.landed, 'staged row')} of "
            f"{counted(len(days), 'day')}",
            counted(summary.quarantined, "quarantined line"),
            f"{counted(len(listed), 'staged file')} ({size / 1e6:,.1f} MB); the files in landing stay",
            "its share of the tables on these days, and of all tables over all days: they are built without it",
        ]

    def _rows(self, table: str) -> str:
        return f"the table {table} ({counted(rows_of(self._engine, table), 'row')} in PostgreSQL)"
