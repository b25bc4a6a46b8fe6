"""What a record format is: everything in which kinds of files differ, as one object that says what it needs.

A format cuts a stream into records, divides a record into what expressions see, and says what of it is left for
`properties`. All that follows from there on knows no format: `mapping` compiles the same steps for each.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.declarations.problems import Problem, suggestion
from pipeline_assets.sources.access_logs import LogFormat
from pipeline_assets.sources.dialect import Csv
from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.records.cutting import SCHEMA, Tally, read_lines
from pipeline_assets.sources.records.encoding import Bytes
from pipeline_assets.sources.records.look import Glance, Look
from pipeline_assets.sources.records.steps import Step, json_structure


@dataclass(frozen=True)
class RecordOptions:
    """What a declaration says of how its files are written.

    Attributes:
        format: what `format:` says.
        ready: the ready format that is; None where the declaration says itself what records mean.
        log: the format of the lines of an access log; None for other files, and where it cannot be read.
        csv: how CSV is written.
    """

    format: str = ""
    ready: ReadyFormat | None = None
    log: LogFormat | None = None
    csv: Csv = field(default_factory=Csv)


@dataclass(frozen=True)
class MappedFields:
    """What of a record stands in mapped columns, and so need not stay in `properties`.

    Attributes:
        kept: fields whose whole value is in a mapped column of every good row.
        usable: fields whose whole value is in a column that does without what it cannot use, and the SQL that says
            whether it can.
        no_amounts: fields whose whole value is an amount, and the SQL that says whether it is a number and yet none.
    """

    kept: Collection[FieldPath]
    usable: Mapping[FieldPath, str]
    no_amounts: Mapping[FieldPath, str]


class RecordFormat(ABC):
    """One kind of record, as one source has it.

    Attributes:
        name: what declarations and ready formats call it.
        is_plain: whether a declaration may name it as its format and say itself what the records mean.
        alternatives: what else `records` may say of files of a ready format that usually come in this one.
        takes: the attributes of a declaration, of those that are not for every format, that mean something here.
        is_text: whether its records are cut from a stream of text; else DuckDB reads the file itself.
        schema: of the batches that `cut` makes.
        has_objects: whether expressions see the fields of a JSON object; else columns.
        has_own_columns: whether its files bring columns that a declaration names; else all are known before.
        types_in_file: whether its columns have types that only the file says.
        may_hold_nul: whether a text that expressions see may hold U+0000.
        raw_text: SQL of a record as text, where the record itself is `~raw`.
        decimal: the decimal mark of its numbers.
        thousands: what may stand between groups of their digits.
        number_hint: what to declare where a number is in another notation.
    """

    name: ClassVar[str]
    is_plain: ClassVar[bool] = True
    alternatives: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[frozenset[str]] = frozenset({"encoding"})
    is_text: ClassVar[bool] = True
    schema: ClassVar[pa.Schema] = SCHEMA
    has_objects: ClassVar[bool] = False
    has_own_columns: ClassVar[bool] = True
    types_in_file: ClassVar[bool] = False
    may_hold_nul: ClassVar[bool] = False
    raw_text: ClassVar[str] = '"~raw"'
    number_hint: ClassVar[str] = ""

    decimal: str = "."
    thousands: str = ""

    def __init__(self, options: RecordOptions) -> None:
        self.options = options
        self.ready = options.ready

    # -- before any file is read --------------------------------------------------------------------------------------

    @property
    def known_fields(self) -> tuple[str, ...]:
        """The fields that each record has, where the format fixes them."""
        return self.ready.columns if self.ready else ()

    @property
    def times(self) -> Mapping[str, str]:
        """How the times in its own fields are written, by field, where the format fixes that."""
        return {}

    def unknown_field(self, name: str) -> str | None:
        """What is wrong with a field that an expression reads; None if a record may have it."""
        known, added = self.known_fields, self.ready.added if self.ready else ()
        if not known or name.lower() in (*known, "raw") or name.lower().startswith(added):
            return None
        kind = self.options.format
        also = f" (or one of {', '.join(f'{each}…' for each in added)})" if added else ""
        hint = suggestion(name, (*known, "raw"))
        return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} line has no field '{name}'{hint}{also}"

    def problems(self) -> Iterator[Problem]:
        """What is wrong with the attributes that only this format takes."""
        yield from ()

    def relation(self, references: Collection[FieldPath]) -> dict[str, Any]:
        """Columns that stand for a row when expressions are bound: name -> type, or nested structure of types."""
        return {"raw": "VARCHAR", **json_structure(references)}

    def declared(self) -> dict[str, Any]:
        """What of the declaration decides how records are read, as plain values for the version of staged rows."""
        return {}

    # -- a file -------------------------------------------------------------------------------------------------------

    def cut(self, stream: Bytes, tally: Tally, *, limit: int) -> Iterator[pa.RecordBatch]:
        """Cut a stream into records, of `schema`.

        Args:
            stream: uncompressed UTF-8.
            tally: receives the counts, the records that cannot be read, and a header's names before the first batch.
            limit: bytes of the longest record that is read.
        """
        return read_lines(stream, tally, limit=limit)

    def header_problem(self, header: Sequence[str], read: Collection[FieldPath]) -> str | None:
        """Why no row of a file with this header can be meant, and what to declare; None if some row may be.

        Args:
            header: names of the columns as the file has them.
            read: the fields that the mapping reads.
        """
        del header, read
        return None

    def look(self, glance: Glance) -> Look | None:
        """The raw columns of a file; None where the format has none of its own, or there was nothing to look at."""
        del glance
        return None

    # -- the staging query --------------------------------------------------------------------------------------------

    @abstractmethod
    def steps(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """Steps from `raw_rows` to `~line`, `~raw` (the record), `~bad` (why it is none) and what expressions read.

        Args:
            fields: names of the file's columns, if it has such.
            references: the fields that expressions read.
        """

    @abstractmethod
    def rest(self, fields: Sequence[str], mapped: MappedFields) -> str:
        """SQL of the JSON text of all of a record that is in no mapped column, over what `steps` give."""

    @abstractmethod
    def in_rest(self, fields: Sequence[str], paths: Collection[FieldPath]) -> set[FieldPath] | None:
        """Where some fields stand in the JSON of `rest`; None where they may be anywhere in it."""

    def likely(self) -> str:
        """SQL to append to the reason why a record of a ready format is none: what else it may be; or nothing."""
        return ""
