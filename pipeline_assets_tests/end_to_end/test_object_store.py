"""Landing and lake in an object store: the same tables as on local disks, whatever is late, killed, lost or changed."""

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.demo.generator import Demo, DemoConfig, DemoFile, Faults, build_demo
from pipeline_assets.platform import LostRowsError
from pipeline_assets.postgres import leave_server
from pipeline_assets.settings import Settings
from pipeline_assets.storage.opening import open_store
from pipeline_assets.tables.spec import EVENTS
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, FIRST_DAY, Deployment, differences, failed
from pipeline_assets_tests.end_to_end.refreshing import kill_postgres, start_refresh
from pipeline_assets_tests.storage.object_store import SECRET, in_environment, new_bucket

pytestmark = pytest.mark.exhaustive

CONFIG = DemoConfig(days=4, visitors=40, faults=replace(Faults().divided(60), app_malformed={}))


@dataclass(frozen=True)
class Place:
    """A data folder with landing and lake in an object store.

    Attributes:
        settings: of the deployment.
        variables: by which another process finds it.
    """

    settings: Settings
    variables: dict[str, str]

    def deliver(self, files: Iterable[DemoFile]) -> None:
        """Put files into landing."""
        landing = open_store(self.settings.landing_url)
        for file in files:
            file.put(landing)

    def refresh(self, *, tables: tuple[str, ...] = BACKBONE_TABLES) -> tuple[int, str]:
        """Refresh in a process of its own; its exit code, and all that it has said so far."""
        folder = self.settings.data_dir
        process = start_refresh(folder, tables=tables, variables=self.variables)
        process.join()
        assert process.exitcode is not None
        return process.exitcode, (folder / "refresh.log").read_text()


@pytest.fixture
def new_place(object_store: dict[str, str], tmp_path: Path) -> Iterator[type[Place]]:
    """A function that makes an empty deployment in a bucket of its own."""
    folders: list[Path] = []

    def make(**changes: object) -> Place:
        # Root's embedded server runs as another user, who may not look into pytest's folders.
        folder = Path(tempfile.mkdtemp(prefix="pipeline-objects-"))
        folders.append(folder)
        bucket = new_bucket(object_store)
        urls = {"landing_url": f"s3://{bucket}/land ing", "lake_url": f"s3://{bucket}/lake é"}
        changes = {"tables": BACKBONE_TABLES, "first_day": FIRST_DAY, **urls, **changes}
        variables = {"PIPELINE_LANDING_URL": urls["landing_url"], "PIPELINE_LAKE_URL": urls["lake_url"]}
        return Place(Settings.for_data_dir(folder, **changes), object_store | variables)

    with in_environment(object_store, home=tmp_path):
        try:
            yield make  # ty: ignore[invalid-yield]
        finally:
            for folder in folders:
                leave_server(Settings.for_data_dir(folder))
                kill_postgres(folder)
                shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def demo() -> Demo:
    """Files of some days, and what is late."""
    return build_demo(CONFIG)


@pytest.fixture(scope="module")
def expected(demo: Demo) -> dict[str, pl.DataFrame]:
    """The tables of local folders."""
    return local_tables(demo, BACKBONE_TABLES)


def local_tables(demo: Demo, tables: tuple[str, ...]) -> dict[str, pl.DataFrame]:
    folder = Path(tempfile.mkdtemp(prefix="pipeline-objects-"))
    settings = Settings.for_data_dir(folder, tables=tables, first_day=FIRST_DAY)
    try:
        demo.write(settings.landing_dir)
        demo.write_late_files(settings.landing_dir)
        with dg.DagsterInstance.ephemeral() as instance, closing(Deployment(settings, instance)) as deployment:
            deployment.refreshed()
            return deployment.everything()
    finally:
        leave_server(settings)
        kill_postgres(folder)
        shutil.rmtree(folder, ignore_errors=True)


def require_equal(place: Place, expected: dict[str, pl.DataFrame]) -> None:
    """The tables are those expected, every check passes, nothing is pending and nothing lies on a local disk."""
    with dg.DagsterInstance.ephemeral() as instance, closing(Deployment(place.settings, instance)) as deployment:
        assert deployment.check_everything() == []
        assert differences(deployment.everything(), expected) == {}
        assert deployment.is_settled()
    folder = place.settings.data_dir
    assert not {path.name for path in folder.iterdir()} & {"lake", "landing"}
    assert [path for path in place.settings.scratch_dir.rglob("*") if path.is_file()] == []


def test_the_whole_demo_with_what_is_late_gives_the_tables_of_local_folders(new_place, demo: Demo) -> None:
    place = new_place(tables=())
    place.deliver(demo.files)
    code, log = place.refresh(tables=())
    assert code == 0, log[-3000:]
    place.deliver(demo.late_files)
    code, log = place.refresh(tables=())
    assert code == 0, log[-3000:]
    assert SECRET not in log
    require_equal(place, local_tables(demo, ()))


@pytest.fixture
def built(new_place, demo: Demo) -> Iterator[Deployment]:
    """A deployment with all tables."""
    place = new_place()
    place.deliver([*demo.files, *demo.late_files])
    with dg.DagsterInstance.ephemeral() as instance, closing(Deployment(place.settings, instance)) as deployment:
        deployment.refreshed()
        yield deployment


def named(deployment: Deployment, asset: str) -> str:
    """The name of a listed file."""
    query = "select min(name) from ledger.lake_files where asset = :asset and dropped_at is null"
    return deployment.value(query, asset=asset)


@pytest.mark.parametrize("asset", ["events", "staging/web"])
@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "replaced"])
def test_an_object_of_the_lake_that_is_lost_or_replaced_is_told_by_its_name_and_made_again(
    built: Deployment, expected: dict[str, pl.DataFrame], asset: str, is_there: bool
) -> None:
    store = built.platform.lake.store
    name = named(built, asset)
    store.delete([name])
    if is_there:
        store.put(name, b"PAR1 something else PAR1")
    staged = built.platform.files.staged_files(["web"], date.min, date.max)
    days = sorted({each.event_date for each in staged})
    with pytest.raises(LostRowsError, match=re.escape(name)) as told:
        built.platform.listed(asset, days) if asset == EVENTS else built.platform.require_staged(staged)
    assert SECRET not in str(told.value)
    report = built.refresh()
    assert (report.failures, report.failed_runs, failed(report.failed_checks)) == ([], [], [])
    assert built.is_settled()
    assert differences(built.everything(), expected) == {}


def test_a_file_of_landing_that_is_replaced_supersedes_itself(built: Deployment, demo: Demo) -> None:
    landing = open_store(built.settings.landing_url)
    web = next(file for file in demo.files if file.path.endswith(".jsonl"))
    before = built.value("select count(*) from ledger.files where newest and path = :path", path=web.path)
    landing.delete([web.path])
    landing.put(web.path, web.content[: web.content.index(b"\n") + 1])
    assert built.refresh().failed_runs == []
    query = "select lines from ledger.files where newest and path = :path"
    assert (before, built.value(query, path=web.path)) == (1, 1)


def test_a_store_that_does_not_answer_ends_a_refresh_with_what_to_do(new_place, demo: Demo) -> None:
    place = new_place()
    place.deliver(demo.files)
    assert place.refresh()[0] == 0
    gone = replace(place, variables=place.variables | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    code, log = gone.refresh()
    assert code == 1
    assert "cannot be reached" in log
    assert "Traceback" not in log
    assert SECRET not in log
