"""What is installed is locked exactly, and what is heavy is in a lock of its own."""

import re
import tomllib

import pytest

from pipeline_assets.settings import PROJECT_ROOT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
MAKEFILE = (PROJECT_ROOT / "Makefile").read_text()
HEAVY, LIGHT = (re.findall(rf"^{kind} := (.*)$", MAKEFILE, re.MULTILINE)[0].split() for kind in ("HEAVY", "LIGHT"))
LOCKS = ["requirements.lock", *(f"requirements-{extra}.lock" for extra in HEAVY)]


def locked(name: str) -> dict[str, str]:
    """What a lock file says of each package, beginning with its version."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", (PROJECT_ROOT / name).read_text(), flags=re.MULTILINE)
    found = (block.partition("==") for block in blocks if not block.startswith("#"))
    return {package.lower(): rest for package, equals, rest in found if equals}


def packages(requirements: list[str]) -> set[str]:
    found = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


NEEDED = packages([*PROJECT["project"]["dependencies"], *(each for extra in LIGHT for each in EXTRAS[extra])])


def test_every_heavy_extra_has_a_lock_a_marker_and_an_environment() -> None:
    assert set(EXTRAS) == {*LIGHT, *HEAVY}
    assert {path.name for path in PROJECT_ROOT.glob("requirements*.lock")} == set(LOCKS)
    markers = {marker.partition(":")[0] for marker in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    assert markers >= set(HEAVY)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_for_every_package_and_names_no_host(name: str) -> None:
    found = locked(name)
    assert len(found) > 50
    assert [package for package, rest in found.items() if "--hash=sha256:" not in rest] == []
    assert "://" not in (PROJECT_ROOT / name).read_text()


def test_what_is_set_up_by_default_has_what_runs_and_tests_it_and_nothing_heavy() -> None:
    found = locked("requirements.lock").keys()
    assert found >= NEEDED
    assert not {package for extra in HEAVY for package in packages(EXTRAS[extra])} & found


@pytest.mark.parametrize("extra", HEAVY)
def test_the_lock_of_an_extra_has_all_that_its_tests_need(extra: str) -> None:
    assert locked(f"requirements-{extra}.lock").keys() >= NEEDED | packages(EXTRAS[extra])
