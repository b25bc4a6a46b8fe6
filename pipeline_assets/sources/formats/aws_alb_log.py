"""Access logs of AWS' Application Load Balancers.

Older lines end earlier; what AWS appends after `conn_trace_id` is `further_fields`.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
"""

from pipeline_assets.sources.formats.web_requests import load_balancer_log

FORMAT = load_balancer_log(
    "aws_alb_log",
    "access logs of AWS' Application Load Balancers",
    "$type $time $elb $remote_host:$remote_port $target_address $request_processing_time $target_processing_time "
    '$response_processing_time $status $target_status $bytes_received $bytes_sent "$request" "$user_agent" '
    '$ssl_cipher $ssl_protocol $target_group_arn "$trace_id" "$domain_name" "$chosen_cert_arn" '
    '$matched_rule_priority $request_creation_time "$actions_executed" "$redirect_url" "$error_reason" '
    '"$target_list" "$target_status_list" "$classification" "$classification_reason" $conn_trace_id',
    appended="domain_name",
)
