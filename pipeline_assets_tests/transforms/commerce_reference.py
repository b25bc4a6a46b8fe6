"""The rules of orders, revenue and products read slowly and plainly, to compare the transforms with."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from pipeline_assets.transforms.currencies import Rates
from pipeline_assets_tests.transforms.frames import Row, event_key, only
from pipeline_assets_tests.transforms.test_currencies import reference as convert

EXACT = Context(prec=60)
MICRO = Decimal("0.000001")
TOO_MUCH = 10**12
KINDS = {
    "view": ("product viewed", "view item"),
    "add": ("product added", "add to cart"),
    "remove": ("product removed", "remove from cart"),
    "purchase": ("order completed", "purchase"),
    "refund": ("order refunded", "refund"),
}


def groups(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by the values of these columns, in order of these."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return dict(sorted(found.items()))


def limited(amount: Decimal) -> Decimal | None:
    return amount if abs(amount) < TOO_MUCH else None


def add(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Sum of the amounts that are there."""
    there = [amount for amount in amounts if amount is not None]
    return limited(sum(there, Decimal(0))) if there else None


def plus(amounts: Sequence[Decimal | None]) -> Decimal | None:
    """Sum of the amounts, unknown if one is."""
    return None if None in amounts else add([*amounts, Decimal(0)])


def minus(amount: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if amount is None or other is None else limited(amount - other)


def in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=event_key)


def first(rows: Iterable[Row], name: str) -> Any:
    return next((row[name] for row in rows if row[name] is not None), None)


def paid(events: Sequence[Row], days: Sequence[date]) -> list[Row]:
    return [
        row | {"activity_date": row["event_date"], "currency": row["currency"] or "(none)"}
        for row in events
        if row["event_date"] in days and not row["is_bot"] and row["revenue"] is not None
    ]


def order_days(events: Sequence[Row], days: Sequence[date]) -> list[Row]:
    """Rows per `OrderDays`."""
    result = []
    rows = [row for row in paid(events, days) if row["order_id"] is not None]
    for key, own in groups(rows, "activity_date", "property", "order_id", "currency").items():
        ordered = [row for row in own if row["revenue"] >= 0]
        refunds = [row for row in own if row["revenue"] < 0]
        result.append(
            {
                **dict(zip(("activity_date", "property", "order_id", "currency"), key, strict=True)),
                "first_at": min(row["occurred_at"] for row in own),
                "last_at": max(row["occurred_at"] for row in own),
                "ordered_at": min((row["occurred_at"] for row in ordered), default=None),
                "refunded_at": min((row["occurred_at"] for row in refunds), default=None),
                "order_events": len(ordered),
                "refund_events": len(refunds),
                "quantity": sum(item["quantity"] for row in ordered for item in products_in(row["items"])),
                "gross": plus([row["revenue"] for row in ordered]),
                "refunded": plus([-row["revenue"] for row in refunds]),
                "visitor_id": first(in_order(own), "visitor_id"),
                "user_id": first(in_order(own), "user_id"),
            }
        )
    return result


def orders(events: Sequence[Row], days: Sequence[date], rates: Rates) -> list[Row]:
    """Rows per `Orders`, from all events at once."""
    result = []
    rows = [row for row in paid(events, days) if row["order_id"] is not None]
    for key, own in groups(rows, "property", "order_id", "currency").items():
        ordered = [row for row in own if row["revenue"] >= 0]
        refunds = [row for row in own if row["revenue"] < 0]
        dates = sorted({row["event_date"] for row in own})
        daily = {
            name: [plus([abs(row["revenue"]) for row in only(part, event_date=day)]) for day in dates]
            for name, part in (("gross", ordered), ("refunded", refunds))
        }
        given = None if key[2] == "(none)" else key[2]
        amounts = {name: plus(parts) for name, parts in daily.items()}
        converted = {
            name: plus([convert(amount, given, day, rates) for amount, day in zip(parts, dates, strict=True)])
            for name, parts in daily.items()
        }
        gross, refunded = amounts["gross"], amounts["refunded"]
        known = gross is not None and refunded is not None and refunded > 0
        result.append(
            {
                **dict(zip(("property", "order_id", "currency"), key, strict=True)),
                "order_date": min((row["event_date"] for row in ordered), default=None),
                "ordered_at": min((row["occurred_at"] for row in ordered), default=None),
                "refunded_at": min((row["occurred_at"] for row in refunds), default=None),
                "first_at": min(row["occurred_at"] for row in own),
                "last_at": max(row["occurred_at"] for row in own),
                "visitor_id": first(in_order(own), "visitor_id"),
                "user_id": first(in_order(own), "user_id"),
                "order_events": len(ordered),
                "refunds": len(refunds),
                "quantity": sum(item["quantity"] for row in ordered for item in products_in(row["items"])),
                **amounts,
                "net": minus(gross, refunded),
                "reporting_gross": converted["gross"],
                "reporting_refunded": converted["refunded"],
                "reporting_net": minus(converted["gross"], converted["refunded"]),
                "is_refunded": known and refunded >= gross,
                "is_partly_refunded": known and refunded < gross,
            }
        )
    return result


def revenue(events: Sequence[Row], days: Sequence[date], rates: Rates) -> list[Row]:
    """Rows per `Revenue`."""
    result = []
    for key, own in groups(paid(events, days), "activity_date", "property", "currency").items():
        day, _, currency = key
        given = None if currency == "(none)" else currency

        def amount(wanted: Callable[[Row], bool], own: Sequence[Row] = own) -> Decimal | None:
            return plus([abs(row["revenue"]) for row in own if wanted(row)])

        gross, refunded = amount(lambda row: row["revenue"] >= 0), amount(lambda row: row["revenue"] < 0)
        reporting_gross, reporting_refunded = (convert(part, given, day, rates) for part in (gross, refunded))
        lacking = [row for row in own if convert(row["revenue"], given, day, rates) is None]
        result.append(
            {
                **dict(zip(("activity_date", "property", "currency"), key, strict=True)),
                "orders": len({row["order_id"] for row in own if row["revenue"] >= 0} - {None}),
                "amounts": len(own),
                "refunds": len([row for row in own if row["revenue"] < 0]),
                "amounts_without_order": len(only(own, order_id=None)),
                "gross": gross,
                "refunded": refunded,
                "net": limited(sum((row["revenue"] for row in own), Decimal(0))),
                "gross_without_order": amount(lambda row: row["revenue"] >= 0 and row["order_id"] is None),
                "refunded_without_order": amount(lambda row: row["revenue"] < 0 and row["order_id"] is None),
                "reporting_gross": reporting_gross,
                "reporting_refunded": reporting_refunded,
                "reporting_net": minus(reporting_gross, reporting_refunded),
                "amounts_without_rate": len(lacking) if rates.reporting else 0,
            }
        )
    return result


def products(events: Sequence[Row], days: Sequence[date], rates: Rates) -> list[Row]:
    """Rows per `Products`."""
    rows: list[Row] = []
    for event in in_order(events):
        words = " ".join(re.split(r"[\s_]+", (event["event_name"] or "").strip().lower()))
        kind = next((kind for kind, names in KINDS.items() if words in names), None)
        if event["event_date"] not in days or event["is_bot"] or kind is None:
            continue
        facts = event | {"activity_date": event["event_date"], "kind": kind}
        listed = products_in(event["items"])
        if not listed and (event["items"] or "[]").strip() not in {"[]", "{}", "null"}:
            rows.append(facts | {"kind": None, "sku": "(none)", "name": None, "category": None, "unreadable": 1})
        described = [] if listed else products_in(event["properties"])
        if kind in {"purchase", "refund"}:
            described = [item for item in described if item["sku"]]
        elif not listed and not described:
            described = [dict.fromkeys(("sku", "name", "category", "price")) | {"quantity": 1, "unreadable": 0}]
        rows += [facts | item | {"sku": item["sku"] or item["name"] or "(none)"} for item in listed + described]
    return [product(key, own, rates) for key, own in groups(rows, "activity_date", "property", "sku").items()]


def product(key: tuple[Any, ...], own: Sequence[Row], rates: Rates) -> Row:
    of = {kind: only(own, kind=kind) for kind in KINDS}
    amounts = {
        kind: [(times(row["price"], row["quantity"]), row["currency"]) for row in of[kind]]
        for kind in ("purchase", "refund")
    }
    converted = {
        kind: [convert(amount, currency, key[0], rates) for amount, currency in parts]
        for kind, parts in amounts.items()
    }
    lacking = [
        amount
        for kind, parts in amounts.items()
        for (amount, _), result in zip(parts, converted[kind], strict=True)
        if amount is not None and result is None and rates.reporting
    ]
    return {
        **dict(zip(("activity_date", "property", "sku"), key, strict=True)),
        "name": first(reversed(own), "name"),
        "category": first(reversed(own), "category"),
        "viewed": len({(row["event_id"], row["occurred_at"]) for row in of["view"]}),
        "viewers": len({row["visitor_id"] for row in of["view"]} - {None}),
        "added": sum(row["quantity"] for row in of["add"]),
        "removed": sum(row["quantity"] for row in of["remove"]),
        "purchased": sum(row["quantity"] for row in of["purchase"]),
        "purchases": len({("o", row["order_id"]) if row["order_id"] else row["event_id"] for row in of["purchase"]}),
        "refunded": sum(row["quantity"] for row in of["refund"]),
        "revenue": add(converted["purchase"]),
        "refunded_revenue": add(converted["refund"]),
        "amounts_without_rate": len(lacking),
        "unreadable": sum(row["unreadable"] for row in own),
    }


def times(price: Decimal | None, quantity: int) -> Decimal | None:
    return None if price is None else limited(EXACT.multiply(price, Decimal(quantity)))


def products_in(text: str | None) -> list[Row]:
    """The products of a JSON text."""
    try:
        value = json.loads(text or "null", parse_float=lambda number: repr(float(number)))
    except (ValueError, RecursionError):
        return []
    elements = value if isinstance(value, list) else [value]
    found = [read_item(element) for element in elements if isinstance(element, dict)]
    return [item for item in found if item is not None]


def read_item(element: Row) -> Row | None:
    def scalar(*names: str) -> str | None:
        for name in names:
            value = element.get(name)
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                text = str(value).strip()
                if text and "\0" not in text:
                    return text
        return None

    sku = scalar("sku", "product_id", "item_id")
    name = scalar("name", "product_name", "item_name")
    category = scalar("category", "product_category", "item_category")
    price, quantity = number(scalar("price")), number(scalar("quantity"))
    whole = quantity is not None and quantity == int(quantity) and 0 <= quantity <= 1_000_000
    given = [element.get(key) not in (None, "") for key in ("price", "quantity")]
    if not (sku or name or category or any(given)):
        return None
    return {
        "sku": sku,
        "name": name,
        "category": category,
        "price": price,
        "quantity": int(quantity) if whole and quantity is not None else 1,
        "unreadable": int(given[0] and price is None) + int(given[1] and not whole),
    }


def number(text: str | None) -> Decimal | None:
    if text is None or not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text, re.ASCII):
        return None
    value = Decimal(text)
    return value.quantize(MICRO, ROUND_HALF_EVEN, EXACT) if abs(value) < TOO_MUCH else None
