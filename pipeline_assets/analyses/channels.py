"""The channels of a deployment: a team's own rules and aliases, and which standard rules come behind them."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from pipeline_assets.analyses.kind import AnalysisKind
from pipeline_assets.declarations.analyses import Channels
from pipeline_assets.declarations.problems import Location, Problem


def channels_problems(channels: Channels) -> Iterator[Problem]:
    """Mistakes in the declaration of channels whose shape is right."""
    for position, rule in enumerate(channels.own):
        location = ("own", position)
        if not rule.conditions:
            fields = ", ".join(name for name in type(rule).model_fields if name != "channel")
            yield Problem(location, f"a rule needs a condition: one of {fields}")
        for field, pattern in rule.conditions.items():
            error = pattern_error(pattern)
            if error:
                yield Problem((*location, field), f"{field}: not a regular expression: {error}")
    for alias, source in channels.aliases.items():
        for word, at_key in ((alias, True), (source, False)):
            if word != word.lower():
                message = f"sources are compared in lower case; write '{word.lower()}', not '{word}'"
                yield Problem(("aliases", alias), message, at_key)


def pattern_error(pattern: str) -> str | None:
    """What Polars has against a regular expression; None if nothing."""
    # As it stands, and as a whole value in any case: a bracket may not reach beyond the pattern.
    for text in (pattern, f"(?i)^(?:{pattern})$"):
        try:
            pl.select(pl.lit("").str.contains(text))
        except pl.exceptions.ComputeError as error:
            lines = [line.removeprefix("error: ") for line in str(error).splitlines() if line.startswith("error: ")]
            return lines[0] if lines else str(error).splitlines()[0]
    return None


def stand_in(location: Location) -> Any:
    """What takes the place of what is wrong or missing."""
    return "any" if location[-1:] == ("channel",) else None


CHANNELS = AnalysisKind(
    model=Channels,
    noun="channels declaration",
    find_problems=channels_problems,
    stand_in=stand_in,
    example={
        "rules": "ga4_plus",
        "own": [{"channel": "Newsletter", "medium": "email|newsletter", "campaign": "weekly-.*"}],
        "aliases": {"nl": "newsletter"},
    },
)
"""The kind."""
