"""What a ready format is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline_assets.sources.access_logs import LogFormat


@dataclass(frozen=True)
class TableLayout:
    """How rows of a CSV, TSV or Parquet file become the records of a ready format.

    A column becomes the field of its name, in any case of letters; `a.b` becomes field b of the object a, where that
    may hold JSON. Empty cells become nothing.

    Attributes:
        json: columns that may hold JSON, as text or as nested types.
        names: column -> the field it becomes, dots between the keys, where the two are not called the same. Of several
            columns for one field the first in this order counts that has a value.
        rest: the object that takes the columns that are not called like a field, in files that do not hold it as one
            column; empty: they are fields of the record.
        fields: what is called like a field, where `rest` is given.
        marks: like those of the format, of rows whose columns are not called like its fields.
    """

    json: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    rest: str = ""
    fields: tuple[str, ...] = ()
    marks: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Nested:
    """Where the records are, in files of which an element of the JSON array holds several.

    Attributes:
        array: the field of an element that is the array of its records. Each becomes a record of its own, with the
            element's other fields.
        record: the field of such a record that is the object of the array.
        of_first: field of every record -> the field of the first object of the array that it repeats.
    """

    array: str
    record: str
    of_first: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReadyFormat:
    """A format of which everything is known that a declaration would have to say.

    Everything here is a default: what a declaration says wins, column by column.

    Attributes:
        name: what `format:` says.
        title: what it is, in a few words.
        records: name of the record format (`sources.records`) in which its files usually come.
        mapping: column of `StagedEvents` -> DuckDB expression over a record, as in a declaration.
        aliases: other names for the same.
        columns: names of the fields of a record in their order; for `tsv_lines` only.
        log: the format of its lines; for `access_log` only.
        added: how names begin that `reshape` adds to `columns`.
        reshape: steps that turn a record into the object that expressions see and that becomes `properties`. Each step
            maps names to SQL over `record` (the object, of type JSON) and the names of the steps before; the last step
            gives the new `record`. Where that is null the record stays as it is.
        table: how its records are read from rows of columns.
        nested: how its records are read from elements of a JSON array that hold several; None: an element is a record.
        ids: kind of a further id -> expression.
        time: the attribute `time`.
        sessions: the attribute `sessions`.
        required: the attribute `required`.
        marks: fields that only its records have, all those of one series together, with dots between the keys; every
            record has one of the series. By them it is known in a sample, and where it is declared as another.
        lookalikes: what else people hand over in its place, in words -> the marks of that.
    """

    name: str
    title: str
    records: str
    mapping: Mapping[str, str]
    aliases: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    log: LogFormat | None = None
    added: tuple[str, ...] = ()
    reshape: tuple[Mapping[str, str], ...] = ()
    table: TableLayout = TableLayout()
    nested: Nested | None = None
    ids: Mapping[str, str] = field(default_factory=dict)
    time: Mapping[str, Any] = field(default_factory=dict)
    sessions: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    marks: tuple[tuple[str, ...], ...] = ()
    lookalikes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def amount(value: str, *, paid_back: bool = False) -> str:
    """SQL of an amount of money in some SQL of text; negative where it was paid back.

    A number that is no amount stays, for the pipeline to count; what is no number is null.
    """
    number = f"TRY_CAST({value} AS DECIMAL(18, 6))"
    exact = f"(-abs({number}))" if paid_back else number
    return f"coalesce({exact}::VARCHAR, CASE WHEN TRY_CAST({value} AS DOUBLE) IS NOT NULL THEN ({value})::VARCHAR END)"
