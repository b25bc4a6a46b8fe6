"""The component behind a source's YAML: its attributes are those of `Source`."""

from typing import Any

import dagster as dg
from dagster.components.scaffold.scaffold import scaffold_with
from pydantic import BaseModel

from pipeline_assets.components.declaring import settings_of
from pipeline_assets.sources.declaration import Source

_EXAMPLE = {
    "format": "jsonl",
    "mapping": {
        "event_id": "id",
        "event_name": "event",
        "occurred_at": "timestamp",
        "anonymous_id": "anonymous_id",
        "user_id": "user_id",
    },
}


class EventSourceScaffolder(dg.Scaffolder):
    """Writes a declaration to start from."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write `defs.yaml` with an example mapping of JSON lines."""
        dg.scaffold_component(request, {"path": f"{request.target_path.name}/*.jsonl*", **_EXAMPLE})


@scaffold_with(EventSourceScaffolder)
class EventSource(dg.Component):
    """Loads the event files of one source: JSON, CSV, TSV, Parquet or access logs, mapped by SQL expressions."""

    def __init__(self, source: Source) -> None:
        """A component for a declared source."""
        self.source = source

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The attributes in YAML are the source's declaration."""
        return Source

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> "EventSource":
        """Take over the attributes; a source without a name is called like its folder."""
        if not isinstance(attributes, Source):
            raise dg.DagsterInvalidDefinitionError(f"{context.path}: a source needs `attributes`")
        named = attributes.model_copy(update={"name": attributes.name or context.path.name})
        return cls(named)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The staging asset of the source, and its checks."""
        # The assets need the whole platform; `dg list components` and schemas do not.
        from pipeline_assets.assets.staging import staging_assets

        return staging_assets(self.source, settings_of(context))
