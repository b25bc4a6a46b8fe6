"""The call of a table's function, which may be anybody's: what it asks for and what it gives is looked at here."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from pipeline_assets.io_managers.frames import ContractError
from pipeline_assets.tables.spec import Counted, Inputs, TableSpec


def made_by(spec: TableSpec, inputs: Inputs, days: Sequence[date]) -> pl.DataFrame | Counted:
    """What a table's function makes.

    Args:
        spec: the table.
        inputs: the rows that it reads, by name.
        days: to make; none where the table has no partitions.

    Raises:
        ContractError: it asks for a table that is none of its inputs, or gives something else than rows.
    """
    made = spec.build(_Inputs(spec, inputs), days, spec.parameters)
    if isinstance(made, pl.DataFrame) or (isinstance(made, Counted) and spec.is_daily):
        return made
    hint = "collect it, and " if isinstance(made, pl.LazyFrame) else ""
    raise ContractError(
        f"{spec.name}: the function at {spec.place} returned {type(made).__name__}; {hint}return a polars DataFrame."
    )


class _Inputs(dict[str, pl.LazyFrame]):
    def __init__(self, spec: TableSpec, inputs: Inputs) -> None:
        super().__init__(inputs)
        self._spec = spec

    def __missing__(self, name: str) -> pl.LazyFrame:
        spec = self._spec
        raise ContractError(
            f"{spec.name}: the function at {spec.place} reads '{name}', which is none of its inputs: "
            f"{', '.join(self)}. Add it to the inputs of the table."
        )
