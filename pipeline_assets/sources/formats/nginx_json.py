"""nginx's access log as JSON lines (`log_format … escape=json '{"…": "$…"}'`), with the keys that are mostly given.

Keys are a matter of the configuration. The ones understood here are nginx's own variables and a few common names; what
is called otherwise is mapped by the declaration.

https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format
"""

from collections.abc import Sequence

from pipeline_assets.sources.access_logs import CLF_TIME
from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.formats.web_requests import request_mapping


def _first(names: Sequence[str]) -> str:
    """The first key that says something: nginx leaves empty what is absent, or writes a dash."""
    values = (f"nullif(nullif(\"{name}\", '-'), '')" for name in names)
    return f"coalesce({', '.join(values)})"


_REQUEST = _first(["request"])
_LOCAL = _first(["time_local", "time"])
_TIME = f"""coalesce({_first(["time_iso8601", "@timestamp", "timestamp"])},
    strftime(try_strptime({_LOCAL}, '{CLF_TIME}'), '%Y-%m-%dT%H:%M:%SZ'), {_LOCAL},
    make_timestamp_ms(CAST(1000 * TRY_CAST(msec AS DECIMAL(18, 3)) AS BIGINT))::VARCHAR)"""
_TARGET = f"""coalesce({_first(["request_uri"])}, regexp_extract({_REQUEST}, '^[A-Z][A-Z_-]* ([^ ]*)', 1),
    {_first(["uri", "path"])} || coalesce('?' || {_first(["args", "query_string"])}, ''))"""
_HOST = _first(["http_host", "host", "server_name", "vhost"])
_SCHEME = _first(["scheme"])

FORMAT = ReadyFormat(
    name="nginx_json",
    title="nginx's access log as JSON",
    records="jsonl",
    marks=(("remote_addr", "request", "status"), ("remote_addr", "request_uri", "status")),
    mapping={
        **request_mapping(
            time=_TIME,
            address=_first(["remote_addr", "remote_ip", "client_ip", "clientip"]),
            agent=_first(["http_user_agent", "user_agent", "agent"]),
            method=f"""coalesce({_first(["request_method", "method"])},
                nullif(regexp_extract({_REQUEST}, '^([A-Z][A-Z_-]*) ', 1), ''))""",
            status=_first(["status", "status_code"]),
            path=_TARGET,
            url=f"""CASE WHEN {_HOST} IS NULL THEN '' ELSE coalesce({_SCHEME}, 'http') || '://' || {_HOST} END
                || {_TARGET}""",
            referrer=_first(["http_referer", "http_referrer", "referer", "referrer"]),
        ),
        "user_id": _first(["remote_user"]),
    },
)
