"""Checks of the asset `events`."""

from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from dagster_duckdb import DuckDBResource

from pipeline_assets.checks.declared import declared_check
from pipeline_assets.checks.footers import read_footers
from pipeline_assets.checks.grouping import Check, asset_check
from pipeline_assets.checks.identifiers import ids_across_properties
from pipeline_assets.checks.results import checked_days, result
from pipeline_assets.contracts.tables import EVENTS
from pipeline_assets.ledger.schema import event_days
from pipeline_assets.platform import Platform
from pipeline_assets.storage.parquet import parquet_relation, read_metadata

# Days before the run's that are searched for ids beyond the window of deduplication.
_REPEATS_DAYS = 7
_SHOWN_VALUES = 20
_SHOWN_FILES = 5

EVERY_FILE_HAS_A_SOURCE = "every_file_has_a_source"


def every_file_has_a_source(platform: Platform) -> dg.AssetCheckResult:
    """The result of the check for files in landing that are nobody's."""
    found = platform.files_without_source()
    return result(not found, {"files": len(found), "first": found[:_SHOWN_FILES]}, warn=True)


def events_checks() -> list[Check]:
    """The checks of `events`."""

    @asset_check(
        asset=EVENTS.name,
        name=EVERY_FILE_HAS_A_SOURCE,
        description="Every file in landing matches the path of a source; what matches none is never loaded. Looked at "
        "with every build, and by the sensor `unmatched_files`.",
    )
    def files_have_sources(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        return every_file_has_a_source(platform)

    @asset_check(
        asset=EVENTS.name,
        name="contract",
        blocking=True,
        description="The stored files have the contract's columns and types, and no null where it allows none.",
    )
    def contract(context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        listed = platform.listed(EVENTS, checked_days(context, platform, EVENTS.name))
        paths = {path: day for day, files in listed.items() for path in platform.lake.paths(files)}
        found = read_footers(map(Path, paths), EVENTS.contract)
        wrong = sorted({paths[str(path)].isoformat() for path in found.differing})
        return result(
            found.keep_contract,
            {"rows": found.rows, "nulls_in_required_columns": found.nulls, "days_with_other_columns": wrong[:10]},
        )

    @asset_check(
        asset=EVENTS.name,
        name="days_balance",
        blocking=True,
        description="On every day, landed = events + duplicates + excluded; landed is what the ledger lists as "
        "staged, events is what the lake holds. Days that are stale again await their rebuild and are left out.",
    )
    def days_balance(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.AssetCheckResult:
        days = checked_days(context, platform, EVENTS.name)
        landed: dict[date, int] = dict.fromkeys(days, 0)
        for file in platform.staged_files(days[0], days[-1]) if days else []:
            landed[file.event_date] = landed.get(file.event_date, 0) + file.rows
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
        stale = platform.staleness(EVENTS.name).tables[EVENTS.name].intersection(days)
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
        asset=EVENTS.name,
        name="bots_share",
        description="Share of events that machines caused, per source, against the declared bounds.",
    )
    def bots_share(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> dg.AssetCheckResult:
        paths = platform.lake_paths(EVENTS, checked_days(context, platform, EVENTS.name))
        if not paths:
            return result(True, {"events": 0})
        with duckdb.get_connection() as connection:
            rows = (
                parquet_relation(connection, paths)
                .aggregate("source, count(*) as events, count(*) filter (is_bot) as bots", "source")
                .fetchall()
            )
        shares = {source: bots / events for source, events, bots in rows}
        bounds = {name: platform.sources[name].bounds.bots for name in shares if name in platform.sources}
        return result(
            all(shares[name] <= bound for name, bound in bounds.items()),
            {"events": sum(events for _, events, _ in rows), "shares": shares, "bounds": bounds},
            warn=True,
        )

    @asset_check(
        asset=EVENTS.name,
        name="ids_repeat_beyond_window",
        description="Event ids that occur on several days although duplicates are dropped within `dedup_days`; "
        "declare a longer window if there are many.",
    )
    def ids_repeat_beyond_window(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> dg.AssetCheckResult:
        days = checked_days(context, platform, EVENTS.name)
        earlier = [days[0] - timedelta(days=offset) for offset in range(1, _REPEATS_DAYS + 1)] if days else []
        listed = platform.listed(EVENTS, [*earlier, *days])
        if not listed:
            return result(True, {"ids": 0})
        paths = platform.lake.paths(file for files in listed.values() for file in files)
        with duckdb.get_connection() as connection:
            repeated = (
                parquet_relation(connection, paths)
                .aggregate("property, event_id, count(*) as days", "property, event_id")
                .filter("days > 1")
                .count("*")
                .fetchall()[0][0]
            )
        return result(repeated == 0, {"ids": repeated, "days_searched": len(listed)}, warn=True)

    @asset_check(
        asset=EVENTS.name,
        name="consent_denied",
        description="Events that refuse analytics, per source, none of which may have an identifier; and rows that "
        "are no events because they refuse.",
    )
    def consent_denied(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> dg.AssetCheckResult:
        days = checked_days(context, platform, EVENTS.name)
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

    return [
        declared_check(),
        contract,
        days_balance,
        bots_share,
        ids_repeat_beyond_window,
        ids_across_properties(),
        consent_denied,
        files_have_sources,
        _counted(
            "unknown_event_types",
            "event_type_given",
            "types",
            "Events whose source calls their type something else than the known ones, by that name; they are kept as "
            "`track`. Map event_type in the declaration if they are more than that.",
        ),
        _counted(
            "unusable_values",
            "unusable",
            "values",
            "Values that say nothing, per source: `items` and `scroll_depth` that are no JSON array or no share of a "
            "page, numbers that are no amount, what programs send where they have no id (`user_id: null`). The "
            "events are kept without them; numbers, items and depths that were given are in `properties`. Declare "
            "`no_ids` if such a value is an id.",
            split=True,
        ),
    ]


def _counted(name: str, column: str, what: str, description: str, *, split: bool = False) -> Check:
    """A warning if a column of `events` says anything; events per source and value, or each of a list of values."""
    given = f"unnest(string_split({column}, ', '))" if split else f"left({column}, 40)"

    @asset_check(asset=EVENTS.name, name=name, description=description)
    def check(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> dg.AssetCheckResult:
        paths = platform.lake_paths(EVENTS, checked_days(context, platform, EVENTS.name))
        if not paths:
            return result(True, {"events": 0})
        with duckdb.get_connection() as connection:
            marked = parquet_relation(connection, paths).filter(f"{column} is not null")
            events = marked.count("*").fetchall()[0][0]
            rows = (
                marked.project(f"source, {given} as given")
                .aggregate("source, given, count(*) as events", "source, given")
                .order("events desc, source, given")
                .limit(_SHOWN_VALUES)
                .fetchall()
            )
        shown = {f"{source}: {value}": number for source, value, number in rows}
        return result(not rows, {"events": events, what: shown}, warn=True)

    return check
