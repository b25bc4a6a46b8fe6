"""Access logs of AWS' Classic Load Balancers. Lines of before 2015 end with the request.

https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html
"""

from pipeline_assets.sources.formats.web_requests import load_balancer_log

FORMAT = load_balancer_log(
    "aws_elb_log",
    "access logs of AWS' Classic Load Balancers",
    "$time $elb $remote_host:$remote_port $backend_address $request_processing_time $backend_processing_time "
    '$response_processing_time $status $backend_status $bytes_received $bytes_sent "$request" "$user_agent" '
    "$ssl_cipher $ssl_protocol",
    appended="user_agent",
)
