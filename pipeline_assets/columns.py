"""Column types that recur in the contracts.

Every column of a table that is made from others says in its metadata what it is made of, by `made_of`: column lineage,
in the metadata of its asset for catalogues that show it. Dagster's open-source UI does not.
"""

from collections.abc import Sequence
from typing import Any

import dataframely as dy
import polars as pl


def utc(description: str, **options: Any) -> dy.Datetime:
    """A moment in UTC with microseconds."""
    return dy.Datetime(time_zone="UTC", time_unit="us", description=description, **options)


def money(description: str, **options: Any) -> dy.Decimal:
    """An exact amount in the currency named beside it: 18 digits, 6 of them after the point."""
    return dy.Decimal(precision=18, scale=6, description=description, **options)


def text(description: str, **options: Any) -> dy.String:
    """Text; null where it is unknown, never the empty string."""
    return dy.String(description=description, **options)


def choice(values: Sequence[str], description: str, **options: Any) -> dy.String:
    """Text that is one of `values`."""
    pattern = "^(" + "|".join(values) + ")$"
    return dy.String(regex=pattern, description=f"{description}: {', '.join(values)}", **options)


def share(description: str, **options: Any) -> dy.Float64:
    """A part of a whole, from 0 to 1."""
    return dy.Float64(min=0, max=1, description=description, **options)


def made_of(*columns: str, **metadata: Any) -> dict[str, Any]:
    """Metadata of a column: the columns it is made of, as `table.column`, and whatever else there is (`index`)."""
    return {"made_of": columns, **metadata}


def contract_schema(contract: type[dy.Schema]) -> pl.Schema:
    """Column names and Polars types of a contract, in its order."""
    return pl.Schema({name: column.dtype for name, column in contract.columns().items()})


def type_name(dtype: pl.DataType) -> str:
    """A type as people read it: `Datetime(UTC)`, `Decimal(18, 6)`, `String`."""
    if isinstance(dtype, pl.Datetime):
        return f"Datetime({dtype.time_zone})" if dtype.time_zone else "Datetime"
    if isinstance(dtype, pl.Decimal):
        return f"Decimal({dtype.precision}, {dtype.scale})"
    return str(dtype)
