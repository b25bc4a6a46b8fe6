"""Processes take turns and prove that they live by locks that die with them."""

import logging
import os
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline_assets import locks
from pipeline_assets.locks import RunLocks, executing, run_lock, this_process, turn
from pipeline_assets.postgres import connect
from pipeline_assets.waiting import Wait, WaitedTooLong


@pytest.fixture(autouse=True)
def server_is_not_young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_YOUNG_SERVER_SECONDS", 0)


@pytest.fixture
def run_locks(postgres_url: str) -> Iterator[RunLocks]:
    made = RunLocks(postgres_url)
    yield made
    for run_id in ("one", "two", "three"):
        made.release(run_id)


def end_connections(url: str) -> int:
    """End every connection that holds a lock, as a restart of the server does."""
    with connect(url, autocommit=True) as connection:
        query = (
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s "
            "and datname = current_database()"
        )
        return len(connection.execute(query, [this_process()]).fetchall())


# --- Runs ---------------------------------------------------------------------------------------------


def test_a_run_is_executed_by_whoever_holds_its_lock(postgres_url: str, run_locks: RunLocks) -> None:
    assert executing(postgres_url, []) == {}
    run_locks.take("one")
    run_locks.take("two")
    found = executing(postgres_url, ["one", "two", "three"])
    assert set(found) == {"one", "two"}
    assert str(found["one"]).startswith(f"process {os.getpid()} on ")
    run_locks.release("one")
    assert set(executing(postgres_url, ["one", "two", "three"])) == {"two"}


def test_locks_of_another_database_say_nothing(postgres_url: str, postgres_server: str, run_locks: RunLocks) -> None:
    run_locks.take("one")
    assert executing(postgres_server, ["one"]) == {}


def test_an_ordinary_user_of_the_server_sees_who_lives(postgres_url: str, run_locks: RunLocks) -> None:
    role = f"plain_{os.getpid()}_{time.time_ns()}"
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create role {role} login".encode())
    plain = postgres_url.replace("postgres@", f"{role}@", 1)
    own = RunLocks(plain)
    own.take("two")
    run_locks.take("one")
    found = {run_id: str(holder) for run_id, holder in executing(plain, ["one", "two", "three"]).items()}
    own.release("two")
    # Since when is kept from other users.
    assert found["one"] == this_process()
    assert found["two"].startswith(f"{this_process()} since 2")
    assert len(found) == 2


def test_a_worker_whose_connection_is_lost_takes_its_locks_again(postgres_url: str, run_locks: RunLocks) -> None:
    run_locks.take("one")
    run_locks.take("two")
    assert end_connections(postgres_url) == 1
    deadline = time.monotonic() + 20
    while set(executing(postgres_url, ["one", "two", "three"])) != {"one", "two"}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run_locks.take("three")
    assert set(executing(postgres_url, ["one", "two", "three"])) == {"one", "two", "three"}


def test_two_connections_of_one_worker_do_not_wait_for_each_other(postgres_url: str, run_locks: RunLocks) -> None:
    # The server has not noticed yet that the old connection is gone.
    old = RunLocks(postgres_url)
    old.take("one")
    run_locks.take("one")
    old.release("one")
    assert set(executing(postgres_url, ["one"])) == {"one"}


def test_nobody_is_declared_dead_by_a_server_that_has_just_started(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_YOUNG_SERVER_SECONDS", 10**9)
    assert executing(postgres_url, ["one"]) == {"one": None}


# --- Turns --------------------------------------------------------------------------------------------


def test_one_after_the_other_gets_a_turn(postgres_url: str) -> None:
    inside: list[int] = []
    most: list[int] = []

    def take(number: int) -> None:
        with turn(postgres_url, "it", "the others", limit=60):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.02)
            inside.remove(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


def test_who_waits_says_for_whom_and_since_when_and_not_for_ever(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        turn(postgres_url, "it", "the others", limit=60),
        pytest.raises(WaitedTooLong, match=rf"for the others, in vain. It is held by {this_process()} since 2"),
        turn(postgres_url, "it", "the others", limit=0.3, told_after=0),
    ):
        pass
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"Waiting for the others: {this_process()} since 2" in caplog.text
    with turn(postgres_url, "it", "the others", limit=60):
        pass


def test_a_turn_ends_with_the_connection_of_its_holder(postgres_url: str) -> None:
    with turn(postgres_url, run_lock("x"), "the others", limit=60):
        end_connections(postgres_url)
        with turn(postgres_url, run_lock("x"), "the others", limit=60):
            pass


def test_a_wait_is_told_once_at_first_and_then_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("pipeline_assets.waiting.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("pipeline_assets.waiting.time.sleep", lambda _: None)
    wait = Wait("rain", 300, told_after=0)
    while not wait.over:
        wait.pause(1)
    assert 5 <= len(caplog.records) <= 11
    assert caplog.messages[0].startswith("Waiting for rain (")
    assert caplog.messages[0].endswith("at most 300 s).")
