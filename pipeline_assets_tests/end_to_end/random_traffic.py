"""Random traffic of a shop and its app, and declarations that make every kind of table of it.

Small, but with all that makes a day depend on others: visits over midnight, visitors who never pause, ids that are
shared or linked late, supplied sessions that last for days, steps and visits at the very limit of a window, refunds.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

Raw = dict[str, Any]

START = datetime(2024, 3, 28, 22, 0, tzinfo=UTC)
"""Just before a midnight; in Europe/Berlin the night to the 31st lacks an hour."""
DAYS = 5

_MAPPING = """\
  mapping:
    event_id: id
    event_name: name
    event_type: type
    occurred_at: time
    sequence: place
    received_at: received
    anonymous_id: visitor
    user_id: user
    session_id_supplied: session
    view_id: view
    page_url: url
    referrer_url: referrer
    user_agent: agent
    country: country
    consent: ok
    is_conversion: name = 'order_completed'
    revenue: revenue
    currency: currency
    order_id: order_id
    items: items
    scroll_depth: scroll
  ids: {email: email}
  bounds: {quarantined: 1, late: 1, bots: 1}
"""
SHOP, APP = "clicks", "taps"
_SOURCES = {
    SHOP: f"""\
type: pipeline_assets.components.EventSource
attributes:
  path: {SHOP}/*
  format: jsonl
  property: shop.example
{_MAPPING}""",
    APP: f"""\
type: pipeline_assets.components.EventSource
attributes:
  path: {APP}/*
  format: jsonl
  property: shop-app
  sessions: {{mode: supplied, max_session_days: 2}}
{_MAPPING}""",
}

_STEPS = """\
  steps:
    - {name: viewed, event: product_viewed}
    - {name: added, event: product_added}
    - {name: ordered, event: order_completed, where: revenue > 0}
"""
_ANALYSES = {
    "ordered_funnel": "Funnel\nattributes:\n  by: visitor\n  window: 12h\n  breakdown: country\n" + _STEPS,
    "person_funnel": "Funnel\nattributes:\n  by: person\n  window: 1d\n  window_from: previous\n" + _STEPS,
    "strict_funnel": "Funnel\nattributes:\n  by: visitor\n  window: 1d\n  mode: strict\n" + _STEPS,
    "strict_person_funnel": "Funnel\nattributes:\n  by: person\n  window: 2d\n  mode: strict\n" + _STEPS,
    "loose_funnel": "Funnel\nattributes:\n  by: person\n  window: 1d\n  mode: unordered\n" + _STEPS,
    "returning_people": "Retention\nattributes:\n  by: person\n  period: day\n  periods: 4\n",
    "returning_visitors": """\
Retention
attributes:
  by: visitor
  period: week
  counting: rolling
  properties: [shop.example]
  cohort: {event: product_viewed}
  returning: {type: page}
""",
    "views": "Paths\nattributes:\n  of: pages\n  max_length: 3\n",
    "steps": "Paths\nattributes:\n  of: events\n",
    "sale": "Conversion\nattributes:\n  event: order_completed\n",
    "purchase": "Conversion\nattributes:\n  event: order_completed\n  where: revenue > 0\n  value: revenue\n",
    "currencies": "Currencies\nattributes:\n  reporting: EUR\n  rates:\n    - {currency: USD, rate: 0.92}\n",
    "lead": "Conversion\nattributes:\n  event: product_added\n  counting: once_per_session\n  value: 1.5\n",
    "sale_credit": "Attribution\nattributes:\n  conversion: sale\n  by: person\n  lookback_days: 1\n  model_days: 2\n",
    "lead_credit": "Attribution\nattributes:\n  conversion: lead\n  by: visitor\n  lookback_days: 2\n  model_days: 1\n",
}
DECLARATIONS = _SOURCES | {
    name: f"type: pipeline_assets.components.{declaration}" for name, declaration in _ANALYSES.items()
}
"""Two sources, one of which supplies its sessions, and every kind of analysis."""

_GAPS = [timedelta(seconds=seconds) for seconds in (0, 10, 10, 300, 1_800, 1_801, 7_200)]
# The windows declared above, to the second and a little to either side.
_WINDOWS = [
    timedelta(hours=hours, microseconds=microseconds) for hours in (12, 24, 48) for microseconds in (-1, 0, 0, 1)
]
_FUNNEL = ("product_viewed", "product_added", "order_completed")
_BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
_CAMPAIGNS = ("", "", "?utm_source=news&utm_medium=email", "?utm_source=google&utm_medium=cpc&gclid=1", "?gclid=2")
_REFERRERS = (None, None, "https://www.google.com/", "https://www.facebook.com/x", "https://shop.example/a")


def declare(folder: Path, names: Iterable[str] = tuple(DECLARATIONS)) -> None:
    """Write declarations, all of them by default, below a folder of declarations."""
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "defs.yaml").write_text(DECLARATIONS[name])


def lines_of(rows: list[Raw]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def moments(rows: list[Raw]) -> list[list[Raw]]:
    """Rows that must stay together and in order: those of one moment that have no id, for nothing else orders them."""
    blocks: dict[str, list[Raw]] = {}
    for number, row in enumerate(rows):
        blocks.setdefault(f"at {row['time']}" if row["id"] is None else f"{number}", []).append(row)
    return list(blocks.values())


def random_traffic(random: Random) -> dict[str, list[Raw]]:
    """Raw events of each source, in no particular order but for those of one moment; some have no id."""
    shop, app = _Traffic(random, "w"), _Traffic(random, "m")
    for number in range(7):
        for _ in range(random.randrange(1, 4)):
            shop.visit(f"a{number}", shop.user_of(number))
    shop.visit(None, "u0")
    shop.beats("steady", timedelta(minutes=30), 110)
    for number in range(4):
        for _ in range(random.randrange(2, 6)):
            app.visit(f"p{number}", app.user_of(number), supplied=True)
    for traffic in (shop, app):
        traffic.echo()
        traffic.repeat()
    return {SHOP: shop.rows, APP: app.rows}


class _Traffic:
    def __init__(self, random: Random, prefix: str) -> None:
        self._random = random
        self._prefix = prefix
        self.rows: list[Raw] = []

    def user_of(self, number: int) -> Callable[[], str | None] | str:
        """Whose an id is: of one user, of two, of none, or of one who signs in now and then."""
        random = self._random
        user = f"u{random.randrange(3)}"
        others = [user, f"u{random.randrange(3)}"]
        return [
            lambda: None,
            lambda: random.choice([user, None, None]),
            lambda: random.choice([*others, None]),
        ][number % 3]

    def moment(self) -> datetime:
        return START + timedelta(minutes=self._random.randrange(DAYS * 24 * 60))

    def visit(self, visitor: str | None, user: Callable[[], str | None] | str, *, supplied: bool = False) -> None:
        """A visit of some events, among them pings of a view."""
        random = self._random
        at, view = self.moment(), None
        session = random.choice(["s1", "s1", "s2", f"{len(self.rows)}", None]) if supplied else None
        agent = _BOT if visitor == "a6" or random.random() < 0.05 else "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"
        ok = False if random.random() < 0.05 else random.choice([True, None])
        for _ in range(random.randrange(1, 6)):
            kind = random.choice(["page", "page", "ping", "track", "track", "identify"])
            row = self.row(at, kind, visitor, user if isinstance(user, str) else user())
            row |= {"session": session, "agent": agent, "ok": ok}
            if kind == "page":
                view = f"v{len(self.rows)}"
                row |= {
                    "view": random.choice([view, None]),
                    "url": f"https://shop.example/{random.choice('abc')}{random.choice(_CAMPAIGNS)}",
                    "referrer": random.choice(_REFERRERS),
                }
            elif kind == "ping":
                row |= {"view": view, "scroll": random.choice([None, 20, 80.5])}
            self.rows.append(row)
            at += random.choice(_GAPS) * random.choice([1, 1, 1, 12])

    def beats(self, visitor: str, every: timedelta, number: int) -> None:
        """Somebody who is there for days without a pause."""
        at = self.moment()
        for beat in range(number):
            self.rows.append(self.row(at + beat * every, "page" if beat % 20 == 0 else "track", visitor, None))

    def row(self, at: datetime, kind: str, visitor: str | None, user: str | None) -> Raw:
        random = self._random
        name = random.choice(_FUNNEL) if kind == "track" else {"page": "page_viewed"}.get(kind, kind)
        row: Raw = {
            "id": None if random.random() < 0.2 else f"{self._prefix}{len(self.rows)}",
            "name": name,
            "type": kind,
            "time": at.isoformat(),
            "place": random.choice([None, None, 1, 2]),
            "received": random.choice([None, (at + timedelta(seconds=random.randrange(3))).isoformat()]),
            "visitor": visitor,
            "user": user,
            "country": random.choice(["DE", "FR", None]),
            "email": f"e{random.randrange(3)}" if random.random() < 0.08 else None,
        }
        return row | self.purchase(name)

    def purchase(self, name: str) -> Raw:
        random = self._random
        if name not in _FUNNEL:
            return {}
        row: Raw = {
            "items": [{"sku": random.choice("xyz"), "price": "9.99", "quantity": random.randrange(3)}],
            "currency": random.choice(["EUR", "USD"]),
        }
        if name == "order_completed":
            refund = random.random() < 0.3
            row |= {
                "name": "order_refunded" if refund else name,
                "revenue": random.randrange(-5_000, 0) / 100 if refund else random.randrange(1, 20_000) / 100,
                "order_id": f"o{random.randrange(5)}",
            }
        return row

    def echo(self) -> None:
        """Who did something does the next thing exactly a window later."""
        random = self._random
        for row in random.sample(self.rows, len(self.rows) // 6):
            at = datetime.fromisoformat(row["time"]) + random.choice(_WINDOWS)
            later = self.row(at, "track", row["visitor"], row["user"])
            later |= {"session": row.get("session"), "ok": row.get("ok"), "agent": row.get("agent")}
            name = random.choice(_FUNNEL[1:])
            self.rows.append({**later, **self.purchase(name), "name": name})

    def repeat(self) -> None:
        """The same id again, with another story, within a day."""
        random = self._random
        for row in random.sample(self.rows, len(self.rows) // 10):
            at = datetime.fromisoformat(row["time"]) + timedelta(hours=random.choice([0, 1, 20]))
            self.rows.append(
                {**row, "time": at.isoformat(), "received": None, "user": random.choice([row["user"], "u1"])}
            )
