"""HAProxy's HTTP log (`option httplog`, `option httpslog`).

What syslog puts before it is the field `syslog`. The time has no zone: it is the server's local time,
`time: {zone: …}`. A line without captured headers lacks their braces; where only one pair is there, it is
`captured_request_headers`.

https://docs.haproxy.org/dev/configuration.html#8.2.3
"""

from pipeline_assets.sources.access_logs import lines_of
from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.formats.web_requests import request_mapping

FORMAT = ReadyFormat(
    name="haproxy_http_log",
    title="HAProxy's HTTP log",
    records="access_log",
    log=lines_of(
        "$syslog$remote_host:$remote_port [$time] $frontend $backend/$server "
        "$receive_time_ms/$queue_time_ms/$connect_time_ms/$response_time_ms/$total_time_ms $status $bytes_sent "
        "$captured_request_cookie $captured_response_cookie $termination_state "
        "$actconn/$feconn/$beconn/$srv_conn/$retries $srv_queue/$backend_queue "
        '$captured_request_headers$captured_response_headers"$request$tls',
        {
            "syslog": "pattern:(?:(.*?) )?",
            "remote_host": "address",
            "remote_port": "number",
            "time": "time:%d/%b/%Y:%H:%M:%S.%g",
            "captured_request_headers": r"pattern:(?:\{([^}]*)\} )?",
            "captured_response_headers": r"pattern:(?:\{([^}]*)\} )?",
            # HAProxy cuts a long line, and the quote with it.
            "request": 'pattern:([^"]*)"?',
            # `option httpslog`: errors, then server name, version and cipher.
            "tls": r"pattern:(?: (\S+ \S+))?",
        },
        escapes="hash",
    ),
    mapping=request_mapping(
        time='"time"',
        address="remote_host",
        agent="NULL::VARCHAR",
        method="method",
        status="status",
        path="target",
        url="target",
    ),
)
