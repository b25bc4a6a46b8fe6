"""What the materializations of a run say; shared by the IO managers."""

from collections.abc import Mapping
from typing import Any

import dagster as dg


def describe_partitions(context: dg.OutputContext, metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """Have each partition's materialization say what is known of it, also where a run writes several of them."""
    if len(context.asset_partition_keys) == 1:
        context.add_output_metadata(dict(next(iter(metadata.values()))))
        return
    for key, of_partition in metadata.items():
        context.step_context.add_asset_metadata(dict(of_partition), asset_key=context.asset_key, partition_key=key)


class DescribesPartitions:
    """The hook of an IO manager for what the UI is to show of each partition."""

    def partition_figures(
        self,
        context: dg.OutputContext,  # noqa: ARG002
        written: Mapping[str, Mapping[str, int | float]],
    ) -> Mapping[str, Mapping[str, int | float]]:
        """What the UI is to show of each partition that was written; called when the rows are there.

        Args:
            context: of the output.
            written: their figures.
        """
        return written
