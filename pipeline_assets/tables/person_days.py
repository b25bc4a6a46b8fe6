"""What each person did on a day: visitor days joined with who is whom."""

from collections.abc import Sequence
from datetime import date
from functools import partial

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, money, text, utc
from pipeline_assets.tables.checking import Reader, Rows, same
from pipeline_assets.tables.identities import SPAN_COLUMNS, with_persons
from pipeline_assets.tables.spec import Input, Inputs, Lookup, TableSpec, sums


class PersonDays(dy.Schema):
    """Visitor days with the person they belong to, as known now: what activity and lifetimes are counted from."""

    activity_date = dy.Date(
        description="Calendar day in the reporting time zone", metadata=made_of("visitor_days.activity_date")
    )
    property = text("Site, app or fleet", metadata=made_of("visitor_days.property"))
    visitor_id = text("The visitor, see events", metadata=made_of("visitor_days.visitor_id"))
    visitor_day_id = text(
        "Deterministic id of the row: hash of day, property, visitor, user id, further ids and is_bot",
        primary_key=True,
        metadata=made_of("visitor_days.visitor_day_id"),
    )
    anonymous_id = text(
        "Device or browser id; null where the visitor was known by a user id only",
        nullable=True,
        metadata=made_of("visitor_days.anonymous_id"),
    )
    user_id = text("Id of the signed-in user", nullable=True, metadata=made_of("visitor_days.user_id"))
    further_ids = text(
        "Further ids of the person by kind, as a JSON object of texts",
        nullable=True,
        metadata=made_of("visitor_days.further_ids"),
    )
    is_bot = dy.Bool(
        description="Whether the events, or the sessions, are a bot's", metadata=made_of("visitor_days.is_bot")
    )
    first_seen_at = utc(
        "First event; without events the start of the first session", metadata=made_of("visitor_days.first_seen_at")
    )
    last_seen_at = utc(
        "Last event; without events the start of the last session", metadata=made_of("visitor_days.last_seen_at")
    )
    events = dy.Int64(
        min=0, description="Events of the day, in a session or not", metadata=made_of("visitor_days.events")
    )
    orphan_pings = dy.Int64(
        min=0,
        description="Of these, in no session: pings of a view of another session",
        metadata=made_of("visitor_days.orphan_pings"),
    )
    events_without_session_id = dy.Int64(
        min=0,
        description="Of these, in no session: events without an id, where the tracker supplies it",
        metadata=made_of("visitor_days.events_without_session_id"),
    )
    strays = dy.Int64(
        min=0,
        description="Of these, in no session: events more than max_session_days after their session's first",
        metadata=made_of("visitor_days.strays"),
    )
    page_views = dy.Int64(
        min=0,
        description="Page and screen views of the day: view ids seen first on this row, and views without an id",
        metadata=made_of("visitor_days.page_views"),
    )
    conversions = dy.Int64(min=0, description="Conversion events", metadata=made_of("visitor_days.conversions"))
    revenue = money(
        "Revenue in the reporting currency; null where none", nullable=True, metadata=made_of("visitor_days.revenue")
    )
    sessions = dy.Int64(min=0, description="Sessions that start that day", metadata=made_of("visitor_days.sessions"))
    session_events = dy.Int64(
        min=0, description="Events of these sessions, on whichever day", metadata=made_of("visitor_days.session_events")
    )
    session_page_views = dy.Int64(
        min=0,
        description="Page and screen views of these sessions",
        metadata=made_of("visitor_days.session_page_views"),
    )
    engaged_sessions = dy.Int64(
        min=0, description="Of these, engaged ones", metadata=made_of("visitor_days.engaged_sessions")
    )
    engaged_seconds = dy.Int64(
        min=0, description="Engaged time of these sessions", metadata=made_of("visitor_days.engaged_seconds")
    )
    first_session_at = utc(
        "Start of the day's first session", nullable=True, metadata=made_of("visitor_days.first_session_at")
    )
    session_id = text("The day's first session", nullable=True, metadata=made_of("visitor_days.session_id"))
    channel = text("Channel of the first session", nullable=True, metadata=made_of("visitor_days.channel"))
    traffic_source = text("Source of the first session", nullable=True, metadata=made_of("visitor_days.traffic_source"))
    traffic_medium = text("Medium of the first session", nullable=True, metadata=made_of("visitor_days.traffic_medium"))
    utm_campaign = text("Campaign of the first session", nullable=True, metadata=made_of("visitor_days.utm_campaign"))
    referrer_host = text("Referrer of the first session", nullable=True, metadata=made_of("visitor_days.referrer_host"))
    entry_page = text("Entry page of the first session", nullable=True, metadata=made_of("visitor_days.entry_page"))
    device_type = text("Device of the first session", nullable=True, metadata=made_of("visitor_days.device_type"))
    country = text("Country of the first session", nullable=True, metadata=made_of("visitor_days.country"))
    last_session_at = utc(
        "Start of the day's last session", nullable=True, metadata=made_of("visitor_days.last_session_at")
    )
    last_channel = text("Channel of the last session", nullable=True, metadata=made_of("visitor_days.last_channel"))
    person_id = text(
        "The person: of the user id, else of the anonymous id's owner at first_seen_at",
        metadata=made_of(
            "visitor_days.user_id",
            "visitor_days.property",
            "visitor_days.anonymous_id",
            "visitor_days.first_seen_at",
            "identities.person_id",
            "identities.valid_from",
        ),
    )
    visitor_first_date = dy.Date(
        description="First day the visitor had an event, bots' events aside unless it has no others",
        metadata=made_of("visitor_days.property", "visitor_days.visitor_id", "identities.id_first_date"),
    )
    person_first_date = dy.Date(
        description="First day the person had an event, bots' events aside unless it has no others",
        metadata=made_of("identities.person_first_date"),
    )


def build_person_days(
    visitor_days: pl.LazyFrame | pl.DataFrame, identities: pl.LazyFrame | pl.DataFrame, days: Sequence[date]
) -> pl.DataFrame:
    """The visitor days of `days` with their persons, per `PersonDays`; the rules are those of `with_persons`.

    Args:
        visitor_days: at least all rows (`VisitorDays`) of `days`.
        identities: of `Identities` at least the rows of all `seen_visitors`.
        days: activity dates to build.

    Reads:
        visitor_days of the day, identities of their ids. Rebuild a day when its visitor_days or its
        `identity_revisions` change.
    """
    rows = visitor_days.lazy().filter(pl.col("activity_date").is_in(sorted(set(days)))).collect()
    return (
        with_persons(rows, identities)
        .select(PersonDays.column_names())
        .sort("activity_date", "property", "visitor_id", "user_id", "further_ids", "is_bot")
    )


def seen_visitors(visitor_days: pl.LazyFrame) -> pl.Series:
    """The visitor ids, which for most are anonymous ids, and user ids on rows of visitor_days."""
    rows = visitor_days.select("visitor_id", "user_id").unique().collect()
    return pl.concat([rows["visitor_id"], rows["user_id"]]).drop_nulls().unique()


_PERSON_COLUMNS = ("activity_date", "property", "visitor_id", "user_id", "first_seen_at", "person_id")


def inputs_about(by: str, *inputs: Input) -> tuple[Input, ...]:
    """What an analysis reads, and if it is about persons, who they are on the same days; see `entity`."""
    if by == "visitor":
        return inputs
    before, after = max(each.before for each in inputs), max(each.after for each in inputs)
    return (*inputs, Input("person_days", before, after, _PERSON_COLUMNS))


def build(inputs: Inputs, days: Sequence[date], parameters: None) -> pl.DataFrame:  # noqa: ARG001 - has none
    """See `build_person_days`."""
    return build_person_days(inputs["visitor_days"], inputs["identities"], days)


def _visitors_of(inputs: Inputs) -> pl.Series:
    return seen_visitors(inputs["visitor_days"])


def _of(table: str, tables: Reader) -> Rows:
    return tables.lake(table, "select activity_date, (count(*), sum(events), sum(sessions)) from files group by all")


person_days = TableSpec(
    name="person_days",
    contract=PersonDays,
    partition_column="activity_date",
    store="lake",
    group="people",
    figures=sums("events", "sessions"),
    inputs=(
        Input("visitor_days"),
        Input("identities", columns=SPAN_COLUMNS, lookup=Lookup("id", _visitors_of)),
    ),
    build=build,
    checks=(
        same(
            "matches_visitor_days",
            "Rows, events and sessions per day equal those of `visitor_days`: nobody is lost or doubled.",
            expected=partial(_of, "visitor_days"),
            actual=partial(_of, "person_days"),
        ),
    ),
)
"""The table."""
