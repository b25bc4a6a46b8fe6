"""Who began and who returned on a day, for the declared retentions."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, text


class RetentionDays(dy.Schema):
    """One row per day, declared retention, visitor and user id with an event that begins a cohort or is a return."""

    activity_date = dy.Date(
        description="Calendar day in the reporting time zone", metadata=made_of("events.event_date")
    )
    retention = text("Name of the declared retention", metadata=made_of())
    property = text("Site, app or fleet", metadata=made_of("events.property"))
    visitor_id = text("The visitor, see events", metadata=made_of("events.visitor_id"))
    user_id = text("User id of the events", nullable=True, metadata=made_of("events.user_id"))
    is_cohort = dy.Bool(
        description="Whether an event that begins a cohort is among them",
        metadata=made_of("events.event_name", "events.event_type"),
    )
    is_return = dy.Bool(
        description="Whether an event that counts as a return is among them",
        metadata=made_of("events.event_name", "events.event_type"),
    )
