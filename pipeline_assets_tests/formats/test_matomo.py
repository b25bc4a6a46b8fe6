"""Matomo's actions, of its API and of its database; what the visits hold is in fixtures/matomo_visits.json."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline_assets_tests.formats.landed import FIXTURES, declare, given, load, load_text

VISITS = FIXTURES / "matomo_visits.json"
DOCS = Path(__file__).parents[2] / "docs"
IDS = ("anonymous_id", "user_id", "session_id_supplied")


def lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture(scope="module")
def rows() -> dict[int, dict[str, Any]]:
    found, booked = load(declare("matomo"), VISITS)
    assert (booked.lines, booked.landed, list(booked.quarantined)) == (11, 11, [])
    return {row["line"]: row for row in found}


def test_a_page_view_of_a_visit_becomes_a_page_event(rows):
    page = rows[1]
    assert given(page, "property", "event_id", "event_type", "event_name", "sequence") == (
        "3", "901-5001", "page", "product viewed", 5001,
    )  # fmt: skip
    assert given(page, *IDS, "view_id") == ("a1b2c3d4e5f60718", "user-7", "901", "901-aB3dE6")
    assert given(page, "page_url", "page_title") == ("https://shop.example/p/1", "Mug")
    assert given(page, "device_type", "os", "browser", "language", "country") == (
        "desktop", "Windows", "Chrome", "de-de", "DE",
    )  # fmt: skip
    assert json.loads(page["items"]) == [{"sku": "mug", "name": "Mug", "category": "Kitchen", "price": 15.5}]
    assert json.loads(page["properties"])["dimension1"] == "pro"
    assert given(rows[3], "event_type", "event_name", "items") == ("page", "page view", None)


def test_the_clock_of_the_site_is_set_by_the_first_action_of_the_visit(rows):
    # The site's clock shows two hours more than UTC.
    assert rows[1]["occurred_at"].isoformat() == "2024-05-01T10:00:00+00:00"
    assert rows[7]["occurred_at"].isoformat() == "2024-05-01T10:05:00+00:00"
    assert rows[8]["occurred_at"].isoformat() == "2024-05-01T11:00:00+00:00"


def test_how_a_visitor_came_is_told_once(rows):
    assert given(rows[1], "utm_campaign", "utm_term", "referrer_url") == ("may", "mugs", "https://news.example/")
    # Neither another page tells it, nor an order.
    for line in (3, 6):
        assert given(rows[line], "utm_campaign", "utm_term", "referrer_url") == (None, None, None)
    assert given(rows[8], "utm_campaign", "referrer_url") == (None, "https://blog.example/post")


def test_events_and_searches_are_of_the_page_and_links_lead_elsewhere(rows):
    assert given(rows[2], "event_type", "event_name", "page_url", "view_id") == (
        "track", "play", "https://shop.example/p/1", "901-aB3dE6",
    )  # fmt: skip
    assert json.loads(rows[2]["properties"])["action"]["eventCategory"] == "Video"
    assert given(rows[4], "event_name", "page_url") == ("search", "https://shop.example/search?q=pen")
    for line, name in ((7, "download"), (9, "outlink")):
        assert given(rows[line], "event_type", "event_name", "page_url") == ("track", name, None)
        assert json.loads(rows[line]["properties"])["action"]["url"].startswith("https://")


def test_goals_are_conversions_and_those_that_are_worth_something_have_revenue(rows):
    assert given(rows[5], "event_id", "event_name", "is_conversion", "revenue") == (
        "901-goal-2-5004", "Newsletter", True, None,
    )  # fmt: skip
    assert given(rows[10], "event_name", "is_conversion", "revenue", "currency") == ("Lead", True, Decimal(25), "EUR")


def test_an_order_is_paid_and_a_cart_is_not(rows):
    assert given(rows[6], "event_id", "event_name", "order_id", "revenue", "currency", "is_conversion") == (
        "order-o-1", "order completed", "o-1", Decimal("45.5"), "EUR", True,
    )  # fmt: skip
    assert json.loads(rows[6]["items"]) == [
        {"sku": "mug", "name": "Mug", "category": "Kitchen", "price": 15.5, "quantity": "2"},
        {"sku": "pen", "name": "Pen", "category": "Office", "price": 14.5, "quantity": "1"},
    ]
    assert given(rows[11], "event_id", "event_name", "order_id", "revenue", "is_conversion") == (
        "902-cart", "abandoned cart", None, None, False,
    )  # fmt: skip
    assert json.loads(rows[11]["items"])[0]["price"] == 89


def test_views_of_two_visits_are_two_and_an_unknown_country_is_none(rows):
    assert given(rows[8], "view_id", "country", "device_type") == ("902-aB3dE6", None, "mobile")
    assert declare("matomo").sessions.mode == "supplied"


def test_what_matomo_has_escaped_is_told_as_it_was_sent():
    action = {
        "type": "action",
        "serverTime": "2024-05-01 10:00:00",
        "pageId": 1,
        "pageTitle": "Salt &amp; &quot;p&quot;",
    }
    record = {"idSite": 1, "idVisit": 2, "visitorId": "a", "action": {**action, "url": "http://a.example/?a=1&amp;b=2"}}
    (row,), _ = load_text(declare("matomo", records="jsonl"), lines([record]))
    assert given(row, "page_title", "page_url") == ('Salt & "p"', "http://a.example/?a=1&b=2")


TABLES = r"""
create macro json_arrayagg(value) as json_group_array(value);
create table matomo_site as select 3 as idsite, 'EUR' as currency;
create table matomo_goal as select 3 as idsite, 2 as idgoal, 'Newsletter' as name;
create table matomo_log_action as select * from (values
    (1, 'shop.example/p/1', 1, 2), (2, 'Mug', 4, null), (3, 'Video', 10, null), (4, 'play', 11, null),
    (5, 'intro', 12, null), (6, 'pen', 8, null), (7, 'shop.example/invoice.pdf', 3, 2), (8, 'mug', 5, null),
    (9, 'Mug', 6, null), (10, 'Kitchen', 7, null),
    (11, 'Banner', 14, null)) as t(idaction, name, type, url_prefix);
create table matomo_log_visit as select 901 as idvisit, 3 as idsite,
    '\xA1\xB2\xC3\xD4\xE5\xF6\x07\x18'::blob as idvisitor,
    'user-7' as user_id, 6 as referer_type, 'may' as referer_name, 'mugs' as referer_keyword,
    'https://news.example/' as referer_url, 'de' as location_country, 'de-de' as location_browser_lang,
    0 as config_device_type, 'WIN' as config_os, 'CH' as config_browser_name;
create table matomo_log_link_visit_action as select 901 as idvisit, *, null::int as idaction_product_name,
    case idlink_va when 5006 then 11 end as idaction_content_name from (values
    (5001, timestamp '2024-05-01 10:00:00', 'aB3dE6', 1, 1, 2, null, null, null::double, 8, 15.5),
    (5002, timestamp '2024-05-01 10:00:30', 'aB3dE6', 1, 1, 5, 3, 4, 3, null, null),
    (5004, timestamp '2024-05-01 10:01:40', 's1', 3, null, 6, null, null, null, null, null),
    (5005, timestamp '2024-05-01 10:05:00', null, 4, 7, null, null, null, null, null, null),
    (5006, timestamp '2024-05-01 10:05:01', 's1', 4, 1, null, null, null, null, null, null)) as t(
    idlink_va, server_time, idpageview, pageview_position, idaction_url, idaction_name, idaction_event_category,
    idaction_event_action, custom_float, idaction_product_sku, product_price);
create table matomo_log_conversion as select 901 as idvisit, 3 as idsite, *, 40.0 as revenue_subtotal,
    5.5 as revenue_tax, 0.0 as revenue_shipping, 0.0 as revenue_discount from (values
    (0, null, timestamp '2024-05-01 10:03:20', null, 'o-1', 45.5),
    (2, 5004, timestamp '2024-05-01 10:01:40', 'https://shop.example/search?q=pen', null, 0.0)) as t(
    idgoal, idlink_va, server_time, url, idorder, revenue);
create table matomo_log_conversion_item as select 901 as idvisit, 'o-1' as idorder, 0 as deleted, 8 as idaction_sku,
    9 as idaction_name, 10 as idaction_category, 15.5 as price, 2 as quantity;
"""


def test_the_documented_query_of_the_database_gives_the_same_events(rows):
    query = (DOCS / "matomo.sql").read_text(encoding="utf-8")
    with duckdb.connect() as database:
        database.execute(TABLES)
        text = "".join(f"{line}\n" for (line,) in database.execute(query).fetchall())
    found, booked = load_text(declare("matomo", records="jsonl"), text)
    assert (booked.lines, booked.landed) == (7, 7)
    # What the tables of this test lack: the product's category, the searched page and the order's page.
    columns = (
        "event_id", "event_name", "event_type", "occurred_at", *IDS, "property", "sequence", "page_title",
        "referrer_url", "utm_campaign", "utm_term", "device_type", "os", "browser", "language", "country",
        "is_conversion", "revenue", "currency", "order_id",
    )  # fmt: skip
    content = found.pop(next(place for place, row in enumerate(found) if row["event_name"] == "content"))
    assert given(content, "event_id", "event_type", "view_id") == ("901-5006", "track", "901-s1")
    api = {row["event_id"]: row for row in rows.values()}
    assert {row["event_id"] for row in found} == {
        "901-5001", "901-5002", "901-5004", "901-5005", "order-o-1", "901-goal-2-5004"
    }  # fmt: skip
    for row in found:
        assert given(row, *columns) == given(api[row["event_id"]], *columns)
    by_id = {row["event_id"]: row for row in found}
    assert given(by_id["901-5001"], "page_url", "view_id") == ("https://shop.example/p/1", "901-aB3dE6")
    assert given(by_id["901-5002"], "page_url", "view_id") == ("https://shop.example/p/1", "901-aB3dE6")
    assert json.loads(by_id["901-5002"]["properties"])["action"]["eventName"] == "intro"
    assert json.loads(by_id["901-5004"]["properties"])["action"]["siteSearchKeyword"] == "pen"
    assert json.loads(by_id["order-o-1"]["items"]) == [
        {"sku": "mug", "name": "Mug", "category": "Kitchen", "price": 15.5, "quantity": 2}
    ]


def test_columns_of_a_table_are_fields_of_the_action(rows):
    text = (
        "idSite,idVisit,visitorId,action.type,action.serverTime,action.pageId,action.url,action.productViewSku\n"
        "3,901,a1b2c3d4e5f60718,action,2024-05-01 10:00:00,5001,https://shop.example/p/1,mug\n"
    )
    (row,), _ = load_text(declare("matomo", records="csv"), text)
    columns = ("event_id", "event_name", "occurred_at", "anonymous_id", "session_id_supplied", "page_url")
    assert given(row, *columns) == given(rows[1], *columns)


def test_a_visit_that_has_no_actions_or_is_a_line_is_told():
    visits = json.loads(VISITS.read_text(encoding="utf-8"))
    empty = json.dumps([{**visits[0], "actionDetails": []}])
    for source, text in ((declare("matomo"), empty), (declare("matomo", records="jsonl"), lines(visits))):
        _, booked = load_text(source, text)
        assert booked.landed == 0
        assert {bad.reason for bad in booked.quarantined} == {
            "missing:occurred_at; it looks like visits and not actions: deliver what the API answers as it is, one "
            "array of visits with their actions"
        }


def test_what_is_no_visit_is_one_line_and_every_line_is_accounted_for():
    visits = [json.dumps(visit) for visit in json.loads(VISITS.read_text(encoding="utf-8"))]
    found, booked = load_text(declare("matomo"), f'[{visits[0]}, 7, {{"a": }}, {visits[1]}]')
    assert (booked.lines, booked.landed) == (13, 11)
    assert [(bad.line, bad.reason) for bad in booked.quarantined] == [(8, "not_an_object"), (9, "not_json")]
    assert [row["line"] for row in found] == [*range(1, 8), *range(10, 14)]
