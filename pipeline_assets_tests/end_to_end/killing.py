"""Small deployments with work to do, as many equal copies as wanted, and what must hold of them whatever is killed.

What is there before the work: days that were loaded and built. The work has one of each kind of step: small files that
are loaded as a group and a large one, a repeat, one that cannot be read and one with a bad line, one that is
superseded, one that is late; small files to compact, tables of every kind to build again, files to be swept away.
"""

import gzip
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import psycopg
import sqlalchemy as sa

from pipeline_assets.ledger.catalogue import listed_by_name
from pipeline_assets.postgres import connect, leave_server, server_url
from pipeline_assets.settings import Settings
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import Store
from pipeline_assets_tests.end_to_end.deployment import Deployment, sql
from pipeline_assets_tests.end_to_end.durable_steps import Halt, read_steps
from pipeline_assets_tests.end_to_end.refreshing import LARGE, kill_postgres, start_worker
from pipeline_assets_tests.storage.object_store import new_bucket

TABLES = ("events", "sessions", "visitor_days", "identities")
"""Of every kind: days in the lake and in PostgreSQL, and a table without partitions that says something of each day."""

CLICKS = """\
type: pipeline_assets.components.EventSource
attributes:
  path: clicks/*
  format: jsonl
  mapping:
    event_id: id
    event_name: name
    event_type: type
    occurred_at: time
    anonymous_id: visitor
    user_id: user
    page_url: url
  required: [event_name]
  bounds: {quarantined: 1, late: 1, bots: 1}
"""
TILL = """\
type: pipeline_assets.components.EventSource
attributes:
  path: till/*.csv
  format: csv
  mapping:
    event_id: id
    event_name: "'order_completed'"
    occurred_at: time
    anonymous_id: visitor
    order_id: number
    revenue: amount
    currency: "'EUR'"
  bounds: {quarantined: 1, late: 1, bots: 1}
"""


def clicks(name: str, day: int, rows: int = 3) -> bytes:
    """Views of some visitors, of whom one signs in."""
    return "".join(
        json.dumps(
            {
                "id": f"{name}-{row}",
                "name": "viewed",
                "type": "page",
                "time": f"2026-03-{day:02}T1{row % 10}:00:{day:02}Z",
                "visitor": f"v{(row + day) % 4}",
                "user": f"u{day % 2}" if row == 1 else None,
                "url": f"https://shop.example/{name}",
            }
        )
        + "\n"
        for row in range(rows)
    ).encode()


def till(name: str, day: int, rows: int) -> bytes:
    """Orders."""
    lines = [
        f"{name}-{row},2026-03-{day:02}T12:{row % 60:02}:00Z,v{row % 4},{name}{row},{row}.50" for row in range(rows)
    ]
    return "\n".join(["id,time,visitor,number,amount", *lines, ""]).encode()


BEFORE = (
    {
        "clicks/a.jsonl": clicks("a", 1),
        "clicks/b.jsonl": clicks("b", 2),
        "clicks/c.jsonl": clicks("c", 3),
        "till/x.csv": till("x", 2, 3),
    },
    # A second small file of the first day, which is built again by it.
    {"clicks/a2.jsonl": clicks("a2", 1, 2)},
)
WORK = {
    "clicks/c.jsonl": clicks("newer c", 3, 4),
    "clicks/again.jsonl": clicks("b", 2),
    "clicks/broken.jsonl.gz": gzip.compress(clicks("broken", 4) * 20_000, mtime=0)[:-20],
    "clicks/d.jsonl": clicks("d", 4) + b"no json\n",
    "clicks/e.jsonl": clicks("e", 4, 2) + clicks("e3", 3, 1),
    "clicks/late.jsonl": clicks("late", 2, 1),
    "till/large.csv": till("large", 4, LARGE // 20),
}


@dataclass(frozen=True)
class View:
    """What readers see of a deployment.

    Attributes:
        rows: by table and day; the day is None of a table without partitions.
        inputs: what each of them says it was built from, where it was.
    """

    rows: Mapping[tuple[str, date | None], pl.DataFrame]
    inputs: Mapping[tuple[str, date | None], str]

    @classmethod
    def of(cls, deployment: Deployment) -> "View":
        """What they see now; of tables that nobody has made yet, nothing."""
        rows: dict[tuple[str, date | None], pl.DataFrame] = {}
        made = sa.inspect(deployment.platform.engine).get_table_names(deployment.settings.namespace.marts)
        for name, table in deployment.platform.tables.items():
            if table.store == "marts" and name not in made:
                continue
            if table.partition_column is None:
                rows[name, None] = deployment.table(name)
            else:
                by_day = deployment.table(name).partition_by(table.partition_column, as_dict=True, maintain_order=True)
                rows |= {(name, day): of_day for (day,), of_day in by_day.items()}
        query = "select asset, nullif(day, '0001-01-01'), inputs from ledger.builds where state = 'built'"
        return cls(rows, {(asset, day): inputs for asset, day, inputs in deployment.sql(query)})

    def mistakes(self, old: "View", new: "View") -> list[str]:
        """What is neither wholly as it was nor wholly as it will be, or is said to be what it is not."""
        found = []
        for key in sorted(self.rows.keys() | old.rows.keys() | new.rows.keys(), key=str):
            now, before, after = (view.rows.get(key) for view in (self, old, new))
            if not _equal(now, before) and not _equal(now, after):
                found.append(f"{key}: half of it is published")
            said = self.inputs.get(key)
            fitting = [rows for view, rows in ((old, before), (new, after)) if view.inputs.get(key) == said]
            if said is not None and not any(_equal(now, rows) for rows in fitting):
                found.append(f"{key}: says that it was built of something else than it was")
        return found


def _equal(one: pl.DataFrame | None, other: pl.DataFrame | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.equals(other)


_ACCOUNT = {
    "files": """source, path, content, declaration_version, state, newest, lines, landed, quarantined, blank, error""",
    "quarantine": "source, content, line, reason, declaration_version, raw, bytes",
    "staged": "source, content, event_date, declaration_version, rows, late",
    "staged_days": "*",
    "source_counts": "*",
    "source_reasons": "*",
    "event_days": "event_date, landed, events, duplicates, conflicts, excluded, reasons::text",
    "builds": "asset, day, inputs, state",
    "revisions": "asset, day, revision",
    "contents": "content, bytes",
    "declarations": "kind, name, attributes::text, retiring_at",
}


def account(deployment: Deployment) -> dict[str, list[tuple]]:
    """What the ledger says, without moments, runs and names of files."""
    said = {
        name: sorted(deployment.sql(f"select {what} from ledger.{name}"), key=str) for name, what in _ACCOUNT.items()
    }
    listed = "select asset, day, sum(rows) from ledger.lake_files where dropped_at is null"
    # A staged file may hold rows that do not count any more.
    return said | {"listed": sorted(deployment.sql(f"{listed} and asset not like 'staging/%' group by 1, 2"), key=str)}


_EQUATIONS = {
    "lines": "select count(*) from ledger.files where lines <> landed + quarantined + blank",
    "rows of a content": """select count(*) from ledger.files f where state = 'active' and landed <> (
        select coalesce(sum(rows), 0) from ledger.staged s where s.source = f.source and s.content = f.content)""",
    "contents that do not count": """select count(*) from ledger.staged s where not exists (
        select from ledger.files f where f.source = s.source and f.content = s.content and f.state = 'active')""",
    "rows of a staged file": """select count(*) from ledger.lake_files f where asset like 'staging/%'
        and dropped_at is null and rows < (select coalesce(sum(rows), 0) from ledger.staged s where s.file = f.file)""",
    "staged rows in no list": """select count(*) from ledger.staged s join ledger.lake_files f using (file)
        where dropped_at is not null""",
    "rows of a day": "select count(*) from ledger.event_days where landed <> events + duplicates + excluded",
    "events of a day": """select count(*) from ledger.event_days e where events <> (select coalesce(sum(rows), 0)
        from ledger.lake_files where asset = 'events' and day = event_date and dropped_at is null)""",
    "staged days": """select count(*) from (select source, day, rows from ledger.staged_days except
        select source, event_date, sum(rows) from ledger.staged group by 1, 2) x""",
    "source counts": """select count(*) from (select source, lines, landed from ledger.source_counts except
        select source, sum(lines), sum(landed) from ledger.files where state = 'active' group by 1) x""",
}


def half_done(deployment: Deployment, old: View, new: View) -> list[str]:
    """What must never be seen, at whatever moment somebody looks."""
    found = View.of(deployment).mistakes(old, new)
    found += [f"equation of {name}" for name, query in _EQUATIONS.items() if deployment.value(query)]
    platform = deployment.platform
    listed = "select name from ledger.lake_files where dropped_at is null"
    with platform.engine.connect() as connection:
        files = listed_by_name(connection, [name for (name,) in sql(platform.engine, listed)])
    found += [f"{file.name} is listed and not there, or has another size" for file in platform.lake.lost(files)]
    return found


def require_done(deployment: Deployment, work: "Prepared") -> None:
    """See that the work is done, once and wholly."""
    assert deployment.is_settled()
    assert half_done(deployment, work.new, work.new) == []
    found = account(deployment)
    assert {name: (found[name], said) for name, said in work.account.items() if found[name] != said} == {}


@dataclass(frozen=True)
class Prepared:
    """A deployment that has work to do, and nobody at it.

    Attributes:
        settings: where it is.
        variables: by which processes find its object store.
        server: URL of the external server that has its database; None where it is the embedded one.
    """

    settings: Settings
    variables: Mapping[str, str] = field(default_factory=dict)
    server: str | None = None

    @contextmanager
    def copy(self) -> Generator["Copy"]:
        """One like it, which is gone afterwards."""
        with ExitStack() as stack:
            yield Copy(self._copied(stack), self.variables)

    def _copied(self, stack: ExitStack) -> Settings:
        mine = self.settings
        folder = stack.enter_context(new_folder())
        settings = replace(mine, data_dir=folder, lake_url=str(folder / "lake"))
        if not self.variables:
            there = [place for place in (Path(mine.lake_url), mine.scratch_dir) if place.exists()]
            if there:
                subprocess.run(["cp", "-a", *map(str, there), str(folder)], check=True)
        else:
            settings = replace(settings, lake_url=f"s3://{new_bucket(dict(self.variables))}/lake é")
            lake, copy = open_store(mine.lake_url), open_store(settings.lake_url)
            for found in lake.list():
                with lake.open(found.name) as file:
                    copy.put(found.name, file.read())
        if self.server is None:
            # With owners: root's server runs as another user.
            subprocess.run(["cp", "-a", str(mine.postgres_dir), str(folder)], check=True)
            return settings
        return replace(settings, postgres_url=stack.enter_context(new_database(self.server, like=mine.postgres_url)))

    @property
    def steps(self) -> list[str]:
        """The steps of the work, in the order of one time that it was done."""
        return self._done[0]

    def kinds(self, *shares: float) -> list[Halt]:
        """Before which steps to kill in order to meet each kind.

        Args:
            *shares: which of each kind: 0 is the first, 1 the last.
        """
        halts = []
        for kind in dict.fromkeys(self.steps):
            # What is done within a function has a name that begins with that of the function.
            begun_so = [step for step in self.steps if step.startswith(kind)]
            numbers = [number for number, step in enumerate(begun_so, 1) if step == kind]
            chosen = {round(share * (len(numbers) - 1)) for share in shares}
            halts += [Halt(numbers[place], kind) for place in sorted(chosen)]
        return halts

    @property
    def old(self) -> View:
        """What readers see before the work."""
        return self._seen

    @property
    def new(self) -> View:
        """What readers see after it."""
        return self._done[1]

    @property
    def account(self) -> dict[str, list[tuple]]:
        """What the ledger says after it."""
        return self._done[2]

    @cached_property
    def _seen(self) -> View:
        with self.copy() as copy, copy.opened() as deployment:
            return View.of(deployment)

    @cached_property
    def _done(self) -> tuple[list[str], View, dict[str, list[tuple]]]:
        with self.copy() as copy:
            copy.work()
            with copy.opened() as deployment:
                assert deployment.is_settled()
                return copy.steps, View.of(deployment), account(deployment)


@dataclass(frozen=True)
class Copy:
    """A deployment that may be harmed.

    Attributes:
        settings: where it is.
        variables: by which processes find its object store.
    """

    settings: Settings
    variables: Mapping[str, str]

    def start(self, halt: Halt | None = None, **options: Any) -> Any:
        """Start to do the work in a process of its own."""
        return start_worker(self.settings, halt, variables=self.variables, **options)

    def work(self) -> None:
        """Do it to its end."""
        process = self.start()
        process.join()
        assert process.exitcode in (0, 3), self.log

    @property
    def steps(self) -> list[str]:
        """The names of the steps that processes have begun here."""
        return read_steps(self.settings.data_dir / "steps.log")

    @property
    def log(self) -> str:
        """The last words of these processes."""
        file = self.settings.data_dir / "refresh.log"
        return file.read_text()[-3000:] if file.exists() else ""

    @contextmanager
    def opened(self) -> Generator[Deployment]:
        """The deployment, driven in this process."""
        try:
            with dg.DagsterInstance.ephemeral() as instance, closing(Deployment(self.settings, instance)) as deployment:
                yield deployment
        finally:
            leave_server(self.settings)


LIMIT_SECONDS = 300


def kill_and_go_on(work: Prepared, halt: Halt, *, with_postgres: bool = False) -> str:
    """Kill whoever does the work, look, and let another come after; the step at which it was killed.

    Args:
        work: the deployment, which is copied.
        halt: where it is killed.
        with_postgres: whether the embedded PostgreSQL is killed as well.
    """
    with work.copy() as copy:
        process = copy.start(halt)
        process.join(LIMIT_SECONDS)
        assert process.exitcode == -signal.SIGKILL, (halt, process.exitcode, copy.log)
        if with_postgres:
            kill_postgres(copy.settings.data_dir)
        with copy.opened() as deployment:
            where = f"{halt}: {copy.steps[-1]}"
            assert half_done(deployment, work.old, work.new) == [], where
            report = deployment.refresh()
            assert report.failures == [], where
            require_done(deployment, work)
        return copy.steps[-1]


@contextmanager
def new_folder() -> Generator[Path]:
    """A folder for a deployment with a server of its own, which root runs as another user."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-kills-"))
    try:
        yield folder
    finally:
        leave_server(Settings.for_data_dir(folder))
        kill_postgres(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_database(server: str, *, like: str | None = None) -> Generator[str]:
    """URL of a database on a server: empty, or like another that nobody uses."""
    name = f"test_{uuid.uuid4().hex}"
    base, _, _ = server.rpartition("/")
    template = f" template {like.rpartition('/')[2]}" if like else ""
    with connect(server, autocommit=True) as connection:
        until = time.monotonic() + 60
        while True:
            try:
                connection.execute(f"create database {name}{template}")  # ty: ignore[no-matching-overload]
                break
            except psycopg.errors.ObjectInUse:
                # Of processes that have just ended.
                assert time.monotonic() < until
                time.sleep(0.05)
        try:
            yield f"{base}/{name}"
        finally:
            connection.execute(f"drop database {name} with (force)")  # ty: ignore[no-matching-overload]


@contextmanager
def prepared(
    *, server: str | None = None, store: Mapping[str, str] | None = None, is_new: bool = False
) -> Generator[Prepared]:
    """A deployment with work to do.

    Args:
        server: URL of an external server; the embedded one by default.
        store: the variables of an object store for landing and lake; local folders by default.
        is_new: whether nothing was ever done there, so that all of the work is.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(new_folder())
        settings = Settings.for_data_dir(
            folder, tables=TABLES, first_day=date(2026, 2, 1), defs_dir=folder / "defs", full_look=timedelta(days=9)
        )
        if store:
            bucket = new_bucket(dict(store))
            settings = replace(settings, landing_url=f"s3://{bucket}/land ing", lake_url=f"s3://{bucket}/lake é")
        if server:
            settings = replace(settings, postgres_url=stack.enter_context(new_database(server)))
        for name, declaration in (("clicks", CLICKS), ("till", TILL)):
            (folder / "defs" / name).mkdir(parents=True)
            (folder / "defs" / name / "defs.yaml").write_text(declaration)
        work = Prepared(settings, dict(store or {}), server)
        here = Copy(settings, work.variables)
        landing = open_store(settings.landing_url)
        if server is None:
            with connect(server_url(settings), autocommit=True) as connection:
                # What is thrown away in the end need not survive a power cut.
                for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                    connection.execute(f"alter system set {setting} = off")
                connection.execute("select pg_reload_conf()")
        for files in BEFORE:
            deliver(landing, files)
            if not is_new:
                here.work()
        deliver(landing, WORK)
        if is_new:
            leave_server(settings)
            yield work
            return
        with connect(server_url(settings), autocommit=True) as connection:
            for statement in _LATER:
                assert connection.execute(statement).rowcount > 0, statement
        leave_server(settings)
        _leave_strays(settings)
        yield work


_LATER = (
    # Small files that have settled, files that no run may read any more, a look at everything that is due.
    "update ledger.changed_days set changed_at = changed_at - interval '1 hour'",
    "update ledger.lake_files set dropped_at = dropped_at - interval '3 days' where dropped_at is not null",
    "update ledger.full_looks set done_at = null, asked = asked + 1",
)


def deliver(landing: Store, files: Mapping[str, bytes]) -> None:
    """Put files into landing, over those that are there."""
    for name, content in files.items():
        landing.delete([name])
        landing.put(name, content)


def _leave_strays(settings: Settings) -> None:
    """Leave what a process left that was killed long ago."""
    lake = open_store(settings.lake_url)
    if not isinstance(lake, LocalStore):
        # Nobody can make an object older than it is.
        return
    names = [f"events/2026-03-01/{uuid.uuid4().hex}.parquet", f".drafts/{uuid.uuid4().hex}"]
    for name in names:
        lake.put(name, b"half of something")
    spilled = settings.scratch_dir / ".spilled-long-ago"
    spilled.mkdir(parents=True)
    (spilled / "draft.parquet").write_bytes(b"half of something")
    long_ago = time.time() - 9 * 24 * 60 * 60
    for path in (*(lake.root / name for name in names), spilled):
        os.utime(path, (long_ago, long_ago))
