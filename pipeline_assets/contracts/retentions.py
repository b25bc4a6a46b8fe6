"""How many come back."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, share

_WHO = ("events.visitor_id", "identities.person_id")


class Retentions(dy.Schema):
    """Retention triangle: how many of those who began in a period came back in each period since. Bots take no part."""

    cohort_start = dy.Date(
        primary_key=True,
        description="First day of the calendar period (day, week or month, as declared) in which the cohort began",
        metadata=made_of("events.event_date"),
    )
    period_number = dy.Int64(
        primary_key=True,
        min=0,
        description="Periods since the cohort began; 0 is its own",
        metadata=made_of("events.event_date"),
    )
    cohort_size = dy.Int64(
        min=1,
        description="Visitors or persons, as declared, whose first event of the declared kind lies in the period",
        metadata=made_of(*_WHO, "events.event_date"),
    )
    retained = dy.Int64(
        min=0,
        description="Of these, those with a returning event in the period, on or after the day they began",
        metadata=made_of(*_WHO, "events.event_date"),
    )
    retention = share("retained as a share of cohort_size", metadata=made_of(*_WHO, "events.event_date"))
    is_complete = dy.Bool(
        description="Whether the whole period lies before the last day with activity, for everyone in the cohort",
        metadata=made_of("events.event_date"),
    )
