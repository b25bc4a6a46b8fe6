"""Dagster's own storage, on the project's PostgreSQL server and below the project's data folder.

The classes here are named in `dagster.yaml`. Dagster builds them in each of its processes, from the
environment; `pipeline_instance` builds the same instance for explicit settings. What does not belong here:
anything about the pipeline's own tables.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import sqlalchemy as sa
from dagster._core.definitions.partitions.subset import PartitionsSubset
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.utils import set_pg_statement_timeout
from dagster_shared.record import as_dict
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.engine import Connection

from pipeline_assets.dagster_tables import make_tables
from pipeline_assets.identity import deployment_engine
from pipeline_assets.locks import run_locks
from pipeline_assets.namespace import Namespace
from pipeline_assets.partitions import ONLY_STALE_TAG, tagged_days
from pipeline_assets.postgres import server_url, sqlalchemy_url
from pipeline_assets.runs import GONE, executed_by
from pipeline_assets.settings import PROJECT_ROOT, Settings

_EVENT_BATCH = "1000"

_ENDS = (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED)

# Without a pool Dagster connects anew for every statement. No timeout for statements: a long query is no mistake here.
_POOL = {"statement_timeout": 0, "pool_recycle": 3600, "max_overflow": 20}

_CONFIG = {
    "data_dir": dg.Field(dg.StringSource, is_required=False),
    "lake_dir": dg.Field(dg.StringSource, is_required=False),
    "postgres_url": dg.Field(dg.StringSource, is_required=False),
    "namespace": dg.Field(dg.StringSource, is_required=False),
}


def _settings(config: Mapping[str, str]) -> Settings:
    """The environment's settings, or those of an instance that was made for explicit ones."""
    if "data_dir" not in config:
        return Settings.from_environment()
    explicit = Settings.for_data_dir(
        Path(config["data_dir"]),
        postgres_url=config.get("postgres_url"),
        namespace=Namespace(config.get("namespace")),
    )
    return replace(explicit, lake_dir=Path(config["lake_dir"])) if "lake_dir" in config else explicit


def _local_dir(settings: Settings) -> Path:
    folder = settings.data_dir / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class _Pooled:
    """Connections that are kept, and made again when the server was restarted meanwhile, so that runs go on.

    Dagster's own pools hand out a connection without asking whether it is still there.
    """

    postgres_url: str
    _engine: sa.Engine

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        self._engine.dispose()
        self._engine = sa.create_engine(
            self.postgres_url,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            pool_recycle=pool_recycle,
            max_overflow=max_overflow,
            pool_pre_ping=True,
            # What a run's events say is no message for a terminal.
            hide_parameters=True,
        )
        sqlalchemy_event.listen(
            self._engine, "connect", lambda new, _: set_pg_statement_timeout(new, statement_timeout)
        )

    def dispose(self) -> None:
        super().dispose()  # ty: ignore[missing-attribute] - of the storage that this is mixed into
        self._engine.dispose()


class _EventLog(_Pooled, PostgresEventLogStorage):  # ty: ignore[incompatible-method-override] - Dagster's own bases
    """Dagster's event log, with less work for the events of assets.

    Dagster asks with nearly every event of an asset whether tables and columns are there, on a new connection even,
    because somebody may have skipped its migrations; here what was there once is not asked for again. And what a run
    plans to materialize is written at once; it has an event for each asset and day.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, should_autocreate_tables=False)
        self._seen: set[tuple[str, str]] = set()
        # A run in a process of its own would write every event on a new connection.
        self.optimize_for_webserver(**_POOL)

    def has_table(self, table_name: str) -> bool:
        return self._once("table", table_name, lambda: super(_EventLog, self).has_table(table_name))

    def has_asset_key_col(self, column_name: str) -> bool:
        return self._once("column", column_name, lambda: super(_EventLog, self).has_asset_key_col(column_name))

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        ask = super()._has_asset_key_col_on_connection
        return self._once("column", column_name, lambda: ask(conn, column_name))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        plans = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        planned = [event for event in events if event.dagster_event_type == plans]
        if planned:
            insert = self.prepare_insert_event_batch(planned).returning(SqlEventLogStorageTable.c.id)
            with self.index_transaction() as conn:
                ids = list(conn.execute(insert).scalars())
                # Of an asset the table of assets knows the last event only.
                last = {
                    event.get_dagster_event().asset_key: (event, number)
                    for event, number in zip(planned, ids, strict=True)
                }
                for event, number in last.values():
                    self._store_asset_event(conn, event, number)
        super().store_event_batch([event for event in events if event.dagster_event_type != plans])

    def _once(self, kind: str, name: str, is_there: Callable[[], bool]) -> bool:
        if (kind, name) not in self._seen and is_there():
            self._seen.add((kind, name))
        return (kind, name) in self._seen


class PlannedRun(DagsterRun):
    """A run of the jobs just created, which may build days that web server and daemon do not know yet.

    They know the days that were booked when they loaded the code location. Dagster plans the days of a run as soon as
    it has created one, by what they know, and would refuse a run for the file of years ago that has come since.
    """

    def get_resolved_partitions_subset_for_events(
        self, partitions_def: dg.PartitionsDefinition | None
    ) -> PartitionsSubset | None:
        """The days that the tags ask for, whether or not they are among the known ones."""
        days = tagged_days(self.tags)
        if not days or not isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
            return super().get_resolved_partitions_subset_for_events(partitions_def)
        first, last = (partitions_def.time_window_for_partition_key(day.isoformat()) for day in (days[0], days[-1]))
        window = dg.TimeWindow(first.start, last.end)
        return partitions_def.get_partition_subset_in_time_window(window).to_serializable_subset()


class _Runs(_Pooled, PostgresRunStorage):
    """Dagster's runs, where whoever executes one holds a lock while its status says that it is executed."""

    def __init__(self, url: str) -> None:
        super().__init__(url, should_autocreate_tables=False)

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        added = super().add_run(dagster_run)
        # Of other jobs in the same instance nothing is known.
        return PlannedRun(**as_dict(added)) if ONLY_STALE_TAG in added.tags else added

    def handle_run_event(self, run_id: str, event: dg.DagsterEvent, update_timestamp: datetime | None = None) -> None:
        # The process that executes a run tells of its start and, unless it was killed, of its end.
        if event.event_type == dg.DagsterEventType.RUN_START:
            run_locks(self.postgres_url).take(run_id)
        super().handle_run_event(run_id, event, update_timestamp)
        if event.event_type in _ENDS:
            run_locks(self.postgres_url).release(run_id)


class _Schedules(_Pooled, PostgresScheduleStorage):
    """Dagster's schedules and sensors."""

    def __init__(self, url: str) -> None:
        super().__init__(url, should_autocreate_tables=False)


class PipelinePostgresStorage(DagsterPostgresStorage):
    """Runs, events and schedules in a schema of the project's server, which is started if need be."""

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        """Optional settings in place of all of the environment's."""
        return _CONFIG

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "PipelinePostgresStorage":
        """Start or join the server and create the schema and Dagster's tables where they are missing.

        Raises:
            IdentityError: the database holds another deployment's; nothing was created.
        """
        settings = _settings(config_value)
        deployment_engine(settings).dispose()
        server = server_url(settings)
        schema = settings.namespace.dagster
        url = _with_search_path(server, schema)
        storage = cls(inst_data=inst_data, postgres_url=url, should_autocreate_tables=False)
        storage._run_storage = _Runs(url)
        storage._event_log_storage = _EventLog(url)
        storage._schedule_storage = _Schedules(url)
        make_tables(storage, server, schema)
        # Dagster then writes the events of all days of an asset, and those that plan a run, in batches.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", _EVENT_BATCH)
        return storage


def _with_search_path(url: str, schema: str) -> str:
    # Dagster's queries name no schema. SQLAlchemy takes plain postgresql:// for psycopg 3, with which
    # dagster-postgres fails.
    separator = "&" if "?" in url else "?"
    # A run writes some hundred events, each committed by itself. Waiting for the disk each time takes longer than many
    # runs; a power cut costs the last events of a log, and what counts is in the ledger, whose commits do wait.
    options = quote(f"-csearch_path={schema} -csynchronous_commit=off")
    return f"{sqlalchemy_url(url, 'psycopg2')}{separator}options={options}"


class PipelineArtifactStorage(LocalArtifactStorage):
    """Files of Dagster's own below the data folder, wherever a process happens to run."""

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        """See `PipelinePostgresStorage`."""
        return _CONFIG

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "PipelineArtifactStorage":
        """Put them into `data_dir/dagster`."""
        return cls(base_dir=str(_local_dir(_settings(config_value))), inst_data=inst_data)


class PipelineComputeLogManager(LocalComputeLogManager):
    """What steps print, kept below the data folder so that it outlives `dagster dev`."""

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        """See `PipelinePostgresStorage`."""
        return _CONFIG

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "PipelineComputeLogManager":
        """Put it into `data_dir/dagster/compute_logs`."""
        return cls(base_dir=str(_local_dir(_settings(config_value)) / "compute_logs"), inst_data=inst_data)


class PipelineRunLauncher(dg.DefaultRunLauncher):
    """Dagster's default launcher, which can also tell whether the process of a run is alive.

    Without that answer run monitoring leaves a run "started" for ever when its code server was killed with it.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """See whether the lock is held that whoever executes a run holds; asked for started runs only."""
        if run.run_id in executed_by(self._instance, [run.run_id]):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, GONE)


def pipeline_instance(settings: Settings) -> dg.DagsterInstance:
    """The persistent Dagster instance for `settings`, as `dagster.yaml` describes it; needs no DAGSTER_HOME.

    What is run on it is seen by `dagster dev` with the same settings. Use it as a context manager.

    Raises:
        IdentityError: the database holds another deployment's.
        PostgresError: the server cannot be started or reached.
    """
    environment = Settings.from_environment()
    config: dict[str, str] = {}
    if any(getattr(settings, name) != getattr(environment, name) for name in _CONFIG):
        # Only explicit settings are written down: the instance is passed between processes as text, which is no
        # place for the password in PIPELINE_POSTGRES_URL.
        config = {"data_dir": str(settings.data_dir), "lake_dir": str(settings.lake_dir)}
        if settings.postgres_url:
            config["postgres_url"] = settings.postgres_url
        if settings.namespace.name:
            config["namespace"] = settings.namespace.name

    def custom(cls: type) -> dict[str, Any]:
        return {"module": __name__, "class": cls.__name__, "config": config}

    overrides = {
        "storage": {"custom": custom(PipelinePostgresStorage)},
        "local_artifact_storage": custom(PipelineArtifactStorage),
        "compute_logs": custom(PipelineComputeLogManager),
    }
    ref = InstanceRef.from_dir(str(_local_dir(settings)), config_dir=str(PROJECT_ROOT), overrides=overrides)
    instance = dg.DagsterInstance.from_ref(ref)
    instance.optimize_for_webserver(**_POOL)
    return instance
