"""The alarm: what nobody would notice, for no run begins without a file of a source."""

import json

import dagster as dg

from pipeline_assets.assets.keys import staging_key, table_key
from pipeline_assets.checks.events import EVERY_FILE_HAS_A_SOURCE, every_file_has_a_source
from pipeline_assets.checks.staging import FRESHNESS, HAS_FILES, freshness_result, has_files_result
from pipeline_assets.contracts.tables import EVENTS
from pipeline_assets.ledger.summary import summarise
from pipeline_assets.platform import Platform


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks whether every source still delivers and its path matches a file, and whether every file has a "
    "source. Records what the checks `freshness`, `has_files` and `every_file_has_a_source` find when it changes.",
)
def watch_landing(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
    """Evaluate the checks that must be able to fail without a run."""
    namespace = platform.settings.namespace
    found: dict[dg.AssetCheckKey, dg.AssetCheckResult] = {
        dg.AssetCheckKey(table_key(EVENTS.name, namespace), EVERY_FILE_HAS_A_SOURCE): every_file_has_a_source(platform)
    }
    for name, source in platform.sources.items():
        if not platform.is_declared(name):
            continue
        found[dg.AssetCheckKey(staging_key(name, namespace), HAS_FILES)] = has_files_result(platform, source)
        if source.bounds.freshness_hours is not None:
            freshness = freshness_result(source, summarise(platform.engine, name))
            found[dg.AssetCheckKey(staging_key(name, namespace), FRESHNESS)] = freshness
    # The cursor only keeps the same result from being recorded every minute.
    told = json.loads(context.cursor) if context.cursor else {}
    passed = {key.to_user_string(): bool(result.passed) for key, result in found.items()}
    evaluations = [
        dg.AssetCheckEvaluation(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=bool(result.passed),
            metadata=result.metadata,
            severity=result.severity,
        )
        for key, result in found.items()
        if told.get(key.to_user_string()) != passed[key.to_user_string()]
    ]
    return dg.SensorResult(asset_events=evaluations, cursor=json.dumps(passed))
