"""The component behind a source's YAML: its attributes are those of `Source`."""

import dagster as dg
from pydantic import BaseModel

from pipeline_assets.component_tree.declaring import DeclaringComponent, attributes_of
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


@dg.scaffold_with(EventSourceScaffolder)
class EventSource(DeclaringComponent):
    """Loads the event files of one source: JSON, CSV, TSV, Parquet or access logs, mapped by SQL expressions."""

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The attributes in YAML are the source's declaration."""
        return attributes_of(Source)
