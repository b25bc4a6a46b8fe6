"""What Dagster loads: one call of `build_defs`."""

import warnings

import dagster as dg

from pipeline_assets.build import build_defs


@dg.definitions
def defs() -> dg.Definitions:
    """The code location."""
    # Dagster's own doing, while it looks for checks that components define: nothing the user could mend.
    warnings.filterwarnings("ignore", "Parameter `execution_type`", dg.BetaWarning)
    return build_defs()
