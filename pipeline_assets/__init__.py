"""User-behaviour data as Dagster assets: exactly-once loading, Polars transforms, PostgreSQL tables.

What a project of one's own needs is importable from here, and is imported when it is asked for: nothing else happens on
import. What Dagster loads of this repository is `pipeline_assets.definitions`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline_assets.build import build_defs
    from pipeline_assets.declarations.problems import DeclarationError
    from pipeline_assets.settings import Settings, SettingsError

    __version__: str

__all__ = ["DeclarationError", "Settings", "SettingsError", "__version__", "build_defs"]

_MODULES = {
    "DeclarationError": "pipeline_assets.declarations.problems",
    "Settings": "pipeline_assets.settings",
    "SettingsError": "pipeline_assets.settings",
    "build_defs": "pipeline_assets.build",
}


def __getattr__(name: str) -> Any:
    """The public names; Dagster takes seconds to import."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pipeline-assets")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
