"""Elements that hold several records are taken apart without a change to what is in them."""

import io
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.sources.formats.ready import Nested
from pipeline_assets.sources.records.cutting import Tally
from pipeline_assets.sources.records.json_cutting import read_json_array
from pipeline_assets.sources.records.nested import records_of

NESTED = Nested(array="all", record="one", of_first={"first": "t"})
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
OWN = st.dictionaries(st.text(max_size=3).filter(lambda key: key not in ("all", "one", "first")), JSON, max_size=3)
WRITTEN = st.fixed_dictionaries({"indent": st.sampled_from([None, 1]), "ensure_ascii": st.booleans()})


@settings(max_examples=60)
@given(OWN, st.lists(JSON, min_size=1, max_size=4), WRITTEN)
def test_each_object_of_the_array_becomes_a_record_with_the_elements_other_fields(own, items, written):
    element = json.dumps({**own, "all": items}, **written).encode("utf-8", "surrogatepass")
    first = {"first": items[0]["t"]} if isinstance(items[0], dict) and "t" in items[0] else {}
    found = [json.loads(record.decode("utf-8", "surrogatepass")) for record in records_of(element, NESTED)]
    assert found == [{**own, **first, "one": item} for item in items]


def test_no_number_is_written_in_another_way():
    element = b'{"a": 1.50, "all": [ {"t": 12345678901234567890, "b": 1e2} , {"b": 0.10} ], "z": "\xc3\xa4"}'
    assert list(records_of(element, NESTED)) == [
        b'{"a": 1.50,"z": "\xc3\xa4","first":12345678901234567890,"one":{"t": 12345678901234567890, "b": 1e2}}',
        b'{"a": 1.50,"z": "\xc3\xa4","first":12345678901234567890,"one":{"b": 0.10}}',
    ]


@settings(max_examples=60)
@given(st.binary(max_size=20) | OWN.map(lambda own: json.dumps(own).encode()))
def test_what_has_no_such_array_is_a_record_as_it_is(element):
    assert list(records_of(element, NESTED)) == [element]
    assert list(records_of(b'{"all": []}', NESTED)) == [b'{"all": []}']


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=5).filter(bytes.strip))
def test_what_follows_the_object_is_not_lost_with_it(rest):
    element = b'{"all": [{"t": 1}]} ' + rest
    assert list(records_of(element, NESTED)) == [element]


def test_records_are_counted_through_the_whole_array():
    tally = Tally()
    text = b'[{"all": [{"t": 1}, {"t": 2}]}, {"none": 1}, {"all": [{"t": 3}]}]'
    batches = list(read_json_array(io.BytesIO(text), tally, nested=NESTED))
    assert [line for batch in batches for line in batch["line"].to_pylist()] == [1, 2, 3, 4]
    assert tally.lines == 4
