"""Sessions counted a second time, in SQL: shares no code with `transforms.sessions`, so both can be compared."""

from collections.abc import Mapping, Sequence
from datetime import date

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
visitor_days as (
    select
        property, visitor_id, event_date,
        -- Filled: no gap over the timeout, counting both midnights.
        bool_and(
            occurred_at - greatest(coalesce(previous, midnight), midnight) <= timeout
        ) and max_by(next_midnight - occurred_at <= timeout, occurred_at) as filled
    from (
        select
            *,
            timezone($timezone, event_date::timestamp) as midnight,
            timezone($timezone, (event_date + 1)::timestamp) as next_midnight
        from ordered
    )
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
        or (o.previous_date < o.event_date and coalesce(d.filled, false))
    )
group by all
"""


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
