"""Several statements in one text."""

import csv
import io
import json

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.core import TyperGroup

from pipeline_assets.cli import app
from pipeline_assets.cli.documents import as_json
from pipeline_assets.cli.printing import print_rows
from pipeline_assets.cli.statements import StatementError, answers, split
from pipeline_assets.postgres import connect

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


def rows(url: str, text: str, *, write: bool = False) -> list[tuple]:
    """The rows of all statements of a text."""
    with connect(url, autocommit=True) as connection:
        return [row for result in answers(connection, text, write=write) for row in result.rows]


BEYOND_PYTHON = (
    ("'24:00'::time", "24:00:00"), ("'24:00+05'::timetz", "24:00:00+05"), ("'infinity'::timestamptz", "infinity"),
    ("'0044-03-15 BC'::date", "0044-03-15 BC"), ("interval '100000000 years'", "100000000 years"),
    ("jsonb '1e5000'", "1" + "0" * 5000),
)  # fmt: skip


def test_values_that_python_has_no_type_for_are_as_postgresql_writes_them(postgres_url: str) -> None:
    found = rows(postgres_url, f"select {', '.join(sql for sql, _ in BEYOND_PYTHON)}")
    assert [as_json(value).strip('"') for value in found[0]] == [text for _, text in BEYOND_PYTHON]


def test_a_style_that_a_statement_sets_is_that_of_the_answers(postgres_url: str) -> None:
    text = """
        set datestyle = 'German, DMY'; set intervalstyle = 'iso_8601';
        select '2026-02-01 10:00+00'::timestamptz, interval '1 day 2 hours'
    """
    assert rows(postgres_url, text) == [("01.02.2026 10:00:00 UTC", "P1DT2H")]


@pytest.mark.parametrize("text", ["copy (select 1) to stdout", "copy pg_catalog.pg_am to stdout; select 1"])
def test_copy_to_the_client_is_refused_with_what_to_do(postgres_url: str, text: str) -> None:
    with pytest.raises(StatementError, match="COPY from and to the client needs psql"):
        rows(postgres_url, text, write=True)


def test_an_encoding_that_cannot_hold_a_statement_is_told(postgres_url: str) -> None:
    with pytest.raises(StatementError, match="client_encoding"):
        rows(postgres_url, "set client_encoding = 'latin1'; select '€'")


def test_nested_values_are_json_in_csv_and_bytes_hexadecimal(capsys: pytest.CaptureFixture[str]) -> None:
    nested = {"a": [1, None, True, 'x,"y'], "b": {}}
    print_rows(["nested", "list", "bytes"], [(nested, ["a", None], b"\x00\xff")])
    _, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert [json.loads(row[0]), json.loads(row[1]), row[2]] == [nested, ["a", None], "\\x00ff"]
