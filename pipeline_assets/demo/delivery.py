"""Turns clean events into the lines of files, and plants the faults of a configuration in exact numbers.

Kinds of malformed lines: broken_json, truncated, not_an_object, invalid_utf8, wrong_field_count (cannot be read);
missing_id (neither anonymous id nor user id), bad_time, missing_time, missing_event_name, broken_rule (breaks the
source's contract); out_of_range (before the platform's first day, or in the far future without a receipt).
They are lines of their own, beside the clean events.
"""

import csv
import gzip
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

import polars as pl

from pipeline_assets.demo.model import (
    DAY,
    HOUR,
    LATE_BY,
    MINUTE,
    SECOND,
    SOURCES,
    DemoConfig,
    Event,
    Progress,
    SourceName,
    day_of,
    day_start,
    seeded,
    to_datetime,
)
from pipeline_assets.demo.traffic import uuid_text
from pipeline_assets.demo.truth import Copy, Delivery, FileTruth

Item = TypeVar("Item")

WEB_SLOTS = 4
LANDED = "landed"
BLANK = "blank"
APP_COLUMNS = [
    *("event_id", "type", "event", "install_id", "user_id", "device_ms", "sent_ms", "received_ms", "screen"),
    *("app_version", "os", "locale", "country", "revenue", "currency", "order_id", "note", "analytics"),
]
APP_COLUMN_ADDED = "network"
DEVICE_SCHEMA: dict[str, pl.DataType] = {
    "device_id": pl.String(),
    "kind": pl.String(),
    "measured_at": pl.Datetime("us", "UTC"),
    "sent_at": pl.Datetime("us", "UTC"),
    "received_at": pl.Datetime("us", "UTC"),
    "temperature": pl.Float64(),
    "battery": pl.Int16(),
    "door_open": pl.Boolean(),
    "firmware": pl.String(),
    "position": pl.Struct({"lat": pl.Float64(), "lon": pl.Float64()}),
}


@dataclass
class Record:
    """A line, record or row of a file: its place in it, what it is, and its content before it is written."""

    order: float
    kind: str
    content: Any


@dataclass
class Draft:
    """A file that is being filled."""

    path: str
    source: SourceName
    delivery: Delivery
    records: list[Record] = field(default_factory=list)

    def truth(self) -> FileTruth:
        """What is in it."""
        kinds = Counter(record.kind for record in self.records)
        landed, blank = kinds.pop(LANDED, 0), kinds.pop(BLANK, 0)
        lines = landed + blank + kinds.total()
        return FileTruth(self.path, self.source, self.delivery, lines, landed, blank, dict(sorted(kinds.items())))


@dataclass(frozen=True)
class Planted:
    """All drafts of a demo with what was planted in them; `skewed` and `future` hold `id()`s of events."""

    drafts: list[Draft]
    copies: list[Copy]
    skewed: set[int]
    future: set[int]


def deliver(config: DemoConfig, events: list[Event], progress: Progress | None = None) -> Planted:
    """Distribute clean events over files and plant the faults.

    Args:
        config: what is planted.
        events: clean events; their `device_at`, `sent_at`, `received_at` and `late` are set here.
        progress: called while lines are made.

    Returns:
        The drafts of all files, in the order of their paths, and what was planted.

    Raises:
        ValueError: there are too few events for a number of faults.
    """
    return _Delivery(config, events, progress).run()


class _Delivery:
    def __init__(self, config: DemoConfig, events: list[Event], progress: Progress | None) -> None:
        self.config = config
        self.faults = config.faults
        self.events: dict[SourceName, list[Event]] = {name: [] for name in SOURCES}
        for event in events:
            self.events[event.source].append(event)
        self.total = len(events)
        self.progress = progress
        self.copies: list[Copy] = []
        self.skewed: set[int] = set()
        self.future: set[int] = set()
        self.drafts: dict[SourceName, list[Draft]] = {name: [] for name in SOURCES}
        self.late_drafts: dict[SourceName, Draft] = {}
        self.renderers: dict[SourceName, Callable[[Event], Any]] = {
            "web": web_line,
            "app": app_row,
            "devices": device_row,
        }

    def run(self) -> Planted:
        done = 0
        for source in SOURCES:
            rng = seeded(f"delivery:{source}", self.config)
            self._make_drafts(source)
            self._mark_late(source, rng)
            self._set_clocks(source, rng)
            places: dict[int, tuple[int, Record]] = {}
            render = self.renderers[source]
            for event in self.events[source]:
                record = Record(event.received_at, LANDED, render(event))
                if event.late:
                    self.late_drafts[source].records.append(record)
                else:
                    number = self._file_of(source, event.received_at)
                    self.drafts[source][number].records.append(record)
                    places[id(event)] = (number, record)
                done += 1
                if self.progress and done % 2_000 == 0:
                    self.progress("writing lines", done, self.total)
            self._copy(source, rng, places)
            self._malform(source, rng)
        if self.progress:
            self.progress("writing lines", self.total, self.total)
        drafts = [draft for own in self.drafts.values() for draft in own]
        drafts += [draft for draft in self.late_drafts.values() if draft.records]
        for draft in drafts:
            draft.records.sort(key=lambda record: record.order)
        return Planted(sorted(drafts, key=lambda draft: draft.path), self.copies, self.skewed, self.future)

    # Files

    def _make_drafts(self, source: SourceName) -> None:
        after = self.config.first_day + timedelta(days=self.config.days)
        days = self.config.all_days
        if source == "web":
            # Odd files are compressed, even ones are not.
            for day in days:
                for slot in range(1, WEB_SLOTS + 1):
                    path = f"web/{day}-{slot:02}.jsonl{'.gz' if slot % 2 else ''}"
                    self.drafts[source].append(Draft(path, source, "first"))
            self.late_drafts[source] = Draft(f"web/{after}-01.jsonl.gz", source, "late")
        else:
            suffix = "csv" if source == "app" else "parquet"
            self.drafts[source] = [Draft(f"{source}/{day}.{suffix}", source, "first") for day in days]
            self.late_drafts[source] = Draft(f"{source}/{after}.{suffix}", source, "late")

    def _file_of(self, source: SourceName, received_at: int) -> int:
        slots = WEB_SLOTS if source == "web" else 1
        # What is received after the last midnight still comes with the last file.
        return min((received_at - self.config.start) * slots // DAY, self.config.days * slots - 1)

    # Clocks

    def _mark_late(self, source: SourceName, rng: Random) -> None:
        wanted = {
            "web": self.faults.web_late_visits,
            "app": self.faults.app_late_visits,
            "devices": self.faults.device_late_days,
        }
        late_days = {day_of(self.config.start + self.config.days * third // 3 * DAY) for third in (1, 2)}
        visits: dict[int, list[Event]] = defaultdict(list)
        for event in self.events[source]:
            if not event.client.is_bot and not event.client.refused and event.client.anonymous_id:
                visits[event.visit].append(event)
        pool = [own for own in visits.values() if {event.day for event in own} <= late_days]
        for own in _pick(rng, pool, wanted[source], f"late {source} visits"):
            for event in own:
                event.late = True

    def _set_clocks(self, source: SourceName, rng: Random) -> None:
        off_line = {event.visit for event in self.events[source] if source == "app" and event.visit % 9 == 0}
        for event in self.events[source]:
            event.device_at = event.at
            if event.late:
                event.sent_at = self.config.end + rng.randrange(LATE_BY - HOUR, LATE_BY)
            elif event.visit in off_line:
                event.sent_at = event.at + 2 * HOUR + rng.randrange(MINUTE)
            else:
                event.sent_at = event.at + rng.randrange(3, 60)
            event.received_at = event.sent_at + rng.randrange(20, 400)
        self._skew(source, rng)
        if source == "web":
            self._put_into_future(rng)

    def _skew(self, source: SourceName, rng: Random) -> None:
        wanted = {"web": self.faults.web_skewed, "app": self.faults.app_skewed, "devices": self.faults.device_skewed}
        visits: dict[int, list[Event]] = defaultdict(list)
        for event in self.events[source]:
            if not event.late and not event.client.is_bot and not event.client.refused and event.client.anonymous_id:
                visits[event.visit].append(event)
        chosen: list[Event] = []
        for own in rng.sample(list(visits.values()), len(visits)):
            off = rng.choice((-1, 1)) * rng.choice(
                (rng.randrange(HOUR, 20 * HOUR), rng.randrange(DAY, 6 * DAY), 400 * DAY)
            )
            for event in own[: wanted[source] - len(chosen)]:
                # No time on the network: Segment's correction would add it, and the true time is to be met exactly.
                event.received_at = event.sent_at
                event.device_at += off
                event.sent_at += off
                chosen.append(event)
            if len(chosen) == wanted[source]:
                break
        if len(chosen) < wanted[source]:
            raise ValueError(f"skewed {source} events: {wanted[source]} wanted, only {len(chosen)} possible")
        self.skewed |= {id(event) for event in chosen}

    def _put_into_future(self, rng: Random) -> None:
        pool = [event for event in self.events["web"] if self._is_plain(event) and event.client.anonymous_id]
        for number, event in enumerate(_pick(rng, pool, self.faults.web_future, "future web events")):
            if number % 2:
                # A clock three minutes ahead: within tolerance, but later than the receipt.
                event.received_at = event.at + 20
                event.device_at = event.at + 3 * MINUTE
                event.sent_at = event.received_at + 3 * MINUTE
            else:
                # A clock that jumped while the event was made: nothing but the receipt is left to go by.
                event.sent_at = event.received_at = event.at
                event.device_at = event.at + 400 * DAY
            self.future.add(id(event))

    def _is_plain(self, event: Event) -> bool:
        marked = id(event) in self.skewed or id(event) in self.future
        return not (event.late or event.client.refused or event.client.is_bot or marked)

    # Copies

    def _copy(self, source: SourceName, rng: Random, places: dict[int, tuple[int, Record]]) -> None:
        faults = self.faults
        duplicates = {"web": faults.web_duplicates, "app": faults.app_duplicates, "devices": faults.device_duplicates}
        conflicts = {"web": faults.web_conflicts, "app": faults.app_conflicts, "devices": 0}[source]
        drafts = self.drafts[source]
        last = len(drafts) - 1
        slots = WEB_SLOTS if source == "web" else 1
        # Across the files in which a column was added, a copy would not have the same content.
        before_added = self.config.days // 2 - 1 if source == "app" else None
        pool = [
            event
            for event in self.events[source]
            if not event.late and not event.client.refused and places[id(event)][0] not in (last, before_added)
        ]
        chosen = _pick(rng, pool, duplicates[source], f"{source} duplicates")
        for event in chosen:
            number, record = places[id(event)]
            # A later file of the same day, or one of the next day up to the same hours.
            target = rng.randint(number + 1, min(number + slots, last))
            order = self.config.start + (target * DAY + rng.randrange(DAY)) // slots
            drafts[target].records.append(Record(order, LANDED, record.content))
            self.copies.append(Copy(source, event.day, differs=False))
        taken = {id(event) for event in chosen}
        limit = self.config.end - 2 * DAY
        pool = [
            event
            for event in self.events[source]
            if self._is_plain(event) and id(event) not in taken and event.at < limit
        ]
        orders = [event for event in pool if event.name == "order_completed"]
        some = rng.sample(orders, min(len(orders), conflicts // 10))
        taken = {id(event) for event in some}
        some += _pick(rng, [e for e in pool if id(e) not in taken], conflicts - len(some), f"{source} conflicts")
        for number, event in enumerate(some):
            # Told again with other content: received later, and in every fourth case for a later time as well, so
            # that the original is the one to keep and some copies lie on the next day.
            later = rng.randrange(MINUTE, 12 * HOUR) if number % 4 == 3 else 0
            copy = replace(
                event,
                at=event.at + later,
                device_at=event.device_at + later,
                sent_at=event.sent_at + later,
                received_at=event.received_at + later + rng.randrange(5 * SECOND, 50 * SECOND),
                page_title=f"{event.page_title} (second telling)",
                properties={**event.properties, "attempt": 2},
            )
            if copy.revenue is not None:
                copy.revenue += Decimal(1000)
                copy.properties["revenue"] = float(copy.revenue)
            target = self._file_of(source, copy.received_at)
            drafts[target].records.append(Record(copy.received_at, LANDED, self.renderers[source](copy)))
            self.copies.append(Copy(source, copy.day, differs=True))

    # Malformed and blank lines

    def _malform(self, source: SourceName, rng: Random) -> None:
        faults = self.faults
        wanted = {"web": faults.web_malformed, "app": faults.app_malformed, "devices": faults.device_malformed}[source]
        malform = {"web": malformed_web_line, "app": malformed_app_row, "devices": malformed_device_row}[source]
        blank = {"web": faults.web_blank, "app": faults.app_blank, "devices": 0}[source]
        plain = [event for event in self.events[source] if self._is_plain(event)]
        for kind, number in wanted.items():
            for nth, event in enumerate(_pick(rng, plain, number, f"{source} {kind}")):
                content = malform(kind, nth, event, rng)
                target = self._file_of(source, event.received_at)
                self.drafts[source][target].records.append(Record(event.received_at + 0.5, kind, content))
        for event in _pick(rng, plain, blank, f"{source} blank lines"):
            target = self._file_of(source, event.received_at)
            self.drafts[source][target].records.append(Record(event.received_at + 0.5, BLANK, None))


def _pick(rng: Random, pool: list[Item], number: int, what: str) -> list[Item]:
    if number > len(pool):
        raise ValueError(f"{what}: {number} wanted, only {len(pool)} possible; use more visitors or fewer faults")
    return rng.sample(pool, number)


# Content of lines

_DAY_TEXTS: dict[int, str] = {}


def iso_time(moment: int) -> str:
    """Epoch milliseconds as ISO 8601 text in UTC."""
    days, rest = divmod(moment, DAY)
    text = _DAY_TEXTS.get(days)
    if text is None:
        text = _DAY_TEXTS[days] = day_of(moment).isoformat()
    seconds, milliseconds = divmod(rest, SECOND)
    minutes, second = divmod(seconds, 60)
    return f"{text}T{minutes // 60:02}:{minutes % 60:02}:{second:02}.{milliseconds:03}Z"


def web_payload(event: Event) -> dict[str, Any]:
    """What a tracker sends for an event, in the shape of Segment's API."""
    client = event.client
    payload: dict[str, Any] = {"messageId": event.event_id, "type": event.type}
    if event.type == "track":
        payload["event"] = event.name
    if client.anonymous_id:
        payload["anonymousId"] = client.anonymous_id
    if event.user_id:
        payload["userId"] = event.user_id
    if client.anonymous_id:
        payload["context"] = {
            "locale": client.locale,
            "country": client.country,
            "userAgent": client.user_agent,
            "screen": {"width": client.screen[0]},
            "consent": {"analytics": not client.refused},
            "page": {
                "viewId": event.view_id,
                "url": event.page_url,
                "referrer": event.referrer,
                "title": event.page_title,
            },
        }
    else:
        payload["context"] = {
            "library": "backoffice",
            "country": client.country,
        }
    payload["properties"] = event.properties
    payload["timestamp"] = iso_time(event.device_at)
    payload["sentAt"] = iso_time(event.sent_at)
    payload["receivedAt"] = iso_time(event.received_at)
    return payload


def _json(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def web_line(event: Event) -> bytes:
    """A line of the web's JSONL, without its end."""
    return _json(web_payload(event))


def malformed_web_line(kind: str, nth: int, event: Event, rng: Random) -> bytes:
    """A line that must be quarantined; `nth` varies it.

    Raises:
        ValueError: unknown kind.
    """
    payload = {**web_payload(event), "messageId": uuid_text(rng)}
    match kind:
        case "broken_json":
            return _json(payload).replace(b'"type":', b'"type"', 1)
        case "truncated":
            line = _json(payload).decode()
            return line[: len(line) * rng.randint(30, 85) // 100].encode()
        case "not_an_object":
            return (b"[1,2]", b"42", b'"text"', b"null", b"true", b"[]")[nth % 6]
        case "invalid_utf8":
            return _json(payload).replace(b'"locale":"', b'"locale":"\xc3\x28\xff', 1)
        case "missing_id":
            del payload["anonymousId"]
            payload["userId"] = None if nth % 2 else ""
        case "bad_time":
            payload["timestamp"] = ("yesterday", "2026-13-45T25:61:00.000Z", "", "soon", "12:30")[nth % 5]
        case "missing_event_name":
            payload["type"] = "track"
            payload.pop("event", None)
        case "broken_rule":
            payload.update(type="track", event="order_completed", properties={"revenue": 12.5, "order_id": "W-0"})
        case "out_of_range":
            if nth % 2:
                payload["timestamp"] = f"1970-01-01T00:00:{nth % 60:02}.000Z"
            else:
                del payload["sentAt"], payload["receivedAt"]
                payload["timestamp"] = f"2099-12-31T23:59:{nth % 60:02}.000Z"
        case _:
            raise ValueError(f"unknown kind of malformed web line: {kind!r}")
    return _json(payload)


def app_row(event: Event) -> list[str]:
    """A record of the app's CSV, with the column that half of the files lack at its end."""
    client = event.client
    return [
        event.event_id,
        event.type,
        event.name,
        client.anonymous_id or "",
        event.user_id or "",
        str(event.device_at),
        str(event.sent_at),
        str(event.received_at),
        event.page_title,
        client.app_version or "",
        client.os or "",
        client.locale,
        client.country,
        "" if event.revenue is None else str(event.revenue),
        "" if event.revenue is None else "EUR",
        event.order_id or "",
        event.properties.get("note", ""),
        "false" if client.refused else "true",
        ("wifi", "5g", "lte")[event.visit % 3],
    ]


def malformed_app_row(kind: str, nth: int, event: Event, rng: Random) -> list[str]:
    """A record that must be quarantined; one of a wrong length is short by 3 or long by 2 fields.

    Raises:
        ValueError: unknown kind.
    """
    row = [f"app-{rng.getrandbits(80):020x}", *app_row(event)[1:]]
    match kind:
        case "wrong_field_count":
            # The writer drops the last field of the older files, so both lengths are wrong for every file.
            return row[:-4] if nth % 2 else [*row, "what", "is this", "then"]
        case "missing_id":
            row[3] = row[4] = ""
        case "bad_time":
            row[5] = ("n/a", "12:30", "")[nth % 3]
        case "out_of_range":
            row[5] = str(1_000 * nth)
        case _:
            raise ValueError(f"unknown kind of malformed app record: {kind!r}")
    return row


def device_row(event: Event) -> dict[str, Any]:
    """A row of the fleet's Parquet."""
    machine = event.client.anonymous_id or ""
    place = int(machine[-3:])
    return {
        "device_id": machine,
        "kind": event.name,
        "measured_at": to_datetime(event.device_at),
        "sent_at": to_datetime(event.sent_at),
        "received_at": to_datetime(event.received_at),
        **event.properties,
        "firmware": event.client.app_version,
        "position": {"lat": 52.5 + place / 100, "lon": 13.4 - place / 50},
    }


def malformed_device_row(kind: str, nth: int, event: Event, rng: Random) -> dict[str, Any]:  # noqa: ARG001
    """A row that must be quarantined.

    Raises:
        ValueError: unknown kind.
    """
    fields = {"missing_id": "device_id", "missing_time": "measured_at"}
    if kind not in fields:
        raise ValueError(f"unknown kind of malformed device row: {kind!r}")
    return {**device_row(event), fields[kind]: None}


# Content of files


def compress(content: bytes) -> bytes:
    """Gzip without a time stamp, so that equal content gives equal bytes."""
    return gzip.compress(content, compresslevel=6, mtime=0)


def file_content(config: DemoConfig, draft: Draft) -> bytes:
    """The bytes of a file."""
    if draft.source == "web":
        content = web_content(draft.records)
        return compress(content) if draft.path.endswith(".gz") else content
    if draft.source == "app":
        return _app_content(draft.records, added=_has_added_column(config, draft))
    rows = [record.content for record in draft.records]
    buffer = io.BytesIO()
    pl.DataFrame(rows, schema=DEVICE_SCHEMA).write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def web_content(records: Iterable[Record]) -> bytes:
    """Lines of JSONL, each with its end."""
    return b"".join((record.content or b"") + b"\n" for record in records)


def _has_added_column(config: DemoConfig, draft: Draft) -> bool:
    half = day_of(day_start(config.first_day) + config.days // 2 * DAY)
    return draft.path >= f"app/{half}.csv"


def _app_content(records: Iterable[Record], *, added: bool) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*APP_COLUMNS, APP_COLUMN_ADDED] if added else APP_COLUMNS)
    for record in records:
        if record.kind == BLANK:
            buffer.write("\n")
            continue
        writer.writerow(record.content if added else record.content[:-1])
    return buffer.getvalue().encode()
