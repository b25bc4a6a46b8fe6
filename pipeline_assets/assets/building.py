"""What the assets of all daily tables share: partitions, claims in the ledger, metadata."""

from datetime import date
from typing import Any

import dagster as dg

from pipeline_assets.contracts.tables import Table
from pipeline_assets.ledger.files import StagedFile
from pipeline_assets.metadata import column_schema
from pipeline_assets.partitions import daily_partitions, day_range
from pipeline_assets.platform import Platform
from pipeline_assets.recipes import VERSIONS
from pipeline_assets.runs import note_worker
from pipeline_assets.settings import Settings


def daily_table(table: Table, settings: Settings, **arguments: Any) -> dict[str, Any]:
    """Arguments of `@dg.asset` for a daily table."""
    arguments["metadata"] = {
        "partition_expr": table.partition_column,
        "dagster/column_schema": column_schema(table.contract),
        **arguments.get("metadata", {}),
    }
    return {
        "name": table.name,
        "description": table.description,
        "partitions_def": daily_partitions(settings),
        "code_version": str(VERSIONS[table.name]),
        # A range of days is one run: the transforms cut it into batches that fit in memory.
        "backfill_policy": dg.BackfillPolicy.single_run(),
        **arguments,
    }


def around(days_before: int, days_after: int = 0) -> dg.TimeWindowPartitionMapping:
    """Partition mapping for a table that reads the days around its own."""
    return dg.TimeWindowPartitionMapping(start_offset=-days_before, end_offset=days_after)


def claimed_days(
    context: dg.AssetExecutionContext, platform: Platform, table: Table, staged: list[StagedFile] | None = None
) -> list[date]:
    """The days this run builds, claimed in the ledger before anything of their inputs is read."""
    note_worker(context)
    days = run_days(context)
    run_id = context.run.run_id
    platform.builds.claim(table.name, days, staged or [], run_id, read_since=platform.read_begins(run_id))
    return days


def run_days(context: dg.AssetExecutionContext) -> list[date]:
    """The contiguous days this run builds."""
    window = context.partition_key_range
    return day_range(date.fromisoformat(window.start), date.fromisoformat(window.end))
