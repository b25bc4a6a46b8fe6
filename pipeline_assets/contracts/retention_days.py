"""Who began and who returned on a day, for the declared retentions."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, text


class RetentionDays(dy.Schema):
    """One row per day, declared retention and entity with an event that begins a cohort or is a return."""

    activity_date = dy.Date(
        primary_key=True,
        description="Calendar day in the reporting time zone",
        metadata=made_of("events.event_date"),
    )
    retention = text("Name of the declared retention", primary_key=True, metadata=made_of())
    entity = text(
        "Visitor (with its property) or person, as declared",
        primary_key=True,
        metadata=made_of("events.property", "events.visitor_id", "events.user_id", "person_days.person_id"),
    )
    is_cohort = dy.Bool(
        description="Whether an event that begins a cohort is among theirs",
        metadata=made_of("events.event_name", "events.event_type"),
    )
    is_return = dy.Bool(
        description="Whether an event that counts as a return is among theirs",
        metadata=made_of("events.event_name", "events.event_type"),
    )
