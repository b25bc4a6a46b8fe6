"""Checks of what the ledger, landing and the declarations say of `events`; those of its rows are in its spec."""

import dagster as dg
import sqlalchemy as sa
from dagster_duckdb import DuckDBResource

from pipeline_assets.checks.declared import declared_check
from pipeline_assets.checks.grouping import Check, asset_check
from pipeline_assets.checks.identifiers import ids_across_properties
from pipeline_assets.checks.results import checked_days, result
from pipeline_assets.ledger.counting import staged_rows
from pipeline_assets.ledger.schema import event_days
from pipeline_assets.platform import Platform
from pipeline_assets.storage.parquet import parquet_relation, read_metadata
from pipeline_assets.tables.spec import EVENTS

_SHOWN_FILES = 5

EVERY_FILE_HAS_A_SOURCE = "every_file_has_a_source"


def every_file_has_a_source(platform: Platform, seconds: float | None = None) -> dg.AssetCheckResult:
    """The result of the check for files in landing that are nobody's.

    Args:
        platform: the deployment.
        seconds: how long the look may take; as long as it does by default.

    Raises:
        TooLongError: it would take longer.
    """
    found = platform.unclaimed(seconds=seconds)
    return result(not found.count, {"files": found.count, "first": list(found.named[:_SHOWN_FILES])}, warn=True)


def account_checks() -> list[Check]:
    """Checks of the accounts behind `events`."""

    @asset_check(
        asset=EVENTS,
        name=EVERY_FILE_HAS_A_SOURCE,
        description="Every file in landing matches the path of a source; what matches none is never loaded. Looked at "
        "with every build, and by the sensor `unmatched_files`.",
    )
    def files_have_sources(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        return every_file_has_a_source(platform)

    @asset_check(
        asset=EVENTS,
        name="days_balance",
        blocking=True,
        description="On every day, landed = events + duplicates + excluded; landed is what the ledger lists as "
        "staged, events is what the lake holds. Days that are stale again await their rebuild and are left out.",
    )
    def days_balance(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.AssetCheckResult:
        days = checked_days(context, platform, EVENTS)
        landed = dict.fromkeys(days, 0) | staged_rows(platform.engine, platform.sources, days)
        stored = {
            day: sum(read_metadata(path).num_rows for path in platform.lake.paths(files))
            for day, files in platform.listed(EVENTS, days).items()
        }
        e = event_days.c
        with platform.engine.connect() as connection:
            booked = {
                row.event_date: row for row in connection.execute(sa.select(event_days).where(e.event_date.in_(days)))
            }
        # Asked last: whatever was booked while the numbers above were read makes its days stale.
        stale = platform.staleness(EVENTS).tables[EVENTS].intersection(days)
        settled = [day for day in days if day not in stale]
        totals = {
            name: sum(getattr(booked[day], name) for day in settled if day in booked)
            for name in ("landed", "events", "duplicates", "conflicts", "excluded")
        }
        wrong = [
            day
            for day in settled
            if day not in booked or (booked[day].landed, booked[day].events) != (landed[day], stored.get(day, 0))
        ]
        return result(
            not wrong,
            {
                **totals,
                "days": len(settled),
                "days_stale_again": len(stale),
                "days_out_of_balance": [day.isoformat() for day in wrong[:10]],
            },
        )

    @asset_check(
        asset=EVENTS,
        name="consent_denied",
        description="Events that refuse analytics, per source, none of which may have an identifier; and rows that "
        "are no events because they refuse.",
    )
    def consent_denied(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> dg.AssetCheckResult:
        days = checked_days(context, platform, EVENTS)
        paths = platform.lake_paths(EVENTS, days)
        rows: list[tuple[str, int, int]] = []
        if paths:
            with duckdb.get_connection() as connection:
                rows = (
                    parquet_relation(connection, paths)
                    .filter("consent = false")
                    .aggregate(
                        "source, count(*), count(*) filter (coalesce(anonymous_id, user_id, visitor_id) is not null)",
                        "source",
                    )
                    .fetchall()
                )
        excluded = sa.select(
            sa.func.coalesce(sa.func.sum(event_days.c.reasons["consent_denied"].as_integer()), 0)
        ).where(event_days.c.event_date.in_(days))
        with platform.engine.connect() as connection:
            rows_excluded = int(connection.execute(excluded).scalar_one())
        identified = sum(number for *_, number in rows)
        return result(
            identified == 0,
            {
                "events_without_identifiers": {source: events - number for source, events, number in rows},
                "events_with_identifiers": identified,
                "rows_excluded": rows_excluded,
            },
        )

    return [declared_check(), days_balance, ids_across_properties(), consent_denied, files_have_sources]
