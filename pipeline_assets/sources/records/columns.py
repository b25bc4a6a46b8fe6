"""Records that are rows of columns for expressions."""

from collections.abc import Collection, Sequence

from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.sources.records.record_format import MappedFields, RecordFormat
from pipeline_assets.sources.records.steps import json_structure, sql_type
from pipeline_assets.sql import identifier, literal


class ColumnRecords(RecordFormat):
    """What formats have in common whose records are columns: `rest` is an object of those that are not mapped."""

    def columns_of(self, fields: Sequence[str]) -> Sequence[str]:
        """What a record has besides `raw`."""
        return fields

    def rest(self, fields: Sequence[str], mapped: MappedFields) -> str:
        """An object of the columns that are not mapped, nulls left out."""
        names = self.columns_of(fields)
        kept = {path[0].casefold() for path in mapped.kept if len(path) == 1}
        values = {name: identifier(name) for name in names if name.casefold() not in kept}
        no_amounts = {path[0].casefold(): sql for path, sql in mapped.no_amounts.items() if len(path) == 1}
        values |= {
            name: f"CASE WHEN {no_amounts[name.casefold()]} THEN {identifier(name)} END"
            for name in names
            if name.casefold() in kept & no_amounts.keys()
        }
        usable = {path[0].casefold(): sql for path, sql in mapped.usable.items() if len(path) == 1}
        for name, value in values.items():
            values[name] = self.remaining(name, value)
            if name.casefold() in usable:
                values[name] = f"CASE WHEN NOT coalesce({usable[name.casefold()]}, false) THEN {values[name]} END"
        if not values:
            return "NULL::VARCHAR"
        pairs = ", ".join(f"{literal(name)}, {self.as_json(name, value)}" for name, value in values.items())
        return f"json_strip_nulls(json_object({pairs}))::VARCHAR"

    def in_rest(self, fields: Sequence[str], paths: Collection[FieldPath]) -> set[FieldPath] | None:
        """Under the names of their columns."""
        names = {name.casefold(): name for name in self.columns_of(fields)}
        if ("raw",) in paths and "raw" not in names:
            return None
        return {(names[path[0].casefold()],) for path in paths if path[0].casefold() in names}

    def remaining(self, name: str, value: str) -> str:
        """SQL of what stays of a column that is in no mapped one; `value` is its SQL."""
        del name
        return value

    def as_json(self, name: str, value: str) -> str:
        """SQL of a column's value as an argument of `json_object`."""
        del name
        return value


def absent_columns(fields: Sequence[str], references: Collection[FieldPath]) -> list[str]:
    """Null columns for what the mapping reads and a file does not have."""
    present = {name.casefold() for name in fields}
    absent = {path for path in references if path[0].casefold() not in present and path[0] != "raw"}
    return [f"NULL::{sql_type(kind)} AS {identifier(name)}" for name, kind in json_structure(absent).items()]
