import dataclasses
import pickle
import random
import re
import string
import subprocess
import sys

import polars as pl
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_assets.declarations.analyses import ChannelRule, Channels
from pipeline_assets.settings import PROJECT_ROOT
from pipeline_assets.transforms import channels
from pipeline_assets.transforms.channels import (
    LANDING_COLUMNS,
    Rule,
    RuleSet,
    add_channel,
    declared_rule_set,
    host_category,
    parse_rule_set,
    rule_set_version,
    source_categories,
    standard_rule_set,
)
from pipeline_assets.transforms.urls import CAMPAIGN_PARAMETERS, CLICK_ID_PARAMETERS, add_url_columns
from pipeline_assets_tests.transforms.channel_reference import reference_channel, reference_traffic

__all__ = ["reference_channel"]

Landing = tuple[str | None, ...]
BOTH = ("ga4", "ga4_plus")


def frame_of(*landings: Landing) -> pl.DataFrame:
    padded = [(*landing, *[None] * (len(LANDING_COLUMNS) - len(landing))) for landing in landings]
    return pl.DataFrame(padded, schema=dict.fromkeys(LANDING_COLUMNS, pl.String), orient="row")


def traffic(*landing: str | None, rules: str | RuleSet = "ga4_plus") -> tuple[str, str, str]:
    """Channel, source and medium of a landing: source, medium, campaign, referrer's host, click id."""
    chosen = standard_rule_set(rules) if isinstance(rules, str) else rules
    return add_channel(frame_of(landing), chosen).select(channels.CHANNEL_COLUMNS).row(0)


def channel(*landing: str | None, rules: str | RuleSet = "ga4_plus") -> str:
    return traffic(*landing, rules=rules)[0]


# --- ga4: the numbered rules of the definitions -------------------------------------------------------


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
        ("Mobile Push Notifications", "acme", "web push", None, None),
        ("Mobile Push Notifications", "acme", "push-notification", None, None),
        ("Mobile Push Notifications", "firebase", "x", None, None),
        ("Unassigned", "acme", "newsletter", None, None),
        ("Unassigned", "acme", None, None, None),
        ("Unassigned", "(direct)", "newsletter", None, None),
    ],
)
def test_the_first_matching_rule_of_ga4_gives_the_channel(
    expected: str, source: str | None, medium: str | None, campaign: str | None, referrer: str | None
) -> None:
    assert channel(source, medium, campaign, referrer, rules="ga4") == expected


NUMBERED = {
    "1 Direct: source (direct) and medium (none) or (not set)": (
        [("(direct)", "(none)"), ("(Direct)", "(NOT SET)"), (None, None, "spring")],
        [("(direct)", "referral"), ("direct", "(none)"), (None, "(none)", None, "acme.org"), ("(direct)", "none")],
    ),
    "2 Cross-network: campaign contains cross-network": (
        [
            ("google", "cpc", "x cross-network y"),
            ("acme", "email", "CROSS-NETWORK"),
            ("amazon", "cpc", "cross-network"),
        ],
        [("google", "cpc", "cross network"), ("google", "cpc", "crossnetwork"), ("cross-network", "cpc", "spring")],
    ),
    "3 Paid Shopping: shop and paid": (
        [("amazon", "cpc"), ("IGShopping", "paid"), ("acme", "ppc", "shop"), ("google", "retargeting", "e-shop")],
        [("amazon", "referral"), ("acme", "ppc", "workshop"), ("acme", "xppc", "shop"), ("acme", "prepaid", "shop")],
    ),
    "4 Paid Search: search category and paid": (
        [("google", "cpc"), ("bing", "paid_search"), ("google", "retargeting"), (None, "cpc", None, "google.de")],
        [
            ("google", "organic"),
            ("acme", "cpc"),
            ("facebook", "cpc"),
            ("google", "prepaid"),
            ("google", "my retargeting"),
        ],
    ),
    "5 Paid Social": (
        [("facebook", "cpc"), ("linkedin", "PAID"), ("pinterest", "ppc"), (None, "paid", None, "m.facebook.com")],
        [("facebook", "social"), ("youtube", "cpc"), ("acme", "paid social")],
    ),
    "6 Paid Video": (
        [("youtube", "cpv cpc"), ("vimeo", "ppc"), ("twitch", "paid-video")],
        [("youtube", "video"), ("acme", "paid video"), ("youtube", "ppcx")],
    ),
    "7 Display: medium display, banner, expandable, interstitial or cpm": (
        [("acme", medium) for medium in ("display", "banner", "Expandable", "interstitial", "cpm")],
        [("acme", "displays"), ("acme", "cpms"), ("google", "cpm"), ("acme", "my banner")],
    ),
    "8 Paid Other: paid": (
        [("acme", "cpc"), ("acme", "xcpx"), ("acme", "ppc"), ("acme", "retargeting"), ("acme", "paidly")],
        [("acme", "unpaid"), ("acme", "ppcs"), ("acme", "c p c"), ("acme", "retargetings")],
    ),
    "9 Organic Shopping: shop": (
        [
            ("etsy",),
            ("acme", "x", "Shop"),
            ("acme", "x", "e-shop"),
            ("acme", "x", "eshop"),
            ("acme", "x", "workshopping"),
        ],
        [("acme", "x", "workshop"), ("acme", "x", "sho p"), ("shop", "x"), ("acme", "cpc", "shop")],
    ),
    "10 Organic Social: social category or a medium of social": (
        [("facebook", "referral")]
        + [
            ("acme", medium)
            for medium in ("social", "social-network", "social-media", "SM", "social network", "social media")
        ],
        [("acme", "socials"), ("acme", "social_media"), ("acme", "sms"), ("facebook", "cpc")],
    ),
    "11 Organic Video: video category or medium contains video": (
        [("youtube", "referral"), ("acme", "my Video ad"), ("acme", "videos")],
        [("acme", "vide o"), ("video", "x"), ("acme", "video cpc")],
    ),
    "12 Organic Search: search category or medium organic": (
        [("google", "referral"), ("acme", "ORGANIC"), ("google",), (None, None, None, "www.bing.com")],
        [("acme", "organically"), ("organic", "x"), ("google", "cpc")],
    ),
    "13 Referral: medium referral, app or link": (
        [("acme", "referral"), ("acme", "App"), ("acme", "link"), (None, None, None, "acme.org")],
        [("acme", "referrals"), ("acme", "apps"), ("referral", "x"), ("facebook", "referral")],
    ),
    "14 Email: source or medium email, e-mail, e_mail, e mail": (
        [(name, "x") for name in ("email", "e-mail", "e_mail", "E Mail")]
        + [("acme", name) for name in ("Email", "e-mail", "e_mail", "e mail")],
        [("acme", "emails"), ("e.mail", "x"), ("acme", "newsletter"), ("email", "referral")],
    ),
    "15 Affiliates: medium affiliate(s)": (
        [("acme", "affiliate"), ("acme", "AFFILIATES")],
        [("acme", "affiliation"), ("affiliate", "x"), ("acme", "affiliatess")],
    ),
    "16 Audio: medium audio": ([("acme", "Audio")], [("acme", "audios"), ("audio", "x")]),
    "17 SMS: source or medium sms": (
        [("sms", "x"), ("acme", "SMS")],
        [("acme", "sm"), ("acme", "mms"), ("acme", "sms ad")],
    ),
    "18 Mobile Push Notifications: medium ends with push or contains mobile or notification, or source firebase": (
        [("acme", "push"), ("acme", "Web Push"), ("acme", "x mobile y"), ("acme", "notifications"), ("Firebase", "x")],
        [("acme", "pushed"), ("push", "x"), ("acme", "mobil"), ("firebase2", "x")],
    ),
    "19 Unassigned": (
        [("acme", "newsletter"), ("acme",), ("acme", "(none)"), ("acme", "(not set)"), (None, "x")],
        [("acme", "referral"), (None, None)],
    ),
}
CASES = [
    pytest.param(rule.split(":")[0].split(" ", 1)[1].strip(), landing, fits, id=f"{rule[:24]}-{landing}")
    for rule, (examples, near_misses) in NUMBERED.items()
    for fits, landings in ((True, examples), (False, near_misses))
    for landing in landings
]


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize(("expected", "landing", "fits"), CASES)
def test_every_numbered_rule_takes_its_examples_and_leaves_what_nearly_fits(
    expected: str, landing: Landing, fits: bool, rules: str
) -> None:
    assert (channel(*landing, rules=rules) == expected) is fits


def test_the_channels_of_ga4_stand_in_the_order_of_the_definitions() -> None:
    order = list(dict.fromkeys(rule.channel for rule in standard_rule_set("ga4").rules))
    assert [*order, standard_rule_set("ga4").otherwise] == [
        rule.split(":")[0].split(" ", 1)[1].strip() for rule in NUMBERED
    ]


@pytest.mark.parametrize(
    ("landing", "first", "second"),
    [
        (("(direct)", "(none)", "cross-network"), "Direct", "Cross-network"),
        (("amazon", "cpc", "cross-network"), "Cross-network", "Paid Shopping"),
        (("google", "cpc", "shop"), "Paid Shopping", "Paid Search"),
        (("google", "cpm"), "Paid Search", "Display"),
        (("facebook", "cpm"), "Paid Social", "Display"),
        (("youtube", "cpm"), "Paid Video", "Display"),
        (("acme", "cpm"), "Display", "Paid Other"),
        (("acme", "paid", "shop now"), "Paid Shopping", "Organic Shopping"),
        (("facebook", "x", "shop"), "Organic Shopping", "Organic Social"),
        (("youtube", "social"), "Organic Social", "Organic Video"),
        (("google", "video"), "Organic Video", "Organic Search"),
        (("google", "referral"), "Organic Search", "Referral"),
        (("email", "referral"), "Referral", "Email"),
        (("email", "affiliate"), "Email", "Affiliates"),
        (("sms", "affiliate"), "Affiliates", "SMS"),
        (("sms", "audio"), "Audio", "SMS"),
        (("sms", "push"), "SMS", "Mobile Push Notifications"),
    ],
)
def test_the_first_match_wins(landing: Landing, first: str, second: str) -> None:
    names = [rule.channel for rule in standard_rule_set("ga4").rules]
    assert names.index(first) < names.index(second)
    assert channel(*landing, rules="ga4") == first


def test_ga4_knows_neither_aliases_nor_click_ids_nor_ai_assistants() -> None:
    assert traffic("gads", "cpc", rules="ga4") == ("Paid Other", "gads", "cpc")
    assert traffic(None, None, None, None, "gclid", rules="ga4") == ("Direct", "(direct)", "(none)")
    assert traffic(None, None, None, "chatgpt.com", rules="ga4") == ("Referral", "chatgpt.com", "referral")
    assert traffic("m.facebook.com.evil.org", rules="ga4")[0] == "Unassigned"
    assert traffic(None, None, None, "WWW.Google.de", rules="ga4") == ("Organic Search", "google.de", "organic")


# --- The list of sources ------------------------------------------------------------------------------


def test_the_list_of_sources_is_complete() -> None:
    categories = source_categories()
    assert len(categories) == 819
    assert set(categories.values()) == {"search", "social", "shopping", "video"}


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize("rename", [str, str.upper], ids=["as listed", "upper case"])
def test_all_819_listed_sources_have_their_category(rules: str, rename: type[str]) -> None:
    webmail = {"email.seznam.cz", "mail.rambler.ru", "mail.yandex.ru"} if rules == "ga4_plus" else set()
    sources = [source for source in source_categories() if source not in webmail]
    landings = [(rename(source), medium) for source in sources for medium in ("cpc", "x")]
    found = add_channel(frame_of(*landings), standard_rule_set(rules))["channel"].to_list()
    expected = [
        f"{kind} {source_categories()[source].title()}" for source in sources for kind in ("Paid", "Organic")
    ]  # fmt: skip
    assert found == expected


@pytest.mark.parametrize(
    ("host", "category"),
    [
        ("l.facebook.com", "social"),
        ("deep.below.l.facebook.com", "social"),
        ("WWW.Google.DE", "search"),
        ("google.com.br", "search"),
        ("google.shop.de", None),
        ("google.co.info", None),
        ("google.com", "search"),
        ("google.co.jp", "search"),
        ("google.evi.de", None),
        ("google.net.de", None),
        ("google.info", None),
        ("google.evil.com", None),
        ("blog.google", None),
        ("agency.social", None),
        ("mygoogle.com", None),
        ("notgoogle.de", None),
        ("google.de.evil.com", None),
        ("10.0.0.1", None),
        ("[2001:db8::1]", None),
        ("xn--gogle-jua.com", None),
        ("docs.google.com", None),
        ("notfacebook.com", None),
        ("facebook.com.evil.org", None),
        ("", None),
        ("com", None),
        ("." * 300, None),
    ],
)
def test_a_host_has_the_category_of_its_parent_domain(host: str, category: str | None) -> None:
    assert host_category(host) == category


# --- ga4_plus -----------------------------------------------------------------------------------------


def test_ga4_plus_is_the_default() -> None:
    frame = frame_of((None, None, None, "chatgpt.com"))
    assert add_channel(frame).equals(add_channel(frame, standard_rule_set("ga4_plus")))
    assert rule_set_version() == rule_set_version(standard_rule_set("ga4_plus"))
    assert channels.GA4_PLUS is standard_rule_set()
    assert channels.GA4 is standard_rule_set("ga4")


def test_ga4_plus_has_all_rules_of_ga4_in_their_order_and_one_more_channel() -> None:
    standard, plus = standard_rule_set("ga4").rules, standard_rule_set("ga4_plus").rules
    assert [rule for rule in plus if rule in standard] == list(standard)
    assert {rule.channel for rule in plus} - {rule.channel for rule in standard} == {"AI Assistants"}
    names = [rule.channel for rule in plus]
    last_paid, first_organic = len(names) - names[::-1].index("Paid Other"), names.index("Organic Shopping")
    assert set(names[last_paid:first_organic]) == {"AI Assistants"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("fb", "facebook"),
        ("IG", "instagram"),
        ("insta", "instagram"),
        ("twitter", "twitter"),
        ("x", "twitter"),
        ("t.co", "twitter"),
        ("yt", "youtube"),
        ("gads", "google"),
        ("AdWords", "google"),
        ("li", "linkedin"),
        ("lnkd.in", "linkedin"),
        ("m.facebook.com", "facebook"),
        ("www.google.co.uk", "google"),
        ("yahoo.co.jp", "yahoo"),
        ("telegram", "t.me"),
        ("mail.google.com", "mail.google.com"),
        ("notfb", "notfb"),
        ("x.y", "x.y"),
        ("fb ", "fb "),
    ],
)
def test_a_source_is_found_under_its_other_names(source: str, expected: str) -> None:
    assert traffic(source, "cpc")[1] == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("l.facebook.com", ("Organic Social", "facebook", "referral")),
        ("t.co", ("Organic Social", "twitter", "referral")),
        ("lnkd.in", ("Organic Social", "linkedin", "referral")),
        ("youtu.be", ("Organic Video", "youtube", "referral")),
        ("www.google.com.br", ("Organic Search", "google", "organic")),
        ("com.google.android.googlequicksearchbox", ("Organic Search", "google", "organic")),
        ("de.search.yahoo.com", ("Organic Search", "yahoo", "organic")),
        ("www.amazon.de", ("Organic Shopping", "amazon", "referral")),
        ("vimeo.com", ("Organic Video", "vimeo.com", "referral")),
        ("docs.google.com", ("Referral", "docs.google.com", "referral")),
        ("www.blog.acme.org", ("Referral", "blog.acme.org", "referral")),
        ("yt", ("Organic Video", "youtube", "referral")),
    ],
)
def test_a_bare_referrer_gives_the_organic_channel_of_its_category_or_referral(
    host: str, expected: tuple[str, str, str]
) -> None:
    assert traffic(None, None, None, host) == expected


def test_every_alias_leads_to_a_source_that_has_a_category_and_is_no_alias_itself() -> None:
    rules = standard_rule_set("ga4_plus")
    assert {source for _, source in (*rules.aliases, *rules.ad_names)} <= source_categories().keys() | dict(
        rules.categories
    ).keys()
    assert not {source for _, source in rules.aliases} & {name for name, _ in rules.aliases}
    assert all(name == name.lower().strip() for pair in rules.aliases for name in pair)


@pytest.mark.parametrize(
    ("click_id", "expected"),
    [
        ("gclid", ("Paid Search", "google", "cpc")),
        ("gbraid", ("Paid Search", "google", "cpc")),
        ("wbraid", ("Paid Search", "google", "cpc")),
        ("dclid", ("Display", "google", "display")),
        ("msclkid", ("Paid Search", "bing", "cpc")),
        ("yclid", ("Paid Search", "yandex", "cpc")),
        ("fbclid", ("Organic Social", "facebook", "social")),
        ("ttclid", ("Paid Social", "tiktok", "paid_social")),
        ("twclid", ("Paid Social", "twitter", "paid_social")),
        ("li_fat_id", ("Paid Social", "linkedin", "paid_social")),
        ("rdt_cid", ("Paid Social", "reddit", "paid_social")),
        ("epik", ("Paid Social", "pinterest", "paid_social")),
        ("sccid", ("Paid Social", "snapchat", "paid_social")),
        ("irclickid", ("Affiliates", "impact", "affiliate")),
        ("GCLID", ("Paid Search", "google", "cpc")),
        ("unknown", ("Direct", "(direct)", "(none)")),
        ("", ("Direct", "(direct)", "(none)")),
    ],
)
def test_a_click_id_says_platform_and_medium_where_the_url_has_no_utm(
    click_id: str, expected: tuple[str, str, str]
) -> None:
    assert traffic(None, None, None, None, click_id) == expected


def test_every_click_id_that_urls_are_searched_for_is_known() -> None:
    assert {click.parameter for click in standard_rule_set("ga4_plus").click_ids} == set(CLICK_ID_PARAMETERS)


def test_a_click_id_of_ads_outranks_the_referrer() -> None:
    assert traffic(None, None, None, "www.youtube.com", "gclid") == ("Paid Search", "google", "cpc")
    assert traffic(None, None, None, "www.google.com", "gclid") == ("Paid Search", "google", "cpc")


def test_fbclid_is_on_unpaid_clicks_too_so_it_is_organic_and_yields_to_the_referrer() -> None:
    assert traffic(None, None, None, "m.facebook.com", "fbclid") == ("Organic Social", "facebook", "referral")
    assert traffic(None, None, None, "l.instagram.com", "fbclid") == ("Organic Social", "instagram", "referral")
    assert traffic(None, None, None, "www.google.com", "fbclid") == ("Organic Search", "google", "organic")
    assert traffic(None, "paid_social", None, None, "fbclid") == ("Paid Social", "facebook", "paid_social")


def test_utm_outranks_the_click_id_which_fills_a_medium_that_is_missing_for_its_own_platform() -> None:
    assert traffic("newsletter", "email", None, None, "gclid") == ("Email", "newsletter", "email")
    assert traffic("google", "organic", None, None, "gclid") == ("Organic Search", "google", "organic")
    assert traffic("gads", None, None, None, "gclid") == ("Paid Search", "google", "cpc")
    assert traffic("newsletter", None, None, None, "gclid") == ("Unassigned", "newsletter", "(not set)")
    assert traffic(None, "cpm", None, None, "gclid") == ("Paid Search", "google", "cpm")
    assert traffic(None, None, "spring shop", None, "gclid") == ("Paid Shopping", "google", "cpc")


@pytest.mark.parametrize(
    "host",
    [
        "chatgpt.com",
        "chat.openai.com",
        "www.perplexity.ai",
        "gemini.google.com",
        "bard.google.com",
        "copilot.microsoft.com",
        "claude.ai",
        "www.meta.ai",
        "grok.com",
        "you.com",
        "chat.deepseek.com",
        "chat.mistral.ai",
        "com.openai.chatgpt",
    ],
)
def test_ai_assistants_are_found_by_source_and_by_referrer(host: str) -> None:
    assert channel(host) == channel(host.upper(), "referral") == channel(None, None, None, host) == "AI Assistants"


def test_ai_assistants_come_before_the_organic_channels_and_after_the_paid_ones() -> None:
    assert traffic("chatgpt.com") == ("AI Assistants", "chatgpt.com", "(not set)")
    assert channel("chatgpt", "organic") == channel("chatgpt", "social", "shop") == "AI Assistants"
    assert channel("acme", "ai-assistant") == "AI Assistants"
    assert channel("chatgpt.com", "cpc") == "Paid Other"
    assert channel("chatgpt.com", "display") == "Display"
    assert channel("chatgpt.com", "cpc", "shop") == "Paid Shopping"


def test_utm_source_outranks_the_referrer_of_an_ai_assistant() -> None:
    assert channel("newsletter", "email", None, "chatgpt.com") == "Email"
    assert traffic(None, "link", None, "chatgpt.com") == ("AI Assistants", "chatgpt.com", "link")


@pytest.mark.parametrize(
    "host", ["openai.com", "platform.openai.com", "google.com", "notclaude.ai", "claude.ai.evil.org"]
)
def test_what_resembles_an_ai_assistant_is_none(host: str) -> None:
    assert channel(None, None, None, host) != "AI Assistants"


# --- Hosts --------------------------------------------------------------------------------------------

BARE_NAMES = sorted(
    {name for name in source_categories() if "." not in name}
    | {name for pair in standard_rule_set("ga4_plus").aliases for name in pair if "." not in name}
    | {name for name, _ in standard_rule_set("ga4_plus").categories if "." not in name}
)
UNLISTED = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8).map(lambda text: f"q7{text}")
COUNTRIES = st.text(string.ascii_lowercase, min_size=2, max_size=2)
COUNTRY_ENDINGS = st.one_of(
    st.just("com"), COUNTRIES, COUNTRIES.map("co.{}".format), COUNTRIES.map("com.{}".format)
)  # fmt: skip


@pytest.mark.parametrize("rules", BOTH)
@given(st.sampled_from(BARE_NAMES), UNLISTED)
@example("li", "q7acme")
@example("google", "q7blog")
@settings(max_examples=80, deadline=None)
def test_a_bare_name_never_matches_a_top_level_domain(rules: str, name: str, label: str) -> None:
    expected = ("Referral", f"{label}.{name}", "referral")
    assert traffic(None, None, None, f"{label}.{name}", rules=rules) == expected


@pytest.mark.parametrize("rules", BOTH)
@given(
    st.sampled_from([name for name in source_categories() if re.fullmatch("[a-z0-9-]+", name)]),
    COUNTRY_ENDINGS,
    st.sampled_from(["", "www."]),
)
@settings(max_examples=80, deadline=None)
def test_a_bare_name_on_the_list_matches_its_host_under_the_ending_of_any_country(
    rules: str, name: str, ending: str, www: str
) -> None:
    host = f"{name}.{ending}"
    if host not in source_categories():
        kind = channel(None, None, None, www + host, rules=rules)
        assert kind == f"Organic {source_categories()[name].title()}"


@pytest.mark.parametrize("rules", BOTH)
@given(
    st.sampled_from([name for name in BARE_NAMES if re.fullmatch("[a-z0-9-]{3,}", name)]),
    COUNTRY_ENDINGS,
    UNLISTED,
    st.sampled_from(["{name}.{label}.{ending}", "{label}{name}.{ending}", "{name}.{ending}.{label}", "{name}.{label}"]),
)
@settings(max_examples=120, deadline=None)
def test_a_bare_name_matches_neither_below_another_domain_nor_under_another_ending(
    rules: str, name: str, ending: str, label: str, shape: str
) -> None:
    host = shape.format(name=name, label=label, ending=ending)
    begins_like_a_server = name in {"mastodon", "webmail"}
    if not begins_like_a_server:
        assert traffic(None, None, None, host, rules=rules) == ("Referral", host, "referral")


@pytest.mark.parametrize(
    ("referrer", "expected"),
    [
        ("HTTPS://WWW.Google.DE:443/", ("Organic Search", "google", "organic")),
        ("https://www.google.com./", ("Organic Search", "google", "organic")),
        ("https://google.cat", ("Organic Search", "google", "organic")),
        ("https://deepmind.google/", ("Referral", "deepmind.google", "referral")),
        ("https://blog.google/products", ("Referral", "blog.google", "referral")),
        ("https://store.google/", ("Referral", "store.google", "referral")),
        ("https://agency.social/", ("Referral", "agency.social", "referral")),
        ("https://acme.li/", ("Referral", "acme.li", "referral")),
        ("https://mastodon.social/@a", ("Organic Social", "mastodon.social", "referral")),
        ("android-app://com.google.android.gm/", ("Email", "mail.google.com", "referral")),
        (
            "android-app://com.google.android.googlequicksearchbox/https/www.google.com",
            ("Organic Search", "google", "organic"),
        ),
        ("https://l.facebook.com/l.php?u=x", ("Organic Social", "facebook", "referral")),
        ("http://lm.facebook.com/", ("Organic Social", "facebook", "referral")),
        ("https://out.reddit.com/t3_x", ("Organic Social", "reddit", "referral")),
        ("https://lnkd.in/x", ("Organic Social", "linkedin", "referral")),
        ("https://t.co/x", ("Organic Social", "twitter", "referral")),
        ("https://away.vk.com/away.php", ("Organic Social", "vk.com", "referral")),
        ("https://xn--80ak6aa92e.com/", ("Referral", "xn--80ak6aa92e.com", "referral")),
        ("http://10.0.0.1:8080/", ("Referral", "10.0.0.1", "referral")),
        ("http://[2001:db8::1]:8080/", ("Referral", "[2001:db8::1]", "referral")),
        ("http://localhost:3000/", ("Referral", "localhost", "referral")),
        ("https://shop.example/cart", ("Direct", "(direct)", "(none)")),
        ("https://accounts.google.com/", ("Referral", "accounts.google.com", "referral")),
        ("https://www.paypal.com/", ("Referral", "paypal.com", "referral")),
    ],
)
def test_a_referrer_as_browsers_send_it_gives_the_channel(referrer: str, expected: tuple[str, str, str]) -> None:
    given = {"page_url": "https://www.shop.example/start", "referrer_url": referrer}
    columns = {name: given.get(name) for name in ("page_url", "referrer_url", *CAMPAIGN_PARAMETERS, "click_id")}
    landing = add_url_columns(pl.DataFrame([columns], schema=dict.fromkeys(columns, pl.String), orient="row"))
    assert add_channel(landing).select(channels.CHANNEL_COLUMNS).row(0) == expected


@pytest.mark.parametrize(
    ("expected", "hosts"),
    [
        (
            "Organic Search",
            "www.google.com google.co.in images.google.de maps.google.com scholar.google.fr news.google.com "
            "www.bing.com cn.bing.com duckduckgo.com html.duckduckgo.com search.yahoo.com de.search.yahoo.com "
            "search.yahoo.co.jp yandex.ru yandex.com.tr ya.ru search.brave.com kagi.com www.startpage.com "
            "s1-eu4.startpage.com www.ecosia.org www.qwant.com lite.qwant.com www.mojeek.com mojeek.co.uk "
            "presearch.com swisscows.com metager.org metager.de yep.com www.baidu.com m.baidu.com www.sogou.com "
            "www.so.com m.sm.cn so.toutiao.com search.naver.com m.search.naver.com search.daum.net search.zum.com "
            "search.seznam.cz coccoc.com go.mail.ru nova.rambler.ru suche.web.de suche.gmx.net suche.t-online.de "
            "www.ask.com com.google.android.googlequicksearchbox",
        ),
        (
            "Organic Social",
            "l.facebook.com lm.facebook.com m.facebook.com fb.watch l.instagram.com www.threads.net l.threads.com "
            "bsky.app go.bsky.app mastodon.social mastodon.online mastodon.example mstdn.jp fosstodon.org t.co x.com "
            "twitter.com www.linkedin.com lnkd.in com.linkedin.android www.tiktok.com vm.tiktok.com www.douyin.com "
            "www.reddit.com old.reddit.com out.reddit.com redd.it www.pinterest.com pinterest.de pin.it "
            "www.snapchat.com discord.com ptb.discord.com discord.gg t.me web.telegram.org org.telegram.messenger "
            "wa.me web.whatsapp.com vk.com away.vk.com m.vk.com ok.ru line.me liff.line.me story.kakao.com weibo.com "
            "m.weibo.cn www.xiaohongshu.com xhslink.com mp.weixin.qq.com chat.zalo.me truthsocial.com nextdoor.com "
            "nextdoor.co.uk www.lemon8-app.com news.ycombinator.com lobste.rs www.quora.com de.quora.com t.umblr.com "
            "someone.substack.com www.zhihu.com tieba.baidu.com my.mail.ru linktr.ee blog.naver.com cafe.naver.com "
            "medium.com",
        ),
        (
            "Organic Video",
            "www.youtube.com m.youtube.com youtu.be com.google.android.youtube vimeo.com www.twitch.tv "
            "www.bilibili.com rumble.com odysee.com rutube.ru www.dailymotion.com kick.com",
        ),
        (
            "AI Assistants",
            "chatgpt.com chat.openai.com www.perplexity.ai gemini.google.com notebooklm.google.com "
            "copilot.microsoft.com copilot.cloud.microsoft claude.ai character.ai www.doubao.com chat.deepseek.com "
            "grok.com www.meta.ai you.com www.phind.com poe.com chat.mistral.ai www.kimi.com kimi.moonshot.cn "
            "chat.qwen.ai yuanbao.tencent.com yiyan.baidu.com duck.ai com.openai.chatgpt com.anthropic.claude "
            "com.microsoft.copilot",
        ),
        (
            "Email",
            "mail.google.com com.google.android.gm outlook.live.com outlook.office.com outlook.office365.com "
            "eur01.safelinks.protection.outlook.com mail.yahoo.com mail.yahoo.co.jp us-mg5.mail.yahoo.com "
            "mail.aol.com mail.proton.me e.mail.ru mail.ru mail.yandex.ru mail.yandex.com mail.rambler.ru web.de "
            "navigator-bs.web.de navigator-lxa.gmx.net www.gmx.net gmx.ch deref-gmx.net deref-web.de www.icloud.com "
            "mail.zoho.com mail.zoho.eu app.fastmail.com email.t-online.de email.seznam.cz poczta.onet.pl "
            "mail.naver.com mail.qq.com mail.163.com webmail.acme.example",
        ),
        ("Display", "googleads.g.doubleclick.net tpc.googlesyndication.com trc.taboola.com paid.outbrain.com"),
        (
            "Referral",
            "accounts.google.com docs.google.com blog.google google.dev about.gitlab.com news.mail.ru www.paypal.com "
            "acme.social acme.li acme.yt acme.tt acme.fb notya.ru mykagi.com bsky.app.evil.com evilthreads.net "
            "openai.com microsoft.com live.com login.live.com webmail mastodon",
        ),
    ],
)  # fmt: skip
def test_the_places_that_people_come_from_today_have_their_channel(expected: str, hosts: str) -> None:
    found = {host: channel(None, None, None, host) for host in hosts.split()}
    # A host of one label is the whole name, not an ending.
    expected_of = {host: "Organic Social" if host == "mastodon" else expected for host in found}
    assert found == expected_of


# --- Names of advertising -----------------------------------------------------------------------------

FREE_MEDIA = (
    None,
    "(none)",
    "(not set)",
    "organic",
    "referral",
    "social",
    "video",
    "email",
    "affiliate",
    "newsletter",
    "x",
)
ADVERTISING = {
    "Paid Search": (
        "google_ads google-ads googleads GoogleAds AdWords google_adwords gads bing_ads bing-ads microsoft_ads msads "
        "yandex_ads baidu-ads naver_ads duckduckgo-ads apple_search_ads google_ad google-advertising"
    ),
    "Paid Social": (
        "fb-ads fbads fb_ad facebook_ads FacebookAds meta_ads meta-ads instagram-ads ig_ads tiktok_ads tt-ads "
        "linkedin_ads liads snapchat_ads snap-ads pinterest_ads twitter_ads x_ads reddit_ads vk_ads whatsapp_ads "
        "quora-ads threads_ads line_ads kakao_ads telegram_ads"
    ),
    "Paid Video": "yt-ads ytads youtube_ads YouTubeAds vimeo_ads bilibili_ads",
    "Paid Shopping": "amazon_ads amazon-ads ebay_ads etsy-ads",
    "Paid Other": "chatgpt_ads gmail-ads",
    "Display": "dv360 gdn google_display taboola outbrain criteo taboola_ads",
}  # fmt: skip


@pytest.mark.parametrize(
    ("expected", "name"), [(expected, name) for expected, names in ADVERTISING.items() for name in names.split()]
)
def test_a_name_that_only_advertising_has_is_paid_whatever_a_free_medium_says(expected: str, name: str) -> None:
    found = add_channel(frame_of(*((name, medium) for medium in FREE_MEDIA)))["channel"].to_list()
    assert found == [expected] * len(FREE_MEDIA)


@pytest.mark.parametrize("name", ["Google Ads", "Google - Ads", "google  ads", "Meta Advertising", "apple search ads"])
def test_words_of_a_name_of_advertising_may_be_apart(name: str) -> None:
    assert channel(name) in {"Paid Search", "Paid Social"}


def test_a_paid_medium_and_the_campaign_say_more_than_a_name_of_advertising() -> None:
    assert channel("google_ads", "display") == channel("fb-ads", "banner") == "Display"
    assert channel("google_ads", "cpm") == "Paid Search"
    assert channel("google_ads", None, "pmax cross-network") == "Cross-network"
    assert channel("google_ads", "organic", "shopping de") == channel("google_ads", "cpc", "shop") == "Paid Shopping"


def test_a_name_of_advertising_has_its_platform_as_source_and_the_medium_of_the_tag() -> None:
    assert traffic("FB-Ads", "Social") == ("Paid Social", "facebook", "social")
    assert traffic("google_ads") == ("Paid Search", "google", "(not set)")
    assert traffic("google_ads", None, None, None, "gclid") == ("Paid Search", "google", "cpc")
    assert traffic("yt-ads", None, None, "www.google.com") == ("Paid Video", "youtube", "(not set)")


@pytest.mark.parametrize(
    "name", ["ads", "-ads", "acme_ads", "downloads", "uploads", "leads", "roads", "threads", "ad", "googlead", "fbad",
             "adsgoogle", "google_ads_team", "facebook", "www.google.ads"]
)  # fmt: skip
def test_what_resembles_a_name_of_advertising_is_not_paid(name: str) -> None:
    assert not channel(name, "x").startswith(("Paid", "Display"))


def test_no_name_on_the_lists_is_taken_for_advertising_but_those_that_are_meant() -> None:
    rules = standard_rule_set("ga4_plus")
    names = {*source_categories(), *dict(rules.aliases), *(name for name, _ in rules.categories)} - {"apple search ads"}
    tagged = add_channel(frame_of(*((name, "x") for name in sorted(names)))).select("utm_source", "channel")
    paid = tagged.filter(pl.col("channel").str.starts_with("Paid"))
    assert paid.is_empty()


@pytest.mark.parametrize("medium", FREE_MEDIA)
def test_ga4_knows_no_names_of_advertising(medium: str | None) -> None:
    assert not channel("google_ads", medium, rules="ga4").startswith("Paid")


def test_a_team_may_ask_for_advertising_and_rename_whose_it_is() -> None:
    assert channel("fb-ads", "x", rules=own(Rule("Ads", advertising="fb.*"))) == "Ads"
    assert channel("fb", "cpc", rules=own(Rule("Ads", advertising=".*"))) == "Paid Social"
    renamed = own(aliases={"facebook": "meta", "google_ads": "sea", "gg": "google_ads"})
    assert traffic("fb-ads", rules=renamed) == ("Paid Social", "meta", "(not set)")
    assert traffic("google_ads", rules=renamed) == ("Paid Search", "sea", "(not set)")
    assert channel("gg", "x", rules=renamed) == "Paid Search"


# --- A team's own rules -------------------------------------------------------------------------------


def own(*rules: Rule, aliases: dict[str, str] | None = None, of: str = "ga4_plus") -> RuleSet:
    return standard_rule_set(of).with_own(rules, aliases)


@pytest.mark.parametrize("of", BOTH)
def test_a_teams_own_rules_come_before_the_standard_ones_and_the_first_wins(of: str) -> None:
    rules = own(Rule("Podcast", source="over.*"), Rule("Anything", medium=".*"), of=of)
    assert channel("Overcast", "cpc", rules=rules) == "Podcast"
    assert channel("google", "cpc", rules=rules) == "Anything"
    assert channel(None, None, rules=own(Rule("Home", source=r"\(direct\)"), of=of)) == "Home"


@pytest.mark.parametrize(
    ("rule", "fits", "misses"),
    [
        (Rule("Own", source="facebook"), ("fb", "x"), ("facebook2", "x")),
        (Rule("Own", medium="qr|flyer"), ("x", "QR"), ("x", "qr code")),
        (Rule("Own", campaign="spring.*"), ("x", "y", "Spring\n26"), ("x", "y", "a spring")),
        (Rule("Own", category="social|ai"), ("claude",), ("google",)),
        (Rule("Own", referrer_host=r"news\.example"), ("x", "y", None, "WWW.news.example"), ("news.example", "y")),
        (Rule("Own", click_id_type="gclid"), ("x", "y", None, None, "gclid"), ("x", "y", None, None, "gbraid")),
        (
            Rule("Own", source="google", medium="CPC", campaign=".*brand.*"),
            ("google", "cpc", "a brand"),
            ("google", "cpc"),
        ),
        (Rule("Own", campaign=".*"), ("x", "y", "z"), ("x", "y", "")),
    ],
)
def test_conditions_are_about_the_whole_value_in_any_case_and_all_must_hold(
    rule: Rule, fits: Landing, misses: Landing
) -> None:
    assert channel(*fits, rules=own(rule)) == "Own"
    assert channel(*misses, rules=own(rule)) != "Own"


@pytest.mark.parametrize("of", BOTH)
def test_a_teams_own_aliases_come_before_the_standard_ones(of: str) -> None:
    assert traffic("NL", "email", rules=own(aliases={" nl": "Newsletter"}, of=of))[1] == "newsletter"
    assert traffic(
        None, None, None, "news.partner.example", rules=own(aliases={"partner.example": "partner"}, of=of)
    ) == (
        "Referral",
        "partner",
        "referral",
    )
    assert traffic("fb", "cpc", rules=own(aliases={"fb": "fan blog"}, of=of))[1] == "fan blog"


def test_a_source_that_is_renamed_keeps_its_category_and_its_other_names_follow() -> None:
    rules = own(aliases={"twitter": "x", "facebook": "Meta social"})
    for name in ("twitter", "x", "t.co"):
        assert traffic(name, "cpc", rules=rules) == ("Paid Social", "x", "cpc")
    assert traffic(None, None, None, "l.facebook.com", rules=rules) == ("Organic Social", "meta social", "referral")
    assert traffic(None, None, None, None, "fbclid", rules=rules) == ("Organic Social", "meta social", "social")
    assert traffic("fb", None, None, None, "fbclid", rules=rules) == ("Organic Social", "meta social", "social")


def test_a_teams_alias_may_lead_to_another_name_of_a_known_source_and_has_its_category() -> None:
    assert traffic("our page", "cpc", rules=own(aliases={"our page": "insta"})) == ("Paid Social", "insta", "cpc")


def test_rules_of_a_team_that_are_added_later_come_first() -> None:
    rules = own(Rule("A", medium="x"), aliases={"a": "b"}).with_own([Rule("B", medium="x")], {"a": "c"})
    assert traffic("a", "x", rules=rules) == ("B", "c", "x")


def test_declared_rule_set_are_the_teams_before_the_named_ones() -> None:
    declared = Channels.model_validate(
        {
            "rules": "ga4",
            "own": [{"channel": "Podcast", "source": "overcast", "medium": ".*"}],
            "aliases": {"oc": "overcast"},
        }
    )
    assert declared_rule_set(declared) == own(
        Rule("Podcast", source="overcast", medium=".*"), aliases={"oc": "overcast"}, of="ga4"
    )
    assert channel("OC", "x", rules=declared_rule_set(declared)) == "Podcast"
    assert declared_rule_set(None) == declared_rule_set(Channels()) == standard_rule_set("ga4_plus")
    assert set(channels.CONDITION_FIELDS) | {"channel"} == set(ChannelRule.model_fields)


def test_the_example_in_the_docs_does_what_it_says() -> None:
    text = (PROJECT_ROOT / "docs" / "model" / "channels.md").read_text(encoding="utf-8")
    example = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    rules = declared_rule_set(Channels.model_validate(example["attributes"]))
    assert channel("overcast", "x", rules=rules) == "Podcast"
    assert channel("gads", "cpc", "our brand", rules=rules) == "Brand Search"
    assert traffic(None, None, None, "shop.partner.example", rules=rules) == ("Partners", "partner", "referral")
    assert traffic("NL", "email", rules=rules) == ("Email", "newsletter", "email")
    assert traffic("fb", "cpc", rules=rules) == ("Paid Social", "meta", "cpc")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            Rule("Own", source="goo(gle"),
            r"rule 2 \(channel 'Own'\), source: 'goo\(gle' is no regular expression: unclosed",
        ),
        (Rule("Own", medium="a)|(b"), r"medium: 'a\)\|\(b' is no regular expression"),
        (Rule("Own", medium="(?=a)a"), r"look-around"),
        (Rule("Own", campaign="(a{1000}){1000}"), r"size limit"),
        (Rule("Own", campaign=""), r"campaign: an empty expression matches nothing"),
        (Rule("Own"), r"rule 2 \(channel 'Own'\): there must be a condition: source, medium"),
        (Rule(" ", source="x"), r"a channel needs a name"),
    ],
)
def test_a_wrong_rule_is_an_error_that_says_where_and_why(rule: Rule, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        own(Rule("Fine", source="x"), rule)


@pytest.mark.parametrize("aliases", [{"": "x"}, {"x": " "}])
def test_an_alias_that_is_empty_is_an_error(aliases: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="An alias of a traffic source needs a name and a source"):
        own(aliases=aliases)


# --- The files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOTH)
def test_a_rule_set_has_a_name_a_version_and_a_provenance(name: str) -> None:
    rules = standard_rule_set(name)
    assert (rules.name, rules.version) == (name, "2")
    assert rules.provenance
    assert standard_rule_set(name) is rules
    assert pickle.loads(pickle.dumps(rules)) == rules
    assert hash(rules)


def test_an_unknown_rule_set_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no rule set '\.\./ga4' of channels; there are ga4, ga4_plus"):
        standard_rule_set("../ga4")


FILE = """
name: x
version: "1"
provenance: here
licence: none
rules: [{channel: A, any_of: [{source: a}]}]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", r"x\.yaml: a mapping was expected"),
        ("a: [", r"x\.yaml: while parsing"),
        ("name: x", "missing: licence, provenance, rules, version"),
        (FILE + "rule: []", "unknown: rule"),
        (FILE.replace("source: a", "sauce: a"), "unknown: sauce"),
        (FILE.replace("source: a", "source: ("), "no regular expression"),
        (FILE.replace("any_of", "all_of"), "missing: any_of"),
        (FILE.replace("channel: A", "channel: A, after: B"), "there is no channel 'B' for 'A' to come after"),
        (FILE + "extends: y", "no rule set 'y'"),
        (FILE + "aliases: {a: [b], c: [b]}", "'b' is an alias of 'c' and something else as well"),
        (FILE + "aliases: {a: [b], c: [a]}", "'a' is an alias of 'c' and something else as well"),
        (FILE + "ad_names: {a: [b], c: [b]}", "'b' is advertising of 'c' and something else as well"),
        (FILE + "categories: {search: [b], ai: [b]}", "'b' is in the category 'ai' and something else as well"),
        (FILE + "ad_suffix: 'ads('", r"ad_suffix: 'ads\(' is no regular expression"),
        (FILE + "click_ids: {gclid: {source: google}}", "missing: medium"),
    ],
)
def test_a_wrong_file_is_an_error_that_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_rule_set(text, "x.yaml")


def test_a_rule_set_in_yaml_gives_the_channel() -> None:
    rules = parse_rule_set(FILE, "x.yaml")
    assert (channel("A", rules=rules), channel("b", rules=rules)) == ("A", "Unassigned")


def test_nothing_is_read_on_import() -> None:
    code = (
        "import sys, pipeline_assets.transforms.channels as c; sys.exit(c._read_rule_set.cache_info().currsize + "
        "c.source_categories.cache_info().currsize)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_version_of_rules_changes_with_whatever_decides_a_channel() -> None:
    rules = standard_rule_set("ga4_plus")
    others = [
        standard_rule_set("ga4"),
        dataclasses.replace(rules, version="3"),
        dataclasses.replace(rules, categories=rules.categories[1:]),
        dataclasses.replace(rules, ad_names=rules.ad_names[1:]),
        dataclasses.replace(rules, ad_suffix=None),
        dataclasses.replace(rules, aliases=rules.aliases[1:]),
        dataclasses.replace(rules, click_ids=rules.click_ids[1:]),
        dataclasses.replace(rules, rules=rules.rules[::-1]),
        rules.with_own([Rule("Own", source="x")]),
        rules.with_own(aliases={"a": "b"}),
    ]
    assert len({rule_set_version(each) for each in (rules, *others)}) == len(others) + 1
    assert rule_set_version(dataclasses.replace(rules, provenance="elsewhere")) == rule_set_version(rules)
    assert rule_set_version(rules.with_own()) == rule_set_version(rules)
    turned = [rules.with_own(aliases=aliases) for aliases in ({"a": "b", "c": "d"}, {"c": "d", "a": "b"})]
    assert rule_set_version(turned[0]) == rule_set_version(turned[1])


# --- Tables -------------------------------------------------------------------------------------------


def test_rows_keep_their_order_and_all_their_columns() -> None:
    landings = [("google", "cpc"), (None, None), ("GOOGLE", "CPC"), ("google", "cpc"), ("fb", "x")] * 50
    random.Random(1).shuffle(landings)
    frame = frame_of(*landings).with_row_index("row").with_columns(channel=pl.lit("old"))
    found = add_channel(frame)
    assert found.drop(channels.CHANNEL_COLUMNS).equals(frame.drop("channel"))
    assert found["channel"].to_list() == [channel(*landing) for landing in landings]
    assert found["traffic_source"].null_count() == found["traffic_medium"].null_count() == 0


def test_a_table_may_lack_the_type_of_the_click_id() -> None:
    frame = frame_of(("fb", "cpc"), (None, None, None, "t.co"))
    assert add_channel(frame.drop("click_id_type")).equals(add_channel(frame).drop("click_id_type"))


@pytest.mark.parametrize("rules", BOTH)
def test_an_empty_table_gets_the_columns(rules: str) -> None:
    found = add_channel(frame_of(), standard_rule_set(rules))
    assert found.schema == dict.fromkeys((*LANDING_COLUMNS, *channels.CHANNEL_COLUMNS), pl.String)


def test_columns_of_another_type_are_read_as_text_and_nan_is_absent() -> None:
    frame = frame_of(("fb", "cpc"), ("acme",))
    categories = frame.cast(pl.Categorical)
    assert add_channel(categories)["channel"].to_list() == ["Paid Social", "Unassigned"]
    nothing = frame.select(pl.lit(None).alias(name) for name in LANDING_COLUMNS)
    nan = frame.select(pl.lit(float("nan")).alias(name) for name in LANDING_COLUMNS)
    assert add_channel(nothing)["channel"].to_list() == add_channel(nan)["channel"].to_list() == ["Direct"]


def test_empty_text_is_absent() -> None:
    assert traffic("", "", "", "", "") == ("Direct", "(direct)", "(none)")


def test_unicode_newlines_and_long_values_never_fail() -> None:
    odd = [
        "\n",
        "cpc\n",
        "\u0130",
        "\u03a3\u03a3",
        "\U0001f600",
        "\ud7ff",
        "a" * 100_000,
        "." * 5_000,
        "\0",
        "(",
        "%",
        "NaN",
    ]
    landings = [tuple(odd[(row + column) % len(odd)] for column in range(5)) for row in range(len(odd))]
    for rules in BOTH:
        found = add_channel(frame_of(*landings), standard_rule_set(rules))
        expected = [reference_traffic(*landing, rules=rules) for landing in landings]
        assert found.select(channels.CHANNEL_COLUMNS).rows() == expected


# --- A second, plain reading of the rules -------------------------------------------------------------

SOURCES = st.sampled_from(
    [None, "", "google", "Facebook", "fb", "x", "acme", "youtube", "amazon", "sms", "email", "firebase", "(direct)",
     "chatgpt.com", "gads", "m.facebook.com", "www.google.de", "nl", "gemini", "Google_Ads", "fb-ads", "x ad",
     "acme_ads", "nl_ads", "taboola", "gmail", "blog.google", "ad", "apple-search-ads", "partner.example-ads"]
)  # fmt: skip
MEDIA = st.sampled_from(
    [None, "", "cpc", "CPM", "ppc", "paid x", "display", "social", "video ad", "organic", "referral", "email",
     "affiliate", "audio", "sms", "push", "mobile x", "(none)", "(not set)", "other", "cpc\n", "ai-assistant"]
)  # fmt: skip
CAMPAIGNS = st.sampled_from(
    [None, "", "shop", "workshop", "e-shopping", "x cross-network", "Shop now", "spring", "\nshop"]
)
REFERRERS = st.sampled_from(
    [None, "www.google.de", "m.facebook.com", "acme.org", "amazon.de", "vimeo.com", "www.perplexity.ai", "t.co",
     "news.partner.example", "mail.google.com", "search.yahoo.com", "blog.google", "acme.li", "google.evi.de",
     "mail.yahoo.co.jp", "www.google.com.br", "webmail.acme.org", "mastodon.acme.org", "trc.taboola.com", "m.vk.com"]
)  # fmt: skip
CLICK_IDS = st.sampled_from([None, None, "gclid", "fbclid", "ttclid", "dclid", "irclickid", "other"])
TEXT = st.none() | st.text(max_size=8) | st.text("abcfgopst.xw() -_\n\u017f\u212a", max_size=12)
LANDINGS = st.tuples(SOURCES, MEDIA, CAMPAIGNS, REFERRERS, CLICK_IDS) | st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT)
EXPRESSIONS = st.sampled_from(
    ["google|FB", ".*a.*", "(social|ai)", r"\(direct\)", "gclid", "[^c]+", r".*\.de", "t.co", ".*"]
)
OWN_RULES = st.tuples(
    st.sampled_from(["Podcast", "Direct", "Print"]),
    st.dictionaries(st.sampled_from(channels.CONDITION_FIELDS), EXPRESSIONS, min_size=1, max_size=3),
)
OWN_ALIASES = st.dictionaries(
    st.sampled_from(
        ["nl", "partner.example", "facebook", "twitter", "google.*", "fb", "acme", "x", "google_ads", "fb ads"]
    ),
    st.sampled_from(["newsletter", "partner", "x", "meta", "google", "facebook", "chatgpt.com", "fb-ads", "adwords"]),
)


@pytest.mark.parametrize("rules", BOTH)
@given(st.lists(LANDINGS, max_size=40))
@example([(source, "cpc") for source in ("fb", "x")])
@settings(max_examples=40, deadline=None)
def test_channels_agree_with_a_plain_reading_of_the_rules(rules: str, landings: list[Landing]) -> None:
    found = add_channel(frame_of(*landings), standard_rule_set(rules)).select(channels.CHANNEL_COLUMNS).rows()
    assert found == [reference_traffic(*landing, rules=rules) for landing in landings]


@pytest.mark.parametrize("rules", BOTH)
@given(st.lists(LANDINGS, max_size=25), st.lists(OWN_RULES, max_size=3), OWN_ALIASES)
@settings(max_examples=40, deadline=None)
def test_channels_of_a_teams_own_rules_agree_with_a_plain_reading(
    rules: str, landings: list[Landing], own_rules: list[tuple[str, dict[str, str]]], aliases: dict[str, str]
) -> None:
    chosen = standard_rule_set(rules).with_own([Rule(name, **conditions) for name, conditions in own_rules], aliases)
    found = add_channel(frame_of(*landings), chosen).select(channels.CHANNEL_COLUMNS).rows()
    assert found == [
        reference_traffic(*landing, rules=rules, own=own_rules, own_aliases=aliases) for landing in landings
    ]
