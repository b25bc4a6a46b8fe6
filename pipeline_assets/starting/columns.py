"""The columns of a sample while it is being found out what they are, and how an expression names them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from pipeline_assets.declarations.expressions import database
from pipeline_assets.declarations.problems import suggestion
from pipeline_assets.sql import identifier
from pipeline_assets.starting.names import rank
from pipeline_assets.starting.samples import Column, Sample, SampleError

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class Part:
    """A part of a mapping, and what to know about it: see `guessing.Guess`."""

    mapping: dict[str, str] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    open: dict[str, str] = field(default_factory=dict)


def column_sql(path: tuple[str, ...]) -> str:
    """A column as an expression reads it, quoted where it must be."""
    return ".".join(part if _is_plain(part) else identifier(part) for part in path)


@cache
def _reserved() -> frozenset[str]:
    sql = "select keyword_name from duckdb_keywords() where keyword_category <> 'unreserved'"
    return frozenset(row[0] for row in database().cursor().execute(sql).fetchall())


def _is_plain(name: str) -> bool:
    return _PLAIN_NAME.fullmatch(name) is not None and name.lower() not in _reserved()


class Columns:
    """The columns of a sample, each of which is taken for one thing."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.usable = [column for column in sample.columns if column.values]
        self.taken: set[tuple[str, ...]] = set()

    def take(self, column: Column | None) -> Column | None:
        """Let a column, if there is one, be nothing else."""
        if column is not None:
            self.taken.add(column.path)
        return column

    def free(self) -> Iterator[Column]:
        """The columns that are nothing yet, in the order of the file."""
        return (column for column in self.usable if column.path not in self.taken)

    def best(self, wanted: Sequence[str], fits: Callable[[Column], bool], *, least: float) -> Column | None:
        """The free column whose name is best, of those whose values fit; of equals the one with more values.

        Args:
            wanted: names, see `names.rank`.
            fits: whether a column's values can be what is sought.
            least: the rank that its name must have; 0 where the values say enough.
        """
        ranked: list[tuple[float, float, int, Column]] = []
        for place, column in enumerate(self.free()):
            score = rank(column.path, wanted)
            if score >= least and column.type != "nested" and fits(column):
                ranked.append((round(score, 2), len(column.values), -place, column))
        return max(ranked, key=lambda item: item[:3])[-1] if ranked else None

    def named(self, name: str, option: str) -> Column:
        """The column of a name that was given.

        Raises:
            SampleError: there is none.
        """
        for column in self.sample.columns:
            if name.casefold() in (column.name.casefold(), column_sql(column.path).casefold()):
                return column
        near = suggestion(name, [column.name for column in self.sample.columns])
        # A suggestion of a few is the list of them, and one of a single column is a question.
        rest = "" if near.startswith("; one of") else f"{'' if near.endswith('?') else '.'} {self.listed()}"
        raise SampleError(f"{option} {name}: there is no such column{near}{rest}")

    def listed(self) -> str:
        """Which columns there are, in words."""
        return "There are: " + ", ".join(column.name for column in self.sample.columns)
