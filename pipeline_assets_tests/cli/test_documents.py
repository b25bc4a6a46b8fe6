"""JSON of values."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.cli.documents import as_json, rows_document

simple = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    simple, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


@given(values)
def test_values_are_what_json_reads_again(value: object) -> None:
    assert json.loads(as_json(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40))
def test_decimals_keep_all_their_digits(value: Decimal) -> None:
    read = json.loads(as_json([value]), parse_float=Decimal, parse_int=Decimal)
    assert read == [value]


def test_what_json_has_no_type_for_is_a_text() -> None:
    assert json.loads(as_json([float("nan"), Decimal("-Infinity"), b"\x00\xff"])) == ["NaN", "-Infinity", "\\x00ff"]
    assert json.loads(as_json([timedelta(hours=-23), timedelta(1), timedelta()])) == ["PT-82800S", "P1D", "PT0S"]
    assert json.loads(as_json(datetime(2026, 3, 1, 12, tzinfo=UTC))) == "2026-03-01T12:00:00+00:00"


def test_columns_of_one_name_are_told_apart() -> None:
    assert rows_document(["a", "a", "a_2", "a"], [(1, 2, 3, 4)]) == [{"a": 1, "a_2": 2, "a_2_2": 3, "a_3": 4}]
