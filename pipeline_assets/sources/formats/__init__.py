"""The ready formats: one module each, which holds a `FORMAT`. A new module is a new format; nothing else changes."""

import pkgutil
from importlib import import_module

from pipeline_assets.sources.formats.ready import ReadyFormat

__all__ = ["READY_FORMATS", "ReadyFormat"]


def _formats() -> list[ReadyFormat]:
    modules = (import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    return [module.FORMAT for module in modules if hasattr(module, "FORMAT")]


READY_FORMATS: dict[str, ReadyFormat] = {name: ready for ready in _formats() for name in (ready.name, *ready.aliases)}
"""By name and by alias."""
