"""What a kind of analysis is: one value, which the module of the kind makes and `kinds` lists."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline_assets.declarations.analyses import Analysis
from pipeline_assets.declarations.yaml_files import Kind
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import TableSpec

M = TypeVar("M", bound=Analysis)


@dataclass(frozen=True, kw_only=True)
class AnalysisKind(Kind[M]):
    """What is declared as one type of component, and what becomes of it.

    Attributes:
        example: attributes of a declaration to start from.
        table: makes its table; None for what has its part in other tables. Its model is a `TableAnalysis` if it is one.
    """

    example: Mapping[str, Any] = field(hash=False)
    table: Callable[[M, Declarations], TableSpec] | None = None
