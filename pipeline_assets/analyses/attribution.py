"""Which visits a conversion is owed to, by eight models.

A conversion's touches are the sessions of its entity (a visitor or a person) in the lookback window before it. Every
model weighs the touches; the value is shared out by these weights so that the parts add up to it exactly. Amounts and
weights are whole numbers here, so that no machine rounds them otherwise than another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from math import ceil
from typing import Any

import dataframely as dy
import numpy as np
import polars as pl

from pipeline_assets import columns
from pipeline_assets.analyses.checking import repeated
from pipeline_assets.analyses.kind import AnalysisKind
from pipeline_assets.columns import choice, made_of, money, text
from pipeline_assets.declarations.analyses import Attribution
from pipeline_assets.declarations.problems import Location, Problem
from pipeline_assets.tables.checking import Reader, Rows, nothing_found
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.person_days import inputs_about
from pipeline_assets.tables.spec import Input, Inputs, TableSpec
from pipeline_assets.transforms.entities import entity

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


DIRECT = "Direct"

_MILLIONTH = Decimal("0.000001")
_CENT = 10_000
"""In millionths, the unit of the column type of money."""
_PRECISION = 10**12
"""Weights that floating point computes count as whole numbers of this part: bits beyond it may differ by machine."""
_WHOLE = pl.Int128
"""A value of 18 digits times a weight of 12 takes more than 64 bits."""

_START = 0
"""Number of the Markov chain's first state; the channels follow from 1, then conversion, then null."""
_SINCE_EVER, _FOR_EVER = -(10**9), 10**9
"""Day numbers before and after all days."""


def build_attribution(
    conversions: pl.LazyFrame | pl.DataFrame,
    touches: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    attribution: Attribution,
) -> pl.DataFrame:
    """Credits of the conversions on `days`, per `Attributions`.

    A touch counts for a conversion of its entity if it started at or before it and at most `lookback_days` times 24
    hours before. Touches are numbered by started_at, then session_id. The models, n being the number of touches:

    - `last`, `first`: all to that touch. `last_non_direct`: all to the last whose channel is not Direct, else the last.
    - `linear`: 1/n each. `position`: 40% to the first, 40% to the last, 20% shared equally by those between; 50% each
      of two.
    - `time_decay`: in proportion to 2^(-age / half life), counted from the last touch, to twelve digits.
    - `markov`: in proportion to the removal effect of the touch's channel (`removal_effects`) in the chain of the
      conversion's day, shared equally by the channel's touches; where all effects are 0, like `linear`. A day's chain
      is made of the channels, in order of time, of (a) the touches of each conversion of the `model_days` days up to
      and including it, start -> ... -> conversion, and (b) the touches that started on these days of each entity
      without a conversion on them, start -> ... -> null. A conversion without touches is a step from start to
      conversion: it makes all effects smaller by the same factor.
    - `shapley`: equal parts to the distinct channels of the conversion, each shared equally by the channel's touches.
      Summed over conversions that is the Shapley value of the game in which a set of channels is worth the value of
      the conversions whose channels are all in it.

    Rounding: to the cent, or to the millionth where the value itself is finer than cents, by largest remainder
    (compared to twelve digits), ties to the earlier touch; a negative value like its positive.

    Reads the conversions of `days` and, for `markov`, of the model_days - 1 days before; and the touches from
    model_days + lookback_days days before the first of `days` on. More rows change nothing. Learning takes one pass
    over the touches however many days are built together: each step of a path counts for an interval of days.

    Args:
        conversions: conversion_id, conversion_date, entity, occurred_at, value (all in one currency, may be null).
        touches: session_id, entity, session_date (calendar day it starts on in the reporting time zone), started_at,
            channel, source, medium, campaign. Those without an entity are left out. Bots are left out by the caller.
        days: conversion dates to build.
        attribution: the declaration.
    """
    wanted = sorted(set(days))
    models = sorted(set(attribution.models))
    if not wanted:
        return Attributions.create_empty()
    learns = "markov" in models
    first_day = wanted[0] - timedelta(days=attribution.model_days - 1) if learns else wanted[0]
    channels, visits = _visits(touches, wanted[-1])
    known = _conversions(conversions, visits, first_day, wanted[-1])
    paths = _paths(known, visits, timedelta(days=attribution.lookback_days))
    rows = _with_places(paths.filter(pl.col("conversion_date").is_in(wanted)), channels)
    if learns:
        steps = pl.concat(
            [
                _converting_steps(known, paths, len(channels), attribution.model_days),
                _other_steps(
                    visits.filter(pl.col("session_date") >= first_day), known, len(channels), attribution.model_days
                ),
            ]
        )
        effects = _effects(steps, wanted, len(channels))
        rows = rows.join(effects, on=["conversion_date", "state"], how="left", maintain_order="left")
    weights = _weights(attribution.half_life_days)
    credited = [_shared_out(rows, *weights[model]).with_columns(model=pl.lit(model)) for model in models]
    table = pl.concat([*credited, _unattributed(known, paths, wanted, models)]).sort("conversion", "model", "number")
    return (
        table.join(known.select("conversion", "conversion_id", "conversion_date"), on="conversion")
        .join(visits.select("touch", "session_id", "channel", "source", "medium", "campaign"), on="touch", how="left")
        .rename({"number": "touch_number"})
        .with_columns(pl.col("channel").fill_null(UNATTRIBUTED))
        .select(Attributions.column_names())
        .sort("conversion_date", "conversion_id", "model", "touch_number")
    )


def removal_effects(steps: np.ndarray) -> np.ndarray:
    """Part of the conversions that a first-order Markov chain would lose without each channel (Anderl et al., 2016).

    1 - P(conversion without the channel) / P(conversion); whoever would come to the channel that is removed does not
    convert. The probabilities come from the chain by eliminating its states one by one, with neither a subtraction
    (Grassmann, Taksar and Heyman, 1985) nor an operation that machines carry out differently (as a library's `solve`
    may): small probabilities stay exact, and equal chains give equal effects.

    Args:
        steps: number of steps from state (row) to state (column), for the states start, each channel, conversion and
            null in this order. Every path ends in conversion or null.

    Returns:
        One number from 0 to 1 for each channel, to twelve digits; 0 for all where there is no conversion.
    """
    last = len(steps) - 3
    conversion, null = last + 1, last + 2
    # Layer 0 is the whole chain, layer c the one without channel c.
    chains = np.repeat(steps[None, : last + 1].astype(np.float64), last + 1, axis=0)
    removed = np.arange(1, last + 1)
    chains[removed, :, null] += chains[removed, :, removed]
    chains[removed, :, removed] = 0
    for state in range(last, _START, -1):
        others = [*range(_START + 1, state), conversion, null]
        leaving = chains[:, state, others]
        # A cumulative sum adds up in order; a plain sum may group its terms by the width of the machine's registers.
        total = leaving.cumsum(axis=1)[:, -1:]
        shares = np.divide(leaving, total, out=np.zeros_like(leaving), where=total > 0)
        for row in range(state):
            chains[:, row, others] += chains[:, row, state, None] * shares
    converted, lost = chains[:, _START, conversion], chains[:, _START, null]
    if converted[0] == 0:
        return np.zeros(last)
    chances = converted / (converted + lost)
    effects = np.rint((1 - chances[1:] / chances[0]) * _PRECISION) / _PRECISION
    return effects.clip(0, 1)


def _visits(touches: pl.LazyFrame | pl.DataFrame, last_day: date) -> tuple[list[str], pl.DataFrame]:
    """The channels in alphabetical order; the touches with numbers of theirs, their entity and the channel's state.

    The touches of an entity are together and in order of time; their numbers go in this order.
    """
    visits = (
        touches.lazy()
        .filter(pl.col("entity").is_not_null(), pl.col("session_date") <= last_day)
        .select("session_id", "entity", "session_date", "started_at", "channel", "source", "medium", "campaign")
        .collect()
        .sort("entity", "started_at", "session_id")
        .with_row_index("touch")
    )
    channels = visits["channel"].unique().sort()
    states = pl.DataFrame({"channel": channels, "state": pl.int_range(1, len(channels) + 1, eager=True)})
    numbered = visits.join(states, on="channel", how="left", maintain_order="left")
    return channels.to_list(), numbered.with_columns(entity_number=pl.col("entity").rle_id())


def _conversions(
    conversions: pl.LazyFrame | pl.DataFrame, visits: pl.DataFrame, first_day: date, last_day: date
) -> pl.DataFrame:
    """The conversions of these days, numbered; their entity's number, null without a touch; `value` in millionths."""
    entities = visits.select("entity", "entity_number").unique()
    return (
        conversions.lazy()
        .filter(pl.col("conversion_date").is_between(first_day, last_day))
        .select("conversion_id", "conversion_date", "entity", "occurred_at", "value")
        .collect()
        .join(entities, on="entity", how="left")
        .sort("conversion_date", "conversion_id")
        .with_row_index("conversion")
        .with_columns(pl.col("value").cast(money("").dtype, strict=False).to_physical().cast(_WHOLE))
    )


def _paths(known: pl.DataFrame, visits: pl.DataFrame, lookback: timedelta) -> pl.DataFrame:
    """One row per conversion and touch, in order."""
    return (
        known.lazy()
        .select("conversion", "conversion_date", "entity_number", "occurred_at", "value")
        .join(visits.lazy().select("touch", "entity_number", "started_at", "state"), on="entity_number")
        .filter(pl.col("started_at").is_between(pl.col("occurred_at") - lookback, pl.col("occurred_at")))
        .drop("entity_number")
        .collect()
        .sort("conversion", "touch")
    )


def _with_places(paths: pl.DataFrame, channels: Sequence[str]) -> pl.DataFrame:
    """`paths` with what the models weigh a touch by.

    Returns:
        Further columns: number and touches; of_channel, the conversion's touches of the same channel; opens_channel,
        whether it is the first of these; channels, how many distinct ones the conversion has; last_other, number of
        the last touch that is not direct, else of the last; before_last, time in microseconds up to the last touch.
    """
    direct = channels.index(DIRECT) + 1 if DIRECT in channels else None
    is_other = pl.lit(True) if direct is None else pl.col("state") != direct
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("conversion")
    return (
        paths.with_columns(number=number, touches=pl.len().over("conversion").cast(pl.Int64))
        .with_columns(
            of_channel=pl.len().over("conversion", "state").cast(pl.Int64),
            opens_channel=pl.col("number") == pl.col("number").min().over("conversion", "state"),
            last_other=pl.when(is_other).then("number").max().over("conversion").fill_null(pl.col("touches")),
            before_last=(pl.col("started_at").max().over("conversion") - pl.col("started_at")).dt.total_microseconds(),
        )
        .with_columns(channels=pl.col("opens_channel").sum().over("conversion").cast(pl.Int64))
    )


def _weights(half_life_days: float) -> dict[str, tuple[pl.Expr, pl.Expr]]:
    """Numerator and denominator, whole numbers, of a touch's share by each model."""
    one, number, touches = pl.lit(1), pl.col("number"), pl.col("touches")
    half_lives = pl.col("before_last") / (timedelta(days=1) / timedelta(microseconds=1) * half_life_days)
    decayed = (pl.lit(2.0).pow(-half_lives) * _PRECISION).round().cast(_WHOLE)
    effect = pl.col("effect").cast(_WHOLE)
    effects = pl.when("opens_channel").then(effect).otherwise(0).sum().over("conversion")
    is_end = (number == 1) | (number == touches)
    return {
        "last": ((number == touches).cast(pl.Int64), one),
        "last_non_direct": ((number == pl.col("last_other")).cast(pl.Int64), one),
        "first": ((number == 1).cast(pl.Int64), one),
        "linear": (one, touches),
        "position": (
            pl.when(is_end & (touches > 2)).then(2).otherwise(1),
            pl.when(touches <= 2).then(touches).when(is_end).then(5).otherwise(5 * (touches - 2)),
        ),
        "time_decay": (decayed, decayed.sum().over("conversion")),
        "markov": (
            pl.when(effects > 0).then(effect).otherwise(1),
            pl.when(effects > 0).then(pl.col("of_channel") * effects).otherwise(touches),
        ),
        "shapley": (one, pl.col("channels") * pl.col("of_channel")),
    }


def _shared_out(rows: pl.DataFrame, numerator: pl.Expr, denominator: pl.Expr) -> pl.DataFrame:
    """Share and credit of each touch: the value by largest remainder, in cents or in millionths."""
    unit = pl.when(pl.col("value") % _CENT == 0).then(_CENT).otherwise(1).cast(_WHOLE)
    sign = pl.when(pl.col("value") < 0).then(-1).otherwise(1).cast(_WHOLE)
    parts = rows.select(
        "conversion",
        "touch",
        "number",
        "touches",
        numerator=numerator.cast(_WHOLE),
        denominator=denominator.cast(_WHOLE),
        signed_unit=unit * sign,
        amount=pl.col("value").abs() // unit,
    ).with_columns(whole=pl.col("amount") * pl.col("numerator") // pl.col("denominator"))
    rest = pl.col("amount") * pl.col("numerator") % pl.col("denominator")
    ranked = (
        parts.with_columns(
            remainder=rest * _PRECISION // pl.col("denominator"),
            left=pl.col("amount") - pl.col("whole").sum().over("conversion"),
        )
        .sort(["conversion", "remainder", "number"], descending=[False, True, False])
        # The touches of a conversion are together in both orders, so that their numbers in the first are their ranks
        # in the second.
        .with_columns(rank=parts["number"])
    )
    units = pl.col("whole") + (pl.col("rank") <= pl.col("left")).cast(_WHOLE)
    return ranked.select(
        "conversion",
        "touch",
        "number",
        "touches",
        share=pl.col("numerator").cast(pl.Float64) / pl.col("denominator").cast(pl.Float64),
        credit=_as_money(units * pl.col("signed_unit")),
    )


def _as_money(millionths: pl.Expr) -> pl.Expr:
    return (millionths.cast(pl.Decimal(38, 0)) * pl.lit(_MILLIONTH)).cast(money("").dtype)


def _unattributed(
    known: pl.DataFrame, paths: pl.DataFrame, wanted: Sequence[date], models: Sequence[str]
) -> pl.DataFrame:
    """The conversions without a touch, once for each model, in the shape of `_shared_out` with the model."""
    return (
        known.filter(pl.col("conversion_date").is_in(wanted))
        .join(paths, on="conversion", how="anti")
        .select(
            "conversion",
            touch=pl.lit(None, dtype=paths.schema["touch"]),
            number=pl.lit(0, dtype=pl.Int64),
            touches=pl.lit(0, dtype=pl.Int64),
            share=pl.lit(1.0),
            credit=_as_money(pl.col("value")),
        )
        .join(pl.DataFrame({"model": models}, schema={"model": pl.String}), how="cross")
    )


def _converting_steps(known: pl.DataFrame, paths: pl.DataFrame, channels: int, model_days: int) -> pl.DataFrame:
    """The steps of the conversions' paths: origin, target; since, until: numbers of the days whose chain has them."""
    day = pl.col("conversion_date").cast(pl.Int64)
    span = {"since": day, "until": day + (model_days - 1)}
    is_last = pl.col("touch") == pl.col("touch").max().over("conversion")
    return pl.concat(
        [
            paths.select(
                origin=pl.col("state").shift().over("conversion").fill_null(_START), target=pl.col("state"), **span
            ),
            paths.filter(is_last).select(origin=pl.col("state"), target=_state(channels + 1), **span),
            known.join(paths, on="conversion", how="anti").select(
                origin=_state(_START), target=_state(channels + 1), **span
            ),
        ]
    )


def _other_steps(visits: pl.DataFrame, known: pl.DataFrame, channels: int, model_days: int) -> pl.DataFrame:
    """The steps of the paths that lead to no conversion, as `_converting_steps`.

    A touch is part of its entity's path of a day from the touch's day on, until it is `model_days` old. A step between
    two touches is when both are. A touch is the first of the path while the one before is too old, and the last while
    the next is yet to come. There is no path while the entity has a conversion in the model's days.
    """
    # The touches are sorted by entity; a shift within each entity takes twenty times as long.
    day = pl.col("session_date").cast(pl.Int64)
    has_before = pl.col("entity_number") == pl.col("entity_number").shift()
    has_after = pl.col("entity_number") == pl.col("entity_number").shift(-1)
    neighbours = visits.select(
        "entity_number",
        "state",
        day=day,
        state_before=pl.when(has_before).then(pl.col("state").shift()),
        day_before=pl.when(has_before).then(day.shift()),
        day_after=pl.when(has_after).then(day.shift(-1)),
    )
    state, day, last_day = pl.col("state"), pl.col("day"), pl.col("day") + (model_days - 1)
    steps = pl.concat(
        [
            neighbours.filter(pl.col("state_before").is_not_null()).select(
                "entity_number",
                origin=pl.col("state_before"),
                target=state,
                since=day,
                until=pl.col("day_before") + (model_days - 1),
            ),
            neighbours.select(
                "entity_number",
                origin=_state(_START),
                target=state,
                since=pl.max_horizontal(day, pl.col("day_before") + model_days),
                until=last_day,
            ),
            neighbours.select(
                "entity_number",
                origin=state,
                target=_state(channels + 2),
                since=day,
                until=pl.min_horizontal(last_day, pl.col("day_after") - 1),
            ),
        ]
    ).filter(pl.col("since") <= pl.col("until"))
    return (
        steps.join(_spans_without_conversion(known, model_days), on="entity_number", how="left")
        .select(
            "origin",
            "target",
            since=pl.max_horizontal("since", "free_since"),
            until=pl.min_horizontal("until", "free_until"),
        )
        .filter(pl.col("since") <= pl.col("until"))
    )


def _spans_without_conversion(known: pl.DataFrame, model_days: int) -> pl.DataFrame:
    """Day numbers from free_since to free_until: no conversion of the entity on them or the model_days - 1 before."""
    days = (
        known.filter(pl.col("entity_number").is_not_null())
        .select("entity_number", day=pl.col("conversion_date").cast(pl.Int64))
        .unique()
        .sort("entity_number", "day")
        .with_columns(day_before=pl.col("day").shift().over("entity_number"))
    )
    before = days.select(
        "entity_number",
        free_since=(pl.col("day_before") + model_days).fill_null(_SINCE_EVER),
        free_until=pl.col("day") - 1,
    )
    after = days.group_by("entity_number").agg(
        free_since=pl.col("day").max() + model_days, free_until=pl.lit(_FOR_EVER, dtype=pl.Int64)
    )
    return pl.concat([before, after]).filter(pl.col("free_since") <= pl.col("free_until"))


def _effects(steps: pl.DataFrame, wanted: Sequence[date], channels: int) -> pl.DataFrame:
    """Removal effect of each channel in each day's chain, as a whole number of parts of `_PRECISION`."""
    numbers = steps.group_by("origin", "target", "since", "until").agg(number=pl.len().cast(pl.Int64))
    changes = (
        pl.concat(
            [
                numbers.select("origin", "target", day="since", change="number"),
                numbers.select("origin", "target", day=pl.col("until") + 1, change=-pl.col("number")),
            ]
        )
        .sort("day")
        .select("day", "origin", "target", "change")
        .to_numpy()
    )
    counts = np.zeros((channels + 3, channels + 3), dtype=np.int64)
    effects, seen = [], 0
    for day in wanted:
        upto = int(np.searchsorted(changes[:, 0], (day - date(1970, 1, 1)).days, side="right"))
        _, origins, targets, change = changes[seen:upto].T
        np.add.at(counts, (origins, targets), change)
        seen = upto
        effects.append(np.rint(removal_effects(counts) * _PRECISION).astype(np.int64))
    return pl.DataFrame(
        {
            "conversion_date": pl.Series([day for day in wanted for _ in range(channels)], dtype=pl.Date),
            "state": pl.Series(list(range(1, channels + 1)) * len(wanted), dtype=pl.Int64),
            "effect": np.concatenate(effects),
        }
    )


def _state(number: int) -> pl.Expr:
    return pl.lit(number, dtype=pl.Int64)


_TOUCH_COLUMNS = (
    "session_id",
    "session_date",
    "property",
    "visitor_id",
    "user_id",
    "started_at",
    "channel",
    "traffic_source",
    "traffic_medium",
    "utm_campaign",
    "is_bot",
)
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Parameters:
    """What credits depend on.

    Attributes:
        attribution: the declaration.
        value_column: where `conversions` has what is credited: amounts in one currency, if there is a reporting one.
    """

    attribution: Attribution
    value_column: str


def build(inputs: Inputs, days: Sequence[date], parameters: Parameters) -> pl.DataFrame:
    """See `build_attribution`."""
    declared, persons = parameters.attribution, inputs.get("person_days")
    conversions = inputs["conversions"].filter(pl.col("conversion") == declared.conversion)
    sessions = inputs["sessions"].filter(~pl.col("is_bot"))
    if declared.properties:
        conversions = conversions.filter(pl.col("property").is_in(list(declared.properties)))
    touches = entity(sessions, persons, "session_date").with_columns(
        source="traffic_source", medium="traffic_medium", campaign="utm_campaign"
    )
    converted = entity(conversions, persons, "conversion_date").with_columns(value=parameters.value_column)
    return build_attribution(converted, touches, days, attribution=declared)


def _wrong(parameters: Parameters, tables: Reader) -> Rows:
    declared = parameters.attribution
    # A conversion without a value has credits that are null, and every other one none of these.
    return tables.marts(
        f"""
        select (coalesce(c.conversion_id, a.conversion_id), coalesce(c.model, a.model))::text,
            (a.credits, a.credited, c.value)::text
        from (
            select conversion_id, model, {parameters.value_column} as value
            from marts.conversions, unnest(cast(:models as text[])) as model
            where conversion_date = any(:days) and conversion = :conversion
                and (cardinality(cast(:properties as text[])) = 0 or property = any(:properties))
        ) c
        full join (
            select conversion_id, model, count(*) as touches, count(credit) as credits, sum(credit) as credited,
                sum(share) as shares
            from marts.{declared.name} where conversion_date = any(:days) group by 1, 2
        ) a using (conversion_id, model)
        where c.conversion_id is null or a.conversion_id is null
            or a.credits <> case when c.value is null then 0 else a.touches end
            or a.credited is distinct from c.value
            or abs(a.shares - 1) > {_TOLERANCE}
        """,  # noqa: S608 - checked names
        models=list(declared.models),
        conversion=declared.conversion,
        properties=list(declared.properties),
    )


def attribution(analysis: Attribution, declared: Declarations) -> TableSpec:
    """The table of a declared attribution."""
    parameters = Parameters(analysis, "reporting_value" if declared.rates.reporting else "value")
    trained = analysis.model_days if "markov" in analysis.models else 1
    # A look-back is measured in hours, and where clocks are turned a day has other than 24.
    before = trained + ceil(analysis.lookback_days)
    return TableSpec(
        name=analysis.name,
        contract=Attributions,
        partition_column="conversion_date",
        group="analyses",
        inputs=inputs_about(
            analysis.by,
            Input("conversions", before=trained - 1),
            Input("sessions", before=before, columns=_TOUCH_COLUMNS),
        ),
        build=build,
        parameters=parameters,
        # Learning takes one pass however many days there are.
        days_at_once=31,
        checks=(
            nothing_found(
                "credits_add_up",
                "By every model, the credits of every conversion add up to its value, and are null where it has none, "
                "and its shares add up to 1.",
                partial(_wrong, parameters),
            ),
        ),
    )


def attribution_problems(attribution: Attribution) -> Iterator[Problem]:
    """Mistakes in an attribution whose shape is right."""
    yield from repeated(attribution.properties, ("properties",))
    yield from repeated(attribution.models, ("models",))


def stand_in(location: Location) -> Any:
    """What takes the place of what is wrong or missing."""
    return "any" if location[-1:] == ("conversion",) else None


ATTRIBUTION = AnalysisKind(
    model=Attribution,
    noun="attribution",
    find_problems=attribution_problems,
    stand_in=stand_in,
    # Of the demo's conversion, so that the example is one that can be loaded.
    example={"conversion": "purchase", "by": "person", "lookback_days": 30},
    table=attribution,
)
"""The kind."""
