from collections.abc import Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.transforms.currencies import MONEY, Rate, Rates, in_reporting_currency, lacks_rate, total

TODAY = date(2026, 3, 10)
EXACT = Context(prec=60)
NOTHING = Rates()

Amount = tuple[Decimal | None, str | None, date]


def reference(amount: Decimal | None, currency: str | None, day: date, rates: Rates) -> Decimal | None:
    """The amount in the reporting currency, digit by digit."""
    if amount is None or rates.reporting is None:
        return None
    code = (rates.reporting if currency is None else currency).strip().upper()
    rate = Decimal(1) if code == rates.reporting.strip().upper() else None
    for candidate in sorted(rates.rates, key=lambda rate: rate.since):
        if candidate.currency.strip().upper() == code and candidate.since <= day:
            rate = candidate.rate
    if rate is None:
        return None
    converted = EXACT.multiply(amount, rate).quantize(Decimal("0.000001"), ROUND_HALF_EVEN, EXACT)
    return converted if abs(converted) < 10**12 else None


def converted(rows: Sequence[Amount], rates: Rates) -> list[Decimal | None]:
    expression = in_reporting_currency(pl.col("revenue"), pl.col("currency"), pl.col("day"), rates)
    return frame(rows).select(expression)["revenue"].to_list()


def frame(rows: Sequence[Amount]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema={"revenue": MONEY, "currency": pl.String(), "day": pl.Date()}, orient="row"
    ).with_columns(part=pl.int_range(pl.len()) % 2)


def test_an_amount_in_the_reporting_currency_stays_as_it_is() -> None:
    assert converted([(Decimal("-999999999999.999999"), "EUR", TODAY)], Rates("EUR")) == [
        Decimal("-999999999999.999999")
    ]


def test_the_rate_with_the_latest_since_not_after_the_day_counts() -> None:
    rates = Rates("EUR", (Rate("USD", Decimal("0.8"), TODAY), Rate("USD", Decimal("0.9"), TODAY - timedelta(days=9))))
    days = [TODAY + timedelta(days=number) for number in (-10, -9, -1, 0, 1)]
    assert converted([(Decimal(10), "USD", day) for day in days], rates) == [None, 9, 9, 8, 8]


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0.000001", "0"),
        ("0.000003", "0.000002"),
        ("0.000005", "0.000002"),
        ("-0.000001", "0"),
        ("-0.000003", "-0.000002"),
        ("-0.000005", "-0.000002"),
    ],
)
def test_half_of_the_sixth_digit_is_rounded_to_even(amount: str, expected: str) -> None:
    assert converted([(Decimal(amount), "USD", TODAY)], Rates("EUR", (Rate("USD", Decimal("0.5")),))) == [
        Decimal(expected)
    ]


def test_codes_are_compared_without_regard_to_case_and_blanks() -> None:
    rates = Rates("eur", (Rate(" usd", Decimal(2)),))
    assert converted([(Decimal(1), code, TODAY) for code in ("USD", "usd ", "Eur", "")], rates) == [2, 2, 1, None]


def test_an_amount_without_a_rate_is_null_and_can_be_counted() -> None:
    rows: list[Amount] = [
        (Decimal(1), "XXX", TODAY),
        (Decimal(1), None, TODAY),
        (None, "XXX", TODAY),
        (Decimal(1), "EUR", TODAY),
    ]
    columns = (pl.col("revenue"), pl.col("currency"), pl.col("day"))
    lacking = frame(rows).select(lacks_rate(*columns, Rates("EUR")))["revenue"].to_list()
    assert lacking == [True, False, False, False]
    assert converted(rows, Rates("EUR")) == [None, 1, None, 1]


def test_an_amount_without_a_currency_counts_as_one_in_the_reporting_currency() -> None:
    rates = Rates("EUR", (Rate("USD", Decimal(2)),))
    rows: list[Amount] = [(Decimal("1.23"), None, TODAY), (None, None, TODAY)]
    assert converted(rows, rates) == [Decimal("1.23"), None]


def test_without_a_reporting_currency_nothing_is_converted_and_nothing_lacks_a_rate() -> None:
    rows: list[Amount] = [(Decimal(1), "EUR", TODAY), (None, None, TODAY)]
    columns = (pl.col("revenue"), pl.col("currency"), pl.col("day"))
    assert converted(rows, NOTHING) == [None, None]
    assert frame(rows).select(lacks_rate(*columns, NOTHING))["revenue"].to_list() == [False, False]


def test_a_result_too_large_for_the_column_is_null() -> None:
    rates = Rates("EUR", (Rate("XAU", Decimal("999999999999999999")), Rate("XXX", Decimal("1E-18"))))
    rows: list[Amount] = [(Decimal("999999999999.999999"), code, TODAY) for code in ("XAU", "XXX")]
    assert converted(rows, rates) == [None, Decimal("0.000001")]


@pytest.mark.parametrize(
    "rate", [Decimal(0), Decimal(-1), Decimal("NaN"), Decimal("Infinity"), Decimal("1E18"), Decimal("1E-19")]
)
def test_a_rate_is_a_positive_number_of_at_most_eighteen_digits(rate: Decimal) -> None:
    with pytest.raises(ValueError, match="USD"):
        Rate("USD", rate)


def test_rates_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="two rates"):
        Rates("EUR", (Rate("USD", Decimal(1)), Rate("usd", Decimal(2))))
    with pytest.raises(ValueError, match="no rate of its own"):
        Rates("EUR", (Rate("eur", Decimal(1)),))
    with pytest.raises(ValueError, match="blank"):
        Rates(" ")
    with pytest.raises(ValueError, match="needs a currency"):
        Rate("", Decimal(1))


def test_a_total_is_null_where_there_is_nothing_or_too_much() -> None:
    rows: list[Amount] = [(Decimal("999999999999"), None, TODAY)] * 2 + [(None, None, TODAY)]
    table = frame(rows)
    assert table.select(total(pl.col("revenue"))).item() is None
    assert table[2:].select(total(pl.col("revenue"))).item() is None
    assert table[1:].select(total(pl.col("revenue"))).item() == Decimal("999999999999")


codes = st.sampled_from(["EUR", "USD", "usd", "GBP", "JPY", " jpy ", "", None])
days = st.integers(-3, 3).map(lambda number: TODAY + timedelta(days=number))
amounts = st.one_of(
    st.none(),
    st.decimals(-(10**6), 10**6, places=6),
    st.integers(-(10**18) + 1, 10**18 - 1).map(lambda units: Decimal(units).scaleb(-6)),
)
rate_values = st.one_of(
    st.decimals("0.01", "200", places=2), st.integers(1, 10**18 - 1).map(lambda units: Decimal(units).scaleb(-9))
)


@st.composite
def some_rates(draw: st.DrawFn) -> Rates:
    chosen = draw(
        st.lists(
            st.builds(Rate, st.sampled_from(["USD", "GBP", "JPY"]), rate_values, days | st.just(date.min)),
            max_size=6,
            unique_by=lambda rate: (rate.currency, rate.since),
        )
    )
    return Rates(draw(st.sampled_from(["EUR", "eur"])), tuple(chosen))


@given(st.lists(st.tuples(amounts, codes, days), max_size=12), some_rates())
@settings(max_examples=40, deadline=None)
def test_conversion_agrees_with_a_plain_reading_of_the_rules(rows: list[Amount], rates: Rates) -> None:
    expected = [reference(*row, rates) for row in rows]
    assert converted(rows, rates) == expected
    # The same in a lazy query, and inside an aggregation.
    expression = in_reporting_currency(pl.col("revenue"), pl.col("currency"), pl.col("day"), rates)
    lazy = frame(rows).lazy()
    assert lazy.with_columns(expression).collect()["revenue"].to_list() == expected
    grouped = lazy.group_by("part").agg(total(expression)).sort("part").collect()
    parts = {number % 2: [value for value in expected[number % 2 :: 2] if value is not None] for number in (0, 1)}
    sums = {number: sum(values, Decimal(0)) if values else None for number, values in parts.items()}
    assert grouped.rows() == [
        (number, value if value is None or abs(value) < 10**12 else None)
        for number, value in sums.items()
        if number < len(rows)
    ]
