"""Simulates who does what and when: the clean events of web, app and fleet, without any delivery or fault."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import count
from random import Random
from typing import Any

from pipeline_assets.demo.catalogue import (
    ACQUISITIONS,
    APP_VERSIONS,
    BROWSERS,
    CATEGORIES,
    CRAWLERS,
    HOST,
    HOUR_WEIGHTS,
    LOCALES,
    MONITOR,
    PHONES,
    PRODUCTS,
    REVIEWS,
    WEEKDAY_WEIGHTS,
    Acquisition,
    Product,
)
from pipeline_assets.demo.model import DAY, HOUR, MINUTE, SECOND, Client, DemoConfig, Event, day_start, seeded

SESSION_TIMEOUT = 30 * MINUTE
HEARTBEAT = 10 * SECOND
RETURN_DAYS = 3.5
"""Mean of the days until somebody comes back who does so on another day."""


@dataclass
class Account:
    """A registered customer; the app and the website know the same ones."""

    user_id: str
    locale: str
    country: str
    purchases: int = 0


def uuid_text(rng: Random) -> str:
    """A random id in the shape of a UUID."""
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def simulate(config: DemoConfig) -> list[Event]:
    """All clean events of a demo, by source and time.

    Args:
        config: what to generate.

    Returns:
        Events whose `at` lies within the demo's days; equal configurations give equal lists.
    """
    web = WebTraffic(config)
    web.run()
    app = AppTraffic(config, web.accounts)
    app.run()
    fleet = simulate_fleet(config)
    events = [event for event in (*web.events, *app.events, *fleet) if config.start <= event.at < config.end]
    order = {"web": 0, "app": 1, "devices": 2}
    # Python's sort keeps the order of equal times, in which the simulation made them.
    events.sort(key=lambda event: (order[event.source], event.at))
    return events


class _Clockwork:
    """Random moments that follow the rhythm of the day and the week."""

    def __init__(self, config: DemoConfig, rng: Random) -> None:
        self._rng = rng
        self._days = [day_start(day) for day in config.all_days]
        self._day_weights = [WEEKDAY_WEIGHTS[day.weekday()] for day in config.all_days]
        self._end = config.end

    def moment(self, after: int | None = None) -> int:
        """A moment of the demo; `after` a moment, one of a later day, or after the end: who comes back does so soon."""
        days, weights = self._days, self._day_weights
        if after is not None:
            first = (after - days[0]) // DAY + 1
            # Who would come back after the end does not come: else the last days were full of those who come back.
            if first + int(self._rng.expovariate(1 / RETURN_DAYS)) >= len(days):
                return self._end
            days = days[first:]
            weights = [weight * math.exp(-lag / RETURN_DAYS) for lag, weight in enumerate(weights[first:])]
        day = self._rng.choices(days, weights)[0]
        hour = self._rng.choices(range(24), HOUR_WEIGHTS)[0]
        return day + hour * HOUR + self._rng.randrange(HOUR)


def _weighted(rng: Random, rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    return rng.choices(rows, [row[0] for row in rows])[0]


class WebTraffic:
    """The website: humans with an intent, crawlers and an uptime monitor."""

    def __init__(self, config: DemoConfig) -> None:
        """Start with an empty list of events."""
        self.config = config
        self.rng = seeded("web", config)
        self.clockwork = _Clockwork(config, self.rng)
        self.events: list[Event] = []
        self.accounts: list[Account] = []
        self._orders = count(100_001)
        self._visits = count(1)
        self._acquisition_weights = [way.weight for way in ACQUISITIONS]
        self._ended_at: dict[int, int] = {}

    def run(self) -> None:
        """Fill `events` and `accounts`."""
        refused = self.config.faults.web_refused_visitors
        for number in range(self.config.visitors):
            self._human(refused=number < refused)
        for _ in range(max(3, self.config.visitors // 9)):
            self._crawl()
        self._monitor()

    def _human(self, *, refused: bool) -> None:
        rng = self.rng
        _, user_agent, screen = _weighted(rng, BROWSERS)
        _, locale, country = _weighted(rng, LOCALES)
        client = Client(uuid_text(rng), user_agent, locale, country, screen, refused=refused)
        intent = rng.choices(("browser", "buyer", "returning"), (58, 27, 15))[0]
        visits = {"browser": 1 + (rng.random() < 0.25), "buyer": rng.randint(1, 3), "returning": rng.randint(3, 8)}
        account: Account | None = None
        signed_in = False
        start = self.clockwork.moment()
        for number in range(visits[intent]):
            if number:
                # Some come back within the hour, most on another day.
                again = rng.random() < 0.18
                start = start + rng.randrange(10 * MINUTE, 3 * HOUR) if again else self.clockwork.moment(start)
            if start >= self.config.end:
                break
            direct = number > 0 and rng.random() < 0.55
            way = ACQUISITIONS[0] if direct else rng.choices(ACQUISITIONS, self._acquisition_weights)[0]
            visit = _Visit(self, client, start, way, account if signed_in else None)
            if refused:
                visit.browse(rng.randint(1, 6), wants=0.0)
                continue
            if account is not None and not signed_in and rng.random() < 0.6:
                visit.page("/account/login", "Log in")
                visit.identify(account, "logged_in")
                signed_in = True
            wants = {"browser": 0.04, "buyer": 0.5, "returning": 0.22}[intent]
            bought = visit.browse(1 + min(11, int(rng.expovariate(1 / 3.2))), wants)
            if bought and account is None and rng.random() < 0.7:
                account = Account(f"u-{len(self.accounts) + 100_001}", locale, country)
                self.accounts.append(account)
                visit.sign_up(account)
                signed_in = True
            if bought:
                visit.checkout()
            # A browser that forgets its cookies' session keeps its anonymous id, but the user signs in again.
            signed_in = signed_in and rng.random() < 0.75
        if account is not None and rng.random() < 0.15:
            self._second_browser(account)

    def _second_browser(self, account: Account) -> None:
        _, user_agent, screen = _weighted(self.rng, BROWSERS)
        client = Client(uuid_text(self.rng), user_agent, account.locale, account.country, screen)
        visit = _Visit(self, client, self.clockwork.moment(), ACQUISITIONS[0], None)
        visit.page("/account/login", "Log in")
        visit.identify(account, "logged_in")
        if visit.browse(self.rng.randint(1, 5), wants=0.3):
            visit.checkout()

    def _crawl(self) -> None:
        rng = self.rng
        client = Client(uuid_text(rng), rng.choice(CRAWLERS), "en-US", "US", (1024, 768), is_bot=True)
        visit = _Visit(self, client, self.clockwork.moment(), ACQUISITIONS[0], None)
        for _ in range(rng.randint(4, 34)):
            product = rng.choice(PRODUCTS)
            visit.page(product.path, product.name, referrer="")
            visit.at += rng.randrange(500, 20 * SECOND)

    def _monitor(self) -> None:
        # One visitor that never pauses: its sessions end by the filled-day rule only.
        client = Client(uuid_text(self.rng), MONITOR, "en-US", "US", (800, 600), is_bot=True)
        visit = _Visit(self, client, self.config.start + self.rng.randrange(5 * MINUTE), ACQUISITIONS[0], None)
        while visit.at < self.config.end:
            visit.page("/", "Coffee for every day", referrer="")
            visit.at += 10 * MINUTE + self.rng.randrange(-2_000, 2_000)

    def next_visit(self) -> int:
        """Number of the next visit."""
        return next(self._visits)

    def order_id(self) -> str:
        """Id of the next order."""
        return f"W-{next(self._orders)}"


class _Visit:
    """One visit, told page by page; `at` is its clock."""

    def __init__(
        self, traffic: WebTraffic, client: Client, start: int, way: Acquisition, account: Account | None
    ) -> None:
        self.traffic = traffic
        self.rng = traffic.rng
        self.client = client
        self.at = start
        self.way = way
        self.account = account
        self.number = traffic.next_visit()
        self.view_id = ""
        self.url = ""
        self.title = ""
        self.referrer = way.referrer
        self.is_landing = False
        self.cart: list[tuple[Product, int]] = []

    def _emit(self, type_: str, name: str, **fields: Any) -> Event:
        event = Event(
            source="web",
            event_id=uuid_text(self.rng),
            at=self.at,
            type=type_,
            name=name,
            client=self.client,
            visit=self.number,
            user_id=self.account.user_id if self.account else None,
            view_id=self.view_id or None,
            page_url=self.url,
            page_title=self.title,
            referrer=self.referrer,
            channel=self.way.channel if self.is_landing and (self.way.query or self.way.referrer) else None,
            **fields,
        )
        self.traffic.events.append(event)
        return event

    def page(self, path: str, title: str, *, referrer: str | None = None) -> None:
        """View a page; without a `referrer` given it is the page before."""
        if self.url:
            self.referrer = self.url if referrer is None else referrer
        self.is_landing = not self.url
        query = self.way.query if self.is_landing else ""
        if query:
            path = f"{path}?{query.format(id=f'{self.rng.getrandbits(96):024x}')}"
        self.url, self.title, self.view_id = HOST + path, title, f"{self.rng.getrandbits(64):016x}"
        self._emit("page", "page_viewed", properties={"category": title} if path.startswith("/c/") else {})

    def dwell(self) -> None:
        """Read: pings as long as the tab is in front, then sometimes a long pause."""
        rng = self.rng
        stay = min(12 * MINUTE, int(rng.expovariate(1 / (26 * SECOND)))) + 900
        began = self.at
        for beat in range(1, min(stay // HEARTBEAT, 9) + 1):
            self.at = began + beat * HEARTBEAT + rng.randrange(40)
            depth = min(100, 15 * beat + rng.randrange(20))
            self._emit("ping", "page_ping", properties={"scroll_depth": depth})
        fate = rng.random()
        if fate < 0.006:
            self.at += SESSION_TIMEOUT  # to the millisecond: not a new session
        elif fate < 0.012:
            self.at += SESSION_TIMEOUT + 1  # one more: a new one
        elif fate < 0.02:
            self.at += rng.randrange(20 * MINUTE, 90 * MINUTE)
        else:
            self.at = max(self.at + 400, began + stay)

    def browse(self, pages: int, wants: float) -> bool:
        """View up to `pages` pages; True if something lies in the cart and the visitor means to pay for it."""
        rng = self.rng
        kind = self.way.landing if not self.url else "category"
        for _ in range(pages):
            if kind == "home":
                self.page("/", "Coffee for every day")
                self.dwell()
                kind = rng.choices(("category", "product", "search"), (60, 25, 15))[0]
            elif kind == "category":
                category = rng.choice(CATEGORIES)
                self.page(f"/c/{category}", category.capitalize())
                self.dwell()
                kind = rng.choices(("product", "category", "home"), (75, 20, 5))[0]
            elif kind == "search":
                term = rng.choice(("decaf", "grinder", "kettle", "crème"))
                self.page(f"/search?q={term.replace('è', '%C3%A8')}", f"Search: {term}")
                self.at += 60
                self._emit("track", "products_searched", properties={"query": term, "results": rng.randrange(9)})
                self.dwell()
                kind = "product"
            else:
                self._product(wants)
                kind = rng.choices(("product", "category", "home"), (50, 40, 10))[0]
        return bool(self.cart) and rng.random() < 0.72

    def _product(self, wants: float) -> None:
        rng = self.rng
        product = rng.choice(PRODUCTS)
        self.page(product.path, product.name)
        facts = {"sku": product.sku, "price": product.cents / 100, "currency": "EUR"}
        self.at += rng.randrange(80, 200)
        self._emit("track", "product_viewed", properties=facts)
        self.dwell()
        if rng.random() < wants:
            quantity = rng.choices((1, 2, 3), (80, 15, 5))[0]
            self.cart.append((product, quantity))
            self._emit("track", "product_added", properties={**facts, "quantity": quantity})
            self.at += rng.randrange(1_000, 8_000)

    def identify(self, account: Account, name: str) -> None:
        """Sign in: one event that carries both ids, and one that says how."""
        self.at += self.rng.randrange(4_000, 40_000)
        self.account = account
        self._emit("identify", "identified", properties={"method": "password"})
        self.at += 30
        self._emit("track", name, properties={"method": "password"})
        self.at += 500

    def sign_up(self, account: Account) -> None:
        """Register."""
        self.page("/account/new", "New account")
        self.identify(account, "signed_up")

    def checkout(self) -> None:
        """Go to the cart and, mostly, pay; some orders come back days later."""
        rng = self.rng
        self.page("/cart", "Cart")
        self.dwell()
        cents = sum(product.cents * quantity for product, quantity in self.cart)
        total = cents / 100
        self._emit("track", "checkout_started", properties={"value": total, "items": len(self.cart)})
        self.at += 300
        self.page("/checkout", "Checkout")
        self.dwell()
        if rng.random() < 0.24:
            return
        order_id = self.traffic.order_id()
        self.page("/checkout/done", "Thank you")
        self.at += 150
        products = [
            {"sku": product.sku, "price": product.cents / 100, "quantity": quantity} for product, quantity in self.cart
        ]
        order = self._emit(
            "track",
            "order_completed",
            revenue=Decimal(cents) / 100,
            order_id=order_id,
            properties={"revenue": total, "currency": "EUR", "order_id": order_id, "products": products},
        )
        self.at += 2_000
        self.cart = []
        # Refunds come from the back office: no browser, no anonymous id.
        if order.user_id and rng.random() < 0.16:
            part = cents if rng.random() < 0.6 else cents // 2
            self.traffic.events.append(
                Event(
                    source="web",
                    event_id=uuid_text(rng),
                    at=order.at + rng.randrange(20 * HOUR, 5 * DAY),
                    type="track",
                    name="order_refunded",
                    client=Client(None, locale=self.client.locale, country=self.client.country),
                    visit=self.traffic.next_visit(),
                    user_id=order.user_id,
                    revenue=-Decimal(part) / 100,
                    order_id=order_id,
                    properties={"revenue": part / 100, "currency": "EUR", "order_id": order_id, "reason": "returned"},
                )
            )


class AppTraffic:
    """The mobile app: half of the shop's customers and some who know it only from the store."""

    def __init__(self, config: DemoConfig, accounts: Sequence[Account]) -> None:
        """Start with an empty list of events."""
        self.config = config
        self.accounts = accounts
        self.rng = seeded("app", config)
        self.clockwork = _Clockwork(config, self.rng)
        self.events: list[Event] = []
        self._visits = count(1)
        self._orders = count(500_001)

    def run(self) -> None:
        """Fill `events`."""
        users: list[Account | None] = [account for account in self.accounts if self.rng.random() < 0.5]
        users += [None] * max(2, self.config.visitors // 5)
        for _ in range(self.config.faults.app_refused_visitors):
            self._installation(None, refused=True)
        for user in users:
            self._installation(user, refused=False)

    def _installation(self, account: Account | None, *, refused: bool) -> None:
        rng = self.rng
        _, locale, country = _weighted(rng, LOCALES)
        _, system, release = _weighted(rng, PHONES)
        client = Client(
            anonymous_id=f"{'i' if system == 'iOS' else 'a'}-{rng.getrandbits(64):016x}",
            locale=account.locale if account else locale,
            country=account.country if account else country,
            refused=refused,
            app_version=rng.choice(APP_VERSIONS),
            os=f"{system} {release}",
        )
        start = self.clockwork.moment()
        signed_in = False
        for number in range(rng.randint(3, 9)):
            if number:
                start = self.clockwork.moment(start)
            if start >= self.config.end:
                return
            signed_in = self._visit(client, start, account, signed_in=signed_in)

    def _visit(self, client: Client, start: int, account: Account | None, *, signed_in: bool) -> bool:
        rng = self.rng
        visit = next(self._visits)
        at = start

        def emit(type_: str, name: str, screen: str, **fields: Any) -> None:
            self.events.append(
                Event(
                    source="app",
                    event_id=f"app-{rng.getrandbits(80):020x}",
                    at=at,
                    type=type_,
                    name=name,
                    client=client,
                    visit=visit,
                    user_id=account.user_id if account and signed_in else None,
                    page_title=screen,
                    **fields,
                )
            )

        emit("track", "app_opened", "Start")
        at += rng.randrange(300, 900)
        emit("screen", "screen_viewed", "Start")
        if account and not signed_in:
            at += rng.randrange(3_000, 30_000)
            signed_in = True
            emit("identify", "identified", "Log in")
            at += 20
            emit("track", "logged_in", "Log in")
        for _ in range(1 + min(9, int(rng.expovariate(1 / 3)))):
            at += 700 + int(rng.expovariate(1 / (20 * SECOND)))
            if rng.random() < 0.008:
                at += SESSION_TIMEOUT
            if rng.random() < 0.4:
                emit("screen", "screen_viewed", f"Category {rng.choice(CATEGORIES)}")
                continue
            product = rng.choice(PRODUCTS)
            emit("screen", "screen_viewed", product.name)
            at += 90
            emit("track", "product_viewed", product.name)
            if client.refused:
                continue
            fate = rng.random()
            if fate < 0.09:
                at += rng.randrange(2_000, 20_000)
                emit("track", "product_added", product.name)
                if rng.random() < 0.45:
                    at += rng.randrange(20_000, 120_000)
                    emit("screen", "screen_viewed", "Checkout")
                    at += rng.randrange(5_000, 60_000)
                    order_id = f"A-{next(self._orders)}"
                    emit(
                        "track", "order_completed", "Checkout", revenue=Decimal(product.cents) / 100, order_id=order_id
                    )
            elif fate < 0.16:
                at += rng.randrange(20_000, 90_000)
                emit("track", "review_written", product.name, properties={"note": rng.choice(REVIEWS)})
        return signed_in and rng.random() < 0.9


def simulate_fleet(config: DemoConfig) -> list[Event]:
    """Vending machines of the shop that send heartbeats.

    Three never pause (one of them beats at exactly the session timeout), one is on for five days only, and six work
    from morning to evening.
    """
    rng = seeded("devices", config)
    events: list[Event] = []

    def beat_all(device: str, start: int, end: int, every: int, jitter: int) -> None:
        client = Client(device, app_version=f"2.{rng.randrange(3)}.{rng.randrange(9)}", os="vendOS")
        phase = rng.random()
        at = start
        while at < min(end, config.end):
            # Room temperature by the hour of the day, to a tenth of a degree.
            swing = math.sin(2 * math.pi * ((at % DAY) / DAY + phase))
            facts = {
                "temperature": round(6 + 2.5 * swing + rng.gauss(0, 0.3), 1),
                "battery": rng.randrange(40, 101),
                "door_open": rng.random() < 0.02,
            }
            name = "alarm" if rng.random() < 0.004 else "heartbeat"
            number = int(device[-3:]) * 100 + (at - config.start) // DAY
            moment = at + (rng.randrange(jitter) if jitter else 0)
            events.append(Event("devices", "", moment, "track", name, client, visit=number, properties=facts))
            at += every

    beat_all("vm-001", config.start, config.end, 5 * MINUTE, 20 * SECOND)
    beat_all("vm-002", config.start, config.end, 10 * MINUTE, 5 * SECOND)
    beat_all("vm-003", config.start, config.end, SESSION_TIMEOUT, 0)
    beat_all("vm-004", config.start + 2 * DAY + 7 * HOUR, config.start + 7 * DAY + 9 * HOUR, 8 * MINUTE, 30 * SECOND)
    for number in range(5, 11):
        for day in config.all_days:
            if (day - timedelta(days=number)).weekday() == 6:
                continue  # a day off a week, another for each machine
            opening = day_start(day) + 6 * HOUR + rng.randrange(30 * MINUTE)
            beat_all(f"vm-{number:03}", opening, opening + 15 * HOUR, 12 * MINUTE, 60 * SECOND)
    return events
