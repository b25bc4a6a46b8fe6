"""What a file has, as a look at its header, its schema or some of its records finds it."""

import gzip
import io
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_assets.sources.records.cutting import Tally, read_lines
from pipeline_assets.sources.records.look import Look
from pipeline_assets.staging import looking
from pipeline_assets.staging.looking import Sample, filled_columns, look, peek
from pipeline_assets.staging.walking import scan, some_files
from pipeline_assets_tests.sources.staging_rows import source

MAPPING = {"occurred_at": "ts", "anonymous_id": "visitor", "page_url": "context.page.url"}


def of_lines(*records: object, **declared: object) -> Look | None:
    text = "".join(f"{record if isinstance(record, str) else json.dumps(record)}\n" for record in records)
    sample = Sample()
    for _ in sample.watching(read_lines(io.BytesIO(text.encode()), Tally())):
        pass
    return look(source(mapping=MAPPING, **declared), header=None, schema=None, sample=sample)


def test_the_keys_of_records_are_named_with_their_types_and_those_inside_where_the_mapping_names_them() -> None:
    found = of_lines(
        {"ts": 1, "context": {"page": {"url": "x", "title": "y"}}, "a": [], "b": None}, {"ts": "2"}, "no json"
    )
    assert found is not None
    assert found.types == {
        "ts": {"number", "text"}, "context": {"object"}, "context.page.url": {"text"}, "a": {"array"}, "b": frozenset(),
    }  # fmt: skip
    assert found.always == {"ts"}


def test_keys_that_look_like_data_are_passed_over() -> None:
    found = of_lines({"ts": 1, "ada@example.org": 1, "+49 30 123": 2, "x" * 100: 3})
    assert found is not None
    assert set(found.types) == {"ts"}


def test_a_file_without_records_is_not_looked_at() -> None:
    assert of_lines("", "no json", "[1]") is None


def test_a_look_takes_a_few_records_of_each_batch_and_not_all() -> None:
    sample = Sample()
    lines = b'{"ts": 1}\n' * 100_000
    assert sum(len(batch) for batch in sample.watching(read_lines(io.BytesIO(lines), Tally()))) == 100_000
    assert 100 < len(sample.records) <= 1_050


def test_the_columns_of_parquet_have_their_types_and_widths_make_no_difference() -> None:
    schema = pa.schema(
        [("ts", pa.timestamp("us", "UTC")), ("n", pa.int32()), ("m", pa.int64()), ("t", pa.large_string())]
    )
    found = look(source(format="parquet", mapping=MAPPING), header=None, schema=schema, sample=Sample())
    assert found is not None
    assert found.types == {"ts": {"timestamp"}, "n": {"integer"}, "m": {"integer"}, "t": {"text"}}


def test_a_column_is_filled_that_has_a_value_in_any_row(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"a": [None, "x"], "b": [None, None], "c": [1, 2]}, schema={"a": pl.String, "b": pl.String, "c": pl.Int64}
    )
    frame.write_parquet(tmp_path / "x.parquet", row_group_size=1)
    assert filled_columns(pq.read_metadata(tmp_path / "x.parquet")) == {"a", "c"}


@pytest.mark.parametrize(("name", "compressed"), [("a.jsonl", False), ("a.jsonl.gz", True)])
def test_a_misspelt_column_is_told_before_anything_is_loaded(tmp_path: Path, name: str, compressed: bool) -> None:
    text = b'{"ts": "2026-03-01", "visitor": "v", "url": "https://x/"}\n'
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / name).write_bytes(gzip.compress(text) if compressed else text)
    declared = source(path="web/*", mapping={"occurred_at": "ts", "anonymous_id": "visitor", "page_url": "ulr"})
    assert peek(declared, tmp_path) == [
        "page_url: the column 'ulr' is not in the file in landing whose beginning was looked at; did you mean 'url'?"
    ]


def test_a_field_that_only_some_records_have_is_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    for name in ("a", "b"):
        (tmp_path / "web" / f"{name}.jsonl").write_bytes(b'{"ts": 1}\n' * 700 + b'{"ts": 1, "visitor": "v"}\n')
    declared = source(path="web/*", mapping={"occurred_at": "ts", "anonymous_id": "visitor", "user_id": "customer"})
    assert peek(declared, tmp_path) == [
        "user_id: the column 'customer' is in none of the 2 files in landing whose beginning was looked at"
    ]


def test_what_was_loaded_is_not_looked_at_for_columns_but_for_files(tmp_path: Path) -> None:
    declared = source(path="web/*", mapping={"occurred_at": "ts", "anonymous_id": "visitor"})
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.jsonl").write_text('{"ts": 1}\n')
    assert len(peek(declared, tmp_path)) == 1
    assert peek(declared, tmp_path, is_loaded=True) == []
    (tmp_path / "web").rename(tmp_path / "site")
    assert peek(declared, tmp_path, is_loaded=True) == ["no file in landing matches the path 'web/*'"]


def test_a_path_that_matches_nothing_is_told_where_there_are_files(tmp_path: Path) -> None:
    declared = source(path="wbe/*", mapping=MAPPING)
    assert peek(declared, tmp_path) == []
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.jsonl").write_text("{}\n")
    assert peek(declared, tmp_path) == ["no file in landing matches the path 'wbe/*'"]


def test_a_landing_folder_of_many_files_is_not_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web").mkdir()
    for number in range(10):
        (tmp_path / "web" / f"{number}.csv").write_text("{}\n")
    declared = source(path="**/*.jsonl", mapping=MAPPING)
    assert peek(declared, tmp_path) == ["no file in landing matches the path '**/*.jsonl'"]
    monkeypatch.setattr(looking, "_PEEKED_NAMES", 5)
    assert peek(declared, tmp_path) == []


@pytest.mark.parametrize("pattern", ["**", "web/**", "**/web/**/*.jsonl", "w[e]b/*", "web/a.jsonl", "**/_x/*"])
def test_a_glance_at_landing_sees_what_a_load_would_take(tmp_path: Path, pattern: str) -> None:
    for name in ("web/a.jsonl", "web/b.jsonl.tmp", "web/.c.jsonl", "web/_x/d.jsonl", "web/day=1/e.jsonl", "f.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}\n")
    found, are_all = some_files(tmp_path, pattern, most=100, names=100)
    assert are_all
    assert {file.path for file in scan(tmp_path, pattern).files} == set(found)
    (tmp_path / "web" / "link.jsonl").symlink_to(tmp_path / "f.jsonl")
    assert some_files(tmp_path, "web/link*", most=100, names=100) == ([tmp_path / "web" / "link.jsonl"], True)


def test_a_path_that_ends_in_two_stars_means_the_files_below(tmp_path: Path) -> None:
    (tmp_path / "web" / "day").mkdir(parents=True)
    (tmp_path / "web" / "day" / "a.jsonl").write_text('{"ts": 1, "visitor": "v", "url": "x"}\n')
    (tmp_path / "web" / "_SUCCESS").write_text("{}\n")
    declared = {"occurred_at": "ts", "anonymous_id": "visitor"}
    for path in ("**", "web/**", "web/**/*"):
        assert peek(source(path=path, mapping=declared), tmp_path) == []
        assert len(peek(source(path=path, mapping={**declared, "page_url": "ulr"}), tmp_path)) == 1


def test_a_file_that_cannot_be_read_is_left_to_the_load(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    assert peek(source(path="*", format="parquet", mapping=MAPPING), tmp_path) == []
