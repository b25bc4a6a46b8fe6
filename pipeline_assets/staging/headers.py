"""What a CSV file's header says about a declaration that does not fit the file.

Where the first line is no header it may hold personal data, so of a file's names only those are told that stand in the
declaration as well.
"""

from collections.abc import Iterable, Sequence

from pipeline_assets.declarations.expressions import parse
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.dialect import Dialect
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
        f"no column that the mapping reads ({_listed(sorted(read))}) is among the {len(header)} of the header; if the "
        "files have no header, declare `csv: {header: false}` or the names, and `skip` if it is not their first line"
    )


def _columns_read(source: Source) -> set[str]:
    """Names of the columns that mean something, folded; none where an expression reads the whole row."""
    expressions = [parse(text) for text in (*source.mapping.values(), *source.ids.values())]
    names = {path[0].casefold() for expression in expressions for path in expression.references}
    if source.ready is None:
        return set() if "raw" in names else names
    table = source.ready.table
    parts = (source.ready.columns, table.names, table.json, table.fields)
    return names | {name.casefold() for part in parts for name in part}


def _folded(names: Iterable[str]) -> set[str]:
    """Names as they are compared; of a dotted one also the first part, which may be an object of a ready format."""
    columns = column_names(names)
    return {name.casefold() for name in (*columns, *(name.partition(".")[0] for name in columns))}


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
