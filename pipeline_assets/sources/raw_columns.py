"""The raw columns of a source's files: which there are, how that changes, and which of them a mapping misses.

A raw column is what an expression of a mapping can name: a column of a CSV or Parquet file, a key of a JSON record.
They are found by looking at headers, at schemas and at a sample of the records (`staging.looking`); what is remembered
of them is in the ledger. Nothing here decides what becomes of a row. No Dagster here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipeline_assets.declarations.expressions import FieldPath, parse
from pipeline_assets.declarations.problems import suggestion
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.records.look import Look

MOST_COLUMNS = 300
"""Columns of a source that are remembered; a source with more has keys that are data."""


@dataclass(frozen=True)
class Seen:
    """Where something began.

    Attributes:
        path: the file below landing.
        load: when the load of that file began.
    """

    path: str
    load: datetime


@dataclass(frozen=True)
class KnownColumn:
    """What is remembered of a raw column.

    Attributes:
        types: where each of its types was first seen.
        constant: whether every record of every file looked at had it.
        gone: where it was first missing, if it was constant until then and has not come back.
    """

    types: Mapping[str, Seen]
    constant: bool = False
    gone: Seen | None = None


@dataclass
class KnownColumns:
    """What is remembered of all raw columns of a source.

    Attributes:
        columns: by name.
        since: when the first load of the source began; None before it.
        declaration_version: version of the declaration under which `filled` was found.
        filled: columns of the event contract that had a value in any row.
    """

    columns: dict[str, KnownColumn] = field(default_factory=dict)
    since: datetime | None = None
    declaration_version: str = ""
    filled: frozenset[str] = frozenset()

    def note(self, look: Look, seen: Seen) -> set[str]:
        """Remember what a file has; the names of the columns of which something is new."""
        first = self.since is None
        self.since = self.since or seen.load
        changed: set[str] = set()
        for name, types in look.types.items():
            known = self.columns.get(name)
            if known is None and len(self.columns) >= MOST_COLUMNS:
                continue
            before = known or KnownColumn({}, constant=first)
            new = {kind: seen for kind in types if kind not in before.types}
            after = replace(before, types={**before.types, **new}, gone=None)
            if after != known:
                self.columns[name] = after
                changed.add(name)
        for name, known in self.columns.items():
            if known.constant and name not in look.always:
                gone = None if name in look.types else seen
                self.columns[name] = replace(known, constant=False, gone=gone)
                changed.add(name)
        return changed


@dataclass(frozen=True)
class MissingColumn:
    """A raw column that a mapping names and no file has had.

    Attributes:
        mapped: the column of the event contract.
        name: the raw column.
        near: a raw column that may be meant.
    """

    mapped: str
    name: str
    near: str | None

    def __str__(self) -> str:
        """The finding in words."""
        meant = f"; did you mean '{self.near}'?" if self.near else ""
        return f"{self.mapped} is mapped from '{self.name}', which no file has had so far{meant}"


@dataclass(frozen=True)
class Drift:
    """A change of the raw columns.

    Attributes:
        kind: `new`, `gone` or `retyped`.
        name: the raw column.
        since: the file in which it began.
        what: more about it, for people.
    """

    kind: str
    name: str
    since: Seen
    what: str = ""

    def __str__(self) -> str:
        """The finding in words."""
        return f"{self.kind}: '{self.name}'{self.what} since {self.since.path}"


def own_references(source: Source) -> dict[str, frozenset[FieldPath]]:
    """The raw columns that each expression of the declaration itself names, not those that a ready format brings.

    By the mapped column of the event contract, or the kind of a further id. Formats whose columns are fixed have none,
    and neither have ready formats that are read from tables, whose columns are made an object before.
    """
    if not source.record_format.has_own_columns:
        return {}
    brought = {**source.ready.mapping, **source.ready.ids} if source.ready else {}
    fixed = {"raw", *source.record_format.known_fields}
    own = {name: text for name, text in {**source.mapping, **source.ids}.items() if brought.get(name) != text}
    return {
        name: frozenset(path for path in parse(text).references if path[0].lower() not in fixed)
        for name, text in own.items()
    }


def missing_columns(source: Source, known: Collection[str], filled: Collection[str] = ()) -> list[MissingColumn]:
    """The raw columns that a mapping names and that are not known, of contract columns that never had a value.

    Args:
        source: the declaration.
        known: names of the raw columns that were found; nested ones with dots.
        filled: columns of the event contract that had a value in any row.
    """
    folded = {name.casefold(): name for name in known}
    nested = source.record_format.has_objects
    found: list[MissingColumn] = []
    for mapped, paths in own_references(source).items():
        if mapped in filled:
            continue
        for path in sorted(paths):
            # What lies inside a column of another format is looked at by DuckDB alone.
            name = ".".join(path) if nested else path[0]
            if name.casefold() not in folded:
                found.append(MissingColumn(mapped, name, _near(name, folded)))
    return found


def _near(name: str, folded: Mapping[str, str]) -> str | None:
    hint = suggestion(name.casefold(), list(folded))
    return next((spelled for lower, spelled in folded.items() if f"'{lower}'" in hint), None)


def drift(known: KnownColumns, since: datetime) -> list[Drift]:
    """What has changed in loads that began since a moment, the first load of a source left out; by name.

    Args:
        known: what is remembered.
        since: the moment.
    """
    found: list[Drift] = []
    for name, column in sorted(known.columns.items()):
        begun = sorted(column.types.items(), key=lambda each: (each[1].load, each[0]))
        later = [(kind, seen) for kind, seen in begun if seen.load >= since and seen.load != known.since]
        if column.gone is not None and column.gone.load >= since:
            found.append(Drift("gone", name, column.gone))
        if later and len(later) == len(begun):
            found.append(Drift("new", name, later[0][1]))
        elif later:
            earlier = ", ".join(kind for kind, seen in begun if (kind, seen) not in later)
            found.append(Drift("retyped", name, later[0][1], f" is {later[0][0]} and not only {earlier}"))
    return found


def in_words(findings: Sequence[object], most: int = 5, *, of: int | None = None) -> str:
    """Some findings in one line.

    Args:
        findings: the findings.
        most: how many are named.
        of: how many there are, where these are only the first.
    """
    shown = "; ".join(map(str, findings[:most]))
    left = (len(findings) if of is None else of) - most
    return shown if left <= 0 else f"{shown}; and {left} more"
