"""Reads the declared analyses of a deployment; every mistake is reported with file, line, column and a suggestion."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline_assets.analyses.kinds import KINDS
from pipeline_assets.declarations.analyses import Analyses, Analysis, Attribution, Convention, Conversion
from pipeline_assets.declarations.problems import DeclarationError, Problem, suggestion
from pipeline_assets.declarations.yaml_files import Declared, Document, documents, read
from pipeline_assets.tables.fixed import fixed_tables

PACKAGE = "pipeline_assets.components"
"""The components are named below it in YAML, e.g. `type: pipeline_assets.components.Funnel`."""

_OTHERS = ("EventSource", "EventPipeline")


def load_analyses(*folders: Path) -> Analyses:
    """All analyses declared in the `defs.yaml` files below some folders.

    Components of other packages are ignored, and so are sources. A folder that does not exist holds no analyses.
    Templates such as `{{ env.X }}` are mistakes: only Dagster fills them in, see `component_tree.loading`.

    Raises:
        DeclarationError: with every mistake in every file.
    """
    analyses, _, messages = read_analyses(documents(*folders))
    if messages:
        raise DeclarationError("\n".join(messages))
    return analyses


def read_analyses(among: Iterable[Document | str]) -> tuple[Analyses, list[Declared], list[str]]:
    """The analyses in which there is no mistake, where everything is declared, and all mistakes.

    Args:
        among: what is in the files: documents, those of other components too, and messages where there is none.
    """
    found: list[Declared] = []
    messages: list[str] = []
    for document in among:
        if isinstance(document, str):
            messages.append(document)
            continue
        package, _, component = document.type.rpartition(".")
        if component in KINDS and package == PACKAGE:
            declared, mistakes = read(document, KINDS[component])
            messages += mistakes
            if declared:
                found.append(declared)
        elif document.type.startswith(f"{PACKAGE}.") and not (package == PACKAGE and component in _OTHERS):
            known = [f"{PACKAGE}.{name}" for name in (*_OTHERS, *KINDS)]
            messages.append(document.at_type(f"unknown type '{document.type}'{suggestion(document.type, known)}"))
    messages += _name_mistakes([declared for declared in found if not isinstance(declared.value, Convention)])
    messages += _second_mistakes(found)
    messages += _unknown_conversions(found)
    sound = _without_mistakes(found) if messages else [declared.value for declared in found]
    return Analyses(tuple(sound)), found, messages


def _name_mistakes(found: Sequence[Declared]) -> Iterator[str]:
    first: dict[str, Declared] = {}
    for declared in found:
        name, document = declared.value.name, declared.document
        if not name:
            continue
        earlier = first.setdefault(name, declared)
        if name in fixed_tables():
            message = f"'{name}' is a table of the standard model; give the analysis another `name:`"
            yield document.at(Problem(("name",), message))
        elif earlier is not declared:
            place = f"{earlier.document.file}:{earlier.document.line}"
            yield document.at(Problem(("name",), f"an analysis '{name}' is already declared at {place}"))


def _without_mistakes(found: Sequence[Declared]) -> list[Analysis]:
    first: dict[tuple[str, str], Analysis] = {}
    for declared in found:
        value = declared.value
        once = isinstance(value, Convention)
        if declared.sound and (once or (value.name and value.name not in fixed_tables())):
            first.setdefault((type(value).__name__, "") if once else ("", value.name), value)
    conversions = {value.name for value in first.values() if isinstance(value, Conversion)}
    return [value for value in first.values() if not isinstance(value, Attribution) or value.conversion in conversions]


def _second_mistakes(found: Sequence[Declared]) -> Iterator[str]:
    first: dict[type[Analysis], Declared] = {}
    for declared in found:
        kind = type(declared.value)
        earlier = first.setdefault(kind, declared)
        if issubclass(kind, Convention) and earlier is not declared:
            place = f"{earlier.document.file}:{earlier.document.line}"
            message = f"a deployment has one {kind.__name__}; another is declared at {place}"
            yield declared.document.at_type(message)


def _unknown_conversions(found: Sequence[Declared]) -> Iterator[str]:
    known = sorted(declared.value.name for declared in found if isinstance(declared.value, Conversion))
    for declared in found:
        # A stand-in for what is wrong names no conversion.
        if isinstance(declared.value, Attribution) and (declared.sound or declared.value.conversion != "any"):
            name = declared.value.conversion
            if name not in known:
                hint = suggestion(name, known) if known else "; none is declared"
                yield declared.document.at(Problem(("conversion",), f"unknown conversion '{name}'{hint}"))
