"""Access logs of AWS' Application Load Balancers.

Older lines end earlier; what AWS appends after `conn_trace_id` is `further_fields`.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
"""

from pipeline_assets.sources.access_logs import lines_of
from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.formats.web_requests import request_mapping, without_default_port

FORMAT = ReadyFormat(
    name="aws_alb_log",
    title="access logs of AWS' Application Load Balancers",
    records="access_log",
    log=lines_of(
        "$type $time $elb $remote_host:$remote_port $target_address $request_processing_time $target_processing_time "
        '$response_processing_time $status $target_status $bytes_received $bytes_sent "$request" "$user_agent" '
        '$ssl_cipher $ssl_protocol $target_group_arn "$trace_id" "$domain_name" "$chosen_cert_arn" '
        '$matched_rule_priority $request_creation_time "$actions_executed" "$redirect_url" "$error_reason" '
        '"$target_list" "$target_status_list" "$classification" "$classification_reason" $conn_trace_id',
        {
            "time": "time:iso8601",
            "remote_host": "address",
            "remote_port": "number",
            "status": "status",
            "bytes_received": "number",
            "bytes_sent": "number",
            "request": "text",
        },
        appended="domain_name",
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
