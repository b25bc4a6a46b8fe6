"""Fixtures for all tests: a real PostgreSQL server, and a fresh database on it."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from pipeline_assets.postgres import connect, leave_server, server_url
from pipeline_assets.settings import Settings
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import Store
from pipeline_assets_tests.storage.azure_store import new_container, running_azurite
from pipeline_assets_tests.storage.object_store import in_environment, new_bucket, running_object_store

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("pipeline", deadline=None)
hypothesis.settings.load_profile("pipeline")

# A worker takes one module after the other. Those that take minutes come first, so that no worker is left with one of
# them while the others have nothing to do.
LONGEST_FIRST = (
    "ui/",
    "end_to_end/test_killed_",
    "end_to_end/test_crashes.py",
    "end_to_end/test_whole_model.py",
    "end_to_end/",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--crash-seed", type=int, help="Seed of the random moments at which the crash tests kill.")


def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed once; workers are given it with the other options."""
    if config.option.crash_seed is None:
        config.option.crash_seed = secrets.randbelow(10**6)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say the seed before anything can hang; a header would not be shown by `-q`."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(session.config, "workerinput"):
        terminal.write_line(f"random moments of the crash tests: --crash-seed {session.config.option.crash_seed}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests into the order in which their modules begin."""
    here = Path(__file__).parent

    def turn(item: pytest.Item) -> int:
        path = item.path.relative_to(here).as_posix()
        return next((turn for turn, start in enumerate(LONGEST_FIRST) if path.startswith(start)), len(LONGEST_FIRST))

    items.sort(key=turn)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of an embedded server that lives as long as the test session."""
    # Not below pytest's own folder: pytest takes everybody else's permissions from it, and root's server runs as
    # another user.
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tests-"))
    settings = Settings.for_data_dir(folder)
    try:
        url = server_url(settings)
        with connect(url, autocommit=True) as connection:
            # What is thrown away in the end need not survive a power cut.
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(f"alter system set {setting} = off")
            connection.execute("select pg_reload_conf()")
        yield url
    finally:
        leave_server(settings)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def new_database(postgres_server: str) -> Callable[[], str]:
    """A function that makes an empty database and returns its URL."""

    def make() -> str:
        name = f"test_{uuid.uuid4().hex}"
        with connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"create database {name}")  # ty: ignore[no-matching-overload]
        return postgres_server.replace("/postgres?", f"/{name}?", 1)

    return make


@pytest.fixture
def postgres_url(new_database: Callable[[], str]) -> str:
    """URL of an empty database for this test alone."""
    return new_database()


@pytest.fixture(scope="session")
def external_url() -> Iterator[str]:
    """A server of the system's PostgreSQL with a password, on a free port."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs:
        pytest.skip("no PostgreSQL of the system in /usr/lib/postgresql")
    try:
        account = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    binaries = programs[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="pipeline-tests-"))
    (folder / "password").write_text("p@ss/w:rd")
    for path in (folder, folder / "password"):
        os.chown(path, account.pw_uid, account.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()} if os.geteuid() == 0 else {}

    def run(*command: str) -> None:
        with (folder.parent / f"{folder.name}.log").open("w") as log:
            subprocess.run(command, check=True, cwd="/", stdout=log, stderr=log, **identity)  # ty: ignore[no-matching-overload]

    data = str(folder / "data")
    access = ("--auth=scram-sha-256", "--username=me", f"--pwfile={folder / 'password'}")
    run(str(binaries / "initdb"), "--pgdata", data, "--no-sync", *access)
    control = (str(binaries / "pg_ctl"), "--pgdata", data, "--wait", "--log", str(folder / "log"))
    run(*control, "--options", f"-h 127.0.0.1 -p {port} -k {folder}", "start")
    try:
        yield f"postgres://me:p%40ss%2Fw%3Ard@127.0.0.1:{port}/postgres"
    finally:
        run(*control, "--mode", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
        (folder.parent / f"{folder.name}.log").unlink()


@pytest.fixture(scope="session")
def object_store() -> Iterator[dict[str, str]]:
    """The variables by which a running object store is found."""
    with running_object_store() as variables:
        yield variables


@pytest.fixture
def s3(object_store: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """URL of a place in an empty bucket, which this process can reach."""
    with in_environment(object_store, home=tmp_path):
        yield f"s3://{new_bucket(object_store)}/a prefix/é[1]%20+"


@pytest.fixture(scope="session")
def azurite() -> Iterator[dict[str, str]]:
    """The variables by which a running Azure Blob Storage is found."""
    with running_azurite() as variables:
        yield variables


@pytest.fixture
def az(azurite: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """URL of a place in an empty container, which this process can reach."""
    with in_environment(azurite, home=tmp_path):
        yield f"az://{new_container(azurite)}/a prefix/é[1]%20+"


@pytest.fixture(params=["local", "s3", "az"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    folder = tmp_path / "a folder" / "é[1]%20+"
    return open_store(folder if request.param == "local" else request.getfixturevalue(request.param))
