"""Several statements in one text."""

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.core import TyperGroup

from pipeline_assets.cli import app
from pipeline_assets.cli.statements import split

# Pieces of statements that hold semicolons which end nothing.
PIECES = (
    "select 1", "';'", "'it''s; '", "E'\\';'", '"a;b"', "$$;$$", "$x$ ; $$ ; $x$", "/* ; /* ; */ ; */", "-- ;\n", "$1",
    "a$b$c", "1.5", "e", "x", "é",
)  # fmt: skip


@given(st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), max_size=5))
def test_statements_are_split_at_semicolons_that_stand_for_themselves(statements: list[list[str]]) -> None:
    texts = [" ".join(["select", *pieces]) for pieces in statements]
    assert split(" ; ".join(texts)) == [text.strip() for text in texts]


@given(st.text(st.sampled_from("';\"$-/*\\ eE\na1")))
def test_nothing_of_a_text_is_lost(text: str) -> None:
    """Whatever is not closed goes to PostgreSQL as it is, which tells where."""
    position = 0
    for statement in split(text):
        found = text.index(statement, position)
        # Between statements there is nothing but their ends, blanks and comments.
        assert not split(text[position:found])
        position = found + len(statement)
    assert not split(text[position:])


@pytest.mark.parametrize("text", ["", " ; ;", "-- nothing", "/* ; */", ";\n-- ;\n;"])
def test_what_says_nothing_is_no_statement(text: str) -> None:
    assert split(text) == []


def test_a_query_may_begin_with_a_comment_and_a_misspelt_option_is_none() -> None:
    commands = typer.main.get_command(app)
    assert isinstance(commands, TyperGroup)
    command = commands.commands["sql"]
    query = "-- Counts add up.\nselect 1"
    context = command.make_context("sql", ["--json", query])
    assert context.params["query"].strip() == query
    assert context.params["as_json"]
    with pytest.raises(Exception, match="No such option: --jso"):
        command.make_context("sql", ["--jso", "select 1"])
