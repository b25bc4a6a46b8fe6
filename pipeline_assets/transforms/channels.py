"""Where a visit came from: source, medium and default channel group.

The rules are data: an ordered list in which the first match wins, with a name and a version.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import polars as pl

DIRECT = "(direct)"
NO_MEDIUM = "(none)"
MEDIUM_NOT_SET = "(not set)"


@dataclass(frozen=True)
class Rule:
    """A channel and the conditions for it.

    Attributes:
        channel: name of the channel group.
        any_of: alternatives. Each maps fields (source, medium, campaign, category) to a regular expression for the
            whole lower-case value; all of its fields must match.
    """

    channel: str
    any_of: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class RuleSet:
    """Ordered rules; where none matches, the channel is `otherwise`."""

    name: str
    version: str
    rules: tuple[Rule, ...]
    otherwise: str = "Unassigned"


_PAID = {"medium": r".*cp.*|ppc|retargeting|paid.*"}
_SHOP_CATEGORY = {"category": "shopping"}
_SHOP_CAMPAIGN = {"campaign": r".*(([^a-df-z]|^)shop|shopping).*"}
_EMAIL = r"email|e-mail|e_mail|e mail"

GA4 = RuleSet(
    name="ga4",
    version="1",
    rules=(
        Rule("Direct", ({"source": r"\(direct\)", "medium": r"\((none|not set)\)"},)),
        Rule("Cross-network", ({"campaign": r".*cross-network.*"},)),
        Rule("Paid Shopping", (_SHOP_CATEGORY | _PAID, _SHOP_CAMPAIGN | _PAID)),
        Rule("Paid Search", ({"category": "search"} | _PAID,)),
        Rule("Paid Social", ({"category": "social"} | _PAID,)),
        Rule("Paid Video", ({"category": "video"} | _PAID,)),
        Rule("Display", ({"medium": r"display|banner|expandable|interstitial|cpm"},)),
        Rule("Paid Other", (_PAID,)),
        Rule("Organic Shopping", (_SHOP_CATEGORY, _SHOP_CAMPAIGN)),
        Rule(
            "Organic Social",
            (
                {"category": "social"},
                {"medium": r"social|social-network|social-media|sm|social network|social media"},
            ),
        ),
        Rule("Organic Video", ({"category": "video"}, {"medium": r".*video.*"})),
        Rule("Organic Search", ({"category": "search"}, {"medium": "organic"})),
        Rule("Referral", ({"medium": r"referral|app|link"},)),
        Rule("Email", ({"source": _EMAIL}, {"medium": _EMAIL})),
        Rule("Affiliates", ({"medium": r"affiliates?"},)),
        Rule("Audio", ({"medium": "audio"},)),
        Rule("SMS", ({"source": "sms"}, {"medium": "sms"})),
        Rule("Mobile Push", ({"medium": r".*push|.*(mobile|notification).*"}, {"source": "firebase"})),
    ),
)
"""Google Analytics 4's default channel grouping."""

_CATEGORIES = resources.files("pipeline_assets.transforms") / "data" / "ga4_source_categories.csv"

LANDING_COLUMNS = ("utm_source", "utm_medium", "utm_campaign", "referrer_host")


def rules_version(rules: RuleSet = GA4) -> tuple[str, str, str]:
    """What decides a channel besides the landing: name and version of the rules, digest of the source categories."""
    return rules.name, rules.version, hashlib.sha256(_CATEGORIES.read_bytes()).hexdigest()[:16]


def add_channel(frame: pl.DataFrame, rules: RuleSet = GA4) -> pl.DataFrame:
    """Add the column channel, from `LANDING_COLUMNS`. Rows keep their order."""
    landings = frame.select(LANDING_COLUMNS).unique()
    traffic = landings.with_columns(traffic_source(landings))
    channel = pl.coalesce(
        *(pl.when(_matches(rule)).then(pl.lit(rule.channel)) for rule in rules.rules), pl.lit(rules.otherwise)
    )
    return frame.join(
        traffic.select(*LANDING_COLUMNS, channel.alias("channel")),
        on=LANDING_COLUMNS,
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )


def traffic_source(landings: pl.DataFrame) -> pl.DataFrame:
    """Lower-case source, medium, campaign and category of each row of `landings`, which has `LANDING_COLUMNS`.

    The source is utm_source; else the referrer's host without `www.`, with the medium `organic` if its category is
    search and `referral` if not; else `(direct)` with the medium `(none)`. A given utm_medium always stays. A
    category is that of the source; for a referrer's host see `host_category`.
    """
    text = pl.col(LANDING_COLUMNS).str.to_lowercase()
    lower = landings.select(text)
    hosts = lower["referrer_host"].drop_nulls().unique()
    host_categories = pl.DataFrame(
        {
            "referrer_host": hosts,
            "host_category": pl.Series([host_category(host) for host in hosts], dtype=pl.String),
        }
    )
    named, referred = pl.col("utm_source").is_not_null(), pl.col("referrer_host").is_not_null()
    return lower.join(host_categories, on="referrer_host", how="left", maintain_order="left").select(
        pl.coalesce("utm_source", pl.col("referrer_host").str.strip_prefix("www."), pl.lit(DIRECT)).alias("source"),
        pl.coalesce(
            "utm_medium",
            pl.when(named).then(pl.lit(MEDIUM_NOT_SET)),
            pl.when(referred & (pl.col("host_category") == "search")).then(pl.lit("organic")),
            pl.when(referred).then(pl.lit("referral")),
            pl.lit(NO_MEDIUM),
        ).alias("medium"),
        pl.col("utm_campaign").alias("campaign"),
        pl.when(named)
        .then(pl.col("utm_source").replace_strict(source_categories(), default=None, return_dtype=pl.String))
        .otherwise("host_category")
        .alias("category"),
    )


def host_category(host: str) -> str | None:
    """Category of a referrer's host: search, social, shopping, video, or None.

    A host has the category of its nearest parent domain on the list (`fr.search.yahoo.com`, `m.vk.com`). Big names
    stand on the list without a domain (`google`, `bing`); they match the name's own domain under any ending
    (`google.de`, `google.co.uk`) but not below it, for `mail.google.com` is no search engine.
    """
    categories = source_categories()
    labels = host.lower().removeprefix("www.").split(".")
    for start in range(len(labels)):
        if category := categories.get(".".join(labels[start:])):
            return category
    is_name_and_ending = len(labels) == 2 or (len(labels) == 3 and len(labels[1]) <= 3 and len(labels[2]) == 2)
    return categories.get(labels[0]) if is_name_and_ending else None


@cache
def source_categories() -> dict[str, str]:
    """Category (search, social, shopping, video) of each lower-case source on GA4's list."""
    table = pl.read_csv(_CATEGORIES.read_bytes())
    category = pl.col("source_category").str.strip_prefix("SOURCE_CATEGORY_").str.to_lowercase()
    return dict(table.select(pl.col("source").str.to_lowercase(), category).iter_rows())


def _matches(rule: Rule) -> pl.Expr:
    alternatives = (
        pl.all_horizontal(
            pl.col(field).str.contains(f"(?s)^(?:{pattern})$").fill_null(value=False)
            for field, pattern in conditions.items()
        )
        for conditions in rule.any_of
    )
    return pl.any_horizontal(alternatives)
