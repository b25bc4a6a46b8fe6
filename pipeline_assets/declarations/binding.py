"""What only DuckDB can know about an expression: it is bound against a relation without rows.

The database can reach neither files nor network.
"""

from collections.abc import Iterable, Mapping

import duckdb

from pipeline_assets.declarations.expressions import database
from pipeline_assets.sql import identifier


def empty_relation(columns: Mapping[str, str]) -> str:
    """A relation without a meaning, for FROM: column name -> DuckDB type. Expressions are bound against it."""
    values = ", ".join(f"NULL::{kind} AS {identifier(name)}" for name, kind in columns.items())
    return f'(SELECT NULL::BIGINT AS "~line", {values}) AS "~rows"'


def binding_error(texts: Iterable[str], rows: str) -> duckdb.Error | None:
    """DuckDB's complaint about expressions over a relation of `empty_relation`, if it has one."""
    # Wrapped as those who evaluate them wrap them.
    values = ", ".join(f'TRY(struct_pack("v" := ({text}\n)))' for text in texts)
    try:
        # With a plain column beside it, an aggregate cannot be bound.
        sql = f'SELECT "~line", {values} FROM {rows} WHERE false'  # noqa: S608 - declared SQL, and no database to harm
        database().cursor().execute(sql).fetchall()
    except duckdb.Error as error:
        return error
    return None


def result_type(text: str, rows: str) -> str:
    """DuckDB's type of an expression that can be bound."""
    sql = f"DESCRIBE SELECT ({text}\n) AS v FROM {rows}"  # noqa: S608 - as above
    return str(database().cursor().execute(sql).fetchall()[0][1])


def in_words(error: duckdb.Error) -> str:
    """DuckDB's message and its suggestion, without the echo of the statement and the list of signatures."""
    message = str(error).split("\n\nLINE ")[0]
    # A macro may hide what the expression itself does not say.
    if "GROUP BY" in message or "aggregates are not allowed" in message:
        return "an aggregate is not allowed: an expression sees only its own row"
    if "scalar subquery" in message:
        return "a subquery is not allowed: an expression sees only its own row"
    head, _, rest = message.partition("\n")
    hints = [
        line.strip() for line in rest.splitlines() if line.strip().startswith(("Did you mean", "Candidate bindings"))
    ]
    return " ".join([head.split("Error: ", 1)[-1].strip(), *hints])
