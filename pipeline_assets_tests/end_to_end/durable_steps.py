"""Every step by which a process leaves something behind, counted while it works; at one of them it is halted.

Such a step changes a name in a folder of the deployment, puts or deletes an object, or commits a transaction that has
written. They are found where they leave the process: in the standard library, obstore and PostgreSQL's drivers. So a
step that is new in the code is among them by itself. One is done at a time, whichever thread does it, and between two
of them nothing is left behind: what a process leaves that is killed after one is what it leaves before the next.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import adbc_driver_manager.dbapi as adbc
import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine.default import DefaultDialect

_NAMES = ("link", "rename", "replace", "remove", "unlink", "mkdir", "rmdir", "symlink")
_OBJECTS = ("put", "copy", "rename", "delete")
_WRITES = ("INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "TRUNCATE", "COMMENT")
_WROTE = "select pg_current_xact_id_if_assigned() is not null"
# What a step is done for, and not how: where it is asked for.
_HOW = (
    "pipeline_assets.storage",
    "pipeline_assets.lake",
    "pipeline_assets.private",
    "pipeline_assets.durable",
    "pipeline_assets.io_managers.postgres",
    "pipeline_assets.dagster_storage",
)


@dataclass(frozen=True)
class Halt:
    """At which step a process is halted, and how.

    Attributes:
        number: of the step among those of its kind, from 1.
        kind: how the step's name begins; all are counted by default.
        after: whether it is done before.
        by: the signal that the process and its children are sent; SIGSTOP to the process alone.
    """

    number: int
    kind: str = ""
    after: bool = False
    by: signal.Signals = signal.SIGKILL

    def __str__(self) -> str:
        """For messages."""
        return f"{self.by.name} {'after' if self.after else 'before'} step {self.number} {self.kind}".rstrip()


def halt_this_process(halt: Halt) -> None:
    """Send the signal."""
    if halt.by == signal.SIGSTOP:
        os.kill(os.getpid(), halt.by)
    else:
        os.killpg(os.getpid(), halt.by)


@dataclass
class DurableSteps:
    """The steps of this process from now on.

    Args:
        folders: what has a name outside of them is nothing of the deployment.
        log: a file to which the name of each step is appended before it is done: its verb, and who asks for it.
        halt: at which of them this process is halted.
        happen: halts it.
    """

    folders: Sequence[Path]
    log: Path
    halt: Halt | None = None
    happen: Callable[[Halt], object] = halt_this_process
    _count: int = 0
    _turn: Any = field(default_factory=threading.RLock)
    _inner: threading.local = field(default_factory=threading.local)

    def count(self) -> None:
        """Count from here on, until the process ends."""
        import obstore

        for name in _NAMES:
            self._wrap(os, name, name, partial(self._is_ours, name))
        for name in _OBJECTS:
            self._wrap(obstore, name, f"{name} object", lambda *_, **__: True)
        self._wrap(adbc.Connection, "commit", "commit", _wrote_by_adbc)
        self._wrap(psycopg.Connection, "commit", "commit", _wrote)
        # Which cannot be wrapped itself.
        self._wrap(PGDialect_psycopg2, "do_commit", "commit", lambda _, connection: _wrote(connection.dbapi_connection))
        for dialect in (DefaultDialect, PGDialect_psycopg2):
            for name in ("do_execute", "do_executemany", "do_execute_no_params"):
                if name in vars(dialect):
                    self._wrap(dialect, name, "execute", _writes_at_once)

    def _wrap(self, owner: Any, name: str, verb: str, counts: Callable[..., bool]) -> None:
        original = getattr(owner, name)

        def step(*arguments: Any, **named: Any) -> Any:
            if getattr(self._inner, "within", False) or not counts(*arguments, **named):
                return original(*arguments, **named)
            with self._turn:
                self._inner.within = True
                try:
                    halt = self._begin(f"{verb} by {_asked_by(sys._getframe(1))}")
                    if halt is not None and not halt.after:
                        self.happen(halt)
                    result = original(*arguments, **named)
                    if halt is not None and halt.after:
                        self.happen(halt)
                    return result
                finally:
                    self._inner.within = False

        setattr(owner, name, step)

    def _begin(self, name: str) -> Halt | None:
        """Note a step; the halt, if this is the one."""
        with self.log.open("a") as log:
            log.write(f"{name}\n")
        if self.halt is None or not name.startswith(self.halt.kind):
            return None
        self._count += 1
        return self.halt if self._count == self.halt.number else None

    def _is_ours(self, verb: str, *arguments: Any, dir_fd: int | None = None, **_: Any) -> bool:
        """Whether a name of the deployment changes: what is not there cannot go, nor a folder with something in it."""
        paths = [Path(os.fsdecode(each)) for each in arguments if isinstance(each, str | bytes | os.PathLike)]
        if dir_fd is not None:
            # Only Linux says which folder this is; elsewhere its names are not counted.
            above = Path(f"/proc/self/fd/{dir_fd}")
            paths = [above.resolve() / path for path in paths] if above.exists() else []
        if not any(path.is_relative_to(folder) for path in paths for folder in self.folders):
            return False
        if verb in ("remove", "unlink"):
            return os.path.lexists(paths[0])
        return verb != "rmdir" or (paths[0].is_dir() and not any(paths[0].iterdir()))


def read_steps(log: Path) -> list[str]:
    """The names of the steps that a process has begun."""
    return log.read_text().splitlines() if log.exists() else []


def _is_postgres(dialect: sa.Dialect) -> bool:
    return dialect.name == "postgresql"


def _wrote(connection: Any) -> bool:
    if connection.autocommit or connection.info.transaction_status != psycopg.pq.TransactionStatus.INTRANS:
        return False
    with connection.cursor() as cursor:
        cursor.execute(_WROTE)
        return bool(cursor.fetchone()[0])


def _wrote_by_adbc(connection: adbc.Connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_WROTE)
        return bool((cursor.fetchone() or [False])[0])


def _writes_at_once(dialect: sa.Dialect, cursor: Any, statement: str, *_: object, **__: object) -> bool:
    if not _is_postgres(dialect) or not cursor.connection.autocommit:
        return False
    return statement.lstrip().upper().startswith(_WRITES)


def _asked_by(frame: FrameType | None) -> str:
    """Who asks for a step: the innermost function of this project or of Dagster that is not only how it is done."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(("pipeline_assets.", "dagster")) and not module.startswith(_HOW):
            return f"{module.removeprefix('pipeline_assets.')}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "nobody"
