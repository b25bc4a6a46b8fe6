"""Checks of the tables in PostgreSQL: their contracts, and that they hold exactly what the lake gives."""

from datetime import date, timedelta

import dagster as dg
import sqlalchemy as sa
from dagster_duckdb import DuckDBResource

from pipeline_assets.checks.events import events_files
from pipeline_assets.checks.recount import count_activity, count_sessions
from pipeline_assets.checks.results import checked_days, compared, result
from pipeline_assets.contracts.tables import DAILY_ACTIVITY, MARTS, PAGE_VIEWS, SESSIONS, Table
from pipeline_assets.platform import Platform

MARTS_SCHEMA = "marts"


def marts_checks() -> list[dg.AssetChecksDefinition]:
    """The checks of all tables in PostgreSQL."""
    return [*(_contract(table) for table in MARTS), *_session_checks(), _page_views_check(), _activity_check()]


def _table(table: Table) -> sa.TableClause:
    return sa.table(table.name, *(sa.column(name) for name in table.contract.columns()), schema=MARTS_SCHEMA)


def _contract(table: Table) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=table.name,
        name="contract",
        blocking=True,
        description="The table has the contract's columns, and PostgreSQL enforces its keys and required columns.",
    )
    def contract(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        inspector = sa.inspect(platform.engine)
        stored = {column["name"]: column for column in inspector.get_columns(table.name, schema=MARTS_SCHEMA)}
        columns = table.contract.columns()
        missing = sorted(columns.keys() - stored.keys())
        unenforced = sorted(
            name
            for name, column in columns.items()
            if name in stored and not column.nullable and stored[name]["nullable"]
        )
        key = sorted(inspector.get_pk_constraint(table.name, schema=MARTS_SCHEMA)["constrained_columns"])
        return result(
            not missing and not unenforced and key == sorted(table.contract.primary_key()),
            {"columns": len(stored), "missing": missing, "nulls_not_refused": unenforced, "primary_key": key},
        )

    return contract


def _session_checks() -> list[dg.AssetChecksDefinition]:
    s = _table(SESSIONS).c

    @dg.asset_check(
        asset=SESSIONS.name,
        name="every_event_in_one_session",
        blocking=True,
        description="Events with a visitor on a day = events of the sessions that start on it and lie on it, plus "
        "those that sessions of the day before have on it.",
    )
    def every_event_in_one_session(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> dg.AssetCheckResult:
        days = checked_days(context, platform, SESSIONS.name)
        # The day before the first may await its own rebuild, and then its sessions say nothing about this run.
        days = days[1:] if days and (days[0] - timedelta(days=1)) in _unsettled(platform, days) else days
        expected = dict.fromkeys(days, 0)
        paths = events_files(platform, days)
        if paths:
            with duckdb.get_connection() as connection:
                rows = (
                    connection.from_parquet([str(path) for path in paths.values()])
                    .filter("visitor_id is not null")
                    .aggregate("event_date, count(*) as events", "event_date")
                    .fetchall()
                )
            expected |= dict(rows)
        actual = dict.fromkeys(days, 0)
        query = (
            sa.select(s.session_date, sa.func.sum(s.events - s.events_next_day), sa.func.sum(s.events_next_day))
            .where(s.session_date.in_([*days, *(day - timedelta(days=1) for day in days)]))
            .group_by(s.session_date)
        )
        with platform.engine.connect() as connection:
            for day, same_day, next_day in connection.execute(query):
                if day in actual:
                    actual[day] += int(same_day)
                if day + timedelta(days=1) in actual:
                    actual[day + timedelta(days=1)] += int(next_day)
        return compared(expected, actual, "events in sessions per day")

    @dg.asset_check(
        asset=SESSIONS.name,
        name="matches_events",
        blocking=True,
        description="Sessions per day and property, counted again from the lake by a query of DuckDB that shares no "
        "code with the transform, equal those in PostgreSQL.",
    )
    def matches_events(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> dg.AssetCheckResult:
        days = checked_days(context, platform, SESSIONS.name)
        if not days:
            return result(True, {"compared": 0})
        near = [days[0] - timedelta(days=1), *days]
        with duckdb.get_connection() as connection:
            expected = count_sessions(
                connection,
                [str(path) for path in events_files(platform, near).values()],
                days[0],
                timeouts={name: source.sessions.timeout_minutes for name, source in platform.sources.items()},
                timezone=platform.settings.timezone,
            )
        query = (
            sa.select(s.session_date, s.property, sa.func.count())
            .where(s.session_date.in_(days))
            .group_by(s.session_date, s.property)
        )
        with platform.engine.connect() as connection:
            actual = {(day, name): count for day, name, count in connection.execute(query)}
        return compared(expected, actual, "sessions per day and property")

    return [every_event_in_one_session, matches_events]


def _unsettled(platform: Platform, days: list[date]) -> set[date]:
    return platform.staleness().tables[SESSIONS.name] - set(days)


def _page_views_check() -> dg.AssetChecksDefinition:
    s, p = _table(SESSIONS).c, _table(PAGE_VIEWS).c

    @dg.asset_check(
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


def _activity_check() -> dg.AssetChecksDefinition:
    a, s = _table(DAILY_ACTIVITY).c, _table(SESSIONS).c

    @dg.asset_check(
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
        paths = [str(path) for path in events_files(platform, days).values()]
        with duckdb.get_connection() as connection:
            recounted = count_activity(connection, paths)
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
