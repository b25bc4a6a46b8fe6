"""How the text of a CSV record divides into cells: delimiter, quotes, escapes and comments.

One regular expression says what a cell is. It is written in what Python and DuckDB's RE2 have in common, so that the
header, which is read in Python, and the rows, which are read in DuckDB, cannot be understood differently.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

_ANY = "(?s:.)"

LineEnd = Literal["closed", "quoted", "escaped"]
"""What a line ends in: outside of a cell's quotes, within them, or behind an escape that takes in the line end."""


@dataclass(frozen=True)
class Dialect:
    """One way of writing CSV (RFC 4180 by default).

    Attributes:
        delimiter: what stands between two cells; one character or several.
        quote: what stands around a cell that holds delimiters or line ends, and is doubled within it; empty: nothing.
        escape: makes the next character an ordinary one, within quotes and without; empty: nothing does.
        comment: how lines begin that are no records; empty: none are.
        skip: lines before the header, or before the first record where there is none.
        header: whether the first record names the columns; or their names, where the file does not hold them.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    comment: str = ""
    skip: int = 0
    header: bool | tuple[str, ...] = True

    @cached_property
    def cell_pattern(self) -> str:
        """A cell, as the first group, and the delimiter behind it; a record needs one more delimiter at its end."""
        delimiter, quote, escape = map(re.escape, (self.delimiter, self.quote, self.escape))
        escaped = f"{escape}{_ANY}|" if escape else ""
        plain = f"(?:{escaped}[^{delimiter}{escape}])*" if escape else f"[^{delimiter}]*"
        if len(self.delimiter) > 1:
            plain = f"(?:{escaped}[^{escape}])*?" if escape else "(?s:.*?)"
        quoted = f"{quote}(?:{escaped}[^{quote}{escape}]|{quote}{quote})*{quote}|" if quote else ""
        return f"({quoted}{plain}){delimiter}"

    @cached_property
    def unescaping(self) -> tuple[str, str]:
        """What escapes and doubled quotes look like within a quoted cell, and escapes in any other."""
        quote, escape = re.escape(self.quote), re.escape(self.escape)
        within = [f"{escape}({_ANY})"] if escape else []
        outside = within.copy()
        if quote:
            within.append(f"{quote}({quote})")
        return "|".join(within), "|".join(outside)

    @cached_property
    def _cell(self) -> re.Pattern[str]:
        return re.compile(self.cell_pattern)

    def cells(self, record: str) -> list[str]:
        """The cells of a record."""
        within, outside = self.unescaping

        def content(cell: str) -> str:
            if self.quote and len(cell) > 1 and cell.startswith(self.quote) and cell.endswith(self.quote):
                cell, pattern = cell[1:-1], within
            else:
                pattern = outside
            return re.sub(pattern, lambda found: found[found.lastindex or 0], cell) if pattern else cell

        return [content(cell) for cell in self._cell.findall(record + self.delimiter)]

    # -- lines, as bytes of UTF-8 -------------------------------------------------------------------------------------

    @cached_property
    def marks(self) -> tuple[bytes, ...]:
        """What a line must hold for its end to be anything but the end of a record."""
        return tuple(mark.encode() for mark in (self.quote, self.escape) if mark)

    @cached_property
    def _closing(self) -> re.Pattern[bytes]:
        """The rest of a quoted cell; a doubled quote is part of it."""
        quote, escape = re.escape(self.quote.encode()), re.escape(self.escape.encode())
        escaped = rb"%s.|" % escape if escape else b""
        return re.compile(rb"(?:%s[^%s%s]|%s%s)*+%s(?!%s)" % (escaped, quote, escape, *[quote] * 4), re.DOTALL)

    @cached_property
    def _next(self) -> re.Pattern[bytes]:
        """What is left of a cell without quotes, and the delimiter behind it."""
        escape = re.escape(self.escape.encode())
        return re.compile(rb"(?:%s.|[^%s])*?%s" % (escape, escape, re.escape(self.delimiter.encode())), re.DOTALL)

    @cached_property
    def _last(self) -> re.Pattern[bytes]:
        escape = re.escape(self.escape.encode())
        return re.compile(rb"(?:%s.|[^%s])*" % (escape, escape), re.DOTALL)

    def end_of_line(self, line: bytes, before: LineEnd) -> LineEnd:
        """What a line, given without its line end, ends in.

        Only a quote at the beginning of a cell opens one (RFC 4180): `5" disk` is ordinary text.
        """
        delimiter, quote = self.delimiter.encode(), self.quote.encode()
        position = 0
        state = before
        while True:
            opens = state == "closed" and bool(quote) and line.startswith(quote, position)
            if opens or state == "quoted":
                closed = self._closing.match(line, position + len(quote) if opens else position)
                if closed is None:
                    return "quoted"
                position = closed.end()
            state = "closed"
            if self.escape:
                found = self._next.match(line, position)
                if found is None:
                    return "closed" if self._last.fullmatch(line, position) else "escaped"
                position = found.end()
            else:
                end = line.find(delimiter, position)
                if end < 0:
                    return "closed"
                position = end + len(delimiter)


_WORDS = {None: "", False: "", "none": "", "tab": "\t", "\\t": "\t"}


def _mark(value: Any) -> Any:
    # YAML reads `quote: no` as false, and a tab is hard to see.
    return _WORDS.get(value, value) if isinstance(value, str | bool | None) else value


def _header(value: Any) -> Any:
    if isinstance(value, bool) or (
        isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value)
    ):
        return value
    raise PydanticCustomError("header", "must be true, false or a list of names")


Delimiter = Annotated[str, Field(min_length=1, max_length=8), BeforeValidator(_mark)]
Mark = Annotated[str, Field(max_length=1), BeforeValidator(_mark)]


class Csv(BaseModel):
    """How CSV and TSV files are written.

    Attributes:
        delimiter: what stands between two cells; None: a comma, in TSV a tab.
        quote: what stands around a cell and is doubled within it; `none` where nothing does.
        escape: makes the next character an ordinary one; `none` where nothing does.
        comment: how lines begin that are no records.
        header: whether the first line names the columns; or their names, where no line does.
        skip: lines before the header.
        decimal: the decimal mark of numbers.
        thousands: what may stand between groups of digits; a space also stands for spaces that do not break.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: Delimiter | None = None
    quote: Mark = '"'
    escape: Mark = ""
    comment: Annotated[str, Field(max_length=8), BeforeValidator(_mark)] = ""
    header: Annotated[bool | tuple[str, ...], BeforeValidator(_header)] = True
    skip: Annotated[int, Field(ge=0, le=10_000)] = 0
    decimal: Annotated[str, Field(min_length=1, max_length=1)] = "."
    thousands: Mark = ""

    def dialect(self, delimiter: str, columns: tuple[str, ...] = ()) -> Dialect:
        """How the cells are written.

        Args:
            delimiter: what stands between two cells where nothing is declared.
            columns: names of the columns of files without a header, where the format knows them.
        """
        return Dialect(
            delimiter=self.delimiter or delimiter,
            quote=self.quote,
            # A quote that escapes itself is one that is doubled.
            escape="" if self.escape == self.quote else self.escape,
            comment=self.comment,
            skip=self.skip,
            header=columns if self.header is False and columns else self.header,
        )
