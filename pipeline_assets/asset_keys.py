"""The keys of assets: as a namespace has them, and plain without one. Nothing else makes one."""

import dagster as dg

from pipeline_assets.namespace import PLAIN, Namespace
from pipeline_assets.planning import BuildRequest


def table_key(table: str, namespace: Namespace = PLAIN) -> dg.AssetKey:
    """Asset key of a table: the namespace where there is one, and its name."""
    return dg.AssetKey(namespace.asset(table))


def staged_days_key(namespace: Namespace = PLAIN) -> dg.AssetKey:
    """Asset key of the days of all sources' staged rows."""
    return table_key("staged_days", namespace)


def revisions_key(table: str, namespace: Namespace = PLAIN) -> dg.AssetKey:
    """Asset key of what a table without partitions says of each day."""
    return table_key(f"{table}_revisions", namespace)


def staging_key(source: str, namespace: Namespace = PLAIN) -> dg.AssetKey:
    """Asset key of a source's staged rows: the namespace where there is one, `staging`, and the source."""
    return dg.AssetKey(namespace.asset("staging", source))


def requested_keys(request: BuildRequest, namespace: Namespace) -> list[dg.AssetKey]:
    """The assets that a request is for."""
    return [table_key(table, namespace) for table in request.tables]
