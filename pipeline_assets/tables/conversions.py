"""The conversions table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import dataframely as dy
import duckdb
import polars as pl

from pipeline_assets.columns import made_of, money, text, utc
from pipeline_assets.declarations.analyses import Conversion
from pipeline_assets.tables.checking import all_zero, in_reporting
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.selection import select_conversions
from pipeline_assets.tables.spec import EVENTS, Input, Inputs, TableSpec, sums
from pipeline_assets.transforms.currencies import Rates, in_reporting_currency
from pipeline_assets.transforms.ordering import ORDER_COLUMNS, event_order
from pipeline_assets.transforms.sessionize import hex_ids


class Conversions(dy.Schema):
    """One row per conversion: an event of a visitor that a declared `Conversion` means. Bots convert nothing."""

    conversion_date = dy.Date(
        description="Calendar day of the event in the reporting time zone",
        metadata=made_of("events.event_date", index=True),
    )
    conversion = text("Name of the declared conversion", metadata=made_of(index=True))
    conversion_id = text(
        "Deterministic id: hash of conversion, property, event id and time",
        primary_key=True,
        metadata=made_of("events.property", "events.event_id", "events.occurred_at"),
    )
    property = text("Site, app or fleet", metadata=made_of("events.property", index=True))
    visitor_id = text("The visitor, see events", metadata=made_of("events.visitor_id", index=True))
    user_id = text("User id of the event", nullable=True, metadata=made_of("events.user_id", index=True))
    session_id = text(
        "The visitor's session that spans the event, both ends included; of several, the one that started last",
        nullable=True,
        metadata=made_of("sessions.session_id", "sessions.started_at", "sessions.ended_at", index=True),
    )
    occurred_at = utc("Time of the event", metadata=made_of("events.occurred_at"))
    value = money(
        "What the conversion is worth, by the declared expression; negative for a loss",
        nullable=True,
        metadata=made_of("events.revenue"),
    )
    currency = text("Currency of the value, ISO 4217", nullable=True, metadata=made_of("events.currency"))
    reporting_value = money(
        "The value in the reporting currency; null where there is no value or no rate that day",
        nullable=True,
        metadata=made_of("events.revenue", "events.currency", "events.event_date"),
    )
    order_id = text("Id of the order", nullable=True, metadata=made_of("events.order_id"))


ONCE_PER_SESSION = "once_per_session"

_VISITOR = ("property", "visitor_id")
_EVENT_COLUMNS = (
    "conversion",
    "event_date",
    "property",
    "visitor_id",
    "user_id",
    *ORDER_COLUMNS,
    "value",
    "currency",
    "order_id",
    "counting",
)
_SESSION_COLUMNS = ("session_id", *_VISITOR, "started_at", "ended_at")


def build_conversions(
    events: pl.LazyFrame | pl.DataFrame,
    sessions: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    rates: Rates,
) -> pl.DataFrame:
    """Conversions on `days`, per `Conversions`.

    An event belongs to the session of its visitor that spans it, both ends included; where several do (supplied
    sessions may overlap), to the one that started last, then to the one with the smaller id. Counting `every` makes
    each event a conversion; `once_per_session` only a session's first (`event_order`), and of the events without a
    session only the visitor's first of a calendar day. A value that does not fit the column is null.

    Reads the events of `days` and, of conversions counted once per session, those of the days before on which a
    session may have begun that goes on into `days`: the first conversion of such a session may lie there.

    Args:
        events: one row per event and declared conversion that means it: conversion (its name), event_date, property,
            visitor_id, user_id, `ORDER_COLUMNS`, value (the worth in `currency`), currency, order_id, counting (`every`
            or `once_per_session`). Bots are left out by the caller; events without a visitor here.
        sessions: at least all sessions (`Sessions`) that span an event of `events`.
        days: conversion dates to build.
        rates: worth of the currencies in the reporting currency, on the day of the event.
    """
    wanted = sorted(set(days))
    is_wanted = pl.col("event_date").is_in(wanted)
    is_once = pl.col("counting") == ONCE_PER_SESSION
    rows = (
        events.lazy()
        .filter(pl.col("visitor_id").is_not_null(), is_wanted | is_once)
        .select(_EVENT_COLUMNS)
        .collect()
        .sort("conversion", "property", *event_order(), nulls_last=True)
        .with_row_index("row")
    )
    place = [
        "conversion",
        *_VISITOR,
        "session_id",
        pl.when(pl.col("session_id").is_null()).then(pl.col("event_date")).alias("day_without_session"),
    ]
    counted = (
        rows.join(_spanning_sessions(rows, sessions), on="row", how="left", maintain_order="left")
        .filter(~is_once | (pl.col("row") == pl.col("row").min().over(place)))
        .filter(is_wanted)
        .with_columns(pl.col("value").cast(money("").dtype, strict=False))
    )
    return (
        counted.with_columns(
            _conversion_ids(counted),
            conversion_date=pl.col("event_date"),
            reporting_value=in_reporting_currency(pl.col("value"), pl.col("currency"), pl.col("event_date"), rates),
        )
        .select(Conversions.column_names())
        .sort("conversion_date", "conversion", "occurred_at", "conversion_id")
    )


def _spanning_sessions(rows: pl.DataFrame, sessions: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """The session of each row that is in one: row, session_id."""
    return (
        rows.lazy()
        .select("row", *_VISITOR, "occurred_at")
        .join(sessions.lazy().select(_SESSION_COLUMNS), on=_VISITOR)
        .filter(pl.col("occurred_at").is_between("started_at", "ended_at"))
        .sort("row", "started_at", "session_id", descending=[False, True, False])
        .unique("row", keep="first", maintain_order=True)
        .select("row", "session_id")
        .collect()
    )


def _conversion_ids(rows: pl.DataFrame) -> pl.Series:
    """Id of each conversion: 32 hex digits of a hash of conversion, property, event id and time."""
    return hex_ids(
        rows.select(
            pl.concat_str(
                pl.col("occurred_at").dt.epoch("us"),
                # The lengths keep apart what a name with separators in it would make equal.
                pl.col("conversion").str.len_bytes(),
                pl.col("property").str.len_bytes(),
                "conversion",
                "property",
                "event_id",
                separator="\x1f",
            )
        ).to_series()
    ).alias("conversion_id")


@dataclass(frozen=True)
class Parameters:
    """What conversions depend on.

    Attributes:
        conversions: the declared ones.
        rates: the reporting currency and its rates.
    """

    conversions: tuple[Conversion, ...]
    rates: Rates


def select(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], days: Sequence[date], parameters: Parameters
) -> pl.DataFrame:
    """See `select_conversions`."""
    return select_conversions(connection, paths, parameters.conversions, days)


def build(inputs: Inputs, days: Sequence[date], parameters: Parameters) -> pl.DataFrame:
    """See `build_conversions`."""
    return build_conversions(inputs[EVENTS], inputs["sessions"], days, rates=parameters.rates)


def conversions(declared: Declarations) -> TableSpec | None:
    """The table, where a conversion is declared."""
    wanted = declared.analyses.of(Conversion)
    if not wanted:
        return None
    # The first conversion of a session may lie on a day before.
    before = declared.longest_session_days
    return TableSpec(
        name="conversions",
        contract=Conversions,
        partition_column="conversion_date",
        group="analyses",
        figures=sums("reporting_value"),
        inputs=(
            Input(EVENTS, before=before, select=select),
            Input(
                "sessions",
                before=before,
                columns=("session_id", "session_date", "property", "visitor_id", "started_at", "ended_at"),
            ),
        ),
        build=build,
        parameters=Parameters(wanted, declared.rates),
        event_names=tuple(dict.fromkeys(name for each in wanted for name in each.event or ())),
        checks=(
            in_reporting(
                declared.rates.reporting,
                all_zero(
                    "has_values",
                    "Conversions of the days that are worth something in a currency without a rate: nothing is "
                    "credited for them. Shows those without a currency, which count as ones in the reporting currency.",
                    "select count(*) filter (where reporting_value is null) as without_rate, "
                    "count(*) filter (where currency is null) as without_currency "
                    "from marts.conversions where conversion_date = any(:days) and value is not null",
                    shown=("without_currency",),
                ),
            ),
        ),
    )
