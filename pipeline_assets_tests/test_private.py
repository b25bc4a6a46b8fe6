"""What the pipeline writes can be read by its owner alone, whatever the umask, unless a folder is shared on purpose."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_assets.identity import MARKER
from pipeline_assets.private import make_file, make_folder, protect, protected, tighten
from pipeline_assets.settings import Settings
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, CLICKS, FIRST_DAY
from pipeline_assets_tests.end_to_end.test_files import click

SHARED = 0o2770


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_folders_above_and_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a" / "b" / "c")
    assert make_folder(folder) == folder
    file = make_file(folder / "file")
    with pytest.raises(FileExistsError):
        make_file(file)
    other = folder / "other"
    other.write_text("x")
    late = tmp_path / "d" / "late"
    with protected(late):
        # In place of the file that was made for it, as some writers do.
        late.unlink()
        late.write_text("x")
    assert [mode(path) for path in (file, protect(other), late)] == [0o600] * 3
    assert [mode(path) for path in (folder, folder.parent, folder.parents[1], late.parent)] == [0o700] * 4
    with pytest.raises(FileExistsError):
        make_folder(file)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("rights", "of_file", "of_folder"), [(0o2770, 0o660, 0o2770), (0o2755, 0o640, 0o2750)])
def test_a_folder_with_the_set_group_id_bit_shares_what_is_made_in_it_with_its_group(
    tmp_path: Path, rights: int, of_file: int, of_folder: int
) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    lake.chmod(rights)
    folder = make_folder(lake / "events" / "day")
    written = folder / "written"
    written.write_text("x")
    assert [mode(path) for path in (folder.parent, folder)] == [of_folder] * 2
    assert [mode(path) for path in (make_file(folder / "file"), protect(written))] == [of_file] * 2


def test_what_an_earlier_version_made_is_tightened_and_what_others_deliver_is_not(tmp_path: Path) -> None:
    settings = Settings.for_data_dir(tmp_path / "data")
    before = os.umask(0o022)
    try:
        for name in ("lake/events/day=1/part", f"lake/{MARKER}", "dagster/compute_logs/1.out", "landing/a/1"):
            path = settings.data_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        (settings.lake_dir / "link").symlink_to(tmp_path / "data" / "landing" / "a" / "1")
    finally:
        os.umask(before)
    tighten(settings, MARKER)
    tighten(settings, MARKER)
    found = {str(path.relative_to(tmp_path)): oct(mode(path)) for path in tmp_path.rglob("*") if not path.is_symlink()}
    assert found == {
        # It may be passed through.
        "data": "0o711",
        "data/lake": "0o700",
        "data/lake/events": "0o700",
        "data/lake/events/day=1": "0o700",
        "data/lake/events/day=1/part": "0o600",
        "data/lake/deployment.json": "0o600",
        "data/dagster": "0o700",
        "data/dagster/compute_logs": "0o700",
        "data/dagster/compute_logs/1.out": "0o600",
        "data/landing": "0o700",
        "data/landing/a": "0o755",
        "data/landing/a/1": "0o644",
    }


@pytest.mark.parametrize("rights", [0o777, 0o1777, 0o2775, 0o770, 0o2750])
def test_a_landing_folder_into_which_others_deliver_stays_open_to_them(tmp_path: Path, rights: int) -> None:
    settings = Settings.for_data_dir(tmp_path / "data")
    settings.landing_dir.mkdir(parents=True)
    settings.landing_dir.chmod(rights)
    settings.data_dir.chmod(0o755)
    tighten(settings, MARKER)
    assert mode(settings.landing_dir) == rights
    assert mode(settings.data_dir) & 0o011 == 0o011


def test_a_shared_lake_stays_shared_with_its_group_and_with_nobody_else(tmp_path: Path) -> None:
    settings = Settings.for_data_dir(tmp_path / "data")
    folder = settings.lake_dir / "events"
    folder.mkdir(parents=True)
    file = folder / "part"
    file.write_text("x")
    (settings.lake_dir / MARKER).write_text("x")
    for path, rights in ((settings.lake_dir, 0o2775), (folder, 0o2775), (file, 0o664)):
        path.chmod(rights)
    tighten(settings, MARKER)
    assert [mode(path) for path in (settings.lake_dir, folder, file)] == [0o2770, 0o2770, 0o660]


def test_a_lake_behind_a_link_is_tightened_and_folders_that_are_none_of_ours_are_not(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o755)
    landing = tmp_path / "exports of another program"
    landing.mkdir(mode=0o755)
    for folder in (disk, landing):
        (folder / "file").write_text("x")
        (folder / "file").chmod(0o644)
        folder.chmod(0o755)
    settings = Settings.for_data_dir(tmp_path / "data", landing_url=str(landing))
    settings.data_dir.mkdir()
    settings.lake_dir.symlink_to(disk)
    tighten(settings, MARKER)
    assert [mode(path) for path in (disk, disk / "file", landing, landing / "file")] == [0o755, 0o644] * 2
    (disk / MARKER).write_text("x")
    tighten(settings, MARKER)
    assert [mode(path) for path in (disk, disk / "file", landing, landing / "file")] == [0o700, 0o600, 0o755, 0o644]


def test_a_deployment_that_is_not_there_yet_is_left_alone(tmp_path: Path) -> None:
    settings = Settings.for_data_dir(tmp_path / "data")
    tighten(settings, MARKER)
    assert list(tmp_path.iterdir()) == []


RUN = """
import sys
from pipeline_assets.cli import app
from pipeline_assets.settings import Settings
from pipeline_assets.dagster_storage import pipeline_instance
from dagster._core.storage.compute_log_manager import ComputeIOType
with pipeline_instance(Settings.from_environment()) as instance:
    with instance.compute_log_manager.open_log_stream(["daemon", "1"], ComputeIOType.STDERR) as stream:
        stream.write("x")
app(["refresh"])
"""


def test_every_file_and_folder_of_a_whole_run_is_private_though_the_umask_hides_nothing(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    declaration = tmp_path / "defs" / "clicks" / "defs.yaml"
    declaration.parent.mkdir(parents=True)
    declaration.write_text(CLICKS)
    delivery = tmp_path / "landing" / "clicks" / "1.jsonl"
    delivery.parent.mkdir(parents=True)
    delivery.write_text(click(0) + "{broken\n" + click(1))
    environment = {
        **os.environ,
        "PIPELINE_DATA_DIR": str(data),
        "PIPELINE_LANDING_URL": str(tmp_path / "landing"),
        "PIPELINE_DEFS_DIR": str(tmp_path / "defs"),
        "PIPELINE_TABLES": ",".join(BACKBONE_TABLES),
        "PIPELINE_FIRST_DAY": FIRST_DAY.isoformat(),
    }
    environment.pop("PIPELINE_POSTGRES_URL", None)
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        check=False,
        env=environment,
        umask=0,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "Built 2026-03-01" in done.stdout, done.stdout + done.stderr
    # Root's embedded PostgreSQL runs as another user, who has to pass through the folders above it.
    passed = {data, *data.parents} if os.getuid() == 0 else set()
    open_ones = []
    for path in (data.parent, *data.parent.rglob("*")):
        found = path.lstat()
        allowed = 0o701 if path in passed else 0o700
        if not stat.S_ISLNK(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o777 & ~allowed:
            open_ones.append(f"{path.relative_to(tmp_path)} {stat.filemode(found.st_mode)}")
    assert open_ones == []
    assert any(data.glob("dagster/compute_logs/**/*.err"))
    assert any(data.glob("lake/staging/clicks/*/*.parquet"))
    assert any(data.glob("lake/events/*/*.parquet"))
    assert (data / "postgres" / "server.log").exists()
    assert not {path.name for path in tmp_path.iterdir()} - {"deep", "defs", "landing"}
