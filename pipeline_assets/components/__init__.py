"""The Dagster components behind the YAML declarations in `defs/` and `PIPELINE_DEFS_DIR`.

Dagster finds them here by name: `EventPipeline`, `EventSource`, and one of the name of each kind of analysis.
"""

from pipeline_assets.components.analyses import ANALYSES
from pipeline_assets.components.event_pipeline import EventPipeline
from pipeline_assets.components.event_source import EventSource

__all__ = ["ANALYSES", "EventPipeline", "EventSource"]

globals().update(ANALYSES)
