"""The alarms: what nobody would notice, for no run begins without a file of a source.

Two sensors, so that a landing folder that takes long to list cannot keep a silent source from being told: Dagster ends
a tick after a minute.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import dagster as dg

from pipeline_assets.asset_keys import staging_key, table_key
from pipeline_assets.checks.events import EVERY_FILE_HAS_A_SOURCE, every_file_has_a_source
from pipeline_assets.checks.staging import (
    FRESHNESS,
    HAS_FILES,
    QUARANTINED_SHARE,
    freshness_result,
    has_files_result,
    quarantined_result,
)
from pipeline_assets.ledger.summary import summarise
from pipeline_assets.platform import Platform
from pipeline_assets.sensors.declaring import TICK_SECONDS, sensor
from pipeline_assets.storage.store import TooLongError
from pipeline_assets.tables.spec import EVENTS


@sensor(
    minimum_interval_seconds=60,
    description="Looks whether every source that declares `freshness_hours` still delivers, and whether a file that it "
    "has delivered is broken. Records what the checks `freshness` and `quarantined_share` find when it changes.",
)
def silent_sources(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
    """Evaluate the freshness of every source with a bound, and the quality of what every source has delivered."""
    found: dict[dg.AssetCheckKey, dg.AssetCheckResult] = {}
    for name, source in platform.sources.items():
        key = staging_key(name, platform.settings.namespace)
        found[dg.AssetCheckKey(key, QUARANTINED_SHARE)] = quarantined_result(platform, name)
        if platform.is_declared(name) and source.bounds.freshness_hours is not None:
            summary = summarise(platform.engine, name)
            found[dg.AssetCheckKey(key, FRESHNESS)] = freshness_result(source, summary)
    return _changed(context.cursor, found)


@sensor(
    minimum_interval_seconds=300,
    description="Looks whether the path of every source matches a file, and whether every file has a source. Records "
    "what the checks `has_files` and `every_file_has_a_source` find when it changes.",
)
def unmatched_files(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
    """Compare landing with the declared paths."""
    namespace = platform.settings.namespace
    deadline = time.monotonic() + TICK_SECONDS
    looks: dict[dg.AssetCheckKey, Callable[[float], dg.AssetCheckResult]] = {
        dg.AssetCheckKey(staging_key(name, namespace), HAS_FILES): partial(has_files_result, platform, source)
        for name, source in platform.sources.items()
        if platform.is_declared(name)
    }
    events = dg.AssetCheckKey(table_key(EVENTS, namespace), EVERY_FILE_HAS_A_SOURCE)
    looks[events] = partial(every_file_has_a_source, platform)
    found: dict[dg.AssetCheckKey, dg.AssetCheckResult] = {}
    late: list[dg.AssetCheckKey] = []
    for key, look in looks.items():
        try:
            found[key] = look(deadline - time.monotonic())
        except TooLongError:
            # A load takes the full look, when it is due, and is in nobody's way; until then what was told holds.
            late.append(key)
    return _changed(context.cursor, found, still=late)


def _changed(
    cursor: str | None,
    found: Mapping[dg.AssetCheckKey, dg.AssetCheckResult],
    *,
    still: Sequence[dg.AssetCheckKey] = (),
) -> dg.SensorResult:
    """Record the results that are others than when they were last recorded; some are still what they were."""
    # The cursor only keeps the same result from being recorded every minute.
    told = json.loads(cursor) if cursor else {}
    passed = {name: told[name] for key in still if (name := key.to_user_string()) in told}
    passed |= {key.to_user_string(): bool(result.passed) for key, result in found.items()}
    evaluations = [
        dg.AssetCheckEvaluation(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=bool(result.passed),
            metadata=result.metadata,
            description=result.description,
            severity=result.severity,
        )
        for key, result in found.items()
        if told.get(key.to_user_string()) != passed[key.to_user_string()]
    ]
    return dg.SensorResult(asset_events=evaluations, cursor=json.dumps(passed))
