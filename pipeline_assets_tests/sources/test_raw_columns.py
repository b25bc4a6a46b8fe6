"""What is remembered of the raw columns of a source's files, and what it says of a mapping and of a change."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline_assets.sources.raw_columns import (
    MOST_COLUMNS,
    Drift,
    KnownColumns,
    MissingColumn,
    Seen,
    drift,
    in_words,
    missing_columns,
    own_references,
)
from pipeline_assets.sources.records.look import Look
from pipeline_assets_tests.sources.staging_rows import source

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
LATER = FIRST + timedelta(days=30)


def seen(path: str, load: datetime = FIRST) -> Seen:
    return Seen(path, load)


def has(always: dict[str, str], sometimes: dict[str, str] | None = None) -> Look:
    types = {name: frozenset(kinds.split()) for name, kinds in {**always, **(sometimes or {})}.items()}
    return Look(types, frozenset(always))


def known(*files: tuple[Look, Seen]) -> KnownColumns:
    found = KnownColumns()
    for look, place in files:
        found.note(look, place)
    return found


def kinds(found: list[Drift]) -> list[tuple[str, str, str]]:
    return [(each.kind, each.name, each.since.path) for each in found]


def test_a_raw_column_that_no_file_has_had_is_missing_and_the_nearest_is_suggested() -> None:
    declared = source(mapping={"occurred_at": "ts", "anonymous_id": "visitor", "page_url": "lower(ulr)"})
    assert missing_columns(declared, ["ts", "visitor", "url"]) == [MissingColumn("page_url", "ulr", "url")]
    assert missing_columns(declared, ["ts", "visitor", "ULR"]) == []
    assert str(missing_columns(declared, ["ts", "visitor", "url"])[0]) == (
        "page_url is mapped from 'ulr', which no file has had so far; did you mean 'url'?"
    )


def test_what_has_had_a_value_is_not_missing_whatever_the_sample_of_records_says() -> None:
    declared = source(mapping={"occurred_at": "ts", "anonymous_id": "visitor", "page_url": "rare"})
    assert missing_columns(declared, ["ts", "visitor"], filled=["page_url"]) == []


def test_a_key_inside_an_object_is_named_by_its_path() -> None:
    declared = source(mapping={"occurred_at": "ts", "anonymous_id": "visitor", "page_url": "context.page.ulr"})
    found = missing_columns(declared, ["ts", "visitor", "context", "context.page.url"])
    assert [(each.name, each.near) for each in found] == [("context.page.ulr", "context.page.url")]


def test_what_a_ready_format_maps_by_itself_is_never_missing() -> None:
    declared = source(format="segment", mapping={"country": "properties.land"})
    assert set(own_references(declared)) == {"country"}
    assert [each.mapped for each in missing_columns(declared, ["messageId"])] == ["country"]


def test_whole_records_are_no_raw_column() -> None:
    declared = source(mapping={"occurred_at": "ts", "anonymous_id": "raw ->> '$.a'"})
    assert missing_columns(declared, ["ts"]) == []


def test_a_column_that_begins_with_a_later_load_is_new_and_the_first_load_is_no_change() -> None:
    files = known((has({"a": "text"}), seen("1")), (has({"a": "text"}, {"b": "text"}), seen("2")))
    assert drift(files, FIRST) == []
    files.note(has({"a": "text", "c": "text"}), seen("3", LATER))
    assert kinds(drift(files, FIRST)) == [("new", "c", "3")]
    assert drift(files, LATER + timedelta(seconds=1)) == []


def test_a_column_that_every_record_had_is_gone_with_the_first_file_without_it_and_back_with_the_next_that_has_it() -> (
    None
):
    files = known((has({"a": "text", "b": "text"}), seen("1")), (has({"a": "text", "b": "text"}), seen("2", LATER)))
    files.note(has({"a": "text"}), seen("3", LATER))
    files.note(has({"a": "text"}), seen("4", LATER))
    assert kinds(drift(files, FIRST)) == [("gone", "b", "3")]
    files.note(has({"a": "text", "b": "text"}), seen("5", LATER))
    assert drift(files, FIRST) == []


def test_a_key_that_some_records_lack_is_not_gone_where_a_file_lacks_it() -> None:
    files = known((has({"a": "text"}, {"b": "text"}), seen("1")), (has({"a": "text"}), seen("2", LATER)))
    assert drift(files, FIRST) == []


def test_another_type_is_told_with_the_file_where_it_began_and_null_is_no_type() -> None:
    files = known((has({"a": "number", "b": ""}), seen("1")))
    files.note(has({"a": "text number", "b": "number"}), seen("2", LATER))
    assert kinds(drift(files, FIRST)) == [("retyped", "a", "2"), ("new", "b", "2")]
    assert str(drift(files, FIRST)[0]) == "retyped: 'a' is text and not only number since 2"


def test_what_is_known_already_is_not_written_again() -> None:
    files = known((has({"a": "text"}), seen("1")))
    assert files.note(has({"a": "text"}), seen("2", LATER)) == set()
    assert files.note(has({"a": "number"}), seen("3", LATER)) == {"a"}


def test_keys_that_are_data_are_not_remembered_without_end() -> None:
    files = known(*((has({f"k{number}": "text"}), seen(str(number))) for number in range(MOST_COLUMNS + 50)))
    assert len(files.columns) == MOST_COLUMNS


@pytest.mark.parametrize(("findings", "text"), [(["a"], "a"), (list("abcdef"), "a; b; c; d; e; and 1 more")])
def test_a_line_names_some_findings_and_counts_the_others(findings: list[str], text: str) -> None:
    assert in_words(findings) == text
