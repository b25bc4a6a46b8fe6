"""The table of a team's own that `docs/tables.md` shows."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "tables.md"


def example(language: str) -> str:
    """The first block of a language on the page."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def write_package(folder: Path, name: str = "acme") -> None:
    """Write the package with the example's table."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").touch()
    (folder / name / "loyal_visitors.py").write_text(example("python"), encoding="utf-8")
