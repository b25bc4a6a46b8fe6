"""The script the pipeline is measured against: the same tables from the same files, and nothing else.

DuckDB reads the JSON with the columns that are needed and writes Parquet; distinct URLs and user agents are parsed
once and joined; Polars makes sessions, page views and daily figures; ADBC copies them into PostgreSQL, which then
builds the keys and indexes that the pipeline's tables have.

It believes everything: no line is accounted for, nothing is deduplicated or checked, no clock is corrected, a damaged
line ends it, a second run makes everything anew, and nothing is atomic. Sessions follow the 30-minute rule alone, and
of pings what holds for nearly all of the benchmark's. The parsing of URLs and user agents and the channel rules are the
pipeline's own plain functions, for it is not their speed that is compared.

    python -m benchmarks.bare <folder of JSONL files> <lake folder> <PostgreSQL URL>
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import polars as pl

from pipeline_assets.transforms.channels import add_channel
from pipeline_assets.transforms.urls import query_parameters, split_urls
from pipeline_assets.transforms.user_agents import add_user_agent_columns

Result = TypeVar("Result")

TIMEOUT_MINUTES = 30
SCHEMA = "bare"
PROPERTY = "shop.example"

COLUMNS = {
    "messageId": "VARCHAR",
    "type": "VARCHAR",
    "event": "VARCHAR",
    "anonymousId": "VARCHAR",
    "userId": "VARCHAR",
    "context": "STRUCT(locale VARCHAR, country VARCHAR, userAgent VARCHAR, consent STRUCT(analytics BOOLEAN), "
    "page STRUCT(viewId VARCHAR, url VARCHAR, title VARCHAR, referrer VARCHAR))",
    "properties": "JSON",
    "timestamp": "TIMESTAMPTZ",
    "sentAt": "TIMESTAMPTZ",
    "receivedAt": "TIMESTAMPTZ",
}

STAGE = """
copy (
    select
        messageId as event_id,
        case type when 'page' then 'page_viewed' when 'ping' then 'page_ping' else event end as event_name,
        type as event_type,
        timestamp as occurred_at, receivedAt as received_at, timestamp as device_at,
        epoch_ms(receivedAt) - epoch_ms(sentAt) as clock_skew_ms,
        anonymousId as anonymous_id, userId as user_id,
        context.page.viewId as view_id, context.page.url as page_url, context.page.title as page_title,
        context.page.referrer as referrer_url, context.userAgent as user_agent, context.locale as language,
        context.country as country, context.consent.analytics as consent,
        (properties->>'$.revenue')::decimal(18, 6) as revenue, properties->>'$.currency' as currency,
        properties->>'$.order_id' as order_id, properties->>'$.products' as items,
        (properties->>'$.scroll_depth')::double as scroll_depth, properties::varchar as properties
    from read_json($files, format = 'newline_delimited', columns = {columns})
) to {target} (format parquet)
"""

ENRICH = """
copy (
    select
        s.event_id, s.event_name, s.event_type, s.occurred_at, s.received_at, s.device_at, s.clock_skew_ms,
        s.occurred_at::date as event_date, {property} as property,
        coalesce(s.anonymous_id, 'user:' || s.user_id) as visitor_id, s.anonymous_id, s.user_id, s.view_id,
        s.page_url, p.host as page_host, p.path as page_path, p.query as page_query, s.page_title,
        s.referrer_url, r.path as referrer_path,
        case when replace(r.host, 'www.', '') is distinct from replace(p.host, 'www.', '') then r.host end
            as referrer_host,
        p.utm_source, p.utm_medium, p.utm_campaign, p.utm_term, p.utm_content, p.click_id, p.click_id_type,
        s.user_agent, a.device_type, a.os, a.browser, coalesce(a.is_bot, false) as is_bot, a.bot_reason,
        s.language, s.country, s.consent, coalesce(s.event_name = 'order_completed', false) as is_conversion,
        s.revenue, s.currency, s.order_id, s.items, s.scroll_depth, s.properties
    from read_parquet({staged}) s
    left join pages p on p.url = s.page_url
    left join referrers r on r.url = s.referrer_url
    left join agents a on a.user_agent = s.user_agent
) to {target} (format parquet, compression zstd, partition_by (event_date))
"""

EVENT_COLUMNS = (
    "event_date", "property", "visitor_id", "user_id", "event_id", "event_name", "event_type", "occurred_at", "view_id",
    "page_host", "page_path", "page_title", "referrer_host", "utm_source", "utm_medium", "utm_campaign", "utm_term",
    "utm_content", "click_id", "click_id_type", "device_type", "os", "browser", "country", "is_bot", "is_conversion",
    "revenue", "currency", "scroll_depth",
)  # fmt: skip
FEW_VALUES = (
    "property", "event_type", "event_name", "page_host", "page_path", "page_title", "referrer_host", "utm_source",
    "utm_medium", "utm_campaign", "utm_term", "utm_content", "click_id", "click_id_type", "device_type", "os",
    "browser", "country", "currency",
)  # fmt: skip
KEYS = {"sessions": "session_id", "page_views": "page_view_id", "daily_activity": "activity_date, property"}
INDEXES = {
    "sessions": ("session_date", "property", "visitor_id", "user_id"),
    "page_views": ("session_id", "session_date"),
}


def main(files: Path, lake: Path, url: str) -> None:
    """Make all tables and print the seconds of each step as JSON."""
    seconds: dict[str, float] = {}

    def timed(step: str, work: Callable[[], Result]) -> Result:
        begin = time.perf_counter()
        result = work()
        seconds[step] = round(time.perf_counter() - begin, 3)
        return result

    lake.mkdir(parents=True, exist_ok=True)
    timed("stage", lambda: stage(files, lake))
    timed("enrich", lambda: enrich(lake))
    rows = timed("sort", lambda: assign_sessions(lake))
    sessions, page_views = timed("sessions", lambda: session_tables(rows))
    activity = timed("activity", lambda: daily_activity(rows, sessions))
    tables = {"sessions": sessions, "page_views": page_views, "daily_activity": activity}
    with adbc.connect(url, autocommit=True) as connection:
        timed("copy", lambda: copy(connection, tables))
        timed("indexes", lambda: index(connection))
    sys.stdout.write(json.dumps(seconds) + "\n")


def connect() -> duckdb.DuckDBPyConnection:
    """DuckDB with nothing that slows it down."""
    connection = duckdb.connect()
    connection.execute("set preserve_insertion_order = false")
    connection.execute("set TimeZone = 'UTC'")
    return connection


def stage(files: Path, lake: Path) -> None:
    """JSON to Parquet."""
    query = STAGE.format(columns=json.dumps(COLUMNS).replace('"', "'"), target=literal(lake / "staged.parquet"))
    connect().execute(query, {"files": [str(path) for path in sorted(files.glob("*.jsonl"))]})


def enrich(lake: Path) -> None:
    """URLs, campaigns and user agents, each distinct value parsed once; events by day."""
    connection = connect()
    staged = literal(lake / "staged.parquet")

    def distinct(column: str) -> pl.Series:
        return connection.sql(f"select distinct {column} from read_parquet({staged})").pl().to_series()

    pages = split_urls(distinct("page_url"))
    parsed = {
        "pages": pages.join(query_parameters(pages["query"]), on="query", how="left"),
        "referrers": split_urls(distinct("referrer_url")),
        "agents": add_user_agent_columns(
            distinct("user_agent")
            .to_frame()
            .with_columns(pl.lit(None, pl.String).alias(n) for n in FACTS)
            .with_columns(is_bot=pl.lit(None, pl.Boolean))
        ),
    }
    for name, frame in parsed.items():
        connection.register(name, frame.to_arrow())
    connection.execute(
        ENRICH.format(property=f"'{PROPERTY}'", staged=staged, target=literal(lake / "events")),
    )


FACTS = ("device_type", "os", "browser")


def assign_sessions(lake: Path) -> pl.DataFrame:
    """Events of a visitor in order, with the number of their session."""
    rows = (
        pl.scan_parquet(lake / "events", hive_partitioning=True, try_parse_hive_dates=True)
        .select(EVENT_COLUMNS)
        .with_columns(pl.col(FEW_VALUES).cast(pl.Categorical))
        .sort("visitor_id", "occurred_at")
        .collect()
    )
    gap = pl.col("occurred_at").diff() > pl.duration(minutes=TIMEOUT_MINUTES)
    is_start = (pl.col("visitor_id") != pl.col("visitor_id").shift()).fill_null(value=True) | gap
    return rows.with_columns(is_start=is_start.fill_null(value=True)).with_columns(session=pl.col("is_start").cum_sum())


def session_tables(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sessions and page views."""
    # A ping after a pause belongs to a view that is over, and opens nothing.
    rows = rows.filter((pl.col("event_type") != "ping").cum_sum().over("session") > 0).with_columns(
        is_start=(pl.col("session") != pl.col("session").shift()).fill_null(value=True)
    )
    starts = rows.filter("is_start").select("session", "property", "visitor_id", "occurred_at", "event_id")
    ids = hashed(starts, "session", "property, visitor_id, epoch_us(occurred_at), event_id", "session_id")
    seconds = pl.col("occurred_at").dt.epoch("s")
    pings = (
        rows.filter(pl.col("event_type") == "ping")
        .group_by("session", "view_id")
        .agg(beats=(seconds // 10).n_unique().cast(pl.Int64), deepest=pl.col("scroll_depth").max())
    )
    views = (
        rows.filter(pl.col("event_type") == "page")
        .unique(["session", "view_id"], keep="first", maintain_order=True)
        .join(pings, on=["session", "view_id"], how="left", maintain_order="left")
        .with_columns(
            engaged_seconds=(10 * (pl.col("beats") - 1) + 5).fill_null(0),
            scroll_depth=pl.max_horizontal("scroll_depth", "deepest"),
        )
    )
    lasted = pl.col("ended_at") - pl.col("started_at")
    sessions = (
        rows.group_by("session", maintain_order=True)
        .agg(
            pl.col("property", "visitor_id").first(),
            pl.col("event_date").first().alias("session_date"),
            pl.col("user_id").last(ignore_nulls=True),
            pl.col("occurred_at").first().alias("started_at"),
            pl.col("occurred_at").last().alias("ended_at"),
            pl.lit("inactivity").alias("start_reason"),
            pl.lit("inactivity").alias("end_reason"),
            pl.len().cast(pl.Int64).alias("events"),
            (pl.col("event_date") != pl.col("event_date").first()).sum().cast(pl.Int64).alias("events_next_day"),
            pl.col("is_conversion").sum().cast(pl.Int64).alias("conversions"),
            pl.col("revenue").sum(),
            pl.col("currency").drop_nulls().first(),
            pl.col("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content").first(),
            pl.col("click_id", "click_id_type", "referrer_host").first(),
            pl.col("device_type", "os", "browser", "country").first(ignore_nulls=True),
            pl.col("is_bot").any(),
        )
        .join(
            views.group_by("session").agg(
                pl.col("engaged_seconds").sum(),
                page_views=pl.len().cast(pl.Int64),
                entry_page=pl.col("page_path").first(),
                exit_page=pl.col("page_path").last(),
            ),
            on="session",
            how="left",
        )
        .join(ids, on="session")
        .with_columns(
            pl.col("page_views", "engaged_seconds").fill_null(0),
            pl.selectors.categorical().cast(pl.String),
            duration_seconds=lasted.dt.total_seconds(),
            is_bounce=pl.col("events") == 1,
        )
        .with_columns(
            is_engaged=(lasted > pl.duration(seconds=10)) | (pl.col("conversions") > 0) | (pl.col("page_views") >= 2),
        )
    )
    sessions = add_channel(sessions).drop("click_id_type")
    new = pl.col("session") != pl.col("session").shift()
    last = pl.col("session") != pl.col("session").shift(-1)
    facts = sessions.select("session", "session_id", "session_date", "is_bot")
    table = (
        views.select(
            "session", "property", "visitor_id", "user_id", "view_id", "event_id", "page_host", "page_path",
            "page_title", "referrer_host", "engaged_seconds", "scroll_depth",
            viewed_at="occurred_at",
            is_entry=new.fill_null(value=True),
            is_exit=last.fill_null(value=True),
            number=pl.int_range(pl.len()),
        )
        .with_columns(
            view_number=pl.col("number") - pl.when("is_entry").then("number").forward_fill() + 1,
            seconds_to_next=pl.when(~pl.col("is_exit")).then(
                (pl.col("viewed_at").shift(-1) - pl.col("viewed_at")).dt.total_seconds()
            ),
        )
        .join(facts, on="session", how="left", maintain_order="left")
        .with_columns(pl.selectors.categorical().cast(pl.String))
    )  # fmt: skip
    ids = hashed(table, "number", "session_id, coalesce(view_id, event_id)", "page_view_id")
    table = table.join(ids, on="number")
    return sessions.drop("session"), table.drop("session", "number", "view_id", "event_id")


def daily_activity(rows: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Figures of each day."""
    key = [pl.col("event_date").alias("activity_date"), pl.col("property").cast(pl.String)]
    people = rows.filter(~pl.col("is_bot"))
    parts = [
        people.group_by(key).agg(
            visitors=pl.col("visitor_id").n_unique(),
            users=pl.col("user_id").drop_nulls().n_unique(),
            conversions=pl.col("is_conversion").sum(),
            revenue=pl.col("revenue").sum(),
            currency=pl.col("currency").drop_nulls().first().cast(pl.String),
        ),
        people.filter(pl.col("event_type") == "page")
        .unique(["event_date", "visitor_id", "view_id"])
        .group_by(key)
        .agg(page_views=pl.len()),
        sessions.filter(~pl.col("is_bot"))
        .group_by(pl.col("session_date").alias("activity_date"), "property")
        .agg(sessions=pl.len(), engaged_sessions=pl.col("is_engaged").sum(), bounces=pl.col("is_bounce").sum()),
    ]
    table = rows.group_by(key).agg(events=pl.len(), bot_events=pl.col("is_bot").sum())
    for part in parts:
        table = table.join(part, on=["activity_date", "property"], how="left")
    return table.with_columns(pl.selectors.unsigned_integer().cast(pl.Int64).fill_null(0))


def copy(connection: adbc.Connection, tables: dict[str, pl.DataFrame]) -> None:
    """Binary COPY of each table."""
    with connection.cursor() as cursor:
        cursor.execute(f"create schema {SCHEMA}")
        for name, frame in tables.items():
            data = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            cursor.adbc_ingest(name, data, mode="create", db_schema_name=SCHEMA)


def index(connection: adbc.Connection) -> None:
    """The keys and indexes the pipeline's tables have."""
    with connection.cursor() as cursor:
        for table, key in KEYS.items():
            cursor.execute(f"alter table {SCHEMA}.{table} add primary key ({key})")
            for column in INDEXES.get(table, ()):
                cursor.execute(f"create index on {SCHEMA}.{table} ({column})")


def hashed(frame: pl.DataFrame, number: str, key: str, name: str) -> pl.DataFrame:
    """A hash of some columns of each row, by its number."""
    with connect() as connection:
        connection.register("frame", frame.to_arrow())
        return connection.sql(f"select {number}, md5(concat_ws('|', {key})) as {name} from frame").pl()


def literal(path: Path) -> str:
    """A path in SQL."""
    return "'" + str(path).replace("'", "''") + "'"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
