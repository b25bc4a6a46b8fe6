import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.transforms.channels import GA4, LANDING_COLUMNS, add_channel, host_category, source_categories


def channel(
    source: str | None = None, medium: str | None = None, campaign: str | None = None, referrer: str | None = None
) -> str:
    frame = pl.DataFrame(
        [(source, medium, campaign, referrer)], schema=dict.fromkeys(LANDING_COLUMNS, pl.String), orient="row"
    )
    return add_channel(frame)["channel"].item()


@pytest.mark.parametrize(
    ("expected", "source", "medium", "campaign", "referrer"),
    [
        ("Direct", None, None, None, None),
        ("Direct", "(direct)", "(not set)", None, None),
        ("Direct", "(direct)", "(none)", "spring", None),
        ("Direct", "(direct)", None, None, None),
        ("Cross-network", "google", "cpc", "2026 Cross-Network max", None),
        ("Paid Shopping", "amazon", "cpc", None, None),
        ("Paid Shopping", "google", "cpc", "Shopping 2026", None),
        ("Paid Shopping", "google", "cpc", "my shop", None),
        ("Paid Search", "google", "cpc", "workshop", None),
        ("Paid Shopping", "google", "cpc", "eshop", None),
        ("Paid Search", "GOOGLE", "CPC", None, None),
        ("Paid Search", "bing", "ppc", None, None),
        ("Paid Search", "google", "cpm", None, None),
        ("Paid Social", "facebook.com", "paid_social", None, None),
        ("Paid Social", "ig", "retargeting", None, None),
        ("Paid Video", "youtube.com", "cpv", None, None),
        ("Display", "acme", "banner", None, None),
        ("Display", "acme", "cpm", None, None),
        ("Paid Other", "acme", "cpc", None, None),
        ("Paid Other", None, "paid", None, None),
        ("Organic Shopping", "etsy.com", "referral", None, None),
        ("Organic Shopping", "acme", "newsletter", "shopping", None),
        ("Organic Social", "acme", "social network", None, None),
        ("Organic Social", None, None, None, "m.facebook.com"),
        ("Organic Video", "acme", "longvideo", None, None),
        ("Organic Video", None, None, None, "www.youtube.com"),
        ("Organic Search", "acme", "organic", None, None),
        ("Organic Search", "google", None, None, None),
        ("Organic Search", None, None, None, "www.google.com"),
        ("Organic Search", None, None, None, "google.co.uk"),
        ("Organic Search", None, None, None, "fr.search.yahoo.com"),
        ("Referral", None, None, None, "blog.acme.org"),
        ("Referral", "acme", "app", None, None),
        ("Referral", None, None, None, "mail.google.com"),
        ("Email", "e-mail", "x", None, None),
        ("Email", "acme", "E Mail", None, None),
        ("Email", None, "email", None, "blog.acme.org"),
        ("Affiliates", "acme", "affiliates", None, None),
        ("Affiliates", "acme", "affiliate", None, None),
        ("Audio", "acme", "audio", None, None),
        ("SMS", "sms", "x", None, None),
        ("SMS", "acme", "sms", None, None),
        ("Mobile Push", "acme", "web push", None, None),
        ("Mobile Push", "acme", "push-notification", None, None),
        ("Mobile Push", "firebase", "x", None, None),
        ("Unassigned", "acme", "newsletter", None, None),
        ("Unassigned", "acme", None, None, None),
        ("Unassigned", "(direct)", "newsletter", None, None),
    ],
)
def test_the_first_matching_rule_of_ga4_gives_the_channel(
    expected: str, source: str | None, medium: str | None, campaign: str | None, referrer: str | None
) -> None:
    assert channel(source, medium, campaign, referrer) == expected


def test_the_rule_set_has_nineteen_channels_and_a_version() -> None:
    assert (GA4.name, GA4.version, len(GA4.rules) + 1) == ("ga4", "1", 19)


def test_the_list_of_sources_is_complete() -> None:
    categories = source_categories()
    assert len(categories) == 819
    assert set(categories.values()) == {"search", "social", "shopping", "video"}


@pytest.mark.parametrize(
    ("host", "category"),
    [
        ("l.facebook.com", "social"),
        ("deep.below.l.facebook.com", "social"),
        ("WWW.Google.DE", "search"),
        ("google.com.br", "search"),
        ("docs.google.com", None),
        ("notfacebook.com", None),
        ("facebook.com.evil.org", None),
        ("", None),
        ("com", None),
    ],
)
def test_a_host_has_the_category_of_its_parent_domain(host: str, category: str | None) -> None:
    assert host_category(host) == category


def reference_channel(source: str | None, medium: str | None, campaign: str | None, referrer: str | None) -> str:
    source, medium, campaign, referrer = ((text or "").lower() for text in (source, medium, campaign, referrer))
    if source:
        category, medium = source_categories().get(source), medium or "(not set)"
    elif referrer:
        category = host_category(referrer)
        source, medium = referrer.removeprefix("www."), medium or ("organic" if category == "search" else "referral")
    else:
        category, source, medium = None, "(direct)", medium or "(none)"
    paid = bool(re.fullmatch("(.*cp.*|ppc|retargeting|paid.*)", medium))
    shop = category == "shopping" or bool(re.fullmatch("(.*(([^a-df-z]|^)shop|shopping).*)", campaign))
    if source == "(direct)" and medium in {"(none)", "(not set)"}:
        return "Direct"
    if "cross-network" in campaign:
        return "Cross-network"
    if shop and paid:
        return "Paid Shopping"
    if category and paid:
        return {"search": "Paid Search", "social": "Paid Social", "video": "Paid Video"}[category]
    if medium in {"display", "banner", "expandable", "interstitial", "cpm"}:
        return "Display"
    if paid:
        return "Paid Other"
    if shop:
        return "Organic Shopping"
    if category == "social" or medium in {
        "social",
        "social-network",
        "social-media",
        "sm",
        "social network",
        "social media",
    }:
        return "Organic Social"
    if category == "video" or "video" in medium:
        return "Organic Video"
    if category == "search" or medium == "organic":
        return "Organic Search"
    if medium in {"referral", "app", "link"}:
        return "Referral"
    emails = {"email", "e-mail", "e_mail", "e mail"}
    if source in emails or medium in emails:
        return "Email"
    if medium in {"affiliate", "affiliates"}:
        return "Affiliates"
    if medium == "audio":
        return "Audio"
    if "sms" in (source, medium):
        return "SMS"
    if medium.endswith("push") or "mobile" in medium or "notification" in medium or source == "firebase":
        return "Mobile Push"
    return "Unassigned"


SOURCES = st.sampled_from(
    [None, "google", "Facebook", "acme", "youtube", "amazon", "sms", "email", "firebase", "(direct)"]
)
MEDIA = st.sampled_from(
    [
        None,
        "cpc",
        "CPM",
        "ppc",
        "paid x",
        "display",
        "social",
        "video ad",
        "organic",
        "referral",
        "email",
        "affiliate",
        "audio",
        "sms",
        "push",
        "mobile x",
        "(none)",
        "(not set)",
        "other",
    ]
)
CAMPAIGNS = st.sampled_from([None, "shop", "workshop", "e-shopping", "x cross-network", "Shop now", "spring"])
REFERRERS = st.sampled_from([None, "www.google.de", "m.facebook.com", "acme.org", "amazon.de", "vimeo.com"])


@given(st.lists(st.tuples(SOURCES, MEDIA, CAMPAIGNS, REFERRERS), max_size=60))
@settings(max_examples=60, deadline=None)
def test_channels_agree_with_a_plain_reading_of_the_rules(landings: list[tuple[str | None, ...]]) -> None:
    frame = pl.DataFrame(landings, schema=dict.fromkeys(LANDING_COLUMNS, pl.String), orient="row")
    assert add_channel(frame)["channel"].to_list() == [reference_channel(*landing) for landing in landings]
