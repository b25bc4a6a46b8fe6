"""What a look at a file finds: the names and types of its raw columns."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TEXT = "text"
"""The type of everything that a format without types holds."""

# A longer name of a column is no name.
_LONGEST_NAME = 200
NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$ -]{0,63}")
"""What a key of a record is that is no data; keys that are data may be personal."""


@dataclass(frozen=True)
class Look:
    """What one file has.

    Attributes:
        types: the types of each raw column, `null` left out.
        always: the columns that every record looked at has.
    """

    types: Mapping[str, frozenset[str]]
    always: frozenset[str]


@dataclass(frozen=True)
class Glance:
    """What there is to look at of one file.

    Attributes:
        records: some of its records, as texts.
        header: names of its columns, where it has a header.
        types: name -> type of its columns, where the file says them.
        nested: names below the first level of a record that are looked for.
    """

    records: Sequence[str] = ()
    header: Sequence[str] | None = None
    types: Mapping[str, str] | None = None
    nested: Sequence[tuple[str, ...]] = ()


def of_columns(types: Mapping[str, str]) -> Look:
    """The look of a file whose records all have the same columns: name -> type."""
    found = {name: frozenset([kind]) for name, kind in types.items() if len(name) <= _LONGEST_NAME}
    return Look(found, frozenset(found))
