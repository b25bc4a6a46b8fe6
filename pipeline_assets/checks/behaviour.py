"""Checks of people, activity, commerce and analyses: what two tables must agree in, counted again in SQL.

Every check compares numbers by key. Those of daily tables look at the days of the run, those of tables without
partitions at all rows; the lake's files are asked by DuckDB, the marts by PostgreSQL.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import date
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from pipeline_assets.analyses.declaration import Attribution
from pipeline_assets.analyses.event_names import never_occurred
from pipeline_assets.checks.grouping import Check, asset_check
from pipeline_assets.checks.results import checked_days, compared, result
from pipeline_assets.contracts.attributions import Attributions
from pipeline_assets.contracts.funnels import Funnels
from pipeline_assets.contracts.keys import key_text
from pipeline_assets.contracts.retentions import Retentions
from pipeline_assets.contracts.tables import EVENTS, Table
from pipeline_assets.ledger.looks import known_event_names
from pipeline_assets.ledger.schema import text
from pipeline_assets.model import ORDER_DAYS, PERSON_DAYS, VISITOR_DAYS, Model
from pipeline_assets.platform import Platform
from pipeline_assets.storage.parquet import parquet_relation

Rows = dict[Any, Any]

_TOLERANCE = 1e-6


def behaviour_checks(model: Model) -> list[Check]:
    """The checks of people, commerce and analyses."""
    checks = [
        _compared(
            "visitor_days",
            "matches_events_and_sessions",
            "Events with a visitor per day equal those of the lake's events; sessions, their events and their page "
            "views equal those of `sessions`.",
            expected=lambda at: at.numbers(
                at.lake(EVENTS, "select 'events of ' || event_date, count(visitor_id) from files group by all"),
                at.marts_by_key(
                    "select 'sessions of ' || session_date, count(*), sum(events), sum(page_views) "
                    "from marts.sessions where session_date = any(:days) group by 1"
                ),
            ),
            actual=lambda at: at.numbers(
                at.lake(VISITOR_DAYS, "select 'events of ' || activity_date, sum(events) from files group by all"),
                at.lake(
                    VISITOR_DAYS,
                    "select 'sessions of ' || activity_date, sum(sessions), sum(session_events), "
                    "sum(session_page_views) from files group by all",
                ),
            ),
        ),
        _compared(
            "identities",
            "one_user_per_person",
            "No person has two user ids, and no two spans of an id overlap or leave a gap.",
            expected=lambda _: {},
            actual=lambda at: at.marts(
                "select 'users of a person', count(*) from (select person_id from marts.identities "
                "where id_type = 'user_id' group by 1 having count(*) > 1) wrong having count(*) > 0 "
                "union all select 'spans', count(*) from (select valid_from, lag(valid_to) over ids as before, "
                "row_number() over ids as position from marts.identities where is_shared "
                "window ids as (partition by property, id_type, id order by span)) spans "
                "where case when position = 1 then valid_from is not null else valid_from is distinct from before end "
                "having count(*) > 0 "
                "union all select 'spans of ids that are not shared', count(*) from marts.identities "
                "where not is_shared and (span, valid_from is null, valid_to is null) <> (1, true, true) "
                "having count(*) > 0"
            ),
        ),
        _compared(
            "person_days",
            "matches_visitor_days",
            "Rows, events and sessions per day equal those of `visitor_days`: nobody is lost or doubled.",
            expected=lambda at: at.lake(
                VISITOR_DAYS, "select activity_date, (count(*), sum(events), sum(sessions)) from files group by all"
            ),
            actual=lambda at: at.lake(
                PERSON_DAYS, "select activity_date, (count(*), sum(events), sum(sessions)) from files group by all"
            ),
        ),
        _compared(
            "active_users",
            "matches_daily_activity",
            "Visitors of a day and property equal those of `daily_activity`.",
            expected=lambda at: at.marts(
                "select (activity_date, property)::text, visitors from marts.daily_activity "
                "where activity_date = any(:days) and visitors > 0"
            ),
            actual=lambda at: at.marts(
                "select (activity_date, property)::text, visitors_1d from marts.active_users "
                "where activity_date = any(:days) and property <> '*' and visitors_1d > 0"
            ),
            also_reads=("daily_activity",),
        ),
        *(
            _compared(
                name,
                "adds_up",
                "Sessions, their events and page views, and the events in no session, of all rows that are no bots, "
                "add up to those of all days.",
                expected=lambda at: at.numbers(
                    at.lake(
                        VISITOR_DAYS,
                        "select 'all', sum(sessions), sum(session_events), sum(session_page_views), "
                        "sum(orphan_pings + events_without_session_id + strays) "
                        "from files where not is_bot having count(*) > 0",
                        all_days=True,
                    )
                ),
                actual=lambda at, name=name: at.numbers(
                    at.marts_by_key(
                        f"select 'all', sum(sessions), sum(events), sum(page_views), sum(events_outside_sessions) "  # noqa: S608
                        f"from marts.{name} where not is_bot having count(*) > 0"
                    )
                ),
            )
            for name in ("visitors", "users")
        ),
        _compared(
            "campaigns",
            "matches_sessions",
            "Sessions of a day and property, bots left out, equal those of `sessions`.",
            expected=lambda at: at.marts(
                "select (session_date, property)::text, count(*) from marts.sessions "
                "where session_date = any(:days) and not is_bot group by 1"
            ),
            actual=lambda at: at.marts(
                "select (session_date, property)::text, sum(sessions)::bigint from marts.campaigns "
                "where session_date = any(:days) group by 1"
            ),
        ),
        _compared(
            "pages",
            "matches_page_views",
            "Views of a day and property, bots left out, equal those of `page_views`.",
            expected=lambda at: at.marts(
                "select (session_date, property)::text, count(*) from marts.page_views "
                "where session_date = any(:days) and not is_bot group by 1"
            ),
            actual=lambda at: at.marts(
                "select (session_date, property)::text, sum(views)::bigint from marts.pages "
                "where session_date = any(:days) group by 1"
            ),
        ),
        _compared(
            "revenue",
            "matches_events",
            "Net revenue per day, property and currency, added up again from the lake's events.",
            expected=lambda at: _in_key(
                at.lake(
                    EVENTS,
                    "select (event_date, property, coalesce(currency, '(none)')), sum(revenue) from files "
                    "where revenue is not null and not is_bot group by all having abs(sum(revenue)) < 1e12",
                )
            ),
            actual=lambda at: {
                tuple(key): net
                for *key, net in at.rows(
                    "select activity_date, property, currency, net from marts.revenue "
                    "where activity_date = any(:days) and net is not null"
                )
            },
        ),
        _compared(
            "orders",
            "matches_order_days",
            "What was ordered and paid back, per property and currency, equals the sums over all days.",
            expected=lambda at: at.lake(
                ORDER_DAYS,
                "select (property, currency), (count(distinct order_id), sum(gross), sum(refunded)) "
                "from files group by all",
                all_days=True,
            ),
            actual=lambda at: {
                row[:2]: row[2:]
                for row in at.rows(
                    "select property, currency, count(*), sum(gross), sum(refunded) from marts.orders group by 1, 2"
                )
            },
        ),
        _warning(
            "products",
            "readable",
            "Events of the days whose products could not be read in part or in whole, and amounts without a rate.",
            "select coalesce(sum(unreadable), 0)::bigint as unreadable, "
            "coalesce(sum(amounts_without_rate), 0)::bigint as amounts_without_rate "
            "from marts.products where activity_date = any(:days)",
        ),
        _warning(
            "revenue",
            "has_rates",
            "Amounts of the days whose currency has no declared rate; they are missing in the reporting currency. "
            "Shows the amounts without a currency, which count as ones in the reporting currency.",
            "select coalesce(sum(amounts_without_rate), 0)::bigint as amounts_without_rate, "
            "coalesce(sum(amounts) filter (where currency = '(none)'), 0)::bigint as amounts_without_currency "
            "from marts.revenue where activity_date = any(:days)",
            shown=("amounts_without_currency",),
            of_reporting=True,
        ),
        _warning(
            "conversions",
            "has_values",
            "Conversions of the days that are worth something in a currency without a rate: nothing is credited for "
            "them. Shows those without a currency, which count as ones in the reporting currency.",
            "select count(*) filter (where reporting_value is null) as without_rate, "
            "count(*) filter (where currency is null) as without_currency "
            "from marts.conversions where conversion_date = any(:days) and value is not null",
            shown=("without_currency",),
            of_reporting=True,
        ),
    ]
    checks += [_events_occur(table, names) for table, names in model.event_names.items() if table in model.tables]
    for table in model.tables.values():
        if table.contract is Funnels:
            checks.append(_funnel(table))
        elif table.contract is Retentions:
            checks.append(_retention(table))
        elif table.contract is Attributions:
            checks.append(_attribution(table))
    # A deployment need not make the tables that a check compares with.
    return [
        check
        for check in checks
        if all(other.asset_key.path[-1] in model.tables for other in check.spec.additional_deps)
    ]


# --- Declared analyses --------------------------------------------------------------------------------


def _funnel(table: Table) -> Check:
    return _compared(
        table.name,
        "never_widens",
        "No step was reached by more than the step before, and every entry has all steps.",
        expected=lambda _: {},
        actual=lambda at: at.marts(
            f"select (entry_date, breakdown, step_number)::text, entities from ("  # noqa: S608
            f"select *, lag(entities) over entry as before, row_number() over entry as position "
            f"from marts.{table.name} where entry_date = any(:days) "
            f"window entry as (partition by entry_date, breakdown order by step_number)) steps "
            f"where entities > before or step_number <> position"
        ),
    )


def _retention(table: Table) -> Check:
    return _compared(
        table.name,
        "within_cohorts",
        "A cohort has one size, and no more of it return than it has.",
        expected=lambda _: {},
        actual=lambda at: at.marts(
            f"select cohort_start::text, max(retained) from marts.{table.name} group by 1 "  # noqa: S608
            f"having count(distinct cohort_size) > 1 or max(retained) > max(cohort_size)"
        ),
    )


def _attribution(table: Table) -> Check:
    def wrong(at: _At) -> Rows:
        declared = at.attribution(table.name)
        # A conversion without a value has credits that are null, and every other one none of these.
        return at.marts(
            f"""
            select (coalesce(c.conversion_id, a.conversion_id), coalesce(c.model, a.model))::text,
                (a.credits, a.credited, c.value)::text
            from (
                select conversion_id, model, {at.value_column} as value
                from marts.conversions, unnest(cast(:models as text[])) as model
                where conversion_date = any(:days) and conversion = :conversion
                    and (cardinality(cast(:properties as text[])) = 0 or property = any(:properties))
            ) c
            full join (
                select conversion_id, model, count(*) as touches, count(credit) as credits, sum(credit) as credited,
                    sum(share) as shares
                from marts.{table.name} where conversion_date = any(:days) group by 1, 2
            ) a using (conversion_id, model)
            where c.conversion_id is null or a.conversion_id is null
                or a.credits <> case when c.value is null then 0 else a.touches end
                or a.credited is distinct from c.value
                or abs(a.shares - 1) > {_TOLERANCE}
            """,  # noqa: S608
            models=list(declared.models),
            conversion=declared.conversion,
            properties=list(declared.properties),
        )

    return _compared(
        table.name,
        "credits_add_up",
        "By every model, the credits of every conversion add up to its value, and are null where it has none, and its "
        "shares add up to 1.",
        expected=lambda _: {},
        actual=wrong,
    )


def _in_key(amounts: Rows) -> Rows:
    """Amounts by key, whose last part is a text, as a table has it in its key."""
    found: Rows = {}
    for (*key, last), amount in amounts.items():
        of_table = (*key, key_text(last))
        found[of_table] = found.get(of_table, 0) + amount
    return found


# --- How the checks are made --------------------------------------------------------------------------


class _At:
    """The tables, as a check asks for them."""

    def __init__(self, platform: Platform, duckdb: DuckDBResource, days: Sequence[date]) -> None:
        self._platform = platform
        self._duckdb = duckdb
        self._days = list(days)

    def lake(self, table: Table, query: str, *, all_days: bool = False) -> Rows:
        """Second column by first of a query over `files`: the table's files of the days."""
        platform = self._platform
        days = platform.builds.built_days(table.name) if all_days else self._days
        paths = platform.lake_paths(table, days)
        if not paths:
            return {}
        with self._duckdb.get_connection() as database:
            database.execute("set TimeZone = 'UTC'")
            parquet_relation(database, paths).create_view("files")
            return {row[0]: row[1] if len(row) == 2 else tuple(row[1:]) for row in database.execute(query).fetchall()}

    @property
    def value_column(self) -> str:
        """Where `conversions` has what analyses count: amounts in one currency, if there is one."""
        return "reporting_value" if self._platform.analyses.currencies else "value"

    def attribution(self, name: str) -> Attribution:
        """The declaration of a table of credits."""
        return next(each for each in self._platform.analyses.attributions if each.name == name)

    def rows(self, query: str, **values: object) -> list[tuple]:
        """Rows of a query in PostgreSQL, `:days` being the days."""
        with self._platform.engine.connect() as connection:
            values |= {"days": self._days} if ":days" in query else {}
            return [tuple(row) for row in connection.execute(text(connection, query), values)]

    def marts(self, query: str, **values: object) -> Rows:
        """Second column by first of the same."""
        return {row[0]: row[1] for row in self.rows(query, **values)}

    def marts_by_key(self, query: str) -> Rows:
        """The other columns by the first."""
        return {key: tuple(numbers) for key, *numbers in self.rows(query)}

    def numbers(self, *rows: Rows) -> Rows:
        """Whole numbers by key, without the keys that have nothing but zeros."""
        counted = {
            key: tuple(map(int, numbers if isinstance(numbers, tuple) else (numbers,)))
            for of_table in rows
            for key, numbers in of_table.items()
        }
        return {key: numbers for key, numbers in counted.items() if any(numbers)}


_Question = Callable[[_At], Rows]


def _compared(
    table: str, name: str, description: str, *, expected: _Question, actual: _Question, also_reads: Sequence[str] = ()
) -> Check:
    """A blocking check that two questions have the same answer."""

    @asset_check(asset=table, name=name, blocking=True, description=description, additional_deps=also_reads)
    def check(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> dg.AssetCheckResult:
        at = _At(platform, duckdb, checked_days(context, platform, table))
        return compared(expected(at), actual(at), name.replace("_", " "))

    return check


def _events_occur(table: str, names: Sequence[str]) -> Check:
    """A warning if the declaration of a table asks for events that never were."""

    @asset_check(
        asset=table,
        name="events_occur",
        description="Every name of an event that the declaration asks for has occurred, at whatever time.",
    )
    def check(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        never = never_occurred(names, known_event_names(platform.engine))
        return result(not never, {"names": len(names), "never_occurred": [str(name) for name in never]}, warn=True)

    return check


def _warning(
    table: str, name: str, description: str, query: str, *, shown: Collection[str] = (), of_reporting: bool = False
) -> Check:
    """A warning if any number of the only row is not 0, but for those that are only shown.

    What is about amounts in the reporting currency says nothing where none is declared.
    """

    @asset_check(asset=table, name=name, description=description)
    def check(context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        if of_reporting and platform.analyses.currencies is None:
            return result(True, {"reporting_currency": "none declared"}, warn=True)
        with platform.engine.connect() as connection:
            days = checked_days(context, platform, table)
            row = connection.execute(text(connection, query), {"days": days}).mappings().one()
        found = any(number for column, number in row.items() if column not in shown)
        return result(not found, dict(row), warn=True)

    return check
