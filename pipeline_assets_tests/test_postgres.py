"""The embedded server survives kills at any moment; an external one is used where a URL is given."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import sqlalchemy as sa
from psycopg.pq import PGconn, Ping
from sqlalchemy.exc import DBAPIError

from pipeline_assets import waiting
from pipeline_assets.postgres import (
    EmbeddedServer,
    PostgresError,
    connect,
    is_lost,
    leave_server,
    let_server_stay,
    libpq_url,
    redacted,
    server_url,
    sqlalchemy_url,
)
from pipeline_assets.settings import PROJECT_ROOT, Settings

USER = """
import sys, time
from pathlib import Path
from pipeline_assets.postgres import connect, server_url
from pipeline_assets.settings import Settings
url = server_url(Settings.for_data_dir(Path(sys.argv[1])))
with connect(url) as connection:
    connection.execute(sys.argv[2])
print(url, flush=True)
time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tests-"))
    yield folder
    leave_server(Settings.for_data_dir(folder))
    kill_server(folder)
    shutil.rmtree(folder, ignore_errors=True)


def user(data_dir: Path, statement: str = "select 1", seconds: float = 0) -> "subprocess.Popen[str]":
    """A process of its own that uses the server of `data_dir`."""
    command = [sys.executable, "-c", USER, str(data_dir), statement, str(seconds)]
    return subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)


def server_processes(data_dir: Path) -> list[psutil.Process]:
    """Every living PostgreSQL process of the folder."""
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] in ("postgres", "initdb", "pg_ctl") and process.status() != psutil.STATUS_ZOMBIE:
                inside = Path(process.cwd()).is_relative_to(data_dir)
                if inside or any(str(data_dir) in argument for argument in process.cmdline()):
                    found.append(process)
        except psutil.Error:
            pass
    return found


def kill_server(data_dir: Path) -> None:
    for process in server_processes(data_dir):
        # It may end by itself meanwhile.
        with suppress(psutil.NoSuchProcess):
            process.kill()


def wait_until_stopped(data_dir: Path) -> None:
    deadline = time.monotonic() + 20
    while server_processes(data_dir):
        assert time.monotonic() < deadline, "the server was not stopped"
        time.sleep(0.1)


def query(data_dir: Path, statement: str) -> list[tuple]:
    with connect(server_url(Settings.for_data_dir(data_dir))) as connection:
        return connection.execute(statement).fetchall()  # ty: ignore[no-matching-overload]


def finished(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.strip()


# --- The embedded server ------------------------------------------------------------------------------


def test_processes_that_start_at_once_share_one_server_and_the_last_one_stops_it(data_dir: Path):
    users = [user(data_dir, seconds=0.5) for _ in range(5)]
    assert len({finished(process) for process in users}) == 1
    locks = ["postgres.lock", "postgres.server", "postgres.users"]
    assert sorted(path.name for path in data_dir.iterdir()) == ["postgres", *locks]
    wait_until_stopped(data_dir)


def test_no_process_is_left_without_a_server_while_others_come_and_go(data_dir: Path):
    finished(user(data_dir, "create table n (i int)"))
    for process in [user(data_dir, "insert into n values (1)") for _ in range(9)]:
        finished(process)
    assert query(data_dir, "select count(*) from n") == [(9,)]


def test_data_survives_a_kill_of_everything(data_dir: Path):
    process = user(data_dir, "create table t as select generate_series(1, 1000) i", seconds=60)
    assert process.stdout is not None
    assert process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    kill_server(data_dir)
    process.communicate()
    assert query(data_dir, "select count(*) from t") == [(1000,)]


@pytest.mark.parametrize("seconds", [0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2])
def test_a_kill_at_any_moment_of_the_first_start_leaves_nothing_broken(data_dir: Path, seconds: float):
    process = user(data_dir, seconds=60)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    kill_server(data_dir)
    process.communicate()
    assert query(data_dir, "select 1") == [(1,)]
    assert not list(data_dir.glob("*initdb*"))


def busy_server(data_dir: Path) -> tuple[EmbeddedServer, psycopg.Connection, psutil.Process]:
    """A server that has much to recover from when it is killed, a connection, and its main process."""
    server = EmbeddedServer(data_dir / "postgres")
    server.join()
    connection = connect(server.url, autocommit=True)
    connection.execute("create table if not exists t (i int)")
    connection.execute("insert into t select generate_series(1, 300000)")
    main = psutil.Process(int((data_dir / "postgres/postmaster.pid").read_text().split()[0]))
    return server, connection, main


def wait_until_it_recovers(server: EmbeddedServer) -> None:
    deadline = time.monotonic() + 20
    while PGconn.ping(server.url.encode()) == Ping.OK:
        assert time.monotonic() < deadline, "the server did not notice that one of its processes was killed"


def test_a_server_that_recovers_from_a_killed_backend_when_its_last_user_leaves_is_stopped(data_dir: Path):
    for moment in (None, 0.1):
        server, connection, _ = busy_server(data_dir)
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        if moment is None:
            wait_until_it_recovers(server)
        time.sleep(moment or 0)
        server.leave()
        wait_until_stopped(data_dir)
    assert query(data_dir, "select count(*) from t") == [(600_000,)]


@pytest.mark.exhaustive
def test_a_server_that_was_told_to_stop_while_it_recovers_is_started_again(data_dir: Path):
    server, connection, main = busy_server(data_dir)
    os.kill(connection.info.backend_pid, signal.SIGKILL)
    wait_until_it_recovers(server)
    # PostgreSQL then hangs more often than not, in the state "stopping".
    main.send_signal(signal.SIGINT)
    assert query(data_dir, "select count(*) from t") == [(300_000,)]


@pytest.mark.parametrize("which", ["postmaster", "checkpointer", "all children"])
def test_after_a_kill_of_any_process_of_the_server_the_next_start_finds_all_data(data_dir: Path, which: str):
    _, _, main = busy_server(data_dir)
    children = [child for child in main.children() if which in " ".join(child.cmdline())]
    for process in {"postmaster": [main], "all children": main.children()}.get(which, children):
        # The server ends the others when it notices the first.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert finished(user(data_dir, "insert into t values (0)"))
    assert query(data_dir, "select count(*) from t") == [(300_001,)]


@pytest.mark.exhaustive
def test_an_orphan_of_a_killed_server_keeps_its_lock_and_is_ended_by_the_next_start(data_dir: Path):
    server, _, main = busy_server(data_dir)
    orphan, *others = main.children()
    orphan.suspend()
    for process in [main, *others]:
        process.kill()
    psutil.wait_procs([main], timeout=10)
    (data_dir / "postgres/postmaster.pid").unlink()
    with (data_dir / "postgres.server").open("r+") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    EmbeddedServer(server.folder).join()
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("seconds", [0, 0.05, 0.2])
def test_a_kill_at_any_moment_of_the_last_users_end_leaves_nothing_broken(data_dir: Path, seconds: float):
    finished(user(data_dir, "create table t as select generate_series(1, 1000) i"))
    process = user(data_dir)
    assert process.stdout is not None
    assert process.stdout.readline()
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert query(data_dir, "select count(*) from t") == [(1000,)]


def test_a_folder_whose_server_is_in_another_container_is_not_given_a_second_server(data_dir: Path):
    finished(user(data_dir))
    # The lock that the processes of a server carry, wherever they are.
    with (data_dir / "postgres.server").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Without this file that server would end itself.
        (data_dir / "postgres/postmaster.pid").write_text("99999999\n")
        with pytest.raises(PostgresError, match="in another container"):
            EmbeddedServer(data_dir / "postgres").join()
        assert (data_dir / "postgres/postmaster.pid").exists()
    assert query(data_dir, "select 1") == [(1,)]


def test_who_waits_for_another_process_says_for_which_and_not_for_ever(
    data_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(waiting, "_FIRST_WORD", 0)
    this = f"process {os.getpid()} on {socket.gethostname()}"
    with (
        EmbeddedServer(data_dir / "postgres")._alone(1),
        pytest.raises(PostgresError, match=rf"{this}\) has held"),
        EmbeddedServer(data_dir / "postgres")._alone(0.3),
    ):
        pass
    assert f"starts or stops the embedded PostgreSQL server in {data_dir}/postgres: {this} (0 s" in caplog.text


def test_a_server_left_by_a_killed_user_is_joined_and_stopped_by_the_next(data_dir: Path):
    process = user(data_dir, seconds=60)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    postmaster = (data_dir / "postgres/postmaster.pid").read_text().splitlines()[0]
    process.kill()
    process.communicate()
    assert finished(user(data_dir)) == url
    assert not psutil.pid_exists(int(postmaster)) or psutil.Process(int(postmaster)).status() == psutil.STATUS_ZOMBIE
    wait_until_stopped(data_dir)


def test_a_server_whose_url_was_given_away_goes_on_until_it_is_told_to_stop(data_dir: Path):
    settings = Settings.for_data_dir(data_dir)
    let_server_stay(settings, True)
    leave_server(settings)
    url = finished(user(data_dir))
    with connect(url) as connection:
        connection.execute("select 1")
    let_server_stay(settings, False)
    leave_server(settings)
    wait_until_stopped(data_dir)


@pytest.mark.parametrize("content", ["{own}\n{folder}\n1\n5432\n{folder}\n\n0 0\nready\n", "", "12\n", "garbage\n"])
def test_a_pid_file_that_names_another_process_or_is_torn_is_not_believed(data_dir: Path, content: str):
    finished(user(data_dir, "create table t (i int)"))
    folder = data_dir / "postgres"
    # The number of a living process that is not PostgreSQL, owned by whoever runs the server.
    owner = folder.stat()
    identity = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    other = subprocess.Popen(["/bin/sleep", "60"], **identity)  # ty: ignore[no-matching-overload]
    try:
        (folder / "postmaster.pid").write_text(content.format(own=other.pid, folder=folder))
        (folder / ".handle_pids.json").write_text("[12, 3")
        assert query(data_dir, "select count(*) from t") == [(0,)]
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.exhaustive
def test_a_start_that_takes_longer_than_ten_seconds_is_waited_for(data_dir: Path):
    finished(user(data_dir, "create table t (i int)"))
    folder = data_dir / "postgres"
    # Recovery from an archive that takes its time to say that it has nothing.
    with (folder / "postgresql.auto.conf").open("a") as config:
        config.write("restore_command = 'sleep 6; false'\nhot_standby = off\n")
    (folder / "recovery.signal").touch()
    started = time.monotonic()
    assert query(data_dir, "select count(*) from t") == [(0,)]
    assert time.monotonic() - started > 10


def test_a_long_path_and_odd_characters_work(data_dir: Path):
    long = data_dir / ("x" * 110) / "ä, 'b"
    assert query(long, "show data_directory") == [(str(long / "postgres"),)]
    engine = sa.create_engine(sqlalchemy_url(server_url(Settings.for_data_dir(long)), "psycopg2"))
    with engine.connect() as connection:
        assert connection.execute(sa.text("select 1")).scalar() == 1
    engine.dispose()
    leave_server(Settings.for_data_dir(long))
    wait_until_stopped(data_dir)


def test_it_listens_on_its_private_socket_only_and_takes_many_connections(data_dir: Path):
    assert query(data_dir, "show listen_addresses") == [("",)]
    assert int(query(data_dir, "show max_connections")[0][0]) >= 200
    assert (data_dir / "postgres").stat().st_mode & 0o077 == 0


def test_a_folder_with_other_things_in_it_is_refused(data_dir: Path):
    (data_dir / "postgres").mkdir()
    (data_dir / "postgres/notes.txt").write_text("mine")
    with pytest.raises(PostgresError, match="neither empty nor a PostgreSQL folder"):
        EmbeddedServer(data_dir / "postgres").join()
    assert (data_dir / "postgres/notes.txt").read_text() == "mine"


def test_a_folder_of_an_unknown_version_is_refused(data_dir: Path):
    (data_dir / "postgres").mkdir()
    (data_dir / "postgres/PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match="made by PostgreSQL 9"):
        EmbeddedServer(data_dir / "postgres").join()


def test_a_server_that_cannot_start_says_why(data_dir: Path):
    finished(user(data_dir))
    with (data_dir / "postgres/postgresql.auto.conf").open("a") as config:
        config.write("max_connections = nonsense\n")
    with pytest.raises(PostgresError, match="nonsense"):
        EmbeddedServer(data_dir / "postgres").join()


# --- URLs ---------------------------------------------------------------------------------------------


def test_a_lost_connection_is_told_from_other_errors_of_any_driver(data_dir: Path):
    settings = Settings.for_data_dir(data_dir)
    for driver in ("psycopg", "psycopg2"):
        engine = sa.create_engine(sqlalchemy_url(server_url(settings), driver))
        with engine.connect() as connection:
            with pytest.raises(DBAPIError) as other:
                connection.execute(sa.text("select 1 / 0"))
            assert not is_lost(other.value)
            connection.rollback()
            pid = connection.execute(sa.text("select pg_backend_pid()")).scalar()
            query(data_dir, f"select pg_terminate_backend({pid})")
            with pytest.raises(DBAPIError) as lost:
                connection.execute(sa.text("select 1"))
            assert is_lost(lost.value)
        engine.dispose()
    assert not is_lost(ValueError())


def test_urls_take_the_form_a_driver_wants():
    assert sqlalchemy_url("postgres://u:p@h/d", "psycopg2").startswith("postgresql+psycopg2://u:p@h/d?")
    assert sqlalchemy_url("postgresql+psycopg2://u@h/d").startswith("postgresql+psycopg://u@h/d?")
    assert libpq_url("postgresql+psycopg://u@h/d") == "postgresql://u@h/d"
    with pytest.raises(PostgresError, match="must look like") as caught:
        libpq_url("u:secret@h")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@127.0.0.1:1/d",
        "postgresql://me:a@s3cret@127.0.0.1:1/d",
        "postgresql://me:a/s3cret@127.0.0.1:1/d",
        "postgresql://me:%73s3cret%40@127.0.0.1:1/d",
        "postgresql://me@127.0.0.1:1/d?password=s3cret&connect_timeout=1",
    ],
)
def test_an_unreachable_server_is_told_without_the_password(url: str):
    assert "s3cret" not in redacted(url)
    settings = Settings.for_data_dir(Path("/nowhere"), postgres_url=url)
    with pytest.raises(PostgresError, match="PIPELINE_POSTGRES_URL; unset it") as caught:
        server_url(settings)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


# --- An external server -------------------------------------------------------------------------------


def test_an_external_server_is_used_where_a_url_is_given_and_no_folder_is_made(external_url: str, tmp_path: Path):
    url = server_url(Settings.for_data_dir(tmp_path / "none", postgres_url=external_url))
    with connect(url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert not (tmp_path / "none").exists()


def test_a_wrong_password_of_an_external_server_is_told_without_it(external_url: str):
    wrong = external_url.replace("p%40ss", "wr0ng")
    with pytest.raises(PostgresError, match="password authentication failed") as caught:
        server_url(Settings.for_data_dir(Path("/nowhere"), postgres_url=wrong))
    assert "wr0ng" not in str(caught.value)


def test_dagster_runs_on_an_external_server(external_url: str, tmp_path: Path):
    import dagster as dg

    from pipeline_assets.dagster_storage import pipeline_instance

    @dg.asset
    def nothing() -> None: ...

    settings = Settings.for_data_dir(tmp_path, postgres_url=external_url)
    with pipeline_instance(settings) as instance:
        assert dg.materialize([nothing], instance=instance).success
        assert instance.get_runs_count() == 1
