"""The tables of the standard model: every module of this package that has something under its own name."""

import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module

from pipeline_assets import tables
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import TableSpec

Maker = TableSpec | Callable[[Declarations], TableSpec | None]
"""A table, or what makes it from the declarations; None where they leave nothing to make."""


@cache
def fixed_tables() -> Mapping[str, Maker]:
    """The tables that a deployment may have whatever is declared, by name."""
    found: dict[str, Maker] = {}
    for module in pkgutil.iter_modules(tables.__path__):
        maker = getattr(import_module(f"{tables.__name__}.{module.name}"), module.name, None)
        if maker is not None:
            found[module.name] = maker
    return found


def made(maker: Maker, declared: Declarations) -> TableSpec | None:
    """The table of a deployment."""
    return maker if isinstance(maker, TableSpec) else maker(declared)
