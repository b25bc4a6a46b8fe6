import hashlib
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.sources.loading import load_sources
from pipeline_assets.sources.mapping import declaration_version_of, staging_query
from pipeline_assets.sources.records.steps import column_names
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets_tests.sources.staging_rows import BOOKED_AT, FIRST_DAY, source, stage

DECLARATIONS = Path(__file__).parents[1] / "declarations"
DATA = Path(__file__).parents[2] / "../shared/data"
GOOD = {"id": "e1", "time": "2024-05-01T10:00:00Z", "visitor": "v1"}
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the shared sample files are not on this machine")


def row(**changes: Any) -> str:
    return json.dumps({key: value for key, value in {**GOOD, **changes}.items() if value is not ...})


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_row_has_the_contracts_columns_then_day_reason_raw_and_its_length():
    (staged,) = stage(source(), [row()])
    assert list(staged) == [*StagedEvents.column_names(), "event_date", "reason", "raw", "raw_bytes"]
    assert staged["event_date"] == date(2024, 5, 1)
    assert (staged["reason"], staged["raw"], staged["row_hash"], staged["properties"]) == (None, None, None, None)
    assert (staged["source"], staged["load_id"], staged["line"]) == ("web", "content", 1)
    assert (staged["property"], staged["event_type"], staged["is_conversion"]) == ("web", "track", False)


def test_good_rows_satisfy_the_contract():
    declared = source(mapping={**source().mapping, "revenue": "price", "consent": "ok", "sent_at": "sent"})
    rows = pa.Table.from_pylist(stage(declared, [row(price="1.50", ok=True), row(id=None), row(sent=GOOD["time"])]))
    query = staging_query(declared, fields=None, timezone="UTC", first_day=FIRST_DAY)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("raw_rows", pa.table({"line": pa.array([1], pa.int64()), "raw": [row(price="1.5")]}))
        parameters = {"load_ids": ["content"], "booked_at": [BOOKED_AT]}
        frame = pl.from_arrow(connection.sql(query, params=parameters).to_arrow_table())
    assert isinstance(frame, pl.DataFrame)
    StagedEvents.validate(frame.select(StagedEvents.column_names()))
    assert rows.num_rows == 3


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (" \t ", "blank"),
        ("{broken", "not_json"),
        ("[1]", "not_an_object"),
        ("null", "not_an_object"),
        ("5", "not_an_object"),
        (row(time="yesterday"), "unparsable:occurred_at"),
        (row(time="2024-05-01T10:00:00 Europe/Berlin"), "unparsable:occurred_at"),
        (row(time="infinity"), "unparsable:occurred_at"),
        (row(price="much"), "unparsable:revenue"),
        (row(ok="perhaps"), "unparsable:consent"),
        (row(count="many"), "unparsable:order_id"),
        (row(time=...), "missing:occurred_at"),
        (row(time=" "), "missing:occurred_at"),
        (row(visitor=""), "missing:anonymous_id or user_id"),
        (row(name=None), "missing:event_name"),
        (row(kind=None), "missing:event_type"),
        (row(time="2009-12-31T23:59:59Z"), "out_of_range"),
        (row(time="2024-06-01T00:05:01Z"), "out_of_range"),
        (row(price="-1"), "rule:price_is_positive"),
        (row(name="seven"), "rule:name_is_a_number"),
    ],
)
def test_every_reason_is_given_with_the_raw_line(raw: str, reason: str):
    declared = source(
        mapping={
            **source().mapping,
            "event_name": "name",
            "event_type": "kind",
            "revenue": "price",
            "consent": "ok",
            "order_id": "count::bigint",
        },
        required=["event_name", "event_type"],
        rules={"price_is_positive": "revenue > 0", "name_is_a_number": "event_name::bigint > 0"},
    )
    if raw.startswith('{"'):
        raw = json.dumps({"name": "1", "kind": "page", **json.loads(raw)})
    bad, good = stage(declared, [raw, row(name="1", kind="page", price=None, ok=None)])
    assert (bad["reason"], bad["raw"], bad["event_date"]) == (reason, raw, None)
    assert (good["reason"], good["raw"]) == (None, None)


@pytest.mark.parametrize(
    ("given_", "sequence"),
    [(7, 7), ("7", 7), (-3, -3), ("12.0", 12), (2**63 - 1, 2**63 - 1), ("", None), (None, None)],
)
def test_a_sequence_is_a_whole_number(given_: Any, sequence: int | None):
    declared = source(mapping={**source().mapping, "sequence": "place"})
    (staged,) = stage(declared, [row(place=given_)])
    assert (staged["sequence"], staged["reason"]) == (sequence, None)


@pytest.mark.parametrize("given_", [1.5, "first", 2**63, "1e3"])
def test_what_is_no_whole_number_of_64_bits_is_no_sequence(given_: Any):
    declared = source(mapping={**source().mapping, "sequence": "place"})
    (staged,) = stage(declared, [row(place=given_)])
    assert staged["reason"] == "unparsable:sequence"


def test_exactly_five_minutes_ahead_is_still_in_range():
    (staged,) = stage(source(), [row(time="2024-06-01T00:05:00Z")])
    assert staged["reason"] is None


@pytest.mark.parametrize(
    ("device", "sent", "received", "occurred", "reason", "skew"),
    [
        ("10:00:00", None, None, "10:00:00", None, None),
        ("10:00:00", "10:00:01", "10:00:02", "10:00:00", None, 1_000),
        ("10:00:00", "10:00:00", "10:10:00", "10:00:00", None, 600_000),
        ("10:00:00", "10:00:00", "10:10:01", "10:10:01", "skew", 601_000),
        ("10:00:00", "10:30:00", "10:00:10", "09:30:10", "skew", -1_790_000),
        ("10:05:00", "10:05:00", "10:00:00", "10:00:00", "future", -300_000),
        ("10:05:00", "10:01:00", "10:00:00", "10:00:00", "received_at", -60_000),
        ("10:05:00", None, "10:00:00", "10:00:00", "received_at", None),
        ("11:30:00", "11:00:00", "10:00:00", "10:00:00", "received_at", -3_600_000),
    ],
)
def test_a_device_s_clock_is_corrected_by_the_clock_rule(device, sent, received, occurred, reason, skew):  # noqa: PLR0917 - one row of the table
    mapping = {"anonymous_id": "visitor", "device_at": "device", "sent_at": "sent", "received_at": "received"}
    values = {"device": device, "sent": sent, "received": received}
    times = {key: value and f"2024-05-01T{value}Z" for key, value in values.items()}
    (staged,) = stage(source(mapping=mapping), [json.dumps({"visitor": "v", **times})])
    assert staged["occurred_at"] == moment(f"2024-05-01T{occurred}")
    assert (staged["clock_reason"], staged["clock_skew_ms"], staged["reason"]) == (reason, skew, None)
    assert staged["device_at"] == moment(f"2024-05-01T{device}")


@pytest.mark.parametrize(
    ("kind", "zone", "text", "utc"),
    [
        ("iso8601", "UTC", "2024-05-01T10:00:00.123456789Z", "2024-05-01T10:00:00.123456"),
        ("iso8601", "UTC", "2024-05-01T10:00:00+02:00", "2024-05-01T08:00:00"),
        ("iso8601", "UTC", "2024-05-01T10:00:00+0200", "2024-05-01T08:00:00"),
        ("iso8601", "UTC", "2024-05-01 10:00-07", "2024-05-01T17:00:00"),
        ("iso8601", "Europe/Berlin", "2024-05-01T10:00:00Z", "2024-05-01T10:00:00"),
        ("iso8601", "Europe/Berlin", "2024-05-01 10:00:00", "2024-05-01T08:00:00"),
        ("iso8601", "Europe/Berlin", "2024-01-15", "2024-01-14T23:00:00"),
        ("iso8601", "Europe/Berlin", "2024-03-31 02:30:00", "2024-03-31T01:30:00"),
        ("iso8601", "Europe/Berlin", "2023-10-29 02:30:00", "2023-10-29T01:30:00"),
        ("epoch_s", "UTC", "1714557600.25", "2024-05-01T10:00:00.25"),
        ("epoch_ms", "UTC", "1714557600250", "2024-05-01T10:00:00.25"),
        ("epoch_us", "UTC", "1.71455760025e15", "2024-05-01T10:00:00.25"),
        ("%d.%m.%Y %H:%M", "Europe/Berlin", "01.05.2024 10:00", "2024-05-01T08:00:00"),
        ("%d/%b/%Y:%H:%M:%S %z", "UTC", "01/May/2024:10:00:00 -0100", "2024-05-01T11:00:00"),
    ],
)
def test_times_are_read_in_the_declared_format_and_zone(kind: str, zone: str, text: str, utc: str):
    (staged,) = stage(source(time={"format": kind, "zone": zone}), [row(time=text)])
    assert (staged["reason"], staged["occurred_at"]) == (None, moment(utc))


def test_a_time_column_can_have_its_own_format():
    declared = source(
        mapping={**source().mapping, "received_at": "got"},
        time={"zone": "Europe/Berlin", "columns": {"received_at": {"format": "epoch_s"}}},
    )
    (staged,) = stage(declared, [row(time="2024-05-01T12:00:00", got=1714557601)])
    assert staged["occurred_at"] == moment("2024-05-01T10:00:00")
    assert staged["received_at"] == moment("2024-05-01T10:00:01")


def test_an_exact_time_is_corrected_by_no_clock():
    declared = source(
        mapping={**source().mapping, "device_at": "device", "sent_at": "sent", "received_at": "received"},
        time={"exact": "vouched"},
    )
    clocks = {"device": "2024-05-01T08:00:00Z", "sent": "2024-05-01T08:00:05Z", "received": "2024-05-01T09:59:00Z"}
    rows = stage(
        declared, [row(id="1", vouched="yes", **clocks), row(id="2", **clocks), row(id="3", vouched="so so", **clocks)]
    )
    assert [(found["occurred_at"], found["clock_reason"], found["reason"]) for found in rows] == [
        (moment("2024-05-01T10:00:00"), None, None),
        (moment("2024-05-01T09:58:55"), "skew", None),
        (moment("2024-05-01T09:58:55"), "skew", "unparsable:time.exact"),
    ]
    # It is told by no column, so it stays.
    assert json.loads(rows[0]["properties"])["vouched"] == "yes"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (True, True),
        ("true", True),
        ("1", True),
        (1, True),
        ("Yes", True),
        (False, False),
        ("no", False),
        ("0", False),
        ("", None),
        (None, None),
    ],
)
def test_whether_it_is_a_bot_may_be_what_the_tracker_says(given: object, told: bool | None):
    (staged,) = stage(source(mapping={**source().mapping, "is_bot": "robot"}), [row(robot=given)])
    assert (staged["is_bot"], staged["reason"]) == (told, None)


def test_a_word_that_is_no_yes_or_no_is_told_like_any_other_value_that_cannot_be_read():
    (staged,) = stage(source(mapping={**source().mapping, "is_bot": "robot"}), [row(robot="perhaps")])
    assert staged["reason"] == "unparsable:is_bot"


@pytest.mark.parametrize(
    ("utc", "day"),
    [
        ("2024-03-30T22:59:59Z", date(2024, 3, 30)),
        ("2024-03-30T23:00:00Z", date(2024, 3, 31)),
        ("2024-03-31T21:59:59Z", date(2024, 3, 31)),
        ("2024-03-31T22:00:00Z", date(2024, 4, 1)),
    ],
)
def test_a_day_is_a_calendar_day_in_the_reporting_zone_also_when_clocks_change(utc: str, day: date):
    (staged,) = stage(source(), [row(time=utc)], timezone="Europe/Berlin")
    assert staged["event_date"] == day


def test_the_first_day_begins_at_midnight_in_the_reporting_zone():
    rows = stage(
        source(), [row(time="2009-12-31T22:59:59Z"), row(time="2009-12-31T23:00:00Z")], timezone="Europe/Berlin"
    )
    assert [staged["reason"] for staged in rows] == ["out_of_range", None]


CONSENT = {"event_id": "id", "occurred_at": "time", "anonymous_id": "trim(visitor)", "consent": "ok"}


@pytest.mark.parametrize(("denied", "excluded"), [("anonymise", None), ("drop", "consent_denied")])
def test_a_refusal_leaves_no_identifier(denied: str, excluded: str | None):
    mapping = {**CONSENT, "user_id": "coalesce(traits.email, person)", "session_id_supplied": "session"}
    declared = source(mapping=mapping, consent={"denied": denied})
    values = {"traits": {"email": "a@x", "plan": "p"}, "person": "u", "session": "s", "page": 1}
    refused, given_, unknown = stage(declared, [row(ok=ok, **values) for ok in (False, True, None)])
    assert [refused[column] for column in ("anonymous_id", "user_id", "session_id_supplied")] == [None] * 3
    assert (refused["excluded"], refused["reason"]) == (excluded, None)
    assert json.loads(refused["properties"]) == {"traits": {"plan": "p"}, "page": 1}
    for staged in (given_, unknown):
        assert (staged["anonymous_id"], staged["user_id"], staged["excluded"]) == ("v1", "a@x", None)
        assert json.loads(staged["properties"])["person"] == "u"


def test_a_refusal_drops_a_container_that_could_hide_an_identifier():
    declared = source(mapping={**CONSENT, "user_id": "traits.email"})
    (staged,) = stage(declared, [row(ok=False, traits=[{"email": "a@x"}])])
    assert "a@x" not in (staged["properties"] or "")


def test_a_refusal_drops_all_properties_where_an_id_is_made_from_the_whole_row():
    declared = source(mapping={**CONSENT, "user_id": "raw ->> '$.deep.user'"})
    (staged,) = stage(declared, [row(ok=False, deep={"user": "u"}, other=1)])
    assert (staged["user_id"], staged["properties"]) == (None, None)


def test_an_event_without_any_id_is_quarantined_even_if_it_refuses():
    (staged,) = stage(source(mapping=CONSENT), [row(ok=False, visitor=None)])
    assert staged["reason"] == "missing:anonymous_id or user_id"


def test_only_plain_references_leave_the_properties():
    mapping = {
        **source().mapping,
        "revenue": "Quantity::bigint * UnitPrice::decimal(12, 6)",
        "page_title": "trim(title)",
    }
    (staged,) = stage(source(mapping=mapping), [row(Quantity=3, UnitPrice="2.55", title=" T ")])
    assert (staged["revenue"], staged["page_title"]) == (Decimal("7.650000"), "T")
    assert json.loads(staged["properties"]) == {"Quantity": 3, "UnitPrice": "2.55"}


def test_the_first_value_of_coalesce_leaves_the_properties():
    declared = source(mapping={**source().mapping, "page_title": "coalesce(title, heading)"})
    first, second = stage(declared, [row(title="t", heading="h"), row(title=None, heading="h")])
    assert (first["page_title"], json.loads(first["properties"])) == ("t", {"heading": "h"})
    assert (second["page_title"], json.loads(second["properties"])) == ("h", {"heading": "h"})


def test_an_unknown_event_type_is_track_and_what_was_given_is_kept():
    declared = source(mapping={**source().mapping, "event_type": "kind"})
    known, unknown, missing = stage(declared, [row(kind="Page"), row(kind=" Charge "), row(kind=" ")])
    assert (known["event_type"], known["event_type_given"], known["properties"]) == ("page", None, None)
    assert (unknown["event_type"], unknown["event_type_given"], unknown["properties"]) == ("track", "Charge", None)
    assert (missing["event_type"], missing["event_type_given"]) == ("track", None)


IDS = {"phone": "person.phone", "email_hash": "sha256(lower(person.email))"}


def test_further_ids_are_one_object_with_sorted_keys():
    rows = [
        row(person={"phone": "1", "email": "A@x"}),
        row(person={"phone": ' say "hi" '}),
        row(person={"phone": " "}),
        row(person={"phone": "é" * 251}),
    ]
    both, one, none, long = stage(source(ids=IDS), rows)
    email = hashlib.sha256(b"a@x").hexdigest()
    assert both["further_ids"] == f'{{"email_hash":"{email}","phone":"1"}}'
    assert json.loads(one["further_ids"]) == {"phone": 'say "hi"'}
    assert (none["further_ids"], none["reason"]) == (None, None)
    assert long["reason"] == "too_long:ids.phone (over 500 bytes)"
    assert json.loads(both["properties"]) == {"person": {"email": "A@x"}}
    assert stage(source(), [row()])[0]["further_ids"] is None


def test_a_refusal_leaves_no_further_id():
    (staged,) = stage(source(mapping=CONSENT, ids=IDS), [row(ok=False, person={"phone": "1", "email": "a@x"})])
    assert (staged["further_ids"], staged["reason"], staged["properties"]) == (None, None, '{"person":{}}')


def test_further_ids_are_taken_from_a_csv_file():
    declared = source(format="csv", ids={"email": "note"})
    rows = stage(declared, ["a,2024-05-01,v,m", "b,2024-05-01,v,"], fields=FIELDS)
    assert [(staged["further_ids"], staged["properties"]) for staged in rows] == [('{"email":"m"}', None), (None, None)]


LENIENT = {**source().mapping, "items": "cart.products", "scroll_depth": "depth"}


@pytest.mark.parametrize(
    ("given_", "items", "rest"),
    [
        ([{"sku": "a", "price": 1.5}], [{"sku": "a", "price": 1.5}], None),
        ('[{"sku": "a\\u0000"}]', [{"sku": "a"}], None),
        ([], [], None),
        (None, None, None),
        ("[broken", None, {"cart": {"products": "[broken"}}),
        ({"sku": "a"}, None, {"cart": {"products": {"sku": "a"}}}),
        (5, None, {"cart": {"products": 5}}),
    ],
)
def test_items_are_a_json_array_and_anything_else_stays_in_the_properties(given_, items, rest):
    (staged,) = stage(source(mapping=LENIENT), [row(cart={"products": given_})])
    assert staged["reason"] is None
    assert staged["items"] == items if items is None else json.loads(staged["items"]) == items
    assert rest is None or json.loads(staged["properties"]) == rest


@pytest.mark.parametrize(
    ("given_", "depth"),
    [
        (50, 50.0),
        ("12.5", 12.5),
        (0, 0.0),
        (100, 100.0),
        (100.5, None),
        (-1, None),
        ("NaN", None),
        ("inf", None),
        ("deep", None),
    ],
)
def test_a_scroll_depth_is_a_percentage_and_anything_else_stays_in_the_properties(given_, depth):
    (staged,) = stage(source(mapping=LENIENT), [row(depth=given_)])
    assert (staged["reason"], staged["scroll_depth"]) == (None, depth)
    assert json.loads(staged["properties"] or "{}") == ({} if depth is not None else {"depth": given_})


def test_a_lenient_column_whose_expression_fails_is_null():
    failing = {"scroll_depth": "depth::double * 100", "items": "json_array(x::int)"}
    declared = source(mapping={**source().mapping, **failing})
    (staged,) = stage(declared, [row(depth="deep", x="no")])
    assert (staged["reason"], staged["scroll_depth"], staged["items"]) == (None, None, None)


def test_a_lenient_column_of_a_csv_file_that_cannot_be_used_stays_in_the_properties():
    declared = source(format="csv", mapping={**source().mapping, "items": "note"})
    good, bad = stage(declared, ['a,2024-05-01,v,"[{""sku"":""a""}]"', "b,2024-05-01,v,[x"], fields=FIELDS)
    assert (json.loads(good["items"]), good["properties"]) == ([{"sku": "a"}], None)
    assert (bad["items"], json.loads(bad["properties"])) == (None, {"note": "[x"})


NESTED = {
    **source().mapping,
    "page_url": "context.page.url",
    "page_title": "context['page'].title",
    "language": "context.locale",
    "user_id": "traits.id",
}


@pytest.mark.parametrize(
    "context", [3, [1], "text", {"page": 5, "locale": "de"}, {"page": {}, "x": 1}, {"page": [{"url": 1}]}]
)
def test_a_container_that_is_no_object_is_kept(context: Any):
    (staged,) = stage(source(mapping=NESTED), [row(context=context)])
    kept = json.loads(staged["properties"])["context"]
    assert kept == ({"page": 5} if isinstance(context, dict) and context.get("page") == 5 else context)


def test_containers_that_are_missing_leave_nothing_behind():
    (staged,) = stage(source(mapping=NESTED), [row()])
    assert staged["properties"] is None


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, inner in enumerate(value) for leaf in leaves(inner, (*path, index))]
    return [(path, value)]


KEYS = st.sampled_from(["context", "page", "url", "title", "locale", "traits", "id", "x", 'q"uote', "it's", "ü", ""])
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(st.characters(exclude_categories=["Cs", "Cc"]))
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=5), min_size=1, max_size=20))
def test_every_leaf_of_a_row_is_in_a_mapped_column_or_in_the_properties(objects: list[dict[str, Any]]):
    mapped = {
        ("id",): "event_id",
        ("context", "page", "url"): "page_url",
        ("context", "page", "title"): "page_title",
        ("context", "locale"): "language",
        ("traits", "id"): "user_id",
    }
    rows = [{**made, "time": GOOD["time"], "visitor": "v"} for made in objects]
    for made, staged in zip(rows, stage(source(mapping=NESTED), [json.dumps(made) for made in rows]), strict=True):
        if staged["reason"] is not None:
            assert staged["reason"] in {f"too_long:{name} (over 500 bytes)" for name in ("event_id", "user_id")}
            continue
        properties = dict(leaves(json.loads(staged["properties"] or "{}")))
        for path, value in leaves(made):
            column = next((name for known, name in mapped.items() if path[: len(known)] == known), None)
            if column and path not in properties:
                no_id = f"{column}: {str(value).strip(' ').lower()}"
                is_counted = no_id in (staged["unusable"] or "").split(", ")
                assert value is None or staged[column] is not None or not str(value).strip(" ") or is_counted
            elif path not in {("time",), ("visitor",)}:
                assert properties[path] == value


def test_the_null_character_which_postgresql_cannot_hold_is_removed():
    (staged,) = stage(source(), ['{"id":"a\\u0000\\u0000b","time":"2024-05-01","visitor":"\\\\u0000","x":"\\u0000y"}'])
    assert (staged["event_id"], staged["anonymous_id"]) == ("ab", "\\u0000")
    assert json.loads(staged["properties"]) == {"x": "y"}


def test_rows_without_an_event_id_are_hashed_with_their_sources_name():
    rows = stage(source(), [row(id=None), row(id=None), row(id=None, x=1)])
    hashes = [staged["row_hash"] for staged in rows]
    assert hashes[0] == hashes[1] != hashes[2]
    assert stage(source(name="app"), [row(id=None)])[0]["row_hash"] != hashes[0]


FIELDS = ["id", "time", "visitor", "note"]


@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_records_with_quotes_line_ends_and_delimiters(kind: str, delimiter: str):
    good = ["e1", "2024-05-01 10:00", "v", f'"say ""hi""{delimiter}\nbye"']
    plain = ["e2", "2024-05-01 10:00", "v", ""]
    rows = stage(source(format=kind), [delimiter.join(good), delimiter.join(plain)], fields=FIELDS)
    assert [staged["reason"] for staged in rows] == [None, None]
    assert json.loads(rows[0]["properties"]) == {"note": f'say "hi"{delimiter}\nbye'}
    assert rows[1]["properties"] is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("e1,2024-05-01,v", "field_count: 4 expected, 3 found"),
        ("a,b,c,d,e", "field_count: 4 expected, 5 found"),
        ("  ", "blank"),
    ],
)
def test_a_record_of_another_width_is_quarantined(record: str, reason: str):
    (staged,) = stage(source(format="csv"), [record], fields=FIELDS)
    assert (staged["reason"], staged["raw"]) == (reason, record)


def test_a_missing_column_is_null_and_an_added_one_goes_to_the_properties():
    declared = source(format="csv", mapping={**source().mapping, "event_name": "name"})
    (staged,) = stage(declared, ["2024-05-01,v,9"], fields=["time", "visitor", "new"])
    assert (staged["event_id"], staged["event_name"], staged["reason"]) == (None, None, None)
    assert json.loads(staged["properties"]) == {"new": "9"}
    (staged,) = stage(source(format="csv"), ["e1,v"], fields=["id", "visitor"])
    assert staged["reason"] == "missing:occurred_at"


def test_a_header_with_empty_and_repeated_names():
    assert column_names(["a", "", "A", "a", " b "]) == ("a", "column_2", "A_2", "a_3", "b")
    (staged,) = stage(source(format="csv"), ["e,2024-05-01,v,1,2"], fields=["id", "time", "visitor", "", "ID"])
    assert json.loads(staged["properties"]) == {"column_4": "1", "ID_2": "2"}


def test_parquet_keeps_native_types_and_nested_columns():
    table = pa.table(
        {
            "id": ["e1", "e2"],
            "time": pa.array([moment("2024-05-01T10:00:00"), None], pa.timestamp("ns", "UTC")),
            "visitor": [7, 8],
            "ctx": [{"page": "p", "n": 1}, None],
            "price": pa.array([Decimal("1.25"), None], pa.decimal128(9, 2)),
        }
    )
    mapping = {**source().mapping, "page_url": "ctx.page", "revenue": "price", "order_id": "absent.id"}
    good, bad = stage(source(format="parquet", mapping=mapping), table)
    assert (good["anonymous_id"], good["page_url"], good["revenue"]) == ("7", "p", Decimal("1.250000"))
    assert good["occurred_at"] == moment("2024-05-01T10:00:00")
    assert json.loads(good["properties"]) == {"ctx": {"page": "p", "n": 1}}
    assert (bad["reason"], json.loads(bad["raw"])["id"]) == ("missing:occurred_at", "e2")


LOG = {"occurred_at": "time", "anonymous_id": "remote_host", "page_url": "target"}


def test_lines_of_an_access_log_become_events_or_are_quarantined():
    line = '::1 - ann [01/May/2024:12:00:00 +0200] "GET /a b HTTP/1.1" 200 - "-" "say \\"hi\\""'
    declared = source(format="combined_log", mapping={**LOG, "user_agent": "user_agent", "referrer_url": "referrer"})
    good, bad, odd = stage(declared, [line, line[:-1], line.replace("GET /a b HTTP/1.1", "\\x16\\x03")])
    assert (good["occurred_at"], good["page_url"]) == (moment("2024-05-01T10:00:00"), "/a b")
    assert (good["user_agent"], good["referrer_url"]) == ('say "hi"', None)
    assert json.loads(good["properties"]) == {
        "remote_user": "ann", "method": "GET", "protocol": "HTTP/1.1", "status": "200",
    }  # fmt: skip
    assert bad["reason"] == "not_a_log_line: user_agent"
    assert (odd["page_url"], json.loads(odd["properties"])["request"]) == (None, "\\x16\\x03")
    common = line.split(' "-"', 1)[0]
    assert stage(source(format="common_log", mapping=LOG), [common])[0]["reason"] is None


CSV_SETTINGS = (
    {}, {"delimiter": ";"}, {"quote": "'"}, {"escape": "\\"}, {"comment": "#"}, {"skip": 1}, {"header": False},
    {"header": ["id", "time", "visitor"]}, {"decimal": ","}, {"thousands": ","},
)  # fmt: skip


def test_the_declaration_version_changes_with_what_decides_the_rows_and_with_nothing_else():
    declared = source()
    version = declaration_version_of(declared, "UTC", FIRST_DAY)
    assert len(version) == 12
    assert declaration_version_of(source(path="other", dedup_days=2, bounds={"late": 1}), "UTC", FIRST_DAY) == version
    assert declaration_version_of(source(mapping=dict(reversed(declared.mapping.items()))), "UTC", FIRST_DAY) == version
    others = {
        declaration_version_of(source(property="x"), "UTC", FIRST_DAY),
        declaration_version_of(source(compression="gzip"), "UTC", FIRST_DAY),
        declaration_version_of(source(ids={"email": "mail"}), "UTC", FIRST_DAY),
        declaration_version_of(source(time={"zone": "Europe/Berlin"}), "UTC", FIRST_DAY),
        declaration_version_of(source(rules={"a": "true"}), "UTC", FIRST_DAY),
        declaration_version_of(source(encoding="latin-1"), "UTC", FIRST_DAY),
        *(declaration_version_of(source(format="csv", csv=csv), "UTC", FIRST_DAY) for csv in CSV_SETTINGS),
        declaration_version_of(declared, "Europe/Berlin", FIRST_DAY),
        declaration_version_of(declared, "UTC", date(2011, 1, 1)),
        version,
    }
    assert len(others) == 9 + len(CSV_SETTINGS)
    assert declaration_version_of(source(encoding="UTF8"), "UTC", FIRST_DAY) == version
    said = source(format="csv", csv={"delimiter": ",", "quote": '"', "escape": '"', "header": True})
    assert declaration_version_of(said, "UTC", FIRST_DAY) == declaration_version_of(
        source(format="csv"), "UTC", FIRST_DAY
    )


@needs_data
def test_the_access_log_loses_one_malformed_line_to_quarantine():
    (declared,) = load_sources(DECLARATIONS / "access_log")
    rows = stage(declared, (DATA / "access_logs/apache_logs").read_text().splitlines())
    assert len(rows) == 10_000
    assert [(staged["line"], staged["reason"]) for staged in rows if staged["reason"]] == [
        (8899, "not_a_log_line: user_agent")
    ]
    assert len({staged["anonymous_id"] for staged in rows if not staged["reason"]}) == 1753


@needs_data
def test_the_retail_files_are_mapped_exactly():
    (declared,) = load_sources(DECLARATIONS / "online_retail")
    file = DATA / "online_retail/2010-12-01.csv"
    header, *records = file.read_text().splitlines()
    rows = stage(declared, records, fields=header.split(","))
    good = [staged for staged in rows if staged["reason"] is None]
    assert {staged["reason"] for staged in rows} == {None, "missing:anonymous_id or user_id"}
    expected = duckdb.execute(
        f"select count(*), sum(Quantity::bigint * UnitPrice::decimal(12, 6)), count(*) filter (Quantity::bigint < 0)"
        f" from read_csv('{file}', all_varchar = true) where CustomerID is not null"
    ).fetchall()[0]
    returns = [staged for staged in good if staged["event_name"] == "return"]
    assert (len(good), sum(staged["revenue"] for staged in good), len(returns)) == expected
    assert all(staged["revenue"] < 0 for staged in returns)
    assert good[0]["user_id"] == "17850"
    assert json.loads(good[0]["properties"])["StockCode"] == "85123A"
