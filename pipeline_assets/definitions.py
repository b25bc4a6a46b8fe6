"""What Dagster loads: one call of `build_defs`."""

import dagster as dg

from pipeline_assets.build import build_defs


@dg.definitions
def defs() -> dg.Definitions:
    """The code location."""
    return build_defs()
