"""The two jobs: load what is pending, and build the days that are stale."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# Runs with this tag exclude each other: two loaders would compete for the same files, two builds for the same days.
EXCLUSIVE = "pipeline/exclusive"

LOAD_JOB = "load_sources"
BUILD_JOB = "build_days"


def load_job(sources: list[dg.AssetKey]) -> UnresolvedAssetJobDefinition:
    """Load the pending files of all sources."""
    return dg.define_asset_job(
        LOAD_JOB,
        selection=dg.AssetSelection.assets(*sources),
        description="Load all files that are pending in landing.",
        tags={EXCLUSIVE: "refresh"},
    )


def build_job(tables: list[dg.AssetKey]) -> UnresolvedAssetJobDefinition:
    """Build all daily tables for a range of days."""
    return dg.define_asset_job(
        BUILD_JOB,
        selection=dg.AssetSelection.assets(*tables),
        description="Build events and every table made from them for a range of days.",
        tags={EXCLUSIVE: "refresh"},
    )
