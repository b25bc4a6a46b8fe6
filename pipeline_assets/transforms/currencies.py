"""Money in one reporting currency, by a declared table of rates.

Every amount stays in its own currency; beside it stands the amount in the reporting currency, converted by the rate of
the day it was earned or paid back. Rates are declared, never fetched, so that the same events give the same tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl

from pipeline_assets.columns import money

MONEY = money("").dtype
NO_CURRENCY = "(none)"
"""Stands for the currency of an amount without one, where currency is part of a key."""

_DIGITS = 18
_EPOCH = date(1970, 1, 1)
# Further apart than any two dates.
_CURRENCY_STEP = 10_000_000


@dataclass(frozen=True)
class Rate:
    """What one unit of `currency` is worth in the reporting currency, from the day `since` on.

    Raises:
        ValueError: the currency is blank, or the rate is not a positive number of at most 18 digits before and after
            the point together.
    """

    currency: str
    rate: Decimal
    since: date = date.min

    def __post_init__(self) -> None:
        """Refuse what could not be multiplied exactly."""
        if not _code(self.currency):
            raise ValueError("A rate needs a currency")
        if not self.rate.is_finite() or self.rate <= 0:
            raise ValueError(f"The rate of {self.currency} must be a positive number, not {self.rate}")
        factor, divisor = _fraction(self.rate)
        if factor >= 10**_DIGITS or divisor > 10**_DIGITS:
            raise ValueError(f"The rate of {self.currency} has more than {_DIGITS} digits: {self.rate}")


@dataclass(frozen=True)
class Rates:
    """The reporting currency and the rates of the others; without a reporting currency nothing is converted.

    Raises:
        ValueError: the reporting currency is blank or has a rate, or a currency has two rates since the same day.
    """

    reporting: str | None = None
    rates: tuple[Rate, ...] = ()

    def __post_init__(self) -> None:
        """Refuse rates that contradict each other."""
        if self.reporting is not None and not _code(self.reporting):
            raise ValueError("The reporting currency is blank")
        seen: set[tuple[str, date]] = set()
        for rate in self.rates:
            key = (_code(rate.currency), rate.since)
            if self.reporting is not None and key[0] == _code(self.reporting):
                raise ValueError(f"{rate.currency} is the reporting currency and has no rate of its own")
            if key in seen:
                raise ValueError(f"{rate.currency} has two rates since {rate.since}")
            seen.add(key)


def in_reporting_currency(revenue: pl.Expr, currency: pl.Expr, day: pl.Expr, rates: Rates) -> pl.Expr:
    """The amount in the reporting currency: Decimal(18, 6), exact, then rounded half to even to 6 digits.

    The rate of a currency on a day is the one with the latest `since` that is not after the day. Codes of currencies
    are compared without regard to case and blanks around them. An amount in the reporting currency itself stays as it
    is, and so does one without a currency: it counts as one in the reporting currency, as in Universal Analytics and
    Adobe Analytics. Null where the amount is null, where the currency has no rate that day (`lacks_rate` tells), where
    the result is too large for the column, and everywhere if there is no reporting currency.

    Reads nothing but its arguments, row by row: it may stand wherever an expression of a column may, also inside
    aggregations such as `in_reporting_currency(…).sum()`.

    Args:
        revenue: amounts, cast to Decimal(18, 6).
        currency: code of the currency of each amount, null where it has none, or a literal.
        day: the day whose rate counts, or a literal.
        rates: the reporting currency and the rates.
    """
    columns = [revenue.cast(MONEY, strict=False), currency.cast(pl.String), day.cast(pl.Date)]
    if rates.reporting is None:
        return pl.map_batches(columns, _nothing, return_dtype=MONEY, is_elementwise=True)
    table = _RateTable(rates.reporting, rates.rates)
    return pl.map_batches(columns, table.convert, return_dtype=MONEY, is_elementwise=True)


def lacks_rate(revenue: pl.Expr, currency: pl.Expr, day: pl.Expr, rates: Rates) -> pl.Expr:
    """Whether there is an amount that `in_reporting_currency` cannot convert; false if there is no reporting currency.

    Args:
        revenue: see `in_reporting_currency`.
        currency: see `in_reporting_currency`.
        day: see `in_reporting_currency`.
        rates: see `in_reporting_currency`.
    """
    if rates.reporting is None:
        return revenue.is_null() & False
    return revenue.is_not_null() & in_reporting_currency(revenue, currency, day, rates).is_null()


def total(amount: pl.Expr) -> pl.Expr:
    """Sum of the amounts that are not null, as Decimal(18, 6); null where there are none or the sum is too large."""
    return pl.when(amount.count() > 0).then(amount.sum()).cast(MONEY, strict=False)


class _RateTable:
    """All rates, sorted by currency and day, each as a fraction of whole numbers."""

    def __init__(self, reporting: str, rates: Sequence[Rate]) -> None:
        by_code: dict[str, list[tuple[date, Decimal]]] = {_code(reporting): [(date.min, Decimal(1))]}
        for rate in rates:
            by_code.setdefault(_code(rate.currency), []).append((rate.since, rate.rate))
        self._reporting = reporting
        self._codes = {code: number for number, code in enumerate(by_code, start=1)}
        # Before its first rate, a currency has none: the entry before all of its days says so.
        entries: list[tuple[int, int | None, int | None]] = [(0, None, None)]
        for code, number in self._codes.items():
            entries.append((number * _CURRENCY_STEP - _CURRENCY_STEP // 2, None, None))
            for since, rate in sorted(by_code[code]):
                entries.append((number * _CURRENCY_STEP + (since - _EPOCH).days, *_fraction(rate)))
        columns = zip(*entries, strict=True)
        self._since, self._factor, self._divisor = (pl.Series(column, dtype=pl.Int64) for column in columns)

    def convert(self, columns: Sequence[pl.Series]) -> pl.Series:
        """Amounts of the columns revenue, currency and day in the reporting currency."""
        revenue, currency, day = _aligned(columns)
        # A day is found among few, and a code among few, however many rows there are.
        number = (
            currency.fill_null(self._reporting)
            .str.strip_chars()
            .str.to_uppercase()
            .replace_strict(self._codes, default=None, return_dtype=pl.Int64)
        )
        key = number * _CURRENCY_STEP + day.to_physical().cast(pl.Int64)
        position = self._since.search_sorted(key.fill_null(0), side="right") - 1
        return pl.select(
            _scaled(
                pl.lit(revenue.to_physical().cast(pl.Int128)),
                pl.lit(self._factor.gather(position).cast(pl.Int128)),
                pl.lit(self._divisor.gather(position).cast(pl.Int128)),
            ).alias(revenue.name)
        ).to_series()


def _scaled(units: pl.Expr, factor: pl.Expr, divisor: pl.Expr) -> pl.Expr:
    """Units * factor / divisor, rounded half to even, where a unit is the last digit of `MONEY`.

    18 digits times 18 digits fit into 128 bits, so that nothing is rounded before the end.
    """
    product = units * factor
    whole = product // divisor
    twice_the_rest = 2 * (product % divisor)
    is_up = (twice_the_rest > divisor) | ((twice_the_rest == divisor) & (whole % 2 != 0))
    rounded = whole + is_up.cast(pl.Int128)
    # A division by 10^6 that cannot round: it only moves the point.
    fits = pl.when(rounded.abs() < 10**_DIGITS).then(rounded)
    return (fits.cast(pl.Decimal(38, 6)) * pl.lit(Decimal("0.000001"), dtype=pl.Decimal(38, 6))).cast(MONEY)


def _nothing(columns: Sequence[pl.Series]) -> pl.Series:
    revenue, *_ = _aligned(columns)
    return pl.Series(revenue.name, [None], dtype=MONEY).new_from_index(0, len(revenue))


def _aligned(columns: Sequence[pl.Series]) -> list[pl.Series]:
    """The columns at one length: that of a literal is 1."""
    lengths = {len(column) for column in columns} - {1} or {1}
    (length,) = lengths
    return [column.new_from_index(0, length) if len(column) == 1 else column for column in columns]


def _fraction(rate: Decimal) -> tuple[int, int]:
    """The rate as factor and divisor, the divisor a power of ten."""
    numerator, denominator = rate.as_integer_ratio()
    divisor = 1
    while divisor % denominator:
        divisor *= 10
    return numerator * (divisor // denominator), divisor


def _code(currency: str) -> str:
    return currency.strip().upper()
