"""What Dagster loads: one call of `build_defs`."""

import logging
import warnings

import dagster as dg

from pipeline_assets.build import build_defs, build_platform
from pipeline_assets.jobs import EXECUTOR
from pipeline_assets.platform import Platform
from pipeline_assets.settings import Settings
from pipeline_assets.staging.looking import peek

logger = logging.getLogger(__name__)


@dg.definitions
def defs() -> dg.Definitions:
    """The code location."""
    # Dagster's own doing, while it looks for checks that components define: nothing the user could mend.
    warnings.filterwarnings("ignore", "Parameter `execution_type`", dg.BetaWarning)
    settings = Settings.from_environment()
    settings.require_declarations()
    platform = build_platform(settings)
    _tell_doubts(platform)
    return build_defs(platform=platform, executor=EXECUTOR)


def _tell_doubts(platform: Platform) -> None:
    """Warn of what a declaration seems to get wrong, by the files that are there: `dg check defs` shows it.

    It is no error: tomorrow's file may have the column, and until then the others load.
    """
    for name, source in platform.sources.items():
        if platform.is_declared(name):
            for doubt in peek(source, platform.settings.landing_dir):
                logger.warning("Source %s: %s", name, doubt)
