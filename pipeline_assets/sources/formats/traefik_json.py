"""Traefik's access log as JSON. User agent and referrer are there where its configuration keeps these headers.

https://doc.traefik.io/traefik/reference/install-configuration/observability/logs-and-accesslogs/
"""

from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.formats.web_requests import request_mapping

FORMAT = ReadyFormat(
    name="traefik_json",
    title="Traefik's access log as JSON",
    records="jsonl",
    marks=(("ClientHost", "RequestMethod", "RequestPath"),),
    mapping={
        **request_mapping(
            time='coalesce(StartUTC, StartLocal, "time")',
            address="ClientHost",
            agent='"request_User-Agent"',
            method="RequestMethod",
            status="DownstreamStatus",
            path="RequestPath",
            url="""CASE WHEN RequestHost IS NULL OR RequestHost = '-' THEN ''
                ELSE coalesce(RequestScheme, 'http') || '://' || RequestHost END || RequestPath""",
            referrer='"request_Referer"',
        ),
        "user_id": "nullif(ClientUsername, '-')",
    },
)
