"""Takes the events an analysis asks for out of the lake, with DuckDB.

The declared expressions must have been checked (`checking`). Each is evaluated by TRY: where it fails on a row, that
row is not meant, and no other row is touched by it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date

import duckdb
import polars as pl

from pipeline_assets.columns import money
from pipeline_assets.declarations.analyses import Conversion, Selector
from pipeline_assets.sql import identifier, literal
from pipeline_assets.storage.parquet import duckdb_paths
from pipeline_assets.tables.event_columns import EVENT_COLUMNS
from pipeline_assets.tables.events import Events
from pipeline_assets.transforms.ordering import ORDER_COLUMNS

_MONEY = money("")
_VALUE_TYPE = f"DECIMAL({_MONEY.precision}, {_MONEY.scale})"
# Taken from the declared columns: an empty frame would start the engine's threads on import.
_SCHEMA = {name: column.dtype for name, column in Events.columns().items()}
_CONVERSION_COLUMNS = ("event_date", "property", "visitor_id", "user_id", *ORDER_COLUMNS)

CONVERSION_SCHEMA = pl.Schema(
    {
        "conversion": pl.String(),
        **{name: _SCHEMA[name] for name in _CONVERSION_COLUMNS},
        "value": _MONEY.dtype,
        "currency": pl.String(),
        "order_id": pl.String(),
        "counting": pl.String(),
    }
)
"""Columns of `select_conversions`: the input of `tables.conversions.build_conversions`."""


def condition(selector: Selector) -> str:
    """A selector as SQL over the columns of `events`: true or false, never null.

    Where the selector's own expression is null or fails on a row, it is false.
    """
    parts: list[str] = []
    if selector.event is not None:
        parts.append(f"event_name IN ({_literals(selector.event)})")
    if selector.type is not None:
        parts.append(f"event_type IN ({_literals(selector.type)})")
    if selector.where is not None:
        # The line break keeps a trailing comment from swallowing the bracket.
        parts.append(f"TRY(({selector.where}\n))")
    return f"coalesce({' AND '.join(parts)}, false)" if parts else "true"


def select_events(
    connection: duckdb.DuckDBPyConnection,
    paths: Sequence[str],
    *,
    columns: Sequence[str],
    marks: Mapping[str, Selector],
    properties: Collection[str] = (),
    days: Collection[date],
    only_marked: bool,
) -> pl.DataFrame:
    """Events of some days with one boolean column per mark, in no particular order.

    Reads of the files only the columns asked for and those the selectors name, and skips what lies outside of the days,
    properties and event names. Bots are left out, and events without a visitor.

    Args:
        connection: any connection; it is not changed. Times are seen in UTC by the expressions.
        paths: Parquet files per `Events`; none of them may be missing. None: no events.
        columns: columns of `events` wanted.
        marks: name of a column -> which events it is true for. It is never null.
        properties: only events of these; empty: of all.
        days: the event dates wanted.
        only_marked: whether events without a mark are left out.

    Returns:
        The columns asked for and then the marks.

    Raises:
        ValueError: a column is none of `events`, or a mark has the name of one.
        duckdb.Error: a file cannot be read.
    """
    unknown = [name for name in columns if name not in EVENT_COLUMNS]
    if unknown:
        raise ValueError(f"events has no column {', '.join(unknown)}")
    taken = [name for name in marks if name in EVENT_COLUMNS]
    if taken:
        raise ValueError(f"events has a column {', '.join(taken)} of its own")
    schema = pl.Schema({**{name: _SCHEMA[name] for name in columns}, **dict.fromkeys(marks, pl.Boolean())})
    if not paths or (only_marked and not marks):
        return pl.DataFrame(schema=schema)
    wanted = [
        *map(identifier, columns),
        *(f"{condition(selector)} AS {identifier(mark)}" for mark, selector in marks.items()),
    ]
    where, parameters = _rows_wanted(properties, days)
    if only_marked:
        where += _any_event_name(marks.values())
    # The marks are computed below the filter by them, so that each is written once.
    sql = f"SELECT {', '.join(wanted)} FROM read_parquet($paths, hive_partitioning = false) WHERE {where}"  # noqa: S608 - checked expressions, quoted names
    if only_marked:
        sql = f"SELECT * FROM ({sql}) WHERE {' OR '.join(map(identifier, marks))}"  # noqa: S608 - as above
    return _run(connection, sql, paths, parameters, schema)


def select_conversions(
    connection: duckdb.DuckDBPyConnection,
    paths: Sequence[str],
    conversions: Iterable[Conversion],
    days: Collection[date],
) -> pl.DataFrame:
    """Events of some days that are declared conversions, per `CONVERSION_SCHEMA`, in no particular order.

    An event that several conversions mean is there once for each. `value` is the conversion's expression as a decimal,
    in the event's currency; null where it is null, fails, or is no number that fits. Bots are left out, and events
    without a visitor.

    Args:
        connection: any connection; it is not changed. Times are seen in UTC by the expressions.
        paths: Parquet files per `Events`; none of them may be missing. None: no events.
        conversions: the declared conversions.
        days: the event dates wanted.

    Raises:
        duckdb.Error: a file cannot be read.
    """
    frames = [_conversion_rows(connection, paths, conversion, days) for conversion in conversions]
    return pl.concat([pl.DataFrame(schema=CONVERSION_SCHEMA), *frames])


def _conversion_rows(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], conversion: Conversion, days: Collection[date]
) -> pl.DataFrame:
    if not paths:
        return pl.DataFrame(schema=CONVERSION_SCHEMA)
    where, parameters = _rows_wanted(conversion.properties, days)
    sql = f"""
        SELECT {literal(conversion.name)} AS conversion, {", ".join(_CONVERSION_COLUMNS)},
            TRY(CAST(({conversion.value}\n) AS {_VALUE_TYPE})) AS value,
            currency, order_id, {literal(conversion.counting)} AS counting
        FROM read_parquet($paths, hive_partitioning = false)
        WHERE {where} AND {condition(conversion)}
    """  # noqa: S608 - checked expressions, quoted texts
    return _run(connection, sql, paths, parameters, CONVERSION_SCHEMA)


def _literals(texts: Iterable[str]) -> str:
    return ", ".join(map(literal, texts))


def _rows_wanted(properties: Collection[str], days: Collection[date]) -> tuple[str, dict[str, object]]:
    where = "event_date IN (SELECT unnest($days::date[])) AND NOT is_bot AND visitor_id IS NOT NULL"
    if properties:
        where += f" AND property IN ({_literals(properties)})"
    return where, {"days": sorted(days)}


def _any_event_name(selectors: Collection[Selector]) -> str:
    """A condition on event names that all marked events fulfil: one the Parquet reader can skip rows by."""
    names: dict[str, None] = {}
    for selector in selectors:
        if selector.event is None:
            return ""
        names |= dict.fromkeys(selector.event)
    return f" AND event_name IN ({_literals(names)})"


def _run(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    paths: Sequence[str],
    parameters: Mapping[str, object],
    schema: pl.Schema,
) -> pl.DataFrame:
    # A cursor has settings of its own: the connection keeps its time zone.
    with connection.cursor() as cursor:
        cursor.execute("SET TimeZone = 'UTC'")
        rows = cursor.sql(sql, params={"paths": duckdb_paths(cursor, paths), **parameters}).pl()
    return rows.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
