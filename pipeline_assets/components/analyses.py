"""The components behind the YAML of analyses, one for each of `analyses.kinds`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import dagster as dg
from pydantic import BaseModel

from pipeline_assets.analyses.kind import AnalysisKind
from pipeline_assets.analyses.kinds import KINDS
from pipeline_assets.component_tree.declaring import DeclaringComponent, attributes_of


class AnalysisScaffolder(dg.Scaffolder):
    """Writes a declaration to start from."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write `defs.yaml` with the example of the kind that is asked for."""
        dg.scaffold_component(request, dict(KINDS[request.type_name.rpartition(".")[2]].example))


class AnalysisComponent(DeclaringComponent):
    """What the components of analyses have in common."""

    kind: ClassVar[AnalysisKind[Any]]

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The attributes in YAML are the analysis' declaration."""
        return attributes_of(cls.kind.model)


def _component(name: str, kind: AnalysisKind[Any]) -> type[AnalysisComponent]:
    """The component of a kind, described as its declaration is."""
    summary = (kind.model.__doc__ or "").split("\n", 1)[0]
    made = type(name, (AnalysisComponent,), {"__module__": __name__, "__doc__": summary, "kind": kind})
    return dg.scaffold_with(AnalysisScaffolder)(made)


ANALYSES: Mapping[str, type[AnalysisComponent]] = {name: _component(name, kind) for name, kind in KINDS.items()}
"""The components by name."""
