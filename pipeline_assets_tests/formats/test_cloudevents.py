"""CloudEvents in structured JSON mode; the declaration says whose they are."""

import json

from pipeline_assets_tests.formats.landed import FIXTURES, declare, given, load, load_text


def test_the_envelope_is_mapped_and_the_declaration_says_who_and_what():
    mapping = {"user_id": "data.customer", "revenue": "data.amount", "currency": "data.currency"}
    rows, booked = load(declare("cloudevents", mapping=mapping), FIXTURES / "cloudevents.jsonl")
    first, second = rows
    assert given(first, "event_id", "event_name", "event_type", "event_type_given", "user_id") == (
        "/orders A234-1234-1234", "com.shop.order.placed", "track", None, "c-1",
    )  # fmt: skip
    assert (str(first["revenue"]), first["currency"]) == ("12.500000", "EUR")
    rest = json.loads(first["properties"])
    assert (rest["subject"], rest["comexampleextension1"], rest["data"]) == ("order-17", "value", {})
    # An id is unique within its source only.
    assert second["event_id"] == "/returns A234-1234-1234"
    assert second["occurred_at"].isoformat() == "2024-05-01T10:00:00.500000+00:00"
    assert [(bad.line, bad.reason) for bad in booked.quarantined] == [
        (3, "missing:occurred_at"),
        (4, "missing:event_name"),
        (5, "missing:event_id"),
    ]


def test_the_sequence_extension_counts_where_it_is_a_number():
    event = {"source": "/s", "type": "t", "time": "2024-05-01T10:00:00Z", "data": {"who": "c"}}
    texts = ["0007", "8", "g5", None]
    lines = "\n".join(json.dumps(event | {"id": str(place), "sequence": text}) for place, text in enumerate(texts))
    rows, booked = load_text(declare("cloudevents", mapping={"user_id": "data.who"}), lines)
    assert [row["sequence"] for row in rows] == [7, 8, None, None]
    assert booked.quarantined == []
