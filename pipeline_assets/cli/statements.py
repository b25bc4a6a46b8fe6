"""Several SQL statements in one text, run one by one so that nothing is changed that may not be.

PostgreSQL takes several statements at once, with `commit` and `set transaction read write` among them, so that a
read-only transaction around them keeps nobody from changing data. One statement at a time, each in a savepoint of a
read-only transaction, does: in a savepoint PostgreSQL refuses to make the transaction writable, and a statement that
ends the transaction ends the savepoint with it, which is seen before the next statement is run.

A read-only transaction keeps tables from being changed, not files, and lets a superuser, such as that of the embedded
server, run programs with `copy … to program`. So statements that have no rows to give and may do that are refused. What
functions do beside the tables (`pg_terminate_backend`) only the role's rights can keep them from.
"""

import json
import re
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.abc import Loader
from psycopg.pq import TransactionStatus
from psycopg.types.datetime import (
    DateLoader,
    IntervalLoader,
    TimeLoader,
    TimestampLoader,
    TimestamptzLoader,
    TimetzLoader,
)
from psycopg.types.json import set_json_loads

_LOADERS: dict[str, type[Loader]] = {
    "date": DateLoader,
    "time": TimeLoader,
    "timetz": TimetzLoader,
    "timestamp": TimestampLoader,
    "timestamptz": TimestamptzLoader,
    "interval": IntervalLoader,
}
# Python refuses to read whole numbers of more digits.
_INT_DIGITS = 4_000

_TOKEN = re.compile(
    r"""
    (?P<comment>--[^\n]*) | (?P<block>/\*) | (?P<end>;)
    | (?:\b[eE]'(?:[^'\\]|\\.|'')*'?) | '(?:[^']|'')*'? | "(?:[^"]|"")*"?
    | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$ | [\w$]+ | .
    """,
    re.VERBOSE | re.DOTALL,
)

# Give no rows and may write files of the server, run programs, or load code.
_BESIDE_TABLES = ("copy", "do", "load")


class StatementError(ValueError):
    """A statement was refused; the message says why, and which of several it was."""


@dataclass(frozen=True)
class Result:
    """The rows of a statement.

    Attributes:
        names: of the columns.
        rows: the values; numbers, times and nested values as Python's.
    """

    names: list[str]
    rows: list[tuple[Any, ...]]


def split(text: str) -> list[str]:
    """The statements of a text, at the semicolons outside of quotes and comments; empty ones are left out."""
    found, begun, position, filled = [], 0, 0, False
    while position < len(text):
        token = _TOKEN.match(text, position)
        assert token is not None  # noqa: S101 - the last alternative is any character
        position = token.end()
        if token["end"]:
            if filled:
                found.append(text[begun : token.start()].strip())
            begun, filled = position, False
        elif token["block"]:
            position = _end_of_comment(text, position)
        elif token["tag"] is not None:
            end = text.find(token[0], position)
            position, filled = (len(text) if end < 0 else end + len(token[0])), True
        elif not token["comment"] and not token[0].isspace():
            filled = True
    return [*found, text[begun:].strip()] if filled else found


def _keyword(statement: str) -> str:
    """What a statement begins with, in lower case."""
    position = 0
    while token := _TOKEN.match(statement, position):
        position = token.end()
        if token["block"]:
            position = _end_of_comment(statement, position)
        elif not token["comment"] and not token[0].isspace():
            return token[0].lower()
    return ""


def _end_of_comment(text: str, position: int) -> int:
    """Where a comment ends that has begun; PostgreSQL's may hold others."""
    depth = 1
    for mark in re.finditer(r"/\*|\*/", text[position:]):
        # Marks do not overlap, as in PostgreSQL.
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return position + mark.end()
    return len(text)


def answers(connection: psycopg.Connection, text: str, *, write: bool) -> Generator[Result]:
    """Run the statements of a text and give the rows of those that have any.

    Args:
        connection: with autocommit.
        text: the statements, exactly as the user wrote them.
        write: whether they may change data. They are one transaction then, unless they say otherwise.

    Raises:
        StatementError: one would change something and may not, or PostgreSQL refused it.
    """
    _read_all_values(connection)
    try:
        yield from _changing(connection, text) if write else _reading(connection, text)
    except psycopg.Error as error:
        if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
            # It waits for rows, or for somebody who takes them; nothing else can be said on this connection.
            connection.close()
            raise StatementError(
                'COPY from and to the client needs psql: `psql "$(pipeline-assets postgres-url)"`. What a query '
                "answers is CSV here where it goes to a file."
            ) from error
        # What PostgreSQL says, with its HINT and the place in the statement.
        raise StatementError(str(error)) from error
    except UnicodeError as error:
        raise StatementError(
            "A statement or an answer cannot be written in the encoding that was set with client_encoding; leave UTF8."
        ) from error


def _changing(connection: psycopg.Connection, text: str) -> Iterator[Result]:
    cursor = connection.execute(text)  # ty: ignore[no-matching-overload] - the user's own statements
    while True:
        if cursor.description is not None:
            yield Result([column.name for column in cursor.description], cursor.fetchall())
        if not cursor.nextset():
            return


def _reading(connection: psycopg.Connection, text: str) -> Iterator[Result]:
    statements = split(text)
    connection.execute("begin read only")
    for number, statement in enumerate(statements, 1):
        place = f"Statement {number} of {len(statements)}" if len(statements) > 1 else "The statement"
        if _keyword(statement) in _BESIDE_TABLES:
            raise StatementError(
                f"{place} gives no rows, and may change files of the server or run programs there. Leave it out, or "
                "allow changes with --write."
            )
        connection.execute("savepoint before_it")
        # A prepared statement is one, whatever is in it.
        cursor = connection.execute(statement, prepare=True)  # ty: ignore[no-matching-overload] - the user's own
        result = None
        if cursor.description is not None:
            result = Result([column.name for column in cursor.description], cursor.fetchall())
        try:
            connection.execute("release before_it")
        except psycopg.Error:
            raise StatementError(
                f"{place} ends the transaction that keeps the data from being changed. Leave it out, or allow changes "
                "with --write."
            ) from None
        if result is not None:
            yield result
    with suppress(psycopg.Error):
        connection.execute("rollback")


def _read_all_values(connection: psycopg.Connection) -> None:
    """Have what Python's types cannot hold (infinity, years before Christ, 24:00) read as text, and numbers exactly."""
    for name, loader in _LOADERS.items():
        connection.adapters.register_loader(name, _or_text(loader))
    set_json_loads(lambda text: json.loads(text, parse_float=Decimal, parse_int=_whole), connection)


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _INT_DIGITS else Decimal(digits)


def _or_text(loader: type[Loader]) -> type[Loader]:
    class OrText(loader):  # ty: ignore[unsupported-base] - one of several
        def load(self, data: Any) -> Any:
            try:
                return super().load(data)
            except (psycopg.DataError, NotImplementedError):
                # The latter where a statement has set a style that Python does not know.
                return bytes(data).decode()

    return OrText
