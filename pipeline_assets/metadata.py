"""What the Dagster UI shows of a table, taken from its contract."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
import dataframely as dy
import polars as pl
import yaml
from pydantic import BaseModel

from pipeline_assets.columns import type_name

DATA_VERSION = "dagster/data_version"
"""The tag by which Dagster knows the data version of an observation."""
_NO_ROWS = "no rows"


def observed_day(key: dg.AssetKey, day: date, version: str | None, **metadata: Any) -> dg.AssetObservation:
    """What Dagster is told of a day of an asset that it does not materialize.

    Args:
        key: the asset.
        day: the day.
        version: what the ledger knows the day by; None where nothing is left of it.
        metadata: what else the UI shows of it.
    """
    tags = {DATA_VERSION: _NO_ROWS if version is None else version}
    return dg.AssetObservation(key, partition=day.isoformat(), metadata=metadata, tags=tags)


def described(text: str, declared: BaseModel | None) -> str:
    """A description, and what is declared of the asset as its file would say it, where something is.

    Args:
        text: the description, in Markdown.
        declared: the declaration.
    """
    if declared is None:
        return text
    attributes = declared.model_dump(mode="json", exclude={"name"}, exclude_unset=True)
    written = yaml.safe_dump(attributes, sort_keys=False, allow_unicode=True, width=120)
    return f"{text}\n\nAs declared:\n\n```yaml\n{written}```"


def column_schema(contract: type[dy.Schema], type_of: Callable[[pl.DataType], str] = type_name) -> dg.TableSchema:
    """Columns with types, descriptions and constraints.

    Args:
        contract: the table's columns.
        type_of: what their types are called where the table is.
    """
    key = contract.primary_key()
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=type_of(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=column.unique or key == [name]),
                tags={"primary_key": ""} if column.primary_key else None,
            )
            for name, column in contract.columns().items()
        ],
        constraints=dg.TableConstraints([f"primary key ({', '.join(key)})"] if key else []),
    )


def column_lineage(contract: type[dy.Schema], inputs: Mapping[str, Sequence[dg.AssetKey]]) -> dg.TableColumnLineage:
    """Which columns of its inputs every column is made of, as its contract says.

    Args:
        contract: the table's columns.
        inputs: by the name that contracts use: the assets that hold it, none or several. Others are left out.
    """
    return dg.TableColumnLineage(
        deps_by_column={
            name: [
                dg.TableColumnDep(asset_key=key, column_name=made_of.partition(".")[2])
                for made_of in dict.fromkeys((column.metadata or {}).get("made_of", ()))
                for key in inputs.get(made_of.partition(".")[0], ())
            ]
            for name, column in contract.columns().items()
        }
    )
