"""A refresh that is killed at any moment and run again leaves the tables of one that was not."""

import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.demo.generator import Demo, DemoConfig, Faults, build_demo
from pipeline_assets.settings import Settings
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, FIRST_DAY, Deployment, differences
from pipeline_assets_tests.end_to_end.durable_steps import Halt
from pipeline_assets_tests.end_to_end.killing import new_folder
from pipeline_assets_tests.end_to_end.refreshing import kill, kill_postgres, start_refresh, warm_up

RANDOM_MOMENTS = 24
MART = "commit by io_managers.marts"
SHARES = 4
# Loading and building dominate however few events there are, so few are enough.
# The app sends so little then that a single bad line would be more than declared.
CONFIG = DemoConfig(days=4, visitors=40, faults=replace(Faults().divided(60), app_malformed={}))


@dataclass(frozen=True)
class CleanRun:
    """What an undisturbed refresh does: its tables, and how long it takes.

    Attributes:
        demo: the files.
        empty: a data folder whose server and tables exist, and nothing else.
        first_seconds: how long it took to make that.
        tables: all tables after the refresh.
        seconds: how long the refresh takes from there.
    """

    demo: Demo
    empty: Path
    first_seconds: float
    tables: dict[str, pl.DataFrame]
    seconds: float


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder for a deployment."""
    with new_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def clean_run() -> Iterator[CleanRun]:
    """An undisturbed refresh of the same files."""
    demo = build_demo(CONFIG)
    warm_up()
    with new_folder() as empty:
        first_seconds = finished_refresh(empty)
        # A copy of a server that runs would take that server for its own.
        assert not (empty / "postgres" / "postmaster.pid").exists()
        with new_folder() as folder:
            prepare(folder, demo, empty)
            seconds = finished_refresh(folder)
            tables, _, _ = state(folder)
        yield CleanRun(demo, empty, first_seconds, tables, seconds)


def finished_refresh(folder: Path, what: str = "", *, tables: tuple[str, ...] = BACKBONE_TABLES) -> float:
    """Refresh and expect success; seconds it took."""
    begun = time.monotonic()
    process = start_refresh(folder, tables=tables)
    process.join()
    assert process.exitcode == 0, f"{what}\n{(folder / 'refresh.log').read_text()[-2000:]}"
    return time.monotonic() - begun


def prepare(folder: Path, demo: Demo, empty: Path | None = None) -> None:
    """Put everything into landing; copy the server and the lake of an empty data folder, if one is given."""
    if empty:
        # With owners: root's server runs as another user.
        subprocess.run(["cp", "-a", f"{empty}/postgres", f"{empty}/lake", str(folder)], check=True)
    landing = Settings.for_data_dir(folder).landing_dir
    demo.write(landing)
    demo.write_late_files(landing)


def state(
    folder: Path, tables: tuple[str, ...] = BACKBONE_TABLES, *, checks: bool = True
) -> tuple[dict[str, pl.DataFrame], list[str], bool]:
    """All tables, the checks that fail, and whether nothing is pending, stale or out of balance."""
    with dg.DagsterInstance.ephemeral() as instance:
        deployment = Deployment(Settings.for_data_dir(folder, tables=tables, first_day=FIRST_DAY), instance)
        failing = deployment.check_everything() if checks else []
        found = deployment.everything(), failing, deployment.is_settled()
        deployment.close()
    return found


@dataclass(frozen=True)
class Moment:
    """When a refresh is killed.

    Attributes:
        fraction: of the time that a whole refresh takes.
        from_nothing: whether not even the server's folder exists before.
        with_postgres: whether PostgreSQL is killed too.
    """

    fraction: float
    from_nothing: bool
    with_postgres: bool


# One in each phase: the creation of the server and of all tables, loads, builds, checks. The first is one at which a
# refresh was once not made good.
FIXED_MOMENTS = (
    [
        Moment(0.305162389995559, from_nothing=True, with_postgres=True),
        Moment(0.5, from_nothing=False, with_postgres=True),
        Moment(0.7, from_nothing=False, with_postgres=True),
    ],
    [
        Moment(0.15, from_nothing=True, with_postgres=False),
        Moment(0.4, from_nothing=False, with_postgres=False),
        Moment(0.85, from_nothing=False, with_postgres=False),
    ],
)


def random_moments(seed: int, share: int) -> list[Moment]:
    """This share's moments.

    There is one in every part of the time, so that all phases are hit. Every share has its part of every phase.
    """
    random_ = random.Random(seed)
    drawn = [
        Moment((number + random_.random()) / RANDOM_MOMENTS, number % 5 == 1, random_.random() < 0.4)
        for number in range(RANDOM_MOMENTS)
    ]
    return drawn[share::SHARES]


def kill_at_each(moments: Sequence[Moment], clean_run: CleanRun, what: str) -> None:
    """Kill a refresh at each moment, run it again, and compare."""
    killed = 0
    for moment in moments:
        with new_folder() as folder:
            prepare(folder, clean_run.demo, None if moment.from_nothing else clean_run.empty)
            whole = clean_run.seconds + (clean_run.first_seconds if moment.from_nothing else 0)
            process = start_refresh(folder)
            time.sleep(moment.fraction * whole)
            killed += kill(process)
            if moment.with_postgres:
                kill_postgres(folder)
            finished_refresh(folder, f"{moment} {what}")
            # The checks were part of the refresh, which would have failed with them.
            tables, _, settled = state(folder, checks=False)
            assert differences(tables, clean_run.tables) == {}, (moment, what)
            assert settled, (moment, what)
    # On a busy machine the measured run may have been slow, and some of these are over before their moment.
    assert killed >= len(moments) // 2, what


@pytest.mark.exhaustive
@pytest.mark.parametrize("moments", FIXED_MOMENTS, ids=["with PostgreSQL", "alone"])
def test_a_refresh_killed_at_a_moment_and_run_again_gives_the_tables_of_one_that_was_not(
    moments: Sequence[Moment], clean_run: CleanRun
) -> None:
    kill_at_each(moments, clean_run, "")


@pytest.mark.exhaustive
@pytest.mark.parametrize("share", range(SHARES))
def test_a_refresh_killed_at_any_moment_and_run_again_gives_the_tables_of_one_that_was_not(
    share: int, clean_run: CleanRun, pytestconfig: pytest.Config
) -> None:
    seed = pytestconfig.getoption("crash_seed")
    kill_at_each(random_moments(seed, share), clean_run, f"(--crash-seed {seed})")


@pytest.mark.exhaustive
def test_a_refresh_whose_server_is_killed_ends_and_says_so_and_the_next_one_gives_the_same_tables(
    clean_run: CleanRun, data_dir: Path
) -> None:
    prepare(data_dir, clean_run.demo, clean_run.empty)
    process = start_refresh(data_dir, Halt(1, MART), kills_postgres=True)
    process.join()
    assert process.exitcode == 1
    log = (data_dir / "refresh.log").read_text()
    assert "PostgreSQL ended the connection" in log or "failed." in log
    assert "Traceback" not in log
    finished_refresh(data_dir)
    tables, failing, settled = state(data_dir)
    assert differences(tables, clean_run.tables) == {}
    assert (failing, settled) == ([], True)


# What a table without partitions says of other tables' days must count together with its rows.
WHO_IS_WHOM = Halt(4, MART)


@pytest.mark.exhaustive
def test_a_refresh_of_the_whole_model_killed_and_run_again_gives_the_same_tables(clean_run: CleanRun) -> None:
    expected: dict[str, pl.DataFrame] = {}
    for point in (None, WHO_IS_WHOM):
        with new_folder() as folder:
            prepare(folder, clean_run.demo, clean_run.empty)
            if point:
                process = start_refresh(folder, point, tables=())
                process.join()
                assert process.exitcode == -signal.SIGKILL
            finished_refresh(folder, tables=())
            tables, failing, settled = state(folder, ())
            expected = expected or tables
            assert differences(tables, expected) == {}
            assert (failing, settled) == ([], True)


@pytest.mark.exhaustive
def test_a_refresh_killed_again_and_again_comes_to_an_end(clean_run: CleanRun, data_dir: Path) -> None:
    prepare(data_dir, clean_run.demo, clean_run.empty)
    random_ = random.Random(4)
    for _ in range(3):
        process = start_refresh(data_dir)
        time.sleep(random_.uniform(0.3, 0.8) * clean_run.seconds)
        kill(process)
    finished_refresh(data_dir)
    tables, failing, settled = state(data_dir)
    assert differences(tables, clean_run.tables) == {}
    assert (failing, settled) == ([], True)
