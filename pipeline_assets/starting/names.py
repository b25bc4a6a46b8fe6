"""What columns are called: words for the columns of the event contract, in the languages people export in."""

import re
import unicodedata
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CURRENCY_SIGNS = {
    "€": "EUR", "£": "GBP", "₹": "INR", "₺": "TRY", "₽": "RUB", "₩": "KRW", "₴": "UAH", "₫": "VND", "₪": "ILS",
    "zł": "PLN", "Kč": "CZK",
}  # fmt: skip
"""Signs that stand for one currency alone: `$`, `¥` and `kr` stand for several."""
_SPELLED = frozenset({"eur", "usd", "gbp", "chf", "jpy", "cad", "aud", "inr", "brl", "pln", "czk", "sek", "nok", "dkk"})


@cache
def _known() -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("names.yaml").read_text(encoding="utf-8"))


def known(what: str) -> tuple[str, ...]:
    """Names of a column of the event contract or of something it is made of, the likeliest first; see `names.yaml`."""
    return tuple(_known()[what])


def others() -> dict[str, tuple[str, ...]]:
    """Further columns of the contract, by names that mean them and nothing else."""
    return {column: tuple(names) for column, names in _known()["others"].items()}


@cache
def words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: `CustomerID`, `customer_id` and `Customer-Id` are `customer` and `id`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", parted.replace("ß", "ss"))
        if not unicodedata.combining(letter)
    )
    return tuple(word for word in re.split(r"[^\w]|_", plain.casefold()) if word)


def currency_in(name: str) -> str | None:
    """The currency that a name ends in or holds, as in `Summe EUR`, `amount_usd` and `Betrag (€)`; None where none."""
    for sign, code in CURRENCY_SIGNS.items():
        if sign in name:
            return code
    codes = set(known("currencies"))
    for word in re.split(r"[^A-Za-z]+", name):
        # `all`, `top` and `try` are currencies, too.
        if (word.isupper() and word in codes) or word in _SPELLED:
            return word.upper()
    return None


def rank(path: tuple[str, ...], wanted_names: Collection[str]) -> float:
    """How well a column's name is one of some known names: 0 not at all, up to 3 the first of them.

    Of a nested field its own name counts, or that with those on the way to it.
    """
    whole = [word for part in path for word in words(part)]
    own = list(words(path[-1]))
    id_words = set(_known()["id_words"])
    currency = (currency_in(path[-1]) or "").lower()
    own = [word for word in own if word != currency] or own
    best = 0.0
    for place, name in enumerate(wanted_names):
        wanted = list(words(name))
        earlier = 1 - place / len(wanted_names)
        if own == wanted or "".join(own) == "".join(wanted):
            best = max(best, 2 + earlier)
        elif whole == wanted or "".join(whole[-len(wanted) :]) == "".join(wanted):
            best = max(best, 1.9 + earlier / 10)
        elif own[: len(wanted)] == wanted and set(own[len(wanted) :]) <= id_words:
            best = max(best, 1.5 + earlier / 10)
        elif set(wanted) <= set(own):
            best = max(best, 0.5 + earlier / 10)
    return best
