"""Server access logs of Amazon S3. Older lines end earlier; what is appended later is `further_fields`.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
"""

from pipeline_assets.sources.access_logs import CLF_TIME, lines_of
from pipeline_assets.sources.formats.ready import ReadyFormat
from pipeline_assets.sources.formats.web_requests import request_mapping

FORMAT = ReadyFormat(
    name="s3_access_log",
    title="server access logs of Amazon S3",
    records="access_log",
    log=lines_of(
        "$bucket_owner $bucket [$time] $remote_host $requester $request_id $operation $key "
        '"$request" $status $error_code $bytes_sent $object_size $total_time_ms $turn_around_time_ms '
        '"$referrer" "$user_agent" $version_id $host_id $signature_version $cipher_suite $authentication_type '
        "$host_header $tls_version $access_point_arn $acl_required $source_region",
        {
            "time": f"time:{CLF_TIME}",
            "remote_host": "address",
            "status": "status",
            "bytes_sent": "number",
            "object_size": "number",
            "total_time_ms": "number",
            "turn_around_time_ms": "number",
        },
        appended="host_id",
        bare_dash=True,
    ),
    mapping=request_mapping(
        time='"time"',
        address="remote_host",
        agent="user_agent",
        method="method",
        status="status",
        path="target",
        url="""CASE WHEN starts_with(target, '/') AND host_header IS NOT NULL THEN
            CASE WHEN tls_version IS NULL THEN 'http://' ELSE 'https://' END || host_header ELSE '' END || target""",
        referrer="referrer",
    ),
)
