"""Sessions counted a second time, in SQL: shares no rule with the transforms, so that both can be compared."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import duckdb

from pipeline_assets.storage.parquet import duckdb_paths
from pipeline_assets.transforms.sessionize import SessionRules

_MICROSECOND = timedelta(microseconds=1)

# The rules are those of `transforms.sessionize.assign_sessions` and `transforms.session_rows.session_rows`, written out
# once more. Longest is the longest timeout of a source in inferred mode.
_SESSIONS = """
with supplied as ({supplied}),
read as materialized (
    select
        event_date, property, visitor_id, source, event_id, occurred_at, sequence, received_at, event_type, view_id,
        case when is_id_derived then load_id end as file, case when is_id_derived then line end as line,
        utm_source, utm_medium, utm_campaign, click_id, session_id_supplied,
        to_microseconds(coalesce(map_extract_value($timeouts::map(varchar, bigint), source), 1800000000)) as timeout,
        list_contains($campaign_sources::varchar[], source) as splits_on_campaign,
        list_contains($midnight_sources::varchar[], source) as splits_at_midnight,
        map_extract_value($supplied_days::map(varchar, integer), source) as supplied_days
    from read_parquet($paths, hive_partitioning = false)
    where visitor_id is not null
),
visitors as materialized (
    select property, visitor_id, row_number() over () as visitor
    from (select distinct property, visitor_id from read)
),
inferred as materialized (
    select
        r.* exclude (
            property, visitor_id, event_id, sequence, received_at, file, line, session_id_supplied, supplied_days
        ),
        v.visitor,
        event_type = 'ping' and view_id is not null as is_view_ping,
        row_number() over visitor as place,
        lag(occurred_at) over visitor as previous
    from read as r
    join visitors as v using (property, visitor_id)
    where supplied_days is null
    window visitor as (
        partition by v.visitor
        order by occurred_at, sequence nulls last, received_at nulls last, file nulls last, line nulls last, event_id
    )
),
campaigns as materialized (
    select visitor, place
    from inferred
    where event_type <> 'ping' and coalesce(utm_source, utm_medium, utm_campaign, click_id) is not null
    window of_visitor as (partition by visitor order by place)
    qualify splits_on_campaign and (
        row(utm_source, utm_medium, utm_campaign, click_id)
        is distinct from lag(row(utm_source, utm_medium, utm_campaign, click_id)) over of_visitor
        or occurred_at - lag(occurred_at) over of_visitor > interval 4 hours
    )
),
-- Views that can have a passive ping: the others need no window.
long_views as (
    select visitor, view_id
    from inferred
    where view_id is not null
    group by all
    having bool_or(is_view_ping) and (
        max(occurred_at) - min(occurred_at) > min(timeout)
        or (bool_or(splits_at_midnight) and max(event_date) > min(event_date))
        or visitor in (select visitor from campaigns)
    )
),
silences as (
    select
        visitor, place, view_id, event_type, occurred_at, event_date, is_view_ping, splits_at_midnight,
        occurred_at - lag(occurred_at) over of_view > timeout as is_silent
    from inferred
    semi join long_views using (visitor, view_id)
    window of_view as (partition by visitor, view_id order by place)
),
views as (
    select
        *,
        max(case when is_silent then place end) over of_view as silence_place,
        last_value(
            case when event_type in ('page', 'screen') then {'place': place, 'at': occurred_at, 'day': event_date} end
            ignore nulls
        ) over of_view as seen
    from silences
    window of_view as (partition by visitor, view_id order by place)
),
passive as materialized (
    select visitor, v.place, v.seen.place as view_place
    from views as v
    left join (select visitor, list(place) as places from campaigns group by visitor) as c using (visitor)
    where v.is_view_ping
        and v.occurred_at - v.seen.at <= interval 18 hours - to_microseconds($longest)
        and (
            coalesce(v.silence_place > v.seen.place, false)
            or coalesce(len(list_filter(c.places, lambda x: x > v.seen.place and x <= v.place)) > 0, false)
            or (v.splits_at_midnight and v.event_date > v.seen.day)
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
        from inferred
    )
),
unbroken_days as (
    -- No gap over the timeout since midnight. Whether the gap to the next midnight is too long makes no difference:
    -- after such a day the first event of the next one starts a session either way.
    select visitor, event_date
    from inferred
    join midnights using (event_date)
    group by all
    having bool_and(
        occurred_at - greatest(coalesce(previous, midnight), midnight)
        <= case when is_view_ping then to_microseconds($longest) else timeout end
    )
),
active as (
    select
        i.visitor, i.place, i.source, i.event_date, i.occurred_at, i.timeout, i.splits_at_midnight, p.view_place,
        c.place is not null as changes,
        last_value(case when p.place is null then i.occurred_at end ignore nulls) over before as active_before,
        max(case when p.place is null then i.event_date end) over before as active_day
    from inferred as i
    left join passive as p on p.visitor = i.visitor and p.place = i.place
    left join campaigns as c on c.visitor = i.visitor and c.place = i.place
    window before as (
        partition by i.visitor order by i.place rows between unbounded preceding and 1 preceding
    )
),
starts as (
    select
        a.visitor, a.place, a.source, a.event_date, a.view_place,
        case when a.view_place is null then
            a.active_before is null
            or a.occurred_at - a.active_before > a.timeout
            or (a.active_day < a.event_date and (a.splits_at_midnight or d.visitor is not null))
            or a.changes
        end as is_start
    from active as a
    left join unbroken_days as d on d.visitor = a.visitor and d.event_date = a.event_date - 1
),
located as (
    select
        visitor, source, event_date, view_place,
        max(case when is_start then place end) over (partition by visitor order by place) as start,
        max(case when is_start then event_date end) over (partition by visitor order by place) as session_date,
        -- Whether the next event that is not passive starts a session.
        first_value(is_start ignore nulls) over (
            partition by visitor order by place rows between 1 following and unbounded following
        ) as next_is_start
    from starts
),
placed as (
    select
        visitor, event_date, source, session_date, start::varchar as session,
        case when start > view_place or (view_place is not null and coalesce(next_is_start, true))
            then 'orphan_ping'
        end as reason
    from located
    union all
    select
        v.visitor, r.event_date, r.source, s.session_date, 'id ' || r.session_id_supplied,
        case
            when r.session_id_supplied is null then 'no_session_id'
            when s.first_at is null then 'unknown_session_id'
            when r.occurred_at - s.first_at > r.supplied_days * interval 24 hours
                or r.event_date - s.session_date > r.supplied_days then 'stray'
        end
    from read as r
    join visitors as v using (property, visitor_id)
    left join supplied as s using (property, visitor_id, session_id_supplied)
    where r.supplied_days is not null
),
counted as (
    select visitor, session_date as day, null as source, null as reason, session, count(*) as events
    from placed
    where reason is null and list_contains($days::date[], session_date)
    group by all
    union all
    select visitor, event_date, source, reason, null, count(*)
    from placed
    where reason is not null and list_contains($days::date[], event_date)
    group by all
)
select day, property, source, reason, count(*) as sessions, sum(events)::bigint as events
from counted
join visitors using (visitor)
group by all
"""

_SUPPLIED = """
select property, visitor_id, session_id_supplied, first_at, session_date
from read_parquet($supplied, hive_partitioning = false)
"""
_NONE_SUPPLIED = """
select
    null::varchar as property, null::varchar as visitor_id, null::varchar as session_id_supplied,
    null::timestamptz as first_at, null::date as session_date
limit 0
"""

UNKNOWN_ID = "unknown_session_id"
"""Events of an id that `supplied_sessions` lacks; the sessions would lack them, too."""


class Started(NamedTuple):
    """Sessions that start on a day, and their events on that and later days."""

    sessions: int
    events: int


class SessionCounts(NamedTuple):
    """Where the events of visitors are.

    Attributes:
        started: the sessions of each session date and property.
        excluded: the events that are in no session, by event date, property, source and reason.
    """

    started: dict[tuple[date, str], Started]
    excluded: dict[tuple[date, str, str, str], int]


def count_sessions(
    connection: duckdb.DuckDBPyConnection,
    paths: Sequence[str],
    days: Collection[date],
    *,
    session_rules: Mapping[str, SessionRules],
    timezone: str,
    supplied: Sequence[str] = (),
) -> SessionCounts:
    """The sessions that start on some days, and the events of those days that are in none.

    Every event of a visitor is in one session or excluded for one reason; `unknown_session_id` is none of the rules'
    but says that an id is missing in `supplied`.

    Args:
        connection: DuckDB.
        paths: Parquet files of events: of the days, of two days before and of one day after each, or of as many days
            after as a supplied session may last. For `started` alone one day before is enough.
        days: the days to count.
        session_rules: how the events of each source become sessions.
        timezone: reporting time zone.
        supplied: Parquet files of `supplied_sessions`.
    """
    if not paths:
        return SessionCounts({}, {})
    connection.execute("set TimeZone = 'UTC'")
    inferred = {name: rule for name, rule in session_rules.items() if rule.mode == "inferred"}
    timeouts = {name: rule.timeout // _MICROSECOND for name, rule in inferred.items()}
    query = _SESSIONS.replace("{supplied}", _SUPPLIED if supplied else _NONE_SUPPLIED)
    values: dict[str, Any] = {
        "paths": duckdb_paths(connection, paths),
        "days": sorted(days),
        "timeouts": timeouts,
        "longest": max([30 * 60 * 1_000_000, *timeouts.values()]),
        "campaign_sources": [name for name, rule in inferred.items() if rule.split_on_campaign],
        "midnight_sources": [name for name, rule in inferred.items() if rule.split_at_midnight],
        "supplied_days": {
            name: rule.max_session_days for name, rule in session_rules.items() if rule.mode == "supplied"
        },
        "timezone": timezone,
    }
    if supplied:
        values["supplied"] = duckdb_paths(connection, supplied)
    rows = connection.execute(query, values).fetchall()
    return SessionCounts(
        {(day, name): Started(sessions, events) for day, name, _, reason, sessions, events in rows if not reason},
        {(day, name, source, reason): events for day, name, source, reason, _, events in rows if reason},
    )
