"""What all ready formats have in common."""

import dataclasses
import itertools
from datetime import date
from pathlib import Path

import pytest

from pipeline_assets.sources.checking import find_problems
from pipeline_assets.sources.declaration import MAPPABLE_COLUMNS, Source
from pipeline_assets.sources.formats import READY_FORMATS
from pipeline_assets.sources.loading import DeclarationError, load_sources
from pipeline_assets.sources.mapping import declaration_version_of
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets_tests.formats.landed import FIXTURES, declare, load, records

DECLARED = """\
type: pipeline_assets.components.EventSource
attributes:
  path: web/*
  format: {}
"""


def mistakes(folder: Path, text: str) -> list[str]:
    file = folder / "web" / "defs.yaml"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(DeclarationError) as caught:
        load_sources(folder)
    return [line.removeprefix(f"{file}:") for line in str(caught.value).splitlines()]


def needed(name: str) -> dict[str, str]:
    """What a declaration must add: CloudEvents do not say whose they are."""
    return {"user_id": "subject"} if name == "cloudevents" else {}


@pytest.mark.parametrize("name", READY_FORMATS)
def test_a_ready_format_needs_one_line_and_has_no_mistakes(name):
    source = declare(name, mapping=needed(name))
    assert find_problems(source) == []
    assert set(source.mapping) <= set(MAPPABLE_COLUMNS)
    assert set(READY_FORMATS[name].mapping) <= set(source.mapping)
    # A source read again from what it was resolved to is the same.
    assert Source.model_validate(source.model_dump()) == source


def test_cloudevents_must_be_told_whose_they_are(tmp_path):
    assert mistakes(tmp_path, DECLARED.format("cloudevents")) == [
        "2:1: an event needs an id: map anonymous_id, user_id or both"
    ]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (DECLARED.format("segmnt"), ["4:11: unknown format 'segmnt'; did you mean 'segment'?"]),
        (DECLARED.format("jsonl"), ["2:1: attribute 'mapping' is missing"]),
        (
            DECLARED.format("segment") + "  mapping:\n    evnt_name: x\n",
            ["6:5: unknown column 'evnt_name'; did you mean 'event_name'?"],
        ),
        (
            DECLARED.format("segment") + "  mapping:\n    page_title: context.page\n",
            [
                "6:17: page_title: context.page is read as a value here and as an object by page_url; "
                "write raw ->> '$.context.page' for its JSON text"
            ],
        ),
        (
            DECLARED.format("snowplow") + "  mapping:\n    page_title: page_titel\n",
            [
                "6:17: page_title: a snowplow line has no field 'page_titel'; did you mean 'page_title'?"
                " (or one of contexts_…, unstruct_event_…)"
            ],
        ),
        (DECLARED.format("snowplow") + "  mapping:\n", ["5:3: mapping has no value; give one or delete the line"]),
        (DECLARED.format("ga4") + "  mapping: [x]\n", ["5:12: mapping: must be keys and values"]),
        (DECLARED.format("ga4") + "  time: {zon: UTC}\n", ["5:10: unknown attribute 'zon'; did you mean 'zone'?"]),
        (
            DECLARED.format("snowplow") + "  records: json_array\n",
            ["5:12: a 'snowplow' source can be read from csv, parquet, tsv"],
        ),
        (
            DECLARED.format("w3c_log") + "  records: csv\n",
            ["5:3: `records` is for ready formats of trackers, not for 'w3c_log'"],
        ),
        (
            DECLARED.format("segment") + "  records: jsonlines\n",
            ["5:12: unknown records 'jsonlines'; did you mean 'jsonl'?"],
        ),
        (
            DECLARED.format("ga4") + "  sessions: {mode: suplied}\n",
            ["5:20: unknown mode 'suplied'; did you mean 'supplied'?"],
        ),
    ],
)
def test_a_mistake_is_told_with_line_column_and_a_suggestion(tmp_path, text, messages):
    assert mistakes(tmp_path, text) == messages


@pytest.mark.parametrize(
    ("declared", "delivered"),
    list(itertools.pairwise(["segment", "amplitude", "posthog", "mixpanel", "ga4", "segment"])),
)
def test_records_of_another_tracker_are_told_as_what_they_look_like(declared, delivered, caplog):
    _, booked = load(declare(declared), FIXTURES / f"{delivered}.jsonl")
    assert booked.landed == 0
    alike = [bad for bad in booked.quarantined if bad.reason.endswith(f"; it looks like {delivered}")]
    # One line of a fixture may be damaged in itself.
    assert len(booked.quarantined) - len(alike) <= 1
    assert f"declare `format: {delivered}`" in caplog.text


@pytest.mark.parametrize("name", [name for name, ready in READY_FORMATS.items() if ready.marks and name == ready.name])
def test_the_marks_of_a_format_are_in_its_records_and_in_no_others(name):
    def has(record: object, mark: str) -> bool:
        for key in mark.split("."):
            if not isinstance(record, dict) or key not in record:
                return False
            record = record[key]
        return True

    for file in FIXTURES.glob("*.jsonl"):
        marked = [
            any(all(has(record, mark) for mark in series) for series in READY_FORMATS[name].marks)
            for record in records(file.stem)
        ]
        assert any(marked) == (file.stem == name)


def test_the_declaration_version_includes_what_the_format_brings(monkeypatch):
    def version(source: Source) -> str:
        return declaration_version_of(source, "UTC", date(2020, 1, 1))

    before = version(declare("ga4"))
    assert version(declare("ga4", mapping={"country": "geo.city"})) != before
    ready = READY_FORMATS["ga4"]
    changed = dataclasses.replace(ready, mapping={**ready.mapping, "country": "geo.country_code"})
    monkeypatch.setitem(READY_FORMATS, "ga4", changed)
    assert version(declare("ga4")) != before
    monkeypatch.setitem(READY_FORMATS, "ga4", dataclasses.replace(ready, reshape=()))
    assert version(declare("ga4")) != before


def test_a_ready_format_maps_no_column_twice_and_knows_the_contract():
    for ready in {id(ready): ready for ready in READY_FORMATS.values()}.values():
        assert set(ready.mapping) <= set(StagedEvents.column_names())
        assert set(ready.required) <= set(ready.mapping)
