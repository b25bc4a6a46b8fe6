"""The currencies of a deployment: the one in which money is reported, and what the others are worth."""

from collections.abc import Iterator
from typing import Any

from pipeline_assets.analyses.kind import AnalysisKind
from pipeline_assets.declarations.analyses import Currencies
from pipeline_assets.declarations.problems import Location, Problem


def currencies_problems(currencies: Currencies) -> Iterator[Problem]:
    """Mistakes in the declaration of currencies whose shape is right."""
    seen: set[tuple[str, object]] = set()
    for position, rate in enumerate(currencies.rates):
        location = ("rates", position, "currency")
        if rate.currency == currencies.reporting:
            yield Problem(location, f"{rate.currency} is the reporting currency and needs no rate")
        elif (rate.currency, rate.since) in seen:
            since = f"since {rate.since}" if rate.since else "without `since`"
            yield Problem(location, f"{rate.currency} has another rate {since}; give one of them another day")
        seen.add((rate.currency, rate.since))


def stand_in(location: Location) -> Any:
    """What takes the place of what is wrong or missing."""
    # No currency, so that it is no other rate's or the reporting one.
    return "XXX" if location[-1:] == ("reporting",) else None


CURRENCIES = AnalysisKind(
    model=Currencies,
    noun="currencies declaration",
    find_problems=currencies_problems,
    stand_in=stand_in,
    example={"reporting": "EUR", "rates": [{"currency": "USD", "rate": 0.92}]},
)
"""The kind."""
