"""Every kind of analysis. Whatever depends on which there are (components, tables, what is remembered) asks here."""

from collections.abc import Mapping
from typing import Any

from pipeline_assets.analyses.attribution import ATTRIBUTION
from pipeline_assets.analyses.channels import CHANNELS
from pipeline_assets.analyses.conversion import CONVERSION
from pipeline_assets.analyses.currencies import CURRENCIES
from pipeline_assets.analyses.funnel import FUNNEL
from pipeline_assets.analyses.kind import AnalysisKind
from pipeline_assets.analyses.own import TABLE
from pipeline_assets.analyses.paths import PATHS
from pipeline_assets.analyses.retention import RETENTION

KINDS: Mapping[str, AnalysisKind[Any]] = {
    kind.model.__name__: kind
    for kind in (FUNNEL, RETENTION, PATHS, CONVERSION, ATTRIBUTION, CHANNELS, CURRENCIES, TABLE)
}
"""By the name of the component."""
