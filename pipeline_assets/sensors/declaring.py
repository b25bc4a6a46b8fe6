"""Sensors that are not definitions of Dagster's yet: their names and jobs are those of a deployment."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import dagster as dg

from pipeline_assets.namespace import Namespace
from pipeline_assets.resources import with_resources_of
from pipeline_assets.storage.patience import TICK, waiting

TICK_SECONDS = 30.0
"""How long a tick looks into landing and the lake. Dagster ends it after 60 s, and a store that gives no answer may be
waited for once more after these (`storage.patience.TICK`)."""


@dataclass(frozen=True)
class Sensor:
    """A sensor of every deployment.

    Attributes:
        function: what a tick does; its parameters are the context and resources.
        job: the job that it requests, as it is called without a namespace, if it does.
        seconds: between two ticks, at least.
        description: what Dagster shows of it.
    """

    function: FunctionType
    job: str | None
    seconds: int
    description: str

    def definition(self, namespace: Namespace) -> dg.SensorDefinition:
        """The sensor of a deployment; it runs unless somebody stops it."""
        decorator = dg.sensor(
            name=namespace.named(self.function.__name__),
            job_name=namespace.named(self.job) if self.job else None,
            minimum_interval_seconds=self.seconds,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description=self.description,
        )
        return decorator(with_resources_of(namespace)(_ticking(self.function)))


def _ticking(function: FunctionType) -> Callable[..., Any]:
    """A tick that ends before Dagster ends it where an object store gives no answer."""

    @functools.wraps(function)
    def tick(*arguments: Any, **named: Any) -> Any:
        with waiting(TICK):
            return function(*arguments, **named)

    return tick


def sensor(
    *, minimum_interval_seconds: int, description: str, job_name: str | None = None
) -> Callable[[FunctionType], Sensor]:
    """Like `dg.sensor`, for a sensor of every deployment."""
    return lambda function: Sensor(function, job_name, minimum_interval_seconds, description)
