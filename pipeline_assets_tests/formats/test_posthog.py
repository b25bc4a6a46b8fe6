"""PostHog's event export; what the events hold is in fixtures/posthog.jsonl."""

import json
from decimal import Decimal
from typing import Any

import pytest

from pipeline_assets_tests.formats.landed import FIXTURES, declare, given, load

IDS = ("anonymous_id", "user_id", "further_ids")


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    found, booked = load(declare("posthog"), FIXTURES / "posthog.jsonl")
    assert (booked.lines, booked.landed, list(booked.quarantined)) == (12, 12, [])
    return {row["event_id"].removeprefix("018f-"): row for row in found}


def test_a_page_view_of_an_anonymous_visitor(rows):
    page = rows["1"]
    assert given(page, "event_type", "event_name", "view_id", "session_id_supplied") == (
        "page", "$pageview", "pv-1", "s-1",
    )  # fmt: skip
    assert given(page, *IDS) == ("0190-dev", None, None)
    assert page["occurred_at"].isoformat() == "2024-05-01T10:00:00.123000+00:00"
    assert page["received_at"].isoformat() == "2024-05-01T10:00:01+00:00"
    assert given(page, "page_url", "page_title", "referrer_url") == (
        "https://shop.example/p/1?utm_source=ads&gclid=abc", "Product 1", "https://www.google.com/",
    )  # fmt: skip
    assert given(page, "device_type", "os", "browser", "language", "country", "user_agent") == (
        "desktop", "Mac OS X", "Chrome", "en-GB", "DE", "Mozilla/5.0",
    )  # fmt: skip


def test_the_campaign_that_posthog_remembers_is_not_that_of_the_event(rows):
    assert rows["1"]["utm_source"] is None
    assert json.loads(rows["1"]["properties"])["properties"]["utm_source"] == "long-ago"


def test_identify_links_the_device_to_the_user(rows):
    assert given(rows["2"], "event_type", *IDS) == ("identify", "0190-dev", "user-7", None)
    assert rows["2"]["referrer_url"] is None


def test_an_alias_links_two_ids(rows):
    assert given(rows["4"], "event_type", *IDS) == ("alias", "legacy-99", "user-7", None)


def test_properties_may_be_text(rows):
    order = rows["3"]
    assert given(order, *IDS) == ("0190-dev", "user-7", None)
    assert given(order, "revenue", "currency", "order_id", "is_conversion") == (
        Decimal("19.900000"), "EUR", "o-1", True,
    )  # fmt: skip
    rest = json.loads(order["properties"])
    assert (rest["properties"]["note"], rest["person_properties"]) == ("ab", {"plan": "pro"})
    assert json.loads(rows["9"]["properties"])["properties"] == "not json"


def test_a_screen_of_a_phone_becomes_a_screen_event(rows):
    assert given(rows["5"], "event_type", "page_title", "app_version", "device_type", "session_id_supplied") == (
        "screen", "Home", "3.1", "mobile", "s-2",
    )  # fmt: skip
    assert given(rows["5"], *IDS) == ("anon-phone", None, None)


def test_the_distinct_id_of_a_server_is_a_users_unless_it_says_otherwise(rows):
    assert given(rows["6"], *IDS) == (None, "user-8", None)
    assert given(rows["7"], *IDS) == ("job-1", None, None)


def test_after_a_reset_the_device_goes_on_and_its_new_distinct_id_is_a_further_id(rows):
    assert given(rows["11"], "anonymous_id", "user_id") == ("0190-dev", None)
    assert json.loads(rows["11"]["further_ids"]) == {"posthog_distinct_id": "0191-after-reset"}
    assert given(rows["12"], *IDS) == ("0190-dev", "user-7", None)


def test_how_far_a_page_was_scrolled_when_it_was_left(rows):
    assert given(rows["8"], "event_type", "view_id", "scroll_depth") == ("track", "pv-1", 62.5)
    # A page view repeats the figure of the page before.
    assert rows["1"]["scroll_depth"] is None


def test_groups_are_kept_and_the_sessions_are_the_tracker_s(rows):
    assert rows["10"]["event_type"] == "group"
    assert declare("posthog").sessions.mode == "supplied"
