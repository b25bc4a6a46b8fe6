"""Traffic source, medium and channel of one landing, in plain Python: the rules of the definitions, one after another.

Only lists are read from the package's data (source categories, aliases, click ids, AI hosts); every rule is written out
here a second time.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline_assets import transforms

DATA = Path(transforms.__file__).parent / "data"
EMAILS = {"email", "e-mail", "e_mail", "e mail"}
SOCIAL_MEDIA = {"social", "social-network", "social-media", "sm", "social network", "social media"}

OwnRule = tuple[str, Mapping[str, str]]
"""Channel, and field -> regular expression."""


@cache
def categories() -> dict[str, str]:
    with (DATA / "ga4_source_categories.csv").open(encoding="utf-8", newline="") as file:
        return {row["source"].lower(): row["source_category"].split("_")[-1].lower() for row in csv.DictReader(file)}


@cache
def plus() -> dict[str, Any]:
    return yaml.safe_load((DATA / "ga4_plus.yaml").read_text(encoding="utf-8"))


@cache
def standard_aliases() -> dict[str, str]:
    return {alias: source for source, aliases in plus()["aliases"].items() for alias in aliases}


def listed(name: str, entries: Mapping[str, str], is_host: bool, any_ending: str = "{}") -> str | None:
    """The entry of a name, or, for a host, of its nearest parent domain, or of its name under any ending."""
    if not is_host:
        return entries.get(name)
    labels = name.split(".")
    for start in range(len(labels)):
        if ".".join(labels[start:]) in entries:
            return entries[".".join(labels[start:])]
    if len(labels) == 2 or (len(labels) == 3 and len(labels[1]) <= 3 and len(labels[2]) == 2):
        return entries.get(any_ending.format(labels[0]))
    return None


def place(name: str, is_host: bool, is_plus: bool, own_aliases: Mapping[str, str]) -> tuple[str, str | None]:
    """Source and category."""
    if is_host and name.startswith("www."):
        name = name[4:]
    aliases = standard_aliases() if is_plus else {}
    known = categories() | (dict.fromkeys(plus()["ai_hosts"], "ai") if is_plus else {})
    standard = listed(name, aliases, is_host, "{}.*") or name
    source = listed(name, own_aliases, is_host, "{}.*") or own_aliases.get(standard) or standard
    for candidate in (source, aliases.get(source), standard):
        if candidate is not None and (category := listed(candidate, known, is_host)):
            return source, category
    return source, None


def reference_traffic(
    source: str | None = None,
    medium: str | None = None,
    campaign: str | None = None,
    referrer: str | None = None,
    click: str | None = None,
    *,
    rules: str = "ga4_plus",
    own: Sequence[OwnRule] = (),
    own_aliases: Mapping[str, str] | None = None,
) -> tuple[str, str, str]:
    """Channel, traffic source, traffic medium."""
    source, medium, campaign, referrer, click = ((x or "").lower() for x in (source, medium, campaign, referrer, click))
    is_plus, own_aliases = rules == "ga4_plus", own_aliases or {}
    says = plus()["click_ids"].get(click) if is_plus else None
    clicked = place(says["source"], is_plus, is_plus, own_aliases) if says else None
    if source:
        source, category = place(source, is_plus, is_plus, own_aliases)
        if not medium:
            medium = says["medium"] if says and clicked and clicked[0] == source else "(not set)"
    elif says and clicked and not (says.get("also_organic") and referrer):
        source, category = clicked
        medium = medium or says["medium"]
    elif referrer:
        source, category = place(referrer, True, is_plus, own_aliases)
        medium = medium or ("organic" if category == "search" else "referral")
    else:
        source, category, medium = "(direct)", None, medium or "(none)"
    values = {
        "source": source,
        "medium": medium,
        "campaign": campaign,
        "category": category or "",
        "referrer_host": referrer.removeprefix("www."),
        "click_id_type": click,
    }
    for channel, conditions in own:
        if all(
            values[name] and re.fullmatch(pattern, values[name], re.IGNORECASE | re.DOTALL)
            for name, pattern in conditions.items()
        ):
            return channel, source, medium
    return standard_channel(source, medium, campaign, category, is_plus), source, medium


def standard_channel(source: str, medium: str, campaign: str, category: str | None, is_plus: bool) -> str:
    """The numbered rules of the definitions, and AI Assistants before the first organic one."""
    paid = bool(re.match(r"^(.*cp.*|ppc|retargeting|paid.*)$", medium, re.DOTALL))
    shop = category == "shopping" or bool(re.match(r"^(.*(([^a-df-z]|^)shop|shopping).*)$", campaign, re.DOTALL))
    if source == "(direct)" and medium in {"(none)", "(not set)"}:
        return "Direct"
    if "cross-network" in campaign:
        return "Cross-network"
    if shop and paid:
        return "Paid Shopping"
    if category in {"search", "social", "video"} and paid:
        return f"Paid {category.title()}"
    if medium in {"display", "banner", "expandable", "interstitial", "cpm"}:
        return "Display"
    if paid:
        return "Paid Other"
    if is_plus and (category == "ai" or medium == "ai-assistant"):
        return "AI Assistants"
    if shop:
        return "Organic Shopping"
    if category == "social" or medium in SOCIAL_MEDIA:
        return "Organic Social"
    if category == "video" or "video" in medium:
        return "Organic Video"
    if category == "search" or medium == "organic":
        return "Organic Search"
    if medium in {"referral", "app", "link"}:
        return "Referral"
    if source in EMAILS or medium in EMAILS:
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


def reference_channel(
    source: str | None = None,
    medium: str | None = None,
    campaign: str | None = None,
    referrer: str | None = None,
    click: str | None = None,
    *,
    rules: str = "ga4_plus",
) -> str:
    """The channel alone."""
    return reference_traffic(source, medium, campaign, referrer, click, rules=rules)[0]
