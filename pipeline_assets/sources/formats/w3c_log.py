r"""Access logs in the W3C's extended format: of IIS, CloudFront and others.

A field is named as its `#Fields` directive says, in lower case and with `_` for anything but letters and digits:
`cs(User-Agent)` is cs_user_agent, `cs-uri-stem` cs_uri_stem. `date` is that of the last `#Date` where it is no field.

https://www.w3.org/TR/WD-logfile.html, https://learn.microsoft.com/en-us/windows/win32/http/w3c-logging
"""

from pipeline_assets.sources.formats.ready import ReadyFormat

# What a page needs to look right is no page; neither is what was sent to a form, refused or moved.
_IS_PAGE = r"""coalesce(upper(coalesce(cs_method, 'GET')) = 'GET'
    AND coalesce(regexp_full_match(sc_status, '2..|304'), true)
    AND NOT regexp_matches(coalesce(cs_uri_stem, cs_uri, ''),
        '(?i)\.(css|js|mjs|map|json|xml|txt|ico|png|jpe?g|gif|svg|webp|avif|bmp|woff2?|ttf|otf|eot|mp4|webm|mp3|zip|pdf|wasm)([?#]|$)'),
    false)"""
_HOST = "coalesce(x_host_header, cs_host)"
_SCHEME = "coalesce(lower(cs_protocol), CASE s_port WHEN '443' THEN 'https' ELSE 'http' END)"

FORMAT = ReadyFormat(
    name="w3c_log",
    title="access logs in the W3C's extended format",
    records="w3c_lines",
    mapping={
        "event_name": f"CASE WHEN {_IS_PAGE} THEN 'page_viewed' ELSE 'request' END",
        "event_type": f"CASE WHEN {_IS_PAGE} THEN 'page' ELSE 'track' END",
        "occurred_at": """"date" || ' ' || "time\"""",
        # No address in an id that goes through all tables; it stays in the properties of the event.
        "anonymous_id": "substr(sha256(c_ip || chr(10) || coalesce(cs_user_agent, '')), 1, 32)",
        "user_id": "cs_username",
        "page_url": f"""CASE WHEN {_HOST} IS NOT NULL AND cs_uri_stem IS NOT NULL THEN {_SCHEME} || '://' || {_HOST}
            ELSE '' END || coalesce(cs_uri_stem || coalesce('?' || cs_uri_query, ''), cs_uri)""",
        "referrer_url": "cs_referer",
        # IIS writes + for a space, CloudFront %20; a user agent as it was sent holds a space.
        "user_agent": """CASE WHEN contains(cs_user_agent, ' ') THEN cs_user_agent
            ELSE coalesce(TRY(url_decode(replace(cs_user_agent, '+', ' '))), cs_user_agent) END""",
    },
)
