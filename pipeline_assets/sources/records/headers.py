"""What a CSV file's header says about a declaration that does not fit the file.

Where the first line is no header it may hold personal data, so of a file's names only those are told that stand in the
declaration as well.
"""

from collections.abc import Collection, Iterable, Sequence

from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.sources.dialect import Dialect
from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.records.steps import column_names

_DELIMITERS = {",": ",", ";": ";", "\t": "tab", "|": "|"}
_NAMES = 5


def header_problem(
    header: Sequence[str], read: Collection[FieldPath], dialect: Dialect, ready: ReadyFormat | None
) -> str | None:
    """Why no row of a file with this header can be meant, and what to declare; None if some row may be.

    Args:
        header: the names of the columns as the file has them.
        read: the fields that the mapping reads.
        dialect: how cells are declared to be written.
        ready: the ready format, if it is one.
    """
    if dialect.header is not True:
        return None
    meant = _columns_read(read, ready)
    if not meant or meant & _folded(header):
        return None
    if len(header) == 1:
        for delimiter, name in _DELIMITERS.items():
            cells = Dialect(delimiter=delimiter, quote=dialect.quote).cells(header[0])
            if delimiter != dialect.delimiter and len(cells) > 1:
                known = [cell for cell in column_names(cells) if cell.casefold() in meant]
                found = f", among them {_listed(known)}" if known else ""
                return (
                    f"the header has one column, but {len(cells)} between '{name}'{found}; "
                    f'declare `csv: {{delimiter: "{name}"}}`'
                )
    return (
        f"no column that the mapping reads ({_listed(sorted(meant))}) is among the {len(header)} of the header; if the "
        "files have no header, declare `csv: {header: false}` or the names, and `skip` if it is not their first line"
    )


def _columns_read(read: Collection[FieldPath], ready: ReadyFormat | None) -> set[str]:
    """Names of the columns that mean something, folded; none where an expression reads the whole row."""
    names = {path[0].casefold() for path in read}
    if ready is None:
        return set() if "raw" in names else names
    parts = (ready.columns, ready.table.names, ready.table.json, ready.table.fields)
    return names | {name.casefold() for part in parts for name in part}


def _folded(names: Iterable[str]) -> set[str]:
    """Names as they are compared; of a dotted one also the first part, which may be an object of a ready format."""
    columns = column_names(names)
    return {name.casefold() for name in (*columns, *(name.partition(".")[0] for name in columns))}


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
