from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from random import Random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.key_texts import key_text
from pipeline_assets.tables.campaigns import Campaigns, build_campaigns
from pipeline_assets.transforms.currencies import Rate, Rates
from pipeline_assets_tests.transforms.commerce_reference import add, groups
from pipeline_assets_tests.transforms.content_frames import SESSIONS, TODAY, session, visits
from pipeline_assets_tests.transforms.frames import Row, columns_of, only
from pipeline_assets_tests.transforms.test_currencies import reference as convert

EURO = Rates("EUR")
RATES = Rates("EUR", (Rate("USD", Decimal("0.9234567")), Rate("GBP", Decimal("1.17"), date(2026, 3, 11))))
KEY = ("session_date", "property", "channel", "traffic_source", "traffic_medium", "campaign")


def campaigns_of(sessions: Sequence[Row], rates: Rates = EURO) -> list[Row]:
    """The campaigns of one day."""
    result = build_campaigns(pl.DataFrame(list(sessions), schema=SESSIONS), [TODAY], rates=rates)
    return Campaigns.validate(result).to_dicts()


def test_what_is_not_known_is_not_set() -> None:
    (row,) = campaigns_of([session("1")])
    assert columns_of(row, *KEY) == (TODAY, "shop", "Direct", "(not set)", "(not set)", "(not set)")


def test_sessions_are_told_apart_by_source_medium_campaign_and_channel() -> None:
    origin = {"traffic_source": "google", "traffic_medium": "cpc", "utm_campaign": "spring", "channel": "Paid Search"}
    others = [origin | {name: "x"} for name in origin]
    rows = [session(str(number), **values) for number, values in enumerate([origin, origin, *others])]
    assert sorted(row["sessions"] for row in campaigns_of(rows)) == [1, 1, 1, 1, 2]


def test_a_visitor_counts_once_a_day() -> None:
    (row,) = campaigns_of([session("1"), session("2"), session("3", visitor_id="w")])
    assert columns_of(row, "sessions", "visitors") == (3, 2)


def test_revenue_is_converted_session_by_session_and_what_has_no_rate_is_counted() -> None:
    rates = Rates("EUR", (Rate("USD", Decimal("0.5")),))
    money = [("EUR", "1"), ("USD", "0.000001"), ("USD", "0.000001"), ("XXX", "9"), (None, "9"), (None, None)]
    rows = [
        session(str(number), currency=currency, revenue=None if revenue is None else Decimal(revenue))
        for number, (currency, revenue) in enumerate(money)
    ]
    assert columns_of(campaigns_of(rows, rates)[0], "revenue", "amounts_without_rate") == (10, 1)
    assert columns_of(campaigns_of(rows, Rates())[0], "revenue", "amounts_without_rate") == (None, 0)


def test_bots_come_by_no_campaign() -> None:
    assert campaigns_of([session("1", is_bot=True)]) == []


def reference(sessions: Sequence[Row], day: date, rates: Rates) -> list[Row]:
    rows = [
        row
        | {name: row[name] or "(not set)" for name in ("traffic_source", "traffic_medium")}
        | {"campaign": row["utm_campaign"] or "(not set)"}
        for row in only(sessions, session_date=day, is_bot=False)
    ]
    result = []
    for key, own in groups(rows, *KEY).items():
        converted = [convert(row["revenue"], row["currency"], day, rates) for row in own]
        lacking = [
            row for row, amount in zip(own, converted, strict=True) if row["revenue"] is not None and amount is None
        ]
        result.append(
            {
                **dict(zip(KEY, key, strict=True)),
                "sessions": len(own),
                "engaged_sessions": len(only(own, is_engaged=True)),
                "bounces": len(only(own, is_bounce=True)),
                "visitors": len({row["visitor_id"] for row in own}),
                "page_views": sum(row["page_views"] for row in own),
                "engaged_seconds": sum(row["engaged_seconds"] for row in own),
                "duration_seconds": sum(row["duration_seconds"] for row in own),
                "conversions": sum(row["conversions"] for row in own),
                "revenue": add(converted),
                "amounts_without_rate": len(lacking) if rates.reporting else 0,
            }
        )
    return result


@given(visits(), st.randoms(use_true_random=False), st.sampled_from([RATES, Rates()]))
@settings(max_examples=40, deadline=None)
def test_campaigns_agree_with_a_plain_reading_of_the_rules_and_each_day_stands_alone(
    given_visits: tuple[list[Row], list[Row]], random: Random, rates: Rates
) -> None:
    sessions, _ = given_visits
    days = sorted({row["session_date"] for row in sessions})
    frame = pl.DataFrame(sessions, schema=SESSIONS)
    result = Campaigns.validate(build_campaigns(frame.lazy(), days, rates=rates))
    assert result.to_dicts() == [row for day in days for row in reference(sessions, day, rates)]
    assert result["sessions"].sum() == len(only(sessions, is_bot=False))
    shuffled = pl.DataFrame(random.sample(sessions, len(sessions)), schema=SESSIONS)
    for day in days:
        again = build_campaigns(shuffled, [day], rates=rates)
        assert again.equals(result.filter(pl.col("session_date") == day))


def test_a_long_text_and_what_stands_for_it_in_a_key_are_one_campaign() -> None:
    long = "漢" * 1_000
    rows = [session(str(number), utm_campaign=text) for number, text in enumerate([long, key_text(long), long + "a"])]
    found = {row["campaign"]: row["sessions"] for row in campaigns_of(rows)}
    assert found == {key_text(long): 2, key_text(long + "a"): 1}
