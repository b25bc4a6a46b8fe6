"""What the demo's visitors did: the funnel, retention, channels and attribution a correct pipeline must find.

Computed in plain Python from the clean events and from what the simulation knows (by which way a visit came), by the
rules of the definitions. Slow and obvious on purpose: it shares no code with the pipeline.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pipeline_assets.demo.model import DAY, Event
from pipeline_assets.demo.visits import session_starts

FUNNEL_STEPS = ("product_viewed", "product_added", "checkout_started", "order_completed")
FUNNEL_WINDOW = 7 * DAY
RETAINED_SOURCES = ("web", "app")
RETENTION_DAYS = 13
LOOKBACK = 30 * DAY
DIRECT = "Direct"
MODELS = ("first", "last", "last_non_direct", "linear")
"""Models whose credits follow from the order of the visits alone."""


@dataclass(frozen=True)
class StepTruth:
    """How many visitors and days of entry reached a step of the web shop's checkout."""

    step: str
    entities: int


@dataclass(frozen=True)
class RetentionTruth:
    """Of those who came first on a day, how many came back so many days later, by web or app."""

    cohort_start: date
    period_number: int
    cohort_size: int
    retained: int


@dataclass(frozen=True)
class ChannelTruth:
    """Sessions of the web shop by channel, without bots."""

    channel: str
    sessions: int


@dataclass(frozen=True)
class CreditTruth:
    """What the orders of web and app owe to a channel by a model, in cents."""

    model: str
    channel: str
    cents: int


@dataclass(frozen=True)
class BehaviourTruth:
    """What must be found of people's behaviour once all files are loaded.

    Attributes:
        funnel: the steps in order.
        retention: every cell of the triangle that is not empty or has begun, by day and number.
        channels: by name.
        attribution: by model and channel; channels without credit are left out.
        people: distinct people of web and app, bots left out.
    """

    funnel: tuple[StepTruth, ...]
    retention: tuple[RetentionTruth, ...]
    channels: tuple[ChannelTruth, ...]
    attribution: tuple[CreditTruth, ...]
    people: int


@dataclass(frozen=True)
class _Session:
    """A session as attribution sees it."""

    start: int
    visitor: tuple[str, str]
    person: str
    channel: str


def behaviour_truth(events: Iterable[Event]) -> BehaviourTruth:
    """What must be found of some clean events."""
    kept = [event for event in events if event.visitor is not None and not event.client.is_bot]
    owners = _owners(kept)
    sessions = [session for source in ("web", "app", "devices") for session in _sessions(kept, source, owners)]
    retained = [event for event in kept if event.source in RETAINED_SOURCES]
    channels = Counter(session.channel for session in sessions if session.visitor[0] == "web")
    return BehaviourTruth(
        funnel=_funnel([event for event in kept if event.source == "web"]),
        retention=_retention(retained, owners),
        channels=tuple(ChannelTruth(name, number) for name, number in sorted(channels.items())),
        attribution=_attribution(kept, sessions, owners),
        people=len({_person(event, owners) for event in retained}),
    )


def _owners(events: Iterable[Event]) -> dict[tuple[str, str], str]:
    """The user of each anonymous id that was ever seen with one; in the demo none is seen with two."""
    return {
        (event.source, event.client.anonymous_id): event.user_id
        for event in events
        if event.user_id and event.client.anonymous_id
    }


def _person(event: Event, owners: dict[tuple[str, str], str]) -> str:
    if event.user_id:
        return event.user_id
    visitor = (event.source, str(event.visitor))
    return owners.get(visitor, "/".join(visitor))


def _by_visitor(events: Iterable[Event]) -> dict[tuple[str, str], list[Event]]:
    found: defaultdict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        found[event.source, str(event.visitor)].append(event)
    return {visitor: sorted(own, key=lambda event: event.at) for visitor, own in found.items()}


def _sessions(events: Iterable[Event], source: str, owners: dict[tuple[str, str], str]) -> list[_Session]:
    sessions: list[_Session] = []
    for visitor, own in _by_visitor(event for event in events if event.source == source).items():
        starts = session_starts([event.at for event in own])
        for start, end in zip(starts, [*starts[1:], own[-1].at + 1], strict=True):
            inside = [event for event in own if start <= event.at < end]
            # The first event that says where it came from; the last user who was signed in.
            channel = next((event.channel for event in inside if event.channel), DIRECT)
            user = next((event.user_id for event in reversed(inside) if event.user_id), None)
            sessions.append(_Session(start, visitor, user or owners.get(visitor, "/".join(visitor)), channel))
    return sessions


def _funnel(events: Sequence[Event]) -> tuple[StepTruth, ...]:
    reached: Counter[int] = Counter()
    for own in _by_visitor(events).values():
        entries: dict[date, int] = {}
        for position, event in enumerate(own):
            if event.name == FUNNEL_STEPS[0]:
                entries.setdefault(event.day, position)
        for entry in entries.values():
            step = 0
            for event in own[entry:]:
                if event.at - own[entry].at > FUNNEL_WINDOW or step == len(FUNNEL_STEPS):
                    break
                if event.name == FUNNEL_STEPS[step]:
                    reached[step] += 1
                    step += 1
    return tuple(StepTruth(name, reached[step]) for step, name in enumerate(FUNNEL_STEPS))


def _retention(events: Sequence[Event], owners: dict[tuple[str, str], str]) -> tuple[RetentionTruth, ...]:
    days: defaultdict[str, set[date]] = defaultdict(set)
    for event in events:
        days[_person(event, owners)].add(event.day)
    last = max((event.day for event in events), default=date.min)
    sizes = Counter(min(active) for active in days.values())
    returned = Counter((min(active), (day - min(active)).days) for active in days.values() for day in active)
    return tuple(
        RetentionTruth(cohort, number, size, returned[cohort, number])
        for cohort, size in sorted(sizes.items())
        for number in range(RETENTION_DAYS + 1)
        if cohort + timedelta(days=number) <= last
    )


def _attribution(
    events: Iterable[Event], sessions: Sequence[_Session], owners: dict[tuple[str, str], str]
) -> tuple[CreditTruth, ...]:
    visits: defaultdict[str, list[_Session]] = defaultdict(list)
    for session in sorted(sessions, key=lambda session: session.start):
        visits[session.person].append(session)
    credit: Counter[tuple[str, str]] = Counter()
    for event in events:
        if event.name != "order_completed" or not event.revenue:
            continue
        touches = [
            session.channel
            for session in visits[_person(event, owners)]
            if event.at - LOOKBACK <= session.start <= event.at
        ]
        cents = int(event.revenue * 100)
        chosen = {
            "first": touches[0],
            "last": touches[-1],
            "last_non_direct": next((name for name in reversed(touches) if name != DIRECT), touches[-1]),
        }
        for model, channel in chosen.items():
            credit[model, channel] += cents
        share, rest = divmod(cents, len(touches))
        for number, channel in enumerate(touches):
            # Cents that cannot be shared go to the earliest.
            credit["linear", channel] += share + (number < rest)
    return tuple(CreditTruth(model, channel, cents) for (model, channel), cents in sorted(credit.items()) if cents)
