"""Kinds of values that several declarations have."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def _expression(value: Any) -> Any:
    # YAML reads `consent: true` and `revenue: 0` as a boolean and a number; as SQL they are meant literally.
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


Sql = Annotated[str, BeforeValidator(_expression), Field(min_length=1)]
"""A DuckDB expression, as text."""
