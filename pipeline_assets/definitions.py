"""What Dagster loads: one call of `build_defs`."""

import warnings

import dagster as dg

from pipeline_assets.build import build_defs
from pipeline_assets.jobs import EXECUTOR
from pipeline_assets.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """The code location."""
    # Dagster's own doing, while it looks for checks that components define: nothing the user could mend.
    warnings.filterwarnings("ignore", "Parameter `execution_type`", dg.BetaWarning)
    settings = Settings.from_environment()
    settings.require_declarations()
    return build_defs(settings, executor=EXECUTOR)
