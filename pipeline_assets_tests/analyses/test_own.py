"""Declaring a table of one's own: what is wrong is told with its place."""

from pathlib import Path
from textwrap import dedent

import pytest

from pipeline_assets.analyses.loading import load_analyses
from pipeline_assets.code_version import reached
from pipeline_assets.declarations.analyses import Analyses, Table
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.registry import collect
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets_tests.own_tables import write_package

HEAD = """\
from pipeline_assets.tables.pages import Pages
from pipeline_assets.tables.spec import Input, TableSpec, sums

def build(inputs, days, parameters):
    return Pages.create_empty()

"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for declarations, and beside it packages that Python finds."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "defs" / "mine").mkdir(parents=True)
    return tmp_path / "defs"


def declare(folder: Path, spec: str) -> Analyses:
    (folder / "mine" / "defs.yaml").write_text(
        f"type: pipeline_assets.components.Table\nattributes:\n  spec: {spec}\n", encoding="utf-8"
    )
    return load_analyses(folder)


def test_the_example_of_the_documentation_is_a_table(folder: Path) -> None:
    write_package(folder.parent, "acme_of_example")
    (folder / "mine").rename(folder / "loyal_visitors")
    (folder / "mine").mkdir()
    (folder / "loyal_visitors" / "defs.yaml").write_text(
        "type: pipeline_assets.components.Table\nattributes: {spec: acme_of_example.loyal_visitors:loyal_visitors}\n"
    )
    analyses = load_analyses(folder)
    assert analyses.of(Table) == (Table(name="loyal_visitors", spec="acme_of_example.loyal_visitors:loyal_visitors"),)
    tables = collect(Declarations(analyses=analyses, timezone="Asia/Tokyo"), only=["loyal_visitors"])
    assert list(tables) == ["events", "sessions", "loyal_visitors"]
    assert tables["loyal_visitors"].timezone == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (0, "", r"3:9: .*acme_0\.py has no TableSpec, and no function that makes one, called mine; one of build"),
        (1, "mine = 3", r"3:9: .*acme_1\.py has no TableSpec, and no function that makes one, called mine"),
        (2, "import polarz", r"3:9: acme_2 cannot be imported: .*acme_2\.py:8: No module named 'polarz'"),
        (3, "x = (", r"3:9: acme_3 cannot be imported: .*acme_3\.py:8: SyntaxError: .*was never closed"),
        (
            4,
            "mine = TableSpec(name='mine', contract=Pages, inputs=(), build=build)",
            r"3:9: acme_4 cannot be imported: .*acme_4\.py:8: ValueError: mine: inputs is empty",
        ),
        (
            5,
            "mine = TableSpec(name='yours', contract=Pages, inputs=(Input('events'),), build=build)",
            r"3:9: the table is called 'yours' in .*acme_5\.py:4; name the folder so, or write `name: yours`",
        ),
    ],
)
def test_what_names_no_table_is_told_with_the_place_in_the_declaration_and_in_the_module(
    folder: Path, number: int, code: str, message: str
) -> None:
    (folder.parent / f"acme_{number}.py").write_text(f"{HEAD}\n{dedent(code)}\n", encoding="utf-8")
    with pytest.raises(DeclarationError, match=rf"mine/defs\.yaml:{message}"):
        declare(folder, f"acme_{number}:mine")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("acme", "3:9: 'acme' names no table; write package.module:name"),
        ("nowhere_to_be_found.tables:mine", "3:9: there is no module nowhere_to_be_found; install its package"),
    ],
)
def test_what_is_nowhere_is_told_with_what_to_do(folder: Path, spec: str, message: str) -> None:
    with pytest.raises(DeclarationError, match=rf"mine/defs\.yaml:{message}"):
        declare(folder, spec)


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (
            6,
            "def mine(declared):\n    return declared.timezones",
            r"acme_6\.py:9: the table 'mine' cannot be made: .*timezones",
        ),
        (7, "def mine(declared):\n    return None", r"The table 'mine': acme_7:mine gives None, and not a TableSpec"),
        (
            8,
            "mine = TableSpec(name='mine', contract=Pages, inputs=(Input('sesions'),), build=build)",
            r"acme_8\.py:4: the table 'mine' reads 'sesions', .*; did you mean 'sessions'\?",
        ),
        (
            9,
            "mine = TableSpec(name='mine', contract=Pages, inputs=(Input('mine'),), build=build)",
            r"acme_9\.py:4: the table 'mine' is made of itself: mine <- mine",
        ),
    ],
)
def test_what_cannot_be_made_is_told_with_the_place_in_the_module(
    folder: Path, number: int, code: str, message: str
) -> None:
    (folder.parent / f"acme_{number}.py").write_text(f"{HEAD}\n{code}\n", encoding="utf-8")
    analyses = declare(folder, f"acme_{number}:mine")
    with pytest.raises(DeclarationError, match=message):
        collect(Declarations(analyses=analyses))


SPEC = "TableSpec(name='mine', contract=Pages, inputs=(Input('events'),), build=build"


def test_a_table_of_ones_own_is_given_what_the_deployment_declares(folder: Path) -> None:
    code = f"def mine(declared):\n    return {SPEC}, parameters=declared.timezone)"
    (folder.parent / "acme_10.py").write_text(f"{HEAD}\n{code}\n", encoding="utf-8")
    analyses = declare(folder, "acme_10:mine")
    made = [collect(Declarations(analyses=analyses, timezone=zone))["mine"] for zone in ("UTC", "Asia/Tokyo")]
    assert [each.parameters for each in made] == ["UTC", "Asia/Tokyo"]
    assert made[0].version != made[1].version


def test_code_of_this_package_that_a_table_of_ones_own_uses_is_part_of_its_version(folder: Path) -> None:
    code = f"""
        from pipeline_assets.transforms.entities import entity

        def build(inputs, days, parameters):
            return entity(inputs["events"], None, "event_date")

        mine = {SPEC})
    """
    (folder.parent / "acme_11.py").write_text(HEAD + dedent(code), encoding="utf-8")
    spec = collect(Declarations(analyses=declare(folder, "acme_11:mine")))["mine"]
    assert ("pipeline_assets.transforms.entities", "entity") in reached(*spec.functions)
