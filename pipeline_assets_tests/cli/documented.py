"""What docs/command_line.md says of JSON."""

import re


def keys_of(text: str, begin: str) -> set[str]:
    """The keys in the entry of a list, or the row of a table, that has a text."""
    (entry,) = re.findall(rf"^[-|][^\n]*{re.escape(begin.lstrip('| '))}(?:.|\n(?![-|\n]))*", text, re.MULTILINE)
    named = set(re.findall(r"`([a-z_]+)`", entry))
    return named - {"status", "refresh", begin.strip("| `")}
