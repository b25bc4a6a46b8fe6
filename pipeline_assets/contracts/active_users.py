"""How many were active lately."""

import dataframely as dy

from pipeline_assets.contracts.columns import made_of, share, text

_ACTIVE = ("person_days.activity_date", "person_days.property", "person_days.events", "person_days.is_bot")
_VISITORS = (*_ACTIVE, "person_days.visitor_id")
_PEOPLE = (*_ACTIVE, "person_days.person_id")


class ActiveUsers(dy.Schema):
    """Visitors and people active on a day and in the 7 and 28 days that end with it, for each property and all (*).

    Active is whoever has an event; bots are left out. A property has a row while anybody was active in the 28 days, on
    days on which anything happened.
    """

    activity_date = dy.Date(
        primary_key=True,
        description="Calendar day in the reporting time zone",
        metadata=made_of("person_days.activity_date"),
    )
    property = text(
        "Site, app or fleet; * for all together", primary_key=True, metadata=made_of("person_days.property")
    )
    visitors_1d = dy.Int64(min=0, description="Visitors active that day", metadata=made_of(*_VISITORS))
    visitors_7d = dy.Int64(
        min=0, description="Visitors active in the 7 days that end with it", metadata=made_of(*_VISITORS)
    )
    visitors_28d = dy.Int64(
        min=1, description="Visitors active in the 28 days that end with it", metadata=made_of(*_VISITORS)
    )
    people_1d = dy.Int64(min=0, description="People active that day", metadata=made_of(*_PEOPLE))
    people_7d = dy.Int64(min=0, description="People active in the 7 days that end with it", metadata=made_of(*_PEOPLE))
    people_28d = dy.Int64(
        min=1, description="People active in the 28 days that end with it", metadata=made_of(*_PEOPLE)
    )
    new_visitors = dy.Int64(
        min=0,
        description="Visitors active that day and on no day before",
        metadata=made_of(*_VISITORS, "person_days.visitor_first_date"),
    )
    returning_visitors = dy.Int64(
        min=0,
        description="Visitors active that day and on a day before",
        metadata=made_of(*_VISITORS, "person_days.visitor_first_date"),
    )
    new_people = dy.Int64(
        min=0,
        description="People active that day and on no day before, in any property",
        metadata=made_of(*_PEOPLE, "person_days.person_first_date"),
    )
    returning_people = dy.Int64(
        min=0,
        description="People active that day and on a day before, in whatever property",
        metadata=made_of(*_PEOPLE, "person_days.person_first_date"),
    )
    visitor_stickiness = share("visitors_1d / visitors_28d", metadata=made_of(*_VISITORS))
    people_stickiness = share("people_1d / people_28d", metadata=made_of(*_PEOPLE))
