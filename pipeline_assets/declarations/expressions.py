"""Understands one DuckDB expression: which columns it reads and what it may not do.

Expressions are parsed by DuckDB itself (`json_serialize_sql`), never by string matching.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import duckdb

FieldPath = tuple[str, ...]
"""A column and the keys below it: `context.page.url` is ("context", "page", "url")."""


class ExpressionError(ValueError):
    """The text is no expression, or one that a declaration may not contain."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Attributes:
        text: the SQL as written.
        references: every column path it reads.
        plain: the one path whose whole value it is (also behind trim or a cast, or first in coalesce), or None.
        bare: whether it is a path and nothing else, so that evaluating it cannot fail.
        indexed: paths with a subscript that is not a constant text (`items[1]`).
        functions: names of the functions it calls, in lower case.
    """

    text: str
    references: frozenset[FieldPath]
    plain: FieldPath | None
    bare: bool
    indexed: frozenset[FieldPath]
    functions: frozenset[str]


_REFUSED = {
    "SUBQUERY": "a subquery is not allowed: an expression sees only its own row",
    "WINDOW": "a window function is not allowed: an expression sees only its own row",
    "STAR": "* is not allowed: name the columns",
    "PARAMETER": "a parameter is not allowed",
    "POSITIONAL_REFERENCE": "#1 is not allowed: name the column",
    "DEFAULT": "DEFAULT is not allowed",
}


_UNSTABLE = "does not always give the same result for the same row"
_SEVERAL = "gives several rows: an expression gives one value for its own row"
# What DuckDB calls consistent or does not judge at all (macros), and yet depends on the moment, on who asks, or on the
# version of DuckDB.
_UNSTABLE_NAMES = re.compile(
    r"(get_)?current_.*|local.*|today|now|ago|version|hash|user|session_user|pg_conf_load_time|"
    r"pg_postmaster_start_time|pg_sleep"
)
_SEVERAL_NAMES = frozenset({"unnest", "generate_subscripts", "regexp_split_to_table"})


@cache
def database() -> duckdb.DuckDBPyConnection:
    """An empty database that can reach no file and no network; take a `cursor()` of it."""
    return duckdb.connect(
        config={
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "threads": "1",
        }
    )


@cache
def _reserved_words() -> frozenset[str]:
    rows = database().cursor().execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'")
    return frozenset(name for (name,) in rows.fetchall())


@cache
def function_kinds() -> dict[str, str]:
    """Function name -> why it may not be called; functions that may be called are missing."""
    # Where only some overloads are not consistent, it is those for times with a zone: DuckDB calls them consistent
    # within a query, as they follow the session's setting. Expressions are only ever evaluated in sessions whose time
    # zone is UTC, so that these are as stable as the rest. A function that is volatile, or varies whatever it is given
    # (now, current_setting), is not.
    rows = (
        database()
        .cursor()
        .execute(
            """
            SELECT lower(function_name),
                coalesce(bool_or(stability = 'VOLATILE') FILTER (function_type = 'scalar'), false)
                OR coalesce(bool_and(stability <> 'CONSISTENT') FILTER (function_type = 'scalar'), false),
                bool_and(function_type = 'aggregate')
            FROM duckdb_functions() GROUP BY ALL
            """
        )
        .fetchall()
    )
    unstable = {name: _UNSTABLE for name, volatile, _ in rows if volatile or _UNSTABLE_NAMES.fullmatch(name)}
    aggregates = {name: "is an aggregate: an expression sees only its own row" for name, _, only in rows if only}
    return unstable | aggregates | dict.fromkeys(_SEVERAL_NAMES, _SEVERAL)


@cache
def parse(text: str) -> Expression:
    """Parse one expression.

    Raises:
        ExpressionError: syntax error, more than one expression, or something that is not allowed in a declaration.
    """
    if not text.strip():
        raise ExpressionError("the expression is empty")
    # The line break keeps a trailing comment from swallowing the bracket.
    sql = f"SELECT ({text}\n)"
    answer = json.loads(database().cursor().execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0])
    if answer["error"]:
        raise ExpressionError(_syntax_message(text, answer["error_message"]))
    node = answer["statements"][0]["node"]
    selected = node.get("select_list", [])
    if len(answer["statements"]) != 1 or len(selected) != 1 or not _is_bare_select(node):
        raise ExpressionError("not one expression")
    walk = _Walk()
    walk.visit(selected[0], frozenset())
    for name in sorted(walk.functions):
        if name in function_kinds():
            raise ExpressionError(f"{name}() {function_kinds()[name]}")
    return Expression(
        text=text,
        references=frozenset(walk.references),
        plain=_plain(selected[0]),
        bare=_path(selected[0]) is not None,
        indexed=frozenset(walk.indexed),
        functions=frozenset(walk.functions),
    )


def choosing(text: str, usable: Callable[[str], str]) -> str:
    """The expression in which `coalesce` passes over what cannot be used, wherever it gives the expression's value.

    That is at the top, in the branches of a CASE there, and in another coalesce there. Where none of the alternatives
    can be used the value is the first that is not null, as it would be otherwise.

    Args:
        text: an expression that `parse` takes.
        usable: from the SQL of a value to a condition, never null, on it.
    """
    sql = f"SELECT ({text}\n)"
    (serialized,) = database().cursor().execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0]
    statement = json.loads(serialized)
    node = statement["statements"][0]["node"]
    root = node["select_list"][0]

    def written(part: Any) -> str:
        node["select_list"] = [{**part, "alias": ""}]
        (select,) = (
            database().cursor().execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(statement)]).fetchall()[0]
        )
        return select.removeprefix("SELECT ")

    def chosen(part: Any) -> str:
        if part.get("type") == "OPERATOR_COALESCE":
            values = [chosen(child) for child in part["children"]]
            good = [f"CASE WHEN {usable(f'({value})')} THEN ({value}) END" for value in values]
            return f"coalesce({', '.join([*good, *values])})"
        if part.get("class") == "CASE":
            cases = " ".join(
                f"WHEN {written(case['when_expr'])} THEN {chosen(case['then_expr'])}" for case in part["case_checks"]
            )
            return f"(CASE {cases} ELSE {chosen(part['else_expr'])} END)"
        return written(part)

    return chosen(root) if _chooses(root) else text


def _chooses(part: Any) -> bool:
    """Whether a coalesce gives the value."""
    if part.get("class") == "CASE":
        return any(map(_chooses, [case["then_expr"] for case in part["case_checks"]] + [part["else_expr"]]))
    return part.get("type") == "OPERATOR_COALESCE"


def _syntax_message(text: str, message: str) -> str:
    for word in re.findall(r"[A-Za-z_]+", re.sub(r"'[^']*'|\"[^\"]*\"", "", text)):
        if word.lower() in _reserved_words() and f'"{word}"' in message:
            return f'{message}; {word} is a word of SQL: a column of that name is written "{word}" with double quotes'
    return message


def _is_bare_select(node: dict[str, Any]) -> bool:
    return (
        node["type"] == "SELECT_NODE"
        and node["from_table"]["type"] == "EMPTY"
        and not any(
            node[part]
            for part in (
                "where_clause",
                "group_expressions",
                "having",
                "qualify",
                "modifiers",
            )
        )
    )


def _path(node: Any) -> FieldPath | None:
    """The column path a node stands for: `a.b`, `a['b']`; None for anything else."""
    if node.get("class") == "COLUMN_REF":
        return tuple(node["column_names"])
    if node.get("type") in {"ARRAY_EXTRACT", "STRUCT_EXTRACT"}:
        parent, key = _path(node["children"][0]), node["children"][1]
        if parent and key.get("class") == "CONSTANT" and key["literal"].get("kind") == "STRING":
            return (*parent, key["literal"]["text"])
    return None


def _plain(node: Any) -> FieldPath | None:
    path = _path(node)
    if path:
        return path
    # A failed TRY_CAST would lose the value, so it does not count as holding it.
    if node.get("type") == "OPERATOR_CAST" and not node["try_cast"]:
        return _plain(node["child"])
    # Where the first value is null there is nothing of it to hold.
    if node.get("type") == "OPERATOR_COALESCE":
        return _plain(node["children"][0])
    if node.get("class") == "FUNCTION" and node["function_name"] == "trim" and len(node["arguments"]) == 1:
        return _plain(node["arguments"][0]["expression"])
    return None


@dataclass
class _Walk:
    references: set[FieldPath] = field(default_factory=set)
    indexed: set[FieldPath] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)

    def visit(self, node: Any, bound: frozenset[str]) -> None:
        """Collect from a node and all below it; `bound` are the parameters of enclosing lambdas."""
        if isinstance(node, list):
            for child in node:
                self.visit(child, bound)
            return
        if not isinstance(node, dict):
            return
        path = _path(node)
        if path:
            if path[0] not in bound:
                self.references.add(path)
            return
        kind = node.get("class")
        if kind in _REFUSED:
            raise ExpressionError(_REFUSED[kind])
        if kind == "LAMBDA":
            parameters = _Walk()
            parameters.visit(node["lhs"], frozenset())
            self.visit(
                node["expr"],
                bound | {parameter[0] for parameter in parameters.references},
            )
            return
        if kind == "FUNCTION":
            name = node["function_name"].lower()
            if name == "age" and len(node["arguments"]) == 1:
                raise ExpressionError(f"age() of one time {_UNSTABLE}: it is measured from today; give both times")
            self.functions.add(name)
        if node.get("type") in {"ARRAY_EXTRACT", "ARRAY_SLICE"}:
            base = _path(node["children"][0])
            if base and base[0] not in bound:
                self.indexed.add(base)
        for child in node.values():
            self.visit(child, bound)
