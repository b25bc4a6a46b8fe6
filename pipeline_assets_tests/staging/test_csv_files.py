"""CSV as it comes: of many countries, programs and decades, declared and undeclared."""

import logging
from decimal import Decimal
from typing import Any

import pytest

from pipeline_assets_tests.formats.landed import declare, load_bytes

TILL = (
    "Datum;Filiale;Besucher;Artikel;Betrag;Währung\r\n"
    "01.03.2024 10:05:00;München;B0;Käse 0;12,50;EUR\r\n"
    "31.03.2024 12:05:01;München;B1;Käse 1;1.013,51;EUR\r\n"
).encode("windows-1252")
TILL_MAPPING = {
    "occurred_at": "Datum",
    "anonymous_id": "Besucher",
    "page_title": "Artikel",
    "revenue": "Betrag",
    "currency": '"Währung"',
}
TILL_TIME = {"format": "%d.%m.%Y %H:%M:%S", "zone": "Europe/Berlin"}
TILL_CSV = {"delimiter": ";", "decimal": ",", "thousands": "."}
MAPPING = {"event_id": "id", "occurred_at": "time", "anonymous_id": "visitor", "page_title": "note"}
HEADER = b"id,time,visitor,note\n"
ROW = b",2024-05-01,v,"


def till(**attributes: Any) -> tuple[list[dict[str, Any]], Any]:
    return load_bytes(declare("csv", mapping=TILL_MAPPING, **attributes), TILL)


def loaded(content: bytes, **attributes: Any) -> tuple[list[tuple[int, str, str | None]], Any]:
    """Line, id and note of the rows of a file, and what is booked."""
    rows, booked = load_bytes(declare("csv", **{"mapping": MAPPING, **attributes}), content)
    assert booked.error is not None or booked.lines == booked.landed + booked.blank + len(booked.quarantined)
    return [(row["line"], row["event_id"], row["page_title"]) for row in rows], booked


def test_a_till_of_another_country_is_read_as_declared():
    rows, booked = till(encoding="windows-1252", csv=TILL_CSV, time=TILL_TIME)
    assert (booked.lines, booked.landed) == (2, 2)
    assert [row["revenue"] for row in rows] == [Decimal("12.5"), Decimal("1013.51")]
    # The clocks went forward on that day.
    assert [row["occurred_at"].isoformat() for row in rows] == [
        "2024-03-01T09:05:00+00:00",
        "2024-03-31T10:05:01+00:00",
    ]
    assert (rows[0]["page_title"], rows[0]["currency"], rows[0]["properties"]) == (
        "Käse 0", "EUR", '{"Filiale":"München"}',
    )  # fmt: skip


def test_what_a_till_needs_is_named_one_after_the_other():
    assert till()[1].error == (
        "byte 0xE4 at line 1, column 40 is not UTF-8; declare `encoding`, for instance windows-1252 or latin-1"
    )
    assert till(encoding="latin-1")[1].error == (
        "the header has one column, but 6 between ';', among them Datum, Besucher, Artikel, Betrag, Währung; "
        'declare `csv: {delimiter: ";"}`'
    )
    declared = {"encoding": "latin-1", "csv": {"delimiter": ";"}}
    assert {bad.reason for bad in till(**declared)[1].quarantined} == {
        "unparsable:occurred_at: a date in another notation, declare time.format and time.zone"
    }
    hint = "unparsable:revenue: a number in another notation than csv.decimal and csv.thousands declare"
    assert {bad.reason for bad in till(**declared, time=TILL_TIME)[1].quarantined} == {hint}
    rows, booked = till(encoding="latin-1", csv={"delimiter": ";", "decimal": ","}, time=TILL_TIME)
    assert ([row["revenue"] for row in rows], booked.quarantined[0].reason) == ([Decimal("12.5")], hint)


def test_a_file_without_its_header_is_told_without_a_word_of_its_first_row(caplog):
    with caplog.at_level(logging.DEBUG):
        errors = [
            loaded(b"anna@shop.example;2024-05-01;Anna;x\n")[1].error,
            loaded(b"anna@shop.example,2024-05-01,Anna,x\n")[1].error,
        ]
    assert errors[0] == "the header has one column, but 4 between ';'; declare `csv: {delimiter: \";\"}`"
    assert "declare `csv: {header: false}`" in errors[1]
    assert "nna" not in f"{errors} {caplog.text}"


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ((HEADER + b"a" + ROW + b"x\n").replace(b"\n", b"\r\n"), [(2, "a", "x")]),
        # On old Macs lines end in CR; a quoted one is a line end of the cell.
        ((HEADER + b"a" + ROW + b'"x\ny"\nb' + ROW + b"z\n").replace(b"\n", b"\r"), [(2, "a", "x\ny"), (4, "b", "z")]),
        (HEADER + b"a" + ROW + b'"x\r\ny ""z"""\nb' + ROW + b"z", [(2, "a", 'x\r\ny "z"'), (4, "b", "z")]),
        (b'\xef\xbb\xbf"id","time","visitor","note"\na' + ROW + b"x\n", [(2, "a", "x")]),
        ((HEADER + b"a" + ROW + b"x\n").decode().encode("utf-16"), [(2, "a", "x")]),
        (HEADER.replace(b"note", b"no\0te") + b"a" + ROW + b"x\0y\n", [(2, "a", "xy")]),
        (b"\n \n" + HEADER + b"\na" + ROW + b"x\n", [(5, "a", "x")]),
        (HEADER, []),
        (b"", []),
        (b"\n\n", []),
    ],
)
def test_whatever_wrote_a_file_its_rows_are_read(content: bytes, rows: list[Any]):
    found, booked = loaded(content)
    assert (found, booked.error, list(booked.quarantined)) == (rows, None, [])


def test_rows_with_too_few_and_too_many_cells_are_quarantined():
    found, booked = loaded(HEADER + b"a,2024-05-01,v\nb" + ROW + b"x,y\nc" + ROW + b"x\n")
    assert found == [(4, "c", "x")]
    assert [(bad.line, bad.reason) for bad in booked.quarantined] == [
        (2, "field_count: 4 expected, 3 found"),
        (3, "field_count: 4 expected, 5 found"),
    ]


def test_repeated_empty_and_odd_names_of_columns_are_names():
    (row,), _ = load_bytes(
        declare("csv", mapping=MAPPING), b"id,time,visitor,note,note,,ID,~line,~raw\na" + ROW + b"x,y,z,w,1,2\n"
    )
    assert row["properties"] == '{"note_2":"y","column_6":"z","ID_2":"w","line":"1","raw":"2"}'


def test_without_a_header_columns_have_numbers_or_the_declared_names():
    numbered = {"event_id": "column_1", "occurred_at": "column_2", "anonymous_id": "column_3", "page_title": "column_4"}
    content = b"a" + ROW + b"x\nb" + ROW + b"y\n"
    expected = [(1, "a", "x"), (2, "b", "y")]
    assert loaded(content, mapping=numbered, csv={"header": False})[0] == expected
    assert loaded(content, csv={"header": ["id", "time", "visitor", "note"]})[0] == expected


def test_skipped_lines_and_comments_are_blank():
    content = b'Report, "1\n\n# made by "x\n' + HEADER + b'#,"y\na' + ROW + b'"\n# no comment"\n#\n'
    found, booked = loaded(content, csv={"skip": 1, "comment": "#"})
    assert found == [(6, "a", "\n# no comment")]
    assert (booked.lines, booked.landed, booked.blank) == (6, 1, 5)
    assert loaded(b"a\nb\n", csv={"skip": 5})[1].blank == 2


def test_a_quote_that_the_header_leaves_open_is_told():
    error = loaded(b'"id,time,visitor,note\na' + ROW + b"x\n")[1].error
    assert error is not None and "declare `csv: {quote: none}`" in error


def test_lines_in_another_encoding_are_quarantined_and_the_first_is_told(caplog):
    found, booked = loaded(HEADER + b"a" + ROW + b"x\nb" + ROW + b"\xfc\n")
    assert [(bad.line, bad.reason) for bad in booked.quarantined] == [(3, "invalid_utf8")]
    assert "events.txt: byte 0xFC at line 3, column 16 is not UTF-8; declare `encoding`" in caplog.text
    # 0x81 is nothing in windows-1252.
    found, booked = loaded(HEADER + b"a" + ROW + b"\x81\nb" + ROW + b"\x80\n", encoding="windows-1252")
    assert found == [(3, "b", "€")]
    assert [(bad.reason, bad.raw) for bad in booked.quarantined] == [
        ("invalid_encoding: not cp1252", b"a" + ROW + b"\x81")
    ]


@pytest.mark.parametrize("kind", ["jsonl", "json_array"])
def test_json_is_read_in_its_encoding(kind: str):
    mapping = {"occurred_at": '"time"', "anonymous_id": "visitor", "page_title": "note"}
    record = '{"time": "2024-05-01", "visitor": "v", "note": "Käse €"}'
    content = (f"[{record}]" if kind == "json_array" else record + "\n").encode("windows-1252")
    (row,), _ = load_bytes(declare(kind, mapping=mapping, encoding="windows-1252"), content)
    assert row["page_title"] == "Käse €"
    rows, booked = load_bytes(declare(kind, mapping=mapping), content)
    assert rows == []
    assert booked.error is not None or booked.quarantined[0].reason == "invalid_utf8"


@pytest.mark.parametrize("empty", [b"", b'""', b"  ", b'"  "'])
@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_an_empty_cell_is_null_within_an_expression_quoted_or_not(kind: str, empty: bytes):
    mapping = {
        "occurred_at": "time",
        "user_id": "customer",
        "anonymous_id": "case when customer is null then 'invoice:' || invoice end",
        "event_name": "coalesce(kind, 'purchase')",
    }
    content = b"time,customer,invoice,kind\n2024-05-01,%s,536414,%s\n" % (empty, empty)
    if kind == "tsv":
        content = content.replace(b",", b"\t")
    (row,), _ = load_bytes(declare(kind, mapping=mapping), content)
    assert (row["user_id"], row["anonymous_id"], row["event_name"], row["properties"]) == (
        None, "invoice:536414", "purchase", '{"invoice":"536414"}',
    )  # fmt: skip


NUMBERS = [
    ("12,50", ",", "", "12.5"),
    ("-1.234.567,5", ",", ".", "-1234567.5"),
    ("1234,5", ",", ".", "1234.5"),
    ("1 234,50", ",", " ", "1234.5"),
    ("1\u202f234,50", ",", " ", "1234.5"),
    ("1\u00a0234", ",", " ", "1234"),
    ("1'234.50", ".", "'", "1234.5"),
    ("12,34,567.8", ".", ",", "1234567.8"),
    ("+,5", ",", "", "0.5"),
    ("12", ",", ".", "12"),
    ("12.50", ",", "", None),
    ("12.50", ",", ".", None),
    ("12,50", ".", ",", None),
    ("1.23,4", ",", ".", None),
    ("1,2,3", ",", "", None),
]


@pytest.mark.parametrize(("text", "decimal", "thousands", "value"), NUMBERS)
@pytest.mark.parametrize("expression", ["amount", "CASE WHEN true THEN amount END"])
def test_text_is_read_in_the_declared_notation_or_not_at_all(
    text: str, decimal: str, thousands: str, value: str | None, expression: str
):
    settings = {"delimiter": ";", "decimal": decimal, "thousands": thousands}
    declared = declare("csv", csv=settings, mapping={"occurred_at": "time", "user_id": "u", "revenue": expression})
    rows, booked = load_bytes(declared, f"time;u;amount\n2024-05-01;u;{text}\n".encode())
    if value is None:
        assert "a number in another notation than csv.decimal" in booked.quarantined[0].reason
    else:
        assert rows[0]["revenue"] == Decimal(value)


def test_what_an_expression_has_made_a_number_of_is_read_with_a_point():
    expression = "replace(amount, ',', '.')::decimal(18, 2) * 2"
    declared = declare(
        "csv",
        csv={"delimiter": ";", "decimal": ",", "thousands": "."},
        mapping={"occurred_at": "time", "user_id": "u", "revenue": expression, "scroll_depth": "depth"},
    )
    (row,), _ = load_bytes(declared, b"time;u;amount;depth\n2024-05-01;u;12,50;62,5\n")
    assert (row["revenue"], row["scroll_depth"]) == (Decimal(25), 62.5)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1714557600", ": a number like epoch_s, declare time.format"),
        ("1714557600123", ": a number like epoch_ms, declare time.format"),
        ("5/1/2024", ": a date in another notation, declare time.format and time.zone"),
        ("01-May-2024 10:00", ": a date in another notation, declare time.format and time.zone"),
        ("yesterday", ""),
    ],
)
def test_a_time_in_another_notation_is_told_without_its_value(text: str, hint: str):
    _, booked = loaded(HEADER + f"a,{text},v,x\n".encode())
    assert [bad.reason for bad in booked.quarantined] == [f"unparsable:occurred_at{hint}"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-01 10:00:00.5 UTC", "2024-05-01T10:00:00.500000+00:00"),
        ("2024-05-01 10:00:00.5 +0200", "2024-05-01T08:00:00.500000+00:00"),
        ("2024-05-01 10:00:00 -03:30", "2024-05-01T13:30:00+00:00"),
    ],
)
def test_moments_are_read_as_warehouses_write_them(text: str, moment: str):
    (row,), _ = load_bytes(declare("csv", mapping=MAPPING), HEADER + f"a,{text},v,x\n".encode())
    assert row["occurred_at"].isoformat() == moment
