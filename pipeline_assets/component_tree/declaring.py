"""What the components of declarations have in common: which deployment they are loaded for, and what they declare."""

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

# For PipelineTree; of all that is not public see test_dagster_private.
from dagster.components.core.decl import ComponentDecl, DefsFolderDecl, build_component_decls_from_directory_items
from dagster.components.core.defs_module import ComponentPath
from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from pipeline_assets.declarations.yaml_files import FOLDERS

PIPELINE = FOLDERS[0]

Place = tuple[Path, int]
"""Where a component is declared: its folder, and which document of the file there, from 0."""

_TEMPLATE = {"type": "string", "pattern": r"\{[{%]", "description": "A template, such as {{ env.X }}."}


class DefsModule(types.ModuleType):
    """The module that Dagster wants in place of a folder.

    Args:
        name: of the module that the folder is; Python files below it are imported by it.
        folder: the folder.

    Attributes:
        resolve: fills in a template where a component is declared; known of those that Dagster has loaded.
        values: what the components declare.
        build: builds the definitions of one of these; absent where nothing is built.
    """

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self.__path__ = [str(folder)]
        self.__file__ = None
        self.resolve: dict[Place, Callable[[str], Any]] = {}
        self.values: Mapping[Place, BaseModel] = {}
        self.build: Callable[[Any], dg.Definitions] | None = None


class PipelineTree(dg.ComponentTree):
    """The components in the folders of an EventPipeline, whose own `defs.yaml` is not one of them."""

    # There is no public way to load what is beside a component's file as Dagster loads what is in a plain folder: of a
    # folder with such a file it looks at nothing else.
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


class DeclaringComponent(dg.Component):
    """A component whose attributes declare something.

    Dagster finds it, fills in templates, and applies what else its file says. What the attributes declare is read in
    one place for Dagster and for the command line (see `loading`), with every mistake's file, line and column.
    """

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> "DeclaringComponent":
        """Leave the attributes to whoever reads the declarations, with what fills in templates here."""
        del attributes
        module = context.component_tree.defs_module
        if isinstance(module, DefsModule):
            module.resolve[place_of(context)] = context.resolution_context.resolve_value
        return cls()

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The assets and checks of what is declared.

        Raises:
            DagsterInvalidDefinitionError: it is loaded for no deployment, or was not declared in YAML.
        """
        module = context.component_tree.defs_module
        if not isinstance(module, DefsModule) or module.build is None:
            raise dg.DagsterInvalidDefinitionError(
                f"{context.path}: what is declared here belongs to no pipeline, so that it has neither tables nor "
                f"resources. Move it into a folder below one whose defs.yaml says `type: {PIPELINE}` (dg scaffold defs "
                f"{PIPELINE} NAME)."
            )
        place = place_of(context)
        if place not in module.values:
            raise dg.DagsterInvalidDefinitionError(
                f"{context.path}: {type(self).__name__} is a component for YAML (`type: "
                f"pipeline_assets.components.{type(self).__name__}`): from there the command line reads it too."
            )
        return module.build(module.values[place])


def place_of(context: dg.ComponentLoadContext) -> tuple[Path, Any]:
    """Where a component is declared; in a Python file it has a name there in place of a number."""
    return context.path, context.component_path.instance_key


def attributes_of(model: type[BaseModel]) -> type[BaseModel]:
    """What Dagster is told of a declaration's attributes: their schema, in which a template may stand for any value.

    It does not judge them. That is left to the reader of declarations, who tells all mistakes in all files at once.
    """

    class Attributes(BaseModel):
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
            del source, handler
            return core_schema.any_schema()

        @classmethod
        def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
            del schema, handler
            found = model.model_json_schema()
            return _templated(found, found.get("$defs", {}))

    Attributes.__name__ = Attributes.__qualname__ = model.__name__
    Attributes.__doc__ = model.__doc__
    return Attributes


def _templated(schema: Any, shared: Mapping[str, Any]) -> Any:
    """A JSON schema without references, in which a template may stand for any value that is not the whole."""
    while "$ref" in schema:
        schema = {
            **shared[schema["$ref"].rpartition("/")[2]],
            **{key: at for key, at in schema.items() if key != "$ref"},
        }
    found = {key: value for key, value in schema.items() if key != "$defs"}
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _or_template(_templated(found[key], shared))
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in found:
            found[key] = [_templated(each, shared) for each in found[key]]
    if "properties" in found:
        parts = found["properties"].items()
        found["properties"] = {name: _or_template(_templated(part, shared)) for name, part in parts}
    return found


def _or_template(schema: Any) -> Any:
    if schema.get("type") == "string" and not schema.keys() & {"enum", "pattern", "const", "maxLength", "format"}:
        return schema
    about = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    choices = schema["anyOf"] if schema.keys() - about.keys() == {"anyOf"} else [schema]
    return {**about, "anyOf": [*choices, _TEMPLATE]}
