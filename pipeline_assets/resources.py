"""The names that a deployment's resources have in a code location, which it may share with other definitions.

Assets, checks and sensors name the resources they need as `platform`, `duckdb`, `progress`, `lake` and `marts`. In
Dagster these are keys of the whole code location, where somebody else may have a `duckdb` too.

But for DuckDB's they are plain objects and no ConfigurableResources. All that may be set is a setting (`settings.py`),
which the command line, sensors, checks and runs must share: a run that is launched with another lake or ledger than the
sensors look at would book what is nowhere. Progress has nothing to set. Another object takes the place of one in
`build_defs(resource_overrides=…)`. A project's own assets can be stored with `io_managers.postgres` alone, whose
`PostgresPolarsIOManager` is configurable.
"""

import functools
import inspect
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipeline_assets.locks import run_locks
from pipeline_assets.namespace import Namespace
from pipeline_assets.runs import storage_locks

if TYPE_CHECKING:
    from pipeline_assets.platform import Platform
    from pipeline_assets.settings import Settings

RESOURCES = ("platform", "duckdb", "progress", "lake", "marts")
"""What assets, checks and sensors call them."""


def resource_key(resource: str, namespace: Namespace) -> str:
    """The key of a resource in a code location, e.g. `pipeline_lake` or `acme_pipeline_lake`."""
    return namespace.named(f"pipeline_{resource}")


def with_resources_of(namespace: Namespace) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator below Dagster's own: parameters that name resources are given those of a deployment."""
    keys = {resource: resource_key(resource, namespace) for resource in RESOURCES}
    names = {key: resource for resource, key in keys.items()}

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
            return function(*arguments, **{names.get(key, key): value for key, value in named.items()})

        @functools.wraps(function)
        def plain(*arguments: Any, **named: Any) -> Any:
            return call(arguments, named)

        @functools.wraps(function)
        def yielding(*arguments: Any, **named: Any) -> Any:
            yield from call(arguments, named)

        # Dagster treats the two differently.
        given = yielding if inspect.isgeneratorfunction(function) else plain
        signature = inspect.signature(function)
        parameters = [each.replace(name=keys.get(each.name, each.name)) for each in signature.parameters.values()]
        # What Dagster reads in place of the function's own.
        given.__signature__ = signature.replace(parameters=parameters)  # ty: ignore[missing-attribute]
        return given

    return decorate


def _described(settings: "Settings") -> str:
    """What the UI shows of a deployment: where things are, and nothing that could hold a password."""
    server = "the server that `PIPELINE_POSTGRES_URL` names" if settings.postgres_url else "its embedded server"
    return "\n".join(
        (
            "The deployment: settings, declared sources, ledger and engines. Set by its environment and `.env`.",
            "",
            f"- landing: `{settings.landing_url}`",
            f"- lake: `{settings.lake_url}`",
            f"- PostgreSQL: {server}, schemas `{settings.namespace.marts}` and `{settings.namespace.ledger}`",
            f"- declarations: {f'`{settings.defs_dir}`' if settings.defs_dir else 'those of the demo'}",
            f"- reporting time zone: {settings.timezone}; days since {settings.first_day}",
        )
    )


def platform_resource(platform: "Platform") -> dg.ResourceDefinition:
    """The deployment as a resource: while a process executes a run with it, it holds the run's lock.

    Where the instance has our own storage, that holds the lock already, from the run's start to its end.
    """

    @dg.resource(description=_described(platform.settings))
    def resource(context: dg.InitResourceContext) -> Generator["Platform"]:
        if context.run is None or context.instance is None or storage_locks(context.instance):
            yield platform
            return
        locks = run_locks(platform.postgres_url)
        locks.take(context.run.run_id)
        try:
            yield platform
        finally:
            locks.release(context.run.run_id)

    return resource
