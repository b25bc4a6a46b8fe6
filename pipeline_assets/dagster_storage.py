"""Dagster's own storage, on the project's PostgreSQL server and below the project's data folder.

The classes here are named in `dagster.yaml`. Dagster builds them in each of its processes, from the
environment; `pipeline_instance` builds the same instance for explicit settings. What does not belong here:
anything about the pipeline's own tables.
"""

import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import dagster as dg
import sqlalchemy as sa
import yaml

# What the storage, launcher and log manager that dagster.yaml names are made of: Dagster lets others write their own,
# but exports neither their base classes nor what their methods are given.
from dagster._core.definitions.partitions.subset import PartitionsSubset
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresScheduleStorage,
)

# What dagster-postgres sets on each of its connections, which are made here.
from dagster_postgres.utils import set_pg_statement_timeout

# Runs are records, and a record is copied as another class by its fields alone.
from dagster_shared.record import as_dict
from sqlalchemy import event as sqlalchemy_event

from pipeline_assets.dagster_tables import make_tables
from pipeline_assets.identity import deployment_engine
from pipeline_assets.locks import run_locks
from pipeline_assets.namespace import Namespace
from pipeline_assets.partitions import ONLY_STALE_TAG, subset_of, tagged_days
from pipeline_assets.postgres import server_url, sqlalchemy_url
from pipeline_assets.private import make_folder, protect, protected
from pipeline_assets.runs import GONE, LockingRuns, executed_by
from pipeline_assets.settings import DAGSTER_FILE, PACKAGE_DIR, Settings, SettingsError, dagster_home

_EVENT_BATCH = "1000"
_CAPTURED = (IO_TYPE_EXTENSION[ComputeIOType.STDOUT], IO_TYPE_EXTENSION[ComputeIOType.STDERR])

_ENDS = (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED)

# Without a pool Dagster connects anew for every statement. No timeout for statements: a long query is no mistake here.
_POOL = {"statement_timeout": 0, "pool_recycle": 3600, "max_overflow": 20}

_STORAGE_KEYS = ("storage", "run_storage", "event_log_storage", "schedule_storage", "instance_class")

_CONFIG = {
    "data_dir": dg.Field(dg.StringSource, is_required=False),
    "lake_url": dg.Field(dg.StringSource, is_required=False),
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
    return replace(explicit, lake_url=config["lake_url"]) if "lake_url" in config else explicit


def _local_dir(settings: Settings) -> Path:
    return make_folder(settings.dagster_dir)


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
    """Dagster's event log, in which what a run plans to materialize is written at once.

    Dagster writes these events one by one: for 22 tables and 40 days a run took 2.8 s of CPU in place of 0.9, and three
    times as long.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, should_autocreate_tables=False)
        # A run in a process of its own would write every event on a new connection.
        self.optimize_for_webserver(**_POOL)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
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


class PlannedRun(dg.DagsterRun):
    """A run of the jobs just created, which may build days that web server and daemon do not know yet.

    They know the days that were booked when they loaded the code location. Dagster plans the days of a run as soon as
    it has created one, by what they know, and would refuse a run for the file of years ago that has come since. And it
    would plan all days of a range: of 200 random days among 1,000 22,000 events in place of 4,400.
    """

    def get_resolved_partitions_subset_for_events(
        self, partitions_def: dg.PartitionsDefinition | None
    ) -> PartitionsSubset | None:
        """The days that the tags ask for, whether or not they are among the known ones or in a row."""
        days = tagged_days(self.tags)
        if not days or not isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
            return super().get_resolved_partitions_subset_for_events(partitions_def)
        return subset_of(partitions_def, days).to_serializable_subset()


class _Runs(_Pooled, LockingRuns):
    """Dagster's runs, where whoever executes one holds a lock while its status says that it is executed."""

    def __init__(self, url: str) -> None:
        super().__init__(url, should_autocreate_tables=False)

    def add_run(self, dagster_run: dg.DagsterRun) -> dg.DagsterRun:
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
    # A run writes some hundred events, each committed by itself. Waiting for the disk each time takes longer than many
    # runs; a power cut costs the last events of a log, and what counts is in the ledger, whose commits do wait.
    return sqlalchemy_url(url, "psycopg2", search_path=schema, synchronous_commit="off")


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

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext]:
        """Capture them into files that only their owner can read."""
        with protected(*(Path(self.get_captured_local_path(log_key, kind)) for kind in _CAPTURED)):
            with super().capture_logs(log_key) as context:
                yield context
            # It says by being there that all is captured.
            protect(Path(self.complete_artifact_path(log_key)))

    @contextmanager
    def open_log_stream(self, log_key: Sequence[str], io_type: ComputeIOType) -> Generator[IO | None]:
        """Open one of them for those who write into it themselves, as daemons do."""
        path = Path(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type]))
        with protected(path), super().open_log_stream(log_key, io_type) as stream:
            yield stream


class PipelineRunLauncher(dg.DefaultRunLauncher):
    """Dagster's default launcher, which can also tell whether the process of a run is alive.

    Without that answer run monitoring leaves a run "started" for ever when its code server was killed with it.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """See whether the lock is held that whoever executes a run holds; asked for started runs only."""
        storage = self._instance.run_storage
        if not isinstance(storage, LockingRuns):
            return CheckRunHealthResult(WorkerStatus.UNKNOWN)
        if run.run_id in executed_by(self._instance, [run.run_id], storage.postgres_url):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, GONE)


def pipeline_instance(settings: Settings) -> dg.DagsterInstance:
    """The persistent Dagster instance for `settings`; use it as a context manager.

    Runs are recorded where the Dagster of the project is configured to look: in the instance that DAGSTER_HOME names;
    otherwise in the storage that the project's `dagster.yaml` names; otherwise, and always for the demo and where the
    settings are no project's, on the deployment's own server, with the rest as in that file or, where there is none,
    in the one of this package.

    Raises:
        IdentityError: the database holds another deployment's.
        PostgresError: the server cannot be started or reached.
        SettingsError: the project's instance cannot be made; the message says why.
    """
    # The demo needs no setting, whatever else its user works on.
    project = settings.project_dir if settings.defs_dir else None
    home = dagster_home(project) if project else None
    if home or (project and _has_storage(project)):
        try:
            if home:
                instance = dg.DagsterInstance.get()
            else:
                ref = InstanceRef.from_dir(str(_local_dir(settings)), config_dir=str(project))
                instance = dg.DagsterInstance.from_ref(ref)
        except dg.DagsterError as error:
            where = f"DAGSTER_HOME={home}" if home else f"{project}/{DAGSTER_FILE}"
            raise SettingsError(f"{where}: Dagster cannot use it: {' '.join(str(error).split())}") from error
    else:
        overrides = _on_own_server(settings)
        config = project if project and (project / DAGSTER_FILE).exists() else PACKAGE_DIR
        ref = InstanceRef.from_dir(str(_local_dir(settings)), config_dir=str(config), overrides=overrides)
        if settings.project_dir and not project:
            # The demo is in no project; with this its folder of runs can be Dagster's home.
            shutil.copyfile(PACKAGE_DIR / DAGSTER_FILE, settings.dagster_dir / DAGSTER_FILE)
        instance = dg.DagsterInstance.from_ref(ref)
    if isinstance(instance.run_storage, LockingRuns):
        instance.optimize_for_webserver(**_POOL)
    return instance


def _has_storage(project: Path) -> bool:
    """Whether the `dagster.yaml` of a project names a storage that is not ours."""
    file = project / DAGSTER_FILE
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        return False
    storage = config.get("storage")
    custom = storage.get("custom") if isinstance(storage, dict) else None
    if isinstance(custom, dict) and custom.get("module") == __name__:
        return False
    return any(config.get(key) for key in _STORAGE_KEYS)


def _on_own_server(settings: Settings) -> dict[str, Any]:
    """What replaces the storage of a `dagster.yaml`."""
    environment = Settings.from_environment()
    config: dict[str, str] = {}
    if any(getattr(settings, name) != getattr(environment, name) for name in _CONFIG):
        # Only explicit settings are written down: the instance is passed between processes as text, which is no
        # place for the password in PIPELINE_POSTGRES_URL.
        config = {"data_dir": str(settings.data_dir), "lake_url": settings.lake_url}
        if settings.postgres_url:
            config["postgres_url"] = settings.postgres_url
        if settings.namespace.name:
            config["namespace"] = settings.namespace.name

    def custom(cls: type) -> dict[str, Any]:
        return {"module": __name__, "class": cls.__name__, "config": config}

    return {
        "storage": {"custom": custom(PipelinePostgresStorage)},
        "local_artifact_storage": custom(PipelineArtifactStorage),
        "compute_logs": custom(PipelineComputeLogManager),
    }
