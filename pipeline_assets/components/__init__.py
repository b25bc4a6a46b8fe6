"""The Dagster components behind the YAML declarations in `defs/` and `PIPELINE_DEFS_DIR`."""

from pipeline_assets.components.analyses import (
    Attribution,
    Channels,
    Conversion,
    Currencies,
    Funnel,
    Paths,
    Retention,
    Table,
)
from pipeline_assets.components.event_pipeline import EventPipeline
from pipeline_assets.components.event_source import EventSource

__all__ = [
    "Attribution",
    "Channels",
    "Conversion",
    "Currencies",
    "EventPipeline",
    "EventSource",
    "Funnel",
    "Paths",
    "Retention",
    "Table",
]
