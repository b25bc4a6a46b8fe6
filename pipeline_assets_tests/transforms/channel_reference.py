"""Traffic source, medium and channel of one landing, in plain Python: the rules of the definitions, one after another.

Only lists are read from the package's data (source categories, aliases, names of advertising, click ids); every rule is
written out here a second time.
"""

import csv
import re
import string
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


def is_country(label: str) -> bool:
    return len(label) == 2 and all(letter in string.ascii_lowercase for letter in label)


def without_ending(labels: list[str]) -> list[str]:
    """The labels before the ending of a country or .com; none if there is another ending."""
    *rest, last = labels
    if is_country(last) and len(rest) > 1 and rest[-1] in {"co", "com"}:
        return rest[:-1]
    return rest if last == "com" or is_country(last) else []


def listed(name: str, entries: Mapping[str, str], is_host: bool) -> str | None:
    """The entry of a name, or, for a host, of its name under any country's ending, or of its nearest parent domain."""
    if not is_host or name in entries:
        return entries.get(name)
    labels = name.split(".")
    if (stem := without_ending(labels)) and ".".join((*stem, "*")) in entries:
        return entries[".".join((*stem, "*"))]
    for start in range(1, len(labels) - 1):
        if ".".join(labels[start:]) in entries:
            return entries[".".join(labels[start:])]
    return None


@cache
def known_categories(is_plus: bool) -> dict[str, str]:
    own = {name: category for category, names in plus()["categories"].items() for name in names} if is_plus else {}
    both = categories() | own
    return both | {
        name + ".*": category for name, category in both.items() if "." not in name and name + ".*" not in both
    }


@cache
def standard_names(is_plus: bool) -> dict[str, str]:
    """Other names of sources, and their main names, which are names of themselves."""
    if not is_plus:
        return {}
    mains = [
        *plus()["aliases"],
        *(name for names in plus()["categories"].values() for name in names if "*" not in name),
    ]
    return {main: main for main in mains} | standard_aliases()


def place(name: str, is_host: bool, is_plus: bool, own_aliases: Mapping[str, str]) -> tuple[str, str | None]:
    """Source and category."""
    if is_host and name.startswith("www."):
        name = name[4:]
    names, known = standard_names(is_plus), known_categories(is_plus)
    standard = listed(name, names, is_host) or name
    source = listed(name, own_aliases, is_host) or own_aliases.get(standard) or standard
    for candidate in (source, names.get(source), standard, name):
        if candidate is not None and (category := listed(candidate, known, is_host)):
            return source, category
    return source, None


def advertiser(name: str, own_aliases: Mapping[str, str]) -> tuple[str, str | None] | None:
    """Source and category of whose advertising a utm_source is, if it can be nothing else."""
    squeezed = name.replace(" ", "").replace("-", "").replace("_", "")
    for source, names in plus()["ad_names"].items():
        if squeezed in names:
            return place(source, False, True, own_aliases)
    for word in ("ads", "advertising", "-ad", "_ad", " ad"):
        if name.endswith(word):
            platform = name.removesuffix(word).rstrip("-_ ")
            for each in (platform, platform.replace("-", " ").replace("_", " ")):
                source, category = place(each, True, True, own_aliases)
                if category:
                    return source, category
    return None


def named_place(name: str, is_plus: bool, own_aliases: Mapping[str, str]) -> tuple[str, str | None, bool]:
    """Source and category of a utm_source, and whether it can only be advertising."""
    source, category = place(name, is_plus, is_plus, own_aliases)
    platform = (advertiser(name, own_aliases) or advertiser(source, own_aliases)) if is_plus else None
    if platform is None:
        return source, category, False
    return (platform[0] if source == name else source), category or platform[1], True


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
    is_ad, name = False, source
    if source:
        source, category, is_ad = named_place(source, is_plus, own_aliases)
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
        "advertising": name if is_ad else "",
    }
    for channel, conditions in own:
        if all(
            values[name] and re.fullmatch(pattern, values[name], re.IGNORECASE | re.DOTALL)
            for name, pattern in conditions.items()
        ):
            return channel, source, medium
    host = values["referrer_host"] if is_plus and medium == "referral" else ""
    channel = standard_channel(source, medium, campaign, category, is_plus=is_plus, is_ad=is_ad, host=host)
    return channel, source, medium


def standard_channel(
    source: str, medium: str, campaign: str, category: str | None, *, is_plus: bool, is_ad: bool, host: str
) -> str:
    """The numbered rules of the definitions, and what `ga4_plus` puts between them.

    `host` is the referrer's where the medium is referral.
    """
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
    if is_ad and shop:
        return "Paid Shopping"
    if is_ad and category in {"search", "social", "video"}:
        return f"Paid {category.title()}"
    if category == "display":
        return "Display"
    if paid or is_ad:
        return "Paid Other"
    if is_plus and (category == "ai" or medium == "ai-assistant"):
        return "AI Assistants"
    if shop:
        return "Organic Shopping"
    begins, _, rest = host.partition(".")
    if category == "social" or medium in SOCIAL_MEDIA:
        return "Organic Social"
    if begins in {"mastodon", "mstdn", "misskey", "pixelfed", "lemmy"} and rest:
        return "Organic Social"
    if category == "video" or "video" in medium:
        return "Organic Video"
    if category == "search" or medium == "organic":
        return "Organic Search"
    if category == "email" or (begins == "webmail" and rest):
        return "Email"
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
        return "Mobile Push Notifications"
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
