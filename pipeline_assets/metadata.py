"""What the Dagster UI shows of a table, taken from its contract."""

import dagster as dg
import dataframely as dy

from pipeline_assets.io_managers.frames import type_name


def column_schema(contract: type[dy.Schema]) -> dg.TableSchema:
    """Columns with types, descriptions and constraints."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=type_name(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=column.unique),
                tags={"primary_key": ""} if column.primary_key else None,
            )
            for name, column in contract.columns().items()
        ]
    )
