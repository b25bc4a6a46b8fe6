"""Checks of the tables in PostgreSQL: their contracts, and that they hold exactly what the lake gives."""

from collections import Counter
from datetime import date
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from dagster_duckdb import DuckDBResource

from pipeline_assets.checks.behaviour import behaviour_checks
from pipeline_assets.checks.footers import read_footers
from pipeline_assets.checks.grouping import Check, asset_check
from pipeline_assets.checks.identifiers import events_have_sessions
from pipeline_assets.checks.recount import UNKNOWN_ID, SessionCounts, count_activity, count_sessions
from pipeline_assets.checks.results import checked_days, compared, result
from pipeline_assets.contracts.tables import DAILY_ACTIVITY, EVENTS, PAGE_VIEWS, SESSIONS, Table
from pipeline_assets.model import SUPPLIED_SESSIONS, Model, session_rules
from pipeline_assets.namespace import MARTS
from pipeline_assets.planning import UNPARTITIONED, days_around
from pipeline_assets.platform import Platform
from pipeline_assets.transforms.sessionize import supplied_sources


def table_checks(model: Model) -> list[Check]:
    """The checks of all tables that are made from events."""
    made = [table for table in model.tables.values() if table is not EVENTS]
    contracts = [_contract(table) if table.store == "marts" else _lake_contract(table) for table in made]
    checks = [
        *contracts,
        _session_check(),
        _page_views_check(),
        _activity_check(),
        events_have_sessions(),
        *behaviour_checks(model),
    ]
    # A deployment need not make all tables.
    return [check for check in checks if check.spec.asset_key.path[-1] in model.tables]


def _table(table: Table) -> sa.Table:
    # In a plain `sa.table` the schema stays what it is called without a namespace.
    columns = (sa.Column(name) for name in table.contract.columns())
    return sa.Table(table.name, sa.MetaData(), *columns, schema=MARTS)


def _contract(table: Table) -> Check:
    @asset_check(
        asset=table.name,
        name="contract",
        blocking=True,
        description="The table has the contract's columns, and PostgreSQL enforces its keys and required columns.",
    )
    def contract(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        inspector, schema = sa.inspect(platform.engine), platform.settings.namespace.marts
        stored = {column["name"]: column for column in inspector.get_columns(table.name, schema=schema)}
        columns = table.contract.columns()
        missing = sorted(columns.keys() - stored.keys())
        unenforced = sorted(
            name
            for name, column in columns.items()
            if name in stored and not column.nullable and stored[name]["nullable"]
        )
        key = sorted(inspector.get_pk_constraint(table.name, schema=schema)["constrained_columns"])
        return result(
            not missing and not unenforced and key == sorted(table.contract.primary_key()),
            {"columns": len(stored), "missing": missing, "nulls_not_refused": unenforced, "primary_key": key},
        )

    return contract


def _lake_contract(table: Table) -> Check:
    @asset_check(
        asset=table.name,
        name="contract",
        blocking=True,
        description="The stored files have the contract's columns and types, and no null where it allows none.",
    )
    def contract(context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        paths = platform.lake_paths(table, checked_days(context, platform, table.name))
        found = read_footers(map(Path, paths), table.contract)
        return result(
            found.keep_contract,
            {"rows": found.rows, "nulls_in_required_columns": found.nulls, "files_that_differ": len(found.differing)},
        )

    return contract


def _session_check() -> Check:
    s = _table(SESSIONS).c

    @asset_check(
        asset=SESSIONS.name,
        name="every_event_in_one_session",
        blocking=True,
        description="Sessions and their events per day and property, counted again from the lake by a query of DuckDB "
        "that shares no code with the transform and puts every event into one session or excludes it for one reason "
        "(stray, no_session_id, orphan_ping), equal those in PostgreSQL. Shows the excluded events by source.",
    )
    def every_event_in_one_session(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> dg.AssetCheckResult:
        days = checked_days(context, platform, SESSIONS.name)
        if not days:
            return result(True, {"compared": 0})
        recounted = _recounted(platform, duckdb, days)
        expected: dict[object, object] = {key: tuple(found) for key, found in recounted.started.items()}
        # An id that `supplied_sessions` does not know is no reason of the rules'.
        expected |= {(day, name): "unknown session id" for day, name, _, why in recounted.excluded if why == UNKNOWN_ID}
        excluded: Counter[str] = Counter()
        for (_, _, source, reason), events in recounted.excluded.items():
            excluded[f"{source}, {reason}"] += events
        query = (
            sa.select(s.session_date, s.property, sa.func.count(), sa.cast(sa.func.sum(s.events), sa.BigInteger))
            .where(s.session_date.in_(days))
            .group_by(s.session_date, s.property)
        )
        with platform.engine.connect() as connection:
            actual: dict[object, object] = {
                (day, name): tuple(numbers) for day, name, *numbers in connection.execute(query)
            }
        return compared(expected, actual, "sessions and events per day and property", excluded=excluded)

    return every_event_in_one_session


def _recounted(platform: Platform, duckdb: DuckDBResource, days: list[date]) -> SessionCounts:
    rules = session_rules(list(platform.sources.values()))
    after = max([1, *(rules[name].max_session_days for name in supplied_sources(rules))])
    supplied = platform.lake_paths(SUPPLIED_SESSIONS, [UNPARTITIONED])
    near = days_around(days, 2, after)
    with duckdb.get_connection() as connection:
        return count_sessions(
            connection,
            platform.lake_paths(EVENTS, near),
            days,
            rules=rules,
            timezone=platform.settings.timezone,
            supplied=supplied,
        )


def _page_views_check() -> Check:
    s, p = _table(SESSIONS).c, _table(PAGE_VIEWS).c

    @asset_check(
        asset=PAGE_VIEWS.name,
        name="matches_sessions",
        blocking=True,
        additional_deps=[SESSIONS.name],
        description="Page views per day equal the sum of `sessions.page_views`.",
    )
    def matches_sessions(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.AssetCheckResult:
        days = checked_days(context, platform, PAGE_VIEWS.name)
        summed = (
            sa.select(s.session_date, sa.cast(sa.func.sum(s.page_views), sa.BigInteger))
            .where(s.session_date.in_(days))
            .group_by(s.session_date)
            .having(sa.func.sum(s.page_views) > 0)
        )
        counted = sa.select(p.session_date, sa.func.count()).where(p.session_date.in_(days)).group_by(p.session_date)
        with platform.engine.connect() as connection:
            expected = {row[0]: row[1] for row in connection.execute(summed)}
            actual = {row[0]: row[1] for row in connection.execute(counted)}
        return compared(expected, actual, "page views per day")

    return matches_sessions


def _activity_check() -> Check:
    a, s = _table(DAILY_ACTIVITY).c, _table(SESSIONS).c

    @asset_check(
        asset=DAILY_ACTIVITY.name,
        name="matches_events_and_sessions",
        blocking=True,
        description="Events, visitors and revenue per day and property, counted again from the lake, and sessions, "
        "counted again in PostgreSQL, equal those in the table.",
    )
    def matches_events_and_sessions(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> dg.AssetCheckResult:
        days = checked_days(context, platform, DAILY_ACTIVITY.name)
        paths = platform.lake_paths(EVENTS, days)
        currencies = platform.analyses.currencies
        with duckdb.get_connection() as connection:
            recounted = count_activity(connection, paths, reporting=currencies.reporting if currencies else None)
        query = sa.select(a.activity_date, a.property, a.events, a.visitors, a.revenue, a.sessions).where(
            a.activity_date.in_(days)
        )
        sessions = (
            sa.select(s.session_date, s.property, sa.func.count())
            .where(s.session_date.in_(days), sa.not_(s.is_bot))
            .group_by(s.session_date, s.property)
        )
        with platform.engine.connect() as connection:
            stored = connection.execute(query).all()
            starts = {(day, name): count for day, name, count in connection.execute(sessions)}
        expected = {key: (*figures, starts.get(key, 0)) for key, figures in recounted.items()}
        actual = {(row[0], row[1]): tuple(row[2:]) for row in stored}
        return compared(expected, actual, "days and properties")

    return matches_events_and_sessions
