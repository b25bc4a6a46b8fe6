"""Writes declarations as YAML that people read: one attribute per line, and beside it what is not certain."""

import re
from collections.abc import Sequence
from typing import Any

import yaml

from pipeline_assets.starting.guessing import Guess
from pipeline_assets.starting.trying import Step

_COMPONENT = "type: pipeline_assets.components.{}\n"


def source_yaml(guess: Guess, *, path: str) -> str:
    """The `defs.yaml` of a source.

    Args:
        guess: what was found out.
        path: the attribute `path`.
    """
    lines = [_COMPONENT.format("EventSource"), f"attributes:\n  path: {flow(path)}  # below the landing folder\n"]
    for name, value in guess.attributes.items():
        comment = guess.comments.get(name)
        if name == "mapping":
            lines += _mapping(guess)
        else:
            lines.append(_line("  ", name, value, comment))
    if "mapping" not in guess.attributes and guess.open:
        lines += [_open(column, text, "  # ") for column, text in guess.open.items()]
    return "".join(lines)


def _mapping(guess: Guess) -> list[str]:
    lines = ["  mapping:  # column of the events: column of the files, or a DuckDB expression over them\n"]
    for column, text in guess.attributes["mapping"].items():
        lines.append(_line("    ", column, text, guess.comments.get(f"mapping.{column}")))
    return [*lines, *(_open(column, text, "    # ") for column, text in guess.open.items())]


def _open(column: str, text: str, indent: str) -> str:
    return f"{indent}{column}: …  ({text})\n"


def _line(indent: str, name: str, value: Any, comment: str | None = None) -> str:
    above = f"{indent}# {comment}\n" if comment else ""
    return f"{above}{indent}{name}: {flow(value)}\n"


def flow(value: Any, *, within: bool = False) -> str:
    """A value on one line, with quotes as people write them; `within` braces more must be quoted."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {flow(inner, within=True)}" for name, inner in value.items()) + "}"
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"))
    text = text.removesuffix("\n").removesuffix("\n...")
    if not isinstance(value, str):
        return text
    is_plain = text == value and (len(value) > 1 or value.isalnum())
    if is_plain and not (within and set(value) & set("{}[],")):
        return text
    if not set(value) & set('"\\') and value.isprintable():
        return f'"{value}"'
    return f"'{value}'" if "'" not in value and value.isprintable() else text


def funnel_yaml(steps: Sequence[Step]) -> str:
    """The `defs.yaml` of a funnel through some events, at least two."""
    lines = [
        "# How many get from one step to the next. The steps are events of the sample: put those you care about.\n",
        _COMPONENT.format("Funnel"),
        "attributes:\n  by: visitor  # or person\n  window: 7d\n",
    ]
    lines.append("  steps:\n")
    taken: set[str] = set()
    for step in steps:
        base = _step_name(step)
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}" if number > 2 else f"{base}_again"
        taken.add(name)
        conditions = {"event": step.event} if step.event else {"type": step.type}
        lines.append(f"    - {flow({'name': name, **conditions})}\n")
    return "".join(lines)


def _step_name(step: Step) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", (step.event or step.type).lower()).strip("_")
    return name if re.match("[a-z]", name) else f"step_{name}".rstrip("_")


def retention_yaml() -> str:
    """The `defs.yaml` of a retention by weeks."""
    return (
        "# How many of those who came first in a week come back in later ones.\n"
        + _COMPONENT.format("Retention")
        + "attributes:\n  by: visitor  # or person\n  period: week\n  periods: 8\n"
    )


def conversion_yaml(event: str) -> str:
    """The `defs.yaml` of a conversion: an event that earned something."""
    return (
        "# What was bought: rows of the table `conversions`, to which an `Attribution` can refer.\n"
        + _COMPONENT.format("Conversion")
        + f"attributes:\n  event: {flow(event)}\n  where: revenue > 0\n  value: revenue\n"
    )


def currencies_yaml(currencies: Sequence[str]) -> str:
    """The `defs.yaml` of the reporting currency: the most frequent one; the others need rates.

    Args:
        currencies: codes, the most frequent first.
    """
    reporting, *others = currencies
    text = (
        "# The currency in which everything is reported. Amounts in others are reported where a rate is given.\n"
        + _COMPONENT.format("Currencies")
        + f"attributes:\n  reporting: {reporting}\n"
    )
    example = others or ["USD" if reporting != "USD" else "EUR"]
    text += f"  # rates:  # what one unit is worth in {reporting}\n"
    return text + "".join(f"  #   - {{currency: {code}, rate: …}}\n" for code in example[:10])
