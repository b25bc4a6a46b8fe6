"""How components learn for which deployment they are loaded."""

import types
from pathlib import Path

import dagster as dg
from dagster.components.core.decl import ComponentDecl, DefsFolderDecl, build_component_decls_from_directory_items
from dagster.components.core.defs_module import ComponentPath

from pipeline_assets.settings import Settings

PIPELINE = "pipeline_assets.components.EventPipeline"


class DefsModule(types.ModuleType):
    """The module that Dagster wants in place of a folder.

    Args:
        name: of the module that the folder is; Python files below it are imported by it.
        folder: the folder.
        settings: those of the deployment.
    """

    def __init__(self, name: str, folder: Path, settings: Settings) -> None:
        super().__init__(name)
        self.__path__ = [str(folder)]
        self.__file__ = None
        self.settings = settings


class PipelineTree(dg.ComponentTree):
    """The components in the folders of an EventPipeline, whose own `defs.yaml` is not one of them."""

    def _get_filesystem_decl(self) -> ComponentDecl:
        loc = ComponentPath.from_path(self.defs_module_path)
        known = self.state_tracker.get_cache_data(loc).component_decl
        if known is not None:
            return known
        context = self.decl_load_context.for_component_loc(loc)
        found = DefsFolderDecl(
            context=context,
            loc=loc,
            children=build_component_decls_from_directory_items(context, None),
            source_tree=None,
            component_file_model=None,
        )
        self.state_tracker.set_cache_data(loc, component_decl=found)
        return found


def settings_of(context: dg.ComponentLoadContext) -> Settings:
    """The settings of the deployment that a component is loaded for.

    Raises:
        DagsterInvalidDefinitionError: it is loaded for none.
    """
    module = context.component_tree.defs_module
    if isinstance(module, DefsModule):
        return module.settings
    raise dg.DagsterInvalidDefinitionError(
        f"{context.path}: what is declared here belongs to no pipeline, so that it has neither tables nor resources. "
        f"Move it into a folder below one whose defs.yaml says `type: {PIPELINE}` (dg scaffold defs {PIPELINE} NAME)."
    )
