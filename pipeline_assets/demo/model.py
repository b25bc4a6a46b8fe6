"""The parameters of a demo and its clean events: what the other modules of this package speak of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Literal

SourceName = Literal["web", "app", "devices"]
SOURCES: tuple[SourceName, ...] = ("web", "app", "devices")
PROPERTIES: dict[SourceName, str] = {"web": "shop.example", "app": "shop-app", "devices": "vending-fleet"}

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EPOCH = date(1970, 1, 1)
LATE_BY = 7 * HOUR
"""The late files are sent in the hour before so long after the last day; a minute later everything is received."""

Progress = Callable[[str, int, int], None]
"""Called with a label, the steps done and the steps in all."""


@dataclass(frozen=True)
class Faults:
    """How many faults of each kind are planted; every number is met exactly.

    Attributes:
        web_duplicates: web lines delivered again, byte for byte, in a later file of the same or the next day.
        app_duplicates: app records delivered again in the next day's file.
        device_duplicates: device rows delivered again in the next day's file.
        web_conflicts: web ids delivered again with other content; one in four claims a later time.
        app_conflicts: app ids delivered again with other content.
        web_late_visits: web visits that come in the late files.
        app_late_visits: app visits that come in the late files.
        device_late_days: whole days of a device that come in the late files.
        web_skewed: web events of a clock that is hours or days off.
        app_skewed: app events of such a clock.
        device_skewed: device rows of such a clock.
        web_future: web events whose time lies after their receipt, though the clock is less than 10 minutes off.
        web_malformed: lines to quarantine by kind, see `delivery`.
        app_malformed: the same for the app.
        device_malformed: the same for the devices.
        web_blank: blank lines in the web files.
        app_blank: blank lines between the app's records.
        web_refused_visitors: web visitors who refuse analytics.
        app_refused_visitors: app installations that refuse analytics.
    """

    web_duplicates: int = 400
    app_duplicates: int = 150
    device_duplicates: int = 120
    web_conflicts: int = 60
    app_conflicts: int = 20
    web_late_visits: int = 45
    app_late_visits: int = 15
    device_late_days: int = 3
    web_skewed: int = 300
    app_skewed: int = 200
    device_skewed: int = 250
    web_future: int = 24
    web_malformed: dict[str, int] = field(
        default_factory=lambda: {
            "broken_json": 14,
            "truncated": 9,
            "not_an_object": 6,
            "invalid_utf8": 7,
            "missing_id": 11,
            "bad_time": 10,
            "missing_event_name": 5,
            "broken_rule": 4,
            "out_of_range": 8,
        }
    )
    app_malformed: dict[str, int] = field(
        default_factory=lambda: {"wrong_field_count": 9, "missing_id": 6, "bad_time": 7, "out_of_range": 5}
    )
    device_malformed: dict[str, int] = field(default_factory=lambda: {"missing_id": 6, "missing_time": 4})
    web_blank: int = 21
    app_blank: int = 8
    web_refused_visitors: int = 60
    app_refused_visitors: int = 15

    @classmethod
    def none(cls) -> "Faults":
        """Perfect deliveries."""
        numbers: dict[str, Any] = {name: 0 for name in cls.__dataclass_fields__ if not name.endswith("_malformed")}
        return cls(**numbers, web_malformed={}, app_malformed={}, device_malformed={})

    def divided(self, by: int) -> "Faults":
        """A share of every number, rounded up, so that no kind of fault disappears."""

        def share(number: int) -> int:
            return -(-number // by)

        values: dict[str, Any] = {
            name: {kind: share(number) for kind, number in value.items()} if isinstance(value, dict) else share(value)
            for name, value in vars(self).items()
        }
        return Faults(**values)


@dataclass(frozen=True)
class DemoConfig:
    """What is generated; equal values give equal bytes.

    Attributes:
        first_day: first event day (UTC); by default a Monday that stays the same.
        days: number of event days.
        visitors: web visitors; the app's users and the crawlers scale with it, the fleet does not.
        seed: seed of every random choice.
        faults: faults to plant.
    """

    first_day: date = date(2026, 3, 2)
    days: int = 14
    visitors: int = 2_200
    seed: int = 7
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        """Refuse what cannot be generated.

        Raises:
            ValueError: too short a time, or no visitors.
        """
        if self.days < 4:
            raise ValueError(f"days must be at least 4 (late files and repeats need room), got {self.days}")
        if self.visitors < 1:
            raise ValueError(f"visitors must be at least 1, got {self.visitors}")

    @classmethod
    def latest(cls, now: datetime) -> "DemoConfig":
        """The last two weeks, from Monday to Sunday as by default, of which everything has come by now.

        Args:
            now: an aware time. Until the late files of a week have come, on Monday morning, it is the weeks before.
        """
        complete = (now.astimezone(UTC) - timedelta(milliseconds=LATE_BY + MINUTE)).date()
        return cls(first_day=complete - timedelta(days=complete.weekday() + cls.days))

    @classmethod
    def small(cls, seed: int = 7) -> "DemoConfig":
        """A demo for tests: six days, some 10,000 events, every kind of fault."""
        return cls(days=6, visitors=150, seed=seed, faults=Faults().divided(10))

    @property
    def start(self) -> int:
        """First moment, epoch milliseconds."""
        return day_start(self.first_day)

    @property
    def end(self) -> int:
        """First moment after the last day, epoch milliseconds."""
        return self.start + self.days * DAY

    @property
    def all_days(self) -> list[date]:
        """The event days in order."""
        return [self.first_day + timedelta(days=offset) for offset in range(self.days)]


@dataclass(frozen=True)
class Client:
    """A browser or an installation of the app.

    Attributes:
        anonymous_id: its id; None for the shop's own servers.
        user_agent: user agent string, None for the app.
        locale: language tag.
        country: ISO 3166 code.
        screen: width and height in pixels.
        is_bot: whether it is a machine that says so.
        refused: whether its owner refuses analytics.
        app_version: version of the app, None in a browser.
        os: operating system of the app's phone, None in a browser.
    """

    anonymous_id: str | None
    user_agent: str | None = None
    locale: str = "de-DE"
    country: str = "DE"
    screen: tuple[int, int] = (1920, 1080)
    is_bot: bool = False
    refused: bool = False
    app_version: str | None = None
    os: str | None = None


@dataclass(slots=True)
class Event:
    """A clean event as it truly happened; times are epoch milliseconds.

    `at` is the true time; the `device_at`, `sent_at` and `received_at` that stand in the files are set by
    `delivery`. `visit` numbers the visits (or device days) of a source. `channel` is the way by which the visit came,
    on the events that show it: those on the page it landed on.
    """

    source: SourceName
    event_id: str
    at: int
    type: str
    name: str
    client: Client
    visit: int
    user_id: str | None = None
    view_id: str | None = None
    page_url: str = ""
    page_title: str = ""
    referrer: str = ""
    revenue: Decimal | None = None
    order_id: str | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    channel: str | None = None
    device_at: int = 0
    sent_at: int = 0
    received_at: int = 0
    late: bool = False

    @property
    def visitor(self) -> str | None:
        """Visitor id by definition: the anonymous id, else the user id with its prefix, none after a refusal."""
        if self.client.refused:
            return None
        return self.client.anonymous_id or f"user:{self.user_id}"

    @property
    def day(self) -> date:
        """Calendar day (UTC) of the true time."""
        return day_of(self.at)


def seeded(purpose: str, config: DemoConfig) -> Random:
    """The random choices of one purpose; another purpose's choices do not shift them."""
    return Random(f"{purpose}:{config.seed}")  # noqa: S311 - traffic is made believable here, nothing is kept secret


def day_start(day: date) -> int:
    """Epoch milliseconds of the midnight (UTC) a day starts with."""
    return (day - EPOCH).days * DAY


def day_of(moment: int) -> date:
    """Calendar day (UTC) of epoch milliseconds."""
    return EPOCH + timedelta(days=moment // DAY)


def to_datetime(moment: int) -> datetime:
    """Aware datetime (UTC) of epoch milliseconds, without the rounding of floats."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment)
