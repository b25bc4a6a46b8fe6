"""What planning and the ledger have to know of a table, and nothing else."""

from dataclasses import dataclass

from pipeline_assets.tables.spec import Input


@dataclass(frozen=True)
class Planned:
    """See `planning.Spec`."""

    name: str
    version: str
    inputs: tuple[Input, ...]
    is_daily: bool = True
