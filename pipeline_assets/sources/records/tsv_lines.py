"""Lines of fields between tabs, without a header and without quotes; a ready format names the fields."""

from collections.abc import Collection, Sequence
from typing import Any

from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.sources.records.objects import ObjectRecords, object_of
from pipeline_assets.sources.records.steps import TEXT_RECORD, Step, is_blank
from pipeline_assets.sql import literal


class TsvLines(ObjectRecords):
    """Objects of the fields that are not empty."""

    name = "tsv_lines"
    is_plain = False
    alternatives = ("csv", "parquet", "tsv")

    def declared(self) -> dict[str, Any]:
        """The names of the fields."""
        return {**super().declared(), "columns": self.known_fields}

    def split(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """Cut at tabs and name the values."""
        del fields, references
        names = self.known_fields
        values = f"string_split(replace(\"raw\", chr(0), ''), {literal(chr(9))})"
        return [
            Step(('"~line"', '"raw"', f'{values} AS "~values"'), TEXT_RECORD),
            Step(
                (
                    '"~line"',
                    '"raw"',
                    '"~values"',
                    f"""CASE WHEN {is_blank("raw", chr(9))} THEN 'blank'
                    WHEN len("~values") <> {len(names)}
                    THEN 'field_count: {len(names)} expected, ' || len("~values") || ' found' END AS "~bad\"""",
                )
            ),
            Step(('"~line"', '"raw"', '"~bad"', object_of(f"[{', '.join(map(literal, names))}]", "''"))),
        ]
