"""The code location that Dagster loads the definitions of a project as, and its mark on runs that are made here.

The UI lists under a job the runs of its code location, and can make them again. A run in this process has to say by
itself that it is of one: nobody has launched it.
"""

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# The code location as the UI names it. A run that is launched is given it; there is no public way to say it otherwise.
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from pipeline_assets.settings import PROJECT_ROOT

_DEFINITIONS = "pipeline_assets.definitions"


def code_location_name(project: Path = PROJECT_ROOT) -> str:
    """What a Dagster project calls its code location: what `dg` calls it, by the same rule.

    That is `code_location_name` of the project's settings in `dg.toml` or, below `[tool.dg]`, in `pyproject.toml`; the
    folder's name where they give none.

    Args:
        project: folder of the project.
    """
    return _project(project).get("code_location_name") or project.absolute().name


def job_origin(job: str, project: Path = PROJECT_ROOT) -> RemoteJobOrigin:
    """Where Dagster finds a job: in the project's code location.

    Args:
        job: name of the job.
        project: folder of the project.
    """
    module = _project(project).get("code_location_target_module") or _target(project)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(  # ty: ignore[abstract-class-instantiation] - a record's fields
        LoadableTargetOrigin(
            executable_path=sys.executable, module_name=module, working_directory=str(project.absolute())
        ),
        code_location_name(project),
    )
    return RemoteJobOrigin(
        repository_origin=RemoteRepositoryOrigin(
            code_location_origin=location, repository_name=SINGLETON_REPOSITORY_NAME
        ),
        job_name=job,
    )


def _target(project: Path) -> str:
    root = _project(project).get("root_module")
    return f"{root}.definitions" if root else _DEFINITIONS


def _project(folder: Path) -> Mapping[str, Any]:
    """The project's settings for `dg`; none where there are no such, or they cannot be read: `dg` tells of that."""
    for name, path in (("dg.toml", ("project",)), ("pyproject.toml", ("tool", "dg", "project"))):
        try:
            found: Any = tomllib.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return found
    return {}
