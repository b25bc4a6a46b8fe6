"""docs/command_line.md says what the commands are, what they take and what their JSON holds."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import typer.main

from pipeline_assets.cli import app
from pipeline_assets.ledger.quarantine import REASONS
from pipeline_assets.ledger.summary import SourceSummary
from pipeline_assets.refresh import RefreshReport
from pipeline_assets_tests.cli.documented import keys_of

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "command_line.md").read_text(encoding="utf-8")


def commands(group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Every command and its options."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            options = {option for each in command.params for option in each.opts if option.startswith("--")}
            yield " ".join((*path, name)), options - {"--help"}


def test_the_documentation_names_every_command_with_its_options() -> None:
    documented = {}
    for cell in re.findall(r"^\| `([a-z][^`]*)` \|", TEXT.split("\n## ")[0], re.MULTILINE):
        name = re.match(r"[a-z-]+(?: [a-z]+)*", cell)
        assert name
        documented[name[0].strip()] = set(re.findall(r"--[a-z-]+", cell))
    assert documented == dict(commands(typer.main.get_command(app)))


def test_the_documentation_names_every_key_of_the_report_and_of_a_source() -> None:
    from pipeline_assets.cli.documents import refresh_document

    assert set(refresh_document(RefreshReport())) == keys_of(TEXT, "`refresh --json`")
    assert {"source", *(field.name for field in fields(SourceSummary))} <= keys_of(TEXT, "| `sources` |")


def test_the_documentation_of_the_ledger_explains_every_reason() -> None:
    ledger = (DOCS / "ledger.md").read_text(encoding="utf-8")
    assert [reason for reason in REASONS if f"`{reason}" not in ledger] == []
