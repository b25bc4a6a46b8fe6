"""Traefik's access log in its default format: the Common Log Format and more.

https://doc.traefik.io/traefik/reference/install-configuration/observability/logs-and-accesslogs/
"""

from pipeline_assets.sources.access_logs import CLF_TIME, lines_of
from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.formats.web_requests import request_mapping

FORMAT = ReadyFormat(
    name="traefik_log",
    title="Traefik's access log",
    records="access_log",
    log=lines_of(
        '$remote_host - $remote_user [$time] "$request" $status $bytes "$referrer" "$user_agent" '
        '$request_count "$router" "$server_url" ${request_time_ms}ms',
        {
            "remote_host": "address",
            "time": f"time:{CLF_TIME}",
            "status": "status",
            "bytes": "number",
            "request_count": "number",
            "request_time_ms": "number",
        },
    ),
    mapping={
        **request_mapping(
            time='"time"',
            address="remote_host",
            agent="user_agent",
            method="method",
            status="status",
            path="target",
            url="target",
            referrer="referrer",
        ),
        "user_id": "remote_user",
    },
)
