"""What the UI is told of a deployment: Dagster's GraphQL, asked in this process."""

import sys
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceLoadTarget
from dagster_graphql.test.utils import execute_dagster_graphql

LOADED: dg.Definitions
"""The code location that is asked about; Dagster loads it by its name."""


class _Here(WorkspaceLoadTarget):
    def create_origins(self) -> list[InProcessCodeLocationOrigin]:
        target = LoadableTargetOrigin(executable_path=sys.executable, module_name=__name__, attribute="LOADED")
        origin = InProcessCodeLocationOrigin(target, location_name="here")  # ty: ignore[abstract-class-instantiation]
        return [origin]


def ask(definitions: dg.Definitions, instance: dg.DagsterInstance, query: str, **variables: Any) -> Mapping[str, Any]:
    """The answer to a query about a code location."""
    globals()["LOADED"] = definitions
    with WorkspaceProcessContext(instance, _Here()) as workspace:
        answer = execute_dagster_graphql(workspace.create_request_context(), query, variables)
    assert not answer.errors
    return answer.data


STALE = """
query($key: AssetKeyInput!, $daily: Boolean!, $partitions: [String!]) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    staleStatus
    staleStatusByPartition(partitions: $partitions) @include(if: $daily)
    staleCauses { reason category }
    dataVersion
  } }
}"""


def stale(
    definitions: dg.Definitions, instance: dg.DagsterInstance, key: dg.AssetKey, days: list[str] | None = None
) -> dict[str, Any]:
    """What the UI says of an asset, and of some of its partitions."""
    key_input = {"path": list(key.path)}
    answer = ask(definitions, instance, STALE, key=key_input, daily=days is not None, partitions=days)
    return answer["assetNodeOrError"]
