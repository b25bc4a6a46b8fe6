"""A team's own table: made in a package of its own, and only named in the declarations."""

import sys
import traceback
from collections.abc import Iterable, Iterator
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from typing import cast

from pipeline_assets.analyses.kind import AnalysisKind
from pipeline_assets.declarations.analyses import Table
from pipeline_assets.declarations.problems import DeclarationError, Problem, suggestion
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.fixed import Maker, made
from pipeline_assets.tables.spec import TableSpec


def own_table(analysis: Table, declared: Declarations) -> TableSpec:
    """The table that a declaration names.

    Raises:
        DeclarationError: there is none, or it cannot be made; with the file and line of the mistake.
    """
    try:
        spec = made(find(analysis.spec), declared)
    except LookupError as error:
        raise DeclarationError(f"The table '{analysis.name}': {error}") from error
    except Exception as error:
        raise DeclarationError(f"{_place(error)}: the table '{analysis.name}' cannot be made: {error}") from error
    if not isinstance(spec, TableSpec):
        raise DeclarationError(f"The table '{analysis.name}': {analysis.spec} gives {spec!r}, and not a TableSpec")
    if spec.name != analysis.name:
        raise DeclarationError(
            f"{spec.place}: the table is called '{spec.name}' there and '{analysis.name}' in its declaration; a table "
            "has one name"
        )
    return spec


def find(spec: str) -> Maker:
    """What a declaration names as `package.module:name`.

    Raises:
        LookupError: it is not there, or no table; the message says why.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name.isidentifier():
        raise LookupError(f"'{spec}' names no table; write package.module:name")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if not error.name or not f"{module_name}.".startswith(f"{error.name}."):
            raise LookupError(f"{module_name} cannot be imported: {_place(error)}: {error}") from error
        raise LookupError(
            f"there is no module {error.name}; install its package beside this one, or put it into the project's folder"
        ) from error
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise LookupError(f"{module_name} cannot be imported: {_place(error)}: {what}") from error
    found = getattr(module, name, None)
    if found is None or not (isinstance(found, TableSpec) or callable(found)):
        known = [
            key
            for key, value in vars(module).items()
            if isinstance(value, TableSpec) or (isfunction(value) and value.__module__ == module_name)
        ]
        raise LookupError(
            f"{module.__file__} has no TableSpec, and no function that makes one, called {name}"
            f"{suggestion(name, known)}"
        )
    return cast("Maker", found)


def table_problems(table: Table) -> Iterator[Problem]:
    """Mistakes in a declared table whose shape is right."""
    try:
        found = find(table.spec)
    except LookupError as error:
        yield Problem(("spec",), str(error))
        return
    if isinstance(found, TableSpec) and table.name and found.name != table.name:
        yield Problem(
            ("spec",),
            f"the table is called '{found.name}' in {found.place}; name the folder so, or write `name: {found.name}`",
        )


def make_importable(folders: Iterable[Path]) -> None:
    """Let Python find packages in some folders, behind all others: nothing that was found is found elsewhere now."""
    for folder in folders:
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.append(str(folder))


def _place(error: BaseException) -> str:
    """Where a mistake is, as `file:line`: outside of Python's and this package's own code if possible."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    package = str(Path(__file__).parents[1])
    ours = ("<", package)
    theirs = [frame for frame in frames if "importlib" not in frame.filename and not frame.filename.startswith(ours)]
    last = (theirs or frames)[-1]
    return f"{last.filename}:{last.lineno}"


TABLE = AnalysisKind(
    model=Table,
    noun="table",
    find_problems=table_problems,
    example={"spec": "my_package.tables.my_table:my_table"},
    table=own_table,
)
"""The kind."""
