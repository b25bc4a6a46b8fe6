"""Where patterns lead, name by name: the same rules for a walk through folders and for a list of objects.

A pattern is read as by `pathlib`: `*`, `?` and `[…]` within a name, `**` for any folders, and at its end for all that
is below. Hidden files and folders (see `landing.is_hidden`) are passed over, unless the part of the pattern that
matches them begins with the same `_` or `.`, as a shell wants it.
"""

import fnmatch
import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from pipeline_assets.staging.landing import ANY_FOLDERS, is_hidden, is_wild, parts_of

# Of which it is remembered where patterns go on: the files of one folder follow each other in a list.
_FOLDERS = 4096

Positions = frozenset[tuple[int, int]]
"""Where in which patterns a walk is in a folder: the number of the pattern, and of its part that comes next."""


class Step(NamedTuple):
    """What a name in a folder leads to.

    Attributes:
        into: the positions in it, if it is a folder.
        patterns: the patterns that it matches, if it is a file.
    """

    into: Positions
    patterns: frozenset[int]


class Routes:
    """Where patterns lead: the steps from the positions of a folder to those of what is in it."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._parts = [parts_of(pattern) for pattern in patterns]
        self.beginning: Positions = frozenset((number, 0) for number, parts in enumerate(self._parts) if parts)
        # However many folders there are, they have few different positions.
        self.moves = cache(self._moves)
        self._positions = lru_cache(_FOLDERS)(self._find_positions)

    def patterns(self, folder: str, name: str) -> frozenset[int]:
        """The numbers of the patterns that lead to a file; the folder of one in landing itself is empty."""
        step = self.moves(self._positions(folder)).step(name)
        return step.patterns if step else frozenset()

    def _find_positions(self, folder: str) -> Positions:
        if not folder:
            return self.beginning
        above, _, name = folder.rpartition("/")
        step = self.moves(self._positions(above)).step(name)
        return step.into if step else frozenset()

    def _moves(self, positions: Positions) -> "Moves":
        reached = set(positions)
        # Any number of folders may be none.
        reached |= {(number, at + 1) for number, at in positions if self._parts[number][at] == ANY_FOLDERS}
        stay = frozenset(each for each in reached if self._parts[each[0]][each[1]] == ANY_FOLDERS)
        moves = []
        for number, at in reached:
            part = self._parts[number][at]
            if part != ANY_FOLDERS:
                is_last = at + 1 == len(self._parts[number])
                moves.append((part, number, None if is_last else (number, at + 1)))
        return Moves(stay, moves)


class Moves:
    """The steps that are possible from the positions of a folder.

    Attributes:
        names: the only names that lead on, if no part has a wildcard; the folder need not be listed then.
    """

    def __init__(self, stay: Positions, moves: Sequence[tuple[str, int, tuple[int, int] | None]]) -> None:
        self._stay = stay
        self._moves = [(part, _matcher(part), number, then) for part, number, then in moves]
        listed = stay or any(is_wild(part) for part, *_ in moves)
        self.names = None if listed else sorted({part for part, *_ in moves})
        # Names are many, and lead to few places.
        self._step = cache(self._made)

    def step(self, name: str) -> Step | None:
        """Where a name leads; None if nowhere."""
        hidden = is_hidden(name)
        taken = tuple(
            number
            for number, (part, matches, _, _) in enumerate(self._moves)
            if matches(name) and not (hidden and not part.startswith(name[0]))
        )
        return self._step(taken, stays=not hidden)

    def _made(self, taken: tuple[int, ...], *, stays: bool) -> Step | None:
        moves = [self._moves[number] for number in taken]
        into = {then for *_, then in moves if then is not None} | (self._stay if stays else frozenset())
        patterns = {number for _, _, number, then in moves if then is None}
        return Step(frozenset(into), frozenset(patterns)) if into or patterns else None


def _matcher(part: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(part)).match if is_wild(part) else part.__eq__
