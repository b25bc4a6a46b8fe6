"""Mistakes in a declaration, in words its author can use."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Location = tuple[str | int, ...]
"""Keys and positions from the attributes down to a place, e.g. ("steps", 0, "where")."""


class DeclarationError(ValueError):
    """Declarations hold mistakes; the message has one line for each, `file:line:column: what is wrong`."""


@dataclass(frozen=True)
class Problem:
    """A mistake in a declaration.

    Attributes:
        location: keys from the attributes down to the place, e.g. ("mapping", "event_id").
        message: what is wrong and what to do.
        at_key: whether the key itself is wrong and not its value.
    """

    location: Location
    message: str
    at_key: bool = False


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known word nearest to a wrong one, or the list if none is near."""
    choices = {choice.lower(): choice for choice in known}
    near = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{choices[near[0]]}'?"
    return f"; one of {', '.join(choices.values())}" if 0 < len(choices) <= 12 else ""
