"""User agents: kind of device, operating system, browser, and whether a machine was at work.

Each distinct string is parsed once in a process; the parser is built at the first one (0.2 s). The rules for bots are
applied to all strings of a table at once, in the dialect of Polars (Rust), which is many times as fast.
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

AI_AGENT = (
    "ai_agent",
    r"(?:gpt|claude|perplexity|mistralai|duckassist|manus|amzn|cohere|grok|kimi|qwen|doubao|deepseek)-user\b|"
    r"claude-web|cohere-ai|gemini-deep-research|google-notebooklm|novaact|meta-externalfetcher",
)
"""Reason and pattern of assistants that read a page because a person asked; before all others."""

BOT_RULES: tuple[tuple[str, str], ...] = (
    # Not Cubot, a maker of phones, nor Botim, a messenger, nor Abbott, Both and Bottle.
    (
        "crawler",
        r"(?:^|[^u]|(?:^|[^c])u)bot(?:[^thi]|i[^m]|i?$)|crawl|spider|slurp|archiver|indexer|ezooms|siteexplorer|ia_archive|heritrix|httrack|"
        r"googleother|google-(?:inspectiontool|read-aloud|safety|site-verification|adwords|extended)|apis-google|"
        r"duplexweb-google|googleproducer|dataprovider|proximic|integralads|(?:^|[^k] |[^ k])validator|alwaysonline|"
        r"anthropic-ai|meta-externalagent|meta-webindexer",
    ),
    ("headless", r"headless|phantomjs|puppeteer|playwright|selenium|webdriver|electron-fetch|\bcypress/\d|testcafe"),
    (
        "http_library",
        r"python-|python/|aiohttp|httpx/|curl/|^curl|libcurl|php-curl|wget|libwww|lwp::|^lwp|^java/|"
        r"http[-_ ]?(?:async)?client|^vert\.x|^ahc/|^reactornetty|apache-cxf|restsharp|unirest|"
        r"node-fetch|node-superagent|^node$|^undici|^deno/|^bun/|^axios/|^got |"
        r"^ruby|\bruby/|^faraday|^http\.rb|^rest-client|^typhoeus|^php/|guzzlehttp|http_request|^perl|mechanize|"
        r"^reqwest/|^ureq/|^hyper/|go-resty|^fasthttp|^colly|scrapy|libfetch|^aria2|powershell|indy library|"
        r"^postman|^insomnia|httpie|chef client|^wordpress/|^drupal|^stripe/|hookshot",
    ),
    (
        "monitoring",
        # Not Smart Monitor, a screen with a browser.
        r"(?:^|[^t -]|(?:^|[^r]t|[^t])[ -])monitor|pingdom|uptime|statuscake|nagios|icinga|check_http|site24x7|"
        r"newrelic(?:pinger|synth|/|$)|datadog|gtmetrix|lighthouse|pagespeed|webpagetest|\bptst/|speedcurve|debugbear|"
        r"sitespeed\.io|zabbix|better stack|link ?validator|link ?checker|checklink|health[- ]?(?:check|probe)|"
        r"kube-probe|googlehc|elb-health|"
        r"^prometheus|blackbox.?exporter|elastic-heartbeat|^grafana|synthetic|checkly|updown\.io|freshping|nodeping|"
        r"hyperping|uptrends|thousandeyes|catchpoint|appinsights|^haproxy|^monit/|"
        r"^k6/|gatling|jmeter|apachebench|^hey/|vegeta|^locust|^artillery|^wrk/|^siege/",
    ),
    (
        "scanner",
        r"nmap|masscan|zgrab|nuclei|sqlmap|\bnikto|wpscan|^expanse|censys|internet-?measurement|acunetix|nessus|openvas|"
        r"gobuster|feroxbuster|\bffuf|shodan|netcraft",
    ),
    (
        "feed_reader",
        r"feedparser|feedfetcher|feedburner|feedbin|feedly|tiny tiny rss|newsblur|flipboardrss|netvibes|netnewswire|"
        r"miniflux|freshrss|inoreader|rss/|subscribers|\breaders\)",
    ),
    (
        "preview",
        r"facebookexternalhit|facebookcatalog|flipboardproxy|embedly|slack-imgproxy|skypeuripreview|bitlypreview|bingpreview|"
        r"google favicon|google web preview|mediapartners-google|iframely|vkshare|quora link preview|^whatsapp/|"
        r"kakaotalk-scrap|xing-contenttab|cardyb|^mastodon/|ur[il] ?preview",
    ),
    # The address of who runs it, for those whom it disturbs. Not Overcast, an app for podcasts that has one as well.
    ("crawler", r"\+https?://(?:[^o]|o[^v])|\+mailto:"),
)
"""Reason and pattern, first match wins. The patterns are well-known parts of machines' user agents in lower case."""

_BY_NAME = frozenset({SPIDER_REASON, "crawler", "monitoring"})
_APP = r"cfnetwork/|^dalvik/"
"""What the systems of phones put into the user agents of apps, whose names may say what they like: Spider, iRobot."""

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


def package_versions() -> tuple[str, ...]:
    """What decides the facts besides this module: versions of the user agent parser and of its rules."""
    return tuple(metadata.version(package) for package in ("ua-parser", "ua-parser-builtins"))


class _Parsed(NamedTuple):
    """What the parser reads from a user agent; a field is null where it says nothing."""

    device_type: str
    os: str | None
    browser: str | None
    device: str | None


def add_user_agent_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Add device_type, os, browser, is_bot and bot_reason.

    device_type is desktop, mobile, tablet, tv, bot or other. bot_reason is `SPIDER_REASON` or that of a rule.

    `frame` has user_agent, and device_type, os and browser as its source mapped them; a mapped value wins. An
    unknown user agent is not a bot. Where the source maps is_bot, true makes an event a bot's, whatever its user agent;
    false says that the source's own list found none, so that ours is still asked. Rows keep their order.
    """
    distinct = frame["user_agent"].drop_nulls().unique()
    known = [_parse(user_agent) for user_agent in distinct]
    columns = {
        f"ua_{field}": pl.Series([facts[position] for facts in known], dtype=pl.String)
        for position, field in enumerate(_Parsed._fields)
    }
    facts = (
        pl.DataFrame({"user_agent": distinct, **columns})
        .with_columns(ua_lower=pl.col("user_agent").str.to_lowercase())
        .with_columns(ua_bot_reason=_bot_reason())
        .with_columns(
            pl.when(pl.col("ua_bot_reason").is_null())
            .then("ua_device_type")
            .otherwise(pl.lit("bot"))
            .alias("ua_device_type")
        )
        .drop("ua_lower", "ua_device")
    )
    return (
        frame.join(facts, on="user_agent", how="left", maintain_order="left")
        .with_columns(
            *(pl.coalesce(name, f"ua_{name}").alias(name) for name in ("device_type", "os", "browser")),
            bot_reason=pl.when("is_bot").then(pl.lit(TRACKER_REASON)).otherwise("ua_bot_reason"),
        )
        .with_columns(is_bot=pl.col("bot_reason").is_not_null())
        .drop("ua_device_type", "ua_os", "ua_browser", "ua_bot_reason")
    )


def _bot_reason() -> pl.Expr:
    lower = pl.col("ua_lower")
    is_app = lower.str.contains(_APP)
    agent, is_agent = AI_AGENT
    found = [
        (agent, lower.str.contains(is_agent)),
        (SPIDER_REASON, pl.col("ua_device") == "Spider"),
        *((reason, lower.str.contains(pattern)) for reason, pattern in BOT_RULES),
    ]
    return pl.coalesce(
        pl.when(is_it & ~is_app if reason in _BY_NAME else is_it).then(pl.lit(reason)) for reason, is_it in found
    )


@lru_cache(maxsize=200_000)
def _parse(user_agent: str) -> _Parsed:
    result = _parser().parse(user_agent)
    os = result.os.family if result.os else None
    browser = result.user_agent.family if result.user_agent else None
    return _Parsed(_device_type(user_agent, os), os, browser, result.device.family if result.device else None)


@cache
def _parser() -> Parser:
    # `_parse` remembers results, so the parser needs no cache of its own.
    if RegexResolver is None:
        raise RuntimeError("The Rust engine of ua-parser is missing: install ua-parser[regex].")
    return Parser(RegexResolver(load_lazy_builtins()))


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
