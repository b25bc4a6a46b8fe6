"""Amounts that are none, currencies in any case, and what PostgreSQL cannot hold."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.sources.declaration import MAPPABLE_COLUMNS, Source
from pipeline_assets_tests.sources.staging_rows import BOOKED_AT, source, stage

FIXED = {"event_id": "id", "occurred_at": "time", "anonymous_id": "visitor"}
MONEY = {**FIXED, "revenue": "sale.total", "currency": "money"}
GOOD = {"id": "e1", "time": "2024-05-01T10:00:00Z", "visitor": "v1"}
LARGEST = "999999999999.999999"


def row(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes})


@pytest.mark.parametrize(
    "number", ["NaN", "-nan", "inf", "Infinity", "-Infinity", "1e400", "1e12", "1000000000000", "-1e30", 1e30, 10**40]
)
def test_a_number_that_is_no_amount_is_kept_in_the_properties_and_counted(number: Any) -> None:
    (staged,) = stage(source(mapping=MONEY), [row(sale={"total": number, "tax": 1})])
    assert (staged["reason"], staged["revenue"], staged["unusable"]) == (None, None, "revenue")
    assert json.loads(staged["properties"]) == {"sale": {"total": number, "tax": 1}}


@pytest.mark.parametrize(
    ("number", "amount"), [(LARGEST, LARGEST), (f"-{LARGEST}", f"-{LARGEST}"), ("1e-9", "0"), ("1E3", "1000"), (5, "5")]
)
def test_a_number_that_is_an_amount_leaves_the_properties(number: Any, amount: str) -> None:
    (staged,) = stage(source(mapping=MONEY), [row(sale={"total": number})])
    assert (staged["revenue"], staged["unusable"], staged["properties"]) == (Decimal(amount), None, '{"sale":{}}')


def test_what_is_no_number_breaks_the_contract() -> None:
    rows = stage(source(mapping=MONEY), [row(sale={"total": text}) for text in ("ten", "5 EUR", "1,50", "true")])
    assert {staged["reason"] for staged in rows} == {"unparsable:revenue"}


def test_numbers_that_are_no_amounts_in_csv_and_parquet_files() -> None:
    mapping = {**FIXED, "revenue": "total"}
    fields = ["id", "time", "visitor", "total"]
    none, some = stage(source(format="csv", mapping=mapping), ["a,2024-05-01,v,inf", "b,2024-05-01,v,3"], fields=fields)
    assert (none["revenue"], none["unusable"], none["properties"]) == (None, "revenue", '{"total":"inf"}')
    assert (some["revenue"], some["unusable"], some["properties"]) == (3, None, None)
    columns = {"id": ["a", "b"], "time": ["2024-05-01"] * 2, "visitor": ["v"] * 2, "total": [float("nan"), 1.5]}
    none, some = stage(source(format="parquet", mapping=mapping), pa.table(columns))
    assert (none["revenue"], none["unusable"], none["properties"]) == (None, "revenue", '{"total":NaN}')
    assert (some["revenue"], some["unusable"], some["properties"]) == (Decimal("1.5"), None, None)


@pytest.mark.parametrize("kind", ["segment", "posthog"])
def test_amounts_of_ready_formats_that_are_none_are_counted(kind: str) -> None:
    declared = Source.model_validate({"name": "web", "path": "*", "format": kind})
    event = {"event": "Order Completed", "type": "track", "anonymousId": "a", "distinct_id": "a"}
    records = [json.dumps({**event, "properties": {"revenue": total}}) for total in ("1e40", "7", "free")]
    rows = stage(declared, records)
    assert [(staged["revenue"], staged["unusable"]) for staged in rows] == [(None, "revenue"), (7, None), (None, None)]
    assert json.loads(rows[0]["properties"])["properties"] == {"revenue": "1e40"}


@pytest.mark.parametrize("code", ["eur", "EUR", " Eur "])
def test_currency_codes_are_stored_in_upper_case(code: str) -> None:
    (staged,) = stage(source(mapping=MONEY), [row(money=code)])
    assert (staged["currency"], staged["properties"]) == ("EUR", None)


@pytest.mark.parametrize(
    "expression", ["raw ->> '$.x'", "url_decode('a%00b')", "'a' || chr(0) || 'b'", "concat(x, '')"]
)
def test_no_expression_brings_back_the_null_character(expression: str) -> None:
    mapping = {**FIXED, "anonymous_id": expression, "page_title": expression, "order_id": expression}
    (staged,) = stage(source(mapping=mapping, ids={"email": expression}), [row(x="a\0b")])
    found = [staged[name] for name in ("anonymous_id", "page_title", "order_id")]
    assert [*found, json.loads(staged["further_ids"])["email"]] == ["ab"] * 4


def test_a_null_character_in_a_line_or_a_header_of_text_is_removed() -> None:
    mapping = {**FIXED, "page_title": "raw"}
    (staged,) = stage(
        source(format="csv", mapping=mapping), ["a,2024-05-01,v,\0"], fields=["id", "time", "visitor", "a\0b"]
    )
    assert staged["page_title"] == "a,2024-05-01,v,"
    (staged,) = stage(source(format="csv"), ["a,2024-05-01,v,x"], fields=["id", "time", "visitor", "a\0b"])
    assert json.loads(staged["properties"]) == {"ab": "x"}
    columns = {"id": ["a"], "time": ["2024-05-01"], "visitor": ["v"], "x": ["\0y"], "z": [{"k": ["\0"]}]}
    (staged,) = stage(source(format="parquet"), pa.table(columns))
    assert json.loads(staged["properties"]) == {"x": "y", "z": {"k": [""]}}


def test_a_file_that_says_it_was_received_after_it_was_booked_brings_no_event_from_the_future() -> None:
    mapping = {**FIXED, "received_at": "received"}
    late = "2999-01-01T00:00:00Z"
    assert BOOKED_AT.year < 2999
    rows = stage(source(mapping=mapping), [row(time=late, received=late), row(received=late)])
    assert [staged["reason"] for staged in rows] == ["out_of_range", None]
    # A collector whose clock is ahead by some hours loses nothing.
    ahead, too_far = ((BOOKED_AT + timedelta(hours=hours)).isoformat() for hours in (23, 25))
    rows = stage(source(mapping=mapping), [row(time=each, received=each) for each in (ahead, too_far)])
    assert [staged["reason"] for staged in rows] == [None, "out_of_range"]
    (unknown,) = stage(source(mapping=mapping), [row(time=(BOOKED_AT + timedelta(hours=1)).isoformat(), received=None)])
    assert unknown["reason"] == "out_of_range"


ANYTHING = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["NaN", "inf", "1e400", "null", "infinity", "9999-12-31T23:59:59Z", "0000-00-00", "[" * 999, "%00", "\\ud800"]
)
BY_EXPRESSION = source(mapping={name: f"raw ->> '$.{name}'" for name in MAPPABLE_COLUMNS})


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(MAPPABLE_COLUMNS), ANYTHING | st.integers() | st.floats()), max_size=20)
)
def test_any_value_in_any_column_gives_a_row_that_postgresql_could_hold(objects: list[dict[str, Any]]) -> None:
    rows = stage(BY_EXPRESSION, [json.dumps(made) for made in objects])
    assert len(rows) == len(objects)
    for staged in rows:
        assert all("\0" not in value for name, value in staged.items() if isinstance(value, str) and name != "raw")
        assert staged["revenue"] is None or abs(staged["revenue"]) <= Decimal(LARGEST)
