"""Advisory locks of PostgreSQL: turns that processes take, and proofs that a process lives.

A lock belongs to a connection, and the server drops it when the process that holds the connection dies, on whatever
host or in whatever container it was. Host names and process ids are told to people; nothing is decided by them. No
Dagster here.
"""

import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from pipeline_assets.postgres import PostgresError, connect, libpq_url
from pipeline_assets.waiting import Wait, WaitedTooLong

_log = logging.getLogger(__name__)

# A peer that is gone without a word (a machine without power, a cable) is noticed within a minute, by the worker and by
# the server. Over a Unix socket the kernel tells at once, and these are without effect.
_IDLE, _INTERVAL, _PROBES = 20, 10, 3
_SERVER_SETTINGS = {
    "tcp_keepalives_idle": f"{_IDLE}",
    "tcp_keepalives_interval": f"{_INTERVAL}",
    "tcp_keepalives_count": f"{_PROBES}",
    "idle_session_timeout": "0",
    "statement_timeout": "0",
}
_CHECK_SECONDS = 5.0
_RECONNECT_SECONDS = 0.2
# What a server that has just (re)started knows of locks proves nothing yet: their holders are connecting again.
_YOUNG_SERVER_SECONDS = 3

_HOLDERS = """
    select wanted.name, coalesce(a.application_name, ''), a.backend_start
    from unnest(%(names)s::text[]) wanted(name)
    join pg_locks l on l.locktype = 'advisory' and l.objsubid = 1 and l.granted
      and l.database = (select oid from pg_database where datname = current_database())
      and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(wanted.name, 0)
    left join pg_stat_activity a on a.pid = l.pid
"""
# The checkpointer is started anew when the server recovers from a killed backend, and all locks are lost then too. Only
# a superuser, as of the embedded server, sees it.
_AGE = """
    select extract(epoch from now() - greatest(pg_postmaster_start_time(),
      (select max(backend_start) from pg_stat_activity where backend_type = 'checkpointer')))::float8
"""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, for people.

    Attributes:
        name: process and host, as far as the server tells.
        since: when its connection was made.
    """

    name: str
    since: datetime | None

    def __str__(self) -> str:
        """For messages."""
        since = f" since {self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        return f"{self.name or 'an unnamed process'}{since}"


def this_process() -> str:
    """Name of this process, for people; PostgreSQL shows it as the application's name."""
    return f"process {os.getpid()} on {socket.gethostname()}"[:63]


def holders(connection: psycopg.Connection, names: Iterable[str]) -> dict[str, Holder]:
    """Who holds which of the locks."""
    rows = connection.execute(_HOLDERS, {"names": list(names)}).fetchall()
    return {name: Holder(holder, since) for name, holder, since in rows}


def _lasting(url: str) -> psycopg.Connection:
    """A connection that both ends notice the loss of, and that nobody closes because nothing happens on it."""
    connection = connect(
        url,
        autocommit=True,
        application_name=this_process(),
        keepalives=1,
        keepalives_idle=_IDLE,
        keepalives_interval=_INTERVAL,
        keepalives_count=_PROBES,
    )
    for name, value in _SERVER_SETTINGS.items():
        connection.execute("select set_config(%s, %s, false)", [name, value])
    return connection


@contextmanager
def turn(url: str, name: str, what: str, *, limit: float, told_after: float | None = None) -> Generator[None]:
    """Hold a lock alone, as soon as nobody else does.

    Args:
        url: of the server.
        name: of the lock.
        what: completes "Waiting for …".
        limit: seconds to wait at most.
        told_after: seconds after which the first word about it is said, a few by default.

    Raises:
        WaitedTooLong: it was not free in time.
        PostgresError: the server cannot be reached.
    """
    query = "select pg_try_advisory_lock(hashtextextended(%s, 0))"
    # The lock is given back with the connection.
    with _lasting(url) as connection:
        take_turn(
            lambda: _value(connection.execute(query, [name])),
            what,
            limit=limit,
            told_after=told_after,
            holder=lambda: ", ".join(map(str, holders(connection, [name]).values())),
        )
        yield


def take_turn(
    take: Callable[[], object],
    what: str,
    *,
    limit: float,
    told_after: float | None = None,
    holder: Callable[[], str] = str,
) -> None:
    """Take a lock as soon as nobody else holds it, on a connection of the caller's.

    Args:
        take: tries to take it; true if that succeeded.
        what: completes "Waiting for …".
        limit: seconds to wait at most.
        told_after: seconds after which the first word about it is said, a few by default.
        holder: who holds it, for people.

    Raises:
        WaitedTooLong: it was not free in time.
    """
    wait = Wait(what, limit, told_after=told_after)
    pause = 0.01
    while not take():
        if wait.over:
            raise WaitedTooLong(
                f"Waited {limit:.0f} seconds for {what}, in vain. It is held by {holder() or 'another process'}. See "
                "what that does; end it if it hangs."
            )
        wait.pause(pause, holder())
        pause = min(2 * pause, 0.5)


def _value(cursor: psycopg.Cursor) -> object:
    row = cursor.fetchone()
    return row[0] if row else None


# --- Runs ---------------------------------------------------------------------------------------------


def run_lock(run_id: str) -> str:
    """Name of the lock that the process executing a run holds."""
    return f"run {run_id}"


def executing(url: str, run_ids: Iterable[str]) -> dict[str, Holder | None]:
    """The runs among these that a living process executes, and which one.

    A worker that lost its connection with a restart of the server makes it again at once. Where the server has just
    started it is not known yet who has died, so all of them count, the unknown ones with None.

    Raises:
        PostgresError: the server cannot be reached.
    """
    ids = list(run_ids)
    if not ids:
        return {}
    with connect(url, autocommit=True) as connection:
        young = float(str(_value(connection.execute(_AGE)))) < _YOUNG_SERVER_SECONDS
        found = holders(connection, map(run_lock, ids))
    living: dict[str, Holder | None] = {run_id: found[run_lock(run_id)] for run_id in ids if run_lock(run_id) in found}
    return dict.fromkeys(ids) | living if young else living


class RunLocks:
    """The runs that this process executes, each with a lock on one connection that lives as long as the process.

    When the connection is lost, because the server was restarted, it is made again and the locks are taken again, in
    the background; the runs go on. They need the server only where they book, and whether a booking counts is decided
    by the ledger's claims, not by these locks. The locks are shared ones: the server may not have noticed the end of
    the old connection when the new one is made.

    Args:
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        self._url = libpq_url(url)
        self._guard = threading.RLock()
        self._runs: set[str] = set()
        self._connection: psycopg.Connection | None = None
        self._watcher: threading.Thread | None = None

    def take(self, run_id: str) -> None:
        """From now on this process executes the run.

        Raises:
            PostgresError: the server cannot be reached.
        """
        with self._guard:
            self._runs.add(run_id)
            if self._connection is None:
                self._connect()
            else:
                self._lock([run_id])
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="run locks", daemon=True)
                self._watcher.start()

    def release(self, run_id: str) -> None:
        """The run has ended."""
        with self._guard:
            if run_id not in self._runs:
                return
            self._runs.remove(run_id)
            # Where the connection is lost the lock is gone with it.
            with suppress(psycopg.Error):
                if self._connection:
                    self._connection.execute(
                        "select pg_advisory_unlock_shared(hashtextextended(%s, 0))", [run_lock(run_id)]
                    )

    def _connect(self) -> None:
        self._connection = _lasting(self._url)
        self._lock(self._runs)

    def _lock(self, run_ids: Iterable[str]) -> None:
        assert self._connection is not None  # noqa: S101
        for run_id in run_ids:
            self._connection.execute("select pg_advisory_lock_shared(hashtextextended(%s, 0))", [run_lock(run_id)])

    def _watch(self) -> None:
        """Notice that the connection is lost, and make it again."""
        told = False
        while True:
            with self._guard:
                if not self._runs:
                    self._close()
                    self._watcher = None
                    return
                try:
                    if self._connection is None:
                        self._connect()
                        _log.warning("Connected to PostgreSQL again; the runs of %s go on.", this_process())
                        told = False
                    else:
                        self._connection.execute("select 1")
                except (psycopg.Error, PostgresError):
                    self._close()
                    if not told:
                        _log.warning(
                            "The connection to PostgreSQL is lost; it is made again as soon as the server is there."
                        )
                        told = True
                descriptor = self._connection.fileno() if self._connection else None
            if descriptor is None:
                threading.Event().wait(_RECONNECT_SECONDS)
            else:
                # A connection that nobody asks anything becomes readable when it is lost.
                with suppress(OSError, ValueError):
                    select.select([descriptor], [], [], _CHECK_SECONDS)

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None


_of_process: dict[tuple[int, str], RunLocks] = {}
_of_process_guard = threading.Lock()


def run_locks(url: str) -> RunLocks:
    """The locks that this very process holds on a server; a forked child has its own."""
    with _of_process_guard:
        return _of_process.setdefault((os.getpid(), url), RunLocks(url))
