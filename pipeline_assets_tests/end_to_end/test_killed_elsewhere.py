"""Every kind of step again, on other servers and stores, and beside a second worker."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess

import psutil
import pytest

from pipeline_assets.postgres import connect, server_url
from pipeline_assets_tests.end_to_end.durable_steps import Halt
from pipeline_assets_tests.end_to_end.killing import (
    LIMIT_SECONDS,
    Copy,
    Prepared,
    half_done,
    kill_and_go_on,
    prepared,
    require_done,
)
from pipeline_assets_tests.storage.object_store import in_environment

pytestmark = pytest.mark.exhaustive

SHARES = 4
PLACES = {
    "external server": {"server"},
    "object store": {"store"},
    "external server, nothing done yet": {"server", "is_new"},
}


@pytest.fixture(scope="module", params=list(PLACES.values()), ids=list(PLACES))
def elsewhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """On another server than the embedded one, in an object store, or before anything was done."""
    server = request.getfixturevalue("external_url") if "server" in request.param else None
    store = request.getfixturevalue("object_store") if "store" in request.param else {}
    with (
        in_environment(store, home=tmp_path_factory.mktemp("home")),
        prepared(server=server, store=store, is_new="is_new" in request.param) as deployment,
    ):
        yield deployment


@pytest.mark.parametrize("share", range(SHARES))
def test_work_killed_at_any_kind_of_step_is_never_seen_half_done_and_ends_the_same(
    elsewhere: Prepared, share: int, record_property: Callable[[str, object], None]
) -> None:
    killed = [kill_and_go_on(elsewhere, halt) for halt in elsewhere.kinds(0.5)[share::SHARES]]
    record_property("steps", len(elsewhere.steps))
    record_property("killed", killed)


@pytest.fixture(scope="module")
def work() -> Iterator[Prepared]:
    """The embedded server, local folders."""
    with prepared() as deployment:
        yield deployment


def test_work_on_what_is_there_ends_with_the_tables_of_a_clean_load(work: Prepared) -> None:
    with prepared(is_new=True) as clean:
        assert clean.new.mistakes(work.new, work.new) == []


@pytest.mark.parametrize("share", range(SHARES))
def test_who_is_overtaken_while_it_sleeps_publishes_nothing_old(
    work: Prepared, share: int, record_property: Callable[[str, object], None]
) -> None:
    overtaken = []
    for halt in work.kinds(0.5)[share::SHARES]:
        # After a step nothing is locked, so that the other, who waits for nobody's turn, can go through.
        asleep = Halt(halt.number, halt.kind, after=True, by=signal.SIGSTOP)
        with work.copy() as copy:
            first = copy.start(asleep)
            await_sleep(first, asleep, copy)
            overtaken.append(copy.steps[-1])
            second = copy.start(waits=False)
            second.join(LIMIT_SECONDS)
            assert second.exitcode in (0, 3), (asleep, copy.log)
            with copy.opened() as deployment:
                require_done(deployment, work)
                os.kill(first.pid, signal.SIGCONT)
                first.join(LIMIT_SECONDS)
                assert first.exitcode is not None, (asleep, copy.log)
                assert half_done(deployment, work.new, work.new) == [], (asleep, copy.log)
                assert deployment.refresh().failures == [], asleep
                require_done(deployment, work)
    record_property("overtaken", overtaken)


@pytest.mark.parametrize("share", range(SHARES))
def test_who_waits_for_one_that_is_killed_does_the_work(
    work: Prepared, share: int, record_property: Callable[[str, object], None]
) -> None:
    killed = []
    for halt in work.kinds(0.5)[share::SHARES]:
        asleep = Halt(halt.number, halt.kind, by=signal.SIGSTOP)
        with work.copy() as copy:
            first = copy.start(asleep)
            await_sleep(first, asleep, copy)
            killed.append(copy.steps[-1])
            second = copy.start()
            await_condition(lambda second=second, copy=copy: not second.is_alive() or waits(copy))
            os.killpg(first.pid, signal.SIGKILL)
            second.join(LIMIT_SECONDS)
            assert second.exitcode in (0, 3), (asleep, copy.log)
            with copy.opened() as deployment:
                assert deployment.refresh().failures == [], asleep
                require_done(deployment, work)
    record_property("killed", killed)


def await_condition(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    until = time.monotonic() + LIMIT_SECONDS
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def await_sleep(process: ForkServerProcess, halt: Halt, copy: Copy) -> None:
    """Wait until a process has stopped itself."""
    of_system = psutil.Process(process.pid)
    await_condition(lambda: not process.is_alive() or of_system.status() == psutil.STATUS_STOPPED)
    assert process.is_alive(), (halt, process.exitcode, copy.log)


def waits(copy: Copy) -> bool:
    """Whether somebody says that it waits, or waits for a lock of PostgreSQL."""
    if "Waiting for" in copy.log:
        return True
    with connect(server_url(copy.settings), autocommit=True) as connection:
        query = "select exists (select from pg_stat_activity where wait_event_type = 'Lock')"
        return bool(connection.execute(query).fetchone()[0])  # ty: ignore[not-subscriptable]
