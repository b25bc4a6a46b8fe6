"""The code location of a test's deployment, for the UI's own queries in this process."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_graphql.test.utils import execute_dagster_graphql

from pipeline_assets_tests.end_to_end.deployment import Deployment

shown: dg.Definitions | None = None
"""What the location holds; Dagster asks for it by its name."""


class Ask(Protocol):
    """A query of the UI."""

    def __call__(self, query: str, **variables: object) -> Mapping[str, Any]:
        """Its answer."""
        ...


@contextmanager
def web_server(deployment: Deployment) -> Generator[Ask]:
    """What answers the UI's queries about a deployment."""
    global shown  # noqa: PLW0603
    shown = deployment.definitions
    origin = InProcessCodeLocationOrigin(  # ty: ignore[abstract-class-instantiation] - a record, whose fields they are
        LoadableTargetOrigin(module_name=__name__, attribute="shown"), location_name="deployment"
    )
    with WorkspaceProcessContext(deployment.instance, InProcessWorkspaceLoadTarget(origin)) as process:

        def ask(query: str, **variables: object) -> Mapping[str, Any]:
            answer = execute_dagster_graphql(process.create_request_context(), query, variables)
            assert answer.data, answer.errors
            return answer.data

        try:
            yield ask
        finally:
            shown = None
