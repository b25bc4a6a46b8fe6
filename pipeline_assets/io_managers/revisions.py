"""What Dagster is told of a table without partitions, whose rows it knows by one version only."""

from collections.abc import Iterable
from datetime import date

import dagster as dg

from pipeline_assets.asset_keys import revisions_key
from pipeline_assets.built import Built
from pipeline_assets.metadata import observed_day
from pipeline_assets.namespace import Namespace


def observe_revisions(context: dg.OutputContext, built: Built, days: Iterable[date], namespace: Namespace) -> None:
    """Tell of which days a table says something else since it was published.

    Args:
        context: of the output.
        built: what was published.
        days: these days, as the ledger found them.
        namespace: the deployment's.
    """
    key, revisions = revisions_key(built.table, namespace), built.revisions or {}
    for day in sorted(days):
        context.log_event(observed_day(key, day, revisions.get(day)))
