"""What all logs of web servers have in common: a request becomes an event in the same way, whoever wrote it down."""

from pipeline_assets.sources.access_logs import lines_of
from pipeline_assets.sources.formats.ready import ReadyFormat

# What a page needs to look right is no page.
_NO_PAGE = (
    r"(?i)\.(css|js|mjs|map|json|xml|txt|ico|png|jpe?g|gif|svg|webp|avif|bmp|woff2?|ttf|otf|eot|mp4|webm|mp3|zip|pdf"
    r"|wasm)([?#]|$)"
)


def request_mapping(
    *, time: str, address: str, agent: str, method: str, status: str, path: str, url: str, referrer: str | None = None
) -> dict[str, str]:
    """The mapping of a request, from SQL expressions over a record.

    A `GET` that was answered and is no stylesheet, script, image or the like is a page; what was sent to a form,
    refused or moved is none. A visitor is an address and a browser, hashed: no address gets into an id that goes
    through all tables; it stays in the properties of the event.

    Args:
        time: when it happened.
        address: the client's address.
        agent: its user agent, readable.
        method: the request's method.
        status: the answer's status.
        path: the path, with or without the query.
        url: the whole URL, or the path where the log has no host.
        referrer: the URL of the page before.
    """
    is_page = f"""coalesce(upper(coalesce({method}, 'GET')) = 'GET'
        AND coalesce(regexp_full_match({status}, '2..|304'), true)
        AND NOT regexp_matches({path}, '{_NO_PAGE}'), false)"""
    mapping = {
        "event_name": f"CASE WHEN {is_page} THEN 'page_viewed' ELSE 'request' END",
        "event_type": f"CASE WHEN {is_page} THEN 'page' ELSE 'track' END",
        "occurred_at": time,
        "anonymous_id": f"substr(sha256({address} || chr(10) || coalesce({agent}, '')), 1, 32)",
        "page_url": url,
        "user_agent": agent,
    }
    return mapping if referrer is None else {**mapping, "referrer_url": referrer}


def without_default_port(url: str) -> str:
    """SQL of a URL without the port that its scheme has anyway, which load balancers write."""
    return rf"regexp_replace({url}, '^(?:(http|ws)(://[^/?#]+):80|(https|wss)(://[^/?#]+):443)([/?#]|$)', '\1\2\3\4\5')"


def load_balancer_log(name: str, title: str, line: str, *, appended: str) -> ReadyFormat:
    """Access logs of AWS' load balancers, whose kinds call what they share alike.

    Args:
        name: of the format.
        title: what it is, in a few words.
        line: a line, see `lines_of`.
        appended: its first field that older lines lack.
    """
    kinds = {
        "time": "time:iso8601",
        "remote_host": "address",
        "remote_port": "number",
        "status": "status",
        "bytes_received": "number",
        "bytes_sent": "number",
        "request": "text",
    }
    mapping = request_mapping(
        time='"time"',
        address="remote_host",
        agent="user_agent",
        method="method",
        status="status",
        path="target",
        url=without_default_port("target"),
    )
    return ReadyFormat(
        name=name, title=title, records="access_log", log=lines_of(line, kinds, appended=appended), mapping=mapping
    )
