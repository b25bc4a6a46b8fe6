"""How components learn for which deployment they are loaded."""

import types

import dagster as dg

from pipeline_assets.settings import Settings


class DefsModule(types.ModuleType):
    """The module that Dagster wants in place of a folder; it reads the folder's path and a name for messages only."""

    def __init__(self, folder: str, settings: Settings) -> None:
        """The folder of declarations of a deployment."""
        super().__init__("pipeline_assets.defs")
        self.__path__ = [folder]
        self.__file__ = None
        self.settings = settings


def settings_of(context: dg.ComponentLoadContext) -> Settings:
    """The settings a component is loaded for: the environment's, where one of Dagster's own tools loads it."""
    module = context.component_tree.defs_module
    return module.settings if isinstance(module, DefsModule) else Settings.from_environment()
