"""Names of events that an analysis asks for and that never occurred: most often they are misspelt."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pipeline_assets.declarations.problems import suggestion


@dataclass(frozen=True)
class UnknownName:
    """A name of an event that never occurred.

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
    if not known:
        return []
    return [UnknownName(name, suggestion(name, known)) for name in names if name not in known]
