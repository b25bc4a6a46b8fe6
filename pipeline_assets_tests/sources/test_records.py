"""Record formats: one class each, and nothing else knows them."""

from collections.abc import Collection, Sequence

import pytest

from pipeline_assets.code_version import reached
from pipeline_assets.declarations.expressions import FieldPath
from pipeline_assets.sources import records
from pipeline_assets.sources.mapping import _STAGING_CODE
from pipeline_assets.sources.records import RECORD_FORMATS, RecordFormat
from pipeline_assets.sources.records.objects import ObjectRecords, object_of
from pipeline_assets.sources.records.steps import TEXT_RECORD, Step, is_blank
from pipeline_assets_tests.sources.staging_rows import source, stage

CLASSES: dict[str, type[RecordFormat]] = {
    each.__name__: each for each in (*RECORD_FORMATS.values(), *records._OF_READY.values())
}


@pytest.mark.parametrize("own", CLASSES.values(), ids=CLASSES.keys())
def test_a_change_of_one_record_format_restages_no_file_of_another(own: type[RecordFormat]) -> None:
    named = {name for _, name in reached(f"{own.__module__}:{own.__name__}")}
    others = {name for name, each in CLASSES.items() if each not in own.__mro__}
    assert named & others == set()


def test_what_all_record_formats_share_knows_none_of_them() -> None:
    named = {name for _, name in reached(*_STAGING_CODE)}
    assert named & {*CLASSES, "RECORD_FORMATS", "RecordFormat"} == set()


class PairLines(ObjectRecords):
    """Lines of `name=value` between spaces, as some servers log."""

    name = "pair_lines"

    def split(self, fields: Sequence[str], references: Collection[FieldPath]) -> list[Step]:
        """Cut at spaces, and each pair at its first sign of equality."""
        del fields, references
        pairs = "string_split(\"raw\", ' ')"
        cut = "list_transform({0}, lambda pair: regexp_extract(pair, '^([^=]*)=?(.*)$', {1}))"
        bad = f"CASE WHEN {is_blank('raw')} THEN 'blank' END AS \"~bad\""
        names, values = cut.format(pairs, 1), cut.format(pairs, 2)
        return [
            Step(('"~line"', '"raw"', f'{names} AS "~names"', f'{values} AS "~values"', bad), TEXT_RECORD),
            Step(('"~line"', '"raw"', '"~bad"', object_of('"~names"', "'-'"))),
        ]


def test_a_new_record_format_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECORD_FORMATS, "jsonl", PairLines)
    first, blank = stage(source(), ["id=7 time=2024-05-01T10:00:00Z visitor=ann colour=red size=-", " "])
    assert (first["event_id"], first["anonymous_id"], first["properties"]) == ("7", "ann", '{"colour":"red"}')
    assert (first["reason"], blank["reason"]) == (None, "blank")
