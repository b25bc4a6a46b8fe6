"""Which ids belong to which person."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, text, utc

_IDS = (
    "visitor_days.property",
    "visitor_days.anonymous_id",
    "visitor_days.user_id",
    "visitor_days.further_ids",
)
_SIGHTINGS = (*_IDS, "visitor_days.first_seen_at")


class Identities(dy.Schema):
    """Who is whom: every id with the person it belongs to, and for an id that several users share, when to which."""

    property = text(
        "Site, app or fleet of the id; * where the id is the same everywhere (user ids and further ids)",
        primary_key=True,
        metadata=made_of("visitor_days.property"),
    )
    id_type = text(
        "anonymous_id, user_id, a further kind of id that a source declares, or visitor_id: a visitor without an "
        "anonymous id (user:<user_id>)",
        primary_key=True,
        metadata=made_of("visitor_days.further_ids"),
    )
    id = text("The id", primary_key=True, metadata=made_of(*_IDS, "visitor_days.visitor_id", index=True))
    span = dy.Int64(
        primary_key=True,
        min=1,
        description="Number of the span of time, from 1; an id that is not shared has one",
        metadata=made_of(*_SIGHTINGS),
    )
    person_id = text(
        "Deterministic id of the person: hash of the user id, else of the smallest id of the person",
        metadata=made_of(*_SIGHTINGS, index=True),
    )
    component_id = text(
        "All ids that are linked with each other over any number of steps, whoever they belong to: hash of the "
        "smallest",
        metadata=made_of(*_IDS, index=True),
    )
    valid_from = utc(
        "First moment of the span; null since ever", nullable=True, metadata=made_of("visitor_days.first_seen_at")
    )
    valid_to = utc(
        "First moment after the span; null for ever", nullable=True, metadata=made_of("visitor_days.first_seen_at")
    )
    is_shared = dy.Bool(description="Whether the id was seen with several users", metadata=made_of(*_IDS))
    is_cut = dy.Bool(
        description="Whether the id is a person of its own because its person had more ids than the limit",
        metadata=made_of(*_IDS),
    )
    first_seen_at = utc("First time the id was seen, whoever owned it", metadata=made_of("visitor_days.first_seen_at"))
    last_seen_at = utc(
        "Last time the id was seen, whoever owned it", metadata=made_of("visitor_days.last_seen_at", index=True)
    )
    id_first_date = dy.Date(
        description="First day the id (of an anonymous_id or visitor_id: the visitor) had an event, bots' events aside "
        "unless it has no others",
        metadata=made_of("visitor_days.activity_date", "visitor_days.is_bot", "visitor_days.visitor_id"),
    )
    person_first_date = dy.Date(
        description="First day the person had an event, bots' events aside unless it has no others",
        metadata=made_of("visitor_days.activity_date", "visitor_days.is_bot", *_SIGHTINGS),
    )
