"""Caddy's access log, which is JSON lines. Times are seconds since the epoch, as Caddy writes them by default.

https://caddyserver.com/docs/logging, https://caddyserver.com/docs/caddyfile/directives/log
"""

from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.formats.web_requests import request_mapping


def _header(name: str) -> str:
    # Each header is a list of its values.
    return f"request.headers ->> '$.\"{name}\"[0]'"


FORMAT = ReadyFormat(
    name="caddy_json",
    title="Caddy's access log",
    records="jsonl",
    marks=(("ts", "request.uri", "request.method", "status"),),
    mapping={
        **request_mapping(
            time="ts",
            # Caddy before 2.5 wrote address and port together.
            address=r"""coalesce(request.client_ip, request.remote_ip,
                regexp_replace(request.remote_addr, '^\[?([^\]]*?)\]?:\d+$', '\1'))""",
            agent=f"({_header('User-Agent')})",
            method="request.method",
            status="status",
            path="request.uri",
            url="""CASE WHEN request.host IS NULL THEN ''
                ELSE CASE WHEN request.tls IS NULL THEN 'http://' ELSE 'https://' END || request.host END
                || request.uri""",
            referrer=_header("Referer"),
        ),
        "user_id": "user_id",
    },
    time={"format": "epoch_s"},
)
