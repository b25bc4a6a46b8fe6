"""Which deployment a ledger and a lake belong to, so that two of them never write into each other's.

The ledger holds an id, and so does a file in the lake, the marker. Whoever needs the ledger opens it by
`deployment_engine`, which compares the two before anything else is read or written, and makes them where a deployment
starts for the first time: the ledger's, then the marker, then the ledger's word that the marker is there. A start that
finds only a part of this, because another was killed, takes a new id; so of several lakes one at most has the ledger's.
"""

import json
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa
from psycopg.errors import LockNotAvailable
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from pipeline_assets.ledger.builds import revoke
from pipeline_assets.ledger.catalogue import drop_tables
from pipeline_assets.ledger.full_looks import ask_for_all
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.ledger.schema import deployment, files, revisions, schema_of, staged
from pipeline_assets.planning import STAGING
from pipeline_assets.postgres import PostgresError, redacted, running_url, server_url, sqlalchemy_url
from pipeline_assets.private import make_folder, tighten
from pipeline_assets.schemas import has_table
from pipeline_assets.settings import Settings
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.patience import GLANCE, waiting
from pipeline_assets.storage.store import Store, StoreError
from pipeline_assets.tables.spec import EVENTS

MARKER = "deployment.json"
"""Name of the marker in the lake's folder."""

_NOTE = "The deployment whose ledger lists the files of this lake. See Operations in the README of pipeline-assets."
# Whoever holds the lock compares, migrates and writes one small file.
_LOCK_LIMIT = "5min"
# A look that is given up is a look that was not worth its wait; libpq waits for no shorter time.
_GLANCE_SECONDS = 2

_OWN_FOLDER = "give this one a folder of its own with PIPELINE_DATA_DIR (or PIPELINE_LAKE_URL)"
_ITS_FOLDER = "point PIPELINE_DATA_DIR (or PIPELINE_LAKE_URL) at its folder"
_ADOPT = "Where one of the two was lost, restored or moved and they are to go on as one: pipeline-assets adopt."


Answer = TypeVar("Answer")


class IdentityError(RuntimeError):
    """The ledger and the lake are not of one deployment; the message says what was found, where, and what to set."""


@dataclass(frozen=True)
class Identity:
    """Who a deployment is.

    Attributes:
        id: a UUID.
        namespace: the namespace it was made in; None for the plain names.
    """

    id: str
    namespace: str | None = None

    def __str__(self) -> str:
        """For messages."""
        where = f"namespace {self.namespace}" if self.namespace else "no namespace"
        return f"the deployment {self.id} ({where})"


@dataclass(frozen=True)
class _Known:
    """What a ledger says of its deployment.

    Attributes:
        identity: None where it has none yet.
        lake: where the lake was that got the marker; None if it is not known to have got it.
    """

    identity: Identity | None = None
    lake: str | None = None


def deployment_engine(settings: Settings) -> sa.Engine:
    """Connections to the deployment's database: the ledger's tables are current, and the lake is this ledger's.

    Schemas are called as the namespace wants. The embedded server is started if need be.

    Raises:
        IdentityError: the lake or the ledger is another deployment's. Nothing was written.
        PostgresError: the server cannot be started or reached.
    """
    tighten(settings, MARKER)
    engine = _engine(settings)
    try:
        # Not before: who makes the data folder for a server lets the server's user pass through it.
        make_folder(settings.scratch_dir)
        with engine.connect() as connection:
            known = _known(connection)
        mine = known.identity if known.lake else None
        if mine is None or mine != _marker(settings) or mine.namespace != settings.namespace.name:
            with _alone(engine):
                _settle(engine, settings)
        migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def glance(settings: Settings, ask: Callable[[sa.Connection], Answer]) -> tuple[Answer] | None:
    """What the ledger says, if it can be asked at once. Starts no server, makes nothing and refuses nobody.

    For what is only shown, and has to be shown whatever state the deployment is in.

    Args:
        settings: where ledger and lake are.
        ask: reads from the ledger; called once at most.

    Returns:
        None where the server does not run, gives no answer within two seconds, or has no ledger of this lake.
    """
    try:
        url = running_url(settings)
        with waiting(GLANCE):
            marker = _marker(settings) if url else None
        if url is None or marker is None:
            return None
        engine = sa.create_engine(
            sqlalchemy_url(url, "psycopg"),
            connect_args={"connect_timeout": _GLANCE_SECONDS},
            hide_parameters=True,
            poolclass=sa.NullPool,
            execution_options={"schema_translate_map": dict(settings.namespace.schemas)},
        )
        with engine.connect() as connection:
            connection.execute(sa.text(f"set statement_timeout = '{_GLANCE_SECONDS}s'"))
            return (ask(connection),) if _known(connection).identity == marker else None
    except (SQLAlchemyError, PostgresError, IdentityError, OSError):
        return None


def adopt(settings: Settings) -> None:
    """Make the ledger and the lake one deployment under a new id, whatever they belonged to before.

    For a lake or a database that was lost, restored or moved apart from the other. What this ledger lists of tables may
    not be what the lake has: none of it counts any more, and all days and tables are stale. Staged files it lists and
    the lake has stay; the next look, a full one, finds those that are missing, so that they are staged again. What
    nobody lists then is removed by the sweep. Whoever else uses the ledger or the lake is refused from its next start
    on.

    Args:
        settings: where ledger and lake are.

    Raises:
        IdentityError: the lake cannot be written.
        PostgresError: the server cannot be started or reached.
    """
    engine = _engine(settings)
    try:
        with _alone(engine):
            migrate(engine)
            # First, so that none of them is taken for built if this does not come to its end, or by a run at work.
            with engine.begin() as connection:
                revoke(connection)
                # What is built before the table that says something of its days is not built of what that said.
                connection.execute(sa.delete(revisions))
                drop_tables(connection)
                # Nothing that was seen before says anything of what is there now.
                ask_for_all(connection)
            lake = open_store(settings.lake_url)
            with _writing(lake):
                lake.delete([MARKER])
            _make(engine, settings)
    finally:
        engine.dispose()


def found(settings: Settings) -> str:
    """What the ledger and the lake say of themselves, for whoever is to decide whether they belong together.

    Raises:
        PostgresError: the server cannot be started or reached.
    """
    engine = _engine(settings)
    try:
        with engine.connect() as connection:
            known = _known(connection)
    finally:
        engine.dispose()
    marker = None
    try:
        marker = _marker(settings)
        lake = str(marker or "no deployment")
    except IdentityError as error:
        lake = f"not known ({error})"
    owner = f"{known.identity}, whose lake was {known.lake}" if known.identity and known.lake else "no deployment"
    said = f"{_place(settings)} is of {owner}.\nThe lake {settings.lake_url} is of {lake}."
    if marker is not None and marker == known.identity:
        said += (
            "\nThat is one deployment already. Only where the database or the lake was brought back from a backup is "
            "this needed, so that both are of one moment again."
        )
    return said


def _engine(settings: Settings) -> sa.Engine:
    return sa.create_engine(
        sqlalchemy_url(server_url(settings), "psycopg"),
        pool_pre_ping=True,
        # Quarantined lines are bound values.
        hide_parameters=True,
        execution_options={"schema_translate_map": dict(settings.namespace.schemas)},
    )


# --- Comparing and making -----------------------------------------------------------------------------


def _settle(engine: sa.Engine, settings: Settings) -> None:
    """Refuse, or make what is missing. The lock is held."""
    marker = _marker(settings)
    with engine.connect() as connection:
        known = _known(connection)
        objection = _objection(known, marker, settings) or _other_lake(connection, known, settings)
    if objection:
        raise IdentityError(f"{_place(settings)} {objection}\n{_ADOPT}")
    migrate(engine)
    if marker is None:
        _make(engine, settings)
    else:
        _confirm(engine, settings)


def _objection(known: _Known, marker: Identity | None, settings: Settings) -> str | None:
    """Why a ledger and a lake must not be used together, as the rest of a sentence about the ledger."""
    lake, namespace = settings.lake_url, settings.namespace.name
    owner = f"is of {known.identity}, whose lake was {known.lake}" if known.lake else "has no deployment yet"
    if marker is not None and marker.namespace != namespace:
        theirs = f"set PIPELINE_NAMESPACE={marker.namespace}" if marker.namespace else "unset PIPELINE_NAMESPACE"
        return f"{owner}, but the lake {lake} is of {marker}.\nTo work with that one {theirs}; otherwise {_OWN_FOLDER}."
    if marker is not None and marker != known.identity:
        return (
            f"{owner}, but the lake {lake} is of {marker}.\nTo work with that one point PIPELINE_POSTGRES_URL at its "
            f"database; otherwise {_OWN_FOLDER}, and where both share a database, a PIPELINE_NAMESPACE."
        )
    if marker is None and known.lake:
        return (
            f"{owner}, but the lake {lake} has no {MARKER}.\nFor a second deployment in this database set "
            f"PIPELINE_NAMESPACE; to work with the one that is there {_ITS_FOLDER}."
        )
    if known.identity is not None and known.identity.namespace != namespace:
        return f"{owner}, and was renamed since; PIPELINE_NAMESPACE is {namespace or 'not set'} now."
    return None


def _other_lake(connection: sa.Connection, known: _Known, settings: Settings) -> str | None:
    """The same, of a ledger and a lake from before there were identities: it knows its lake by the files in it."""
    if known.identity is not None:
        return None
    s, lake = staged.c, open_store(settings.lake_url)
    if not _exists(connection, files) or connection.execute(sa.select(files.c.content).limit(1)).first() is None:
        if not any(found for name in (STAGING, EVENTS) for found in lake.list(f"{name}/")):
            return None
        return (
            f"is new, but the lake {lake} holds files that another one lists.\nPoint PIPELINE_POSTGRES_URL at the "
            f"database of that one, or {_OWN_FOLDER}."
        )
    # A ledger from then knows no names of files: they had these. Nor has it all names of columns, unless a start that
    # was killed has migrated it.
    there = {column["name"] for column in sa.inspect(connection).get_columns("staged", schema=schema_of(connection))}
    version = s.declaration_version if s.declaration_version.name in there else sa.literal_column("rules")
    query = sa.select(s.source, s.content, version.label("version"), s.event_date)
    listed = [
        f"{STAGING}/{row.source}/event_date={row.event_date}/{row.content}-{row.version}.parquet"
        for row in connection.execute(query)
    ]
    if not listed or any(lake.stat(name) for name in listed):
        return None
    return (
        f"lists staged files, none of which is in the lake {lake}.\nFor a second deployment in this database set "
        f"PIPELINE_NAMESPACE; to work with the one that is there {_ITS_FOLDER}."
    )


def _make(engine: sa.Engine, settings: Settings) -> None:
    """Give ledger and lake a new identity. The lock is held, and the lake has no marker."""
    identity = Identity(str(uuid.uuid4()), settings.namespace.name)
    values = {
        "id": identity.id,
        "namespace": identity.namespace,
        "lake": settings.lake_url,
        "made_at": sa.func.now(),
        "marked_at": None,
    }
    with engine.begin() as connection:
        new = insert(deployment).values(values)
        connection.execute(new.on_conflict_do_update(index_elements=["singleton"], set_=values))
    _write_marker(open_store(settings.lake_url), identity)
    _confirm(engine, settings)


def _confirm(engine: sa.Engine, settings: Settings) -> None:
    """Book that the lake has the marker. The lock is held."""
    marker = _marker(settings)
    with engine.begin() as connection:
        known = _known(connection)
        if marker is None or marker != known.identity:
            # Without this lock, for it has another database: one of the two was first.
            raise IdentityError(f"The lake {settings.lake_url} was taken by {marker} at this moment; {_OWN_FOLDER}.")
        connection.execute(sa.update(deployment).values(marked_at=sa.func.now()))


# --- The ledger's side --------------------------------------------------------------------------------


def _known(connection: sa.Connection) -> _Known:
    if not _exists(connection, deployment):
        return _Known()
    d = deployment.c
    row = connection.execute(sa.select(d.id, d.namespace, d.lake, d.marked_at)).one_or_none()
    if row is None:
        return _Known()
    return _Known(Identity(row.id, row.namespace), row.lake if row.marked_at else None)


def _exists(connection: sa.Connection, table: sa.Table) -> bool:
    return has_table(connection, schema_of(connection), table.name)


def _place(settings: Settings) -> str:
    return f"The ledger (schema {settings.namespace.ledger} of {redacted(server_url(settings))})"


@contextmanager
def _alone(engine: sa.Engine) -> Generator[None]:
    """While nobody else compares or makes the identity of this ledger. A killed process lets go of it."""
    key = sa.func.hashtextextended(f"deployment {schema_of(engine)}", 0)
    with engine.connect() as connection:
        connection.execute(sa.text(f"set local lock_timeout = '{_LOCK_LIMIT}'"))
        try:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
            raise IdentityError(
                f"Another process has been starting this deployment for {_LOCK_LIMIT}. PostgreSQL shows in "
                "pg_stat_activity what it waits for. End it, and start again."
            ) from error
        yield


# --- The lake's side ----------------------------------------------------------------------------------


def _marker(settings: Settings) -> Identity | None:
    lake = open_store(settings.lake_url)
    place = lake.locate(MARKER)
    try:
        with lake.open(MARKER) as file:
            read = json.loads(file.read())
        return Identity(str(uuid.UUID(read["id"])), read["namespace"])
    except FileNotFoundError:
        return None
    except StoreError as error:
        raise IdentityError(f"{error} It says which deployment the lake is of; see PIPELINE_LAKE_URL.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IdentityError(
            f"{place} is damaged, so that nobody can tell which deployment the lake is of. Bring it back from a "
            f"backup. {_ADOPT}"
        ) from error


def _write_marker(lake: Store, identity: Identity) -> None:
    """Write the marker, unless there is one: somebody with another database was first."""
    content = {"id": identity.id, "namespace": identity.namespace, "note": _NOTE}
    with _writing(lake), suppress(FileExistsError):
        lake.put(MARKER, (json.dumps(content, indent=2) + "\n").encode())


@contextmanager
def _writing(lake: Store) -> Generator[None]:
    try:
        yield
    except StoreError as error:
        raise IdentityError(
            f"The lake {lake} cannot be written. {error} Let this user write there, or set PIPELINE_LAKE_URL."
        ) from error
