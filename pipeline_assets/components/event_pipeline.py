"""The component that makes a folder of an existing Dagster project a deployment of its own."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline_assets.component_tree.declaring import PIPELINE
from pipeline_assets.component_tree.loading import pipelines
from pipeline_assets.private import make_file
from pipeline_assets.project import ENV_FILE
from pipeline_assets.settings import DAGSTER_FILE, PACKAGE_DIR, Settings, dagster_home

_VARIABLE = "PIPELINE_DEFS_DIR"


class EventPipelineScaffolder(dg.Scaffolder):
    """Writes the declaration, and what the command line and the UI need to find it and the same runs."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write `defs.yaml`; add a line to `.env` where it does not say yet where the declarations are.

        Where the project has no Dagster instance of its own, it gets a `dagster.yaml` too: the UI would else begin with
        an empty one at every start, and show nothing of what `pipeline-assets refresh` has built.
        """
        dg.scaffold_component(request)
        project = request.project_root
        if project is None:
            return
        instance = project / DAGSTER_FILE
        if dagster_home(project) is None and not instance.exists():
            shutil.copyfile(PACKAGE_DIR / DAGSTER_FILE, instance)
        if Settings.for_project(project).defs_dir is not None:
            return
        file = project / ENV_FILE
        if not file.exists():
            # A password may come to stand there.
            make_file(file)
        before = file.read_text(encoding="utf-8")
        break_ = "\n" if before and not before.endswith("\n") else ""
        with file.open("a", encoding="utf-8") as opened:
            opened.write(f"{break_}{_VARIABLE}={_relative(request.target_path, project)}\n")


@dg.scaffold_with(EventPipelineScaffolder)
class EventPipeline(dg.Component):
    """Sources and analyses that are declared in the folders below: all their tables, checks, jobs and sensors."""

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> "EventPipeline":
        """See that it is the only one.

        Raises:
            DagsterInvalidDefinitionError: there are several, which one project's settings cannot be for.
        """
        del attributes
        _find_others(context)
        return cls()

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Everything of the deployment, with all the resources it needs.

        Raises:
            DagsterInvalidDefinitionError: the settings speak of another folder.
            SettingsError: a setting of the project cannot be used.
            DeclarationError: with every mistake in every declaration below.
        """
        # It takes as long to import as all the rest, and `dg list components` and schemas do without.
        from pipeline_assets.build import build_defs

        folder = context.path
        settings = Settings.for_project(context.project_root)
        if settings.defs_dir is not None and settings.defs_dir.resolve() != folder.resolve():
            raise dg.DagsterInvalidDefinitionError(
                f"{_VARIABLE} names {settings.defs_dir}, but the EventPipeline of this project is in {folder}: the "
                "command line would work on other declarations than Dagster. Put into "
                f"{context.project_root / ENV_FILE} {_VARIABLE}={_relative(folder, context.project_root)}, and take it "
                "out of the environment."
            )
        return build_defs(replace(settings, defs_dir=folder), defs_module=context.defs_relative_module_name(folder))


def _find_others(context: dg.ComponentLoadContext) -> None:
    found = pipelines(context.defs_module_path)
    if len(found) > 1:
        places = ", ".join(f"{each.file}:{each.line}" for each in found)
        raise dg.DagsterInvalidDefinitionError(
            f"A project has one {PIPELINE}, because its settings hold for one deployment; there are {len(found)}: "
            f"{places}. Keep one; a second deployment in this code location is one more call of build_defs."
        )


def _relative(folder: Path, project: Path) -> str:
    absolute = folder.absolute()
    return absolute.relative_to(project).as_posix() if absolute.is_relative_to(project) else str(absolute)
