"""What counts as a step that leaves something behind: the kill tests are worth what this finds."""

import multiprocessing
import os
import shutil
import signal
from contextlib import closing
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import pytest
import sqlalchemy as sa

from pipeline_assets.postgres import connect
from pipeline_assets.postgres_urls import adbc_url, sqlalchemy_url
from pipeline_assets.settings import Settings
from pipeline_assets.storage.local import LocalStore
from pipeline_assets_tests.end_to_end.durable_steps import DurableSteps, Halt, read_steps
from pipeline_assets_tests.end_to_end.killing import Prepared

CONTEXT = multiprocessing.get_context("spawn")


def start(folder: Path, url: str, halt: Halt | None = None) -> multiprocessing.process.BaseProcess:
    process = CONTEXT.Process(target=leave_something_behind, args=(folder, url, halt))
    process.start()
    return process


def leave_something_behind(folder: Path, url: str, halt: Halt | None) -> None:
    os.setsid()
    store, elsewhere = LocalStore(folder / "lake"), LocalStore(folder / "elsewhere")
    DurableSteps([store.root], folder / "steps.log", halt).count()
    for place in (store, elsewhere):
        place.put("a/b", b"")
        shutil.rmtree(place.root / "a")
        place.delete(["never there"])
    write, read = "create table {} (number int)", "select 1"
    for driver in ("psycopg", "psycopg2"):
        engine = sa.create_engine(sqlalchemy_url(url, driver), poolclass=sa.NullPool)
        for statement in (read, write.format(driver)):
            with engine.begin() as connection:
                connection.execute(sa.text(statement))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(read))
            connection.execute(sa.text(f"insert into {driver} values (1)"))
    with closing(adbc.connect(adbc_url(url))) as connection, connection.cursor() as cursor:
        for statement in (read, write.format("adbc")):
            cursor.execute(statement)
            connection.commit()
        cursor.execute(write.format("taken_back"))
        connection.rollback()


EXPECTED = ["mkdir", "mkdir", "mkdir", "link", "unlink", "unlink", "rmdir", *["commit", "execute"] * 2, "commit"]


def test_names_objects_and_transactions_count_that_change_something(tmp_path: Path, postgres_url: str) -> None:
    process = start(tmp_path, postgres_url)
    process.join()
    assert process.exitcode == 0
    steps = read_steps(tmp_path / "steps.log")
    assert [step.split(" by ")[0] for step in steps] == EXPECTED
    # Storage is only how something is done; here is nobody who asks for it.
    assert {step.split(" by ")[1] for step in steps} == {"nobody"}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("driver", ["psycopg", "adbc"])
def test_a_process_is_killed_just_before_or_after_a_step(
    tmp_path: Path, postgres_url: str, driver: str, after: bool
) -> None:
    process = start(tmp_path, postgres_url, Halt({"psycopg": 1, "adbc": 3}[driver], "commit", after=after))
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with connect(postgres_url) as connection:
        query = "select to_regclass(%s) is not null"
        assert connection.execute(query, [driver]).fetchone() == (after,)


def test_every_kind_of_step_is_met_though_one_is_named_like_the_beginning_of_another(tmp_path: Path) -> None:
    inner, outer, other = "commit by a.f.<locals>.g", "commit by a.f", "put by a.f"
    steps = [inner, inner, outer, other, inner, outer, outer]
    work = Prepared(Settings.for_data_dir(tmp_path))
    vars(work)["_done"] = (steps, None, None)
    halts = work.kinds(0, 1)
    assert [halt.kind for halt in halts] == [inner, inner, outer, outer, other]
    halted: list[int] = []
    for halt in halts:
        worker = DurableSteps([], tmp_path / "steps.log", halt)
        (place,) = (place for place, step in enumerate(steps) if worker._begin(step) is halt)
        assert steps[place] == halt.kind
        halted.append(place)
    assert halted == [0, 4, 2, 6, 3]
