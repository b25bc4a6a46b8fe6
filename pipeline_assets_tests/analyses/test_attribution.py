from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise, permutations
from math import floor
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.analyses.attribution import MODELS, Attributions, build_attribution, removal_effects
from pipeline_assets.declarations.analyses import ATTRIBUTION_MODELS, Attribution
from pipeline_assets_tests.transforms.frames import NOON, Row, columns_of, days_between, only

CONVERSION_SCHEMA = {
    "conversion_id": pl.String(),
    "conversion_date": pl.Date(),
    "entity": pl.String(),
    "occurred_at": pl.Datetime("us", "UTC"),
    "value": pl.Decimal(18, 6),
}
TOUCH_SCHEMA = {
    "session_id": pl.String(),
    "entity": pl.String(),
    "session_date": pl.Date(),
    "started_at": pl.Datetime("us", "UTC"),
    "channel": pl.String(),
    "source": pl.String(),
    "medium": pl.String(),
    "campaign": pl.String(),
}
TODAY = NOON.date()
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
PRECISION = 10**12


def declared(**values: Any) -> Attribution:
    return Attribution(name="a", conversion="purchase", **values)


def conversion(occurred_at: datetime = NOON, value: str | None = "100", timezone: str = "UTC", **values: Any) -> Row:
    """A conversion of entity e."""
    row = {
        "conversion_id": occurred_at.isoformat(),
        "conversion_date": occurred_at.astimezone(ZoneInfo(timezone)).date(),
        "entity": "e",
        "occurred_at": occurred_at,
        "value": None if value is None else Decimal(value),
    }
    return row | values


def touch(started_at: datetime, channel: str = "Email", timezone: str = "UTC", **values: Any) -> Row:
    """A touch of entity e."""
    row = dict.fromkeys(TOUCH_SCHEMA) | {
        "session_id": f"{started_at.isoformat()} {channel}",
        "entity": "e",
        "session_date": started_at.astimezone(ZoneInfo(timezone)).date(),
        "started_at": started_at,
        "channel": channel,
    }
    return row | values


def visits(*channels: str, entity: str = "e", until: datetime = NOON) -> list[Row]:
    """Touches of these channels in this order, an hour apart, the last at `until`."""
    return [
        touch(until - timedelta(hours=hours), channel, entity=entity, session_id=f"{entity} {hours}")
        for hours, channel in zip(range(len(channels) - 1, -1, -1), channels, strict=True)
    ]


def build(
    conversions: Iterable[Row], touches: Iterable[Row], days: Sequence[date], attribution: Attribution
) -> pl.DataFrame:
    return Attributions.validate(
        build_attribution(
            pl.DataFrame(list(conversions), schema=CONVERSION_SCHEMA).lazy(),
            pl.DataFrame(list(touches), schema=TOUCH_SCHEMA).lazy(),
            days,
            attribution=attribution,
        )
    )


def credits_of(
    conversions: Sequence[Row], touches: Sequence[Row], model: str, days: Sequence[date] = (TODAY,), **values: Any
) -> list[Decimal | None]:
    """Credits by one model, in order."""
    return build(conversions, touches, days, declared(models=(model,), **values))["credit"].to_list()


def numbers(*texts: str) -> list[Decimal]:
    return [Decimal(text) for text in texts]


def test_the_contract_knows_the_models_of_the_declaration() -> None:
    assert MODELS == ATTRIBUTION_MODELS


@pytest.mark.parametrize(
    ("model", "channels", "expected"),
    [
        ("last", ["Email", "Display", "Direct"], ["0", "0", "100"]),
        ("first", ["Email", "Display", "Direct"], ["100", "0", "0"]),
        ("last_non_direct", ["Email", "Display", "Direct"], ["0", "100", "0"]),
        ("last_non_direct", ["Direct", "Direct"], ["0", "100"]),
        ("last_non_direct", ["Email", "Display"], ["0", "100"]),
        ("linear", ["Email", "Display", "Direct"], ["33.34", "33.33", "33.33"]),
        ("position", ["Email"], ["100"]),
        ("position", ["Email", "Display"], ["50", "50"]),
        ("position", ["Email", "Display", "Direct"], ["40", "20", "40"]),
        ("position", ["Email", "Display", "SMS", "Audio", "Direct"], ["40", "6.67", "6.67", "6.66", "40"]),
        ("shapley", ["Email", "Display", "Email", "Email"], ["16.67", "50", "16.67", "16.66"]),
        ("markov", ["Email", "Email"], ["50", "50"]),
    ],
)
def test_a_model_gives_the_touches_their_part(model: str, channels: list[str], expected: list[str]) -> None:
    assert credits_of([conversion()], visits(*channels), model) == numbers(*expected)


@pytest.mark.parametrize("model", MODELS)
def test_one_touch_gets_everything(model: str) -> None:
    assert credits_of([conversion()], visits("Email"), model) == numbers("100")


@pytest.mark.parametrize("model", ["linear", "shapley", "markov"])
def test_a_path_of_direct_visits_only_is_shared_equally(model: str) -> None:
    assert credits_of([conversion()], visits(*["Direct"] * 4), model) == numbers("25", "25", "25", "25")


def test_a_touch_s_weight_halves_with_every_half_life() -> None:
    touches = [touch(NOON - 14 * DAY), touch(NOON - 7 * DAY), touch(NOON)]
    assert credits_of([conversion(value="7")], touches, "time_decay") == numbers("1", "2", "4")
    assert credits_of([conversion(value="7")], touches, "time_decay", half_life_days=0.001) == numbers("0", "0", "7")
    assert credits_of([conversion(value="9")], touches, "time_decay", half_life_days=1e9) == numbers("3", "3", "3")


def test_only_the_difference_of_ages_matters_to_time_decay_however_long_all_of_them_are_past() -> None:
    touches = [touch(NOON - 30 * DAY), touch(NOON - 29 * DAY)]
    assert credits_of([conversion(value="3")], touches, "time_decay", half_life_days=1) == numbers("1", "2")
    assert credits_of([conversion(value="3")], touches, "time_decay", half_life_days=1e-300) == numbers("0", "3")


def test_a_touch_of_exactly_lookback_days_before_counts_and_one_of_a_microsecond_more_does_not() -> None:
    limit = NOON - 30 * DAY
    inside, outside = touch(limit), touch(limit - MICROSECOND, "Display")
    (row,) = build([conversion()], [inside, outside], [TODAY], declared(models=("first",))).to_dicts()
    assert columns_of(row, "channel", "touches") == ("Email", 1)


def test_a_day_of_the_lookback_has_24_hours_when_the_clocks_change() -> None:
    """The night to 29 March 2026 has 23 hours in Berlin: a touch at the same time of day is 24 hours less 1 before."""
    berlin = ZoneInfo("Europe/Berlin")
    bought = datetime(2026, 3, 29, 12, tzinfo=berlin).astimezone(UTC)
    conversions = [conversion(bought, timezone="Europe/Berlin")]
    touches = [touch(bought - DAY, timezone="Europe/Berlin"), touch(bought - DAY - MICROSECOND, "Display")]
    got = build(conversions, touches, [date(2026, 3, 29)], declared(models=("first",), lookback_days=1))
    assert got["channel"].to_list() == ["Email"]


def test_a_touch_at_the_moment_of_the_conversion_counts_and_a_later_one_does_not() -> None:
    touches = [touch(NOON), touch(NOON + MICROSECOND, "Display")]
    (row,) = build([conversion()], touches, [TODAY], declared(models=("last",))).to_dicts()
    assert columns_of(row, "channel", "touches") == ("Email", 1)


def test_touches_of_one_moment_are_in_the_order_of_their_session_ids() -> None:
    touches = [touch(NOON, session_id="b"), touch(NOON, "Display", session_id="a")]
    got = build([conversion()], touches, [TODAY], declared(models=("last",)))
    assert got["session_id"].to_list() == ["a", "b"]


def test_each_conversion_of_an_entity_has_all_of_its_touches() -> None:
    touches = visits("Email", "Display", until=NOON - DAY)
    conversions = [conversion(NOON, conversion_id="1"), conversion(NOON + DAY, conversion_id="2")]
    got = build(conversions, [*touches, touch(NOON + DAY, "SMS")], [TODAY, TODAY + DAY], declared(models=("linear",)))
    assert got.select("conversion_id", "channel").rows() == [
        ("1", "Email"),
        ("1", "Display"),
        ("2", "Email"),
        ("2", "Display"),
        ("2", "SMS"),
    ]


@pytest.mark.parametrize("entity", ["e", None])
def test_a_conversion_without_a_touch_is_unattributed_with_its_full_value(entity: str | None) -> None:
    others = [touch(NOON, entity="other"), touch(NOON, entity=None, session_id="nobody's")]
    got = build([conversion(entity=entity)], others, [TODAY], declared()).to_dicts()
    assert [row["model"] for row in got] == sorted(MODELS)
    assert {columns_of(row, "touch_number", "touches", "session_id", "channel", "share", "credit") for row in got} == {
        (0, 0, None, "(unattributed)", 1.0, Decimal(100))
    }


def test_a_conversion_without_a_value_has_shares_and_no_credits() -> None:
    got = build([conversion(value=None)], visits("Email", "Display"), [TODAY], declared(models=("linear",)))
    assert got.select("share", "credit").rows() == [(0.5, None), (0.5, None)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.01", ["0.01", "0", "0"]),
        ("0.02", ["0.01", "0.01", "0"]),
        ("-0.02", ["-0.01", "-0.01", "0"]),
        ("100", ["33.34", "33.33", "33.33"]),
        ("-100", ["-33.34", "-33.33", "-33.33"]),
        ("100.001", ["33.333667", "33.333667", "33.333666"]),
        ("-0.000001", ["-0.000001", "0", "0"]),
        ("0", ["0", "0", "0"]),
        ("999999999999.999999", ["333333333333.333333"] * 3),
        ("-999999999999.999999", ["-333333333333.333333"] * 3),
    ],
)
def test_credits_are_rounded_to_the_cent_or_finer_where_the_value_is_and_ties_go_to_the_earlier_touch(
    value: str, expected: list[str]
) -> None:
    assert credits_of([conversion(value=value)], visits("Email", "Display", "SMS"), "linear") == numbers(*expected)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("value", ["999999999999.999999", "-999999999999.999999", "999999999999.99"])
def test_credits_of_the_largest_values_sum_to_them_exactly(model: str, value: str) -> None:
    touches = [*visits("Email", "Display", "Email", "SMS", "Direct"), *visits("Email", "Audio", entity="f")]
    credits = [credit or Decimal(0) for credit in credits_of([conversion(value=value)], touches, model)]
    assert sum(credits) == Decimal(value)
    assert all(credit * Decimal(value) >= 0 for credit in credits)


def test_the_removal_effect_of_a_channel_is_the_part_of_the_conversions_that_is_lost_without_it() -> None:
    """Of 3 paths Email -> Display -> buys, Email -> null and Display -> buys.

    P(buys) = 2/3 * 1/2 + 1/3 = 2/3; without Display 0; without Email 1/3.
    """
    conversions = [conversion(), conversion(entity="f", conversion_id="f")]
    touches = [
        *visits("Email", "Display"),
        *visits("Display", entity="f"),
        *visits("Email", entity="g"),
    ]
    assert credits_of(conversions, touches, "markov") == numbers("33.33", "66.67", "100")
    # Nobody's visits are nobody's path, and nothing changes the proportion but visits.
    nobodys = [row | {"entity": None, "session_id": f"nobody's {row['session_id']}"} for row in touches]
    unattributed = conversion(entity="h", conversion_id="h")
    got = credits_of([*conversions, unattributed], [*touches, *nobodys], "markov")
    assert got == numbers("33.33", "66.67", "100", "100")


def test_removal_effects_are_rounded_to_twelve_digits() -> None:
    """Two paths Display -> Direct -> buys, one that buys at once, Email -> Direct -> null and Email -> null."""
    states = ["start", "Direct", "Display", "Email", "conversion", "null"]
    steps = np.zeros((6, 6), dtype=np.int64)
    paths = [("Display", "Direct", "conversion")] * 2 + [
        ("conversion",),
        ("Email", "Direct", "null"),
        ("Email", "null"),
    ]
    for path in paths:
        for origin, target in pairwise(("start", *path)):
            steps[states.index(origin), states.index(target)] += 1
    assert removal_effects(steps).tolist() == [0.666666666667, 0.444444444444, 0.222222222222]


def test_a_channel_s_loop_to_itself_delays_and_changes_nothing() -> None:
    steps = np.zeros((5, 5), dtype=np.int64)
    steps[0, 1], steps[1, 2], steps[1, 3], steps[2, 4], steps[2, 3], steps[0, 2] = 5, 3, 2, 2, 2, 1
    looping = steps.copy()
    looping[1, 1], looping[2, 2] = 7, 1000
    assert removal_effects(looping).tolist() == removal_effects(steps).tolist()


def test_without_a_conversion_no_channel_has_an_effect() -> None:
    steps = np.zeros((4, 4), dtype=np.int64)
    steps[0, 1], steps[1, 3] = 2, 2
    assert removal_effects(steps).tolist() == [0.0]
    assert removal_effects(np.zeros((3, 3), dtype=np.int64)).tolist() == []


def test_the_chain_of_a_day_learns_from_the_model_days_up_to_it() -> None:
    bought = [conversion(), conversion(NOON - DAY, entity="f", conversion_id="f")]
    touches = [*visits("Email", "Display"), *visits("Display", entity="f", until=NOON - DAY)]
    # On a day of its own, neither channel can be spared; with yesterday's path, Email can in half of the cases.
    assert credits_of(bought, touches, "markov", model_days=1) == numbers("50", "50")
    assert credits_of(bought, touches, "markov", model_days=2) == numbers("33.33", "66.67")


def test_an_entity_without_a_conversion_in_the_model_days_is_a_path_to_nowhere() -> None:
    touches = [*visits("Email", "Display"), *visits("Display", entity="f")]

    def with_conversion_of_f(days_ago: int) -> list[Decimal | None]:
        earlier = conversion(NOON - days_ago * DAY, entity="f", conversion_id="f")
        return credits_of([conversion(), earlier], touches, "markov", model_days=2)

    # P(buys) = 1/2, without Email 1/4, without Display 0.
    assert credits_of([conversion()], touches, "markov", model_days=2) == numbers("33.33", "66.67")
    assert with_conversion_of_f(2) == numbers("33.33", "66.67")
    # All buy: nothing is left without either channel.
    assert with_conversion_of_f(1) == numbers("50", "50")


def test_a_path_to_nowhere_has_the_touches_of_the_model_days_only() -> None:
    """Entity g buys nothing; its touches start 2 days before, a day before, on the day of the conversion and later."""
    older, old, fresh, later = (
        touch(NOON + days * DAY, channel, entity="g")
        for days, channel in [(-2, "Display"), (-1, "Email"), (0, "Direct"), (1, "Display")]
    )
    paths = visits("Email", "Display", "Email"), visits("Display", "Direct", entity="f")
    conversions = [conversion(), conversion(entity="f", conversion_id="f")]

    def credits_with(*touches: Row, model_days: int = 2) -> list[Decimal | None]:
        return credits_of(conversions, [*paths[0], *paths[1], *touches], "markov", model_days=model_days)

    expected = credits_with(old, fresh)
    assert credits_with(older, old, fresh, later) == credits_with(older, old, fresh) == expected
    assert len({tuple(credits_with(*touches)) for touches in [(old, fresh), (fresh,), (old,), ()]}) == 4
    assert credits_with(older, old, fresh, later, model_days=3) != expected


def test_no_days_and_no_conversions_give_an_empty_frame_that_keeps_the_contract() -> None:
    assert build([conversion()], visits("Email"), [], declared()).is_empty()
    assert build([], visits("Email"), [TODAY], declared()).is_empty()
    assert build([], [], [TODAY], declared()).is_empty()


def test_a_conversion_owes_nothing_to_touches_it_shares_no_entity_with_and_other_days_have_no_rows() -> None:
    conversions = [conversion(), conversion(NOON - DAY, conversion_id="yesterday")]
    got = build(conversions, visits("Email"), [TODAY], declared(models=("last",)))
    assert got["conversion_date"].to_list() == [TODAY]


# A second reading of the rules, slow and plain.


def path_of(converted: Row, touches: Sequence[Row], attribution: Attribution) -> list[Row]:
    lookback = timedelta(hours=24 * attribution.lookback_days)
    own = [
        row
        for row in only(touches, entity=converted["entity"])
        if timedelta(0) <= converted["occurred_at"] - row["started_at"] <= lookback
    ]
    return sorted(own, key=lambda row: columns_of(row, "started_at", "session_id"))


def chain_of(
    day: date, conversions: Sequence[Row], touches: Sequence[Row], attribution: Attribution
) -> list[tuple[str, ...]]:
    """All paths from which the chain of a day is made."""
    model_days = days_between(day - (attribution.model_days - 1) * DAY, day)
    converted = [row for row in conversions if row["conversion_date"] in model_days]
    paths: list[tuple[str, ...]] = [
        ("start", *channels_of(path_of(row, touches, attribution)), "conversion") for row in converted
    ]
    others = {row["entity"] for row in touches} - {row["entity"] for row in converted}
    for entity in others:
        seen = [row for row in only(touches, entity=entity) if row["session_date"] in model_days]
        seen.sort(key=lambda row: columns_of(row, "started_at", "session_id"))
        if seen:
            paths.append(("start", *channels_of(seen), "null"))
    return paths


def channels_of(touches: Iterable[Row]) -> list[str]:
    return [row["channel"] for row in touches]


def chance(paths: Sequence[Sequence[str]], removed: str | None) -> Fraction:
    """P(conversion) from the start: x = Q x + r, solved by Gauss's elimination."""
    steps = [step for path in paths for step in pairwise(path)]
    states = sorted({origin for origin, _ in steps} - {removed})
    equations = []
    for state in states:
        targets = [target for origin, target in steps if origin == state]
        row = [Fraction(targets.count(target), len(targets)) for target in states]
        row[states.index(state)] -= 1
        equations.append([*row, -Fraction(targets.count("conversion"), len(targets))])
    for index in range(len(states)):
        pivot = next(row for row in equations[index:] if row[index] != 0)
        equations.remove(pivot)
        equations.insert(index, pivot)
        equations[index] = [value / pivot[index] for value in pivot]
        for other, row in enumerate(equations):
            if other != index:
                equations[other] = [
                    value - row[index] * base for value, base in zip(row, equations[index], strict=True)
                ]
    return equations[states.index("start")][-1]


def effect_of(channel: str, paths: Sequence[Sequence[str]]) -> int:
    """Removal effect in parts of 10^12."""
    return round((1 - chance(paths, channel) / chance(paths, None)) * PRECISION)


def weights_of(
    model: str, converted: Row, path: Sequence[Row], paths: Sequence[Sequence[str]], attribution: Attribution
) -> list[Fraction]:
    channels = channels_of(path)
    last = len(path) - 1
    if model == "last_non_direct":
        last = max((number for number, channel in enumerate(channels) if channel != "Direct"), default=last)
    if model in {"last", "last_non_direct"}:
        return [Fraction(number == last) for number in range(len(path))]
    if model == "first":
        return [Fraction(number == 0) for number in range(len(path))]
    if model == "position" and len(path) > 2:
        return [Fraction(2, 5), *[Fraction(1, 5 * (len(path) - 2))] * (len(path) - 2), Fraction(2, 5)]
    if model == "time_decay":
        half_life = attribution.half_life_days * DAY
        return [
            Fraction(round(2.0 ** -((path[-1]["started_at"] - row["started_at"]) / half_life) * PRECISION))
            for row in path
        ]
    if model == "shapley":
        return [Fraction(1, channels.count(channel)) for channel in channels]
    if model == "markov":
        effects = {channel: effect_of(channel, paths) for channel in set(channels)}
        if any(effects.values()):
            return [Fraction(effects[channel], channels.count(channel)) for channel in channels]
    return [Fraction(1)] * len(path)


def share_out(value: Decimal, shares: Sequence[Fraction]) -> list[Decimal]:
    unit = Decimal("0.01") if value % Decimal("0.01") == 0 else Decimal("0.000001")
    amount = int(abs(value) / unit)
    exact = [amount * share for share in shares]
    parts = [floor(part) for part in exact]
    order = sorted(range(len(shares)), key=lambda number: -floor((exact[number] - parts[number]) * PRECISION))
    for number in order[: amount - sum(parts)]:
        parts[number] += 1
    return [part * unit * (-1 if value < 0 else 1) for part in parts]


def reference(
    conversions: Sequence[Row], touches: Sequence[Row], days: Sequence[date], attribution: Attribution
) -> list[Row]:
    rows = []
    chains = {day: chain_of(day, conversions, touches, attribution) for day in days}
    for converted in sorted(conversions, key=lambda row: columns_of(row, "conversion_date", "conversion_id")):
        if converted["conversion_date"] not in days:
            continue
        path = path_of(converted, touches, attribution)
        for model in sorted(attribution.models):
            key = {name: converted[name] for name in ("conversion_date", "conversion_id")} | {"model": model}
            value = converted["value"]
            if not path:
                nothing = dict.fromkeys(("session_id", "source", "medium", "campaign"))
                rows.append(
                    key | nothing | {"touch_number": 0, "touches": 0, "channel": "(unattributed)"}
                    | {"share": Fraction(1), "credit": value}
                )  # fmt: skip
                continue
            weights = weights_of(model, converted, path, chains[converted["conversion_date"]], attribution)
            shares = [weight / sum(weights) for weight in weights]
            credits = [None] * len(path) if value is None else share_out(value, shares)
            for number, (row, share, credit) in enumerate(zip(path, shares, credits, strict=True), start=1):
                origin = {name: row[name] for name in ("session_id", "channel", "source", "medium", "campaign")}
                rows.append(
                    key | origin | {"touch_number": number, "touches": len(path), "share": share, "credit": credit}
                )
    return rows


World = tuple[list[Row], list[Row], Attribution]

VALUES = [None, "0", "0.01", "-0.05", "19.99", "100", "-100", "0.000001", "33.333333", "-7.5", "12345.678901"]


def world_of(seed: int) -> World:
    """Conversions and touches of some entities on half days around a change of the clocks, many of them at a limit.

    Lists drawn by hypothesis are short, and a chain of few paths tells few mistakes; so only the seed is drawn.
    """
    chance_of = Random(seed)
    timezone = chance_of.choice(["UTC", "Europe/Berlin"])
    first = datetime(2026, 3, 26, tzinfo=ZoneInfo(timezone)).astimezone(UTC)

    def moment() -> datetime:
        return first + chance_of.randrange(14) * timedelta(hours=12) + chance_of.choice([0, 0, 0, -1, 1]) * MICROSECOND

    # Entities h and i never convert: a chain without paths to nowhere tells little.
    touches = [
        touch(
            moment(),
            chance_of.choice(["Direct", "Email", "Display"]),
            timezone,
            entity=chance_of.choice("eeefghi"),
            session_id=f"s{number}",
            source=chance_of.choice([None, "x"]),
        )
        for number in range(chance_of.choice([0, 2, 8, 16, 32]))
    ]
    conversions = [
        conversion(
            moment(),
            chance_of.choice(VALUES),
            timezone,
            entity=chance_of.choice("eefg"),
            conversion_id=f"c{number}",
        )
        for number in range(chance_of.choice([0, 1, 3, 6]))
    ]
    return (
        conversions,
        touches,
        declared(
            lookback_days=chance_of.randint(1, 4),
            model_days=chance_of.randint(1, 4),
            half_life_days=chance_of.choice([0.5, 1, 7]),
        ),
    )


def worlds() -> st.SearchStrategy[World]:
    return st.integers(0, 2**32).map(world_of)


def days_of(conversions: Sequence[Row]) -> list[date]:
    dates = [row["conversion_date"] for row in conversions] or [TODAY]
    return days_between(min(dates), max(dates))


@given(worlds())
@settings(max_examples=40, deadline=None)
def test_credits_agree_with_a_plain_reading_of_the_rules(world: World) -> None:
    conversions, touches, attribution = world
    days = days_of(conversions)
    got = build(conversions, touches, days, attribution).to_dicts()
    expected = reference(conversions, touches, days, attribution)
    assert [row | {"share": None} for row in got] == [row | {"share": None} for row in expected]
    assert [row["share"] for row in got] == pytest.approx([float(row["share"]) for row in expected], abs=1e-9)


@given(worlds())
@settings(max_examples=40, deadline=None)
def test_credits_of_a_conversion_and_model_sum_to_its_value_exactly_and_shares_to_1(world: World) -> None:
    conversions, touches, attribution = world
    got = build(conversions, touches, days_of(conversions), attribution).to_dicts()
    assert {row["conversion_id"] for row in got} == {row["conversion_id"] for row in conversions}
    for converted in conversions:
        for model in MODELS:
            rows = only(got, conversion_id=converted["conversion_id"], model=model)
            assert sum(row["share"] for row in rows) == pytest.approx(1, abs=1e-9)
            if converted["value"] is None:
                assert {row["credit"] for row in rows} == {None}
            else:
                assert sum(row["credit"] for row in rows) == converted["value"]


@given(worlds(), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_each_day_stands_alone_on_the_rows_it_reads_and_the_order_of_rows_says_nothing(world: World, seed: int) -> None:
    conversions, touches, attribution = world
    days = days_of(conversions)
    result = build(conversions, touches, days, attribution)
    shuffled = [Random(seed).sample(rows, len(rows)) for rows in (conversions, touches)]
    assert build(*shuffled, days, attribution).equals(result)
    for day in days:
        earliest = day - (attribution.model_days + attribution.lookback_days) * DAY
        read = (
            [row for row in conversions if day - (attribution.model_days - 1) * DAY <= row["conversion_date"] <= day],
            [row for row in touches if earliest <= row["session_date"] <= day],
        )
        assert build(*read, [day], attribution).equals(result.filter(pl.col("conversion_date") == day))
    assert build(conversions, touches, days[::2][::-1], attribution).equals(
        result.filter(pl.col("conversion_date").is_in(days[::2]))
    )


@given(worlds(), st.sampled_from(MODELS))
@settings(max_examples=40, deadline=None)
def test_a_model_gives_the_same_alone_as_among_all(world: World, model: str) -> None:
    conversions, touches, attribution = world
    days = days_of(conversions)
    alone = build(conversions, touches, days, attribution.model_copy(update={"models": (model,)}))
    assert alone.equals(build(conversions, touches, days, attribution).filter(pl.col("model") == model))


@given(worlds())
@settings(max_examples=40, deadline=None)
def test_summed_over_conversions_shapley_is_the_value_of_the_whole_game_over_all_permutations(world: World) -> None:
    conversions, touches, attribution = world
    conversions = [row | {"value": row["value"] or Decimal(1)} for row in conversions]
    paths = [(row["value"], set(channels_of(path_of(row, touches, attribution)))) for row in conversions]
    channels = sorted({channel for _, path in paths for channel in path})

    def worth(coalition: Sequence[str]) -> Fraction:
        return sum((Fraction(value) for value, path in paths if path and path <= set(coalition)), Fraction(0))

    orders = list(permutations(channels))
    expected = {
        channel: sum(
            (worth(order[: order.index(channel) + 1]) - worth(order[: order.index(channel)]) for order in orders),
            Fraction(0),
        )
        / len(orders)
        for channel in channels
    }
    got = build(conversions, touches, days_of(conversions), attribution).filter(pl.col("model") == "shapley")
    values = {row["conversion_id"]: row["value"] for row in conversions}
    by_channel: dict[str, float] = {}
    for row in only(got.to_dicts(), model="shapley"):
        if row["touches"]:
            part = row["share"] * float(values[row["conversion_id"]])
            by_channel[row["channel"]] = by_channel.get(row["channel"], 0) + part
    largest = max(map(abs, map(float, values.values())), default=1)
    assert by_channel == pytest.approx(dict_of_floats(expected), abs=1e-9 * (1 + largest))


def dict_of_floats(values: Mapping[str, Fraction]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from("ABCDE"), max_size=5),
            st.sampled_from(["conversion", "null"]),
            st.sampled_from([1, 1, 2, 1000]),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=40, deadline=None)
def test_removal_effects_agree_with_solving_the_chain_in_fractions(
    counted: list[tuple[list[str], str, int]],
) -> None:
    states = ["start", *"ABCDE", "conversion", "null"]
    steps = np.zeros((len(states), len(states)), dtype=np.int64)
    paths = [("start", *channels, end) for channels, end, number in counted for _ in range(number)]
    for channels, end, number in counted:
        for origin, target in pairwise(("start", *channels, end)):
            steps[states.index(origin), states.index(target)] += number
    got = removal_effects(steps)
    if any(end == "conversion" for _, end, _ in counted):
        expected = [effect_of(channel, paths) / PRECISION for channel in "ABCDE"]
        assert got.tolist() == pytest.approx(expected, abs=2e-12)
    else:
        assert got.tolist() == [0.0] * 5
