"""Records that are JSON objects for expressions, whatever they are in the file."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.sources.records.record_format import MappedFields, RecordFormat
from pipeline_assets.sources.records.steps import (
    Step,
    dump,
    json_structure,
    nulls,
    removing,
    without_nul_escapes,
)
from pipeline_assets.sql import identifier, literal


class ObjectRecords(RecordFormat):
    """What formats have in common whose records are objects: `rest` is the object without what is mapped."""

    has_objects = True
    is_as_written: ClassVar[bool] = False
    """Whether the record itself is the text of the object."""

    def declared(self) -> dict[str, Any]:
        """The steps that reshape a record."""
        return {"reshape": [dict(step) for step in self.ready.reshape] if self.ready else []}

    @abstractmethod
    def split(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """Steps from `raw_rows` to `~line`, `raw` (the record), `~bad` and `~json`, its object."""

    def steps(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """Split, reshape, and read all fields at once."""
        structure = json_structure(references)
        parsed = f'json_transform("~json", {literal(dump(structure))})' if structure else "NULL"
        reshape = self.ready.reshape if self.ready else ()
        # Expressions see the row as it is after reshaping, a quarantine as it was before.
        row = '"raw"' if self.is_as_written and not reshape else '"~json"::VARCHAR AS "raw"'
        return [
            *self.split(fields, references),
            *(_reshaped(reshape) if reshape else ()),
            Step(('"~line"', '"raw"', '"~bad"', '"~json"', f'{parsed} AS "~row"')),
            Step(
                (
                    '"~line"',
                    '"raw" AS "~raw"',
                    '"~bad"',
                    '"~json"',
                    row,
                    *(f'"~row".{identifier(key)} AS {identifier(key)}' for key in structure),
                )
            ),
        ]

    def rest(self, fields: Sequence[str], mapped: MappedFields) -> str:
        """The object without the mapped fields, by a merge patch."""
        del fields
        kept = {path for path in mapped.kept if path[0] != "raw"}
        rest = _without(kept)
        if amounts := {path: sql for path, sql in mapped.no_amounts.items() if path in kept}:
            # Next to no row has such a number; of these every mapped amount is kept.
            rest = f"CASE WHEN {' OR '.join(amounts.values())} THEN {_without(kept - set(amounts))} ELSE {rest} END"
        for path, usable in mapped.usable.items():
            # Where the value can be used, everything around it is an object.
            patch = literal(dump(nulls(json_structure([path]))))
            rest = f"CASE WHEN {usable} THEN json_merge_patch({rest}, {patch}) ELSE {rest} END"
        return f'CASE WHEN "~bad" IS NULL THEN ({rest})::VARCHAR END'

    def in_rest(self, fields: Sequence[str], paths: Collection[FieldPath]) -> set[FieldPath] | None:
        """Where they stand in the object."""
        del fields
        return None if ("raw",) in paths else set(paths)


def _without(paths: Collection[FieldPath]) -> str:
    """SQL of the record without some paths."""
    return f'json_merge_patch("~json", {removing(json_structure(paths))})' if paths else '"~json"'


def _reshaped(steps: Sequence[Mapping[str, str]]) -> list[Step]:
    columns = ['"~line"', '"raw"', '"~bad"']
    made = [Step((*columns, '"~json"', '"~json" AS "record"'))]
    columns += ['"~json"', '"record"']
    for values in steps[:-1]:
        made.append(Step((*columns, *(f"TRY(({sql}\n)) AS {identifier(name)}" for name, sql in values.items()))))
        columns += map(identifier, values)
    made.append(Step((*columns[:3], f'coalesce(TRY(({steps[-1]["record"]}\n)), "~json")::VARCHAR AS "~json"')))
    # A text that was opened may have brought a U+0000.
    made.append(Step((*columns[:3], f'{without_nul_escapes(identifier("~json"))}::JSON AS "~json"')))
    return made


def object_of(names: str, absent: str) -> str:
    """SQL of a record's object, `~json`, from the list of its names and the list `~values`."""
    pairs = f"""list_filter(list_zip({names}, "~values"), lambda pair: pair[2] <> '' AND pair[2] <> {absent})"""
    return f'CASE WHEN "~bad" IS NULL THEN to_json(map_from_entries({pairs})) END AS "~json"'
