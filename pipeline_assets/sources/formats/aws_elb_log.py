"""Access logs of AWS' Classic Load Balancers. Lines of before 2015 end with the request.

https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html
"""

from pipeline_assets.sources.access_logs import lines_of
from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.formats.web_requests import request_mapping, without_default_port

FORMAT = ReadyFormat(
    name="aws_elb_log",
    title="access logs of AWS' Classic Load Balancers",
    records="access_log",
    log=lines_of(
        "$time $elb $remote_host:$remote_port $backend_address $request_processing_time $backend_processing_time "
        '$response_processing_time $status $backend_status $bytes_received $bytes_sent "$request" "$user_agent" '
        "$ssl_cipher $ssl_protocol",
        {
            "time": "time:iso8601",
            "remote_host": "address",
            "remote_port": "number",
            "status": "status",
            "bytes_received": "number",
            "bytes_sent": "number",
            "request": "text",
        },
        appended="user_agent",
    ),
    mapping=request_mapping(
        time='"time"',
        address="remote_host",
        agent="user_agent",
        method="method",
        status="status",
        path="target",
        url=without_default_port("target"),
    ),
)
