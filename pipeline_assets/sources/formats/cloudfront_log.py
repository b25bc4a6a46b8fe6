"""CloudFront's standard logs: lines of fields between tabs, named by `#Fields` as in the W3C's format.

CloudFront encodes what is no letter, digit or plain sign as in URLs, the percent sign included. So a user agent is
encoded once, or twice where a client or an older CloudFront had done so before, and the `%20` of a URL is `%2520`.

https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html
"""

import re
from collections.abc import Callable

from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.formats.web_requests import request_mapping


def cloudfront_mapping(read: Callable[[str], str]) -> dict[str, str]:
    """The mapping of CloudFront's fields, given the SQL of the one that the documentation calls by a name."""
    host = f"coalesce({read('x-host-header')}, {read('cs(Host)')})"
    path, query = (percent_decoded(read(name)) for name in ("cs-uri-stem", "cs-uri-query"))
    return request_mapping(
        time=f"{read('date')} || ' ' || {read('time')}",
        address=read("c-ip"),
        agent=fully_decoded(read("cs(User-Agent)")),
        method=read("cs-method"),
        status=read("sc-status"),
        path=read("cs-uri-stem"),
        url=f"""CASE WHEN {host} IS NULL THEN ''
            ELSE coalesce({read("cs-protocol")}, 'https') || '://' || {host} END
            || {path} || CASE WHEN contains({path}, '?') THEN '' ELSE coalesce('?' || {query}, '') END""",
        referrer=percent_decoded(read("cs(Referer)")),
    )


def fully_decoded(value: str) -> str:
    """SQL of a text without the encoding of URLs, and without a second one below it: both may have been made."""
    once = f"coalesce(TRY(url_decode({value})), {value})"
    return f"""CASE WHEN contains({once}, ' ') OR NOT contains({once}, '%') THEN {once}
        ELSE coalesce(TRY(url_decode({once})), {once}) END"""


def percent_decoded(value: str) -> str:
    """SQL of a URL whose own percent signs were encoded again; what was encoded for the first time is fine in a URL."""
    return f"replace({value}, '%25', '%')"


def _column(name: str) -> str:
    """A field as the W3C's format reads it."""
    column = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")
    return f'"{column}"'


FORMAT = ReadyFormat(
    name="cloudfront_log",
    title="CloudFront's standard logs",
    records="w3c_lines",
    mapping=cloudfront_mapping(_column),
)
