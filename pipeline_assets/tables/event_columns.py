"""The columns of `events` as DuckDB sees them."""

import polars as pl

from pipeline_assets.tables.events import Events


def _sql_type(dtype: pl.DataType) -> str:
    match dtype:
        case pl.Decimal():
            return f"DECIMAL({dtype.precision}, {dtype.scale})"
        case pl.Datetime():
            return "TIMESTAMPTZ" if dtype.time_zone else "TIMESTAMP"
        case pl.Date():
            return "DATE"
        case pl.Boolean():
            return "BOOLEAN"
        case pl.Float64():
            return "DOUBLE"
        case pl.Int64():
            return "BIGINT"
        case _:
            return "VARCHAR"


EVENT_COLUMNS = {name: _sql_type(column.dtype) for name, column in Events.columns().items()}
"""Column of `events` -> its type in DuckDB."""
