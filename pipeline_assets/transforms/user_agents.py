"""User agents: kind of device, operating system, browser, and whether a machine was at work.

Each distinct string is parsed once in a process; the parser is built at the first one (0.2 s).
"""

import re
from functools import cache, lru_cache
from importlib import metadata
from typing import NamedTuple

import polars as pl
from ua_parser import Parser, RegexResolver, load_lazy_builtins

TRACKER_REASON = "tracker"
"""Reason of a bot that its source says is one."""

SPIDER_REASON = "ua_parser_spider"
"""Reason of a bot that the user agent parser knows by name."""

BOT_RULES: tuple[tuple[str, str], ...] = (
    # Cubot is a maker of phones, and its name is in its phones' user agents.
    ("crawler", r"(?<!cu)bot|crawl|spider|slurp|archiver|indexer|ezooms|siteexplorer|ia_archive"),
    ("headless", r"headless|phantomjs|puppeteer|playwright|selenium|webdriver|electron-fetch"),
    (
        "http_library",
        r"python-|python/|aiohttp|httpx/|curl/|^curl|libcurl|wget|libwww|lwp::|^lwp|^java/|apache-httpclient|"
        r"go-http-client|node-fetch|^axios/|^got |^ruby|^php/|guzzlehttp|http_request|^perl|scrapy|mechanize|"
        r"libfetch|^postman|^insomnia|httpie|chef client",
    ),
    (
        "monitoring",
        r"monitor|pingdom|uptime|statuscake|nagios|check_http|site24x7|newrelicpinger|datadog|gtmetrix|lighthouse|"
        r"pagespeed|webpagetest|zabbix|better stack|link ?validator|link ?checker|healthcheck|kube-probe|"
        r"googlehc|elb-health",
    ),
    (
        "feed_reader",
        r"feedparser|feedfetcher|feedburner|feedbin|feedly|tiny tiny rss|newsblur|flipboardrss|netvibes|"
        r"rss/|subscribers|\breaders\)",
    ),
    (
        "preview",
        r"facebookexternalhit|facebookcatalog|embedly|slack-imgproxy|skypeuripreview|bitlypreview|google favicon|"
        r"google web preview|mediapartners-google|iframely|vkshare|quora link preview",
    ),
)
"""Reason and pattern (any case), first match wins. The patterns are well-known parts of machines' user agents."""

_COMPILED = tuple((reason, re.compile(pattern, re.IGNORECASE)) for reason, pattern in BOT_RULES)

_TV = re.compile(
    r"smart-?tv|apple ?tv|google ?tv|android tv|\btv\b|hbbtv|netcast|web0s|webos\.tv|bravia|roku|crkey|viera|"
    r"(?-i:\bAFT[A-Z]{1,4}\b)|playstation|xbox|nintendo",
    re.IGNORECASE,
)
_TABLET = re.compile(r"ipad|tablet(?! pc)|kindle|silk/|playbook|nexus (?:7|9|10)\b|galaxy tab|\bsm-t\d", re.IGNORECASE)
_MOBILE = re.compile(
    r"mobi|iphone|ipod|phone|blackberry|opera mini|midp|symbian|windows ce|j2me|wap browser|okhttp",
    re.IGNORECASE,
)
_MOBILE_SYSTEMS = frozenset({"iOS", "Android", "Windows Phone", "Windows Mobile", "BlackBerry OS", "Firefox OS"})
_DESKTOP = re.compile(
    r"windows|mac os|linux|ubuntu|debian|fedora|red hat|suse|mint|gentoo|arch|centos|slackware|mandriva|bsd|solaris|"
    r"chrome os|chromeos",
    re.IGNORECASE,
)


def rules_version() -> tuple[str, ...]:
    """What decides the facts besides this module: versions of the user agent parser and of its rules."""
    return tuple(metadata.version(package) for package in ("ua-parser", "ua-parser-builtins"))


class UserAgentFacts(NamedTuple):
    """What a user agent string says; a field is null where it says nothing."""

    device_type: str
    os: str | None
    browser: str | None
    bot_reason: str | None


@lru_cache(maxsize=200_000)
def read_user_agent(user_agent: str) -> UserAgentFacts:
    """Facts of one user agent string; device_type is desktop, mobile, tablet, tv, bot or other."""
    result = _parser().parse(user_agent)
    device = result.device.family if result.device else None
    os = result.os.family if result.os else None
    browser = result.user_agent.family if result.user_agent else None
    reason = _bot_reason(user_agent, device)
    return UserAgentFacts("bot" if reason else _device_type(user_agent, os), os, browser, reason)


def add_user_agent_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Add device_type, os, browser, is_bot and bot_reason.

    `frame` has user_agent, and device_type, os and browser as its source mapped them; a mapped value wins. An
    unknown user agent is not a bot. Where the source maps is_bot, true makes an event a bot's, whatever its user agent;
    false says that the source's own list found none, so that ours is still asked. Rows keep their order.
    """
    distinct = frame["user_agent"].drop_nulls().unique()
    known = [read_user_agent(user_agent) for user_agent in distinct]
    columns = {
        f"ua_{field}": pl.Series([facts[position] for facts in known], dtype=pl.String)
        for position, field in enumerate(UserAgentFacts._fields)
    }
    facts = pl.DataFrame({"user_agent": distinct, **columns})
    return (
        frame.join(facts, on="user_agent", how="left", maintain_order="left")
        .with_columns(
            *(pl.coalesce(name, f"ua_{name}").alias(name) for name in ("device_type", "os", "browser")),
            bot_reason=pl.when("is_bot").then(pl.lit(TRACKER_REASON)).otherwise("ua_bot_reason"),
        )
        .with_columns(is_bot=pl.col("bot_reason").is_not_null())
        .drop(columns)
    )


@cache
def _parser() -> Parser:
    # `read_user_agent` remembers results, so the parser needs no cache of its own.
    if RegexResolver is None:
        raise RuntimeError("The Rust engine of ua-parser is missing: install ua-parser[regex].")
    return Parser(RegexResolver(load_lazy_builtins()))


def _bot_reason(user_agent: str, device: str | None) -> str | None:
    if not user_agent.strip():
        return None
    if device == "Spider":
        return SPIDER_REASON
    return next((reason for reason, pattern in _COMPILED if pattern.search(user_agent)), None)


def _device_type(user_agent: str, os: str | None) -> str:
    if _TV.search(user_agent):
        return "tv"
    # Android tablets leave out the word Mobile that phones carry.
    if _TABLET.search(user_agent) or (os == "Android" and not _MOBILE.search(user_agent)):
        return "tablet"
    if os in _MOBILE_SYSTEMS or _MOBILE.search(user_agent):
        return "mobile"
    if os is not None and _DESKTOP.search(os):
        return "desktop"
    return "other"
