r"""Access logs in the W3C's extended format: of IIS and others.

A field is named as its `#Fields` directive says, in lower case and with `_` for anything but letters and digits:
`cs(User-Agent)` is cs_user_agent, `cs-uri-stem` cs_uri_stem. `date` is that of the last `#Date` where it is no field.

https://www.w3.org/TR/WD-logfile.html, https://learn.microsoft.com/en-us/windows/win32/http/w3c-logging
"""

from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.formats.web_requests import request_mapping

_HOST = "coalesce(x_host_header, cs_host)"
_SCHEME = "coalesce(lower(cs_protocol), CASE s_port WHEN '443' THEN 'https' ELSE 'http' END)"
# IIS writes + for a space, CloudFront %20; a user agent as it was sent holds a space.
_AGENT = """CASE WHEN contains(cs_user_agent, ' ') THEN cs_user_agent
    ELSE coalesce(TRY(url_decode(replace(cs_user_agent, '+', ' '))), cs_user_agent) END"""

FORMAT = ReadyFormat(
    name="w3c_log",
    title="access logs in the W3C's extended format",
    records="w3c_lines",
    mapping={
        **request_mapping(
            time=""""date" || ' ' || "time\"""",
            address="c_ip",
            agent=_AGENT,
            method="cs_method",
            status="sc_status",
            path="coalesce(cs_uri_stem, cs_uri)",
            url=f"""CASE WHEN {_HOST} IS NOT NULL AND cs_uri_stem IS NOT NULL THEN {_SCHEME} || '://' || {_HOST}
                ELSE '' END || coalesce(cs_uri_stem || coalesce('?' || cs_uri_query, ''), cs_uri)""",
            referrer="cs_referer",
        ),
        # Of the browser as it is in the log: an id must not change with how user agents are read.
        "anonymous_id": "substr(sha256(c_ip || chr(10) || coalesce(cs_user_agent, '')), 1, 32)",
        "user_id": "cs_username",
    },
)
