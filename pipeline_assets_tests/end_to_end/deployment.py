"""A deployment in a folder of its own, driven in this process, and what a test wants to know of it."""

import logging
import re
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import sqlalchemy as sa

from pipeline_assets.build import build_defs, build_platform
from pipeline_assets.ledger.schema import schema_of, text
from pipeline_assets.namespace import MARTS
from pipeline_assets.platform import Platform
from pipeline_assets.refresh import Refresh, RefreshReport
from pipeline_assets.settings import Settings
from pipeline_assets.tables.spec import EVENTS, TableSpec

BACKBONE_TABLES = ("events", "sessions", "page_views", "daily_activity")
"""All tables take several times as long as those that every other is made of: tests about these do without them."""
FIRST_DAY = date(2026, 2, 1)
"""A month before the clicks and the demo of most tests: Dagster lists its partitions, one for every day since."""
CHECKS_JOB = "every_check"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Run configuration of runs whose events nobody wants to see on the terminal."""

TOLD = {"late_share", "mapped_columns", "schema_drift", "events_occur", "every_file_has_a_source"}
TOLD |= {"ids_across_properties", "events_have_sessions"}
"""Checks that warn of what deliveries are like: that much came late, that it is not all that is declared, or more."""

# Where the same line stood in another file, its event says so, and nothing else may differ.
WHERE_FROM = ["load_id", "line"]

CLICKS = """\
type: pipeline_assets.components.EventSource
attributes:
  path: clicks/*
  format: jsonl
  mapping:
    event_id: id
    event_name: name
    event_type: type
    occurred_at: time
    anonymous_id: visitor
    page_url: url
    revenue: revenue
    currency: "'EUR'"
    is_conversion: revenue is not null
  bounds: {quarantined: 0.5, late: 1}
"""
"""A small source of JSON lines: `{"id": …, "name": …, "type": …, "time": …, "visitor": …, "url": …, "revenue": …}`."""


def without_progress(said: str) -> str:
    """What a command said, without the lines that tell how far it is: on a busy machine little work takes long too."""
    return re.sub(r".* \(\d+ s so far\)\n", "", said)


class Deployment:
    """A deployment whose code location is loaded in this process.

    Args:
        settings: where it is.
        instance: where its runs are recorded.
    """

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings = settings
        self.instance = instance
        logging.getLogger("dagster").setLevel(logging.CRITICAL)

    @cached_property
    def platform(self) -> Platform:
        """The deployment with what is declared now."""
        return build_platform(self.settings)

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The code location on the same platform, with a job of all checks."""
        checks = dg.define_asset_job(CHECKS_JOB, selection=dg.AssetSelection.all_asset_checks())
        return dg.Definitions.merge(build_defs(platform=self.platform), dg.Definitions(jobs=[checks]))

    def close(self) -> None:
        """Close the connections."""
        if "platform" in vars(self) and "engine" in vars(self.platform):
            self.platform.engine.dispose()

    def reload(self) -> None:
        """Read the declarations again when they are needed next, as a new process would."""
        self.close()
        for known in ("platform", "definitions"):
            vars(self).pop(known, None)

    def declare(self, name: str, declaration: str) -> None:
        """Write a declaration (again) and load it."""
        assert self.settings.defs_dir is not None
        folder = self.settings.defs_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "defs.yaml").write_text(declaration)
        self.reload()

    def deliver(self, name: str, content: bytes | str) -> Path:
        """Write a file into landing, over an older one if there is one."""
        path = self.settings.landing_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    @property
    def refresher(self) -> Refresh:
        """What `pipeline-assets refresh` works with."""
        return Refresh(self.platform, self.definitions, self.instance)

    def refresh(self) -> RefreshReport:
        """Load and build all there is."""
        return self.refresher.run()

    def refreshed(self) -> RefreshReport:
        """The same, and everything must be well, except that much may have come late."""
        report = self.refresh()
        assert report.failures == []
        assert report.failed_runs == []
        assert failed(report.failed_checks) == []
        assert report.exit_code == 0
        return report

    def sql(self, query: str, **values: Any) -> list[tuple]:
        """Rows of a query."""
        return sql(self.platform.engine, query, **values)

    def value(self, query: str, **values: Any) -> Any:
        """The only value of a query."""
        ((value,),) = self.sql(query, **values)
        return value

    def table(self, name: str) -> pl.DataFrame:
        """All rows of a table, in order of its key."""
        return rows(self.platform, self.platform.tables[name])

    def lake_files(self, table: str, day: date | None = None) -> list[Path]:
        """The listed files of a table in the lake, or of one of its days."""
        listed = self.platform.catalogue.files(table, None if day is None else [day])
        return [Path(path) for files in listed.values() for path in self.platform.lake.paths(files)]

    def everything(self) -> dict[str, pl.DataFrame]:
        """All rows of all tables; for events, without the place in the files where they were found."""
        return everything(self.platform)

    def check_everything(self) -> list[str]:
        """Run every check over all days; names of those that fail."""
        result = self.definitions.resolve_job_def(CHECKS_JOB).execute_in_process(
            instance=self.instance,
            run_config=QUIET,
            raise_on_error=False,
        )
        evaluations = result.get_asset_check_evaluations()
        assert evaluations
        expected = set(self.definitions.resolve_asset_graph().asset_check_keys)
        assert {check.asset_check_key for check in evaluations} == expected
        return failed(evaluations)

    def summary(self, source: str) -> Mapping[str, int]:
        """What the ledger's files of a source add up to."""
        names = ("files", "lines", "landed", "quarantined", "blank")
        rows = self.sql(
            "select count(*), coalesce(sum(lines), 0)::bigint, coalesce(sum(landed), 0)::bigint, "
            "coalesce(sum(quarantined), 0)::bigint, coalesce(sum(blank), 0)::bigint "
            "from ledger.files where source = :source and state = 'active'",
            source=source,
        )
        return dict(zip(names, rows[0], strict=True))

    def reasons(self, source: str) -> dict[str, int]:
        """Quarantined lines of the files that count, by reason."""
        return dict(self.refresher_summary(source).reasons)

    def refresher_summary(self, source: str) -> Any:
        """The ledger's summary of a source."""
        from pipeline_assets.ledger.summary import summarise

        return summarise(self.platform.engine, source)

    def is_settled(self) -> bool:
        """Whether no file is pending, no day is stale, and every line and row is accounted for."""
        return (
            not self.refresher.pending()
            and not any(self.platform.staleness().tables.values())
            and books_balance(self.platform.engine)
        )


def books_balance(engine: sa.Engine) -> bool:
    """The ledger's equations, as anybody would ask for them in SQL."""
    lines = sql(
        engine,
        "select coalesce(sum(lines) = sum(landed + quarantined + blank), true) from ledger.files "
        "where state = 'active'",
    )
    staged = sql(
        engine,
        "select (select coalesce(sum(landed), 0) from ledger.files where state = 'active') = "
        "(select coalesce(sum(rows), 0) from ledger.staged s join ledger.files f using (source, content) "
        "where f.state = 'active')",
    )
    days = sql(
        engine,
        "select coalesce(sum(landed) = sum(events + duplicates + excluded), true) from ledger.event_days",
    )
    booked = sql(
        engine,
        "select (select coalesce(sum(landed), 0) from ledger.event_days) = "
        "(select coalesce(sum(landed), 0) from ledger.files where state = 'active')",
    )
    return (lines, staged, days, booked) == ([(True,)], [(True,)], [(True,)], [(True,)])


def sql(engine: sa.Engine, query: str, **values: Any) -> list[tuple]:
    """Rows of a query."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(connection, query), values)]


def mart(engine: sa.Engine, table: TableSpec) -> pl.DataFrame:
    """All rows of a table in PostgreSQL, typed as its contract says, in order of its key."""
    columns = table.contract.columns()
    schema = {name: column.dtype for name, column in columns.items()}
    query = f"select {', '.join(columns)} from {schema_of(engine, MARTS)}.{table.name}"
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.exec_driver_sql(query)]
    return pl.DataFrame(rows, schema=schema, orient="row")


def in_lake(platform: Platform, table: TableSpec) -> pl.DataFrame:
    """All rows of a table in the lake."""
    files = [file for files in platform.catalogue.files(table.name).values() for file in files]
    return platform.lake.scan(files, table.contract).collect()


def everything(platform: Platform) -> dict[str, pl.DataFrame]:
    """All rows of all tables; for events, without the place in the files where they were found."""
    tables = {name: rows(platform, table) for name, table in platform.tables.items()}
    return tables | {EVENTS: tables[EVENTS].drop(WHERE_FROM)}


def rows(platform: Platform, table: TableSpec) -> pl.DataFrame:
    """All rows of a table, in order of its key; of all its columns where it has none."""
    found = mart(platform.engine, table) if table.store == "marts" else in_lake(platform, table)
    return found.sort(
        [*([table.partition_column] if table.partition_column else []), *table.contract.primary_key()]
        if table.contract.primary_key()
        else found.columns,
        nulls_last=True,
    )


def differences(found: Mapping[str, pl.DataFrame], expected: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """By table: rows and columns in which two states differ; empty if they are equal."""
    return {name: text for name in expected if (text := _difference(found[name], expected[name]))}


def _difference(found: pl.DataFrame, expected: pl.DataFrame) -> str:
    if found.equals(expected):
        return ""
    if found.height != expected.height:
        return f"{found.height} rows in place of {expected.height}"
    columns = {
        name: int((~found[name].eq_missing(expected[name])).sum())
        for name in expected.columns
        if not found[name].equals(expected[name])
    }
    return f"rows that differ by column: {columns}"


def failed(checks: Iterable[dg.AssetCheckEvaluation]) -> list[str]:
    """The checks that failed, with their numbers.

    What is about the order and the make of deliveries is no failure here.
    """
    return sorted(
        f"{check.asset_key.to_user_string()}:{check.check_name} "
        f"{ {name: value.value for name, value in check.metadata.items()} }"
        for check in checks
        if not check.passed and check.check_name not in TOLD
    )
