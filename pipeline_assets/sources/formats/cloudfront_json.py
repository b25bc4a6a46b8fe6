"""CloudFront's standard logs (v2) as JSON lines; the fields have the names of the documentation, any choice of them.

Real-time logs that were made JSON are read too: they write `cs-host` for `cs(Host)`, and the query within the path.

https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logging.html,
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/real-time-logs.html
"""

from pipeline_assets.sources.formats.cloudfront_log import cloudfront_mapping
from pipeline_assets.sources.formats.ready import ReadyFormat

_REAL_TIME = {"cs(User-Agent)": "cs-user-agent", "cs(Host)": "cs-host", "cs(Referer)": "cs-referer"}


def _value(name: str) -> str:
    value = f"nullif(\"{name}\", '-')"
    return f"coalesce({value}, {_value(_REAL_TIME[name])})" if name in _REAL_TIME else value


_MAPPING = cloudfront_mapping(_value)
_MILLISECONDS = 'make_timestamp_ms(TRY_CAST("timestamp(ms)" AS BIGINT))::VARCHAR'
_SECONDS = 'make_timestamp_ms(CAST(1000 * TRY_CAST("timestamp" AS DECIMAL(18, 3)) AS BIGINT))::VARCHAR'

FORMAT = ReadyFormat(
    name="cloudfront_json",
    title="CloudFront's standard logs as JSON",
    records="jsonl",
    marks=(("c-ip", "cs-uri-stem"),),
    mapping={**_MAPPING, "occurred_at": f"coalesce({_MILLISECONDS}, {_MAPPING['occurred_at']}, {_SECONDS})"},
)
