"""What is used of Dagster that is not public: all of it, why, and in what form. A release that changes it fails."""

import ast
import inspect
from importlib import import_module
from typing import Any

import dagster as dg
import pytest

from pipeline_assets.metadata import DATA_VERSION
from pipeline_assets.settings import PACKAGE_DIR

PRIVATE = ("dagster._", "dagster_shared", "dagster_postgres.utils", "dagster.components.core")

# By module: the names imported, with the parameters or attributes that are relied on, and why there is no other way.
COMPONENTS = "what stands beside the file of a component is loaded as Dagster loads a plain folder"
ORIGINS = "a run made in this process says of which code location it is, or the UI does not list it"
STORAGE = "classes that dagster.yaml names have base classes that Dagster does not export"
TABLES = "Dagster's tables are made in one transaction, so that a kill leaves none half-made"
IO = "Dagster's own base of IO managers for databases is not exported"
USED: dict[str, tuple[str, dict[str, set[str]]]] = {
    "dagster.components.core.decl": (
        COMPONENTS,
        {
            "ComponentDecl": {"context", "loc"},
            "DefsFolderDecl": {"children", "source_tree", "component_file_model"},
            "build_component_decls_from_directory_items": {"context", "component_file_model"},
        },
    ),
    "dagster.components.core.defs_module": (COMPONENTS, {"ComponentPath": {"from_path", "file_path", "instance_key"}}),
    "dagster._core.definitions.job_base": ("a job that is in memory is run in this process", {"InMemoryJob": set()}),
    "dagster._core.execution.api": ("the same", {"execute_run": {"job", "dagster_run", "instance"}}),
    "dagster._core.storage.asset_check_execution_record": (
        "the latest result of a blocking check decides the exit code of refresh",
        {"AssetCheckExecutionRecordStatus": {"FAILED"}},
    ),
    "dagster._core.definitions.unresolved_asset_job_definition": (
        "what define_asset_job returns, as a type",
        {"UnresolvedAssetJobDefinition": set()},
    ),
    "dagster._core.instance": ("a parameter of partitions, as a type", {"DynamicPartitionsStore": set()}),
    "dagster._core.storage.tags": (
        "tags of runs of a range of partitions",
        {"ASSET_PARTITION_RANGE_END_TAG": set(), "ASSET_PARTITION_RANGE_START_TAG": set(), "PARTITION_NAME_TAG": set()},
    ),
    "dagster._core.definitions.repository_definition": (ORIGINS, {"SINGLETON_REPOSITORY_NAME": set()}),
    "dagster._core.remote_origin": (
        ORIGINS,
        {
            "ManagedGrpcPythonEnvCodeLocationOrigin": {"loadable_target_origin", "location_name"},
            "RemoteJobOrigin": {"repository_origin", "job_name"},
            "RemoteRepositoryOrigin": {"code_location_origin", "repository_name"},
        },
    ),
    "dagster._core.types.loadable_target_origin": (
        ORIGINS,
        {"LoadableTargetOrigin": {"executable_path", "module_name", "working_directory"}},
    ),
    "dagster._core.definitions.partitions.subset": (
        "what a run records as planned and materialized",
        {"PartitionsSubset": set(), "TimeWindowPartitionsSubset": set()},
    ),
    "dagster._core.instance.ref": (
        "an instance for explicit settings is configured as dagster.yaml configures one",
        {"InstanceRef": {"from_dir"}},
    ),
    "dagster._core.launcher.base": (
        "run monitoring asks a launcher whether a run's process is alive",
        {"CheckRunHealthResult": {"status", "msg"}, "WorkerStatus": {"RUNNING", "FAILED", "UNKNOWN"}},
    ),
    "dagster._core.storage.compute_log_manager": (STORAGE, {"CapturedLogContext": set(), "ComputeIOType": {"STDOUT"}}),
    "dagster._core.storage.event_log.schema": (
        STORAGE,
        {"SqlEventLogStorageTable": {"c"}, "AssetCheckExecutionsTable": {"c"}},
    ),
    "dagster._core.storage.local_compute_log_manager": (
        STORAGE,
        {
            "IO_TYPE_EXTENSION": set(),
            "LocalComputeLogManager": {"capture_logs", "open_log_stream", "get_captured_local_path"},
        },
    ),
    "dagster._core.storage.root": (STORAGE, {"LocalArtifactStorage": set()}),
    "dagster._serdes": (STORAGE, {"ConfigurableClassData": set()}),
    "dagster_postgres.utils": (TABLES, {"pg_alembic_config": set(), "set_pg_statement_timeout": set()}),
    "dagster_shared.record": ("a run is copied as another class of run", {"as_dict": set()}),
    "dagster._core.storage.event_log": (TABLES, {"SqlEventLogStorageMetadata": {"sorted_tables"}}),
    "dagster._core.storage.runs": (TABLES, {"RunStorageSqlMetadata": {"sorted_tables"}}),
    "dagster._core.storage.runs.schema": ("old runs are found by a query of their own", {"RunsTable": {"c"}}),
    "dagster._core.storage.schedules": (TABLES, {"ScheduleStorageSqlMetadata": {"sorted_tables"}}),
    "dagster._core.storage.sql": (TABLES, {"run_alembic_upgrade": set(), "stamp_alembic_rev": set()}),
    "dagster._core.storage.db_io_manager": (
        IO,
        {
            "DbClient": {"connect", "delete_table_slice", "get_select_statement", "get_table_name"},
            "DbIOManager": {"_get_table_slice", "_check_supported_type", "_resolve_handler", "load_input"},
            "DbTypeHandler": {"handle_output", "load_input", "supported_types"},
            "TablePartitionDimension": {"partition_expr", "partitions"},
            "TableSlice": {"table", "schema", "columns", "partition_dimensions"},
        },
    ),
}


def imported() -> dict[str, set[str]]:
    """The private modules of Dagster that the package imports from, and what."""
    found: dict[str, set[str]] = {}
    for file in PACKAGE_DIR.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PRIVATE):
                found.setdefault(str(node.module), set()).update(alias.name for alias in node.names)
            elif isinstance(node, ast.Import):
                assert not [alias.name for alias in node.names if alias.name.startswith(PRIVATE)], file
    return found


def test_all_of_it_is_on_this_list() -> None:
    assert imported() == {module: set(names) for module, (_, names) in USED.items()}


def test_a_comment_above_it_says_why_nothing_public_serves() -> None:
    unexplained = []
    for file in PACKAGE_DIR.rglob("*.py"):
        lines = file.read_text(encoding="utf-8").splitlines()
        statements = [node for node in ast.parse("\n".join(lines)).body if isinstance(node, ast.ImportFrom)]
        explained = 0
        for node in statements:
            if not (node.module or "").startswith(PRIVATE):
                continue
            # One comment is about all that follow it without another line between.
            if lines[node.lineno - 2].startswith("#") or node.lineno == explained + 1:
                explained = node.end_lineno or node.lineno
            else:
                unexplained.append(f"{file.name}:{node.lineno}")
    assert unexplained == []


def test_nothing_of_it_is_public_under_another_name() -> None:
    public = {id(value) for value in vars(dg).values() if inspect.isclass(value) or inspect.isfunction(value)}
    used = [(module, name) for module, (_, names) in USED.items() for name in names]
    there = [f"{module}.{name}" for module, name in used if id(_get(module, name)) in public]
    assert there == []


@pytest.mark.parametrize("module", USED)
def test_it_has_the_form_that_is_relied_on(module: str) -> None:
    for name, needed in USED[module][1].items():
        thing = _get(module, name)
        known = set(dir(thing)) | set(getattr(thing, "__annotations__", {})) | set(getattr(thing, "__members__", {}))
        if callable(thing):
            known |= set(inspect.signature(thing).parameters)
        assert needed <= known, f"{module}.{name} has no {needed - known}"


def test_what_is_reached_into_is_there() -> None:
    """Attributes without a public counterpart: see the comments where they are used."""
    assert "_asset_partitions_subset" in inspect.getsource(dg.OutputContext)
    step = import_module("dagster._core.execution.context.system").StepExecutionContext
    assert "_metadata_accumulator" in inspect.getsource(step)
    assert hasattr(dg.ComponentTree, "_get_filesystem_decl")
    assert _get("dagster._core.definitions.data_version", "DATA_VERSION_TAG") == DATA_VERSION
    storage = import_module("dagster_postgres").DagsterPostgresStorage
    for name in ("_run_storage", "_event_log_storage", "_schedule_storage"):
        assert name in inspect.getsource(storage), name


def _get(module: str, name: str) -> Any:
    return getattr(import_module(module), name)
