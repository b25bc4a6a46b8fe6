"""What a CSV file's header says about a declaration that does not fit the file.

Where the first line is no header it may hold personal data, so of a file's names only those are told that stand in the
declaration as well.
"""

from collections.abc import Iterable, Sequence

from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.dialect import Dialect
from pipeline_assets.sources.expressions import parse
from pipeline_assets.sources.mapping import column_names

_DELIMITERS = {",": ",", ";": ";", "\t": "tab", "|": "|"}
_NAMES = 5


def header_problem(source: Source, header: Sequence[str]) -> str | None:
    """Why no row of a file with this header can be meant, and what to declare; None if some row may be.

    Args:
        source: a declaration of CSV or TSV files.
        header: the names of the columns as the file has them.
    """
    if source.csv.header is not True:
        return None
    read = _columns_read(source)
    if not read or read & _folded(header):
        return None
    if len(header) == 1:
        for delimiter, name in _DELIMITERS.items():
            cells = Dialect(delimiter=delimiter, quote=source.csv.quote).cells(header[0])
            if delimiter != source.dialect.delimiter and len(cells) > 1:
                known = [cell for cell in column_names(cells) if cell.casefold() in read]
                found = f", among them {_listed(known)}" if known else ""
                return (
                    f"the header has one column, but {len(cells)} between '{name}'{found}; "
                    f'declare `csv: {{delimiter: "{name}"}}`'
                )
    return (
        f"no column that the mapping reads ({_listed(sorted(read))}) is among the {len(header)} of the header; declare "
        "`csv: {header: false}` or the names in their order where the files have no header, `skip` where it is not the "
        "first line"
    )


def _columns_read(source: Source) -> set[str]:
    """Names of the columns that expressions read, folded; none where they may read all of a row."""
    if source.ready is not None:
        # Its mapping reads more names than any file has, and they may be called otherwise.
        return set()
    expressions = [parse(text) for text in (*source.mapping.values(), *source.ids.values())]
    names = {path[0].casefold() for expression in expressions for path in expression.references}
    return set() if "raw" in names else names


def _folded(names: Iterable[str]) -> set[str]:
    return {name.casefold() for name in column_names(names)}


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
