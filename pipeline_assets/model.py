"""The behaviour model of a deployment: every table, what it reads and how it is made.

Whatever needs to know a table asks here: its asset, the ledger's recipe for it, the IO managers, the checks. A new
table is one contract, one pure transform and one entry.

Two kinds of tables read more than the days around their own. Those without partitions (who is whom, users, orders,
retention) read all days, but only of summaries that are small whatever happens on a day; and where their rows fall
into groups, only the groups that are or were there on the days that changed are made again. What a daily table needs of
them it reads as far as it is about the day, so that only the days for which that changes are built again.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from math import ceil
from typing import Any

import duckdb
import polars as pl

from pipeline_assets.analyses.declaration import (
    Analysis,
    Attribution,
    Currencies,
    Funnel,
    Paths,
    Retention,
    Selector,
)
from pipeline_assets.analyses.loading import Analyses
from pipeline_assets.contracts.active_users import ActiveUsers
from pipeline_assets.contracts.attributions import Attributions
from pipeline_assets.contracts.campaigns import Campaigns
from pipeline_assets.contracts.conversions import Conversions
from pipeline_assets.contracts.funnels import Funnels
from pipeline_assets.contracts.identities import Identities
from pipeline_assets.contracts.order_days import OrderDays
from pipeline_assets.contracts.orders import Orders
from pipeline_assets.contracts.pages import Pages
from pipeline_assets.contracts.path_transitions import PathTransitions
from pipeline_assets.contracts.person_days import PersonDays
from pipeline_assets.contracts.products import Products
from pipeline_assets.contracts.retention_days import RetentionDays
from pipeline_assets.contracts.retentions import Retentions
from pipeline_assets.contracts.revenue import Revenue
from pipeline_assets.contracts.supplied_session_days import SuppliedSessionDays
from pipeline_assets.contracts.supplied_sessions import SuppliedSessions
from pipeline_assets.contracts.tables import DAILY_ACTIVITY, EVENTS, PAGE_VIEWS, SESSIONS, STAGED, Table, sums
from pipeline_assets.contracts.users import Users
from pipeline_assets.contracts.visitor_days import VisitorDays
from pipeline_assets.contracts.visitors import Visitors
from pipeline_assets.day_counts import DayCounts
from pipeline_assets.declarations.problems import suggestion
from pipeline_assets.derivation import Among, Counted, Derived, Frames, Groups, Reads
from pipeline_assets.figures import Figure
from pipeline_assets.planning import Planned
from pipeline_assets.settings import Settings, SettingsError
from pipeline_assets.sources.declaration import Source
from pipeline_assets.transforms import channels, user_agents
from pipeline_assets.transforms.active_users import WINDOW_DAYS, build_active_users
from pipeline_assets.transforms.attribution import build_attribution
from pipeline_assets.transforms.campaigns import build_campaigns
from pipeline_assets.transforms.conversions import build_conversions
from pipeline_assets.transforms.currencies import Rate, Rates
from pipeline_assets.transforms.daily_activity import build_daily_activity
from pipeline_assets.transforms.entities import entity
from pipeline_assets.transforms.events import build_events, look_back_days
from pipeline_assets.transforms.funnels import build_funnel, days_after
from pipeline_assets.transforms.identities import build_identities, rows_of_components, seen_ids
from pipeline_assets.transforms.ordering import ORDER_COLUMNS
from pipeline_assets.transforms.orders import build_order_days, build_orders
from pipeline_assets.transforms.page_views import build_page_views
from pipeline_assets.transforms.pages import build_pages
from pipeline_assets.transforms.paths import build_paths
from pipeline_assets.transforms.person_days import (
    SPAN_COLUMNS,
    build_person_days,
    identity_revisions,
    seen_visitors,
)
from pipeline_assets.transforms.products import build_products
from pipeline_assets.transforms.retention import build_retention
from pipeline_assets.transforms.retention_days import build_retention_days
from pipeline_assets.transforms.revenue import build_revenue
from pipeline_assets.transforms.selection import select_conversions, select_events
from pipeline_assets.transforms.session_rows import session_rows
from pipeline_assets.transforms.sessionize import SessionRules, supplied_sources
from pipeline_assets.transforms.sessions import build_sessions
from pipeline_assets.transforms.supplied_sessions import (
    build_supplied_session_days,
    build_supplied_sessions,
    supplied_session_revisions,
)
from pipeline_assets.transforms.users import build_users
from pipeline_assets.transforms.visitor_days import build_visitor_days, count_identifiers
from pipeline_assets.transforms.visitors import build_visitors

SUPPLIED_SESSION_DAYS = Table(
    "supplied_session_days", SuppliedSessionDays, "activity_date", "lake", "behaviour", sums("events")
)
SUPPLIED_SESSIONS = Table("supplied_sessions", SuppliedSessions, None, "lake", "behaviour")
VISITOR_DAYS = Table("visitor_days", VisitorDays, "activity_date", "lake", "people", sums("events", "sessions"))
IDENTITIES = Table("identities", Identities, None, group="people")
PERSON_DAYS = Table("person_days", PersonDays, "activity_date", "lake", "people", sums("events", "sessions"))
VISITORS = Table("visitors", Visitors, None, group="people")
USERS = Table("users", Users, None, group="people")
ACTIVE_USERS = Table(
    "active_users",
    ActiveUsers,
    "activity_date",
    group="activity",
    figures=sums("visitors_1d", "visitors_28d", "new_visitors"),
)
PAGES = Table("pages", Pages, "session_date", group="activity", figures=sums("views", "entries"))
CAMPAIGNS = Table(
    "campaigns", Campaigns, "session_date", group="activity", figures=sums("sessions", "conversions", "revenue")
)
PRODUCTS = Table(
    "products", Products, "activity_date", group="commerce", figures=sums("viewed", "purchased", "revenue")
)
ORDER_DAYS = Table("order_days", OrderDays, "activity_date", "lake", "commerce", sums("order_events", "quantity"))
ORDERS = Table("orders", Orders, None, group="commerce")
REVENUE = Table("revenue", Revenue, "activity_date", group="commerce", figures=sums("orders", "reporting_net"))
CONVERSIONS = Table("conversions", Conversions, "conversion_date", group="analyses", figures=sums("reporting_value"))
RETENTION_DAYS = Table("retention_days", RetentionDays, "activity_date", "lake", "analyses")
LAKE_TABLES = (EVENTS, SUPPLIED_SESSION_DAYS, SUPPLIED_SESSIONS, VISITOR_DAYS, PERSON_DAYS, ORDER_DAYS, RETENTION_DAYS)
"""Every table that the lake may hold, whatever is declared."""

_TOUCH_COLUMNS = (
    "session_id",
    "session_date",
    "property",
    "visitor_id",
    "user_id",
    "started_at",
    "channel",
    "traffic_source",
    "traffic_medium",
    "utm_campaign",
    "is_bot",
)
_PERSON_COLUMNS = ("activity_date", "property", "visitor_id", "user_id", "first_seen_at", "person_id")


@dataclass(frozen=True)
class Model:
    """Every table of a deployment, those first that others read.

    Attributes:
        tables: all tables by name.
        derived: how they are made, by name.
        recipes: the same as the ledger knows it.
        event_names: the names of events that declarations ask for, by table.
    """

    tables: Mapping[str, Table]
    derived: Mapping[str, Derived]
    recipes: Mapping[str, Planned]
    event_names: Mapping[str, Sequence[str]]

    @classmethod
    def of(
        cls, sources: Sequence[Source], analyses: Analyses, settings: Settings, *, frozen: Collection[str] = ()
    ) -> "Model":
        """The model for some declarations.

        Args:
            sources: the declared sources.
            analyses: the declared analyses.
            settings: the deployment's.
            frozen: names of tables that are no longer made, but may still be asked for.

        Raises:
            SettingsError: a table is asked for that nothing declares.
        """
        derived = {each.table.name: each for each in _derived(sources, analyses, settings)}
        if settings.tables:
            wanted = {EVENTS.name, *settings.tables} - (set(frozen) - derived.keys())
            if unknown := sorted(wanted - derived.keys()):
                hint = suggestion(unknown[0], derived)
                raise SettingsError(f"PIPELINE_TABLES: there is no table '{unknown[0]}'{hint}")
            for name, each in reversed(derived.items()):
                if name in wanted:
                    wanted.update(reads.table.name for reads in each.reads)
            derived = {name: each for name, each in derived.items() if name in wanted}
        recipes = {name: each.recipe(settings.timezone) for name, each in derived.items()}
        tables = {name: each.table for name, each in derived.items()}
        return cls(tables, derived, recipes, analyses.event_names)


def session_rules(sources: Sequence[Source]) -> dict[str, SessionRules]:
    """How the events of each source become sessions."""
    return {
        source.name: SessionRules(
            mode=source.sessions.mode,
            timeout=timedelta(minutes=source.sessions.timeout_minutes),
            split_on_campaign=source.sessions.split_on_campaign,
            split_at_midnight=source.sessions.split_at_midnight,
            max_session_days=source.sessions.max_session_days,
        )
        for source in sources
    }


def declared_rates(currencies: Currencies | None) -> Rates:
    """The declared rates; without any, nothing is converted."""
    if currencies is None:
        return Rates()
    return Rates(
        currencies.reporting,
        tuple(Rate(rate.currency, rate.rate, rate.since or date.min) for rate in currencies.rates),
    )


def _events(sources: Sequence[Source]) -> Derived:
    dedup_days = {source.name: source.dedup_days for source in sources}

    def events(frames: Frames, days: Sequence[date]) -> Counted:
        found = build_events(frames["staging"], frames["earlier"], dedup_days=dedup_days)
        return Counted(found.frames(), {**dict.fromkeys(days, DayCounts()), **found.counts})

    return Derived(
        EVENTS,
        (Reads(STAGED, before=look_back_days(dedup_days), earlier="earlier"),),
        events,
        rules=[dedup_days, user_agents.rules_version()],
        # Rows with the same id (or, without one, the same content) stay together. Whatever their property, so that ids
        # of several properties can be counted.
        key=("event_id", "row_hash"),
        rows_at_once=500_000,
        names="event_name",
    )


def _derived(sources: Sequence[Source], analyses: Analyses, settings: Settings) -> list[Derived]:
    rates = declared_rates(analyses.currencies)
    behaviour = _behaviour(sources, analyses, settings, rates.reporting)
    # The days after its first that a session may last.
    session_days = max(reads.after for each in behaviour for reads in each.reads)
    return [
        _events(sources),
        *behaviour,
        *_people(rates, sources, settings),
        *_commerce(rates),
        *_conversions(analyses, rates, session_days),
        *(_funnel(funnel) for funnel in analyses.funnels),
        *_retention(analyses.retentions),
        *(_paths(paths, sources, settings) for paths in analyses.paths),
        *(_attribution(attribution, rates) for attribution in analyses.attributions),
    ]


# --- Behaviour: sessions, page views and the figures of a day -----------------------------------------


def _behaviour(
    sources: Sequence[Source], analyses: Analyses, settings: Settings, reporting: str | None
) -> list[Derived]:
    rules = session_rules(sources)
    used = {name: _plain(rule) for name, rule in rules.items()}
    channel_rules = channels.declared_rules(analyses.channels)
    supplied = supplied_sources(rules)
    inputs = _session_inputs(rules)

    def sessions(frames: Frames, days: Sequence[date]) -> pl.DataFrame:
        return build_sessions(
            frames["events"],
            days,
            timezone=settings.timezone,
            rules=rules,
            supplied=frames.get("supplied_sessions"),
            channels=channel_rules,
            reporting=reporting,
        )

    def page_views(frames: Frames, days: Sequence[date]) -> pl.DataFrame:
        return build_page_views(
            frames["events"],
            days,
            timezone=settings.timezone,
            rules=rules,
            supplied=frames.get("supplied_sessions"),
        )

    visitor = ("property", "visitor_id")
    supplied_tables = [
        Derived(
            SUPPLIED_SESSION_DAYS,
            (Reads(EVENTS),),
            lambda frames, days: build_supplied_session_days(frames["events"], days, sources=supplied),
            rules=supplied,
        ),
        Derived(
            SUPPLIED_SESSIONS,
            (Reads(SUPPLIED_SESSION_DAYS),),
            lambda frames, _: build_supplied_sessions(frames["supplied_session_days"]),
            revisions=lambda frames, rows: supplied_session_revisions(frames["supplied_session_days"], rows),
        ),
    ]
    return [
        *(supplied_tables if supplied else ()),
        Derived(
            SESSIONS, inputs, sessions, rules=[used, channels.rules_version(channel_rules), reporting], key=visitor
        ),
        Derived(PAGE_VIEWS, inputs, page_views, rules=used, key=visitor),
        Derived(
            DAILY_ACTIVITY,
            (Reads(EVENTS), Reads(SESSIONS)),
            lambda frames, days: build_daily_activity(frames["events"], frames["sessions"], days, reporting=reporting),
            rules=reporting,
        ),
    ]


def _session_inputs(rules: Mapping[str, SessionRules]) -> tuple[Reads, ...]:
    """What the sessions that start on a day are made of."""
    supplied = supplied_sources(rules)
    days_after = max([1, *(rules[name].max_session_days for name in supplied)])
    near = Reads(EVENTS, before=1, after=days_after)
    # Where no source supplies ids of sessions, there is nothing to know of them.
    return (near, Reads(SUPPLIED_SESSIONS)) if supplied else (near,)


# --- People -------------------------------------------------------------------------------------------


def _people(rates: Rates, sources: Sequence[Source], settings: Settings) -> list[Derived]:
    rules = session_rules(sources)
    supplied = supplied_sources(rules)
    # Which pings of a day are in no session, the two days before and the day after say.
    near = Reads(EVENTS, before=2, after=1) if len(supplied) < len(rules) or not rules else Reads(EVENTS)

    def visitor_days(frames: Frames, days: Sequence[date]) -> pl.DataFrame:
        return build_visitor_days(
            frames["events"],
            frames["sessions"],
            days,
            rates=rates,
            timezone=settings.timezone,
            rules=rules,
            supplied=frames.get("supplied_sessions"),
        )

    return [
        Derived(
            VISITOR_DAYS,
            (near, Reads(SESSIONS), *((Reads(SUPPLIED_SESSIONS),) if supplied else ())),
            visitor_days,
            rules=[_plain(rates), {name: _plain(rule) for name, rule in rules.items()}],
            tally=count_identifiers,
        ),
        Derived(
            IDENTITIES,
            (Reads(VISITOR_DAYS),),
            lambda frames, _: build_identities(frames["visitor_days"]),
            revisions=lambda frames, rows: identity_revisions(frames["visitor_days"], rows),
            groups=Groups(
                key="component_id",
                seed="id",
                first="first_seen_at",
                last="last_seen_at",
                seeds=lambda changed: seen_ids(changed["visitor_days"]),
                members=lambda frames, changed, existing: {
                    "visitor_days": rows_of_components(frames["visitor_days"], changed["visitor_days"], existing)
                },
            ),
        ),
        Derived(
            PERSON_DAYS,
            (
                Reads(VISITOR_DAYS),
                Reads(
                    IDENTITIES,
                    columns=SPAN_COLUMNS,
                    among=Among("id", lambda frames: seen_visitors(frames["visitor_days"])),
                ),
            ),
            lambda frames, days: build_person_days(frames["visitor_days"], frames["identities"], days),
        ),
        Derived(
            VISITORS,
            (Reads(PERSON_DAYS),),
            lambda frames, _: build_visitors(frames["person_days"]),
            groups=Groups.by("visitor_id", PERSON_DAYS, first="first_seen_at", last="last_seen_at"),
        ),
        Derived(
            USERS,
            (Reads(PERSON_DAYS),),
            lambda frames, _: build_users(frames["person_days"]),
            groups=Groups.by("person_id", PERSON_DAYS, first="first_seen_at", last="last_seen_at"),
        ),
        Derived(
            ACTIVE_USERS,
            (Reads(PERSON_DAYS, before=max(WINDOW_DAYS.values()) - 1),),
            lambda frames, days: build_active_users(frames["person_days"], days),
        ),
    ]


# --- Pages, campaigns, products, orders ----------------------------------------------------------------


def _commerce(rates: Rates) -> list[Derived]:
    used = _plain(rates)
    return [
        Derived(
            PAGES,
            (Reads(PAGE_VIEWS), Reads(SESSIONS)),
            lambda frames, days: build_pages(frames["page_views"], frames["sessions"], days),
        ),
        Derived(
            CAMPAIGNS,
            (Reads(SESSIONS),),
            lambda frames, days: build_campaigns(frames["sessions"], days, rates=rates),
            rules=used,
        ),
        Derived(
            PRODUCTS,
            (Reads(EVENTS),),
            lambda frames, days: build_products(frames["events"], days, rates=rates),
            rules=used,
        ),
        Derived(ORDER_DAYS, (Reads(EVENTS),), lambda frames, days: build_order_days(frames["events"], days)),
        Derived(
            ORDERS,
            (Reads(ORDER_DAYS),),
            lambda frames, _: build_orders(frames["order_days"], rates=rates),
            rules=used,
            groups=Groups.by("order_id", ORDER_DAYS, first="first_at", last="last_at"),
        ),
        Derived(
            REVENUE,
            (Reads(EVENTS),),
            lambda frames, days: build_revenue(frames["events"], days, rates=rates),
            rules=used,
        ),
    ]


# --- Declared analyses --------------------------------------------------------------------------------


def _plain(declared: Any) -> Any:
    """A declaration as JSON can write it: what the version of its table is made of."""
    if hasattr(declared, "model_dump"):
        return declared.model_dump(mode="json")
    return json.loads(json.dumps(declared, default=lambda value: getattr(value, "__dict__", None) or str(value)))


def _digest(declared: Any) -> str:
    return hashlib.sha256(json.dumps(_plain(declared), sort_keys=True).encode()).hexdigest()[:16]


def _analysis_table(
    analysis: Analysis, contract: Any, partition_column: str | None, figures: tuple[Figure, ...] = ()
) -> Table:
    return Table(analysis.name, contract, partition_column, group="analyses", figures=figures)


def _by_person(by: str, *reads: Reads) -> tuple[Reads, ...]:
    """What is read, and if people are meant, who they are on the same days."""
    if by == "visitor":
        return reads
    return (*reads, Reads(PERSON_DAYS, max(r.before for r in reads), max(r.after for r in reads), _PERSON_COLUMNS))


def _conversions(analyses: Analyses, rates: Rates, session_days: int) -> list[Derived]:
    declared = analyses.conversions
    if not declared:
        return []

    def select(connection: duckdb.DuckDBPyConnection, paths: list[str], first: date, last: date) -> pl.DataFrame:
        return select_conversions(connection, paths, declared, first, last)

    return [
        Derived(
            CONVERSIONS,
            (
                # The first conversion of a session may lie on a day before.
                Reads(EVENTS, before=session_days, select=select),
                Reads(
                    SESSIONS,
                    before=session_days,
                    columns=("session_id", "session_date", "property", "visitor_id", "started_at", "ended_at"),
                ),
            ),
            lambda frames, days: build_conversions(frames["events"], frames["sessions"], days, rates=rates),
            rules=[_digest(each) for each in declared] + [_plain(rates)],
        )
    ]


_FUNNEL_COLUMNS = ("property", "visitor_id", "user_id", "event_date", "occurred_at")


def _funnel(funnel: Funnel) -> Derived:
    steps = {f"step_{number}": step for number, step in enumerate(funnel.steps, 1)}
    columns = dict.fromkeys((*_FUNNEL_COLUMNS, *((*ORDER_COLUMNS, funnel.breakdown) if funnel.breakdown else ())))

    def select(connection: duckdb.DuckDBPyConnection, paths: list[str], first: date, last: date) -> pl.DataFrame:
        return select_events(
            connection,
            paths,
            columns=tuple(columns),
            marks=steps,
            properties=funnel.properties,
            first=first,
            last=last,
            # Only a strict funnel asks what lies between its steps.
            only_marked=funnel.mode != "strict",
        )

    def build(frames: Frames, days: Sequence[date]) -> pl.DataFrame:
        breakdown = pl.col(funnel.breakdown) if funnel.breakdown else pl.lit(None, pl.String)
        rows = entity(frames["events"].with_columns(breakdown=breakdown), frames.get("person_days"), "event_date")
        return build_funnel(rows, days, funnel=funnel)

    return Derived(
        _analysis_table(
            funnel,
            Funnels,
            "entry_date",
            (
                Figure("entered", "entities", (("step_number", 1),)),
                Figure("completed", "entities", (("step_number", len(funnel.steps)),)),
            ),
        ),
        _by_person(funnel.by, Reads(EVENTS, after=days_after(funnel), select=select)),
        build,
        rules=_digest(funnel),
    )


def _retention(declared: Sequence[Retention]) -> list[Derived]:
    """A summary of each day for all declared retentions, and a table for each."""
    if not declared:
        return []
    marks: dict[str, Selector] = {f"{each.name}: cohort": each.cohort for each in declared}
    marks |= {f"{each.name}: return": each.returning for each in declared}

    def select(connection: duckdb.DuckDBPyConnection, paths: list[str], first: date, last: date) -> pl.DataFrame:
        return select_events(
            connection,
            paths,
            columns=("property", "visitor_id", "user_id", "event_date"),
            marks=marks,
            properties=(),
            first=first,
            last=last,
            only_marked=True,
        )

    def summarise(frames: Frames, days: Sequence[date]) -> pl.DataFrame:
        return build_retention_days(frames["events"], frames.get("person_days"), days, retentions=declared)

    def build(retention: Retention, frames: Frames, _: Sequence[date]) -> pl.DataFrame:
        activity = frames["retention_days"].filter(pl.col("retention") == retention.name)
        return build_retention(activity, retention=retention)

    by = "person" if any(each.by == "person" for each in declared) else "visitor"
    return [
        Derived(
            RETENTION_DAYS,
            _by_person(by, Reads(EVENTS, select=select)),
            summarise,
            rules=[_digest(each) for each in declared],
        ),
        *(
            Derived(
                _analysis_table(retention, Retentions, None),
                (Reads(RETENTION_DAYS),),
                partial(build, retention),
                rules=_digest(retention),
            )
            for retention in declared
        ),
    ]


def _paths(paths: Paths, sources: Sequence[Source], settings: Settings) -> Derived:
    """Of pages, from the views; of events, from the sessions that the events make."""
    table = _analysis_table(paths, PathTransitions, "session_date", sums("transitions"))

    def counted(rows: pl.LazyFrame) -> pl.LazyFrame:
        rows = rows.filter(~pl.col("is_bot"))
        return rows.filter(pl.col("property").is_in(list(paths.properties))) if paths.properties else rows

    def of_pages(frames: Frames, days: Sequence[date]) -> pl.DataFrame:
        views = counted(frames["page_views"]).with_columns(
            position="view_number", node=pl.coalesce("page_path", "page_title"), at="viewed_at"
        )
        return build_paths(views, days, paths=paths)

    if paths.of == "pages":
        columns = (
            "session_id", "session_date", "property", "view_number", "viewed_at", "page_path", "page_title", "is_bot",
        )  # fmt: skip
        return Derived(table, (Reads(PAGE_VIEWS, columns=columns),), of_pages, rules=_digest(paths))

    rules = session_rules(sources)

    def of_events(frames: Frames, days: Sequence[date]) -> pl.DataFrame:
        found = session_rows(
            frames["events"],
            days,
            timezone=settings.timezone,
            rules=rules,
            supplied=frames.get("supplied_sessions"),
            columns=("event_name", "is_bot"),
        )
        session = pl.col("session_number")
        rows = found.rows.with_columns(
            session_id=found.sessions["session_id"].gather(found.rows["session_number"]),
            # A session is a bot's if any of its events is.
            is_bot=pl.col("is_bot").any().over(session),
            position=pl.int_range(pl.len(), dtype=pl.Int64),
            node=pl.col("event_name").cast(pl.String),
            property=pl.col("property").cast(pl.String),
            at="occurred_at",
        )
        return build_paths(counted(rows.lazy()), days, paths=paths)

    return Derived(
        table,
        _session_inputs(rules),
        of_events,
        rules=[_digest(paths), {name: _plain(rule) for name, rule in rules.items()}],
        # Its rows are of all visitors together, so that a day cannot be cut.
        days_at_once=1,
    )


def _attribution(attribution: Attribution, rates: Rates) -> Derived:
    trained = attribution.model_days if "markov" in attribution.models else 1
    # A look-back is measured in hours, and where clocks are turned a day has other than 24.
    before = trained + ceil(attribution.lookback_days)

    def build(frames: Frames, days: Sequence[date]) -> pl.DataFrame:
        persons = frames.get("person_days")
        conversions = frames["conversions"].filter(pl.col("conversion") == attribution.conversion)
        sessions = frames["sessions"].filter(~pl.col("is_bot"))
        if attribution.properties:
            wanted = list(attribution.properties)
            conversions = conversions.filter(pl.col("property").is_in(wanted))
        touches = entity(sessions, persons, "session_date").with_columns(
            source="traffic_source", medium="traffic_medium", campaign="utm_campaign"
        )
        converted = entity(conversions, persons, "conversion_date").with_columns(
            value="reporting_value" if rates.reporting else "value"
        )
        return build_attribution(converted, touches, days, attribution=attribution)

    return Derived(
        _analysis_table(attribution, Attributions, "conversion_date"),
        _by_person(
            attribution.by,
            Reads(CONVERSIONS, before=trained - 1),
            Reads(SESSIONS, before=before, columns=_TOUCH_COLUMNS),
        ),
        build,
        rules=[_digest(attribution), rates.reporting is not None],
        # Learning takes one pass however many days there are.
        days_at_once=31,
    )
