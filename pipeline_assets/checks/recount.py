"""Tables counted a second time, in SQL: shares no code with the transforms, so both can be compared."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import duckdb

_STARTS = """
with ordered as (
    select
        property, visitor_id, occurred_at, event_date,
        to_minutes(coalesce(map_extract_value($timeouts::map(varchar, integer), source), 30)) as timeout,
        lag(occurred_at) over visitor as previous,
        lag(event_date) over visitor as previous_date
    from read_parquet($paths)
    where visitor_id is not null
    window visitor as (
        partition by property, visitor_id order by occurred_at, received_at nulls last, event_id
    )
),
midnights as (
    select
        event_date,
        -- Where clocks are set back over midnight, a day begins at the first of its two midnights.
        case
            when timezone($timezone, midnight - interval 1 hour) >= event_date then midnight - interval 1 hour
            else midnight
        end as midnight
    from (
        select distinct event_date, timezone($timezone, event_date::timestamp) as midnight
        from ordered
    )
),
visitor_days as (
    select
        property, visitor_id, event_date,
        -- No gap over the timeout since midnight. Whether the gap to the next midnight is too long makes no
        -- difference: after such a day the first event of the next one starts a session either way.
        bool_and(occurred_at - greatest(coalesce(previous, midnight), midnight) <= timeout) as unbroken
    from ordered
    join midnights using (event_date)
    group by all
)
select o.event_date, o.property, count(*)
from ordered as o
left join visitor_days as d
    on d.property = o.property and d.visitor_id = o.visitor_id and d.event_date = o.event_date - 1
where o.event_date >= $first
    and (
        o.previous is null
        or o.occurred_at - o.previous > o.timeout
        or (o.previous_date < o.event_date and coalesce(d.unbroken, false))
    )
group by all
"""

# Revenue without a currency is in a currency of its own; a sum that the table's column cannot hold is null there.
_ACTIVITY = """
select
    event_date, property,
    count(*) as events,
    count(distinct visitor_id) filter (not is_bot) as visitors,
    case
        when count(distinct coalesce(currency, '')) filter (revenue is not null and not is_bot) <= 1
        then try_cast(sum(revenue) filter (not is_bot) as decimal(18, 6))
    end as revenue
from read_parquet($paths)
group by all
"""


class Activity(NamedTuple):
    """Figures of a day and property: events, and without bots visitors and revenue in its only currency."""

    events: int
    visitors: int
    revenue: Decimal | None


def count_activity(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> dict[tuple[date, str], Activity]:
    """Activity of each day and property in Parquet files of events."""
    if not paths:
        return {}
    rows = connection.execute(_ACTIVITY, {"paths": list(paths)}).fetchall()
    return {(day, name): Activity(*figures) for day, name, *figures in rows}


def count_sessions(
    connection: duckdb.DuckDBPyConnection,
    paths: Sequence[str],
    first: date,
    *,
    timeouts: Mapping[str, int],
    timezone: str,
) -> dict[tuple[date, str], int]:
    """Sessions that start on each day and property.

    Args:
        connection: DuckDB.
        paths: Parquet files of events, from the day before `first` on.
        first: first day to count.
        timeouts: minutes of inactivity per source.
        timezone: reporting time zone.
    """
    if not paths:
        return {}
    connection.execute("set TimeZone = 'UTC'")
    values = {"paths": list(paths), "first": first, "timeouts": dict(timeouts), "timezone": timezone}
    return {(day, name): count for day, name, count in connection.execute(_STARTS, values).fetchall()}
