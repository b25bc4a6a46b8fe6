"""The version of a piece of code: a digest of everything of this project that it can reach.

A table that was built by other code is stale, so that nobody has to remember to say so. What is reached is found by
reading sources, definition by definition: a function, the functions, classes and constants that it names, what those
name, and so on. Code that a table does not use may change without its being built again, and so may comments,
docstrings, annotations of arguments and the layout. Whatever cannot be told apart counts as reached.

The digest is made from the syntax tree, in a form that does not depend on the version of Python: workers may differ in
that. What belongs here: finding and digesting code. What does not: what else rows depend on (see `tables.spec`).
"""

import ast
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any

from pipeline_assets.digests import digest_of

Definition = tuple[str, str]
"""A module and one of its names; all of the module where the name is empty."""

_NAMED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def code_version(*roots: Callable[..., Any] | str) -> str:
    """Digest of the code of a package that some of its functions can reach: 16 hex digits.

    Args:
        roots: functions, lambdas, partials of them, or `module:name` of what need not be imported for that
            (`module:` is all of it). A function's closure belongs to it: functions in it are followed, and plain
            values count (texts, numbers, and what is made of them); other values have to be counted elsewhere.

    Raises:
        LookupError: a name is not there, or the source of a function cannot be found.
    """
    functions = [function for root in roots if not isinstance(root, str) for function in _functions(root)]
    own = sorted(_canonical(node) for function in functions for node in _written(function))
    own += sorted(repr(value) for function in functions for value in _closed_over(function) if _is_plain(value))
    parts = [f"{module}:{name}\n{_digest(module, name)}" for module, name in sorted(reached(*roots))]
    return digest_of("\n".join([*own, *parts]).encode(), 16)


def reached(*roots: Callable[..., Any] | str) -> set[Definition]:
    """The definitions that `code_version` follows from some roots; of a root that is no text, not itself."""
    names: set[Definition] = set()
    for root in roots:
        if isinstance(root, str):
            module, _, name = root.partition(":")
            if name and name not in _module(module).definitions:
                raise LookupError(f"{module} defines no {name}")
            names.add((module, name))
        else:
            for function in _functions(root):
                names |= _named_by(function.__module__, _written(function))
    return _reached(names)


@dataclass(frozen=True)
class _Module:
    """A module's source, taken apart.

    Attributes:
        definitions: the statements that give a name its meaning, by name.
        imports: where names come from that are imported from this project: a definition, or a whole module.
        other: statements that define nothing and might do anything.
        tree: all of it.
    """

    definitions: Mapping[str, list[ast.stmt]]
    imports: Mapping[str, Definition]
    other: list[ast.stmt]
    tree: ast.Module
    digests: dict[str, str] = field(default_factory=dict)


@cache
def _module(name: str) -> _Module:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise LookupError(f"the source of {name} cannot be found")
    tree = ast.parse(Path(spec.origin).read_bytes())
    definitions: dict[str, list[ast.stmt]] = {}
    imports: dict[str, Definition] = {}
    other: list[ast.stmt] = []
    for statement in _statements(tree.body):
        if not isinstance(statement, _NAMED):
            imports |= _imports(statement, name)
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        defined = _defined(statement)
        for each in defined:
            definitions.setdefault(each, []).append(statement)
        if not defined and not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            other.append(statement)
    return _Module(definitions, imports, other, tree)


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test):
            continue
        yield statement


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, _NAMED):
        return [statement.name]
    # Of a statement that holds others (if, for, try, with), whatever any of them binds.
    inner = list(ast.walk(statement))
    # What a comprehension goes through has no name outside of it.
    targets = [each.target for each in inner if isinstance(each, ast.comprehension)]
    own = {node for target in targets for node in ast.walk(target)}
    stored = [node for node in inner if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    names = [node.id for node in stored if node not in own]
    return names + [node.name for node in inner if isinstance(node, _NAMED)]


def _imports(node: ast.AST, importer: str) -> dict[str, Definition]:
    """What a piece of code imports from its own package and from this one, wherever it does."""
    found: dict[str, Definition] = {}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import | ast.ImportFrom):
            found |= _imported(inner, importer)
    return found


def _imported(statement: ast.Import | ast.ImportFrom, importer: str) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for alias in statement.names:
        if alias.name == "*" or (isinstance(statement, ast.ImportFrom) and statement.level):
            raise LookupError(f"{importer}, line {statement.lineno}: name what is imported, and the whole module")
        if isinstance(statement, ast.Import):
            if _is_followed(alias.name, importer):
                top = alias.name.partition(".")[0]
                found[alias.asname or top] = (alias.name if alias.asname else top, "")
        elif _is_followed(statement.module or "", importer):
            module = f"{statement.module}.{alias.name}"
            is_module = _is_module(module)
            found[alias.asname or alias.name] = (module, "") if is_module else (str(statement.module), alias.name)
    return found


def _is_followed(module: str, importer: str) -> bool:
    """Whether a module is of the importer's own package, or of this one: a team's table may use what is here."""
    return module.partition(".")[0] in (importer.partition(".")[0], __name__.partition(".")[0])


@cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _reached(names: Iterable[Definition]) -> set[Definition]:
    reached: set[Definition] = set()
    todo = list(names)
    while todo:
        definition = todo.pop()
        if definition in reached:
            continue
        reached.add(definition)
        module, name = definition
        if name and name not in _module(module).definitions:
            # Passed on: a package's `__init__` imports it from where it is defined. Or made when it is asked for.
            passed_on = _resolved(module, [(name,), ("__getattr__",)])
            if not passed_on:
                raise LookupError(f"{module} defines no {name}")
            todo += passed_on
            continue
        todo += _reached_by(module, name)
    return {each for each in reached if not each[1] or each[1] in _module(each[0]).definitions}


@cache
def _reached_by(module: str, name: str) -> frozenset[Definition]:
    """What a definition names."""
    code = _module(module)
    return frozenset(_named_by(module, [*code.definitions[name], *code.other] if name else code.tree.body))


def _named_by(module: str, nodes: Sequence[ast.AST]) -> set[Definition]:
    """The definitions that some pieces of a module's code name."""
    # What a function imports is local to it.
    late = {target for node in nodes for target in _imports(node, module).values()}
    return late | _resolved(module, (used for node in nodes for used in _used(node)))


def _used(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """The names in a piece of code, with what follows them: `a.b.c` is ("a", "b", "c")."""
    chain: list[str] = []
    inner: ast.AST = node
    while isinstance(inner, ast.Attribute):
        chain.append(inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        yield (inner.id, *reversed(chain))
        return
    for child in _children(node):
        yield from _used(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for _, value in _fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child


def _fields(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """The fields of a node that mean something when it runs, empty ones left out."""
    for name, value in ast.iter_fields(node):
        if value is None or value == [] or name in ("ctx", "type_comment", "kind", "type_ignores"):
            continue
        if isinstance(node, ast.arg | ast.FunctionDef | ast.AsyncFunctionDef) and name in ("annotation", "returns"):
            continue
        if name == "body" and isinstance(value, list) and _is_docstring(value[0]):
            yield name, value[1:]
            continue
        yield name, value


def _is_docstring(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _resolved(module: str, used: Iterable[tuple[str, ...]]) -> set[Definition]:
    """The definitions of this project that some names of a module stand for."""
    code = _module(module)
    found: set[Definition] = set()
    for first, *rest in used:
        if first in code.definitions:
            found.add((module, first))
        elif first in code.imports:
            target, name = code.imports[first]
            # An attribute of a module: what it defines, or a module below it.
            while not name and rest:
                name = rest.pop(0)
                if _is_module(f"{target}.{name}"):
                    target, name = f"{target}.{name}", ""
            found.add((target, name))
    return found


def _digest(module: str, name: str) -> str:
    code = _module(module)
    if name not in code.digests:
        statements = [*code.definitions[name], *code.other] if name else code.tree.body
        text = "\n".join(_canonical(statement) for statement in statements)
        code.digests[name] = digest_of(text.encode())
    return code.digests[name]


def _canonical(node: Any) -> str:
    """A node as text that stays the same whatever version of Python parsed it."""
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    if isinstance(node, ast.AST):
        inner = ",".join(f"{name}={_canonical(value)}" for name, value in _fields(node))
        return f"{type(node).__name__}({inner})"
    return repr(node)


# --- Functions that are there ---------------------------------------------------------------------------


def _functions(root: Any, package: str = "") -> Iterator[FunctionType]:
    """The functions of one package in a callable: itself, what it is a partial of, those in its closure."""
    if isinstance(root, partial):
        for value in (root.func, *root.args, *root.keywords.values()):
            yield from _functions(value, package)
        return
    function = inspect.unwrap(root) if callable(root) else root
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType):
        return
    package = package or function.__module__.partition(".")[0]
    if function.__module__.partition(".")[0] == package:
        yield function
        for value in _closed_over(function):
            yield from _functions(value, package)


def _closed_over(function: FunctionType) -> list[Any]:
    return [cell.cell_contents for cell in function.__closure__ or ()]


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def _written(function: FunctionType) -> list[ast.AST]:
    """The function's own source; of several lambdas in a line all."""
    line = function.__code__.co_firstlineno
    kinds = ast.Lambda if function.__name__ == "<lambda>" else ast.FunctionDef | ast.AsyncFunctionDef
    tree = _module(function.__module__).tree
    found: list[ast.AST] = [node for node in ast.walk(tree) if isinstance(node, kinds) and _first_line(node) == line]
    if not found:
        raise LookupError(f"the source of {function.__qualname__} cannot be found in {function.__module__}")
    return found


def _first_line(node: Any) -> int:
    return min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
