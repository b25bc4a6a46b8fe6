"""The code location as Dagster sees it: it loads anywhere, does nothing by itself, and its graph is on record."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from pipeline_assets.build import build_defs
from pipeline_assets.settings import PROJECT_ROOT, Settings

SNAPSHOT = Path(__file__).with_name("definitions.txt")
# Promised to be of use without Dagster: to people's own scripts, and inside Spark executors.
WITHOUT_DAGSTER = ("contracts", "demo", "ledger", "sources", "staging", "transforms")


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """The code location of a deployment that nobody has used yet."""
    return build_defs(Settings.for_data_dir(tmp_path_factory.mktemp("unused") / "data"))


def in_a_fresh_interpreter(program: str, data_dir: Path) -> str:
    """What a program prints that runs in another folder, with nothing set but the data folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIPELINE_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", program],
        env={**environment, "PIPELINE_DATA_DIR": str(data_dir), "PYTHONPATH": str(PROJECT_ROOT)},
        cwd=data_dir.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_of(package: str) -> list[str]:
    folder = PROJECT_ROOT / "pipeline_assets" / package
    return sorted(
        ".".join(path.relative_to(PROJECT_ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in folder.rglob("*.py")
        # Alembic runs its scripts itself.
        if "migrations" not in path.parts
    )


def test_loading_the_code_location_neither_starts_postgresql_nor_writes_a_file(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    program = """
import psutil
from pipeline_assets import definitions
location = definitions.defs.load_fn() if hasattr(definitions.defs, "load_fn") else definitions.defs()
print(len(list(location.resolve_asset_graph().get_all_asset_keys())))
print(psutil.Process().children(recursive=True))
"""
    assets, children = in_a_fresh_interpreter(program, data_dir).splitlines()
    assert int(assets) >= 7
    assert children == "[]"
    assert not data_dir.exists()
    assert list(tmp_path.iterdir()) == []


def test_importing_computes_nothing(tmp_path: Path) -> None:
    """A process that is forked after the engine's threads were started hangs at its first query."""
    program = """
import os
import polars
import pipeline_assets.build
before = len(os.listdir("/proc/self/task"))
polars.DataFrame({"a": [1]}).lazy().filter(polars.col("a") > 0).collect()
print(len(os.listdir("/proc/self/task")) > before)
"""
    assert in_a_fresh_interpreter(program, tmp_path / "data").strip() == "True"


def test_dagster_validates_the_code_location(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


@pytest.mark.parametrize("package", WITHOUT_DAGSTER)
def test_packages_of_pure_logic_import_without_dagster(package: str, tmp_path: Path) -> None:
    program = f"""
import importlib, sys
for name in {modules_of(package)!r}:
    importlib.import_module(name)
print(sorted(name for name in sys.modules if name.split(".")[0].startswith("dagster")))
"""
    assert in_a_fresh_interpreter(program, tmp_path / "data").strip() == "[]"


def test_the_platform_and_the_postgresql_server_need_no_dagster(tmp_path: Path) -> None:
    program = """
import sys
import pipeline_assets.platform, pipeline_assets.postgres, pipeline_assets.settings, pipeline_assets.cli
print(sorted(name for name in sys.modules if name.split(".")[0].startswith("dagster")))
"""
    assert in_a_fresh_interpreter(program, tmp_path / "data").strip() == "[]"


def test_every_asset_has_a_description_a_group_kinds_and_its_columns(definitions: dg.Definitions) -> None:
    specs = definitions.resolve_all_asset_specs()
    assert len(specs) >= 7
    for spec in specs:
        name = spec.key.to_user_string()
        assert spec.description, name
        assert spec.group_name not in (None, "default"), name
        assert spec.kinds, name
        columns = spec.metadata["dagster/column_schema"]
        assert isinstance(columns, dg.TableSchema), name
        assert all(column.description for column in columns.columns), name


def test_every_table_says_where_its_function_is_written_and_a_mart_what_it_is_called(
    definitions: dg.Definitions,
) -> None:
    tables = [spec for spec in definitions.resolve_all_asset_specs() if "polars" in spec.kinds]
    assert len(tables) >= 7
    for spec in tables:
        written, *_ = spec.metadata["dagster/code_references"].code_references
        assert isinstance(written, dg.LocalFileCodeReference)
        assert Path(written.file_path).read_text().splitlines()[(written.line_number or 0) - 1].startswith("def ")
        name = f"marts.{spec.key.path[-1]}" if "postgres" in spec.kinds else None
        assert spec.metadata.get("dagster/table_name") == name
    # What is declared also says in which file.
    (funnel,) = (spec for spec in tables if spec.key.path[-1] == "checkout_funnel")
    files = [Path(each.file_path).name for each in funnel.metadata["dagster/code_references"].code_references]
    assert files == ["funnel.py", "defs.yaml"]


def test_what_is_declared_says_how(definitions: dg.Definitions) -> None:
    described = {spec.key.to_user_string(): spec.description or "" for spec in definitions.resolve_all_asset_specs()}
    declared = {name for name, text in described.items() if "As declared:\n\n```yaml\n" in text}
    assert declared >= {"staging/web", "checkout_funnel", "visit_retention"}
    assert declared.isdisjoint({"events", "sessions", "staged_days"})
    assert "\nmode: ordered\nwindow: P7D\n```" in described["checkout_funnel"]
    assert "\n  event_id: messageId\n" in described["staging/web"]


def test_every_asset_has_a_check_that_blocks(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    blocking = {key.asset_key for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == set(graph.materializable_asset_keys)


def test_every_check_and_sensor_has_a_description(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    assert all(graph.get(key).description for key in graph.asset_check_keys)
    assert all(sensor.description for sensor in definitions.sensors or [])


def test_the_deployments_resource_says_where_things_are_and_no_password(tmp_path: Path) -> None:
    settings = Settings.for_data_dir(tmp_path, postgres_url="postgresql://me:hunter2@db.example/shop?password=hunter3")
    resources = build_defs(settings).resources or {}
    described = resources["pipeline_platform"].description
    assert f"- landing: `{settings.landing_url}`" in described
    assert f"- lake: `{settings.lake_url}`" in described
    assert "hunter" not in described
    # Nor does any value that Dagster could show of the others.
    assert "hunter" not in repr(resources)


def test_the_sensors_run_by_default(definitions: dg.Definitions) -> None:
    sensors = {sensor.name: sensor for sensor in definitions.sensors or [] if isinstance(sensor, dg.SensorDefinition)}
    assert {name for name, sensor in sensors.items() if sensor.default_status is dg.DefaultSensorStatus.RUNNING} >= {
        "new_files",
        "stale_days",
    }


def test_the_graph_is_the_one_on_record(definitions: dg.Definitions) -> None:
    """After an intended change: delete `definitions.txt`, run this test, and look at the difference in git."""
    found = described(definitions)
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(found)
        pytest.fail(f"{SNAPSHOT.name} was missing and has been written; review it.")
    assert found == SNAPSHOT.read_text()


def described(definitions: dg.Definitions) -> str:
    """Assets, checks, jobs and sensors, one a line, in a fixed order."""
    graph = definitions.resolve_asset_graph()
    lines = ["assets"]
    for spec in sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key):
        lines.append(
            f"  {spec.key.to_user_string()}: group {spec.group_name}, kinds {', '.join(sorted(spec.kinds))}, "
            f"{'daily' if spec.partitions_def else 'no partitions'}"
        )
        lines += [
            f"    reads {dep.asset_key.to_user_string()}{_offsets(dep.partition_mapping)}"
            for dep in sorted(spec.deps, key=lambda dep: dep.asset_key)
        ]
        lines += [
            f"    check {key.name}{' (blocking)' if graph.get(key).blocking else ''}"
            for key in sorted(graph.asset_check_keys, key=lambda key: key.name)
            if key.asset_key == spec.key
        ]
    lines.append("jobs")
    for job in sorted(definitions.resolve_all_job_defs(), key=lambda job: job.name):
        if not job.name.startswith("__"):
            keys = sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
            lines.append(f"  {job.name}: {', '.join(keys)}")
    lines.append("sensors")
    for sensor in sorted(definitions.sensors or [], key=lambda sensor: sensor.name):
        status = sensor.default_status.value.lower()
        jobs = ", ".join(target.job_name for target in sensor.targets) or "no job"
        lines.append(f"  {sensor.name}: {jobs}, every {sensor.minimum_interval_seconds} s, {status}")
    return "\n".join(lines) + "\n"


def _offsets(mapping: object) -> str:
    if isinstance(mapping, dg.TimeWindowPartitionMapping):
        return f" from {mapping.start_offset} to {mapping.end_offset:+} days"
    return ""
