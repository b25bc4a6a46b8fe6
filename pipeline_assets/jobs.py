"""The two jobs: load what is pending, and build the days that are stale."""

import dagster as dg

# What the public `define_asset_job` returns; the type is not exported.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from pipeline_assets.namespace import Namespace

# Runs with this tag exclude each other: two loaders would compete for the same files, two builds for the same days.
EXCLUSIVE = "pipeline/exclusive"

LOAD_JOB = "load_sources"
BUILD_JOB = "build_days"

EXECUTOR = dg.in_process_executor
"""On this workload a process for every step costs more than the step."""


def job_name(job: str, namespace: Namespace) -> str:
    """The name of a job in a deployment."""
    return namespace.named(job)


def load_job(sources: list[dg.AssetKey], namespace: Namespace) -> UnresolvedAssetJobDefinition:
    """Load the pending files of all sources."""
    return dg.define_asset_job(
        job_name(LOAD_JOB, namespace),
        selection=dg.AssetSelection.assets(*sources),
        description="Load all files that are pending in landing.",
        tags={EXCLUSIVE: "refresh"},
        executor_def=EXECUTOR,
    )


def build_job(tables: list[dg.AssetKey], namespace: Namespace) -> UnresolvedAssetJobDefinition:
    """Build all daily tables for a range of days."""
    return dg.define_asset_job(
        job_name(BUILD_JOB, namespace),
        selection=dg.AssetSelection.assets(*tables),
        description="Build events and every table made from them for a range of days.",
        tags={EXCLUSIVE: "refresh"},
        executor_def=EXECUTOR,
    )
