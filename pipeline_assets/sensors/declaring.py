"""Sensors that are not definitions of Dagster's yet: their names and jobs are those of a deployment."""

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType

import dagster as dg

from pipeline_assets.namespace import Namespace
from pipeline_assets.resources import with_resources_of


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
        return decorator(with_resources_of(namespace)(self.function))


def sensor(
    *, minimum_interval_seconds: int, description: str, job_name: str | None = None
) -> Callable[[FunctionType], Sensor]:
    """Like `dg.sensor`, for a sensor of every deployment."""
    return lambda function: Sensor(function, job_name, minimum_interval_seconds, description)
