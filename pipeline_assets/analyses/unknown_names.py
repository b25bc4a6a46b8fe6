"""Names that an analysis asks for and that nothing has, of events and of properties: most often they are misspelt."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pipeline_assets.declarations.analyses import Analyses
from pipeline_assets.declarations.problems import suggestion
from pipeline_assets.sources.declaration import Source


@dataclass(frozen=True)
class UnknownName:
    """A name that nothing has.

    Attributes:
        name: as it is declared.
        hint: what may be meant.
    """

    name: str
    hint: str

    def __str__(self) -> str:
        """The finding in words."""
        return f"'{self.name}'{self.hint}"


def never_occurred(names: Iterable[str], known: Collection[str] | None) -> list[UnknownName]:
    """Those of some names that no event ever had, each with the known name that may be meant.

    Args:
        names: as they are declared.
        known: the names that events ever had; None where these are too many to be known. Without any nothing has been
            loaded yet, and there is nothing to say.
    """
    return _unknown(names, known) if known else []


def unknown_properties(analyses: Analyses, sources: Collection[Source]) -> dict[str, list[UnknownName]]:
    """Name of an analysis -> the properties it is about that no source states.

    A source that maps `property` may have any, so that nothing can be said then.
    """
    if any("property" in source.mapping for source in sources):
        return {}
    known = {source.property or source.name for source in sources}
    found = {analysis.name: _unknown(getattr(analysis, "properties", ()), known) for analysis in analyses.all}
    return {name: properties for name, properties in found.items() if properties}


def _unknown(names: Iterable[str], known: Collection[str]) -> list[UnknownName]:
    return [UnknownName(name, suggestion(name, known)) for name in names if name not in known]
