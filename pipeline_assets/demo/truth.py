"""What a correct pipeline must find in a demo, computed in plain Python from the clean events and planted faults.

The rules are those of the definitions: half an hour without an event ends a session (exactly half an hour does not),
a visitor who was active through a whole calendar day without a longer gap, both midnights counted, starts a new
session with the first event of the next day; a visitor is a property with an anonymous id, or a user id where there
is none; who refuses analytics keeps no ids and is in no session. Days are calendar days in UTC.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pipeline_assets.demo.behaviour import BehaviourTruth
from pipeline_assets.demo.model import PROPERTIES, SOURCES, Event, day_of
from pipeline_assets.demo.visits import session_starts
from pipeline_assets.private import protected

VIEW_TYPES = ("page", "screen")

Delivery = Literal["first", "late", "repeat"]


@dataclass(frozen=True)
class FileTruth:
    """A delivered file: `lines = landed + blank + sum(quarantined)`.

    Attributes:
        path: below the landing folder.
        source: name of the source.
        delivery: first (with `Demo.write`), late (with `Demo.write_late_files`) or repeat (the same content as an
            earlier file under another name: to be booked as a repeat, and in no other number of the truth).
        lines: lines of JSONL; records and blank lines of CSV without its header; rows of Parquet.
        landed: lines that become a staged row, duplicates included.
        blank: blank lines.
        quarantined: lines to quarantine, by the kind of fault.
    """

    path: str
    source: str
    delivery: Delivery
    lines: int
    landed: int
    blank: int
    quarantined: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Numbers:
    """What the events of a source say, for a day or for all days; bots are included unless a name says otherwise.

    Attributes:
        landed: staged rows: `landed = events + duplicates`.
        duplicates: dropped copies.
        conflicts: of these, copies with other content.
        events: distinct events, refused and bot ones included.
        refused: of these, events without ids after a refusal of analytics.
        bot_events: of these, events of bots.
        visitors: distinct visitors, over all the days where it is a total.
        bot_visitors: of these, bots.
        users: distinct user ids.
        sessions: sessions that start then.
        bot_sessions: of these, sessions of bots.
        page_views: page and screen views outside of refusals, by the view's own day.
        bot_page_views: of these, views of bots.
        refused_page_views: views after a refusal, in no session.
        orders: completed orders.
        order_revenue: their revenue in euros.
        refunds: refunds.
        refunded: what they gave back in euros, positive.
        revenue: order_revenue - refunded.
    """

    landed: int
    duplicates: int
    conflicts: int
    events: int
    refused: int
    bot_events: int
    visitors: int
    bot_visitors: int
    users: int
    sessions: int
    bot_sessions: int
    page_views: int
    bot_page_views: int
    refused_page_views: int
    orders: int
    order_revenue: Decimal
    refunds: int
    refunded: Decimal
    revenue: Decimal


@dataclass(frozen=True)
class DayTruth:
    """The numbers of a source on an event day."""

    day: date
    source: str
    property: str
    numbers: Numbers


@dataclass(frozen=True)
class SourceTruth:
    """A source over all days.

    Attributes:
        source: its name.
        property: its property.
        files: distinct files, the repeat not counted.
        lines: as in `FileTruth`, the repeat not counted: `lines = landed + blank + quarantined_lines`.
        landed: the same.
        blank: the same.
        quarantined: by kind.
        quarantined_lines: their sum.
        late_events: events in late files.
        skewed_events: events of a clock that is off by more than 10 minutes (corrected for `skew`).
        future_events: events of a clock nearly right that claim a time after their receipt (corrected for `future` or
            `received_at`).
        events_by_name: distinct events by name.
        numbers: totals; visitors and users are distinct over all days.
    """

    source: str
    property: str
    files: int
    lines: int
    landed: int
    blank: int
    quarantined: dict[str, int]
    quarantined_lines: int
    late_events: int
    skewed_events: int
    future_events: int
    events_by_name: dict[str, int]
    numbers: Numbers


@dataclass(frozen=True)
class Snapshot:
    """Everything that must be found at one state of the landing folder."""

    sources: tuple[SourceTruth, ...]
    days: tuple[DayTruth, ...]

    def source(self, name: str) -> SourceTruth:
        """The truth of a source."""
        return next(truth for truth in self.sources if truth.source == name)

    def day(self, day: date, source: str) -> Numbers:
        """The numbers of a source on a day.

        Raises:
            StopIteration: nothing landed for it.
        """
        return next(truth.numbers for truth in self.days if truth.day == day and truth.source == source)


@dataclass(frozen=True)
class Truth:
    """What was planted and what must be found.

    Attributes:
        seed: of the demo.
        files: every file, late ones and the repeat included, in order of their paths.
        before_late: to be found after `Demo.write`.
        complete: to be found after `Demo.write_late_files`.
        late_days: days of the events in the late files.
        repeats: path of a repeat to the path of its original.
        half_written: the state of the one file that `Demo.write(half_written=True)` delivers in part; its last line
            is torn, the others are the beginning of the complete file.
        behaviour: what to be found of people's behaviour after `Demo.write_late_files`.
        delivered: whether all files have been written, the late ones too; False in a demo that is being made.
    """

    seed: int
    files: tuple[FileTruth, ...]
    before_late: Snapshot
    complete: Snapshot
    late_days: tuple[date, ...]
    repeats: dict[str, str]
    half_written: FileTruth
    behaviour: BehaviourTruth
    delivered: bool = True

    @property
    def first_day(self) -> date:
        """First event day: on each there are events."""
        return min(truth.day for truth in self.complete.days)

    def to_json(self) -> str:
        """JSON text; dates in ISO form, amounts as text."""
        return json.dumps(asdict(self), default=str, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Truth":
        """The truth that `to_json` wrote."""
        return _decode(cls, json.loads(text))


def write_truth(truth: Truth, path: Path) -> None:
    """Write a truth as JSON beside (not into) the landing folder, over an older one in one step."""
    temporary = path.with_name(f".{path.name}.tmp")
    with protected(temporary):
        temporary.write_text(truth.to_json(), encoding="utf-8")
    temporary.replace(path)


def read_truth(path: Path) -> Truth:
    """Read what `write_truth` wrote."""
    return Truth.from_json(path.read_text(encoding="utf-8"))


def _decode(kind: Any, value: Any) -> Any:
    if get_origin(kind) is tuple:
        return tuple(_decode(get_args(kind)[0], item) for item in value)
    if kind is date:
        return date.fromisoformat(value)
    if kind is Decimal:
        return Decimal(value)
    if hasattr(kind, "__dataclass_fields__"):
        hints = get_type_hints(kind)
        return kind(**{name: _decode(hints[name], item) for name, item in value.items()})
    return value


@dataclass(frozen=True)
class Copy:
    """A line that repeats the id of an event: the source, the day it claims and whether its content differs."""

    source: str
    day: date
    differs: bool


def take_snapshot(
    events: Sequence[Event],
    copies: Iterable[Copy],
    files: Iterable[FileTruth],
    skewed: set[int],
    future: set[int],
) -> Snapshot:
    """What must be found in some files.

    Args:
        events: distinct clean events in them.
        copies: duplicates and conflicts in them.
        files: the files, without repeats.
        skewed: `id()` of the events with a wrong clock.
        future: `id()` of the events with a time after their receipt.

    Returns:
        Truth per source and per source and day.
    """
    copies, files = list(copies), list(files)
    sources: list[SourceTruth] = []
    days: list[DayTruth] = []
    for source in SOURCES:
        own = [event for event in events if event.source == source]
        own_copies = [copy for copy in copies if copy.source == source]
        own_files = [file for file in files if file.source == source]
        starts = _session_starts(own)
        events_of: defaultdict[date, list[Event]] = defaultdict(list)
        for event in own:
            events_of[event.day].append(event)
        for day in sorted(events_of.keys() | {copy.day for copy in own_copies}):
            numbers = _numbers(
                events_of[day],
                [copy for copy in own_copies if copy.day == day],
                [is_bot for moment, is_bot in starts if day_of(moment) == day],
            )
            days.append(DayTruth(day, source, PROPERTIES[source], numbers))
        quarantined = sum((Counter(file.quarantined) for file in own_files), Counter[str]())
        sources.append(
            SourceTruth(
                source=source,
                property=PROPERTIES[source],
                files=len(own_files),
                lines=sum(file.lines for file in own_files),
                landed=sum(file.landed for file in own_files),
                blank=sum(file.blank for file in own_files),
                quarantined=dict(sorted(quarantined.items())),
                quarantined_lines=quarantined.total(),
                late_events=sum(event.late for event in own),
                skewed_events=sum(id(event) in skewed for event in own),
                future_events=sum(id(event) in future for event in own),
                events_by_name=dict(sorted(Counter(event.name for event in own).items())),
                numbers=_numbers(own, own_copies, [is_bot for _, is_bot in starts]),
            )
        )
    return Snapshot(tuple(sources), tuple(days))


def _session_starts(events: Iterable[Event]) -> list[tuple[int, bool]]:
    times: defaultdict[str, list[int]] = defaultdict(list)
    bots: set[str] = set()
    for event in events:
        visitor = event.visitor
        if visitor is None:
            continue
        times[visitor].append(event.at)
        if event.client.is_bot:
            bots.add(visitor)
    return [(start, visitor in bots) for visitor, own in times.items() for start in session_starts(sorted(own))]


def _numbers(events: Sequence[Event], copies: Sequence[Copy], bot_sessions: Sequence[bool]) -> Numbers:
    views = [event for event in events if event.type in VIEW_TYPES]
    refused_views = sum(event.client.refused for event in views)
    orders = [event.revenue for event in events if event.name == "order_completed" and event.revenue is not None]
    refunds = [event.revenue for event in events if event.name == "order_refunded" and event.revenue is not None]
    cent = Decimal("0.00")
    return Numbers(
        landed=len(events) + len(copies),
        duplicates=len(copies),
        conflicts=sum(copy.differs for copy in copies),
        events=len(events),
        refused=sum(event.client.refused for event in events),
        bot_events=sum(event.client.is_bot for event in events),
        visitors=len({event.visitor for event in events} - {None}),
        bot_visitors=len({event.visitor for event in events if event.client.is_bot}),
        users=len({event.user_id for event in events} - {None}),
        sessions=len(bot_sessions),
        bot_sessions=sum(bot_sessions),
        page_views=len(views) - refused_views,
        bot_page_views=sum(event.client.is_bot for event in views),
        refused_page_views=refused_views,
        orders=len(orders),
        order_revenue=sum(orders, cent),
        refunds=len(refunds),
        refunded=-sum(refunds, cent),
        revenue=sum(orders, cent) + sum(refunds, cent),
    )
