"""The version of code changes with everything that the code can reach, and with nothing else."""

import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline_assets import code_version as module_under_test
from pipeline_assets.code_version import code_version

SOURCES = {
    "__init__.py": '"""A package."""\n\nfrom sample.passed_on import passed_on\n',
    "passed_on.py": "def passed_on(x):\n    return x + 1\n",
    "constants.py": 'RATE = 2\nUNUSED = 3\n"""Not used."""\nif RATE:\n    CHOSEN = 1\nelse:\n    CHOSEN = 2\n',
    "helpers.py": (
        "from functools import cache\nfrom sample import constants\n\n"
        "LIST = [x for x in (1,)]\n\n"
        "class Rule:\n    limit = 5\n\n"
        "def used(x: int) -> int:\n    return x * constants.RATE + constants.CHOSEN\n\n"
        "def late(x):\n    from sample.imported_late import deep\n    return deep(x)\n\n"
        "@cache\ndef cached(x):\n    return 7\n\n"
        "def unused(x):\n    return 8\n"
    ),
    "imported_late.py": "def deep(x):\n    return 6\n",
    "transform.py": (
        "from sample import helpers, passed_on\nfrom sample.helpers import Rule, cached, used\n\n"
        "def build(x):\n"
        '    """Build it."""\n'
        "    return [used(x), helpers.late(x), cached(x), passed_on(x), Rule.limit]  # a comment\n\n"
        "def beside(x):\n    return 9\n\n"
        "def closing(inner):\n    return lambda x: inner(x) + 10\n"
    ),
}


class Package:
    """The sample package, whose sources can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "sample"
        self.folder.mkdir()
        for name, text in SOURCES.items():
            (self.folder / name).write_text(text)

    def change(self, file: str, old: str, new: str) -> None:
        """Exchange a piece of a source, which must be there."""
        text = (self.folder / file).read_text()
        assert old in text
        (self.folder / file).write_text(text.replace(old, new))

    def load(self) -> ModuleType:
        """The transform as it is now."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "sample"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        for cached in (module_under_test._module, module_under_test._is_module, module_under_test._reached_by):
            cached.cache_clear()
        return importlib.import_module("sample.transform")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = Package(tmp_path)
    yield found
    for name in [name for name in sys.modules if name.partition(".")[0] == "sample"]:
        del sys.modules[name]


ROOTS: dict[str, Callable[[ModuleType], Any]] = {
    "a function": lambda transform: transform.build,
    "its name": lambda _: "sample.transform:build",
    "a partial": lambda transform: partial(transform.build, 1),
    "a closure": lambda transform: transform.closing(transform.build),
}


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS.keys())
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("transform.py", "used(x), ", ""),
        ("helpers.py", "x * constants", "x - constants"),
        ("helpers.py", "limit = 5", "limit = 6"),
        ("helpers.py", "return 7", "return 8"),
        ("constants.py", "RATE = 2", "RATE = 3"),
        ("constants.py", "CHOSEN = 2", "CHOSEN = 4"),
        ("imported_late.py", "6", "7"),
        ("passed_on.py", "+ 1", "+ 2"),
    ],
)
def test_what_a_transform_reaches_changes_its_version(
    package: Package, root: Callable[[ModuleType], Any], file: str, old: str, new: str
) -> None:
    before = code_version(root(package.load()))
    package.change(file, old, new)
    assert code_version(root(package.load())) != before


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS.keys())
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("transform.py", "  # a comment", ""),
        ("transform.py", "Build it.", "Make it."),
        ("transform.py", "return 9", "return 90"),
        ("transform.py", "def build", "# Moved down.\n\ndef build"),
        ("helpers.py", "x: int", "x: float"),
        ("helpers.py", "return 8", "return 9"),
        ("constants.py", "UNUSED = 3", "UNUSED = 4"),
        # The name that a comprehension gives its elements is another one than the `x` of the functions.
        ("helpers.py", "LIST = [x for x in (1,)]", "LIST = [x for x in (2,)]"),
    ],
)
def test_what_a_transform_does_not_reach_leaves_its_version(
    package: Package, root: Callable[[ModuleType], Any], file: str, old: str, new: str
) -> None:
    before = code_version(root(package.load()))
    package.change(file, old, new)
    assert code_version(root(package.load())) == before


def test_a_lambda_is_part_of_its_own_version(package: Package) -> None:
    transform = package.load()
    before = code_version(transform.closing(len))
    package.change("transform.py", "+ 10", "+ 11")
    assert code_version(package.load().closing(len)) != before


def test_plain_values_in_a_closure_are_part_of_the_version(package: Package) -> None:
    transform = package.load()
    versions = {code_version(transform.closing(value)) for value in (1, 2, "a", ("a", 1), {"a": ["b"]}, {"a": ["c"]})}
    assert len(versions) == 6
    assert code_version(transform.closing(object())) == code_version(transform.closing(object()))


@pytest.mark.parametrize("name", ["sample.transform:gone", "sample.gone:x"])
def test_code_that_is_not_there_has_no_version(package: Package, name: str) -> None:
    package.load()
    with pytest.raises((LookupError, ModuleNotFoundError)):
        code_version(name)


def test_a_star_import_is_refused_for_what_it_brings_is_not_known(package: Package) -> None:
    package.change("transform.py", "from sample import helpers, passed_on", "from sample.helpers import *")
    with pytest.raises(LookupError, match="line 1"):
        code_version("sample.transform:build")
