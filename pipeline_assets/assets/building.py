"""What the assets of all tables share: partitions, claims in the ledger, metadata."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline_assets.asset_keys import table_key
from pipeline_assets.columns import type_name
from pipeline_assets.declarations.analyses import Analysis
from pipeline_assets.io_managers.postgres import postgres_type
from pipeline_assets.ledger.builds import Claim
from pipeline_assets.metadata import column_lineage, column_schema, described
from pipeline_assets.partitions import ONLY_STALE_TAG, tagged_days
from pipeline_assets.planning import UNPARTITIONED, digest
from pipeline_assets.platform import Platform
from pipeline_assets.resources import resource_key
from pipeline_assets.settings import Settings
from pipeline_assets.tables.spec import TableSpec

BY_DAY = dg.DataVersion("by day, as its revisions")
"""The data version of a table without partitions whose revisions of each day Dagster is told; see `revisions_asset`."""


def table_arguments(
    table: TableSpec,
    settings: Settings,
    *,
    made_of: Mapping[str, Sequence[dg.AssetKey]],
    days: dg.DailyPartitionsDefinition,
    declared: Analysis | None,
    **arguments: Any,
) -> dict[str, Any]:
    """Arguments of `@dg.asset` for a table.

    Args:
        table: the table.
        settings: the deployment's.
        made_of: the assets that its column lineage may name, by the name that contracts use.
        days: the partitions of daily tables.
        declared: what declares it, if it is a declared one.
        arguments: further ones.
    """
    daily: dict[str, Any] = {}
    metadata: dict[str, Any] = {
        # Once here, and not with every materialization of every day.
        "dagster/column_schema": column_schema(table.contract, type_name if table.store == "lake" else postgres_type),
        "dagster/column_lineage": column_lineage(table.contract, made_of),
    }
    if table.store == "marts":
        metadata["dagster/table_name"] = f"{settings.namespace.marts}.{table.name}"
    if table.written_at is not None:
        file, line = table.written_at
        written = dg.LocalFileCodeReference(file_path=file, line_number=line, label=Path(file).name)
        metadata["dagster/code_references"] = dg.CodeReferencesMetadataValue(code_references=[written])
    if table.partition_column is not None:
        metadata["partition_expr"] = table.partition_column
        # A range of days is one run: the transforms cut it into batches that fit in memory.
        daily = {
            "partitions_def": days,
            "backfill_policy": dg.BackfillPolicy.single_run(),
        }
    return {
        "key": table_key(table.name, settings.namespace),
        "description": described(table.description, declared),
        "group_name": settings.namespace.named(table.group),
        "kinds": {"polars", "parquet" if table.store == "lake" else "postgres"},
        "io_manager_key": resource_key(table.store, settings.namespace),
        "code_version": table.version,
        "metadata": metadata,
        **daily,
        **arguments,
    }


def claimed(context: dg.AssetExecutionContext, platform: Platform, table: TableSpec) -> Claim:
    """The days this run builds of a table, claimed in the ledger before anything of their inputs is read.

    All of the run's days, or where it was asked for what is stale, those that are stale for the table: no other day is
    built, however far around a day the table or another one looks.
    """
    run = context.run
    platform.settle(run.run_id, building=True)
    days = [UNPARTITIONED] if table.partition_column is None else tagged_days(run.tags)
    claim = platform.claim(table.name, days, run.run_id, only_stale=ONLY_STALE_TAG in run.tags)
    context.set_data_version(context.asset_key, data_version(claim.fingerprints) if table.revisions is None else BY_DAY)
    return claim


def data_version(fingerprints: Mapping[date, str]) -> dg.DataVersion:
    """Dagster's version of what a run materializes of an asset, from the ledger's fingerprints of its days.

    Dagster takes one version for all partitions of a run and compares, of each partition, that of the latest run with
    the one before: it differs where the day was built from something else, for no run builds a day that is up to date
    unless somebody asks for it.
    """
    return dg.DataVersion(digest([f"{day}:{fingerprints[day]}" for day in sorted(fingerprints)]))
