"""Assets as PostgreSQL tables: a Polars IO manager for Dagster.

It knows neither the tables of this package nor the ledger (`marts.py` does). One write is one transaction:

1. every frame is checked against its contract and copied (ADBC, binary COPY) into a temporary table;
2. an advisory lock on the table is taken, so that writers take turns and readers are never blocked;
3. schema, table, new nullable columns and comments are made where they are missing;
4. rows outside of the partitions being written are an error;
5. exactly these partitions are deleted and the new rows inserted; of a table with a primary key and without
   partitions only the rows that differ, so that a small change costs little; and missing indexes are made;
6. `before_commit` may add statements of its own.

Readers see the old rows or the new ones. Types must fit exactly: ADBC copies a frame's bytes as they are, and
a wrong width would store garbage, so what a frame has and what the table has is compared before a row is sent.

ADBC and not psycopg's COPY of text that Polars writes and reads: of 2 million rows of 8 columns that takes 40 % more
CPU of client and server to copy (2.4 s against 1.7 s), 10 to 20 % more to write with key and indexes, and 80 % more
to read (3.1 s against 1.7 s).
"""

import re
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import dagster as dg
import dataframely as dy
import polars as pl

# Its base of IO managers for databases, which Dagster documents for subclasses and does not export.
from dagster._core.storage.db_io_manager import (
    DbClient,
    DbIOManager,
    DbTypeHandler,
    TablePartitionDimension,
    TableSlice,
)
from pydantic import Field

from pipeline_assets.columns import contract_schema
from pipeline_assets.figures import Figure, PartitionFigures
from pipeline_assets.io_managers.describing import DescribesPartitions, describe_partitions
from pipeline_assets.io_managers.frames import (
    ContractError,
    Frames,
    FrameStream,
    check_schema,
    checked,
    iterate,
    storable,
    subset,
)
from pipeline_assets.locks import take_turn
from pipeline_assets.postgres_urls import adbc_url
from pipeline_assets.sql import identifier

# Years of rows may be written in one transaction.
_LOCK_LIMIT_SECONDS = 6 * 60 * 60
# Whoever reads a table to which a column is added may have left a transaction open.
_READERS_LIMIT_SECONDS = 10 * 60
_STAGED = "pg_temp.staged_rows"
_GIVING_WAY = "pg_temp.keys_giving_way"
_PARTITIONS = "figures by partition"
_COLUMNS = "dagster/column_schema"
_CHUNK_ROWS = 50_000
_IDENTIFIER_BYTES = 63

_TYPES: dict[type[pl.DataType], str] = {
    pl.Int8: "smallint",
    pl.Int16: "smallint",
    pl.Int32: "integer",
    pl.Int64: "bigint",
    pl.UInt8: "smallint",
    pl.UInt16: "integer",
    pl.UInt32: "bigint",
    pl.Float32: "real",
    pl.Float64: "double precision",
    pl.Boolean: "boolean",
    pl.String: "text",
    pl.Categorical: "text",
    pl.Enum: "text",
    pl.Date: "date",
    pl.Time: "time without time zone",
    pl.Binary: "bytea",
}


_IS_LOCKED = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_locks
                   WHERE pid = pg_catalog.pg_backend_pid() AND relation = pg_catalog.to_regclass($1)
                     AND mode = 'AccessExclusiveLock' AND granted)
"""
_READERS = """
    SELECT concat_ws(' ', 'process', l.pid, 'of', a.usename, 'with', nullif(a.application_name, ''),
                     'since ' || to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SS') || ' UTC')
    FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    WHERE l.granted AND l.relation = pg_catalog.to_regclass($1) AND l.pid <> pg_catalog.pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    ORDER BY a.xact_start, l.pid
"""


class TableError(RuntimeError):
    """PostgreSQL refused something, or a table is not what its contract says. Names no values and no password."""


class PostgresDbIOManager(DescribesPartitions, DbIOManager):
    """Stores polars DataFrames, LazyFrames and FrameStreams as tables; loads DataFrames and LazyFrames.

    The table is named like the last part of the asset key. Asset metadata: `schema` (instead of the manager's),
    `partition_expr`: name of the partition column, or for multi-dimensional partitions a mapping from dimension
    to column. Input metadata: `columns`, to load some columns only. A time window is compared with
    `timestamptz` columns as moments, with `date` columns as the calendar days of the partitions' time zone, and
    with `timestamp` columns as UTC.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        schema: str | None = None,
        contracts: Mapping[str, type[dy.Schema]] | None = None,
        figures: Mapping[str, Sequence[Figure]] | None = None,
    ) -> None:
        """Connect to `url` when something is stored or loaded, and not before.

        Args:
            url: libpq URL of the database, or a function that gives it.
            schema: where the tables are; without it the second last part of the asset key, or `public`.
            contracts: by table name: the columns with types, nullability, keys, indexes
                (`metadata={"index": True}`) and comments. A table without one has the frame's columns.
            figures: by table name: what the UI shows of each partition, beside its number of rows.
        """
        self.client = PostgresClient(url)
        handler = PolarsTypeHandler(self.client, contracts or {}, figures)
        super().__init__(
            type_handlers=[handler], db_client=self.client, database="", schema=schema, default_load_type=pl.DataFrame
        )

    def partitions_written(self, context: dg.OutputContext) -> Sequence[str] | None:  # noqa: ARG002
        """Override it where not all partitions of the run are written: the keys of those that are, of one dimension.

        None: all of them.
        """
        return None

    def before_commit(self, context: dg.OutputContext, connection: adbc.Connection) -> None:
        """Override it to run statements in the transaction that replaces the rows, just before it commits."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Replace the partitions of the output, or the whole table where there are none, by the rows of `obj`.

        Raises:
            ContractError: the frame breaks its contract, or has rows outside of the partitions.
            TableError: the table in the database differs from the contract in more than new nullable columns, or
                PostgreSQL refused a statement.
        """
        # The base class deletes before it looks at the rows; here the rows come first.
        if obj is None:
            raise dg.DagsterInvariantViolationError(
                f"{context.asset_key.to_user_string()} returned None. Return a frame, or annotate the asset with "
                "-> None."
            )
        self._check_supported_type(type(obj))
        table_slice = self._get_table_slice(context, context)
        written_keys = self.partitions_written(context)
        if written_keys is not None and table_slice.partition_dimensions:
            (dimension,) = table_slice.partition_dimensions
            table_slice = table_slice._replace(partition_dimensions=[dimension._replace(partitions=written_keys)])
        handler = self._resolve_handler(type(obj))
        with self._db_client.connect(context, table_slice) as connection:
            metadata: dict[str, Any] = dict(handler.handle_output(context, table_slice, obj, connection) or {})
            self.before_commit(context, connection)
        written: Mapping[str, Mapping[str, int | float]] | None = metadata.pop(_PARTITIONS, None)
        if written is None:
            metadata["Query"] = dg.MetadataValue.text(self._db_client.get_select_statement(table_slice))
        else:
            found = self.partition_figures(context, written)
            slices = {key: _partition(table_slice, context.asset_partitions_def, key) for key in found}
            queries = {key: self._db_client.get_select_statement(of_key) for key, of_key in slices.items()}
            describe_partitions(context, {key: {**of, "Query": queries[key]} for key, of in found.items()})
        context.add_output_metadata({**metadata, "dagster/table_name": self._db_client.get_table_name(table_slice)})


class PostgresPolarsIOManager(dg.ConfigurableIOManagerFactory):
    """A `PostgresDbIOManager` for assets of any project, configured as Dagster's IO managers for databases are.

    The pipeline's own is made in code (`MartsIOManager`): what it writes to must be what the ledger speaks of.

    Attributes:
        url: libpq URL of the database. As a `dg.EnvVar`: what is written out can be read in the UI.
        schema_: where the tables are, `schema=` by name; without it the second last part of the asset key, or `public`.
    """

    url: str = Field(description="libpq URL of the database, e.g. as an environment variable.")
    schema_: str | None = Field(default=None, alias="schema", description="Schema of the tables.")

    def contracts(self) -> Mapping[str, type[dy.Schema]]:
        """Override it to declare tables; see `PostgresDbIOManager`."""
        return {}

    def create_io_manager(self, context: dg.InitResourceContext) -> PostgresDbIOManager:  # noqa: ARG002
        """The IO manager; nothing is connected yet."""
        return PostgresDbIOManager(self.url, schema=self.schema_, contracts=self.contracts())


# --- What a table looks like --------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """A column as PostgreSQL describes it; `index`: whether an index on it is there, or wanted."""

    name: str
    type: str
    nullable: bool = True
    comment: str | None = None
    index: bool = False


@dataclass(frozen=True)
class Table:
    """A table as declared, or as found in the database."""

    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    comment: str | None = None

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)


def postgres_type(dtype: pl.DataType, column: str = "") -> str:
    """The PostgreSQL type that holds every value of a Polars type, spelled as `format_type` spells it.

    Raises:
        ContractError: there is none that ADBC writes correctly (UInt64, Int128, Duration, Struct and others).
    """
    if isinstance(dtype, pl.Datetime):
        return "timestamp with time zone" if dtype.time_zone else "timestamp without time zone"
    if isinstance(dtype, pl.Decimal):
        return f"numeric({dtype.precision},{dtype.scale})"
    if isinstance(dtype, pl.List) and dtype.inner == pl.String:
        return "text[]"
    if known := _TYPES.get(dtype.base_type()):
        return known
    raise ContractError(
        f"column {column} is {dtype}, which cannot be stored in PostgreSQL. Cast it, say to Int64, Decimal or String."
    )


def declared_table(schema: pl.Schema, contract: type[dy.Schema] | None) -> Table:
    """The table a contract declares, or one with a frame's columns where there is no contract."""
    if contract is None:
        return Table(tuple(Column(name, postgres_type(dtype, name)) for name, dtype in schema.items()))
    columns = tuple(
        Column(
            name=name,
            type=postgres_type(column.dtype, name),
            nullable=column.nullable,
            comment=column.description,
            index=bool((column.metadata or {}).get("index")),
        )
        for name, column in contract.columns().items()
    )
    comment = (contract.__doc__ or "").strip().split("\n\n", 1)[0]
    return Table(columns, tuple(contract.primary_key()), " ".join(comment.split()) or None)


def new_columns(declared: Table, found: Table, name: str, *, by_contract: bool) -> list[Column]:
    """The nullable columns the declaration has and the table in the database lacks.

    Raises:
        TableError: they differ in anything else but comments and indexes.
    """
    problems = []
    added = []
    for column in declared.columns:
        there = found.column(column.name)
        if there is None and column.nullable:
            added.append(column)
        elif there is None:
            problems.append(f"column {column.name} ({column.type}, not null) is not in the table; declare it nullable")
        elif there.type != column.type:
            problems.append(f"column {column.name} is {there.type} in the table and {column.type} in what is written")
        elif by_contract and there.nullable != column.nullable:
            now, wanted = ("nullable" if nullable else "not null" for nullable in (there.nullable, column.nullable))
            problems.append(f"column {column.name} ({column.type}) is {now} in the table and {wanted} in the contract")
    problems += [
        f"column {column.name} ({column.type}) of the table is not in what is written"
        for column in found.columns
        if declared.column(column.name) is None
    ]
    if by_contract and declared.primary_key != found.primary_key:
        keys = (", ".join(table.primary_key) or "none" for table in (found, declared))
        problems.append("the primary key is {} in the table and {} in the contract".format(*keys))
    if problems:
        raise TableError(
            f"{name}: {'; '.join(problems)}. Nothing was written. Undo the change, or change the table by hand "
            f"(ALTER TABLE {name} …), or drop it (DROP TABLE {name}) and materialize all of it again."
        )
    return added


# --- Talking to PostgreSQL ----------------------------------------------------------------------------


def quoted(*names: str) -> str:
    """An identifier, qualified if there are several names."""
    for name in names:
        if not name or "\0" in name or len(name.encode()) > _IDENTIFIER_BYTES:
            raise ContractError(f"{name!r} cannot name anything in PostgreSQL: 1 to {_IDENTIFIER_BYTES} bytes.")
    return ".".join(map(identifier, names))


def _literal(text: str) -> str:
    if re.fullmatch(r"[\w .:+-]*", text):
        return f"'{text}'"
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def execute(connection: adbc.Connection, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Run a statement with bound `$1, $2, …` and return its rows, if it has any."""
    with connection.cursor() as cursor:
        cursor.execute(statement, tuple(parameters) or None)
        return cursor.fetchall() if cursor.description else []


class PostgresClient(DbClient):
    """Connections, and the statements about a slice of a table."""

    def __init__(self, url: str | Callable[[], str]) -> None:
        """Remember where the server is; nothing is connected yet."""
        self._url = url
        self._first: tuple[str, adbc.Connection] | None = None

    def __repr__(self) -> str:
        """Without the URL, which may hold a password."""
        return f"{type(self).__name__}()"

    @contextmanager
    def connect(
        self,
        context: dg.OutputContext | dg.InputContext | None,  # noqa: ARG002
        table_slice: TableSlice,
    ) -> Generator[adbc.Connection]:
        """One transaction: committed at the end, rolled back on any error.

        Raises:
            TableError: PostgreSQL cannot be reached or refused a statement.
        """
        name = self.get_table_name(table_slice)
        try:
            connection = self._connection()
        except adbc.Error as error:
            # The driver's message may hold a part of the URL, and so of the password.
            state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
            raise TableError(
                f"{name}: PostgreSQL cannot be reached{state}. Check the URL, and that the server runs and lets you in."
            ) from None
        with closing(connection):
            try:
                # Later statements must see what was committed while this one waited for its lock, whatever the
                # server's defaults are.
                execute(connection, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                execute(connection, "SET LOCAL timezone = 'UTC'")
                yield connection
                connection.commit()
            except adbc.Error as error:
                connection.rollback()
                raise _explained(error, name) from None
            except BaseException:
                connection.rollback()
                raise

    def _connection(self) -> adbc.Connection:
        """A connection of its own for every transaction, so that none finds what another has left.

        On the first one the driver reads all types of the server, which takes twenty times as long as to connect.
        Its copies share what was read. It is kept for that and runs no statement: a fork may inherit it, any thread
        copy it, and the server close it.
        """
        url = self._url if isinstance(self._url, str) else self._url()
        if self._first is None or self._first[0] != url:
            connection = adbc.connect(adbc_url(url), autocommit=True)
            # Closed with this client, or when the program ends.
            weakref.finalize(self, connection.close)
            self._first = url, connection
        return self._first[1].adbc_clone()

    @staticmethod
    def get_table_name(table_slice: TableSlice) -> str:
        """`schema.table`."""
        return f"{table_slice.schema}.{table_slice.table}"

    def lock(self, table_slice: TableSlice, connection: adbc.Connection) -> None:
        """Wait until no other transaction writes the table or changes its columns."""
        _advisory_lock(connection, f"table {self.get_table_name(table_slice)}")

    def ensure_schema_exists(
        self,
        context: dg.OutputContext,  # noqa: ARG002
        table_slice: TableSlice,
        connection: adbc.Connection,
    ) -> None:
        """Create the schema if it is missing."""
        exists = "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = $1"
        if not execute(connection, exists, [table_slice.schema])[0][0]:
            _advisory_lock(connection, f"schema {table_slice.schema}")
            execute(connection, f"CREATE SCHEMA IF NOT EXISTS {quoted(table_slice.schema)}")

    def delete_table_slice(
        self,
        context: dg.OutputContext,  # noqa: ARG002
        table_slice: TableSlice,
        connection: adbc.Connection,
    ) -> None:
        """Delete the rows of the slice's partitions, or all."""
        table = self.describe(table_slice, connection)
        if table is None:
            return
        condition, parameters = where(table_slice, table)
        execute(connection, f"DELETE FROM {_qualified(table_slice)} WHERE {condition}", parameters)  # noqa: S608

    def replace_differing(
        self, table_slice: TableSlice, declared: Table, connection: adbc.Connection, *, only_some: bool
    ) -> None:
        """Make the table equal to the staged rows, touching none that is there already. The lock is held.

        Args:
            table_slice: the table.
            declared: its columns and primary key.
            connection: with the staged rows.
            only_some: leave rows alone whose key is neither that of a staged row nor among those that give way.
        """
        table = _qualified(table_slice)
        key = " AND ".join(f"old.{quoted(name)} = new.{quoted(name)}" for name in declared.primary_key)
        names = [quoted(column.name) for column in declared.columns]
        old, new = (", ".join(f"{side}.{name}" for name in names) for side in ("old", "new"))
        differs = f"NOT EXISTS (SELECT FROM {_STAGED} AS new WHERE {key} AND ({new}) IS NOT DISTINCT FROM ({old}))"  # noqa: S608
        # Without statistics PostgreSQL would compare each row with each.
        execute(connection, f"ANALYZE {_STAGED}")
        if only_some:
            execute(connection, f"ANALYZE {_GIVING_WAY}")
            keys = ", ".join(map(quoted, declared.primary_key))
            touched = f"SELECT {keys} FROM {_STAGED} UNION SELECT {keys} FROM {_GIVING_WAY}"  # noqa: S608
            execute(connection, f"DELETE FROM {table} AS old USING ({touched}) AS new WHERE {key} AND {differs}")  # noqa: S608
        else:
            execute(connection, f"DELETE FROM {table} AS old WHERE {differs}")  # noqa: S608
        execute(
            connection,
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {new} FROM {_STAGED} AS new "  # noqa: S608
            f"WHERE NOT EXISTS (SELECT FROM {table} AS old WHERE {key})",
        )

    @staticmethod
    def get_select_statement(table_slice: TableSlice) -> str:
        """The rows of the slice as a statement for people: complete, with literals, correct to paste anywhere.

        What this module runs itself binds its values instead.
        """
        conditions = [_readable(dimension) for dimension in table_slice.partition_dimensions or []]
        columns = ", ".join(map(quoted, table_slice.columns)) if table_slice.columns else "*"
        text = f"SELECT {columns} FROM {_qualified(table_slice)}"  # noqa: S608
        return f"{text} WHERE {' AND '.join(conditions)}" if conditions else text

    def describe(self, table_slice: TableSlice, connection: adbc.Connection) -> Table | None:
        """The table as it is in the database, or None."""
        rows = execute(
            connection,
            """
            SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
                   pg_catalog.col_description(a.attrelid, a.attnum),
                   pg_catalog.array_position(k.indkey::smallint[], a.attnum)::integer,
                   pg_catalog.obj_description(a.attrelid, 'pg_class'),
                   EXISTS (SELECT FROM pg_catalog.pg_index i
                           WHERE i.indrelid = a.attrelid AND i.indisvalid AND i.indkey[0] = a.attnum)
            FROM pg_catalog.pg_attribute a
            LEFT JOIN pg_catalog.pg_index k ON k.indrelid = a.attrelid AND k.indisprimary
            WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY a.attnum
            """,
            [_qualified(table_slice)],
        )
        if not rows:
            return None
        columns = tuple(Column(name, kind, nullable, note, index) for name, kind, nullable, note, _, _, index in rows)
        keys = sorted((position, name) for name, _, _, _, position, _, _ in rows if position is not None)
        return Table(columns, tuple(name for _, name in keys), rows[0][5])

    def ensure_table(
        self, table_slice: TableSlice, declared: Table, connection: adbc.Connection, *, by_contract: bool
    ) -> None:
        """Create the table, or bring its columns and comments up to the declaration. The lock is held.

        Raises:
            TableError: it differs in more than new nullable columns, comments and indexes.
        """
        name = _qualified(table_slice)
        found = self.describe(table_slice, connection)
        if found is None:
            lines = [f"{quoted(c.name)} {c.type}{'' if c.nullable else ' NOT NULL'}" for c in declared.columns]
            execute(connection, f"CREATE TABLE {name} ({', '.join(lines)})")
        else:
            added = new_columns(declared, found, self.get_table_name(table_slice), by_contract=by_contract)
            if added:
                _without_readers(connection, name)
            for column in added:
                execute(connection, f"ALTER TABLE {name} ADD COLUMN {quoted(column.name)} {column.type}")
        if not by_contract:
            return
        found = self.describe(table_slice, connection)
        assert found is not None  # noqa: S101
        if declared.comment and declared.comment != found.comment:
            execute(connection, f"COMMENT ON TABLE {name} IS {_literal(declared.comment)}")
        for column in declared.columns:
            there = found.column(column.name)
            if column.comment and (there is None or there.comment != column.comment):
                text = _literal(column.comment)
                execute(connection, f"COMMENT ON COLUMN {name}.{quoted(column.name)} IS {text}")

    def ensure_indexes(self, table_slice: TableSlice, declared: Table, connection: adbc.Connection) -> None:
        """Create the primary key and the indexes that are missing. The lock is held.

        To be called when the rows are in: to index the rows of a new table at once takes a third of the time that
        it takes to index them one by one.
        """
        name = _qualified(table_slice)
        found = self.describe(table_slice, connection)
        assert found is not None  # noqa: S101
        if declared.primary_key and not found.primary_key:
            keys = ", ".join(map(quoted, declared.primary_key))
            execute(connection, f"ALTER TABLE {name} ADD PRIMARY KEY ({keys})")
        for column in declared.columns:
            there = found.column(column.name)
            if column.index and not (there and there.index):
                # No hash index, although a b-tree refuses values over 2.7 kB (see `storable`): where many rows have one
                # value (a property, a start page), each insert would walk through all of them.
                execute(connection, f"CREATE INDEX ON {name} ({quoted(column.name)})")


def _qualified(table_slice: TableSlice) -> str:
    return quoted(table_slice.schema, table_slice.table)


def _advisory_lock(connection: adbc.Connection, name: str) -> None:
    query = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"
    what = f"another transaction that writes or changes the {name}"
    take_turn(lambda: execute(connection, query, [name])[0][0], what, limit=_LOCK_LIMIT_SECONDS)


def _without_readers(connection: adbc.Connection, table: str) -> None:
    """Wait until nobody reads a table, and keep others from it until the transaction ends.

    Whoever comes while PostgreSQL waits for earlier readers waits too. So it waits for moments only: of a reader who
    never ends a transaction others notice nothing.

    Raises:
        WaitedTooLong: somebody has read it all the time.
    """
    # The driver goes on after no error but one that the server has dealt with.
    tried = f"BEGIN LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; EXCEPTION WHEN lock_not_available THEN NULL; END"

    def take() -> bool:
        execute(connection, "SET LOCAL lock_timeout = '500ms'")
        execute(connection, f"DO {_literal(tried)}")
        execute(connection, "SET LOCAL lock_timeout TO DEFAULT")
        return execute(connection, _IS_LOCKED, [table])[0][0]

    def readers() -> str:
        return "; ".join(row[0] for row in execute(connection, _READERS, [table]))

    take_turn(take, f"those who read {table} to end their transactions", limit=_READERS_LIMIT_SECONDS, holder=readers)


def _explained(error: adbc.Error, name: str) -> Exception:
    # DETAIL and CONTEXT repeat values of the rows.
    message = str(error).split("\nDETAIL:")[0].split("\nCONTEXT:")[0].strip()
    if error.sqlstate == "23505":
        return ContractError(
            f"{name}: a primary key or unique index would hold a key twice: rows of this write repeat each other, or "
            "rows of other partitions have the same key. Nothing was written."
        )
    return TableError(f"{name}: {message}")


# --- Partitions ---------------------------------------------------------------------------------------


def where(table_slice: TableSlice, table: Table) -> tuple[str, list[object]]:
    """The condition for the slice's partitions and its bound values.

    Raises:
        ContractError: a partition column does not exist.
    """
    conditions = []
    values: list[object] = []
    for dimension in table_slice.partition_dimensions or []:
        column = table.column(dimension.partition_expr)
        if column is None:
            raise ContractError(
                f"{table_slice.schema}.{table_slice.table}: the partition column {dimension.partition_expr} does not "
                "exist. Metadata partition_expr must be the name of a column."
            )
        name = quoted(column.name)
        if isinstance(dimension.partitions, dg.TimeWindow):
            start, end = (_bound(moment, column, table_slice) for moment in dimension.partitions)
            conditions.append(f"{name} >= ${len(values) + 1} AND {name} < ${len(values) + 2}")
            values += [start, end]
        elif dimension.partitions:
            # Keys are text whatever the column is.
            first = len(values) + 1
            places = (f"CAST(${n} AS {column.type})" for n in range(first, first + len(dimension.partitions)))
            conditions.append(f"{name} IN ({', '.join(places)})")
            values += list(dimension.partitions)
        else:
            conditions.append("false")
    return " AND ".join(conditions) or "true", values


def _bound(moment: datetime, column: Column, table_slice: TableSlice) -> date | datetime:
    if column.type == "timestamp with time zone":
        return moment.astimezone(UTC)
    if column.type == "timestamp without time zone":
        return moment.astimezone(UTC).replace(tzinfo=None)
    if column.type == "date" and moment.time() == time():
        return moment.date()
    raise ContractError(
        f"{table_slice.schema}.{table_slice.table}: time partitions need a column of moments, or of dates where they "
        f"start at midnight; {column.name} is {column.type}."
    )


def _readable(dimension: TablePartitionDimension) -> str:
    name = quoted(dimension.partition_expr)
    if isinstance(dimension.partitions, dg.TimeWindow):
        # PostgreSQL reads such a literal as a moment or as its calendar day, as the column wants.
        start, end = (_literal(moment.isoformat()) for moment in dimension.partitions)
        return f"{name} >= {start} AND {name} < {end}"
    keys = [_literal(key) for key in dimension.partitions]
    return "false" if not keys else f"{name} = {keys[0]}" if len(keys) == 1 else f"{name} IN ({', '.join(keys)})"


def read(
    connection: adbc.Connection,
    name: str,
    table: Table,
    *,
    columns: Sequence[str],
    condition: str,
    parameters: Sequence[object],
    types: Mapping[str, pl.DataType],
) -> pl.DataFrame:
    """Rows of a table.

    Args:
        connection: to the server.
        name: the table's, quoted.
        table: as it was found.
        columns: those wanted.
        condition: SQL for the rows wanted, with `$1, $2, …`.
        parameters: the condition's values.
        types: those the columns get, by name; the others have what fits the database's.
    """
    # ADBC has no Arrow type for numeric; as text it stays exact.
    selected = ", ".join(
        f"{quoted(column)}::text" if _of(table, column).startswith("numeric") else quoted(column) for column in columns
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {selected} FROM {name} WHERE {condition}", tuple(parameters) or None)  # noqa: S608
        frame = pl.DataFrame(cursor.fetch_arrow_table())
    frame.columns = list(columns)
    return frame.with_columns(
        pl.col(column).cast(dtype)
        for column in columns
        if (dtype := types.get(column) or _decimal(_of(table, column))) is not None
    )


# --- Polars -------------------------------------------------------------------------------------------


class PolarsTypeHandler(DbTypeHandler[Frames]):
    """Frames into a slice of a table, and back."""

    def __init__(
        self,
        client: PostgresClient,
        contracts: Mapping[str, type[dy.Schema]],
        figures: Mapping[str, Sequence[Figure]] | None = None,
    ) -> None:
        """Check frames against the contract of their table's name, and find its figures."""
        self._client = client
        self._contracts = dict(contracts)
        self._figures = dict(figures or {})

    @property
    def supported_types(self) -> Sequence[type[object]]:
        """What an asset may return."""
        return [pl.DataFrame, pl.LazyFrame, FrameStream]

    def handle_output(
        self, context: dg.OutputContext, table_slice: TableSlice, obj: Frames, connection: adbc.Connection
    ) -> Mapping[str, Any]:
        """Replace the slice by the frames' rows, in the connection's transaction."""
        name = self._client.get_table_name(table_slice)
        contract = self._contracts.get(table_slice.table)
        if isinstance(obj, pl.LazyFrame) and contract:
            # A wrong type is told before the work is done.
            check_schema(obj.collect_schema(), contract, name)
        column = _partition_column(context, table_slice)
        figures = PartitionFigures(self._figures.get(table_slice.table, ()))
        declared, rows = self._stage(
            table_slice, obj, contract, connection, lambda frame: _count(figures, frame, column)
        )
        can_differ = bool(declared.primary_key) and not table_slice.partition_dimensions
        replaces = obj.replaces if isinstance(obj, FrameStream) else None
        if replaces is not None and not can_differ:
            raise ContractError(f"{name}: to replace some rows a table needs a primary key and no partitions.")

        client = self._client
        client.lock(table_slice, connection)
        client.ensure_schema_exists(context, table_slice, connection)
        client.ensure_table(table_slice, declared, connection, by_contract=contract is not None)
        condition, parameters = where(table_slice, declared)
        stray = execute(connection, f"SELECT count(*) FROM {_STAGED} WHERE ({condition}) IS NOT TRUE", parameters)  # noqa: S608
        if stray[0][0]:
            # They would stay when this partition is written again, and so be there twice.
            raise ContractError(
                f"{name}: {stray[0][0]} of {rows} rows are not in the partition being written "
                f"({_partitions(context)}). Filter them out, or request their partitions too. Nothing was written."
            )
        if replaces is not None:
            keys = [column for column in declared.columns if column.name in declared.primary_key]
            _create_temporary(connection, _GIVING_WAY, keys)
            _ingest(connection, _GIVING_WAY, storable(replaces.select(declared.primary_key), declared.primary_key))
        if can_differ:
            client.replace_differing(table_slice, declared, connection, only_some=replaces is not None)
        else:
            client.delete_table_slice(context, table_slice, connection)
            columns = ", ".join(quoted(column.name) for column in declared.columns)
            execute(
                connection,
                f"INSERT INTO {_qualified(table_slice)} ({columns}) SELECT {columns} FROM {_STAGED}",  # noqa: S608
            )
        client.ensure_indexes(table_slice, declared, connection)
        if replaces is not None:
            rows = execute(connection, f"SELECT count(*) FROM {_qualified(table_slice)}")[0][0]  # noqa: S608
        counts = self._row_counts(context, table_slice, declared, rows, figures)
        if _COLUMNS in (context.definition_metadata or {}):
            # Of each day of each run it would be most of what Dagster keeps.
            return counts
        return {**counts, _COLUMNS: _table_schema(declared)}

    def _stage(
        self,
        table_slice: TableSlice,
        obj: Frames,
        contract: type[dy.Schema] | None,
        connection: adbc.Connection,
        count: Callable[[pl.DataFrame], None],
    ) -> tuple[Table, int]:
        """Copy the rows into a temporary table; returns the declared table and the number of rows.

        `count` is given every frame.
        """
        name = self._client.get_table_name(table_slice)
        schema = contract_schema(contract) if contract else None
        declared: Table | None = None
        rows = 0
        known = isinstance(obj, FrameStream) and obj.checked
        for returned in iterate(obj):
            frame = checked(returned, contract, name) if contract and not known else returned
            schema = schema or frame.schema
            if frame.schema != schema:
                raise ContractError(f"{name}: a frame has the columns {frame.schema}, the first one had {schema}.")
            if declared is None:
                declared = self._prepare(table_slice, schema, contract, connection)
            if frame.height:
                indexed = [*declared.primary_key, *(column.name for column in declared.columns if column.index)]
                _ingest(connection, _STAGED, storable(frame, indexed))
                rows += frame.height
                count(frame)
        if declared is None:
            if schema is None:
                raise ContractError(f"{name}: a FrameStream without frames needs a contract to know the columns.")
            declared = self._prepare(table_slice, schema, contract, connection)
        return declared, rows

    def _prepare(
        self, table_slice: TableSlice, schema: pl.Schema, contract: type[dy.Schema] | None, connection: adbc.Connection
    ) -> Table:
        """Compare the declared columns with the table's before any row is sent, and create the temporary table."""
        declared = declared_table(schema, contract)
        where(table_slice, declared)
        if found := self._client.describe(table_slice, connection):
            new_columns(declared, found, self._client.get_table_name(table_slice), by_contract=contract is not None)
        _create_temporary(connection, _STAGED, declared.columns)
        return declared

    def _row_counts(
        self,
        context: dg.OutputContext,
        table_slice: TableSlice,
        declared: Table,
        rows: int,
        figures: PartitionFigures,
    ) -> Mapping[str, Any]:
        if not context.has_asset_partitions:
            return {"dagster/row_count": rows}
        definition = context.asset_partitions_def
        name = _partition_column(context, table_slice)
        column = declared.column(name) if name else None
        if column is None or (isinstance(definition, dg.TimeWindowPartitionsDefinition) and column.type != "date"):
            # Which partition a row is of cannot be told by its value.
            one = len(context.asset_partition_keys) == 1
            return {"dagster/partition_row_count" if one else "rows": rows}
        (dimension,) = table_slice.partition_dimensions or []
        if isinstance(definition, dg.TimeWindowPartitionsDefinition):
            # A subclass may have chosen some of the window's.
            keys = dimension.partitions
            if isinstance(keys, dg.TimeWindow):
                keys = definition.get_partition_keys_in_time_window(keys)
            return {_PARTITIONS: {key: figures.of(definition.start_time_for_partition_key(key).date()) for key in keys}}
        return {_PARTITIONS: {key: figures.of(key) for key in context.asset_partition_keys}}

    def load_input(
        self, context: dg.InputContext, table_slice: TableSlice, connection: adbc.Connection
    ) -> pl.DataFrame | pl.LazyFrame:
        """The slice's rows, with the contract's types.

        Raises:
            TableError: there is no such table.
            ContractError: a column asked for does not exist.
        """
        name = self._client.get_table_name(table_slice)
        table = self._client.describe(table_slice, connection)
        if table is None:
            raise TableError(f"{name} does not exist. Materialize {context.asset_key.to_user_string()} first.")
        available = [column.name for column in table.columns]
        columns = subset(table_slice.columns or available, available, name)
        condition, parameters = where(table_slice, table)
        contract = self._contracts.get(table_slice.table)
        types = contract_schema(contract) if contract else pl.Schema()
        frame = read(
            connection,
            _qualified(table_slice),
            table,
            columns=columns,
            condition=condition,
            parameters=parameters,
            types=types,
        )
        return frame.lazy() if context.dagster_type.typing_type is pl.LazyFrame else frame


def _partition_column(context: dg.OutputContext, table_slice: TableSlice) -> str | None:
    """The column that tells partitions apart, if it is one."""
    dimensions = table_slice.partition_dimensions or []
    return dimensions[0].partition_expr if context.has_asset_partitions and len(dimensions) == 1 else None


def _count(figures: PartitionFigures, frame: pl.DataFrame, column: str | None) -> None:
    if column is not None and column in frame.columns:
        # Keys that are no days are texts whatever the column is.
        as_key = pl.col(column) if frame.schema[column] == pl.Date else pl.col(column).cast(pl.String)
        figures.add_by(frame.with_columns(as_key), column)


def _partition(table_slice: TableSlice, definition: dg.PartitionsDefinition, key: str) -> TableSlice:
    """One of the partitions of a slice that are told apart by a column of dates or of texts: the rows with its key."""
    (dimension,) = table_slice.partition_dimensions or []
    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        key = definition.start_time_for_partition_key(key).date().isoformat()
    return table_slice._replace(partition_dimensions=[dimension._replace(partitions=[key])])


def _create_temporary(connection: adbc.Connection, name: str, columns: Sequence[Column]) -> None:
    """A table for this transaction."""
    listed = ", ".join(f"{quoted(column.name)} {column.type}" for column in columns)
    execute(connection, f"CREATE TEMPORARY TABLE {name.partition('.')[2]} ({listed}) ON COMMIT DROP")


def _ingest(connection: adbc.Connection, name: str, frame: pl.DataFrame) -> None:
    """Copy rows into a temporary table."""
    data = frame.select(_as_stored(column, dtype) for column, dtype in frame.schema.items())
    reader = data.to_arrow(compat_level=pl.CompatLevel.oldest()).to_reader(_CHUNK_ROWS)
    with connection.cursor() as cursor:
        cursor.adbc_ingest(name.partition(".")[2], reader, mode="append", temporary=True)


def _of(table: Table, name: str) -> str:
    column = table.column(name)
    return column.type if column else ""


def _decimal(kind: str) -> pl.DataType | None:
    """The Polars type of `numeric(p,s)`."""
    if not kind.startswith("numeric("):
        return None
    precision, _, scale = kind.removeprefix("numeric(").rstrip(")").partition(",")
    return pl.Decimal(int(precision), int(scale))


def _as_stored(name: str, dtype: pl.DataType) -> pl.Expr:
    """The column in the width that its PostgreSQL type has, for ADBC copies bytes as they are."""
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        column = column.dt.cast_time_unit("us")
        return column.dt.convert_time_zone("UTC") if dtype.time_zone else column
    widened = {
        pl.Int8: pl.Int16,
        pl.UInt8: pl.Int16,
        pl.UInt16: pl.Int32,
        pl.UInt32: pl.Int64,
        pl.Categorical: pl.String,
        pl.Enum: pl.String,
    }.get(dtype.base_type())
    return column.cast(widened) if widened else column


def _partitions(context: dg.OutputContext) -> str:
    keys = context.asset_partition_keys if context.has_asset_partitions else []
    return keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}" if keys else "none"


def _table_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type,
                description=column.comment,
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable, unique=table.primary_key == (column.name,)
                ),
            )
            for column in table.columns
        ],
        constraints=dg.TableConstraints([f"primary key ({', '.join(table.primary_key)})"] if table.primary_key else []),
    )
