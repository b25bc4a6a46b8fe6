"""Which visits a conversion is owed to."""

import dataframely as dy

from pipeline_assets.contracts import columns
from pipeline_assets.contracts.columns import choice, made_of, money, text

MODELS = ("last", "last_non_direct", "first", "linear", "position", "time_decay", "markov", "shapley")
UNATTRIBUTED = "(unattributed)"


class Attributions(dy.Schema):
    """One row per conversion, model and touch: a touch is a session in the lookback window before the conversion.

    The credits of a conversion and model sum to its value exactly. A conversion without a touch has one row with the
    touch number 0 and the channel (unattributed).
    """

    conversion_date = dy.Date(
        description="Calendar day of the conversion in the reporting time zone",
        metadata=made_of("conversions.conversion_date", index=True),
    )
    conversion_id = text(
        "The conversion, see conversions", primary_key=True, metadata=made_of("conversions.conversion_id")
    )
    model = choice(MODELS, "Attribution model", primary_key=True, metadata=made_of())
    touch_number = dy.Int64(
        primary_key=True,
        min=0,
        description="Number of the touch of the conversion in order of time, from 1; 0 where there is no touch",
        metadata=made_of("sessions.started_at", "sessions.session_id", "conversions.occurred_at"),
    )
    touches = dy.Int64(
        min=0,
        description="Touches of the conversion",
        metadata=made_of("sessions.started_at", "conversions.occurred_at"),
    )
    session_id = text("Session of the touch", nullable=True, metadata=made_of("sessions.session_id", index=True))
    channel = text(
        "Channel of the touch; (unattributed) where there is none", metadata=made_of("sessions.channel", index=True)
    )
    source = text("Source of the touch", nullable=True, metadata=made_of("sessions.traffic_source"))
    medium = text("Medium of the touch", nullable=True, metadata=made_of("sessions.traffic_medium"))
    campaign = text("Campaign of the touch", nullable=True, metadata=made_of("sessions.utm_campaign"))
    share = columns.share(
        "The touch's part of the conversion by the model; the shares of a conversion and model sum to 1",
        metadata=made_of("sessions.channel", "sessions.started_at", "conversions.occurred_at"),
    )
    credit = money(
        "The touch's part of the conversion's value, rounded so that the credits sum to the value exactly; null where "
        "the conversion has no value",
        nullable=True,
        metadata=made_of("conversions.reporting_value", "conversions.value", "sessions.channel", "sessions.started_at"),
    )
