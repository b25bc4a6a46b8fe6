"""What people join on: the trackers' own ids, sums of visitors and sessions that agree, and ids that look wrong."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import Phase, given, settings

from pipeline_assets.cli.printing import console, print_status
from pipeline_assets.ledger.schema import IDENTIFIERS, event_days
from pipeline_assets_tests.end_to_end.deployment import Deployment, books_balance
from pipeline_assets_tests.end_to_end.in_memory import Tables
from pipeline_assets_tests.end_to_end.older_version import turn_back
from pipeline_assets_tests.end_to_end.random_traffic import random_traffic
from pipeline_assets_tests.end_to_end.test_whole_model import SEEDS, ZONES, in_memory

NewDeployment = Callable[..., Deployment]
VISITOR = ["property", "visitor_id"]


def sums(rows: pl.DataFrame, by: list[str], *columns: str) -> dict[tuple, tuple]:
    """Sums by key, without the keys that have nothing but zeros."""
    found = rows.group_by(by).agg(pl.col(columns).sum())
    return {row[: len(by)]: row[len(by) :] for row in found.iter_rows() if any(row[len(by) :])}


# --- Equations over random traffic --------------------------------------------------------------------


@settings(max_examples=4, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(SEEDS, ZONES)
def test_the_sums_of_visitors_sessions_and_days_agree(
    tmp_path_factory: pytest.TempPathFactory, seed: int, timezone: str
) -> None:
    folder = tmp_path_factory.mktemp("sums")
    made = ("visitors", "users", "daily_activity", "page_views")
    tables = in_memory(random_traffic(Random(seed)), timezone, folder, made).at_once()
    check_visitors(tables)
    check_days(tables)


def check_visitors(tables: Tables) -> None:
    sessions, visitors, days = tables["sessions"], tables["visitors"], tables["visitor_days"]
    # Bots' rows count in nothing of a visitor who is none.
    counted = sessions.join(visitors.select(*VISITOR, "is_bot"), on=[*VISITOR, "is_bot"], how="semi")
    columns = ("sessions", "events", "page_views", "engaged_seconds")
    of_sessions = counted.with_columns(sessions=pl.lit(1, pl.Int64))
    assert sums(of_sessions, VISITOR, *columns) == sums(visitors, VISITOR, *columns)
    views = tables["page_views"].with_columns(page_views=pl.lit(1, pl.Int64))
    assert sums(sessions, ["session_id"], "page_views") == sums(views, ["session_id"], "page_views")
    humans = [table.filter(~pl.col("is_bot")) for table in (visitors, tables["users"])]
    of_humans = (*columns, "events_outside_sessions", "conversions")
    assert humans[0].select(pl.col(of_humans).sum()).equals(humans[1].select(pl.col(of_humans).sum()))
    # Every event of a visitor is in a session or told apart.
    outside = ("orphan_pings", "events_without_session_id", "strays")
    everything = days.select(*VISITOR, "events", inside_and_outside=pl.sum_horizontal("session_events", *outside))
    assert sums(everything, VISITOR, "events") == sums(everything, VISITOR, "inside_and_outside")


def check_days(tables: Tables) -> None:
    events, activity, days = tables["events"], tables["daily_activity"], tables["visitor_days"]
    key = ["activity_date", "property"]
    nobody = events.filter(pl.col("visitor_id").is_null()).select("property", activity_date="event_date")
    nobody = nobody.with_columns(events=pl.lit(1, pl.Int64))
    with_visitor = days.select(*key, "events")
    assert sums(pl.concat([with_visitor, nobody.select(with_visitor.columns)]), key, "events") == sums(
        activity, key, "events"
    )
    starts = tables["sessions"].with_columns(sessions=pl.lit(1, pl.Int64), activity_date="session_date")
    names = ("sessions", "session_events", "session_page_views")
    of_sessions = starts.rename({"events": "session_events", "page_views": "session_page_views"})
    assert sums(of_sessions, key, *names) == sums(days, key, *names)


# --- A deployment -------------------------------------------------------------------------------------

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRACKED = """\
type: pipeline_assets.components.EventSource
attributes:
  path: {name}/*
  format: jsonl
  sessions: {{mode: {mode}, max_session_days: 1}}
  mapping:
    event_id: id
    event_type: type
    occurred_at: time
    anonymous_id: visitor
    user_id: user
    session_id_supplied: session
    view_id: view
    page_url: "'https://shop.example/'"
    is_bot: robot
  bounds: {{late: 1, quarantined: 1}}
"""
TABLES = ("page_views", "visitors")


def line(number: int, at: datetime, **values: object) -> str:
    given = {"id": f"e{number}", "type": "page", "time": at.isoformat(), "visitor": "v", "robot": "no"}
    return json.dumps(given | values) + "\n"


def traffic() -> str:
    """Of the visitor v a session of two views, a stray and an event without a session id; and of a robot one event."""
    late = NOON + timedelta(hours=30)
    return (
        line(1, NOON, session="s1", view="p1", user="u")
        + line(2, NOON + timedelta(minutes=1), session="s1", view="p2")
        + line(3, late, session="s1", view="p3")
        + line(4, late, session=None)
        + line(5, NOON, session="s2", visitor="r", robot="yes")
    )


def test_trackers_ids_and_events_in_no_session_are_in_tables_and_ledger_also_of_a_deployment_of_older_software(
    new_deployment: NewDeployment,
) -> None:
    deployment = new_deployment(tables=TABLES)
    for name, mode in {"app": "supplied", "web": "inferred"}.items():
        deployment.declare(name, TRACKED.format(name=name, mode=mode))
    deployment.deliver("app/1.jsonl", traffic())
    # One of its events again, under another property.
    deployment.deliver("web/1.jsonl", line(1, NOON, session="w1", user="u"))
    report = deployment.refreshed()
    before = contents(deployment)
    assert before["sessions"] == [
        ("app", "r", "s2", 1, True),
        ("app", "v", "s1", 2, False),
        ("web", "v", "w1", 1, False),
    ]
    assert before["views"] == [(None, "s2"), (None, "w1"), ("p1", "s1"), ("p2", "s1")]
    assert before["visitors"] == [("app", "r", 1, 1, 0), ("app", "v", 2, 2, 2), ("web", "v", 1, 1, 0)]
    day, next_day = NOON.date(), NOON.date() + timedelta(days=1)
    assert before["days"] == [(day, 4, 2, 0, 0, 0, 1, 1), (next_day, 2, 0, 1, 1, 0, 0, 0)]
    assert books_balance(deployment.platform.engine)
    with console.capture() as shown:
        print_status(deployment.platform)
    text = " ".join(shown.get().split())
    assert "Of 6 events in no session: 1 without the session id that their tracker supplies, 1 strays." in text
    assert "Of 6 events 2 have the id of an event of another property on the same day." in text
    assert "Ids that several properties have on a day, added up over the days: 1 anonymous ids, 1 user ids." in text
    told = {check.check_name for check in report.failed_checks}
    assert {"events_have_sessions", "ids_across_properties"} <= told

    make_older(deployment)
    deployment.refreshed()
    assert contents(deployment) == before
    assert deployment.is_settled()


def contents(deployment: Deployment) -> dict[str, list[tuple]]:
    counts = [event_days.c[name] for name in ("event_date", "events", "ids_across", *IDENTIFIERS)]
    with deployment.platform.engine.connect() as connection:
        days = [tuple(row) for row in connection.execute(sa.select(*counts).order_by(counts[0]))]
    return {
        "sessions": deployment.sql(
            "select property, visitor_id, session_id_supplied, events, is_bot from marts.sessions order by 1, 2, 3"
        ),
        "views": deployment.sql(
            "select view_id, session_id_supplied from marts.page_views join marts.sessions using (session_id) "
            "order by 1 nulls first, 2"
        ),
        "visitors": deployment.sql(
            "select property, visitor_id, events, page_views, events_outside_sessions from marts.visitors order by 1, 2"
        ),
        "days": days,
    }


def make_older(deployment: Deployment) -> None:
    """Take away what versions before did not have, columns of tables and ledger; all is of other code then."""
    columns = {"marts.sessions": "session_id_supplied", "marts.page_views": "view_id"}
    columns |= {"marts.visitors": "events_outside_sessions"}
    with deployment.platform.engine.begin() as connection:
        for table, column in columns.items():
            connection.execute(sa.text(f"alter table {table} drop column {column}"))
    turn_back(deployment, "0005")
