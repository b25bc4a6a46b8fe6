"""Visitors over all time."""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, money, text, utc
from pipeline_assets.tables.spec import IncrementalKey, Input, Inputs, TableSpec
from pipeline_assets.tables.users import LIFETIME_COLUMNS, adds_up, lifetimes

_OWN = ("person_days.property", "person_days.visitor_id")


class Visitors(dy.Schema):
    """One row per property and visitor over all time: how they came and what they did."""

    property = text("Site, app or fleet", primary_key=True, metadata=made_of("person_days.property"))
    visitor_id = text(
        "The visitor, see events", primary_key=True, metadata=made_of("person_days.visitor_id", index=True)
    )
    person_id = text(
        "The person the visitor was when last seen",
        metadata=made_of(*_OWN, "person_days.person_id", "person_days.last_seen_at", index=True),
    )
    is_bot = dy.Bool(
        description="Whether all its events are bots'; else bots' rows count in nothing of the visitor",
        metadata=made_of(*_OWN, "person_days.is_bot"),
    )
    first_seen_at = utc("First time seen", metadata=made_of(*_OWN, "person_days.first_seen_at"))
    last_seen_at = utc("Last time seen", metadata=made_of(*_OWN, "person_days.last_seen_at", index=True))
    days_active = dy.Int64(
        description="Days with an event",
        min=0,
        metadata=made_of(*_OWN, "person_days.activity_date", "person_days.events"),
    )
    sessions = dy.Int64(description="Sessions", min=0, metadata=made_of(*_OWN, "person_days.sessions"))
    engaged_sessions = dy.Int64(
        description="Of these, engaged ones", min=0, metadata=made_of(*_OWN, "person_days.engaged_sessions")
    )
    engaged_seconds = dy.Int64(
        description="Engaged time of the sessions", min=0, metadata=made_of(*_OWN, "person_days.engaged_seconds")
    )
    page_views = dy.Int64(
        description="Page and screen views of the sessions",
        min=0,
        metadata=made_of(*_OWN, "person_days.session_page_views"),
    )
    events = dy.Int64(
        description="Events of the sessions", min=0, metadata=made_of(*_OWN, "person_days.session_events")
    )
    # A table that is there gets a new column by itself only if it may be null.
    events_outside_sessions = dy.Int64(
        description="Further events, in no session: strays, events without a session id where the tracker supplies it, "
        "pings of a view of another session",
        min=0,
        nullable=True,
        metadata=made_of(
            *_OWN, "person_days.orphan_pings", "person_days.events_without_session_id", "person_days.strays"
        ),
    )
    conversions = dy.Int64(
        description="Conversion events, in a session or not", min=0, metadata=made_of(*_OWN, "person_days.conversions")
    )
    revenue = money(
        "Revenue in the reporting currency, in a session or not; null where none",
        nullable=True,
        metadata=made_of(*_OWN, "person_days.revenue"),
    )
    first_channel = text(
        "Channel of the first session",
        nullable=True,
        metadata=made_of(*_OWN, "person_days.first_session_at", "person_days.channel"),
    )
    first_source = text(
        "Source of the first session",
        nullable=True,
        metadata=made_of(*_OWN, "person_days.first_session_at", "person_days.traffic_source"),
    )
    first_medium = text(
        "Medium of the first session",
        nullable=True,
        metadata=made_of(*_OWN, "person_days.first_session_at", "person_days.traffic_medium"),
    )
    first_campaign = text(
        "Campaign of the first session",
        nullable=True,
        metadata=made_of(*_OWN, "person_days.first_session_at", "person_days.utm_campaign"),
    )
    first_referrer_host = text(
        "Referrer of the first session",
        nullable=True,
        metadata=made_of(*_OWN, "person_days.first_session_at", "person_days.referrer_host"),
    )
    first_entry_page = text(
        "Entry page of the first session",
        nullable=True,
        metadata=made_of(*_OWN, "person_days.first_session_at", "person_days.entry_page"),
    )
    last_channel = text(
        "Channel of the last session",
        nullable=True,
        metadata=made_of(*_OWN, "person_days.last_session_at", "person_days.last_channel"),
    )


_KEY = ["property", "visitor_id"]


def build_visitors(person_days: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Every visitor over all time, per `Visitors`; the rules are those of `lifetimes`.

    person_id is the person of the row that was seen last of those that count; of several at one moment that of the
    greatest visitor_day_id.

    Args:
        person_days: all rows of all days (`PersonDays`).

    Reads:
        all person_days; where only some days have changed, the rows of the visitors who were there on them.
    """
    rows = person_days.lazy().select(LIFETIME_COLUMNS).collect().rechunk()
    table = lifetimes(rows, _KEY, person_days)
    latest = (
        rows.join(table.select(*_KEY, "is_bot", "last_seen_at"), on=[*_KEY, "is_bot", "last_seen_at"], how="semi")
        .sort("visitor_day_id")
        .unique(_KEY, keep="last", maintain_order=True)
    )
    return table.join(latest.select(*_KEY, "person_id"), on=_KEY, how="left").select(Visitors.column_names()).sort(_KEY)


def build(inputs: Inputs, days: Sequence[date], parameters: None) -> pl.DataFrame:  # noqa: ARG001 - of all days
    """See `build_visitors`."""
    return build_visitors(inputs["person_days"])


visitors = TableSpec(
    name="visitors",
    contract=Visitors,
    group="people",
    inputs=(Input("person_days"),),
    build=build,
    incremental=IncrementalKey.by("visitor_id", "person_days", first="first_seen_at", last="last_seen_at"),
    checks=(adds_up("visitors"),),
)
"""The table."""
