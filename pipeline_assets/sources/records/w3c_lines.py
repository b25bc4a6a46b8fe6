"""Logs in the W3C's extended format: lines of fields that directives name."""

import re
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.settings import MAX_RECORD_BYTES
from pipeline_assets.sources.records.cutting import SCHEMA, Overlong, Tally, batches, blocks, newlines, refuse_overlong
from pipeline_assets.sources.records.encoding import Bytes
from pipeline_assets.sources.records.objects import ObjectRecords, object_of
from pipeline_assets.sources.records.steps import Step, column_names, is_blank

W3C_SCHEMA = pa.schema([*SCHEMA, pa.field("fields", pa.string()), pa.field("day", pa.string())])


class W3cLines(ObjectRecords):
    """Objects of the fields of a line, with the date of a directive where it has none of its own."""

    name = "w3c_lines"
    is_plain = False
    schema = W3C_SCHEMA

    def cut(self, stream: Bytes, tally: Tally, *, limit: int) -> Iterator[pa.RecordBatch]:
        """Cut into lines, each with what directives say of it."""
        return read_w3c_log(stream, tally, limit=limit)

    def split(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """Cut at spaces or tabs and name the values."""
        del fields, references
        clean = "replace(\"raw\", chr(0), '')"
        quoted = """list_transform(regexp_extract_all({0}, '"(?:[^"]|"")*"|[^ ]+'),
            lambda value: CASE WHEN starts_with(value, '"') AND ends_with(value, '"') AND length(value) > 1
              THEN replace(value[2:-2], '""', '"') ELSE value END)"""
        # IIS and Apache put spaces between the fields, CloudFront tabs.
        values = f"""CASE WHEN contains("raw", chr(9)) THEN string_split({clean}, chr(9))
            WHEN contains("raw", '"') THEN {quoted.format(clean)}
            ELSE list_filter(string_split({clean}, ' '), lambda value: value <> '') END"""
        return [
            Step(
                ('"~line"', '"raw"', 'string_split("fields", \' \') AS "~names"', '"day"', f'{values} AS "~values"'),
                ('"~line"', '"raw"', '"fields"', '"day"'),
            ),
            Step(
                (
                    '"~line"',
                    '"raw"',
                    '"~names"',
                    '"~values"',
                    f"""CASE WHEN {is_blank("raw")} OR starts_with("raw", '#') THEN 'blank'
                    WHEN "~names" IS NULL THEN 'no_fields: no #Fields directive before this line'
                    WHEN len("~values") <> len("~names")
                    THEN 'field_count: ' || len("~names") || ' expected, ' || len("~values") || ' found' END
                    AS "~bad\"""",
                    """"day" IS NOT NULL AND NOT list_contains("~names", 'date') AS "~dated\"""",
                    '"day"',
                )
            ),
            Step(
                (
                    '"~line"',
                    '"raw"',
                    '"~bad"',
                    """CASE WHEN "~dated" THEN list_append("~names", 'date') ELSE "~names" END AS "~names\"""",
                    'CASE WHEN "~dated" THEN list_append("~values", "day") ELSE "~values" END AS "~values"',
                )
            ),
            Step(('"~line"', '"raw"', '"~bad"', object_of('"~names"', "'-'"))),
        ]


def read_w3c_log(stream: Bytes, tally: Tally, *, limit: int = MAX_RECORD_BYTES) -> Iterator[pa.RecordBatch]:
    """Cut a W3C extended log into lines, each with the names of its fields and the date that directives before it give.

    The names are those of the last `#Fields`, in lower case, with `_` for anything but letters and digits, and a space
    between them; null where there is none. The date is that of the last `#Date`. Directives are lines like any other.
    """
    number = 1
    fields: str | None = None
    day: str | None = None
    for block in blocks(stream, limit):
        if isinstance(block, Overlong):
            refuse_overlong(block, number, tally, limit)
            number += 1
            continue
        ends = newlines(block)
        numbers = np.arange(number, number + len(ends))
        number += len(ends)
        begins = np.concatenate(([0], ends[:-1] + 1))
        # A line whose first byte is #.
        directives = np.flatnonzero(np.frombuffer(block + b"\n", np.uint8)[begins] == ord("#"))
        first = 0
        for stop in [*directives.tolist(), len(ends)]:
            if stop > first:
                part = block[int(begins[first]) : int(ends[stop - 1]) + 1]
                for batch in batches(part, ends[first:stop] - begins[first], numbers[first:stop], tally):
                    yield _with_directives(batch, fields, day)
            # The directive begins the next part, where it is a line like any other.
            first = stop
            if stop < len(ends):
                fields, day = _directive(block[int(begins[stop]) : int(ends[stop])], fields, day)


def _with_directives(batch: pa.RecordBatch, fields: str | None, day: str | None) -> pa.RecordBatch:
    columns = [pa.repeat(pa.scalar(value, pa.string()), len(batch)) for value in (fields, day)]
    return pa.record_batch([*batch.columns, *columns], schema=W3C_SCHEMA)


def _directive(line: bytes, fields: str | None, day: str | None) -> tuple[str | None, str | None]:
    name, _, value = line.decode("utf-8", "replace").partition(":")
    match name.strip().lower():
        case "#fields":
            if "\ufffd" in value:
                # Better no names than wrong ones.
                return None, day
            names = [re.sub(r"[^a-z0-9]+", "_", field.lower()).strip("_") for field in value.split()]
            return " ".join(column_names(names)) or None, day
        case "#date":
            found = re.match(r"\s*(\d{4}-\d{2}-\d{2})\b", value)
            return fields, found[1] if found else None
    return fields, day
