"""Values that programs send where they have no id."""

import json
from typing import Any

import pyarrow as pa
import pytest

from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.mapping import declaration_version_of
from pipeline_assets.sources.no_ids import NO_IDS
from pipeline_assets_tests.sources.staging_rows import FIRST_DAY, source, stage

IDS = {
    "event_id": "id",
    "anonymous_id": "device",
    "user_id": "uid",
    "session_id_supplied": "visit",
    "view_id": "view",
    "order_id": "basket",
}
DECLARED = source(mapping={"occurred_at": "time", **IDS}, ids={"email": "email"})
GIVEN = {"id": "e1", "device": "d1", "uid": "u1", "visit": "s1", "view": "v1", "basket": "o1", "email": "e@x"}
FIELDS = {column: field for field, column in zip(IDS.values(), IDS, strict=True)}


def row(**changes: Any) -> str:
    return json.dumps({"time": "2024-05-01T10:00:00Z", **GIVEN, **changes})


def of_column(staged: dict[str, Any], column: str) -> Any:
    """The id in a column, or the further id of that kind."""
    return staged[column] if column in IDS else json.loads(staged["further_ids"] or "{}").get(column)


@pytest.mark.parametrize("column", [*IDS, "email"])
def test_what_programs_send_without_an_id_is_none_in_any_case_and_counted_by_its_value(column: str) -> None:
    field = FIELDS.get(column, column)
    values = [value for value in NO_IDS if value != "0"]
    spelled = [*values, *(value.upper() for value in values), *(f"  {value.title()} " for value in values)]
    rows = stage(DECLARED, [row(**{field: value}) for value in spelled])
    assert [of_column(staged, column) for staged in rows] == [None] * len(rows)
    name = column if column in IDS else f"ids.{column}"
    assert [staged["unusable"] for staged in rows] == [f"{name}: {value.lower()}" for value in values] * 3
    assert {staged["reason"] for staged in rows} == {None}
    # Where the source's id says nothing, the row's content tells it from others.
    assert all((staged["row_hash"] is not None) == (column == "event_id") for staged in rows)


@pytest.mark.parametrize(
    "given", ["nulls", "00", "0.0", "user", "guest1", "a null", "00000000-0000-0000-0000-000000000001"]
)
def test_an_id_that_only_looks_like_none_is_an_id(given: str) -> None:
    (staged,) = stage(DECLARED, [row(**dict.fromkeys(GIVEN, given))])
    assert [of_column(staged, column) for column in (*IDS, "email")] == [given] * 7
    assert staged["unusable"] is None


def test_zero_is_no_id_but_of_a_session_or_view_which_may_be_numbered_from_it() -> None:
    for zero in ("0", 0):
        (staged,) = stage(DECLARED, [row(**{**dict.fromkeys(GIVEN, zero), "device": "d"})])
        assert (staged["session_id_supplied"], staged["view_id"]) == ("0", "0")
        assert (staged["event_id"], staged["user_id"], staged["order_id"], staged["further_ids"]) == (None,) * 4


def test_an_event_left_without_a_visitor_is_quarantined_and_says_what_was_sent() -> None:
    rows = stage(DECLARED, [row(device="null", uid="0"), row(device=None, uid="Guest"), row(device=None, uid=" ")])
    assert [staged["reason"] for staged in rows] == [
        "missing:anonymous_id or user_id (anonymous_id: null, user_id: 0)",
        "missing:anonymous_id or user_id (user_id: guest)",
        "missing:anonymous_id or user_id",
    ]


def test_a_required_id_that_is_none_is_missing() -> None:
    declared = source(mapping={"occurred_at": "time", **IDS}, required=["event_id"])
    (staged,) = stage(declared, [row(id="undefined")])
    assert staged["reason"] == "missing:event_id"


@pytest.mark.parametrize(
    ("no_ids", "ids"),
    [
        (None, ["kiosk", None, None, None]),
        (["Kiosk "], [None, "null", "0", "true"]),
        ([None, 0, True], ["kiosk", None, None, None]),
        ([], ["kiosk", "null", "0", "true"]),
    ],
)
def test_a_source_may_name_others_or_none(no_ids: list[Any] | None, ids: list[str | None]) -> None:
    declared = source(mapping={"occurred_at": "time", **IDS}, no_ids=no_ids)
    rows = stage(declared, [row(uid=value) for value in ("kiosk", "null", "0", "true")])
    assert [staged["user_id"] for staged in rows] == ids


def test_no_ids_decide_how_files_are_read_but_not_their_order_or_case() -> None:
    def version(**changes: Any) -> str:
        return declaration_version_of(Source.model_validate(DECLARED.model_dump() | changes), "UTC", FIRST_DAY)

    assert version(no_ids=list(reversed(NO_IDS))) == version(no_ids=[value.upper() for value in NO_IDS]) == version()
    assert len({version(), version(no_ids=[]), version(no_ids=["x"])}) == 3


def test_a_coalesce_of_ids_passes_over_what_is_none() -> None:
    mapping = {
        "occurred_at": "time",
        "anonymous_id": "coalesce(uid, device)",
        "user_id": "CASE WHEN visit IS NULL THEN coalesce(trim(uid), coalesce(device, view)) ELSE basket END",
        # Not the value itself: these are compared as they are.
        "order_id": "upper(coalesce(uid, device))",
    }
    rows = stage(
        source(mapping=mapping),
        [
            row(uid="null", visit=None),
            row(uid=" ", device="NaN", visit=None),
            row(uid="null", device=None, visit=None),
            row(uid="null", device="none"),
        ],
    )
    assert [staged["anonymous_id"] for staged in rows] == ["d1", None, None, None]
    assert [staged["user_id"] for staged in rows] == ["d1", "v1", "v1", "o1"]
    assert [staged["order_id"] for staged in rows] == [None, None, None, None]
    assert [staged["unusable"] for staged in rows] == [
        "order_id: null", None, "anonymous_id: null, order_id: null", "anonymous_id: null, order_id: null",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "record", "column", "expected"),
    [
        ("segment", {"type": "alias", "previousId": "null", "anonymousId": "a", "userId": "u"}, "anonymous_id", "a"),
        ("segment", {"type": "track", "event": "x", "anonymousId": "undefined", "userId": "u"}, "anonymous_id", None),
        ("posthog", {"event": "x", "uuid": "null", "id": "i", "distinct_id": "d"}, "event_id", "i"),
        (
            "posthog",
            {"event": "$identify", "distinct_id": "distinct_id", "properties": {"$anon_distinct_id": "a"}},
            "user_id",
            None,
        ),
        ("ga4", {"event_name": "x", "user_pseudo_id": "(not set)", "user_id": "u"}, "anonymous_id", None),
        (
            "ga4",
            {
                "event_name": "x",
                "user_pseudo_id": "p",
                "ecommerce": {"transaction_id": "(not set)"},
                "event_params": [{"key": "transaction_id", "value": {"string_value": "T1"}}],
            },
            "order_id",
            "T1",
        ),
    ],
)
def test_ready_formats_know_no_ids_too(kind: str, record: dict[str, Any], column: str, expected: str | None) -> None:
    (staged,) = stage(Source.model_validate({"name": "web", "path": "*", "format": kind}), [json.dumps(record)])
    assert staged[column] == expected


def test_what_says_that_there_is_no_id_is_none_in_csv_and_parquet_files_too() -> None:
    mapping = {"event_id": "id", "occurred_at": "time", "user_id": "uid", "anonymous_id": "device"}
    (staged,) = stage(
        source(format="csv", mapping=mapping), ["1,2024-05-01,null,d"], fields=["id", "time", "uid", "device"]
    )
    assert (staged["user_id"], staged["anonymous_id"], staged["unusable"]) == (None, "d", "user_id: null")
    table = pa.table({"id": [7], "time": ["2024-05-01"], "uid": [0], "device": ["d"]})
    (staged,) = stage(source(format="parquet", mapping=mapping), table)
    assert (staged["event_id"], staged["user_id"], staged["unusable"]) == ("7", None, "user_id: 0")
