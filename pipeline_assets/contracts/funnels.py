"""How many go through the steps of a funnel."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, share, text

_STEPS = ("events.event_name", "events.event_type", "events.occurred_at")
_WHO = ("events.visitor_id", "identities.person_id")


class Funnels(dy.Schema):
    """Steps of a funnel by day of entry: how many of those who entered that day reached each step, and how fast.

    A day, or a value of the breakdown, on which nobody entered has no rows; any other has all steps. Bots take no part.
    """

    entry_date = dy.Date(
        primary_key=True,
        description="Calendar day of the entering event, in the reporting time zone",
        metadata=made_of("events.event_date"),
    )
    breakdown = text(
        "Value of the declared column in the entering event; (none) where it has none, (all) without a breakdown",
        primary_key=True,
        metadata=made_of(
            *(
                f"events.{column}"
                for column in (
                    "device_type",
                    "country",
                    "browser",
                    "os",
                    "language",
                    "property",
                    "utm_source",
                    "utm_medium",
                    "utm_campaign",
                    "app_version",
                )
            )
        ),
    )
    step_number = dy.Int64(
        primary_key=True,
        min=1,
        max=20,
        description="Position of the step, from 1; in an unordered funnel the number of steps done",
        metadata=made_of(),
    )
    step_name = text("Declared name of the step; in an unordered funnel: any 2 of 4", metadata=made_of())
    entities = dy.Int64(
        min=0,
        description="Visitors or persons, as declared, who entered that day and reached the step",
        metadata=made_of(*_WHO, *_STEPS),
    )
    from_entered = share("Share of those who entered", metadata=made_of(*_WHO, *_STEPS))
    from_previous = share(
        "Share of those who reached the step before; null for the first step and where nobody did",
        nullable=True,
        metadata=made_of(*_WHO, *_STEPS),
    )
    median_seconds_from_previous = dy.Float64(
        nullable=True,
        min=0,
        description="Median time since the step before; null for the first step and where nobody reached the step",
        metadata=made_of(*_STEPS),
    )
    median_seconds_from_entry = dy.Float64(
        nullable=True,
        min=0,
        description="Median time since the entering event; null for the first step and where nobody reached the step",
        metadata=made_of(*_STEPS),
    )
