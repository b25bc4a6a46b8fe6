"""What README and docs say is so: links, commands, options, variables, declarations and queries."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
import typer.main

from pipeline_assets import settings as settings_module
from pipeline_assets.cli import app
from pipeline_assets.component_tree.loading import declared
from pipeline_assets.declarations.yaml_files import DEFS_DIR
from pipeline_assets.io_managers.postgres import declared_table, quoted
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.postgres import connect
from pipeline_assets.registry import collect
from pipeline_assets.settings import Settings
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets_tests.own_tables import write_package

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What happened once may name what is there no more.
OF_TODAY = [page for page in PAGES if page.name != "CHANGELOG.md"]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text and where it begins."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    fence = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
    texts = {page: page.read_text(encoding="utf-8") for page in OF_TODAY}
    return [
        Block(page, text[: match.start()].count("\n") + 1, match[1], match[2])
        for page, text in texts.items()
        for match in fence.finditer(text)
        if match[1] in languages
    ]


def code(page: Path) -> str:
    """Everything on a page that is written as code, a line each."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    # A piece of code may be broken between two lines.
    return "\n".join([*fenced, *(" ".join(piece.split()) for piece in re.findall(r"`([^`]+)`", prose))])


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", OF_TODAY, ids=lambda page: page.name)
def test_every_target_of_make_is_in_the_makefile(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    extras = re.findall(r"^HEAVY := (.*)$", makefile, flags=re.MULTILINE)[0].split()
    targets |= {
        kind + each for kind in re.findall(r"^\$\(HEAVY:%=([a-z-]+)%\):", makefile, re.MULTILINE) for each in extras
    }
    assert set(re.findall(r"(?:^|\s|\()make ([a-z-]+)", code(page), flags=re.MULTILINE)) <= targets


def command_of(words: list[str]) -> tuple[str, Any, list[str]]:
    """The command that some words after `pipeline-assets` call, if there is one, and the words after it."""
    command: Any = typer.main.get_command(app)
    name = []
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        name.append(words.pop(0))
        command = command.commands.get(name[-1])
    return " ".join(name), command, words


@pytest.mark.parametrize("page", OF_TODAY, ids=lambda page: page.name)
def test_every_command_and_option_of_the_command_line_is_there(page: Path) -> None:
    wrong = []
    for line in code(page).splitlines():
        for call in re.findall(r"(?:^|[\s/(])pipeline-assets((?: [\w./<>=\"'-]+)+)", line.split("#")[0]):
            name, command, rest = command_of(call.split())
            if command is None and not name.isupper():
                wrong.append(f"pipeline-assets {name}")
            options = {option for each in getattr(command, "params", []) for option in each.opts}
            wrong += [f"{name} {word}" for word in rest if word.startswith("--") and word not in {*options, "--help"}]
    assert wrong == []


def test_the_readme_tells_of_every_variable_and_of_no_other() -> None:
    read = set(re.findall(r'"(PIPELINE_[A-Z_]+)', Path(settings_module.__file__).read_text(encoding="utf-8")))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = {
        name for row in re.findall(r"^\| (`PIPELINE.*?) \|", readme, flags=re.MULTILINE) for name in row.split("`")
    }
    assert {name for name in table if name.startswith("PIPELINE_")} == read
    told = {name for page in OF_TODAY for name in re.findall(r"PIPELINE_[A-Z_]+[A-Z]", page.read_text())}
    assert told <= read


@pytest.mark.parametrize("page", OF_TODAY, ids=lambda page: page.name)
def test_every_file_of_the_project_that_is_named_is_there(page: Path) -> None:
    named = set(re.findall(r"\bpipeline_assets(?:_tests)?/[\w./-]+", code(page)))
    # A declaration of an example is not one of the demo's.
    named = {name for name in named if not name.endswith("defs.yaml")}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        reached.add(page)
        for target in re.findall(r"\]\(([^)#]+\.md)", page.read_text(encoding="utf-8")):
            there = (page.parent / target).resolve()
            if there not in reached and there.exists():
                todo.append(there)
    assert set(OF_TODAY) <= reached


def is_declaration(block: Block) -> bool:
    return "type: pipeline_assets.components." in block.text


def declare(block: Block, folder: Path) -> str:
    """Write a declaration into a folder of its own; its name is the one that the block gives, if it does."""
    named = re.search(r"(\w+)/defs\.yaml", block.text)
    name = named[1] if named else f"example_{block.line}"
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "defs.yaml").write_text(block.text)
    if "components.Table\n" in block.text and not (folder / "acme").exists():
        write_package(folder)
    return name


@pytest.mark.parametrize("block", [block for block in blocks("yaml") if is_declaration(block)], ids=str)
def test_every_declaration_can_be_loaded(block: Block, tmp_path: Path) -> None:
    # An example attribution is one of the conversion that the pages tell of before it.
    shutil.copytree(DEFS_DIR / "purchase", tmp_path / "defs" / "purchase")
    declare(block, tmp_path / "defs")
    declared(Settings.for_data_dir(tmp_path, defs_dir=tmp_path / "defs"))


def test_every_query_can_be_asked(postgres_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "defs"
    folder.mkdir()
    for block in blocks("yaml"):
        # Of channels and currencies there is one at most, and no query asks for them.
        if re.search(r"components\.(?!Channels|Currencies)\w+", block.text):
            declare(block, folder)
    settings = Settings.for_data_dir(tmp_path, defs_dir=folder)
    sources, analyses = declared(settings)
    tables = collect(Declarations(tuple(sources), analyses))
    engine = sa.create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    migrate(engine)
    engine.dispose()
    wrong = []
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute("create schema marts")
        for table in tables.values():
            columns = declared_table(pl.Schema(), table.contract).columns
            listed = ", ".join(f"{quoted(column.name)} {column.type}" for column in columns)
            connection.execute(f"create table {quoted('marts', table.name)} ({listed})")  # ty: ignore[no-matching-overload]
        for block in blocks("sql"):
            try:
                connection.execute(block.text)  # ty: ignore[no-matching-overload]
            except Exception as error:
                wrong.append(f"{block}: {error}")
    assert wrong == []


def test_every_module_that_a_comment_or_docstring_names_is_there() -> None:
    package = Path(settings_module.__file__).parent
    named = {
        (file, name)
        for file in package.rglob("*.py")
        for name in re.findall(r"`((?:\w+/)*\w+\.py)`", file.read_text("utf-8"))
    }
    assert len(named) > 5
    # A name alone is of a module beside the one that names it.
    wrong = [(file, name) for file, name in named if not ((package if "/" in name else file.parent) / name).is_file()]
    assert wrong == []


def test_every_file_that_the_architecture_names_is_there_and_every_package_is_named() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    package = Path(settings_module.__file__).parent
    named = {name.rstrip("/") for name in re.findall(r"`([a-z_]+/(?:[a-z_0-9]+\.py)?|[a-z_]+\.py)`", page)}
    named |= {
        f"{folder}/{name}.py"
        for folder, names in re.findall(r"`([a-z_]+)/\{([a-z_,]+)\}\.py`", page)
        for name in names.split(",")
    }
    assert len(named) > 40
    assert [name for name in sorted(named) if not (package / name).exists()] == []
    packages = {file.parent.name for file in package.glob("*/__init__.py")}
    assert packages - {name.partition("/")[0] for name in named} == set()
