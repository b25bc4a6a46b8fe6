"""Logs in the W3C's extended format, of IIS and CloudFront; see fixtures/iis.log and fixtures/cloudfront.log."""

import json

import pytest

from pipeline_assets_tests.formats.landed import FIXTURES, declare, given, load, load_text

AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/124.0"


def test_a_log_of_iis_whose_fields_change_within_the_file():
    rows, booked = load(declare("w3c_log"), FIXTURES / "iis.log")
    # Directives are counted as blank lines.
    assert (booked.lines, booked.landed, booked.blank) == (14, 4, 9)
    assert [(bad.line, bad.reason) for bad in booked.quarantined] == [(8, "field_count: 15 expected, 6 found")]
    page, style, form, after = rows
    assert [row["line"] for row in rows] == [5, 6, 7, 14]
    assert given(page, "event_type", "event_name", "page_url", "referrer_url", "user_agent", "user_id") == (
        "page", "page_viewed", "/products/1?utm_source=mail", "https://www.google.com/", AGENT, None,
    )  # fmt: skip
    assert page["occurred_at"].isoformat() == "2024-05-01T10:00:01+00:00"
    rest = json.loads(page["properties"])
    assert (rest["sc_status"], rest["time_taken"], "cs_username" in rest) == ("200", "15", False)
    assert given(style, "event_type", "event_name", "referrer_url") == ("track", "request", None)
    assert given(form, "event_type", "user_id") == ("track", "SHOP\\ann")
    # The second part has other fields, and its date in a directive only.
    assert after["occurred_at"].isoformat() == "2024-05-02T00:00:05+00:00"
    assert given(after, "page_url", "user_agent") == ("http://shop.example/", 'An agent "quoted"')


def test_a_visitor_is_an_address_and_a_browser_and_the_id_does_not_show_the_address():
    rows, _ = load(declare("w3c_log"), FIXTURES / "iis.log")
    assert len({row["anonymous_id"] for row in rows[:3]}) == 1
    assert rows[3]["anonymous_id"] != rows[0]["anonymous_id"]
    assert "203.0.113.7" not in rows[0]["anonymous_id"]


def test_a_log_of_cloudfront_is_read_with_its_tabs():
    (row,), booked = load(declare("w3c_log"), FIXTURES / "cloudfront.log")
    assert (booked.lines, booked.blank) == (3, 2)
    assert given(row, "event_type", "page_url", "user_agent") == (
        "page", "https://shop.example/view/my/file.html", "Mozilla/4.0 (compatible; MSIE 5.0b1; Mac_PowerPC)",
    )  # fmt: skip


def test_lines_before_any_fields_directive_are_quarantined():
    _, booked = load_text(declare("w3c_log"), "2024-05-01 10:00:00 1.2.3.4\n#Fields: date time c-ip\n")
    assert [(bad.line, bad.reason) for bad in booked.quarantined] == [
        (1, "no_fields: no #Fields directive before this line")
    ]


def test_a_log_of_nothing_but_a_name_has_no_rows():
    rows, booked = load_text(declare("w3c_log"), "")
    assert (rows, booked.lines, booked.error) == ([], 0, None)


@pytest.mark.parametrize("separator", ["\n", "\r\n"])
def test_a_declaration_reads_fields_by_their_names(separator):
    source = declare("w3c_log", mapping={"anonymous_id": "x_visitor_id", "country": "sc_country"})
    text = separator.join(
        ["#Fields: date time X-Visitor(Id) sc(Country) cs-uri-stem", "2024-05-01 10:00:00 v-1 DE /a", ""]
    )
    (row,), _ = load_text(source, text)
    assert given(row, "anonymous_id", "country", "page_url") == ("v-1", "DE", "/a")
