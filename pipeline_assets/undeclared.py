"""What was declared once and is no longer: what was loaded stays until somebody says it should go.

A run writes down what it sees declared (`ledger.declarations`). What is missing among the declarations later is taken
from there:

- A source, a conversion, channels and currencies have their part in tables that others share. They count as they were
  last declared.
- A funnel, a retention, paths, an attribution and a team's own table have a table. It is frozen: it stays as it is.

`pipeline-assets retire` ends that. Pure values here, and the copy of the ledger's memory in the lake, from which the
code location knows without a database which assets there are.
"""

import json
import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pipeline_assets.analyses.kinds import KINDS
from pipeline_assets.analyses.own import find
from pipeline_assets.declarations.analyses import Analyses, Analysis, Convention, Table, TableAnalysis
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.sources.declaration import Source
from pipeline_assets.storage.store import Store, StoreError

SOURCE = "EventSource"
CONVERSION = "Conversion"
WITH_TABLE = frozenset(name for name, kind in KINDS.items() if issubclass(kind.model, TableAnalysis))
"""Kinds of analyses with a table of their own, which has their name."""
ONCE = frozenset(name for name, kind in KINDS.items() if issubclass(kind.model, Convention))
"""Kinds of which a deployment has one at most."""
NOUNS = tuple(dict.fromkeys(("source", *(kind.lower() for kind in KINDS), "table")))
"""What can be retired, in words."""

# Copies are numbered, for what is in a store is never written over. The first name is that of earlier versions.
_COPIES = "declarations"
_COPY = re.compile(rf"{_COPIES}(\.json|/(\d{{10}})\.json)")
_ATTEMPTS = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Declaration:
    """A source or an analysis as it was declared.

    Attributes:
        kind: the component, e.g. `EventSource`.
        name: its name.
        attributes: what the declaration says, without defaults, so that those of today's code hold; None where it was
            loaded before declarations were remembered.
    """

    kind: str
    name: str
    attributes: Mapping[str, Any] | None

    @property
    def noun(self) -> str:
        """What it is, in words."""
        return "source" if self.kind == SOURCE else self.kind.lower()

    @property
    def counts(self) -> bool:
        """Whether it counts as last declared while it is not declared; otherwise its table is frozen."""
        return self.kind not in WITH_TABLE

    @property
    def key(self) -> tuple[str, str]:
        """Kind and name."""
        return self.kind, self.name

    def replaces(self, other: "Declaration") -> bool:
        """Whether another one can be no more once this one is declared: it is the same, or would be in its place."""
        if self.kind in ONCE:
            return self.kind == other.kind
        return self.name == other.name and (self.kind == other.kind or {self.kind, other.kind} <= WITH_TABLE)

    def value(self) -> Source | Analysis:
        """What is declared.

        Raises:
            DeclarationError: this version cannot read it.
        """
        model = Source if self.kind == SOURCE else KINDS[self.kind].model if self.kind in KINDS else None
        try:
            if model is None or self.attributes is None:
                raise DeclarationError(_unusable(self, "is not known"))
            return model.model_validate(self.attributes)
        except ValidationError as error:
            raise DeclarationError(_unusable(self, "cannot be read by this version")) from error

    def is_readable(self) -> bool:
        """Whether this version can read it."""
        try:
            value = self.value()
            if isinstance(value, Table):
                find(value.spec)
        except (DeclarationError, LookupError):
            return False
        return True


def _unusable(declaration: Declaration, why: str) -> str:
    return (
        f"The {declaration.noun} '{declaration.name}' is no longer declared, and how it was last declared {why}. "
        f"Declare it again, or remove it: pipeline-assets retire {declaration.name}"
    )


def declarations(sources: Iterable[Source], analyses: Analyses) -> list[Declaration]:
    """Everything that is declared, in a fixed order."""
    found = [Declaration(SOURCE, source.name, _of_source(source)) for source in sources]
    found += [
        Declaration(type(each).__name__, each.name, each.model_dump(mode="json", exclude_defaults=True))
        for each in analyses.all
    ]
    return sorted(found, key=lambda each: each.key)


def _of_source(source: Source) -> dict[str, Any]:
    """What a source's declaration says, without what its format and the defaults say by themselves."""
    whole = source.model_dump(mode="json")
    core = {name: whole[name] for name in ("name", "path", "format", "property") if whole[name] is not None}
    implied = Source.model_validate(core).model_dump(mode="json")
    said = core | _beyond(whole, implied)
    return said if Source.model_validate(said) == source else whole


def _beyond(whole: Mapping[str, Any], implied: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a mapping, of nested ones too, that are not those of another."""
    found: dict[str, Any] = {}
    for key, value in whole.items():
        other = implied.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            if inner := _beyond(value, other):
                found[key] = inner
        elif key not in implied or value != other:
            found[key] = value
    return found


@dataclass(frozen=True)
class InForce:
    """What the tables are made from.

    Attributes:
        sources: those declared, and those that count as last declared.
        analyses: likewise; those whose table is frozen are not among them.
        undeclared: everything that is remembered and not declared.
    """

    sources: tuple[Source, ...]
    analyses: Analyses
    undeclared: tuple[Declaration, ...]


def missing(declared: Collection[Declaration], remembered: Iterable[Declaration]) -> list[Declaration]:
    """What is remembered and no longer declared, nor replaced by what is."""
    return [old for old in remembered if not any(new.replaces(old) for new in declared)]


def in_force(
    sources: Sequence[Source], analyses: Analyses, remembered: Iterable[Declaration], *, thaw: bool = False
) -> InForce:
    """What counts where something is no longer declared.

    Args:
        sources: the declared sources.
        analyses: the declared analyses.
        remembered: everything as it was last declared, also what still is.
        thaw: count analyses with frozen tables too.

    Raises:
        DeclarationError: one that has to count cannot be read by this version.
    """
    undeclared = missing(declarations(sources, analyses), remembered)
    values = [each.value() for each in undeclared if each.counts or thaw]
    gone = [value for value in values if isinstance(value, Source)]
    merged = Analyses((*analyses.all, *(value for value in values if isinstance(value, Analysis))))
    return InForce(tuple(sorted((*sources, *gone), key=lambda source: source.name)), merged, tuple(undeclared))


# --- The copy in the lake -----------------------------------------------------------------------------


def read_copy(lake: Store) -> list[Declaration]:
    """What was last declared, as the last run wrote it down; nothing where that cannot be read.

    Only the ledger decides: a run that finds the copy outdated refuses to work with it.
    """
    try:
        copies = _copies(lake)
        if not copies:
            return []
        with lake.open(copies[-1]) as file:
            rows = json.loads(file.read())
        return [Declaration(row["kind"], row["name"], row["attributes"]) for row in rows]
    except (OSError, StoreError, ValueError, KeyError, TypeError):
        return []


def write_copy(lake: Store, remembered: Iterable[Declaration]) -> None:
    """Write down what was last declared, unless that is what the newest copy says.

    Raises:
        StoreError: the lake cannot be written.
    """
    known = [each for each in remembered if each.attributes is not None]
    rows = [{"kind": each.kind, "name": each.name, "attributes": each.attributes} for each in known]
    text = (json.dumps(rows, indent=1) + "\n").encode()
    for _ in range(_ATTEMPTS):
        copies = _copies(lake)
        number = 0
        # Another process may write one as well, and remove this.
        with suppress(FileNotFoundError, FileExistsError):
            if copies:
                number = _number(copies[-1])
                with lake.open(copies[-1]) as file:
                    if file.read() == text:
                        lake.delete(copies[:-1])
                        return
            lake.put(f"{_COPIES}/{number + 1:010}.json", text)
            lake.delete(copies)
            return
    logger.warning("%s: what is declared could not be written down, for others do so all the time.", lake.url)


def _copies(lake: Store) -> list[str]:
    """Names of the copies, the newest last."""
    return [found.name for found in lake.list(_COPIES) if _COPY.fullmatch(found.name)]


def _number(copy: str) -> int:
    found = _COPY.fullmatch(copy)
    return int(found[2]) if found and found[2] else 0
